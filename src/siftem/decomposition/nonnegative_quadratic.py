"""Compiled non-negative quadratic problems, and the Newton step of spectra that is made of them.

Clean input only.
"""

from __future__ import annotations

import numpy as np

from siftem.compiling import inner_kernel, kernel

# Sums may be reordered (SIMD), which changes the last digits but not from run to run.
_SIMD = {"reassoc", "contract", "nsz", "arcp"}

# A Newton step may take this share of a mean away at the most; see `safe_step`.
_DEEPEST_FALL = 0.65

#: Pivots below this share of the curvature are taken for zero: elimination would multiply the
#: rounding errors by its inverse.
_LEAST_PIVOT = 1e-6
#: A slope below this share of its parts is none.
_LEAST_SLOPE = 1e-10
#: Numbers of coordinates that get loops of their own: each costs seconds to compile, once.
_UNROLLED = (2, 3, 4)


def unrolled(k: int) -> tuple[int, ...]:
    """Return the ``parts`` for kernels of ``k`` components: one item each, or none at all.

    The compiler knows the length of a tuple, and unrolls loops over it.
    """
    return (0,) * k if k in _UNROLLED else ()


@kernel(fastmath=_SIMD, error_model="numpy")
def minimise_quadratic(
    gradient: np.ndarray,
    curvature: np.ndarray,
    start: np.ndarray,
    free: np.ndarray,
    n_sweeps: int,
    tol: float,
    out: np.ndarray,
    work: np.ndarray,
) -> None:
    """Minimise ``g (x - start) + 1/2 (x - start) B (x - start)`` over ``x >= 0`` into ``out``.

    Near the end of a fit the coordinates that are positive hardly change: `shrink_support` is
    worth a try first. Two sweeps of coordinate descent mostly tell which coordinates are
    positive; elimination then gives their values. When its answer is not the minimum,
    coordinate descent goes on; its value never rises, so a stop after any sweep is safe.
    ``work`` is (k + 1, k + 1). Numba compiles anew for each number of sweeps that is written into a
    call: kernels pass it as ``np.int64``.
    """
    k = start.shape[0]
    for c in range(k):
        out[c] = start[c]
    for sweep in range(n_sweeps):
        moved = 0.0
        size = 0.0
        for c in range(k):
            if not free[c]:
                continue
            slope = gradient[c]
            for d in range(k):
                slope += curvature[c, d] * (out[d] - start[d])
            if curvature[c, c] > 0:
                new = max(out[c] - slope / curvature[c, c], 0.0)
            else:
                new = 0.0 if slope > 0 else out[c]
            moved += abs(new - out[c])
            size += new
            out[c] = new
        if moved <= tol * size:
            break
        if sweep in (1, 5, 15, 45) and solve_support(gradient, curvature, start, free, out, work):
            break


@kernel(fastmath=_SIMD, error_model="numpy")
def shrink_support(
    gradient: np.ndarray,
    curvature: np.ndarray,
    start: np.ndarray,
    free: np.ndarray,
    out: np.ndarray,
    work: np.ndarray,
    parts: tuple[int, ...],
) -> bool:
    """Solve by elimination if ``start`` tells which coordinates are positive; True if it did.

    The free coordinates that are positive in ``start`` are solved for; those that come out
    negative are set to zero, and the others solved for again. When that is not the minimum,
    ``out`` is scratch. The other arguments are those of `minimise_quadratic`. ``parts``, with
    one item for each coordinate, tells the compiler their number, which it then unrolls; it may
    be empty.
    """
    k = len(parts) if len(parts) > 0 else start.shape[0]
    for c in range(k):
        # The last column of the scratch holds who is solved for, the last row the target.
        work[c, k] = 1.0 if (start[c] > 0) & (free[c] != 0) else 0.0
        target = -gradient[c]
        for d in range(k):
            target += curvature[c, d] * (start[d] if free[d] != 0 else 0.0)
        work[k, c] = target
    good = False
    for _ in range(k):
        for c in range(k):
            active = work[c, k] > 0
            for d in range(c):
                work[c, d] = curvature[c, d] if active & (work[d, k] > 0) else 0.0
            work[c, c] = curvature[c, c] if active else 1.0
            out[c] = work[k, c] if active else 0.0
        good = True
        for c in range(k):
            good = good & ((work[c, c] > _LEAST_PIVOT * curvature[c, c]) | (work[c, k] == 0))
            inverse = 1 / work[c, c]
            for e in range(c + 1, k):
                factor = work[e, c] * inverse
                for d in range(c + 1, e + 1):
                    work[e, d] -= factor * work[d, c]
                out[e] -= factor * out[c]
        for c in range(k - 1, -1, -1):
            total = out[c]
            for d in range(c + 1, k):
                total -= work[d, c] * out[d]
            out[c] = total / work[c, c]
        if not good:
            break  # the answer is not unique, and what elimination gives is rounding errors
        fewer = False
        for c in range(k):
            if (work[c, k] > 0) & (not out[c] > 0):
                work[c, k] = 0.0
                fewer = True
        if not fewer:
            break
        good = False
    for c in range(k):
        slope = -work[k, c]
        for d in range(k):
            slope += curvature[c, d] * out[d]
        # Rounding must not decide between answers that are equally good.
        downhill = slope < -_LEAST_SLOPE * abs(work[k, c])
        good = good & ((work[c, k] > 0) | (not downhill) | (free[c] == 0))
    for c in range(k):
        if free[c] == 0:
            out[c] = start[c]
    return good


