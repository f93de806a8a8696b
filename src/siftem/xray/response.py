"""What the detector does to a peak beyond a Gaussian: tails, shelf, events that arrive together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import partial

import numpy as np

from siftem.energy_axis import EnergyAxis
from siftem.xray.kernels import decay

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
    out = (1.0 - sum(astuple(tails))) * peaks
    for share, moved in zip(astuple(tails), _MOVED, strict=True):
        if share:
            out += share * moved(peaks, kev)
    return out


def tail_slopes(peaks: np.ndarray, axis: EnergyAxis) -> np.ndarray:
    """Return how peaks (channels,) change with the shares of `PeakTails`; (channels, 4)."""
    kev = axis.to_kev()
    return np.hstack([moved(peaks[:, None], kev) - peaks[:, None] for moved in _MOVED])


def spread_exponentially(peaks: np.ndarray, axis: EnergyAxis, length: float) -> np.ndarray:
    """Return each column convolved with an exponential of sum one.

    Parameters
    ----------
    peaks : ndarray of shape (channels, n)
    axis : EnergyAxis
        In keV.
    length : float
        keV over which it decays; negative towards high energies.
    """
    kept = float(np.exp(-axis.scale / abs(length)))
    return np.asarray(decay(np.ascontiguousarray(peaks), kept, length < 0))


def _spread(peaks: np.ndarray, kev: EnergyAxis) -> np.ndarray:
    width = np.maximum(kev.centers, kev.scale) / kev.scale
    shelf = np.cumsum((peaks / width[:, None])[::-1], axis=0)[::-1]
    return np.where(kev.centers[:, None] > 0, shelf, 0.0)


#: Where the counts go, in the order of `PeakTails`.
_MOVED: tuple[Callable[[np.ndarray, EnergyAxis], np.ndarray], ...] = (
    partial(spread_exponentially, length=NEAR),
    partial(spread_exponentially, length=FAR),
    _spread,
    partial(spread_exponentially, length=-ABOVE),
)
