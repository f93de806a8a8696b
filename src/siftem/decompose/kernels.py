"""Compiled kernels of the Poisson factorisation. They assume clean input and import nothing of ours.

The problem of one row (a pixel, or by symmetry an energy channel) is, for fixed ``factor``,

    f(w) = sum_c w_c s_c - sum_t y_t ln( sum_c w_c F[j_t, c] ),    w >= 0,

where ``t`` runs over the stored (non-zero) entries of the row only, ``j_t`` is their index and
``s_c = sum_j F[j, c]`` takes care of all the zeros. One coordinate step costs O(entries).
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange


# Sums may be reordered (SIMD), which changes the last digits but not from run to run.
_SIMD = {"reassoc", "contract", "nsz"}


@njit(cache=True, fastmath=_SIMD)
def lift_row(data, local, mean, sums, w, free):
    """Give counts whose mean is zero a positive one, where a free coordinate can.

    The coordinate gets what it needs to explain those counts alone. Entries that no
    coordinate reaches keep no influence (their mean is set to one; their row is zero).
    """
    k, n_entries = local.shape
    for c in range(k):
        if not free[c] or sums[c] <= 0:
            continue
        orphans = 0.0
        for t in range(n_entries):
            if mean[t] <= 0 and local[c, t] > 0:
                orphans += data[t]
        if orphans > 0:
            w[c] += orphans / sums[c]
            for t in range(n_entries):
                mean[t] += orphans / sums[c] * local[c, t]
    for t in range(n_entries):
        if mean[t] <= 0:
            mean[t] = 1


@njit(cache=True, fastmath=_SIMD)
def solve_row(indices, data, factor, sums, w, free, n_passes):
    """Coordinate descent on one row, in place; every step lowers the objective.

    With ``g = f'`` and ``h = f''`` along a coordinate: for a rise (g < 0) Newton's step
    ``-g/h`` never passes the minimum, because f' is concave. For a fall, all means keep at
    least the share ``1 - t`` when the coordinate loses the share ``t``, so f'' grows at most
    by ``1/(1-t)**2``; minimising that bound gives ``w / (1 + g/(h w))``, which is Newton's
    step to second order and never raises f. A coordinate goes to exactly zero when the
    gradient there is not negative.

    Parameters
    ----------
    indices, data : ndarray of shape (entries,)
        Index and count of the stored entries.
    factor : ndarray of shape (m, k)
        The other factor.
    sums : ndarray of shape (k,)
        Its column sums.
    w : ndarray of shape (k,)
        The row, changed in place.
    free : ndarray of shape (k,), uint8
        0 keeps a coordinate as it is.
    n_passes : int
        Passes over the coordinates.
    """
    n_entries = indices.shape[0]
    k = w.shape[0]
    local = np.empty((k, n_entries), factor.dtype)
    mean = np.zeros(n_entries, factor.dtype)
    for t in range(n_entries):
        j = indices[t]
        total = factor.dtype.type(0)
        for c in range(k):
            local[c, t] = factor[j, c]
            total += w[c] * factor[j, c]
        mean[t] = total
    for t in range(n_entries):
        if mean[t] <= 0:
            lift_row(data, local, mean, sums, w, free)
            break
    for _ in range(n_passes):
        moved = False
        for c in range(k):
            if not free[c]:
                continue
            row = local[c]
            slope = 0.0
            curvature = 0.0
            for t in range(n_entries):
                ratio = row[t] / mean[t]
                pull = data[t] * ratio
                slope += pull
                curvature += pull * ratio
            old = w[c]
            gradient = sums[c] - slope
            if curvature <= 0.0:
                new = 0.0 if sums[c] > 0 else old
            elif gradient <= 0.0:
                new = old - gradient / curvature
            elif old <= 0.0:
                new = 0.0
            else:
                fall = gradient / (curvature * old)
                new = old / (1.0 + fall)
                if fall >= 1.0 and _zero_is_best(data, row, mean, old, sums[c]):
                    new = 0.0
            w[c] = new
            new = float(w[c])
            step = new - old
            if step != 0.0:
                if abs(step) > 1e-7 * (abs(old) + abs(new)):
                    moved = True
                for t in range(n_entries):
                    # The mean is at least this coordinate's own part: no crumb of the wrong
                    # sign is left by rounding where nearly all is taken away.
                    mean[t] = max(mean[t] + step * row[t], new * row[t])
        if not moved:
            break


@njit(cache=True)
def _zero_is_best(data, row, mean, old, column_sum):
    """Whether the gradient at zero of a coordinate that stands at ``old`` is not negative."""
    gradient = column_sum
    for t in range(row.shape[0]):
        if row[t] > 0:
            rest = mean[t] - old * row[t]
            if rest <= 1e-6 * mean[t]:
                return False
            gradient -= data[t] * row[t] / rest
    return gradient >= 0.0


@njit(cache=True, parallel=True, nogil=True)
def solve_rows(indptr, indices, data, factor, sums, weights, free, n_passes):
    """Solve all row problems in parallel; see :func:`solve_row`.

    Each row is worked on by one thread alone, so the answer does not depend on the
    number of threads. ``free`` is (1, k) for all rows alike or (n, k).
    """
    n = weights.shape[0]
    common = free.shape[0] == 1
    for i in prange(n):
        a, b = indptr[i], indptr[i + 1]
        own = free[0] if common else free[i]
        solve_row(indices[a:b], data[a:b], factor, sums, weights[i], own, n_passes)


@njit(cache=True, parallel=True, nogil=True)
def row_log_likelihoods(indptr, indices, data, factor, weights):
    """Return ``sum_t y_t ln(mean_t)`` of each row, float64 (n,); -inf for a count on zero mean."""
    n, k = weights.shape
    out = np.zeros(n, np.float64)
    for i in prange(n):
        total = 0.0
        for t in range(indptr[i], indptr[i + 1]):
            mean = 0.0
            for c in range(k):
                mean += float(weights[i, c]) * float(factor[indices[t], c])
            if data[t] > 0:
                total += data[t] * (np.log(mean) if mean > 0 else -np.inf)
        out[i] = total
    return out


@njit(cache=True, parallel=True, nogil=True)
def row_gradients(indptr, indices, data, factor, sums, weights):
    """Gradient of the objective with respect to ``weights``, float64 (n, k)."""
    n, k = weights.shape
    out = np.empty((n, k), np.float64)
    for i in prange(n):
        for c in range(k):
            out[i, c] = sums[c]
        for t in range(indptr[i], indptr[i + 1]):
            j = indices[t]
            mean = 0.0
            for c in range(k):
                mean += float(weights[i, c]) * float(factor[j, c])
            if mean > 0:
                for c in range(k):
                    out[i, c] -= data[t] * float(factor[j, c]) / mean
    return out


@njit(cache=True, parallel=True, nogil=True)
def multiply_rows(indptr, indices, data, factor, sums, weights):
    """One multiplicative update (Lee & Seung 2001) of all rows: the reference for tests."""
    n, k = weights.shape
    for i in prange(n):
        gain = np.zeros(k)
        for t in range(indptr[i], indptr[i + 1]):
            j = indices[t]
            mean = 0.0
            for c in range(k):
                mean += weights[i, c] * factor[j, c]
            if mean > 0:
                for c in range(k):
                    gain[c] += data[t] * factor[j, c] / mean
        for c in range(k):
            weights[i, c] = weights[i, c] * gain[c] / sums[c] if sums[c] > 0 else 0.0
