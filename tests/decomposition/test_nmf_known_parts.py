"""Fixed spectra and supports."""

import numpy as np
import pytest
import scipy.sparse as sp

from siftem import PoissonNMF
from siftem.decomposition import solver
from siftem.decomposition.solver_rows import CountRows
from siftem.errors import InputError


@pytest.fixture
def lines():
    """Counts (400, 60) whose spectra are sums of peaks and a slope, weights and spectra."""
    rng = np.random.default_rng(3)
    channel = np.arange(60)
    basis = np.stack(
        [np.exp(-0.5 * ((channel - c) / 2) ** 2) for c in (8, 20, 30, 45)] + [1 - channel / 70],
        axis=1,
    )
    amplitudes = np.array([[5, 1, 0, 3, 0.2], [0, 4, 6, 1, 0.3], [1, 0, 2, 6, 0.1]], float)
    spectra = amplitudes @ basis.T
    spectra /= spectra.sum(axis=1, keepdims=True)
    weights = 300 * rng.dirichlet(0.4 * np.ones(3), 400)
    counts = sp.csr_array(rng.poisson(weights @ spectra).astype(float))
    return counts, weights, spectra


def test_fixed_spectrum_stays_and_helps(lines):
    counts, weights, spectra = lines
    model = PoissonNMF(3, fixed_spectra={1: 7 * spectra[1]})
    found = model.fit_transform(counts)
    np.testing.assert_allclose(model.components_[1], spectra[1], rtol=1e-12)
    assert np.corrcoef(found[:, 1], weights[:, 1])[0, 1] > 0.97


def test_all_fixed_leaves_only_the_weights(lines):
    counts, _, spectra = lines
    model = PoissonNMF(3, fixed_spectra=dict(enumerate(spectra)), tol=1e-12)
    found = model.fit_transform(counts)
    alone = solver.even_weights(CountRows.of(counts), 3, np.dtype(float))
    solver.solve_weights(CountRows.of(counts), spectra, alone)
    np.testing.assert_allclose(found, alone, atol=1e-3)


def test_support_keeps_components_out(lines):
    counts, weights, spectra = lines
    support = weights > 0.02 * weights.sum(axis=1, keepdims=True)
    model = PoissonNMF(3, support=support, init="random")
    found = model.fit_transform(counts)
    assert (found[~support] == 0).all()
    order = [
        int(np.argmax([np.dot(h, s) / np.linalg.norm(h) for h in spectra]))
        for s in model.components_
    ]
    assert sorted(order) == [0, 1, 2]
    assert order == [0, 1, 2]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"support": np.ones((3, 3), bool)}, "support"),
        ({"fixed_spectra": {5: np.ones(60)}}, "component 5"),
        ({"fixed_spectra": {0: -np.ones(60)}}, "non-negative"),
        ({"fixed_spectra": {0: np.zeros(60)}}, "zero everywhere"),
    ],
)
def test_wrong_parts_are_named(lines, parts, message):
    with pytest.raises(InputError, match=message):
        PoissonNMF(3, **parts).fit(lines[0])
