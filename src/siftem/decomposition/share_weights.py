"""Amounts of given spectra in each pixel, of either sign, with few channels to be noisy in."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from siftem.large.rows_of_counts import rows_of

#: Channels are summed down to about this many: a spectrum of a thousand counts is then no more
#: than half noise, which would lower all amounts.
_BINS = 150
#: No bin counts more than one with this part of the mean.
_FLOOR = 0.1


def binning(n_channels: int) -> sp.csr_array:
    """Matrix (m, bins) that sums neighbouring channels."""
    width = max(n_channels // _BINS, 1)
    place = np.arange(n_channels)
    return sp.csr_array((np.ones(n_channels, np.float32), (place, place // width)))


def share_weights(counts: sp.csr_array, spectra: np.ndarray) -> np.ndarray:
    """Counts of each of some spectra in each pixel, by weighted least squares; float64 (k, n).

    ``x D H' (H D H')^-1`` with the binned spectra H and D the inverse of their mean: linear in the
    counts, hence without bias, whatever the noise of a pixel.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (n, m)
        Or `siftem.large.blocked_counts.BlockedCounts`.
    spectra : ndarray of shape (k, m)
        Each summing to one.
    """
    bins = binning(spectra.shape[1])
    shapes = (bins.T @ spectra.T).T
    mean = shapes.mean(axis=0)
    weighted = shapes / np.maximum(mean, _FLOOR * mean.mean())
    operator = bins @ (weighted.T @ np.linalg.pinv(weighted @ shapes.T))
    return rows_of(counts).images(operator)
