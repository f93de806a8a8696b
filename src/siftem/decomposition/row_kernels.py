"""Compiled Newton steps of the rows (pixels) of a Poisson factorisation. Clean input only.

One pixel (row), for fixed spectra ``H`` of shape (k, m), has the problem

    f(w) = sum_c w_c s_c - sum_t y_t ln( sum_c w_c H[c, j_t] ),

``w >= 0``, where ``t`` runs over the stored (non-zero) counts of the row only, ``j_t`` is their
channel and ``s_c = sum_j H[c, j]`` takes care of all the zeros.
Energy channels have the same problem with the roles swapped. Their gradients and curvatures
are gathered while the rows are solved, so one pass over one copy of the counts serves both.

At 20 counts a pixel a row has 17 entries, and what it costs besides them decides: for 2, 3 and
4 components the compiler is told the number (``parts``), and unrolls the loops over them.
"""

from __future__ import annotations

import numpy as np

from siftem.compiling import inner_kernel, kernel
from siftem.decomposition.count_sums import column_sums
from siftem.decomposition.nonnegative_quadratic import (
    minimise_quadratic,
    safe_step,
    shrink_support,
    unrolled,
)

# Sums may be reordered (SIMD), which changes the last digits but not from run to run.
_SIMD = {"reassoc", "contract", "nsz", "arcp"}

_LN2 = np.log(2.0)


