"""Compiled fits of known shapes to the counts of single pixels. Clean input only.

One pixel, for shapes ``T`` of shape (m, k) whose columns sum to one, has the problem

    f(a) = sum_c a_c - sum_t y_t ln( b + sum_c a_c T[j_t, c] ),    a >= 0,

where ``t`` runs over the stored counts and ``j_t`` is their channel: what the model expects in
channels without counts is in the first sum. Most amplitudes of a pixel are zero; a Newton step is
over the others.
"""

from __future__ import annotations

import numpy as np

from siftem.compiling import inner_kernel, kernel
from siftem.decomposition.nonnegative_quadratic import minimise_quadratic, safe_step

# Sums may be reordered (SIMD), which changes the last digits but not from run to run.
_SIMD = {"reassoc", "contract", "nsz", "arcp"}
#: Sweeps of coordinate descent in one Newton step at the most, and when they end.
_SWEEPS, _STILL = 30, 1e-4


@kernel(makes_arrays=True, fastmath=_SIMD)
def add_up_events(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    channels: tuple[int, int],
    gives: np.ndarray,
    amounts: np.ndarray,
) -> None:
    """Add to ``amounts`` what each count gives, in place.

    Parameters
    ----------
    indptr, indices, data : ndarray of int64, int32, float64
        CSR counts of these pixels.
    channels : tuple of int
        The first, and the one behind the last.
    gives : ndarray of shape (m, k), float64
        For the channels, from the first one on.
    amounts : ndarray of shape (rows, k), float32
    """
    k = gives.shape[1]
    first, last = channels
    total = np.empty(k)
    for i in range(indptr.shape[0] - 1):
        for c in range(k):
            total[c] = amounts[i, c]
        for t in range(indptr[i], indptr[i + 1]):
            j = indices[t]
            if j < first or j >= last:
                continue
            y = data[t]
            for c in range(k):
                total[c] += y * gives[j - first, c]
        for c in range(k):
            amounts[i, c] = total[c]


@inner_kernel(fastmath=_SIMD, error_model="numpy", inline="always")
def expect(a: np.ndarray, local: np.ndarray, base: float, n: int, mean: np.ndarray) -> None:
    """Into ``mean`` what amounts make expect where there are counts."""
    for t in range(n):
        mean[t] = base
    for c in range(a.shape[0]):
        if a[c] > 0:
            for t in range(n):
                mean[t] += a[c] * local[c, t]


@inner_kernel(fastmath=_SIMD, error_model="numpy", inline="always")
def free_slopes(
    a: np.ndarray,
    local: np.ndarray,
    pull: np.ndarray,
    n: int,
    slopes: np.ndarray,
    which: np.ndarray,
) -> int:
    """Slopes along all amounts; into ``which`` those that may change, and return how many."""
    f = 0
    for c in range(a.shape[0]):
        slope = 1.0
        for t in range(n):
            slope -= pull[t] * local[c, t]
        slopes[c] = slope
        if a[c] > 0 or slope < 0:
            which[f] = c
            f += 1
    return f


@inner_kernel(fastmath=_SIMD, error_model="numpy", inline="always")
def bend_between(
    local: np.ndarray, bend: np.ndarray, n: int, which: np.ndarray, f: int, curvature: np.ndarray
) -> None:
    """Curvature between the first ``f`` amounts of ``which``."""
    for p in range(f):
        c = which[p]
        for q in range(p + 1):
            d = which[q]
            bent = 0.0
            for t in range(n):
                bent += bend[t] * local[c, t] * local[d, t]
            curvature[p, q] = bent
            curvature[q, p] = bent


@inner_kernel(fastmath=_SIMD, error_model="numpy", inline="always")
def share_lost(
    w: np.ndarray,
    new: np.ndarray,
    which: np.ndarray,
    f: int,
    local: np.ndarray,
    mean: np.ndarray,
    n: int,
    lost: np.ndarray,
) -> float:
    """Return the largest share of a mean that goes from ``w`` to ``new``; ``lost`` is scratch."""
    for t in range(n):
        lost[t] = 0.0
    for p in range(f):
        less = w[p] - new[p]
        if less != 0:
            for t in range(n):
                lost[t] += less * local[which[p], t]
    fall = 0.0
    for t in range(n):
        fall = max(fall, lost[t] / mean[t])
    return fall


