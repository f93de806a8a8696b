"""Compiled kernels of banded equations. They assume clean input."""

from __future__ import annotations

import numpy as np

from siftem.compiling import kernel


@kernel()
def factorise(bands: np.ndarray) -> None:
    """Turn a positive definite matrix into ``L D L'``, in place; (width + 1, n).

    Parameters
    ----------
    bands : ndarray of shape (width + 1, n)
        ``bands[k, j]`` is the element (j + k, j). Afterwards the first row is D, the others hold
        L below its diagonal of ones.
    """
    width, n = bands.shape[0] - 1, bands.shape[1]
    for j in range(n):
        reach = min(width, n - 1 - j)
        pivot = bands[0, j]
        for k in range(1, reach + 1):
            ratio = bands[k, j] / pivot
            for m in range(k, reach + 1):
                bands[m - k, j + k] -= ratio * bands[m, j]
        for k in range(1, reach + 1):
            bands[k, j] /= pivot


@kernel()
def solve(factors: np.ndarray, sides: np.ndarray) -> None:
    """Solve for right-hand sides (n, p), in place; ``factors`` as `factorise` leaves them."""
    width, n = factors.shape[0] - 1, factors.shape[1]
    p = sides.shape[1]
    for j in range(n):
        for k in range(1, min(width, n - 1 - j) + 1):
            share = factors[k, j]
            for i in range(p):
                sides[j + k, i] -= share * sides[j, i]
    for j in range(n - 1, -1, -1):
        pivot = factors[0, j]
        for i in range(p):
            sides[j, i] /= pivot
        for k in range(1, min(width, n - 1 - j) + 1):
            share = factors[k, j]
            for i in range(p):
                sides[j, i] -= share * sides[j + k, i]


@kernel()
def diagonal_of_inverse(factors: np.ndarray, inverse: np.ndarray) -> None:
    """Put the inverse's elements within the band into ``inverse``, the diagonal first.

    Both are (width + 1, n).

    References
    ----------
    Takahashi, Fagan & Chen 1973, Proc. 8th PICA Conference, 63.
    """
    width, n = factors.shape[0] - 1, factors.shape[1]
    for j in range(n - 1, -1, -1):
        reach = min(width, n - 1 - j)
        for k in range(reach, 0, -1):
            total = 0.0
            for m in range(1, reach + 1):
                low, high = min(m, k), max(m, k)
                total += factors[m, j] * inverse[high - low, j + low]
            inverse[k, j] = -total
        total = 0.0
        for m in range(1, reach + 1):
            total += factors[m, j] * inverse[m, j]
        inverse[0, j] = 1.0 / factors[0, j] - total
