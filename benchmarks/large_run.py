"""From a sparse map file to factors, regions and pure spectra, with time, memory and truth.

    python benchmarks/large_phantom.py big.sift --size 1024
    python benchmarks/large_run.py big.sift --memory 2GB            # to pure spectra
    python benchmarks/large_run.py big.sift --memory 2GB --unmix    # and unmixing

Checks the answer against the truth that large_phantom.py wrote, and the peak of the resident
memory against --limit.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from siftem.errors import SiftemWarning
from siftem.large.open_map import open_map
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.starting_recipe import demo_recipe
from siftem.pipeline.workflow import Workflow
from siftem.spectrum import spectral_angle

#: Truth: a grain is there from this share of the thickness on.
TRUE_SHARE = 0.15
STEPS = ("prepare", "decompose", "match", "features", "segment", "regions", "spectra")


def peak_memory() -> float:
    """Peak of the resident memory of this process in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def check(workflow: Workflow, path: Path) -> dict[str, dict[str, float]]:
    """Compare pure spectra and masks with the truth."""
    with np.load(path.with_suffix(".truth.npz")) as truth:
        names = [str(n) for n in truth["names"]]
        spectra, abundances = truth["spectra"], truth["abundances"]
    shares = abundances / abundances.sum(axis=0)
    regions = workflow.get("regions").regions
    pure = workflow.get("spectra").pure
    found: dict[str, dict[str, float]] = {}
    for i, name in enumerate(names):
        own = spectra[i][-pure[name].values.size :]
        found[name] = {"degrees": spectral_angle(pure[name].values, own)}
        if name in regions.names:
            mask, truly = regions.mask(name).mask, shares[i] >= TRUE_SHARE
            found[name]["overlap"] = float((mask & truly).sum() / (mask | truly).sum())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("map", type=Path)
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scheduler", default="threads")
    parser.add_argument("--limit", type=float, default=3000.0, help="peak memory, MB")
    parser.add_argument("--unmix", action="store_true", help="unmix by one likelihood as well")
    given = parser.parse_args()
    warnings.simplefilter("ignore", SiftemWarning)
    start = last = time.perf_counter()
    seconds, peaks = {}, {}
    with open_map(
        given.map, memory=given.memory, n_jobs=given.workers, scheduler=given.scheduler
    ) as si:
        print(si, flush=True)
        recipe = demo_recipe()
        if given.unmix:
            recipe = make_recipe(recipe.model_dump() | {"unmix": True})
        workflow = Workflow(recipe, spectrum_image=si)
        steps = (*STEPS, "unmix") if given.unmix else STEPS
        for step in steps:
            workflow.run(step)
            now = time.perf_counter()
            seconds[step], peaks[step], last = now - last, peak_memory(), now
            print(f"{step:>10} {seconds[step]:8.1f} s   peak {peaks[step]:6.0f} MB", flush=True)
        total, processor = time.perf_counter() - start, time.process_time()
        factors = workflow.get("decompose").factors
        answer = check(workflow, given.map)
        counts = si.total
    for name, values in answer.items():
        print(f"{name:>8}", "  ".join(f"{k} {v:.3f}" for k, v in values.items()))
    print(
        f"{counts:.4g} counts, {factors.n_iter} sweeps, {total:.0f} s, {processor:.0f} processor "
        f"seconds, {peaks[steps[-1]]:.0f} MB"
    )
    record = {"counts": counts, "seconds": seconds, "total_s": total, "peaks_MB": peaks}
    record |= {"processor_s": processor} | answer
    print(json.dumps(record))
    assert peaks[steps[-1]] < given.limit, f"peak memory of {peaks[steps[-1]]:.0f} MB"
    assert all(v["degrees"] < 2.0 for v in answer.values()), "pure spectra are off by 2 degrees"
    assert all(v.get("overlap", 1) > 0.7 for v in answer.values()), "masks overlap by under 70%"


if __name__ == "__main__":
    main()
