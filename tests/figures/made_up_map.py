"""A small made-up map with any number of phases, drawn from plain Gaussian peaks."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from siftem.acquisition import Acquisition
from siftem.decomposition.factors import Factors
from siftem.energy_axis import EnergyAxis
from siftem.figures.line_labels import LineLabel
from siftem.segment.regions import Region, Regions
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.integrate import integrate

PEAKS = {
    "O Kα": 0.525,
    "Fe Lα": 0.705,
    "Cu Lα": 0.93,
    "Mg Kα": 1.254,
    "Al Kα": 1.487,
    "Si Kα": 1.74,
    "Ca Kα": 3.691,
    "Ca Kβ": 4.012,
    "Nd Lα": 5.228,
    "Sm Lα": 5.633,
    "Nd Lβ₁": 5.722,
    "Fe Kα": 6.4,
    "Fe Kβ": 7.058,
}
NAMES = ("Brg", "Fp", "Ca-Pv", "St", "Grt", "Ol", "Pyrrhotite")


@dataclass
class Case:
    si: SpectrumImage
    factors: Factors
    regions: Regions
    rectangles: tuple[Region, ...]
    whole: Spectrum
    confined: Spectrum
    grains: dict[str, Spectrum]
    labels: tuple[LineLabel, ...]

    def figure1_arguments(self) -> dict:
        return {
            "whole": self.whole,
            "rectangles": self.rectangles,
            "confined": self.confined,
            "line_labels": self.labels,
        }


def spectra_of(names, axis, seed):
    rng = np.random.default_rng(seed)
    energies = axis.to_kev().centers
    out = []
    for _ in names:
        shape = 0.05 * np.exp(-energies / 4)
        for energy in PEAKS.values():
            height = rng.lognormal(-1.5, 1.5)
            shape = shape + height * np.exp(-0.5 * ((energies - energy) / 0.045) ** 2)
        out.append(shape / shape.sum())
    return np.array(out)


def build_case(
    n_phases=3,
    *,
    shape=(40, 40),
    names=None,
    pixel_size=(2.0, 2.0),
    survey=False,
    axis=None,
    signal_type="EDS_TEM",
    dose=200.0,
    seed=0,
    labels=True,
    title="made up",
):
    names = tuple(names or NAMES[:n_phases])
    axis = axis or EnergyAxis(0.205, 0.02, 420)
    rng = np.random.default_rng(seed)
    spectra = spectra_of(names, axis, seed)
    ny, nx = shape
    y, x = np.mgrid[:ny, :nx]
    masks = {}
    for i, name in enumerate(names[1:]):
        angle = 2 * np.pi * i / max(len(names) - 1, 1)
        cy, cx = ny * (0.5 + 0.22 * np.sin(angle)), nx * (0.5 + 0.22 * np.cos(angle))
        masks[name] = ((y - cy) / (0.17 * ny)) ** 2 + ((x - cx) / (0.17 * nx)) ** 2 < 1
    amounts = np.ones((len(names), ny, nx))
    for i, mask in enumerate(masks.values(), start=1):
        amounts[i] = 0.7 * mask
        amounts[0] -= 0.3 * mask
    amounts = np.clip(amounts, 0, None)
    maps = dose * amounts / amounts.sum(axis=0)
    counts = rng.poisson(maps.reshape(len(names), -1).T @ spectra).astype(float)
    si = SpectrumImage(
        sp.csr_array(counts),
        shape,
        axis,
        pixel_size=pixel_size,
        acquisition=Acquisition(beam_energy=200.0, take_off_angle=22.0, resolution=130.0),
        survey=rng.normal(100, 10, shape) if survey else None,
        signal_type=signal_type,
        title=title,
    )
    factors = Factors(rng.poisson(maps).astype(float), spectra, axis, names, 1.0, 10, True)
    regions = Regions(shape, matrix=names[0], masks=masks)
    height, width = max(ny // 6, 1), max(nx // 6, 1)
    boxes = []
    for number, (top, left) in enumerate(((0, 0), (0, nx - width)), start=1):
        mask = np.zeros(shape, bool)
        mask[top : top + height, left : left + width] = True
        boxes.append(Region(f"confined rectangle {number}", mask))
    grains = {}
    for i, name in enumerate(masks, start=1):
        true = 2000 * spectra[i] * masks[name].sum()
        values = rng.normal(true, np.sqrt(true + 5))
        modes = 0.02 * spectra[:1] * true.sum()
        grains[name] = Spectrum(values, axis, variance=true + 5, modes=modes, name=name)
    shown = ()
    if labels:
        shown = tuple(LineLabel(text, energy, 1 / energy) for text, energy in PEAKS.items())
    return Case(
        si=si,
        factors=factors,
        regions=regions,
        rectangles=tuple(boxes),
        whole=integrate(si, regions.pure, name=names[0]),
        confined=integrate(si, boxes[0]),
        grains=grains,
        labels=shown,
    )
