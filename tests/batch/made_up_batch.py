"""Stand-ins for the work on a map: fast, and importable by workers and by killed processes."""

import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import siftem.batch.map_job as map_job
from siftem.batch.run import run_batch
from siftem.errors import InputError
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.store import whole_folder

RECIPE = {
    "title": "made up",
    "input": {"file": "none"},
    "elements": ["Mg", "Fe"],
    "matrix": "Brg",
    "phases": {"Brg": {"high": ["Mg"]}, "Fp": {"high": ["Fe"], "anchor": {"absent": ["Mg"]}}},
}


def recipe(**changes):
    return make_recipe({**RECIPE, **changes})


class Workflow:
    """Reads a number from the "map"; keeps a checkpoint; counts how often it works."""

    pause = 0.0

    def __init__(self, recipe, *, checkpoints, spectrum_image=None):
        self.recipe, self.checkpoints = recipe, Path(checkpoints)

    def result(self, *, progress):
        path = Path(self.recipe.input.file)
        # A real map stands for itself.
        text = path.read_text(encoding="utf-8") if path.suffix == ".txt" else "1.0"
        with (path.parent / "visits.txt").open("a") as visits:
            visits.write(f"{path.stem}\n")
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        for i in range(5):
            progress("decompose", i / 5)
            time.sleep(self.pause)
            (self.checkpoints / f".{i}.part.npz").write_text("half written")
        if text.startswith("bad"):
            raise InputError(f"the map holds {text.split()[1]}")
        if text.startswith("bug"):
            raise ZeroDivisionError("division by zero")
        return SimpleNamespace(recipe=self.recipe, number=float(text))


def write_results(result, folder, *, resources, reopen, processes, progress):
    assert not reopen
    with whole_folder(folder) as draft:
        (draft / "report.html").write_text(f"<p>report, drawn by {processes}</p>")
        time.sleep(Workflow.pause)
        (draft / "summary.json").write_text(json.dumps(summary(result.recipe, result.number)))
        time.sleep(Workflow.pause)
        (draft / "spectra").mkdir()
        (draft / "spectra" / "Fp.msa").write_text("1 2 3")


def element(at_percent, at_sigma, found=True):
    return {
        "wt_percent": 2 * at_percent, "wt_sigma": 0.2, "wt_systematic": 0.3,
        "at_percent": at_percent, "at_sigma": at_sigma, "at_systematic": 0.1,
        "found": found, "detection_limit_wt_percent": 0.05,
    }  # fmt: skip


def summary(recipe, number):
    return {
        "title": recipe.title,
        "input": {"shape_pixels": [4, 5], "counts": 1000.0, "counts_per_pixel": 50.0},
        "regions": {"pure Brg": {"pixels": 10, "percent_of_map": 50.0}},
        "phases": {
            "Brg": {
                "role": "matrix", "pixels": 10, "counts": 500.0,
                "elements": {"Mg": element(number, 0.5), "Fe": element(0.01, 0.5, False)},
                "oxides_wt_percent": {"MgO": {"value": 90.0, "sigma": 1.0}},
                "atomic_ratios": {"Mg/Fe": {"value": 3.0, "sigma": 0.25, "systematic": 0.125}},
            }
        },
        "warnings": ["one", "two"],
    }  # fmt: skip


def use_stand_ins():
    map_job.Workflow, map_job.write_results = Workflow, write_results


def die_once(job, progress):
    """Kill the own process at the first try; then square the number."""
    number, mark = job
    progress("work", 0.5)
    if mark and not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def die_always(job, progress):
    os.kill(os.getpid(), signal.SIGKILL)


def raise_error(job, progress):
    raise InputError("not like this")


def threads_seen(job, progress):
    from siftem import machine

    return machine.available(), os.environ["OMP_NUM_THREADS"]


def run_in_own_process(pause, out, files):
    """A batch in a process of its own, to be killed."""
    use_stand_ins()
    Workflow.pause = pause
    run_batch(recipe(), files, out)


def wait_long(job, progress):
    progress("wait", 0.5)
    time.sleep(60)


def wait_for_others(job, progress):
    """Leave a mark; one job goes on only when all others have left theirs."""
    folder, name, number = job
    if name == "long":
        deadline = time.monotonic() + 60
        while len(list(Path(folder).iterdir())) < number:
            if time.monotonic() > deadline:
                raise InputError("others are kept waiting behind this one")
            time.sleep(0.02)
    else:
        (Path(folder) / name).touch()
        time.sleep(0.1)
    return name
