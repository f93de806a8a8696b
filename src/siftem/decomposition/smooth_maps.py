"""Spectra from all counts and smoothed maps: a subspace with hardly more noise than counting.

A fit to pooled pixels wastes part of what the counts say: a block that a grain fills by half
counts half. Here each pixel's spectrum goes into the sum with the smoothed weights of its
neighbours, the maps serving as instruments (Reiersol 1945): whatever they are, as long as
their noise is not that of the pixel itself, the spectra are unbiased.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter

from siftem.large.disk_images import image_beside, on_grid, reach, smoothed, strips
from siftem.large.rows_of_counts import rows_of
from siftem.robust import grid_step

#: Counts that the smoothing window of the maps holds.
_COUNTS_IN_WINDOW = 1000.0
_ROUNDS = 2
#: Beyond this the maps are too much alike to tell the spectra apart.
_WORST_CONDITION = 1e6


def signed_weights(counts: sp.csr_array, spectra: np.ndarray) -> np.ndarray:
    """Weighted least-squares weights (k, n), of either sign: linear in the counts, hence unbiased.

    ``X D H' (H D H')^-1`` with ``D`` the inverse of the mean spectrum, the same in all
    pixels: the first step of the maximum likelihood, without its bound at zero.
    """
    mean = np.asarray(counts.sum(axis=0, dtype=np.float64)).ravel()
    mean = mean / max(mean.sum(), 1e-300)
    weighted = spectra / np.maximum(mean, 1e-3 * mean.mean())
    inverse = weighted.T @ np.linalg.pinv(weighted @ spectra.T)
    return rows_of(counts).images(inverse)


@dataclass(frozen=True, eq=False)
class SmoothedWeights:
    """Signed weights, smoothed, on a grid of pixels.

    Parameters
    ----------
    maps : ndarray of shape (k, lines, columns), float64
        Counts a pixel of each component.
    step : int
        Distance of the lines, and of the columns, in pixels.
    held : ndarray of shape (k,)
        Sum of the positive weights of all pixels before they were smoothed.
    """

    maps: np.ndarray
    step: int
    held: np.ndarray

    @classmethod
    def of(
        cls, counts: sp.csr_array, shape: tuple[int, int], spectra: np.ndarray, sigma: float
    ) -> SmoothedWeights:
        """Weigh the components in each pixel and smooth that by a Gaussian of ``sigma`` pixels.

        Up to half a million pixels the grid is the whole map. In larger ones the distance of its
        lines is two pixels or more.
        """
        step = grid_step(shape)
        maps, held = [], []
        for image in signed_weights(counts, spectra).reshape(-1, *shape):
            whole = strips(shape, of=(image,))
            held.append(sum(float(np.maximum(image[s.lines], 0).sum()) for s in whole))
            parts = smoothed(image.__getitem__, shape, sigma, of=(image,))
            maps.append(np.concatenate([on_grid(lines, p, step) for lines, p in parts]))
        return cls(np.stack(maps), step, np.array(held))


def refined_spectra(
    counts: sp.csr_array, shape: tuple[int, int], spectra: np.ndarray
) -> np.ndarray:
    """Improve the span of ``spectra`` by the maps of their neighbours.

    With the signed weights ``A`` (n, k) of `signed_weights` and ``Z`` (n, k), the weights
    smoothed over the neighbours of each pixel *without the pixel itself*, the spectra are
    ``(Z' A)^-1 Z' X``. Leaving the pixel out keeps its noise from being multiplied with itself;
    since ``A`` is linear in ``X``, no noise of the weights biases the result.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (ny * nx, m)
        Or `siftem.large.rows_of_counts.BlockedCounts`.
    shape : tuple of int
        (ny, nx).
    spectra : ndarray of shape (k, m)
        Each summing to one; of either sign.

    Returns
    -------
    ndarray of shape (k, m), float64
        Each summing to one, and of either sign: a channel without counts scatters around zero.
        The given spectra, where the maps don't tell them apart.

    References
    ----------
    O. Reiersol, Arkiv for Matematik, Astronomi och Fysik 32A (1945) 4.
    """
    typical = max(float(counts.sum(dtype=np.float64)) / counts.shape[0], 1e-12)
    sigma = float(np.clip(np.sqrt(_COUNTS_IN_WINDOW / (4 * np.pi * typical)), 0.7, 3.0))
    for _ in range(_ROUNDS):
        weights = signed_weights(counts, spectra)
        smooth, products = _instruments(weights.reshape(-1, *shape), sigma)
        size = np.sqrt(np.maximum(np.abs(np.diag(products)), 1e-300))
        scaled = products / np.outer(size, size)
        if not np.isfinite(scaled).all() or np.linalg.cond(scaled) > _WORST_CONDITION:
            return spectra
        del weights  # as large as the map
        found = np.linalg.solve(
            products, rows_of(counts).weighted_sums(smooth.reshape(len(smooth), -1))
        )
        del smooth
        total = found.sum(axis=1, keepdims=True)
        if not (np.isfinite(found).all() and (total > 0.1).all()):
            return spectra
        spectra = found / total
    return spectra


def _instruments(weights: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Means over the neighbours of each pixel (k, ny, nx), and their products with the weights."""
    k, *shape = weights.shape
    smooth = image_beside(weights, weights.shape, np.float64)
    products = np.zeros((k, k))
    for strip in strips(tuple(shape), reach(sigma), of=(weights, smooth)):
        for c in range(k):
            smooth[c, strip.lines] = _of_neighbours(weights[c, strip.seen], sigma)[strip.own]
        own = weights[:, strip.lines].reshape(k, -1)
        products += smooth[:, strip.lines].reshape(k, -1) @ own.T
    return smooth, products


def _of_neighbours(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian mean over the neighbours of each pixel, without the pixel itself."""
    most = reach(sigma)
    profile = np.exp(-0.5 * (np.arange(-most, most + 1) / sigma) ** 2)
    own = (1 / profile.sum()) ** 2
    # Beyond the border the map is zero, not repeated: a pixel must not come back as its own
    # neighbour. That the sum is too low there does no harm to an instrument.
    smooth = gaussian_filter(image, sigma, mode="constant", radius=most)
    smooth -= own * image
    smooth /= 1 - own
    return np.asarray(smooth)
