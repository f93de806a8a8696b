"""Compiled Newton step of all spectra, channel by channel. Clean input only."""

from __future__ import annotations

import numpy as np
from numba import njit

from siftem.decomposition.nonnegative_quadratic import (
    minimise_quadratic,
    safe_step,
    shrink_support,
    unrolled,
)


def step_channels(
    statistics: np.ndarray,
    sums: np.ndarray,
    spectra: np.ndarray,
    free: np.ndarray,
    out: np.ndarray,
) -> float:
    """Take one safeguarded Newton step on every channel; return the gain that is expected.

    Parameters
    ----------
    statistics : ndarray of shape (k + k (k + 1) / 2, m)
        As gathered by `siftem.decomposition.row_kernels.pass_over_rows`.
    sums : ndarray of shape (k,)
        Column sums of the weights.
    spectra : ndarray of shape (k, m)
        Where the statistics were gathered.
    free : ndarray of shape (k, 1) or (k, m), uint8
    out : ndarray of shape (k, m)
        New spectra.
    """
    by_channel = np.ascontiguousarray(statistics.T)
    parts = unrolled(len(spectra))
    return float(_step_channels(by_channel, sums, spectra, free, out, parts))


@njit(cache=True, nogil=True, error_model="numpy")
def _step_channels(
    statistics: np.ndarray,
    sums: np.ndarray,
    spectra: np.ndarray,
    free: np.ndarray,
    out: np.ndarray,
    parts: tuple[int, ...],
) -> float:
    """See `step_channels`; ``statistics`` by channel, (m, k + k (k + 1) / 2)."""
    k = len(parts) if len(parts) > 0 else spectra.shape[0]
    m = spectra.shape[1]
    gradient = np.empty(k)
    curvature = np.empty((k, k))
    old = np.empty(k)
    new = np.empty(k)
    work = np.empty((k + 1, k + 1))
    own = np.empty(k, np.uint8)
    expected = 0.0
    for j in range(m):
        p = k
        for c in range(k):
            old[c] = spectra[c, j]
            own[c] = free[c, j] if free.shape[1] > 1 else free[c, 0]
            gradient[c] = sums[c] - statistics[j, c]
            for d in range(c + 1):
                curvature[c, d] = statistics[j, p]
                curvature[d, c] = curvature[c, d]
                p += 1
        if not shrink_support(gradient, curvature, old, own, new, work, parts):
            minimise_quadratic(gradient, curvature, old, own, 100, 1e-6, new, work)
        slope = 0.0
        bend = 0.0
        fall = 0.0
        for c in range(k):
            change = new[c] - old[c]
            slope += gradient[c] * change
            if change < 0:
                fall = max(fall, -change / old[c])
            for d in range(k):
                bend += change * curvature[c, d] * (new[d] - old[d])
        if not slope < 0:
            for c in range(k):
                out[c, j] = spectra[c, j]
            continue
        empty = True
        for c in range(k):
            empty = empty and statistics[j, c] <= 0
        step = 1.0 if empty else safe_step(slope, bend, fall)
        expected -= step * (slope + 0.5 * step * bend)
        for c in range(k):
            out[c, j] = old[c] + step * (new[c] - old[c])
    return expected
