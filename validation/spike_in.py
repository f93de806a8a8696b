"""Known numbers of photons, added to real spectra, must be found within their errors.

    python -m validation.spike_in FOLDER [NAME ...] [--draws 40] [--times 1,2,5,10] [--share 0.1]

Nd L, Sm L and Ni K are added to sums of the real maps in FOLDER that hold none of them, and to the
matrix and the mixtures of the 71 GPa map; what these hold of Nd and Sm by all their counts is taken
off. Each draw takes every count with a chance of one tenth and adds Poisson counts of the lines at
1, 2, 5 and 10 times the detection limit. So nine tenths of the variance differ from draw to draw;
of halves of the counts one half would, and the other would be one draw for all. The peaks are no
model's: each
has the shape and the counts per photon of the strongest peak beside it in the map, what was fitted
below that taken off, moved and widened as the resolution asks. Energies, ratios of lines and
efficiency are siftem's.

Printed is how often 68 and 95% intervals hold the number of photons that was added, the mean
pull, and the root mean square of the pulls.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from validation.null_elements import MAPS, RECIPE, fitted

import siftem
from siftem.errors import SiftemWarning
from siftem.fit.line_fit import LineFit
from siftem.pipeline.recipe import read_recipe
from siftem.pipeline.workflow import run
from siftem.xray.lines import LineFamily, line_family
from siftem.xray.profiles import detected_lines

#: Family -> peaks whose shape it may take, the nearest first.
SPIKES = {
    ("Nd", "L"): ("Cr", "Mn", "Fe", "Ti", "Ca", "Co", "Cu"),
    ("Sm", "L"): ("Fe", "Cr", "Mn", "Ti", "Ca", "Co", "Cu"),
    ("Ni", "K"): ("Cu", "Fe", "Co"),
}
#: Full widths that a shape reaches to each side of its line.
_REACH = 1.2


@dataclass(frozen=True, eq=False)
class Source:
    """A real spectrum.

    Parameters
    ----------
    name : str
    base : LineFit
        Of all its counts.
    elements, support : list of str
    """

    name: str
    base: LineFit
    elements: list[str]
    support: list[str]


def sources(folder: Path, names: list[str]) -> Iterator[Source]:
    """Yield sums of the maps that lie in a folder, and regions of the 71 GPa map."""
    for name, (elements, support) in MAPS.items():
        if not (folder / name).exists() or (names and not any(name.startswith(n) for n in names)):
            continue
        if name.startswith("71GPa"):
            spectra = list(run(read_recipe(RECIPE)).spectra.values())
        elif {*elements.split(), *support.split()} & {e for e, _ in SPIKES}:
            continue
        else:
            si = siftem.load(folder / name).without_zero_peak()
            spectra = [siftem.integrate(si, np.ones(si.shape, bool), name=name)]
        for spectrum in spectra:
            base = fitted(spectrum, elements.split(), support.split())
            yield Source(spectrum.name, base, elements.split(), support.split())


def measured_shape(source: Source, family: LineFamily, peaks: tuple[str, ...]) -> np.ndarray:
    """Counts in each channel for one photon that a family emits, by a measured peak."""
    fit, axis = source.base, source.base.spectrum.axis
    own = [f"{e} K" for e in peaks if f"{e} K" in fit.names]
    size = [fit.amplitudes[fit.names.index(n)] for n in own]
    # The nearest of those that stand out.
    name = next(n for n, s in zip(own, size, strict=True) if s > 0.2 * max(size))
    i = fit.names.index(name)
    clean = fit.spectrum.counts - (fit.closest - fit.amplitudes[i] * fit.design[:, i])
    at = _seen_at(fit, fit.model.families[i].alpha_energy)
    width = _width(fit, at)
    window = np.abs(axis.centers - at) < _REACH * width
    peak = np.where(window, clean, 0.0)
    # Photons of the peak as they were fitted: what lies in its tails is theirs, too.
    beside = detected_lines([fit.model.families[i]], fit.model.detector)
    own_lines = np.abs(beside.energies - fit.model.families[i].alpha_energy) < 0.5 * width
    peak /= fit.amplitudes[i] * beside.counts[own_lines].sum()
    lines = detected_lines([family], fit.model.detector)
    shape = np.zeros(axis.size)
    for energy, share in zip(lines.energies, lines.counts, strict=True):
        place = _seen_at(fit, float(energy))
        if not axis.first < place < axis.last:
            continue
        stretch = _width(fit, place) / width
        moved = np.interp(at + (axis.centers - place) / stretch, axis.centers, peak)
        shape += share * moved / stretch
    return np.maximum(shape, 0.0)


def _seen_at(fit: LineFit, energy: float) -> float:
    """Where a line lies on the nominal axis, keV."""
    c = fit.calibration
    return energy * (1 + c.gain) + c.shift + c.bend * energy**2 + c.soft * np.exp(-energy / 1.5)


def _width(fit: LineFit, energy: float) -> float:
    c = fit.calibration
    detector = replace(fit.model.detector, resolution=c.resolution, broadening=c.broadening)
    return float(detector.fwhm(np.array([energy]))[0]) / 1e3


def pulls(source: Source, times: float, draws: int, share: float) -> np.ndarray:
    """Deviations over their errors; (draws, spikes)."""
    elements = [e for e, _ in SPIKES]
    counts = source.base.spectrum.counts
    families = [
        line_family(e, shell, beam_energy=source.base.model.beam_energy) for e, shell in SPIKES
    ]
    shapes = [measured_shape(source, f, p) for f, p in zip(families, SPIKES.values(), strict=True)]
    whole, own = source.base, {f.element for f in source.base.model.families}
    held = [share * whole.amplitudes[whole.index(e)] if e in own else 0.0 for e in elements]
    found = np.zeros((draws, len(SPIKES)))
    for i in range(draws):
        rng = np.random.default_rng([i, int(10 * times)])
        part = rng.binomial(counts.astype(int), share).astype(float)
        if i == 0:  # the limit is that of this map
            bare = _fit(source, part, elements)
            limit = [3.29 * bare.sigma_at_zero(bare.index(e, shell)) for e, shell in SPIKES]
        amounts = times * np.array(limit)
        spiked = part + rng.poisson(sum(a * s for a, s in zip(amounts, shapes, strict=True)))
        fit = _fit(source, spiked, elements)
        for j, (e, shell) in enumerate(SPIKES):
            k = fit.index(e, shell)
            off = fit.unbounded[k] - amounts[j] - held[j]
            found[i, j] = off / np.sqrt(fit.covariance[k, k])
    return found


def _fit(source: Source, counts: np.ndarray, more: list[str]) -> LineFit:
    spectrum = replace(source.base.spectrum, values=counts, variance=counts)
    return fitted(spectrum, list(dict.fromkeys([*source.elements, *more])), source.support)


def told(name: str, times: str, z: np.ndarray) -> str:
    inside = [100 * np.mean(np.abs(z) < limit) for limit in (0.9945, 1.96)]
    return (
        f"| {name} | {times} | {z.size} | {inside[0]:.0f} | {inside[1]:.0f} | "
        f"{z.mean():+.2f} | {np.sqrt((z**2).mean()):.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="beginnings of the files' names")
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--times", default="1,2,5,10")
    parser.add_argument("--share", type=float, default=0.1)
    args = parser.parse_args()
    warnings.simplefilter("ignore", SiftemWarning)
    every: dict[str, list[np.ndarray]] = {}
    print("| spectrum | limits | pulls | in 68% | in 95% | mean | rms |\n" + "|---" * 7 + "|")
    for source in sources(args.folder, args.names):
        for times in args.times.split(","):
            z = pulls(source, float(times), args.draws, args.share)
            every.setdefault(times, []).append(z)
            each = "; ".join(f"{e} {z[:, j].mean():+.1f}" for j, (e, _) in enumerate(SPIKES))
            print(told(f"{source.name[:16]} ({each})", times, z), flush=True)
    for times, found in every.items():
        print(told("all", times, np.concatenate(found)))
    for j, (e, shell) in enumerate(SPIKES):
        z = np.concatenate([f[:, j] for found in every.values() for f in found])
        print(told(f"{e} {shell}", "all", z))


if __name__ == "__main__":
    main()