@inner_kernel(fastmath=_SIMD, error_model="numpy", inline="always")
def eliminate(work: np.ndarray, curvature: np.ndarray) -> bool:
    """Solve the equations in ``work``, right sides in its last column; False without an answer."""
    k = curvature.shape[0]
    unique = True
    for c in range(k):
        if not work[c, c] > _LEAST_PIVOT * curvature[c, c] and work[c, c] != 1.0:
            unique = False
            break
        inverse = 1 / work[c, c]
        for e in range(c + 1, k):
            factor = work[e, c] * inverse
            if factor != 0.0:
                for d in range(c + 1, k + 1):
                    work[e, d] -= factor * work[c, d]
    if unique:
        for c in range(k - 1, -1, -1):
            total = work[c, k]
            for d in range(c + 1, k):
                total -= work[c, d] * work[d, k]
            work[c, k] = total / work[c, c]
    return unique


@inner_kernel(fastmath=_SIMD, error_model="numpy")
def solve_support(
    gradient: np.ndarray,
    curvature: np.ndarray,
    start: np.ndarray,
    free: np.ndarray,
    out: np.ndarray,
    work: np.ndarray,
) -> bool:
    """Solve for the free coordinates that are positive in ``out``; True if that is the minimum.

    ``out`` is changed only then.
    """
    k = start.shape[0]
    for c in range(k):
        active = free[c] and out[c] > 0
        for d in range(k):
            work[c, d] = curvature[c, d] if active and free[d] and out[d] > 0 else 0.0
        work[c, k] = 0.0
        if active:
            total = -gradient[c]
            for d in range(k):
                if not (free[d] and out[d] > 0):
                    total -= curvature[c, d] * (out[d] - start[d])
            work[c, k] = total
        else:
            work[c, c] = 1.0
    if not eliminate(work, curvature):
        return False
    for c in range(k):
        if free[c] and out[c] > 0:
            if not start[c] + work[c, k] > 0:
                return False
        elif free[c]:
            slope = gradient[c]
            for d in range(k):
                change = work[d, k] if free[d] and out[d] > 0 else out[d] - start[d]
                slope += curvature[c, d] * change
            if slope < 0:
                return False
    for c in range(k):
        if free[c] and out[c] > 0:
            out[c] = start[c] + work[c, k]
    return True


@inner_kernel(error_model="numpy")
def safe_step(slope: float, bend: float, fall: float) -> float:
    """Length of a step along ``d`` that surely lowers the objective.

    With ``slope = g d``, ``bend = d B d`` and no mean losing more than the share ``fall`` in
    the full step, ``-ln(1 - u) <= u + c u**2 / 2`` for ``u <= fall``, with
    ``c = 2 (-ln(1 - fall) - fall) / fall**2``, bounds the change by
    ``a slope + c a**2 bend / 2``.

    """
    step = 1.0
    if fall > _DEEPEST_FALL:
        step = _DEEPEST_FALL / fall
        fall = _DEEPEST_FALL
    bound = 1.0
    if fall > 1e-3:
        bound = 2 * (-np.log1p(-fall) - fall) / (fall * fall)
    if slope + 0.5 * step * bound * bend > 0:
        step = min(step, -slope / (bound * bend))
    return step


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


@kernel(makes_arrays=True, error_model="numpy")
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
            minimise_quadratic(gradient, curvature, old, own, np.int64(100), 1e-6, new, work)
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
