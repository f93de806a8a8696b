"""What the detector does to a peak beyond a Gaussian: tails, shelf, events that arrive together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from siftem.energy_axis import EnergyAxis

#: Decay lengths of the exponential tails, keV: charge lost at the borders of the active
#: volume, charge lost deep in it, and small pulses that add to a large one.
NEAR, FAR, ABOVE = 0.06, 0.4, 0.15
#: Energy at which the shares are given, keV; towards lower energies the tails grow.
REFERENCE = 5.9


@dataclass(frozen=True)
class PeakTails:
    """Shares of a peak's counts that are found away from it.

    Parameters
    ----------
    near, far : float
        In exponential tails towards low energies that decay within 0.06 and 0.4 keV.
    shelf : float
        In a flat shelf from zero energy to the peak.
    above : float
        In an exponential tail towards high energies that decays within 0.15 keV.
    """

    near: float = 0.0
    far: float = 0.0
    shelf: float = 0.0
    above: float = 0.0

    def __bool__(self) -> bool:
        return any((self.near, self.far, self.shelf, self.above))


def with_tails(peaks: np.ndarray, axis: EnergyAxis, tails: PeakTails) -> np.ndarray:
    """Return peaks with shares of their counts moved into tails and shelf.

    Each tail is the peak convolved with an exponential, and the shelf its share spread evenly
    over all energies below, so that counts only leave through the ends of the axis.

    Parameters
    ----------
    peaks : ndarray of shape (channels, n)
        Gaussian peaks.
    axis : EnergyAxis
    tails : PeakTails

    Returns
    -------
    ndarray of shape (channels, n)

    References
    ----------
    The sum of Gaussian, exponential tail and shelf: Phillips & Marlow 1976, Nucl. Instrum.
    Methods 137, 525.
    """
    if not tails:
        return peaks
    kev = axis.to_kev()
    lost = tails.near + tails.far + tails.shelf + tails.above
    out = (1.0 - lost) * peaks
    reverse = peaks[::-1]
    for share, length in ((tails.near, NEAR), (tails.far, FAR)):
        if share:
            out += share * _exponential(reverse, kev.scale / length)[::-1]
    if tails.above:
        out += tails.above * _exponential(peaks, kev.scale / ABOVE)
    if tails.shelf:
        width = np.maximum(kev.centers, kev.scale) / kev.scale
        spread = np.cumsum(reverse / width[::-1, None], axis=0)[::-1]
        out += tails.shelf * np.where(kev.centers[:, None] > 0, spread, 0.0)
    return out


def _exponential(peaks: np.ndarray, per_channel: float) -> np.ndarray:
    """Each column convolved with an exponential of sum one that runs up the channels."""
    kept = np.exp(-per_channel)
    return np.asarray(lfilter([1.0 - kept], [1.0, -kept], peaks, axis=0))
