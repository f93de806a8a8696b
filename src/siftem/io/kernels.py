"""Compiled kernels for blocks of stored counts."""

from __future__ import annotations

import numpy as np
from numba import njit

#: What `count_inside` finds wrong.
GOOD, BEYOND_AXIS, OUT_OF_ORDER, NOT_POSITIVE = 0, 1, 2, 3


@njit(cache=True, nogil=True)
def count_inside(
    starts: np.ndarray,
    channels: np.ndarray,
    values: np.ndarray,
    n_channels: int,
    low: int,
    high: int,
    out: np.ndarray,
) -> int:
    """Check the entries of some pixels, and count those in a window of channels.

    Parameters
    ----------
    starts : ndarray of int64, shape (n + 1,)
        Where each pixel starts; from 0, rising, within ``channels``.
    channels, values : ndarray of shape (entries,)
    n_channels : int
        Channels of the map.
    low, high : int
        Window: first and last + 1.
    out : ndarray of int64, shape (n + 1,)
        Where each pixel starts when only the window is kept.

    Returns
    -------
    int
        `GOOD`, or what is wrong.
    """
    total = 0
    out[0] = 0
    for i in range(starts.size - 1):
        previous = -1
        for t in range(starts[i], starts[i + 1]):
            channel = int(channels[t])
            if channel >= n_channels:
                return BEYOND_AXIS
            if channel <= previous:
                return OUT_OF_ORDER
            if not values[t] > 0 or values[t] == np.inf:
                return NOT_POSITIVE
            previous = channel
            if low <= channel < high:
                total += 1
        out[i + 1] = total
    return GOOD


@njit(cache=True, nogil=True)
def take_inside(
    channels: np.ndarray,
    values: np.ndarray,
    low: int,
    high: int,
    indices: np.ndarray,
    data: np.ndarray,
) -> None:
    """Copy the entries in a window of channels, counted from its first one."""
    t = 0
    for s in range(channels.size):
        channel = int(channels[s])
        if low <= channel < high:
            indices[t] = channel - low
            data[t] = values[s]
            t += 1
