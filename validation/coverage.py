"""Do the error bars hold the truth? Coverage of the intervals over many simulated maps.

    python validation/coverage.py [--maps 300] [--dose 300] [--size 64] [--found]

Each map is a new model case: other grains, compositions varied by 10%, other noise. For
every element of every phase the table tells how often the truth lies within one and within
two (1.96) counting standard deviations of the result: once with the true regions and
:func:`siftem.subtract`, once with the true regions and :func:`siftem.unmix`, and, with
``--found``, with the regions that a run of the pipeline finds.

Elements whose true value is below its critical level come apart: amounts can't be negative,
so half of the results are zero, and intervals then hold a truth near zero in 84 and 97%.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import defaultdict

import numpy as np

from siftem.errors import InputError, SiftemWarning
from siftem.fit.line_fit import fit_lines
from siftem.quantify.composition import quantify
from siftem.quantify.film import Film, absorber
from siftem.segment.regions import Regions
from siftem.simulate.phantom import Phantom, simulate
from siftem.simulate.phases import MODEL_CASE
from siftem.unmix.anchors import Absent, KnownRatio
from siftem.unmix.constrained import unmix
from siftem.unmix.integrate import integrate
from siftem.unmix.subtract import subtract
from siftem.xray.detector import Detector
from siftem.xray.elements import atomic_weight

SUPPORT = ["Cu"]
#: A pixel with less of a grain than this share of the thickness counts as without it.
SHARE = 0.02


def compositions(phantom: Phantom, regions: Regions, elements: list[str]):
    """Yield (method, phase, composition) for a phantom and its regions."""
    si = phantom.spectrum_image.without_zero_peak()
    names = phantom.names
    weights = dict(zip(names, phantom.weight_fractions, strict=True))
    density = dict(zip(names, phantom.densities, strict=True))
    thickness = phantom.microscope.thickness
    film = {n: absorber(dict(weights[n]), Film(thickness, density[n], 22.0)) for n in names}
    ca = weights["Ca-Pv"]
    ratio = ca["Mg"] / atomic_weight("Mg") / (ca["Ca"] / atomic_weight("Ca"))
    anchors = {"Fp": Absent("Si"), "Ca-Pv": KnownRatio("Mg", "Ca", ratio)}
    matrix = integrate(si, regions.pure, name="Brg")
    common = {"elements": elements, "support": SUPPORT}
    calibration = fit_lines(
        matrix, elements, support=SUPPORT, beam_energy=200.0, detector=Detector(),
        absorption=film["Brg"], energy_range=(0.25, None),
    ).calibration  # fmt: skip
    pure = {"Brg": matrix}
    for grain in regions.names:
        pure[grain] = subtract(
            integrate(si, regions.mixture(grain)), matrix, anchor=anchors[grain],
            calibration=calibration, absorption=film[grain], **common,
        )  # fmt: skip
    unmixed = unmix(
        si, regions, anchors=anchors, calibration=calibration, absorption=film, **common
    )
    for method, spectra in (("subtract", pure), ("unmix", unmixed.spectra)):
        for name in names:
            yield method, name, quantify(
                spectra[name], elements, support=SUPPORT, thickness=thickness,
                density=density[name], calibration=calibration, warn_above=None,
            )  # fmt: skip


def found_compositions(seed: int, size: int, dose: float):
    """Yield (method, phase, composition) for the regions that the pipeline finds."""
    from siftem.pipeline.demo import demo_recipe
    from siftem.pipeline.run import run

    recipe = demo_recipe(shape=(size, size), dose=dose, seed=seed)
    result = run(recipe)
    for name in result.pure:
        yield "found", name, result.compositions[name]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--maps", type=int, default=300)
    parser.add_argument("--dose", type=float, default=300.0)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--found", action="store_true")
    options = parser.parse_args()
    elements = list(MODEL_CASE[0].weight_fractions)
    z = defaultdict(list)
    small = defaultdict(list)
    failed: dict[str, int] = defaultdict(int)
    start = time.perf_counter()
    for seed in range(options.first, options.first + options.maps):
        rng = np.random.default_rng(10_000 + seed)
        phases = [p.varied(rng, 0.1) for p in MODEL_CASE]
        size = (options.size, options.size)
        try:
            phantom = simulate(phases, size, dose=options.dose, seed=seed)
            masks = {n: phantom.mask(n, at_least=SHARE) for n in phantom.names[1:]}
            regions = Regions(size, matrix=phantom.names[0], masks=masks)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SiftemWarning)
                made = list(compositions(phantom, regions, elements))
        except InputError as error:
            failed[str(error).split(":")[0]] += 1
            continue
        truths = dict(zip(phantom.names, phantom.weight_fractions, strict=True))
        if options.found:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", SiftemWarning)
                    plain = {p.name: p.weight_fractions for p in MODEL_CASE}
                    made_found = list(found_compositions(seed, options.size, options.dose))
                _collect(z, small, made_found, plain, elements)
            except InputError as error:
                failed[f"found: {str(error).split(':')[0]}"] += 1
        _collect(z, small, made, truths, elements)
    seconds = time.perf_counter() - start
    print(f"{options.maps} maps of {options.size} x {options.size}, {options.dose:g} counts a "
          f"pixel, {seconds:.0f} s; left out: {dict(failed)}")  # fmt: skip
    for method in ("subtract", "unmix", "found"):
        if not any(k[0] == method for k in z):
            continue
        print(f"\n{method}\n\n| phase | element | maps | mean z | 68% | 95% |")
        print("|---|---|---|---|---|---|")
        everything = []
        for (m, phase, element), values in z.items():
            if m != method:
                continue
            v = np.array(values)
            everything.append(v)
            print(
                f"| {phase} | {element} | {v.size} | {v.mean():+.2f} | "
                f"{100 * (np.abs(v) < 1).mean():.0f} | {100 * (np.abs(v) < 1.96).mean():.0f} |"
            )
        v = np.concatenate(everything)
        print(
            f"| all | | {v.size} | {v.mean():+.2f} | {100 * (np.abs(v) < 1).mean():.1f} | "
            f"{100 * (np.abs(v) < 1.96).mean():.1f} |"
        )
        below = np.concatenate([np.array(s) for k, s in small.items() if k[0] == method] or [[]])
        if below.size:
            one, two = (100 * (np.abs(below) < n).mean() for n in (1, 1.96))
            print(f"\nbelow the critical level: {below.size} values, within one sigma "
                  f"{one:.0f}%, two {two:.0f}%")  # fmt: skip


def _collect(z, small, made, truths, elements) -> None:
    for method, name, c in made:
        for i, element in enumerate(c.elements):
            true = truths[name].get(element, 0.0)
            value = (c.weight_fractions[i] - true) / c.sigma[i]
            # Which side an element falls on is decided by the truth, not by the result.
            below = true < 2 * c.critical_levels[i]
            (small if below else z)[method, name, element].append(value)


if __name__ == "__main__":
    main()
