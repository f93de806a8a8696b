"""Spectra by physics that is not the fit's: other lines, tails, shelf, widths and continuum."""

from __future__ import annotations

import numpy as np
from scipy.special import erfc

from siftem.energy_axis import EnergyAxis

AXIS = EnergyAxis(0.2, 0.01, 1000)
#: keV and share of the counts of each line, from public tables of lines.
LINES = {
    "O": [(0.525, 1.0)],
    "Mg": [(1.254, 0.992), (1.302, 0.008)],
    "Si": [(1.740, 0.977), (1.836, 0.023)],
    "Ca": [(3.691, 0.885), (4.013, 0.115)],
    "Fe": [(6.400, 0.88), (7.058, 0.12)],
    "Fe L": [(0.705, 0.7), (0.718, 0.2), (0.615, 0.1)],
    "Ni": [(7.472, 0.88), (8.265, 0.12)],
    "Cu": [(8.041, 0.88), (8.905, 0.12)],
    "Cu L": [(0.930, 0.75), (0.950, 0.22), (0.811, 0.03)],
}
COUNTS = {
    "O": 0.27, "Mg": 0.18, "Si": 0.21, "Ca": 0.02,
    "Fe": 0.05, "Fe L": 0.02, "Cu": 0.03, "Cu L": 0.01,
}  # fmt: skip


def peak(
    energy: float, *, tail: float = 0.012, shelf: float = 0.004, axis: EnergyAxis = AXIS
) -> np.ndarray:
    """A peak of one count, its tail 70 eV long, its widths by a Fano noise 6% high."""
    e = axis.centers
    sigma = np.sqrt(max(131.5**2 + 2480.0 * (energy - 5.9), 1500.0)) / 2354.8
    u = (e - energy) / sigma
    gauss = np.exp(-0.5 * u**2) / (sigma * np.sqrt(2 * np.pi))
    length = 0.07
    slope = np.clip((e - energy) / length + 0.5 * (sigma / length) ** 2, -700, 50)
    low = 0.5 / length * np.exp(slope) * erfc((u + sigma / length) / np.sqrt(2))
    flat = 0.5 * erfc(u / np.sqrt(2)) / energy
    return axis.scale * ((1 - tail - shelf) * gauss + tail * low + shelf * flat)


def expected(total: float, counts: dict[str, float] | None = None) -> np.ndarray:
    """Expected counts; what lines leave of ``total`` is a continuum that bends."""
    shares = COUNTS if counts is None else counts
    e = AXIS.centers
    lines = sum(
        share * weight * peak(energy)
        for name, share in shares.items()
        for energy, weight in LINES[name]
    )
    bend = np.exp(-0.9 * np.log(e) - 0.10 * np.log(e) ** 2 - (0.33 / e) ** 2)
    return total * (lines + (1 - sum(COUNTS.values())) * bend / bend.sum())


def line_counts(name: str) -> np.ndarray:
    """One count of an element's K lines."""
    return sum(weight * peak(energy) for energy, weight in LINES[name])