def pass_over_rows(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    rows: tuple[int, int],
    by_channel: np.ndarray,
    weights: np.ndarray,
    *,
    free: np.ndarray | None = None,
    n_passes: int,
    tol: float,
    gather: bool,
) -> tuple[float, np.ndarray]:
    """Improve the ``weights`` of some rows in place and gather what the spectra need.

    Parameters
    ----------
    indptr, indices, data : ndarray
        CSR counts; ``indices`` unsigned.
    rows : tuple of int
        First row and the row behind the last.
    by_channel : ndarray of shape (m, k), float64, the spectra
    weights : ndarray of shape (n, k)
    free : ndarray of uint8, shape (1, k) or (n, k), optional
        0 keeps a weight as it is.
    n_passes : int
        Newton steps on a row at the most; 0 only evaluates.
    tol : float
        A row is done when a step is expected to gain less than this much.
    gather : bool
        Gather the statistics.

    Returns
    -------
    log_likelihood : float
        ``sum(y ln mean)`` of these rows, for the new weights.
    statistics : ndarray of shape (k + k (k + 1) / 2, m), float64; empty without ``gather``
        ``sum_i w_ic y_ij / mean_ij``, then lower triangle of ``sum_i w_ic w_id y_ij / mean_ij**2``.
    """
    m, k = by_channel.shape
    statistics = np.zeros((m, k + k * (k + 1) // 2 if gather else 0))
    found = _solve_rows(
        indptr,
        indices,
        data,
        *rows,
        by_channel,
        column_sums(by_channel),
        weights,
        np.ones((1, k), np.uint8) if free is None else free,
        n_passes,
        tol,
        statistics,
        unrolled(k),
    )
    return float(found), statistics.T


@kernel(fastmath=_SIMD, error_model="numpy", inline="always")
def weighted_log_sum(values: np.ndarray, bits: np.ndarray, weights: np.ndarray, n: int) -> float:
    """Return ``sum(weights * ln(values))`` of the first ``n``, to about 1e-14 each.

    ``bits`` is the same memory as ``values`` (float64) seen as int64. Without the exponent, a
    mantissa within a factor sqrt(2) of one is left, for which the series of the inverse
    hyperbolic tangent needs few terms. Unlike ``log``, this loop runs on whole vectors.
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


@inner_kernel(fastmath=_SIMD, error_model="numpy")
def row_means(
    local: np.ndarray, w: np.ndarray, n: int, mean: np.ndarray, parts: tuple[int, ...]
) -> bool:
    """Expected counts of the stored entries into ``mean``; True when all are positive."""
    missing = 0
    if len(parts) > 0:
        for t in range(n):
            total = 0.0
            for c in range(len(parts)):
                total += w[c] * local[c, t]
            mean[t] = total
            missing += total <= 0
        return missing == 0
    for t in range(n):
        mean[t] = 0
    for c in range(w.shape[0]):
        if w[c] > 0:
            for t in range(n):
                mean[t] += w[c] * local[c, t]
    for t in range(n):
        missing += mean[t] <= 0
    return missing == 0


@inner_kernel(error_model="numpy")
def lift_row(
    local: np.ndarray,
    y: np.ndarray,
    mean: np.ndarray,
    sums: np.ndarray,
    w: np.ndarray,
    free: np.ndarray,
    n: int,
    parts: tuple[int, ...],
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
            row_means(local, w, n, mean, parts)
    for t in range(n):
        if mean[t] <= 0:
            mean[t] = np.inf


@inner_kernel(fastmath=_SIMD, error_model="numpy")
def row_sums(
    local: np.ndarray,
    y: np.ndarray,
    mean: np.ndarray,
    n: int,
    pull: np.ndarray,
    bend: np.ndarray,
    sums: np.ndarray,
    parts: tuple[int, ...],
) -> None:
    """Into ``sums``: ``sum_t y h_c / mean``, then lower triangle of ``sum_t y h_c h_d / mean**2``.

    ``pull`` and ``bend``, of shape (>= n,), are scratch.
    """
    k = len(parts) if len(parts) > 0 else local.shape[0]
    if len(parts) > 0:
        for p in range(k + k * (k + 1) // 2):
            sums[p] = 0.0
        for t in range(n):
            inverse = 1 / mean[t]
            own_pull = y[t] * inverse
            own_bend = own_pull * inverse
            p = k
            for c in range(k):
                sums[c] += own_pull * local[c, t]
                bent = own_bend * local[c, t]
                for d in range(c + 1):
                    sums[p] += bent * local[d, t]
                    p += 1
        return
    for t in range(n):
        inverse = 1 / mean[t]
        pull[t] = y[t] * inverse
        bend[t] = pull[t] * inverse
    p = k
    for c in range(k):
        total = 0.0
        for t in range(n):
            total += pull[t] * local[c, t]
        sums[c] = total
        for d in range(c + 1):
            total = 0.0
            for t in range(n):
                total += bend[t] * local[c, t] * local[d, t]
            sums[p] = total
            p += 1


@inner_kernel(fastmath=_SIMD, error_model="numpy", inline="always")
def model_change(
    gradient: np.ndarray,
    curvature: np.ndarray,
    w: np.ndarray,
    new: np.ndarray,
    parts: tuple[int, ...],
) -> tuple[float, float, float]:
    """Slope and curvature of the quadratic model along ``new - w``; largest share lost."""
    k = len(parts) if len(parts) > 0 else w.shape[0]
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
    return slope, curve, fall


@inner_kernel(fastmath=_SIMD, error_model="numpy")
def deepest_fall(
    local: np.ndarray, mean: np.ndarray, w: np.ndarray, new: np.ndarray, n: int
) -> float:
    """Largest share that a mean loses from ``w`` to ``new``, at least 0."""
    fall = 0.0
    for t in range(n):
        loss = 0.0
        for c in range(w.shape[0]):
            loss += (w[c] - new[c]) * local[c, t]
        fall = max(fall, loss / mean[t])
    return fall


@inner_kernel(fastmath=_SIMD, error_model="numpy")
def gather_statistics(
    indices: np.ndarray,
    start: int,
    y: np.ndarray,
    mean: np.ndarray,
    w: np.ndarray,
    n: int,
    products: np.ndarray,
    statistics: np.ndarray,
    parts: tuple[int, ...],
) -> None:
    """Add one row to the ``statistics`` (m, k + k (k + 1) / 2) of the channels."""
    k = len(parts) if len(parts) > 0 else w.shape[0]
    size = k + k * (k + 1) // 2
    p = k
    for c in range(k):
        products[c] = w[c]
        for d in range(c + 1):
            products[p] = w[c] * w[d]
            p += 1
    for t in range(n):
        inverse = 1 / mean[t]
        pull = y[t] * inverse
        bend = pull * inverse
        j = indices[start + t]
        for c in range(k):
            statistics[j, c] += pull * products[c]
        for p in range(k, size):
            statistics[j, p] += bend * products[p]


@inner_kernel(fastmath=_SIMD, error_model="numpy", inline="always")
def copy_row(
    indices: np.ndarray,
    data: np.ndarray,
    start: int,
    n: int,
    spectra: np.ndarray,
    local: np.ndarray,
    y: np.ndarray,
    parts: tuple[int, ...],
) -> None:
    """Into ``y`` the counts of a row, into ``local`` the spectra in their channels.

    Views made for each row would cost more than the arithmetic on them.
    """
    k = len(parts) if len(parts) > 0 else spectra.shape[1]
    for t in range(n):
        j = indices[start + t]
        y[t] = data[start + t]
        for c in range(k):
            local[c, t] = spectra[j, c]


@inner_kernel(fastmath=_SIMD, error_model="numpy", inline="always")
def unpack_model(
    row_sum: np.ndarray,
    sums: np.ndarray,
    gradient: np.ndarray,
    curvature: np.ndarray,
    parts: tuple[int, ...],
) -> None:
    """Gradient and curvature of a row from what `row_sums` gives."""
    k = len(parts) if len(parts) > 0 else gradient.shape[0]
    p = k
    for c in range(k):
        gradient[c] = sums[c] - row_sum[c]
        for d in range(c + 1):
            curvature[c, d] = row_sum[p]
            curvature[d, c] = row_sum[p]
            p += 1


@inner_kernel(fastmath=_SIMD, error_model="numpy", inline="always")
def log_sum_of_means(
    y: np.ndarray, mean: np.ndarray, n: int, values: np.ndarray, bits: np.ndarray
) -> float:
    """Return ``sum(y ln mean)`` of a row; ``values``, three longer than it, is scratch."""
    for t in range(n):
        values[t] = mean[t] if mean[t] < np.inf else 1e-300
    # Whole vectors of four: what is left over would be worked on one by one.
    padded = (n + 3) // 4 * 4
    for t in range(n, padded):
        values[t] = 1.0
        y[t] = 0.0
    return weighted_log_sum(values, bits, y, padded)


@kernel(makes_arrays=True, fastmath=_SIMD, error_model="numpy")
def _solve_rows(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    first: int,
    last: int,
    spectra: np.ndarray,
    sums: np.ndarray,
    weights: np.ndarray,
    free: np.ndarray,
    n_passes: int,
    tol: float,
    statistics: np.ndarray,
    parts: tuple[int, ...],
) -> float:
    """See `pass_over_rows`; ``spectra`` (m, k) and ``statistics`` by channel, float64."""
    k = len(parts) if len(parts) > 0 else spectra.shape[1]
    longest = 1
    for i in range(first, last):
        longest = max(longest, indptr[i + 1] - indptr[i])
    local = np.empty((k, longest))
    y = np.empty(longest + 3)
    mean = np.empty(longest)
    pull = np.empty(longest + 3)
    bend = np.empty(longest)
    bits = pull.view(np.int64)
    row_sum = np.empty(k + k * (k + 1) // 2)
    gradient = np.empty(k)
    curvature = np.empty((k, k))
    new = np.empty(k)
    work = np.empty((k + 1, k + 1))
    w = np.empty(k)
    own = np.empty(k, np.uint8)
    log_likelihood = 0.0
    for i in range(first, last):
        start = indptr[i]
        n = indptr[i + 1] - start
        of_free = i if free.shape[0] > 1 else 0
        for c in range(k):
            w[c] = weights[i, c]
            own[c] = free[of_free, c]
        if n == 0:
            if n_passes > 0:
                for c in range(k):
                    if own[c] and sums[c] > 0:
                        weights[i, c] = 0.0
            continue
        copy_row(indices, data, start, n, spectra, local, y, parts)
        if not row_means(local, w, n, mean, parts):
            lift_row(local, y, mean, sums, w, own, n, parts)
        for _ in range(n_passes):
            # A quadratic model, its minimum over w >= 0, and a step there that surely gains.
            row_sums(local, y, mean, n, pull, bend, row_sum, parts)
            unpack_model(row_sum, sums, gradient, curvature, parts)
            if not shrink_support(gradient, curvature, w, own, new, work, parts):
                minimise_quadratic(gradient, curvature, w, own, np.int64(30), 1e-5, new, work)
            slope, curve, fall = model_change(gradient, curvature, w, new, parts)
            if not slope < 0:
                break
            if fall > 0.5:
                # The means, not the weights, must not fall too far.
                fall = deepest_fall(local, mean, w, new, n)
            step = safe_step(slope, curve, fall)
            for c in range(k):
                w[c] = new[c] if step == 1.0 else w[c] + step * (new[c] - w[c])
            if not row_means(local, w, n, mean, parts):
                lift_row(local, y, mean, sums, w, own, n, parts)
            if -slope <= tol:
                break
        if n_passes > 0:
            for c in range(k):
                weights[i, c] = w[c]
        if statistics.shape[1] > 0:
            gather_statistics(indices, start, y, mean, w, n, row_sum, statistics, parts)
        log_likelihood += log_sum_of_means(y, mean, n, pull, bits)
    return log_likelihood
