"""SIGKILL at random moments, and two batches on one folder."""

import multiprocessing
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from made_up_batch import run_in_own_process

#: What must be the same, byte for byte, whatever happened on the way.
SAME = ("summary.json", "results.csv", "results.parquet", "recipe.yaml")


def same_results(one, other):
    for name in SAME:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    names = sorted(p.name for p in (one / "maps").iterdir())
    assert names == sorted(p.name for p in (other / "maps").iterdir())
    for name in names:
        first, second = one / "maps" / name, other / "maps" / name
        assert (first / "summary.json").read_bytes() == (second / "summary.json").read_bytes()
        files = [sorted(p.relative_to(f) for p in f.rglob("*")) for f in (first, second)]
        assert files[0] == files[1]


def whole(out, files):
    """Every run in the folder has all its files, whatever was killed when."""
    for folder in (out / "maps").glob("[!.]*"):
        found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        assert found >= files, folder


@pytest.fixture(scope="module")
def begin():
    """Begin a batch in a process forked from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["siftem.batch.run", "siftem.batch.map_job"])

    def start(pause, out, maps):
        process = context.Process(target=run_in_own_process, args=(pause, out, maps))
        process.start()
        return process

    return start


def test_a_killed_batch_resumes_to_the_same_results(begin, maps, tmp_path):
    pause, one_map = 0.05, 7 * 0.05
    for path, text in zip(maps, ("10.0", "bad nothing", "12.0"), strict=True):
        path.write_text(text)
    begin(0, tmp_path / "undisturbed", maps).join()
    rng = np.random.default_rng(2)
    out = tmp_path / "out"
    for kill in range(3):
        process = begin(pause, out, maps)
        # Anywhere in the first map that is not done yet.
        time.sleep(rng.uniform(0.05, 1.2 * one_map))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, kill
        whole(out, {"report.html", "summary.json", "spectra/Fp.msa"})
    process = begin(0, out, maps)
    process.join()
    assert process.exitcode == 0
    same_results(tmp_path / "undisturbed", out)
    assert not [p for p in out.rglob("*") if "draft" in p.name or p.suffix == ".old"]


def test_two_batches_on_one_folder_share_the_work(begin, maps, visits, tmp_path):
    begin(0, tmp_path / "alone", maps).join()
    visits()
    out = tmp_path / "out"
    both = [begin(0.05, out, maps) for _ in range(2)]
    for process in both:
        process.join()
    assert [p.exitcode for p in both] == [0, 0]
    # Each map was worked on once, by one or the other.
    assert sorted(visits()) == ["a1", "a10", "a2"]
    same_results(tmp_path / "alone", out)
    assert not list((out / ".siftem/running").iterdir())


REAL_FILES = {"report.html", "summary.json", "figure1.png", "maps.hspy", "regions.tif"}


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["one process", "two workers"])
def test_ten_kills_of_a_real_batch(real_maps, tmp_path, options, capsys):
    recipe, files = real_maps

    def batch(out):
        arguments = ["batch", str(recipe), *map(str, files), "--out", str(out), "-q", *options]
        return subprocess.Popen([sys.executable, "-m", "siftem", *arguments])

    start = time.monotonic()
    assert batch(tmp_path / "undisturbed").wait() == 0
    whole_time = time.monotonic() - start
    rng, log, rounds = np.random.default_rng(3), [], 1
    out = tmp_path / "round1"
    while len(log) < 10:
        process = batch(out)
        while not list(out.glob(".siftem/running/*.lock")) and process.poll() is None:
            time.sleep(0.02)
        moment = rng.uniform(0, 0.6 * whole_time)
        time.sleep(moment)
        if process.poll() is not None:
            # It was done before the blow fell: begin anew in another folder.
            assert process.returncode == 0
            same_results(tmp_path / "undisturbed", out)
            rounds += 1
            out = tmp_path / f"round{rounds}"
            continue
        process.kill()
        process.wait()
        done = len(list(out.glob("maps/[!.]*")))
        kept = len(list(out.glob(".siftem/checkpoints/*/[!.]*.npz")))
        log.append(
            f"round {rounds}, killed after {moment:.1f} s: {done} maps done, {kept} checkpoints"
        )
        whole(out, REAL_FILES)
    assert batch(out).wait() == 0
    same_results(tmp_path / "undisturbed", out)
    with capsys.disabled():
        print("", f"undisturbed {whole_time:.1f} s", *log, sep="\n")


@pytest.mark.slow
def test_a_real_batch_with_a_killed_worker_gives_the_same_results(real_maps, tmp_path):
    from siftem.batch.folder import Watcher
    from siftem.batch.run import run_batch
    from siftem.pipeline.recipe import read_recipe

    recipe, files = real_maps
    chosen = read_recipe(recipe, for_many=True)
    run_batch(chosen, files, tmp_path / "undisturbed", n_jobs=2)

    import psutil

    class Killer(Watcher):
        killed = 0

        def step(self, name, step, fraction):
            # The first worker that reports from the middle of a run.
            if step == "segment" and not self.killed:
                workers = [
                    p
                    for p in psutil.Process().children(recursive=True)
                    if "spawn_main" in " ".join(p.cmdline())
                ]
                self.killed = workers[0].pid
                workers[0].kill()

    killer = Killer()
    result = run_batch(chosen, files, tmp_path / "out", n_jobs=2, watcher=killer)
    assert killer.killed
    assert {o.status for o in result.outcomes} == {"done"}
    same_results(tmp_path / "undisturbed", tmp_path / "out")
