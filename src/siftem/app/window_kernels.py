"""Compiled sums over a window of channels. Clean input only."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def window_sums(
    starts: np.ndarray,
    channels: np.ndarray,
    values: np.ndarray,
    first: int,
    weights: np.ndarray,
    out: np.ndarray,
) -> None:
    """Sum weighted counts of each pixel, looking at the channels of the window only.

    Parameters
    ----------
    starts, channels, values : ndarray
        CSR counts; the channels of each pixel rise.
    first : int
        First channel of the window.
    weights : ndarray of float64, shape (window,)
    out : ndarray of float64, shape (pixels,)
        Receives the sums.
    """
    behind = first + weights.size
    for i in range(out.size):
        low, high = starts[i], starts[i + 1]
        end = high
        while low < high:
            middle = (low + high) // 2
            if channels[middle] < first:
                low = middle + 1
            else:
                high = middle
        total = 0.0
        while low < end and channels[low] < behind:
            total += values[low] * weights[channels[low] - first]
            low += 1
        out[i] = total
