"""Compiled kernels of the Poisson factorisation. Clean input only.

One pixel (row), for fixed spectra ``H`` of shape (k, m), has the problem

    f(w) = sum_c w_c (s_c + l_c) + 1/2 sum_c q_c w_c**2 - sum_t y_t ln( sum_c w_c H[c, j_t] ),

``w >= 0``, where ``t`` runs over the stored (non-zero) counts of the row only, ``j_t`` is their
channel and ``s_c = sum_j H[c, j]`` takes care of all the zeros; ``l`` and ``q`` are penalties.
Energy channels have the same problem with the roles swapped. Their gradients and curvatures
are gathered while the rows are solved, so one pass over one copy of the counts serves both.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from siftem.decompose.nonnegative_quadratic import minimise_quadratic, safe_step

# Sums may be reordered (SIMD), which changes the last digits but not from run to run.
_SIMD = {"reassoc", "contract", "nsz", "arcp"}

_LN2 = np.log(2.0)


@njit(cache=True, nogil=True, fastmath=_SIMD)
def weighted_log_sum(values: np.ndarray, bits: np.ndarray, weights: np.ndarray, n: int) -> float:
    """Return ``sum(weights * ln(values))`` of the first ``n``, to about 1e-14 each.

    ``bits`` is the same memory as ``values`` (float64) seen as int64. Splitting off the
    exponent leaves a mantissa within a factor sqrt(2) of one, for which the series of the
    inverse hyperbolic tangent needs few terms. Unlike a call of ``log``, this loop runs on
    whole vectors.
    """
    total = 0.0
    for t in range(n):
        # The shift makes the mantissa run from sqrt(1/2) to sqrt(2).
        exponent = (bits[t] - 0x3FE6A09E667F3BCD) >> 52
        bits[t] -= exponent << 52
        x = values[t]
        s = (x - 1.0) / (x + 1.0)
        z = s * s
        p = 1 / 15 + z * (1 / 17 + z * (1 / 19))
        p = 1 / 9 + z * (1 / 11 + z * (1 / 13 + z * p))
        p = 1 / 3 + z * (1 / 5 + z * (1 / 7 + z * p))
        total += weights[t] * (exponent * _LN2 + 2 * s * (1.0 + z * p))
    return total


@njit(cache=True, nogil=True, fastmath=_SIMD)
def row_means(local: np.ndarray, w: np.ndarray, n: int, mean: np.ndarray) -> bool:
    """Expected counts of the stored entries into ``mean``; True when all are positive."""
    for t in range(n):
        mean[t] = 0
    for c in range(w.shape[0]):
        if w[c] > 0:
            level = local.dtype.type(w[c])
            for t in range(n):
                mean[t] += level * local[c, t]
    missing = 0
    for t in range(n):
        missing += mean[t] <= 0
    return missing == 0


@njit(cache=True, nogil=True)
def lift_row(
    local: np.ndarray,
    y: np.ndarray,
    mean: np.ndarray,
    sums: np.ndarray,
    w: np.ndarray,
    free: np.ndarray,
    n: int,
) -> None:
    """Give counts whose mean is zero a positive one, where a free coordinate can.

    The coordinate gets what it needs to explain those counts alone. A count that no
    coordinate reaches gets an infinite mean, which takes away its influence.
    """
    for c in range(w.shape[0]):
        if not free[c] or sums[c] <= 0:
            continue
        orphans = 0.0
        for t in range(n):
            if mean[t] <= 0 and local[c, t] > 0:
                orphans += y[t]
        if orphans > 0:
            w[c] += orphans / sums[c]
            row_means(local, w, n, mean)
    for t in range(n):
        if mean[t] <= 0:
            mean[t] = np.inf


@njit(cache=True, nogil=True, fastmath=_SIMD)
def newton_row(
    local: np.ndarray,
    y: np.ndarray,
    mean: np.ndarray,
    sums: np.ndarray,
    ridge: np.ndarray,
    w: np.ndarray,
    free: np.ndarray,
    n: int,
    n_passes: int,
    tol: float,
    pull: np.ndarray,
    bend: np.ndarray,
    curvature: np.ndarray,
    vectors: np.ndarray,
    work: np.ndarray,
) -> None:
    """Take up to ``n_passes`` safeguarded Newton steps on one row; ``w`` and ``mean`` in place.

    Each step minimises the quadratic model over ``w >= 0``.

    Parameters
    ----------
    local : ndarray of shape (k, >= n)
        Spectra at the row's stored entries.
    y : ndarray of shape (n,)
        Counts.
    mean : ndarray of shape (>= n,)
        Expected counts for ``w``, positive.
    sums, ridge : ndarray of shape (k,)
        Slope of the linear part, and curvature of the penalty.
    w : ndarray of shape (k,), float64
    free : ndarray of shape (k,), uint8
        0 keeps a coordinate as it is.
    n : int
        Stored entries.
    n_passes : int
    tol : float
        Stop when a step is expected to gain less than this much.
    pull, bend : ndarray of shape (>= n,)
        Scratch.
    curvature, vectors, work : ndarray of shape (k, k), (2, k) and (k + 1, k + 1), float64
        Scratch.
    """
    k = w.shape[0]
    gradient = vectors[0]
    new = vectors[1]
    zero = local.dtype.type(0)
    for _ in range(n_passes):
        for t in range(n):
            inverse = 1 / mean[t]
            pull[t] = y[t] * inverse
            bend[t] = pull[t] * inverse
        for c in range(k):
            total = zero
            for t in range(n):
                total += pull[t] * local[c, t]
            gradient[c] = sums[c] + ridge[c] * w[c] - total
            for d in range(c + 1):
                total = zero
                for t in range(n):
                    total += bend[t] * local[c, t] * local[d, t]
                curvature[c, d] = total
                curvature[d, c] = total
            curvature[c, c] += ridge[c]
        minimise_quadratic(gradient, curvature, w, free, 30, 1e-5, new, work)
        slope = 0.0
        curve = 0.0
        fall = 0.0
        for c in range(k):
            change = new[c] - w[c]
            slope += gradient[c] * change
            if change < 0:
                fall = max(fall, -change / w[c])
            for d in range(k):
                curve += change * curvature[c, d] * (new[d] - w[d])
        if not slope < 0:
            break
        if fall > 0.5:
            # The means, not the weights, must not fall too far.
            fall = 0.0
            for t in range(n):
                loss = 0.0
                for c in range(k):
                    loss += (w[c] - new[c]) * local[c, t]
                fall = max(fall, loss / mean[t])
        step = safe_step(slope, curve, fall)
        for c in range(k):
            w[c] = new[c] if step == 1.0 else w[c] + step * (new[c] - w[c])
        if not row_means(local, w, n, mean):
            lift_row(local, y, mean, sums, w, free, n)
        if -slope <= tol:
            break


@njit(cache=True, nogil=True, fastmath=_SIMD)
def solve_rows(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    first: int,
    last: int,
    spectra: np.ndarray,
    sums: np.ndarray,
    linear: np.ndarray,
    ridge: np.ndarray,
    weights: np.ndarray,
    free: np.ndarray,
    n_passes: int,
    tol: float,
    want: bool,
    statistics: np.ndarray,
) -> float:
    """Solve the rows ``first`` to ``last`` in place; return their ``sum(y ln(mean))``.

    Parameters
    ----------
    indptr, indices, data : ndarray
        CSR counts; ``indices`` unsigned.
    first, last : int
        Rows to solve.
    spectra : ndarray of shape (k, m)
    sums : ndarray of shape (k,), float64
        Row sums of the spectra.
    linear, ridge : ndarray of shape (1, k) or (n, k), float64
        Penalty of the weights.
    weights : ndarray of shape (n, k)
    free : ndarray of shape (1, k) or (n, k), uint8
        0 keeps a weight as it is.
    n_passes : int
        Newton steps at the most; 0 only evaluates.
    tol : float
        Stop on a row that is expected to gain less than this much.
    want : bool
        Gather ``statistics``.
    statistics : ndarray of shape (k + k (k + 1) / 2, m), float64
        Added to: ``sum_i w_ic y_ij / mean_ij``, then the lower triangle of
        ``sum_i w_ic w_id y_ij / mean_ij**2``.
    """
    k = spectra.shape[0]
    longest = 1
    for i in range(first, last):
        longest = max(longest, indptr[i + 1] - indptr[i])
    local = np.empty((k, longest), spectra.dtype)
    mean = np.empty(longest, spectra.dtype)
    pull = np.empty(longest, spectra.dtype)
    bend = np.empty(longest, spectra.dtype)
    wide = np.empty(longest, np.float64)
    bits = wide.view(np.int64)
    curvature = np.empty((k, k))
    vectors = np.empty((2, k))
    work = np.empty((k + 1, k + 1))
    w = np.empty(k)
    slope = np.empty(k)
    log_likelihood = 0.0
    for i in range(first, last):
        start = indptr[i]
        n = indptr[i + 1] - start
        own = free[i] if free.shape[0] > 1 else free[0]
        own_linear = linear[i] if linear.shape[0] > 1 else linear[0]
        own_ridge = ridge[i] if ridge.shape[0] > 1 else ridge[0]
        for c in range(k):
            w[c] = weights[i, c]
            slope[c] = sums[c] + own_linear[c]
        if n == 0:
            if n_passes > 0:
                for c in range(k):
                    if own[c] and (slope[c] > 0 or own_ridge[c] > 0):
                        weights[i, c] = (
                            max(-slope[c] / own_ridge[c], 0.0) if own_ridge[c] > 0 else 0.0
                        )
            continue
        entries = indices[start : start + n]
        y = data[start : start + n]
        for c in range(k):
            for t in range(n):
                local[c, t] = spectra[c, entries[t]]
        if not row_means(local, w, n, mean):
            lift_row(local, y, mean, sums, w, own, n)
        if n_passes > 0:
            newton_row(
                local,
                y,
                mean,
                slope,
                own_ridge,
                w,
                own,
                n,
                n_passes,
                tol,
                pull,
                bend,
                curvature,
                vectors,
                work,
            )
            for c in range(k):
                weights[i, c] = w[c]
        for t in range(n):
            wide[t] = mean[t] if mean[t] < np.inf else 1e-300
        log_likelihood += weighted_log_sum(wide, bits, y, n)
        if not want:
            continue
        for t in range(n):
            inverse = 1 / mean[t]
            mean[t] = y[t] * inverse
            bend[t] = mean[t] * inverse
        p = k
        for c in range(k):
            if w[c] > 0:
                for t in range(n):
                    statistics[c, entries[t]] += mean[t] * w[c]
            for d in range(c + 1):
                weight = w[c] * w[d]
                if weight > 0:
                    for t in range(n):
                        statistics[p, entries[t]] += bend[t] * weight
                p += 1
    return log_likelihood


@njit(cache=True, nogil=True)
def step_channels(
    statistics: np.ndarray,
    sums: np.ndarray,
    linear: np.ndarray,
    coupling: np.ndarray,
    spectra: np.ndarray,
    free: np.ndarray,
    out: np.ndarray,
) -> float:
    """One safeguarded Newton step on every channel; return the gain that is expected.

    Parameters
    ----------
    statistics : ndarray of shape (k + k (k + 1) / 2, m)
        As gathered by `solve_rows`.
    sums : ndarray of shape (k,)
        Column sums of the weights.
    linear : ndarray of shape (k, 1) or (k, m)
        Linear part of the penalty of the spectra.
    coupling : ndarray of shape (k, k)
        Quadratic part, the same in every channel: ``1/2 h' coupling h``.
    spectra : ndarray of shape (k, m)
        Where the statistics were gathered.
    free : ndarray of shape (k, 1) or (k, m), uint8
    out : ndarray of shape (k, m)
        New spectra.
    """
    k, m = spectra.shape
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
            push = linear[c, j] if linear.shape[1] > 1 else linear[c, 0]
            gradient[c] = sums[c] + push - statistics[c, j]
            for d in range(c + 1):
                curvature[c, d] = statistics[p, j] + coupling[c, d]
                curvature[d, c] = curvature[c, d]
                p += 1
        for c in range(k):
            for d in range(k):
                gradient[c] += coupling[c, d] * old[d]
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
            empty = empty and statistics[c, j] <= 0
        step = 1.0 if empty else safe_step(slope, bend, fall)
        expected -= step * (slope + 0.5 * step * bend)
        for c in range(k):
            out[c, j] = old[c] + step * (new[c] - old[c])
    return expected
