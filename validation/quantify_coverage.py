"""Do the error bars hold the truth? Coverage of the intervals over many simulated maps.

    python validation/quantify_coverage.py [--maps 300] [--dose 300] [--size 64] [--found]
        [--methods subtract,weighted,unmix]

Each map is a new model case: other grains, compositions varied by 10%, other noise. For
every element of every phase the tables tell how often the truth lies within the central 68%
and 95% intervals of counting statistics: with the true regions by :func:`siftem.subtract`
(plain sums, and sums weighted by the grain's share) and by :func:`siftem.unmix`, and, with
``--found``, with the regions that a run of the pipeline finds in maps of the demo (the same
grains, compositions not varied), the anchors being as exact as with the true regions.

The intervals are those of :meth:`Composition.interval`, before they are cut at zero: around
the unbounded estimate. So elements far below their detection limit, such as 20 ppm of Nd in
ferropericlase, are counted like all others, and no interval holds a truth only because both
were cut at zero. What an anchor fixes without error (no Si in ferropericlase) is left out.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from siftem.errors import SiftemError, SiftemWarning
from siftem.fit.line_fit import fit_lines
from siftem.quantification.composition import Composition, quantify
from siftem.quantification.film import AbsorbingFilm, Film
from siftem.segment.regions import Regions
from siftem.simulate.phantom import Phantom, simulate
from siftem.simulate.spectra import MODEL_CASE
from siftem.unmixing.anchors import Absent, KnownRatio
from siftem.unmixing.constrained import unmix
from siftem.unmixing.integrate import integrate, weighted_mixtures
from siftem.unmixing.subtract import subtract
from siftem.xray.detector import Detector
from siftem.xray.elements import atomic_weight

SUPPORT = ["Cu"]
#: A grain is in a pixel from this share of the thickness on, and not below the other one;
#: what lies between, the probe's tails, is left out, as a run leaves out the rims of grains.
#: Ca-perovskite of 2% in the "pure" bridgmanite would raise its Ca by a standard deviation.
PRESENT, GONE = 0.05, 0.002
ELEMENTS = tuple(MODEL_CASE[0].weight_fractions)
#: What the anchors fix without error.
FIXED = {("Fp", "Si")}
TIMES = {68: 1.0, 95: 1.96}


def true_regions(phantom: Phantom) -> Regions:
    grains = phantom.names[1:]
    masks = {n: phantom.mask(n, at_least=PRESENT) for n in grains}
    rims = [phantom.mask(n, at_least=GONE) & ~masks[n] for n in grains]
    shape = phantom.spectrum_image.shape
    return Regions(shape, matrix=phantom.names[0], masks=masks, excluded=np.any(rims, axis=0))


def found_regions(shape: tuple[int, int], dose: float, seed: int) -> Regions:
    from siftem.pipeline.starting_recipe import demo_recipe
    from siftem.pipeline.workflow import run

    return run(demo_recipe(shape=shape, dose=dose, random_state=seed)).segmentation.regions


def compositions(
    phantom: Phantom, regions: Regions, methods: tuple[str, ...]
) -> Iterator[tuple[str, str, Composition]]:
    """Yield (method, phase, composition) for a phantom and its regions."""
    si = phantom.spectrum_image.without_zero_peak()
    names = phantom.names
    weights = dict(zip(names, phantom.weight_fractions, strict=True))
    density = dict(zip(names, phantom.densities, strict=True))
    thickness = phantom.microscope.thickness
    film = {n: AbsorbingFilm(dict(weights[n]), Film(thickness, density[n], 22.0)) for n in names}
    ca = weights["Ca-Pv"]
    ratio = ca["Mg"] / atomic_weight("Mg") / (ca["Ca"] / atomic_weight("Ca"))
    anchors = {"Fp": Absent("Si"), "Ca-Pv": KnownRatio("Mg", "Ca", ratio)}
    matrix = integrate(si, regions.pure, name="Brg")
    common = {"elements": ELEMENTS, "support": SUPPORT}
    calibration = fit_lines(
        matrix, ELEMENTS, support=SUPPORT, beam_energy=200.0, detector=Detector(),
        absorption=film["Brg"], energy_range=(0.25, None),
    ).calibration  # fmt: skip
    plain = {"Brg": matrix}
    for grain in regions.names:
        mixture = integrate(si, regions.mixture(grain), name=grain)
        plain[grain] = subtract(mixture, matrix, anchor=anchors[grain], calibration=calibration,
                                absorption=film[grain], **common)  # fmt: skip
    spectra = {"subtract": plain}
    if "weighted" in methods:
        weighted = {"Brg": matrix}
        for grain, w in weighted_mixtures(si, regions, plain).items():
            weighted[grain] = subtract(
                w.spectrum, [matrix, *w.others], anchor=[anchors[grain], *w.anchors],
                calibration=calibration, absorption=film[grain], **common,
            )  # fmt: skip
        spectra["weighted"] = weighted
    if "unmix" in methods:
        unmixed = unmix(
            si, regions, anchors=anchors, calibration=calibration, absorption=film, **common
        )
        spectra["unmix"] = unmixed.spectra
    for method in methods:
        for name in names:
            yield method, name, quantify(
                spectra[method][name], ELEMENTS, support=SUPPORT, thickness=thickness,
                density=density[name], calibration=calibration, warn_above=None,
            )  # fmt: skip


def study(
    seeds: range,
    *,
    dose: float = 300.0,
    size: int = 64,
    channels: int = 2048,
    methods: tuple[str, ...] = ("subtract", "weighted", "unmix"),
    found: bool = False,
) -> tuple[dict[tuple[str, str, str], list[float]], dict[str, int]]:
    """Return z = (estimate - truth) / sigma by method, phase and element; and failures."""
    z: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    failed: dict[str, int] = defaultdict(int)
    for seed in seeds:
        rng = np.random.default_rng(10_000 + seed)
        shape = (size, size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SiftemWarning)
            # The run of the demo simulates the model case as it is.
            phases = MODEL_CASE if found else [p.varied(rng, 0.1) for p in MODEL_CASE]
            phantom = simulate(phases, shape, channels=channels, dose=dose, random_state=seed)
            try:
                regions = found_regions(shape, dose, seed) if found else true_regions(phantom)
                made = list(compositions(phantom, regions, methods))
            except SiftemError as error:
                failed[str(error)[:60]] += 1
                continue
            truth = dict(zip(phantom.names, phantom.weight_fractions, strict=True))
            for method, phase, c in made:
                for i, element in enumerate(c.elements):
                    off = c.unbounded[i] - truth[phase].get(element, 0.0)
                    z[method, phase, element].append(float(off / c.sigma[i]))
    return z, failed


def covered(z: list[float] | np.ndarray) -> dict[int, float]:
    """Percent of cases within the 68% and the 95% interval."""
    size = np.abs(np.asarray(z))
    return {level: 100 * float((size <= times).mean()) for level, times in TIMES.items()}


def table(z: dict[tuple[str, str, str], list[float]], methods: list[str]) -> str:
    """Markdown: mean z and coverage of each element of each phase, by method."""
    lines = ["| phase | element | " + " | ".join(f"{m}: mean z, 68%, 95%" for m in methods) + " |"]
    lines.append("|---" * (2 + len(methods)) + "|")
    for phase in [p.name for p in MODEL_CASE]:
        for element in ELEMENTS:
            if (phase, element) in FIXED:
                continue
            cells = []
            for m in methods:
                own = covered(z[m, phase, element])
                mean = np.mean(z[m, phase, element])
                cells.append(f"{mean:+.2f}, {own[68]:.0f}, {own[95]:.0f}")
            lines.append(f"| {phase} | {element} | " + " | ".join(cells) + " |")
    for title, pick in (("all", np.mean), ("lowest", np.min), ("highest", np.max)):
        cells = []
        for m in methods:
            own = [covered(v) for (a, p, e), v in z.items() if a == m and (p, e) not in FIXED]
            cells.append(f"{pick([c[68] for c in own]):.1f}, {pick([c[95] for c in own]):.1f}")
        lines.append(f"| {title} | | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--maps", type=int, default=300)
    parser.add_argument("--dose", type=float, default=300.0)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--found", action="store_true")
    parser.add_argument("--methods", default="subtract,weighted,unmix")
    parser.add_argument("--save", help="file (.npz) for the deviations")
    options = parser.parse_args()
    start = time.perf_counter()
    seeds = range(options.first, options.first + options.maps)
    methods = tuple(options.methods.split(","))
    z, failed = study(
        seeds, dose=options.dose, size=options.size, found=options.found, methods=methods
    )
    print(f"{options.maps} maps of {options.size} x {options.size}, {options.dose:g} counts a "
          f"pixel, {time.perf_counter() - start:.0f} s; left out: {dict(failed)}\n")  # fmt: skip
    print(table(z, list(methods)))
    if options.save:
        np.savez(options.save, **{"|".join(k): np.array(v) for k, v in z.items()})


if __name__ == "__main__":
    main()
