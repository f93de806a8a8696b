"""Compiled gradient and multiplicative update: slower, simpler, to judge the solver by."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def row_gradients(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    first: int,
    last: int,
    spectra: np.ndarray,
    sums: np.ndarray,
    weights: np.ndarray,
    out: np.ndarray,
) -> None:
    """Gradient of the Poisson objective by the weights into ``out`` (n, k), float64."""
    k = spectra.shape[0]
    for i in range(first, last):
        for c in range(k):
            out[i, c] = sums[c]
        for t in range(indptr[i], indptr[i + 1]):
            j = indices[t]
            mean = 0.0
            for c in range(k):
                mean += float(weights[i, c]) * float(spectra[c, j])
            if mean > 0:
                for c in range(k):
                    out[i, c] -= data[t] * float(spectra[c, j]) / mean


@njit(cache=True, nogil=True)
def multiply_rows(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    spectra: np.ndarray,
    sums: np.ndarray,
    weights: np.ndarray,
) -> None:
    """One multiplicative update (Lee & Seung 2001) of all rows: the reference for tests."""
    n, k = weights.shape
    gain = np.empty(k)
    for i in range(n):
        gain[:] = 0.0
        for t in range(indptr[i], indptr[i + 1]):
            j = indices[t]
            mean = 0.0
            for c in range(k):
                mean += weights[i, c] * spectra[c, j]
            if mean > 0:
                for c in range(k):
                    gain[c] += data[t] * spectra[c, j] / mean
        for c in range(k):
            weights[i, c] = weights[i, c] * gain[c] / sums[c] if sums[c] > 0 else 0.0
