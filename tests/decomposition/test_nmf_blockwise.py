"""Blocks of counts that stay where they are: each step gives what it gives in memory."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp

from siftem.decomposition.blockwise import BlockedRows
from siftem.decomposition.solver import poisson_objective, solve_weights, stationarity
from siftem.decomposition.solver_rows import CountRows
from siftem.large.rows_of_counts import BlockedCounts, InTurn


class Kept:
    """Counts in memory, read in blocks of unlike length."""

    identity = "made for the test"

    def __init__(self, counts):
        self.counts, self.shape = counts, counts.shape
        self.edges = [0, 7, 20, 21, 44, counts.shape[0]]

    def read(self, first, last, window=None):
        part = sp.csr_array(self.counts[first:last])
        return part if window is None else sp.csr_array(part[:, slice(*window)])


@pytest.fixture
def both(small, tmp_path):
    """The same counts in blocks and in memory, and three spectra that do not fit them yet."""
    spectra = np.random.default_rng(2).dirichlet(np.ones(small.shape[1]), 3)
    # Of one spectrum nothing is in some channels, and another is brighter.
    spectra[0, 5:9] = 0
    spectra[1] *= 3
    source = Kept(small)
    assert list(pairwise(source.edges)) == BlockedCounts(source, InTurn(), tmp_path).blocks
    return BlockedRows(BlockedCounts(source, InTurn(), tmp_path)), CountRows.of(small), spectra


@pytest.mark.parametrize(
    "steps", [{}, {"n_passes": 3, "tol": 1e-3}, {"n_passes": 50, "tol": 1e-12}]
)
def test_a_step_is_that_in_memory(both, steps):
    blocks, rows, spectra = both
    on_disk, whole = (r.even_weights(3, np.dtype(float)) for r in both[:2])
    found, statistics = blocks.improve(spectra, on_disk, **steps)
    expected, expected_statistics = rows.improve(spectra, whole, **steps)
    assert found == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(statistics, expected_statistics, rtol=1e-10)
    np.testing.assert_allclose(np.asarray(on_disk), whole, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(on_disk.sum(axis=0), whole.sum(axis=0), rtol=1e-12)


def test_to_look_at_weights_leaves_them_as_they_are(both):
    blocks, rows, spectra = both
    on_disk, whole = (r.even_weights(3, np.dtype(float)) for r in both[:2])
    assert poisson_objective(blocks, on_disk, spectra) == pytest.approx(
        poisson_objective(rows, whole, spectra), rel=1e-12
    )
    assert on_disk.folder is None
    _, statistics = blocks.improve(spectra, on_disk, n_passes=0, gather=False)
    assert statistics.size == 0


def test_how_far_weights_are_from_the_maximum_is_that_in_memory(both):
    blocks, rows, spectra = both
    on_disk, whole = (r.even_weights(3, np.dtype(float)) for r in both[:2])
    # A component that is nowhere has no level to be compared with.
    empty = np.array([1.0, 1.0, 0.0])
    for scale in (np.ones(3), np.array([0.02, 2.0, 1.0]), empty):
        ours, theirs = on_disk * scale, whole * scale
        level = theirs.mean(axis=0)
        sums = spectra.sum(axis=1)
        gradient = rows.weight_gradients(spectra, theirs)
        used = level > 0
        residual = np.minimum(theirs[:, used] / level[used], gradient[:, used] / sums[used])
        expected = np.sqrt((residual**2).mean())
        assert blocks.weight_residual(spectra, ours) == pytest.approx(expected, rel=1e-10)
    solve_weights(rows, spectra, whole)
    solve_weights(blocks, spectra, on_disk)
    ours = stationarity(blocks, on_disk, spectra)
    assert ours == pytest.approx(stationarity(rows, whole, spectra), rel=1e-6)
    assert blocks.weight_residual(spectra, on_disk) < 1e-6 < ours
