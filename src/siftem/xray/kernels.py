"""Compiled kernels of the peak shapes. They assume clean input and import nothing of ours."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

# The normal distribution between its nodes by cubic interpolation with exact slopes: the
# error is below 2e-11, a tenth of the time of the error function.
_NODES_PER_SIGMA = 128
_LAST_NODE = 8
_NODES = np.linspace(-_LAST_NODE, _LAST_NODE, 2 * _LAST_NODE * _NODES_PER_SIGMA + 1)
_BELOW = np.array([0.5 * math.erfc(-x / math.sqrt(2.0)) for x in _NODES])
_SLOPE = np.exp(-0.5 * _NODES**2) / math.sqrt(2.0 * math.pi) / _NODES_PER_SIGMA


@njit(cache=True)
def normal_below(x: float) -> float:
    """Share of a normal distribution below ``x`` standard deviations; error < 2e-11."""
    place = (x + _LAST_NODE) * _NODES_PER_SIGMA
    if place <= 0.0:
        return 0.0
    node = int(place)
    if node >= _BELOW.shape[0] - 1:
        return 1.0
    t = place - node
    u = 1.0 - t
    rise = t * t * (3.0 - 2.0 * t)
    return (
        _BELOW[node] * (1.0 - rise)
        + _BELOW[node + 1] * rise
        + t * u * (u * _SLOPE[node] - t * _SLOPE[node + 1])
    )


@njit(cache=True)
def add_gaussians(
    out: np.ndarray,
    column: np.ndarray,
    centres: np.ndarray,
    sigmas: np.ndarray,
    counts: np.ndarray,
    first: float,
    scale: float,
    reach: float,
) -> None:
    """Add Gaussians, each integrated over the channels, to the columns of ``out`` in place.

    Parameters
    ----------
    out : ndarray of shape (channels, columns)
        Changed in place.
    column : ndarray of int64, shape (lines,)
        Column of each Gaussian.
    centres, sigmas : ndarray of shape (lines,)
        In the unit of the axis; sigmas positive.
    counts : ndarray of shape (lines,)
        Areas.
    first, scale : float
        Lower edge of channel 0 and channel width.
    reach : float
        Standard deviations beyond which a tail is cut.
    """
    n_channels = out.shape[0]
    for i in range(centres.shape[0]):
        width = reach * sigmas[i]
        low = math.floor((centres[i] - width - first) / scale)
        high = math.floor((centres[i] + width - first) / scale) + 1
        low = max(low, 0)
        high = min(high, n_channels)
        if low >= high:
            continue
        per_sigma = 1.0 / sigmas[i]
        below = normal_below((first + low * scale - centres[i]) * per_sigma)
        for channel in range(low, high):
            above = normal_below((first + (channel + 1) * scale - centres[i]) * per_sigma)
            out[channel, column[i]] += counts[i] * (above - below)
            below = above
