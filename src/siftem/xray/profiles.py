"""What one family of lines looks like in the detector."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import erf

from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.xray.charge_collection import collected_lines
from siftem.xray.detector import Detector
from siftem.xray.escape import SILICON_KA, escape_fraction
from siftem.xray.lines import LineFamily

# A line is evaluated this many standard deviations to each side; 2e-9 of it lies beyond.
_REACH = 6.0


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
    energies = family.energies
    counts = family.weights * detector.efficiency(energies)
    if absorption is not None:
        counts = counts * np.asarray(absorption(energies), dtype=np.float64)
    if escape:
        ratio = escape_fraction(energies)
        escaping = ratio > 0
        counts = counts / (1 + ratio)
        counts = np.concatenate([counts, (counts * ratio)[escaping]])
        energies = np.concatenate([energies, energies[escaping] - SILICON_KA])
    sigma = detector.sigma(energies) * resolution_factor
    seen, shares, origin = collected_lines(energies, detector.collection_depth)
    return gaussian_counts(
        axis.to_kev(), seen + energy_shift, sigma[origin], counts[origin] * shares
    )


def gaussian_counts(
    axis: EnergyAxis, energies: np.ndarray, sigma: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Return the sum of Gaussians, each integrated over the channels of an axis in keV.

    Parameters
    ----------
    axis : EnergyAxis
        In keV.
    energies, sigma : ndarray of shape (lines,)
        Centres and standard deviations in keV.
    counts : ndarray of shape (lines,)
        Area of each Gaussian.

    Returns
    -------
    ndarray of shape (channels,)
        float64. The tails beyond 6 standard deviations are cut.
    """
    first = np.floor((energies - _REACH * sigma - axis.first) / axis.scale).astype(np.int64)
    n_channels = int(np.ceil(2 * _REACH * sigma.max(initial=0.0) / axis.scale)) + 2
    edges = first[:, np.newaxis] + np.arange(n_channels + 1)
    distance = axis.first + edges * axis.scale - energies[:, np.newaxis]
    below = 0.5 * erf(distance / (np.sqrt(2) * sigma[:, np.newaxis]))
    content = counts[:, np.newaxis] * np.diff(below, axis=1)
    channel = edges[:, :-1]
    inside = (channel >= 0) & (channel < axis.size)
    return np.bincount(channel[inside], weights=content[inside], minlength=axis.size)
