"""The marginal likelihood under a gamma prior, against exact sums and integrals."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.integrate import dblquad
from scipy.special import gammaln, xlogy
from scipy.stats import gamma

from siftem.decompose.marginal import fit_marginal
from siftem.errors import InputError, SiftemWarning


def test_one_component_is_the_exact_negative_multinomial():
    rng = np.random.default_rng(1)
    spectrum = rng.dirichlet(np.ones(12))
    true = rng.gamma(2.0, 15.0, 3000)
    y = rng.poisson(true[:, None] * spectrum)
    found = fit_marginal(sp.csr_array(y), spectrum[None], tol=1e-12)
    # The spectrum separates from the totals, so that its best is the mean spectrum.
    np.testing.assert_allclose(found.spectra[0], y.sum(axis=0) / y.sum(), rtol=1e-6)
    assert found.prior_shape[0] == pytest.approx(2.0, rel=0.1)
    assert found.prior_mean[0] == pytest.approx(30.0, rel=0.05)
    a, rate = found.prior_shape[0], found.prior_shape[0] / found.prior_mean[0]
    total = y.sum(axis=1)
    exact = (
        xlogy(y, found.spectra[0]).sum()
        + (gammaln(a + total) - gammaln(a)).sum()
        + (a * np.log(rate / (rate + 1)) - total * np.log(rate + 1)).sum()
    )
    assert found.bound == pytest.approx(exact, rel=1e-9)
    np.testing.assert_allclose(found.weights[:, 0], (a + total) / (rate + 1), rtol=1e-9)


def test_bound_lies_closely_below_the_integral():
    y = np.array([[6, 1, 0], [0, 3, 5]])
    start = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    with pytest.warns(SiftemWarning, match="max_sweeps=1 "):
        found = fit_marginal(sp.csr_array(y), start, max_sweeps=1)
    # The first sweep has unit shapes and equal means.
    scale = y.sum() / 2 / 2
    exact = 0.0
    for row in y:

        def density(b, a, row=row):
            mean = a * start[0] + b * start[1]
            return np.exp((xlogy(row, mean) - mean).sum()) * np.prod(
                gamma.pdf([a, b], 1.0, scale=scale)
            )

        exact += np.log(dblquad(density, 0, 60, 0, 60)[0])
    assert exact - 0.5 < found.bound < exact


def test_bound_never_falls(small):
    rng = np.random.default_rng(0)
    start = rng.uniform(0.5, 1.5, (3, small.shape[1]))
    found = fit_marginal(small, start, tol=1e-9, max_sweeps=3000)
    assert found.converged
    assert np.diff(found.history).min() > -1e-9 * abs(found.bound)
    np.testing.assert_allclose(found.spectra.sum(axis=1), 1)
    assert np.isfinite(found.weights).all()


def test_wrong_starts_are_named(small):
    with pytest.raises(InputError, match="shape"):
        fit_marginal(small, np.ones((2, 3)))
    with pytest.raises(InputError, match="prior_shape"):
        fit_marginal(small, np.ones((2, small.shape[1])), prior_shape=0.0)
    with pytest.raises(InputError, match="every channel"):
        fit_marginal(small, np.zeros((2, small.shape[1])))
