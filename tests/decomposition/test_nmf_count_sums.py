"""One-pass sums over counts against SciPy and NumPy."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp

from siftem.decomposition import count_sums
from siftem.decomposition.initialise import pooling_matrix


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape, block", [((7, 11), 3), ((4, 4), 1), ((5, 3), 9)])
def test_pooled_rows(dtype, shape, block, monkeypatch):
    monkeypatch.setattr(count_sums, "_ENTRIES", 40)
    rng = np.random.default_rng(block)
    x = sp.csr_array(rng.poisson(0.4, (shape[0] * shape[1], 13)).astype(np.uint16))
    pooling = pooling_matrix(shape, block)
    one, two = (count_sums.pool_rows(pooling, x, dtype, n_jobs=n) for n in (1, 2))
    np.testing.assert_array_equal(one.toarray(), (pooling @ x).toarray())
    np.testing.assert_array_equal(one.toarray(), two.toarray())
    assert one.dtype == dtype
    assert one.nnz == (pooling @ x).nnz
    for a, b in itertools.pairwise(one.indptr):
        assert (np.diff(one.indices[a:b]) > 0).all()


def test_no_counts_at_all():
    pooled = count_sums.pool_rows(pooling_matrix((3, 3), 2), sp.csr_array((9, 5)), np.float32)
    assert pooled.shape == (4, 5)
    assert pooled.nnz == 0


def test_row_totals_and_column_sums():
    rng = np.random.default_rng(0)
    x = sp.csr_array(rng.poisson(0.3, (50, 20)).astype(np.float32))
    np.testing.assert_allclose(count_sums.row_totals(x.indptr, x.data), x.sum(axis=1))
    weights = rng.random((1000, 3))
    np.testing.assert_allclose(count_sums.column_sums(weights), weights.sum(axis=0))


def test_saturated_objective(monkeypatch):
    monkeypatch.setattr(count_sums, "_ENTRIES", 7)
    y = np.random.default_rng(0).integers(1, 50, 100).astype(float)
    expected = (y - y * np.log(y)).sum()
    for n_jobs in (1, 2):
        assert count_sums.saturated_objective(y, n_jobs=n_jobs) == pytest.approx(expected)
