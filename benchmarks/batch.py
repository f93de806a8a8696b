"""A batch of four maps on two workers against one, and with a worker killed.

    python -m benchmarks.batch

Simulates four maps of the model case, saves them as files, and runs one recipe over them by
``siftem.batch.run.run_batch`` with one worker and with two, in turns. Each worker has one thread:
what is compared is workers, not one worker that uses all cores in some steps.
Times are of the whole call: starting the workers, reading, the runs with all figures and
reports, the tables. On a machine that has other work these times say little; the processor
time of the busiest worker (its start included) is printed beside them: what the call would take
at the least if every worker had a core to itself. It is a model and no measurement of speed.

Then two workers again, of which one is killed in the middle of a map.
All results must be the same, byte for byte.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

from siftem.batch.folder import Outcome, Watcher
from siftem.batch.run import run_batch
from siftem.io.hyperspy_export import to_hyperspy
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.starting_recipe import demo_recipe
from siftem.simulate.phantom import simulate_demo

MAPS = 4


def make_maps(folder: Path, size: int, dose: float) -> list[Path]:
    files = []
    for seed in range(MAPS):
        signal = to_hyperspy(
            simulate_demo((size, size), dose=dose, random_state=seed).spectrum_image
        )
        signal.compute(progressbar=False)
        files.append(folder / f"map{seed}.hspy")
        signal.save(files[-1])
    return files


def timed(recipe: Recipe, files: list[Path], out: Path, workers: int, watcher: Watcher) -> float:
    start = time.perf_counter()
    result = run_batch(recipe, files, out, n_jobs=workers, threads=1, watcher=watcher)
    seconds = time.perf_counter() - start
    if result.failed:
        sys.exit(f"a map failed: {result.failed[0].error}")
    return seconds


def results(out: Path) -> dict[str, bytes]:
    """All that must be the same, whoever did the work."""
    names = [out / n for n in ("summary.json", "results.csv", "results.parquet")]
    names += sorted(out.glob("maps/*/summary.json"))
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in names}


def worker_processes() -> list[psutil.Process]:
    """Workers that are alive now."""
    children = psutil.Process().children(recursive=True)
    return [p for p in children if "spawn_main" in " ".join(p.cmdline())]


class Meter(Watcher):
    """Notes the processor time of each worker whenever a map is done."""

    def __init__(self) -> None:
        self.seconds: dict[int, float] = {}

    def finished(self, outcome: Outcome) -> None:
        """Read the clocks of all workers."""
        for process in worker_processes():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                self.seconds[process.pid] = times.user + times.system


class Killer(Watcher):
    """Kills the first worker that is seen in the middle of a map."""

    killed = 0

    def step(self, name: str, step: str, fraction: float) -> None:
        """Look for a worker at this step, and kill it."""
        if step != "segment" or self.killed:
            return
        victim = worker_processes()[0]
        self.killed = victim.pid
        victim.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="pixels on each side")
    parser.add_argument("--dose", type=float, default=300.0, help="counts a pixel")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--without-kill", action="store_true")
    options = parser.parse_args()
    recipe = demo_recipe()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = make_maps(folder, options.size, options.dose)
        print(f"{MAPS} maps of {options.size} x {options.size} x 2048, {options.dose:g} counts")
        if not options.without_kill:
            # Kernels are compiled once for all that follows.
            run_batch(recipe, files[:1], folder / "warm", n_jobs=1, threads=1)
        seconds: dict[int, list[float]] = {1: [], 2: []}
        busiest: dict[int, list[float]] = {1: [], 2: []}
        found = []
        for repeat in range(options.repeats):
            for workers in (1, 2):
                out = folder / f"out-{workers}-{repeat}"
                meter = Meter()
                seconds[workers].append(timed(recipe, files, out, workers, meter))
                busiest[workers].append(max(meter.seconds.values()))
                found.append(results(out))
                print(
                    f"{workers} worker(s): {seconds[workers][-1]:6.1f} s; processor time of the "
                    f"busiest {busiest[workers][-1]:.1f} s",
                    flush=True,
                )
        ratios = [one / two for one, two in zip(seconds[1], seconds[2], strict=True)]
        model = [one / two for one, two in zip(busiest[1], busiest[2], strict=True)]
        if not options.without_kill:
            killer = Killer()
            lost = timed(recipe, files, folder / "killed", 2, killer)
            found.append(results(folder / "killed"))
            if not killer.killed:
                sys.exit("no worker was killed: nothing was shown")
            print(f"with a worker killed on the way: {lost:.1f} s")
        if any(other != found[0] for other in found):
            sys.exit("the results differ")
        print(f"two workers are {statistics.median(ratios):.2f} times faster (median)")
        print(f"by processor time of the busiest worker: {statistics.median(model):.2f} (a model)")
        print("all results are the same, byte for byte")


if __name__ == "__main__":
    main()
