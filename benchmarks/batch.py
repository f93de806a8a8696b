"""A batch of four maps on two workers against one, and with a worker killed.

    python -m benchmarks.batch

Simulates four maps of the model case, saves them as files, and runs one recipe over them by
``siftem.batch.run.run_batch`` with one worker and with two, each with one thread, in turns.
Times are of the whole call: starting the workers, reading, the runs with all figures and
reports, the tables. Then two workers again, of which one is killed in the middle of a map.
All results must be the same, byte for byte.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from siftem.batch.run import run_batch
from siftem.batch.watch import Watcher
from siftem.io.hyperspy_export import to_hyperspy
from siftem.pipeline.demo import demo_recipe
from siftem.pipeline.recipe import Recipe
from siftem.simulate.phantom import simulate_demo

MAPS = 4


def make_maps(folder: Path, size: int, dose: float) -> list[Path]:
    files = []
    for seed in range(MAPS):
        signal = to_hyperspy(simulate_demo((size, size), dose=dose, seed=seed).spectrum_image)
        signal.compute(progressbar=False)
        files.append(folder / f"map{seed}.hspy")
        signal.save(files[-1])
    return files


def timed(recipe: Recipe, files: list[Path], out: Path, workers: int, watcher: Watcher) -> float:
    start = time.perf_counter()
    result = run_batch(recipe, files, out, workers=workers, threads=1, watcher=watcher)
    seconds = time.perf_counter() - start
    if result.failed:
        sys.exit(f"a map failed: {result.failed[0].error}")
    return seconds


def results(out: Path) -> dict[str, bytes]:
    """All that must be the same, whoever did the work."""
    names = [out / n for n in ("summary.json", "results.csv", "results.parquet")]
    names += sorted(out.glob("maps/*/summary.json"))
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in names}


class Killer(Watcher):
    """Kills the first worker that is seen in the middle of a map."""

    killed = 0

    def step(self, name: str, step: str, fraction: float) -> None:
        """Look for a worker at this step, and kill it."""
        if step != "segment" or self.killed:
            return
        import psutil

        workers = [
            p
            for p in psutil.Process().children(recursive=True)
            if "spawn_main" in " ".join(p.cmdline())
        ]
        self.killed = workers[0].pid
        workers[0].kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=160, help="pixels on each side")
    parser.add_argument("--dose", type=float, default=300.0, help="counts a pixel")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    recipe = demo_recipe()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = make_maps(folder, options.size, options.dose)
        print(f"{MAPS} maps of {options.size} x {options.size} x 2048, {options.dose:g} counts")
        # Kernels are compiled once for all that follows.
        run_batch(recipe, files[:1], folder / "warm", workers=1, threads=1)
        seconds: dict[int, list[float]] = {1: [], 2: []}
        found = []
        for repeat in range(options.repeats):
            for workers in (1, 2):
                out = folder / f"out-{workers}-{repeat}"
                seconds[workers].append(timed(recipe, files, out, workers, Watcher()))
                found.append(results(out))
                print(f"{workers} worker(s): {seconds[workers][-1]:6.1f} s", flush=True)
        ratios = [one / two for one, two in zip(seconds[1], seconds[2], strict=True)]
        killer = Killer()
        lost = timed(recipe, files, folder / "killed", 2, killer)
        found.append(results(folder / "killed"))
        if not killer.killed:
            sys.exit("no worker was killed: nothing was shown")
        if any(other != found[0] for other in found):
            sys.exit("the results differ")
        print(f"two workers are {statistics.median(ratios):.2f} times faster (median)")
        print(f"with a worker killed on the way: {lost:.1f} s")
        print("all results are the same, byte for byte")


if __name__ == "__main__":
    main()