@kernel(makes_arrays=True, fastmath=_SIMD, error_model="numpy")
def fit_pixels(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    channels: tuple[int, int],
    shapes: np.ndarray,
    base: float,
    everywhere: int,
    tol: float,
    most: int,
    amounts: np.ndarray,
) -> int:
    """Fit the amounts of some pixels in place; return how many pixels did not settle.

    Parameters
    ----------
    indptr, indices, data : ndarray of int64, int32, float64
        CSR counts of these pixels.
    channels : tuple of int
        The first, and the one behind the last.
    shapes : ndarray of shape (m, k), float64
        For the channels, from the first one on; columns sum to one.
    base : float
        Known counts of each channel in each pixel.
    everywhere : int
        From this shape on, all together are positive in each channel.
    tol : float
        A pixel is done when a step is expected to gain less than this in ln likelihood.
    most : int
        Steps at the most.
    amounts : ndarray of shape (rows, k), float32
        Where to begin.
    """
    k = shapes.shape[1]
    first, last = channels
    longest = 1
    for i in range(indptr.shape[0] - 1):
        longest = max(longest, indptr[i + 1] - indptr[i])
    local = np.empty((k, longest))
    y, mean = np.empty(longest), np.empty(longest)
    pull, bend = np.empty(longest), np.empty(longest)
    a, slopes = np.empty(k), np.empty(k)
    which = np.empty(k, np.int64)
    w, new, gradient = np.empty(k), np.empty(k), np.empty(k)
    free = np.ones(k, np.uint8)
    curvature, work = np.empty((k, k)), np.empty((k + 1, k + 1))
    unsettled = 0
    for i in range(indptr.shape[0] - 1):
        n, total = 0, 0.0
        for t in range(indptr[i], indptr[i + 1]):
            j = indices[t]
            if j < first or j >= last:
                continue
            y[n] = data[t]
            total += y[n]
            for c in range(k):
                local[c, n] = shapes[j - first, c]
            n += 1
        if total == 0:
            for c in range(k):
                amounts[i, c] = 0.0
            continue
        for c in range(k):
            # What noise may have made of nothing begins at zero: a smaller step, and mostly true.
            a[c] = amounts[i, c] if amounts[i, c] > 0.5 else 0.0
            if c >= everywhere:
                a[c] = max(a[c], 0.1 * total / (k - everywhere))
        settled = False
        for _ in range(most):
            expect(a, local, base, n, mean)
            for t in range(n):
                pull[t] = y[t] / mean[t]
                bend[t] = pull[t] / mean[t]
            f = free_slopes(a, local, pull, n, slopes, which)
            for p in range(f):
                gradient[p] = slopes[which[p]]
                w[p] = a[which[p]]
            bend_between(local, bend, n, which, f, curvature)
            minimise_quadratic(
                gradient[:f], curvature[:f, :f], w[:f], free[:f], _SWEEPS, _STILL, new[:f], work
            )
            slope, curve = 0.0, 0.0
            for p in range(f):
                change = new[p] - w[p]
                slope += gradient[p] * change
                for q in range(f):
                    curve += change * curvature[p, q] * (new[q] - w[q])
            if not slope < 0:
                settled = True
                break
            # The means must not fall too far.
            fall = share_lost(w, new, which, f, local, mean, n, pull)
            step = safe_step(slope, curve, fall)
            for p in range(f):
                a[which[p]] = new[p] if step == 1.0 else w[p] + step * (new[p] - w[p])
            if -slope <= tol:
                settled = True
                break
        unsettled += not settled
        for c in range(k):
            amounts[i, c] = a[c]
    return unsettled
