"""A trace in the matrix of a map: 300 ppm of Nd by weight, 4e7 counts.

    python validation/quantify_trace.py [--counts 4e7] [--ppm 300] [--seeds 3] [--found]

The model case with this much Nd in its bridgmanite, simulated as a map of 128 x 128 pixels.
The table gives what is found in the spectrum of the whole pure matrix, with the true regions
or, with ``--found``, with those that decomposition, forest and graph cut find.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import replace

from siftem.errors import SiftemWarning
from siftem.quantification.composition import Composition, quantify
from siftem.segment.regions import Regions
from siftem.simulate.phantom import Phantom, simulate
from siftem.simulate.spectra import MODEL_CASE, PhaseModel
from siftem.spectrum import Spectrum
from siftem.unmixing.integrate import integrate

SIZE = 128
#: A pixel with less of a grain than this share of the thickness is pure matrix. Ca-perovskite
#: holds a hundred times more Nd: 0.1% of it would add 30 ppm.
SHARE = 0.0005


def doped(ppm: float) -> list[PhaseModel]:
    """Return the model case with this much Nd in the matrix."""
    matrix, *grains = MODEL_CASE
    share = ppm * 1e-6
    rest = {e: w for e, w in matrix.weight_fractions.items() if e != "Nd"}
    total = sum(rest.values())
    weights = {e: w / total * (1 - share) for e, w in rest.items()} | {"Nd": share}
    return [replace(matrix, weight_fractions=weights), *grains]


def trace_map(counts: float, ppm: float, seed: int) -> Phantom:
    return simulate(doped(ppm), (SIZE, SIZE), dose=counts / SIZE**2, random_state=seed)


def of_matrix(phantom: Phantom, regions: Regions) -> tuple[Spectrum, Composition]:
    si = phantom.spectrum_image.without_zero_peak()
    spectrum = integrate(si, regions.pure, name=phantom.matrix)
    elements = [*phantom.weight_fractions[0]]
    return spectrum, quantify(
        spectrum, elements, support=["Cu"], thickness=phantom.microscope.thickness,
        density=phantom.densities[0], warn_above=None,
    )  # fmt: skip


def true_regions(phantom: Phantom) -> Regions:
    masks = {n: phantom.mask(n, at_least=SHARE) for n in phantom.names[1:]}
    return Regions((SIZE, SIZE), matrix=phantom.matrix, masks=masks)


def found_regions(phantom: Phantom, seed: int) -> Regions:
    """Regions that a run finds in the map of the demo with the same grains."""
    from siftem.pipeline.starting_recipe import demo_recipe
    from siftem.pipeline.workflow import run

    return run(demo_recipe(shape=(SIZE, SIZE), random_state=seed)).segmentation.regions


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--counts", type=float, default=4e7)
    parser.add_argument("--ppm", type=float, default=300.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--found", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore", SiftemWarning)
    print("| seed | counts of the pure matrix | Nd, ppm | off | relative sigma | LOD, ppm | s |")
    print("|---" * 7 + "|")
    for seed in range(options.seeds):
        start = time.perf_counter()
        phantom = trace_map(options.counts, options.ppm, seed)
        regions = found_regions(phantom, seed) if options.found else true_regions(phantom)
        spectrum, c = of_matrix(phantom, regions)
        i = c.index("Nd")
        value, sigma = 1e6 * c.weight_fractions[i], 1e6 * c.sigma[i]
        print(
            f"| {seed} | {spectrum.values.sum():.2e} | {value:.0f} +- {sigma:.0f} | "
            f"{100 * (value / options.ppm - 1):+.0f}% | {100 * sigma / options.ppm:.0f}% | "
            f"{1e6 * c.detection_limits[i]:.0f} | {time.perf_counter() - start:.0f} |"
        )


if __name__ == "__main__":
    main()
