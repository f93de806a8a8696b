"""Banded equations against dense ones."""

import numpy as np
import pytest

from siftem.fit import kernels


@pytest.mark.parametrize(("n", "width"), [(1, 3), (3, 3), (60, 3), (20, 1)])
def test_banded_equations_are_solved_as_dense_ones(n, width):
    rng = np.random.default_rng(0)
    dense = np.zeros((n, n))
    for k in range(min(width, n - 1) + 1):
        dense += np.diag(rng.normal(size=n - k), -k)
    dense = dense @ dense.T + np.eye(n)
    bands = np.zeros((width + 1, n))
    for k in range(min(width, n - 1) + 1):
        bands[k, : n - k] = np.diag(dense, -k)
    sides = rng.normal(size=(n, 5))
    solved = sides.copy()
    kernels.factorise(bands)
    kernels.solve(bands, solved)
    assert solved == pytest.approx(np.linalg.solve(dense, sides), rel=1e-9, abs=1e-12)
    inverse = np.zeros_like(bands)
    kernels.diagonal_of_inverse(bands, inverse)
    assert inverse[0] == pytest.approx(np.diag(np.linalg.inv(dense)), rel=1e-9)
