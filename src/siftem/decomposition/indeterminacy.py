"""How far a factorisation is open: what the counts alone do not decide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.ndimage import uniform_filter1d

from siftem.decomposition.smooth_maps import SmoothedWeights
from siftem.views import outline

_COUNTS_IN_WINDOW = 4000.0
#: Standard deviations within which a weight or a window of channels may be negative.
_NOISE = 2.0
#: Channels in a window.
_WINDOW = 9


@dataclass(frozen=True, eq=False)
class Indeterminacy:
    """How far each spectrum can be sheared along each other one at no cost beyond noise.

    Spectrum c may become ``(S_c + g S_d) / (1 + g)`` for any ``g`` from ``low[c, d]`` to
    ``high[c, d]``: the weights of d take up the difference, the expected counts stay the same.

    Parameters
    ----------
    low : ndarray of shape (k, k)
        Not positive: how much of d can be taken out of c until channels turn negative.
    high : ndarray of shape (k, k)
        Not negative: how much of d can be put into c until weights of d turn negative.
    degrees_low, degrees_high : ndarray of shape (k, k)
        Angles between the spectra at both ends and the given one.
    """

    __repr__ = outline

    low: np.ndarray
    high: np.ndarray
    degrees_low: np.ndarray
    degrees_high: np.ndarray

    @property
    def degrees(self) -> np.ndarray:
        """The wider end of each shear, in degrees; (k, k), zero on the diagonal."""
        return np.maximum(self.degrees_low, self.degrees_high)

    def reordered(self, order: list[int]) -> Indeterminacy:
        """Return it for the components in another order."""
        index = np.ix_(order, order)
        return Indeterminacy(
            self.low[index],
            self.high[index],
            self.degrees_low[index],
            self.degrees_high[index],
        )


def shear_freedom(
    counts: sp.csr_array, shape: tuple[int, int], spectra: np.ndarray
) -> Indeterminacy:
    """Measure how far the likelihood leaves spectra open, one pair at a time.

    A first-order answer: signed least-squares weights, smoothed to about 4000 counts, tell
    how much of d goes with c everywhere; windows of nine channels tell how much of d fits
    into c. Both are allowed to turn negative by two standard deviations.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (ny * nx, m)
    shape : tuple of int
        (ny, nx).
    spectra : ndarray of shape (k, m)
        Each summing to one.

    Returns
    -------
    Indeterminacy
    """
    k = len(spectra)
    typical = max(float(counts.sum(dtype=np.float64)) / counts.shape[0], 1e-12)
    sigma = float(np.clip(np.sqrt(_COUNTS_IN_WINDOW / (4 * np.pi * typical)), 0.7, 4.0))
    weights = SmoothedWeights.of(counts, shape, spectra, sigma)
    smooth, held = weights.maps, weights.held
    # The covariance of the weights of the mean pixel, averaged over the smoothing window.
    mean = np.maximum(np.asarray(counts.mean(axis=0)).ravel(), 1e-6 * typical / counts.shape[1])
    information = (spectra / mean) @ spectra.T
    window = max(4 * np.pi * sigma**2, 1.0)
    noise = np.sqrt(np.diag(np.linalg.pinv(information)) / window)
    low, high = np.zeros((k, k)), np.zeros((k, k))
    binned = uniform_filter1d(spectra, _WINDOW, axis=1, mode="nearest")
    for c in range(k):
        spread = np.sqrt(np.maximum(binned[c], 0) / _WINDOW / max(held[c], 1.0))
        present = smooth[c] > 5 * noise[c]
        for d in range(k):
            if d == c:
                continue
            if present.any():
                most = (smooth[d][present] + _NOISE * noise[d]) / smooth[c][present]
                high[c, d] = max(float(np.quantile(most, 0.01)), 0.0)
            usable = binned[d] > 1e-2 * binned[d].max()
            room = (binned[c][usable] + _NOISE * spread[usable]) / binned[d][usable]
            low[c, d] = -min(max(float(room.min()), 0.0), 0.99)
    degrees = [
        np.array(
            [
                [_angle(spectra[c], spectra[c] + g[c, d] * spectra[d]) for d in range(k)]
                for c in range(k)
            ]
        )
        for g in (low, high)
    ]
    return Indeterminacy(low, high, degrees[0], degrees[1])


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    b = np.maximum(b, 0)
    size = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.degrees(np.arccos(np.clip(a @ b / size, -1, 1)))) if size > 0 else 0.0
