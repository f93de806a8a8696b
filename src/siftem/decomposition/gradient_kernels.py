"""Compiled gradient by the weights, to judge the solver by."""

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
