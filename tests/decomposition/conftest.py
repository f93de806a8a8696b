"""Small counts for the tests of the factorisation."""

import numpy as np
import pytest
import scipy.sparse as sp


@pytest.fixture
def small():
    """Counts (60, 40) of three components with an empty pixel and an empty channel."""
    rng = np.random.default_rng(5)
    weights = rng.gamma(0.5, 40.0, (60, 3))
    spectra = rng.gamma(0.3, 1.0, (3, 40))
    spectra /= spectra.sum(axis=1, keepdims=True)
    counts = rng.poisson(weights @ spectra)
    counts[7] = 0
    counts[:, 11] = 0
    return sp.csr_array(counts.astype(float))


@pytest.fixture
def separable():
    """Exact means with a pure pixel and a pure channel for each component: a unique answer."""
    rng = np.random.default_rng(1)
    weights = np.concatenate([100 * np.eye(3), 50 * rng.dirichlet(np.ones(3), 200)])
    spectra = rng.gamma(1.0, 1.0, (3, 50))
    spectra[:, :3] = 5 * np.eye(3)
    spectra /= spectra.sum(axis=1, keepdims=True)
    return weights, spectra
