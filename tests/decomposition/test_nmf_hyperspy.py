"""The estimator inside HyperSpy's decomposition."""

import numpy as np
import pytest

from siftem import PoissonNMF

hs = pytest.importorskip("hyperspy.api")


def test_in_hyperspy_saved_and_loaded(tmp_path):
    rng = np.random.default_rng(0)
    spectra = rng.dirichlet(0.5 * np.ones(50), 3)
    weights = 200 * rng.dirichlet(np.ones(3), 64)
    cube = rng.poisson(weights @ spectra).reshape(8, 8, 50).astype(float)
    signal = hs.signals.Signal1D(cube)
    model = PoissonNMF(3, map_shape=(8, 8))
    signal.decomposition(
        algorithm=model,
        output_dimension=3,
        navigation_mask=None,
        normalize_poissonian_noise=False,
        print_info=False,
    )
    results = signal.learning_results
    alone = PoissonNMF(3, map_shape=(8, 8))
    expected = alone.fit_transform(cube.reshape(64, 50))
    np.testing.assert_allclose(np.asarray(results.factors), alone.components_.T, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(results.loadings), expected, rtol=1e-6, atol=1e-9)
    # Only arrays and a name can be stored: the estimator itself stays behind.
    results.decomposition_algorithm = "PoissonNMF"
    results.estimator = None
    signal.save(tmp_path / "decomposed.hspy")
    again = hs.load(tmp_path / "decomposed.hspy").learning_results
    np.testing.assert_array_equal(again.factors, results.factors)
    np.testing.assert_array_equal(again.loadings, results.loadings)
