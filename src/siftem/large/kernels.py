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
    first: np.ndarray,
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
    first : ndarray of int64, shape (n,)
        Receives the first entry of each pixel that lies in the window.
    out : ndarray of int64, shape (n + 1,)
        Receives where each pixel starts when only the window is kept.

    Returns
    -------
    int
        `GOOD`, or what is wrong.
    """
    out[0] = 0
    one = np.uint64(1)
    for i in range(starts.size - 1):
        # Unsigned, for Numba takes signed ones to count from the end where they are negative.
        a, b = np.uint64(starts[i]), np.uint64(starts[i + 1])
        # Sums without branches, several entries to an instruction: this runs in every sweep.
        wrong = 0
        for t in range(a + one, b):
            wrong += channels[t] <= channels[t - one]
        for t in range(a, b):
            # Infinity less itself is no number.
            wrong += not ((values[t] > 0) & (values[t] - values[t] == 0))
        if wrong or (b > a and channels[b - one] >= n_channels):
            return _problem(starts[i], starts[i + 1], channels, values, n_channels)
        start, end = a, b
        while start < b and channels[start] < low:
            start += one
        while end > start and channels[end - one] >= high:
            end -= one
        first[i] = start
        out[i + 1] = out[i] + np.int64(end - start)
    return GOOD


@njit(cache=True, nogil=True)
def _problem(a: int, b: int, channels: np.ndarray, values: np.ndarray, n_channels: int) -> int:
    """Return what is wrong first with the entries from a to b."""
    for t in range(a, b):
        if channels[t] >= n_channels:
            return BEYOND_AXIS
        if t > a and channels[t] <= channels[t - 1]:
            return OUT_OF_ORDER
        if not values[t] > 0 or values[t] == np.inf:
            return NOT_POSITIVE
    return GOOD


@njit(cache=True, nogil=True)
def take_inside(
    channels: np.ndarray,
    values: np.ndarray,
    low: int,
    first: np.ndarray,
    starts: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
) -> None:
    """Copy the entries in a window of channels, counted from its first one.

    Parameters
    ----------
    channels, values : ndarray of shape (entries,)
    low : int
        First channel of the window.
    first, starts : ndarray of int64
        From `count_inside`.
    indices : ndarray of int32
    data : ndarray
        Receive channels and counts.
    """
    for i in range(first.size):
        shift = np.uint64(first[i] - starts[i])
        for t in range(np.uint64(starts[i]), np.uint64(starts[i + 1])):
            indices[t] = np.int32(channels[t + shift]) - np.int32(low)
        for t in range(np.uint64(starts[i]), np.uint64(starts[i + 1])):
            data[t] = values[t + shift]
