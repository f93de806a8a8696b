"""Compiled kernels of the constrained unmixing: clean input assumed, nothing of ours imported."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def solve_abundances(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    spectra: np.ndarray,
    allowed: np.ndarray,
    maps: np.ndarray,
    passes: int,
    tolerance: float,
) -> float:
    """Maximise each pixel's Poisson likelihood over its non-negative abundances, in place.

    One coordinate after the other: where the slope asks for more, Newton's step, which a
    concave derivative keeps from overshooting; where it asks for less, the step of a bound
    on the curvature, which never raises the objective.

    Parameters
    ----------
    indptr, indices, data : ndarray
        Sparse counts, pixels x channels.
    spectra : ndarray of shape (channels, k)
        Each column sums to one.
    allowed : ndarray of shape (pixels, k), uint8
        0 where a phase can't be.
    maps : ndarray of shape (pixels, k)
        Abundances, changed in place.
    passes : int
        Passes over the coordinates at the most.
    tolerance : float
        Relative change of a pixel's abundances below which it has settled.

    Returns
    -------
    float
        ``sum(y ln mean) - sum(mean)`` over the pixels.
    """
    k = spectra.shape[1]
    likelihood = 0.0
    for p in range(maps.shape[0]):
        start, stop = indptr[p], indptr[p + 1]
        n = stop - start
        total = 0.0
        for t in range(start, stop):
            total += data[t]
        n_allowed = 0
        for c in range(k):
            if not allowed[p, c]:
                maps[p, c] = 0.0
            else:
                n_allowed += 1
        if total == 0.0 or n_allowed == 0:
            for c in range(k):
                maps[p, c] = 0.0
            continue
        local = np.empty((n, k))
        for t in range(n):
            for c in range(k):
                local[t, c] = spectra[indices[start + t], c]
        given = 0.0
        for c in range(k):
            given += maps[p, c]
        for c in range(k):
            # Nothing known yet, or a phase that had vanished: give it a chance.
            if allowed[p, c] and maps[p, c] < 1e-3 * total / n_allowed:
                maps[p, c] = total / n_allowed if given == 0.0 else 1e-3 * total / n_allowed
        mean = np.zeros(n)
        for t in range(n):
            for c in range(k):
                mean[t] += local[t, c] * maps[p, c]
        for _ in range(passes):
            moved = 0.0
            for c in range(k):
                if not allowed[p, c]:
                    continue
                slope = 1.0
                curvature = 0.0
                for t in range(n):
                    ratio = local[t, c] / mean[t]
                    slope -= data[start + t] * ratio
                    curvature += data[start + t] * ratio * ratio
                old = maps[p, c]
                if curvature <= 0.0:
                    new = 0.0
                elif slope <= 0.0:
                    new = old - slope / curvature
                elif old <= 1e-9 * total:
                    new = 0.0
                else:
                    new = old / (1.0 + slope / (curvature * old))
                step = new - old
                if step != 0.0:
                    maps[p, c] = new
                    moved = max(moved, abs(step))
                    for t in range(n):
                        mean[t] = max(mean[t] + step * local[t, c], 1e-300)
            if moved < tolerance * total:
                break
        for t in range(n):
            likelihood += data[start + t] * np.log(mean[t])
        for c in range(k):
            likelihood -= maps[p, c]
    return likelihood


@njit(cache=True, nogil=True)
def accumulate_ratios(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    spectra: np.ndarray,
    maps: np.ndarray,
    out: np.ndarray,
) -> None:
    """Add ``sum_p a_pk y_pj / mean_pj`` to ``out`` (channels, k) in place."""
    k = spectra.shape[1]
    for p in range(maps.shape[0]):
        for t in range(indptr[p], indptr[p + 1]):
            j = indices[t]
            mean = 0.0
            for c in range(k):
                mean += maps[p, c] * spectra[j, c]
            if mean > 0.0:
                ratio = data[t] / mean
                for c in range(k):
                    out[j, c] += maps[p, c] * ratio
