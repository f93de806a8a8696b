"""What families of lines look like in the detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.xray.charge_collection import collected_lines
from siftem.xray.detector import Detector
from siftem.xray.escape import SILICON_KA, escape_fraction
from siftem.xray.kernels import add_gaussians
from siftem.xray.lines import LineFamily

# Lines with less than this share of their family's photons stay whole when charge is lost.
_WEAK = 0.01

# Counts of a line that shifts nothing which can be seen.
_FAINT = 0.1

# A line is evaluated this many standard deviations to each side; 2e-9 of it lies beyond.
_REACH = 6.0

#: Energy over which the scale of soft lines may leave the straight one, keV.
SOFT = 1.5


@dataclass(frozen=True, eq=False)
class DetectedLines:
    """Lines of some families as the detector gets them, before it blurs them.

    Parameters
    ----------
    energies : ndarray of shape (lines,)
        True energies in keV, escape peaks included.
    counts : ndarray of shape (lines,)
        Counts for one emitted photon of the family.
    family : ndarray of int64, shape (lines,)
        Position of the family that a line belongs to.
    n_families : int
        Number of families.
    weak : ndarray of bool, shape (lines,)
        Lines that hardly count in their family.
    escaped : ndarray of bool, shape (lines,)
        Escape peaks.
    """

    energies: np.ndarray
    counts: np.ndarray
    family: np.ndarray
    n_families: int
    weak: np.ndarray
    escaped: np.ndarray

    def weighted(self, amplitudes: np.ndarray) -> DetectedLines:
        """Return all families as one, with these photons of each; (families,).

        Lines of less than a tenth of a count are left out.
        """
        counts = self.counts * amplitudes[self.family]
        kept = counts > _FAINT
        return replace(
            self,
            energies=self.energies[kept],
            counts=counts[kept],
            family=np.zeros(int(kept.sum()), np.int64),
            n_families=1,
            weak=self.weak[kept],
            escaped=self.escaped[kept],
        )


def detected_lines(
    families: Sequence[LineFamily],
    detector: Detector,
    *,
    absorption: Callable[[np.ndarray], np.ndarray] | None = None,
    escape: bool = True,
) -> DetectedLines:
    """Return the lines of families as counted by a detector, before it blurs them.

    The efficiency, the absorption and the escape depend on the true energies alone, not on
    the energy scale or the resolution, so a fit of these needs the lines only once.

    Parameters
    ----------
    families : sequence of LineFamily
    detector : Detector
    absorption : callable, optional
        See `family_profile`.
    escape : bool
        Move the escape part of each line 1.740 keV down; the counts stay the same.

    Returns
    -------
    DetectedLines
    """
    if not families:
        nothing = np.zeros(0)
        none = np.zeros(0, bool)
        return DetectedLines(nothing, nothing, np.zeros(0, np.int64), 0, none, none)
    energies = np.concatenate([f.energies for f in families])
    weights = np.concatenate([f.weights for f in families])
    family = np.repeat(np.arange(len(families)), [len(f.lines) for f in families])
    counts = weights * detector.efficiency(energies)
    if absorption is not None:
        counts = counts * np.asarray(absorption(energies), dtype=np.float64)
    escaped = np.zeros(energies.size, bool)
    if escape:
        ratio = escape_fraction(energies)
        escaping = ratio > 0
        counts = counts / (1 + ratio)
        counts = np.concatenate([counts, (counts * ratio)[escaping]])
        energies = np.concatenate([energies, energies[escaping] - SILICON_KA])
        family = np.concatenate([family, family[escaping]])
        escaped = np.arange(energies.size) >= escaped.size
    strongest = np.zeros(len(families))
    np.maximum.at(strongest, family, counts)
    weak = counts < _WEAK * strongest[family]
    return DetectedLines(energies, counts, family, len(families), weak, escaped)


def line_profiles(
    lines: DetectedLines,
    axis: EnergyAxis,
    detector: Detector,
    *,
    energy_shift: float = 0.0,
    resolution_factor: float = 1.0,
    bend: float = 0.0,
    soft_shift: float = 0.0,
) -> np.ndarray:
    """Return the expected counts in each channel for one emitted photon of each family.

    Parameters
    ----------
    lines : DetectedLines
    axis : EnergyAxis
        Channels, in keV or eV. What falls outside is lost, not folded back.
    detector : Detector
        Resolution and charge collection; the efficiency is in ``lines`` already.
    energy_shift, resolution_factor : float
        See `family_profile`.
    bend, soft_shift : float
        How the scale is not straight: lines are moved by ``bend E^2`` and by
        ``soft_shift exp(-E / 1.5 keV)``, in keV.

    Returns
    -------
    ndarray of shape (channels, families)
        float64, not negative.
    """
    sigma = detector.sigma(lines.energies) * resolution_factor
    seen, shares, origin, widths = collected_lines(
        lines.energies, detector.collection_depth, coarse=lines.weak
    )
    seen = seen + energy_shift + bend * seen**2 + soft_shift * np.exp(-seen / SOFT)
    kev = axis.to_kev()
    out = np.zeros((kev.size, lines.n_families))
    add_gaussians(
        out, lines.family[origin], seen, np.hypot(sigma[origin], widths),
        lines.counts[origin] * shares, kev.first, kev.scale, _REACH,
    )  # fmt: skip
    return out


def family_profile(
    family: LineFamily,
    axis: EnergyAxis,
    detector: Detector,
    *,
    absorption: Callable[[np.ndarray], np.ndarray] | None = None,
    escape: bool = True,
    energy_shift: float = 0.0,
    resolution_factor: float = 1.0,
) -> np.ndarray:
    """Return the expected counts in each channel for one emitted photon of a family.

    Every line is a Gaussian of the detector's width, integrated over each channel, times
    the line's weight, the detector's efficiency and the absorption at the line's energy.
    The natural width is ignored: below 10 keV it is at most some eV.

    Parameters
    ----------
    family : LineFamily
        Lines whose weights sum to 1.
    axis : EnergyAxis
        Channels, in keV or eV. What falls outside is lost, not folded back.
    detector : Detector
        Efficiency and resolution.
    absorption : callable, optional
        Energies in keV (lines,) -> share of the photons that leave the film (lines,);
        see `siftem.xray.absorption.thin_film_absorption`. None means no absorption.
    escape : bool
        Move the escape part of each line 1.740 keV down; the counts stay the same.
    energy_shift : float
        keV by which all peaks lie above their true energy. An error of the channel width
        is expressed by another axis.
    resolution_factor : float
        Factor on the width of all lines.

    Returns
    -------
    ndarray of shape (channels,)
        float64, not negative; the sum is the share of the emitted photons (into the
        solid angle of the detector) that are counted on the axis.
    """
    if not (np.isfinite(resolution_factor) and resolution_factor > 0):
        raise InputError(f"resolution_factor must be positive, got {resolution_factor}")
    if not np.isfinite(energy_shift):
        raise InputError(f"energy_shift must be a finite number of keV, got {energy_shift}")
    lines = detected_lines([family], detector, absorption=absorption, escape=escape)
    profile = line_profiles(
        lines, axis, detector, energy_shift=energy_shift, resolution_factor=resolution_factor
    )
    return profile[:, 0]
