"""The solver against an independent dense reference and its own promises."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import xlogy

from siftem import PoissonNMF
from siftem.decomposition import count_sums, nonnegative_quadratic, row_kernels, solver
from siftem.decomposition.initialise import vertex_spectra
from siftem.decomposition.solver_rows import CountRows


def dense_objective(y, weights, spectra):
    mean = weights @ spectra
    return float((mean - xlogy(y, mean)).sum())


def start(x, k=3, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    spectra = rng.uniform(0.2, 1.0, (k, x.shape[1]))
    spectra /= spectra.sum(axis=1, keepdims=True)
    weights = rng.uniform(0.5, 1.5, (x.shape[0], k)) * x.sum(axis=1)[:, None] / k
    return weights.astype(dtype), spectra.astype(dtype)


def test_objective_equals_dense(small):
    weights, spectra = start(small)
    found = solver.poisson_objective(CountRows.of(small), weights, spectra)
    assert found == pytest.approx(dense_objective(small.toarray(), weights, spectra), rel=1e-13)


def test_gradients_equal_finite_differences(small):
    counts = CountRows.of(small)
    weights, spectra = start(small)
    y = small.toarray()
    by_weight = counts.weight_gradients(spectra, weights)
    _, statistics = counts.improve(spectra, weights.copy(), n_passes=0)
    by_spectrum = weights.sum(axis=0)[:, None] - statistics[:3]
    rng = np.random.default_rng(3)
    for array, gradient in ((weights, by_weight), (spectra, by_spectrum)):
        for _ in range(20):
            i = tuple(int(rng.integers(s)) for s in array.shape)
            step = 1e-5 * array[i] + 1e-7
            value, ends = array[i], []
            for sign in (1, -1):
                array[i] = value + sign * step
                ends.append(dense_objective(y, weights, spectra))
            array[i] = value
            numeric = (ends[0] - ends[1]) / (2 * step)
            assert gradient[i] == pytest.approx(numeric, rel=1e-4, abs=1e-4)


def test_curvature_statistics_equal_dense_sums(small):
    counts = CountRows.of(small)
    weights, spectra = start(small)
    _, statistics = counts.improve(spectra, weights.copy(), n_passes=0)
    ratio = small.toarray() / np.maximum(weights @ spectra, 1e-30) ** 2
    row = 3
    for c in range(3):
        for d in range(c + 1):
            expected = (weights[:, c] * weights[:, d]) @ ratio
            np.testing.assert_allclose(statistics[row], expected, rtol=1e-12)
            row += 1


def test_rows_equal_scipy(small):
    _, spectra = start(small)
    counts = CountRows.of(small)
    weights = solver.even_weights(counts, 3, np.dtype(float))
    solver.solve_weights(counts, spectra, weights)
    y = small.toarray()
    for i in (0, 3, 20, 41):
        best = minimize(
            lambda w, row=y[i]: (w @ spectra).sum() - xlogy(row, w @ spectra).sum(),
            np.full(3, y[i].sum() / 3),
            jac=lambda w, row=y[i]: spectra.sum(axis=1) - spectra @ (row / (w @ spectra)),
            bounds=[(1e-12, None)] * 3,
            method="L-BFGS-B",
            options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 2000},
        )
        mine = dense_objective(y[i : i + 1], weights[i : i + 1], spectra)
        assert mine <= best.fun + 1e-8 * abs(best.fun)
        np.testing.assert_allclose(weights[i], best.x, atol=2e-4 * y[i].sum())


def test_factorisation_not_worse_than_scipy_from_the_same_start():
    rng = np.random.default_rng(8)
    y = rng.poisson(rng.gamma(1.0, 20.0, (12, 2)) @ rng.dirichlet(np.ones(9), 2)).astype(float)
    x = sp.csr_array(y)
    weights, spectra = start(x, 2)

    def value(z):
        w, h = z[:24].reshape(12, 2) ** 2, z[24:].reshape(2, 9) ** 2
        mean = w @ h
        slope = 1 - np.divide(y, mean, out=np.zeros_like(y), where=mean > 0)
        gradient = [2 * z[:24] * (slope @ h.T).ravel(), 2 * z[24:] * (w.T @ slope).ravel()]
        return dense_objective(y, w, h), np.concatenate(gradient)

    z = np.sqrt(np.concatenate([weights.ravel(), spectra.ravel()]))
    best = minimize(
        value, z, jac=True, method="L-BFGS-B", options={"maxiter": 20000, "ftol": 1e-14}
    )
    found = solver.alternate(CountRows.of(x), weights, spectra, tol=1e-10, max_iter=5000)
    assert found.objective == pytest.approx(best.fun, abs=0.02)


@pytest.mark.parametrize("n_passes", [1, 3])
def test_objective_falls_with_every_sweep_without_extrapolation(small, n_passes):
    weights, spectra = start(small)
    found = solver.alternate(
        CountRows.of(small),
        weights,
        spectra,
        extrapolate=False,
        max_iter=150,
        n_passes=n_passes,
        tol=0,
    )
    assert np.diff(found.history).max() <= 1e-12 * abs(found.history[0])
    assert found.objective == pytest.approx(
        dense_objective(small.toarray(), found.weights, found.spectra), rel=1e-12
    )


def test_extrapolation_keeps_the_history_falling(small):
    weights, spectra = start(small)
    found = solver.alternate(CountRows.of(small), weights, spectra, max_iter=300, tol=1e-9)
    assert np.diff(found.history).max() <= 1e-12 * abs(found.history[0])
    assert found.objective == pytest.approx(
        dense_objective(small.toarray(), found.weights, found.spectra), rel=1e-12
    )


def test_stationary_at_the_end(small):
    weights, spectra = start(small)
    found = solver.alternate(
        CountRows.of(small), weights, spectra, tol=1e-14, max_iter=20000, n_passes=3
    )
    assert found.converged
    assert found.kkt < 1e-4
    y = small.toarray()
    mean = found.weights @ found.spectra
    ratio = np.divide(y, mean, out=np.zeros_like(y), where=mean > 0)
    gradient = found.spectra.sum(axis=1) - ratio @ found.spectra.T
    assert (gradient > -1e-3).all()
    assert np.abs(found.weights * gradient).max() < 1e-3 * y.sum(axis=1).max()


def test_multiplicative_updates_end_no_lower(small):
    """Those of Lee & Seung 2001."""
    counts, y = CountRows.of(small), small.toarray()
    w, h = start(small)
    found = solver.alternate(counts, w, h, tol=1e-10, max_iter=3000)

    def multiplied(y, w, h):
        mean = w @ h
        ratio = np.divide(y, mean, out=np.zeros_like(y), where=mean > 0)
        return w * (ratio @ h.T) / h.sum(axis=1)

    last = np.inf
    for _ in range(400):
        w = multiplied(y, w, h)
        h = multiplied(y.T, h.T, w.T).T
        value = dense_objective(y, w, h)
        assert value <= last + 1e-9
        last = value
    assert found.objective <= last + 1e-3 * abs(last - counts.saturated)


def test_threads_do_not_change_the_answer(monkeypatch):
    from siftem.decomposition import solver_rows

    monkeypatch.setattr(solver_rows, "_WORK_IN_BLOCK", 400)
    rng = np.random.default_rng(2)
    x = sp.csr_array(rng.poisson(0.4, (300, 50)).astype(float))
    weights, spectra = start(x)
    found = [
        solver.alternate(CountRows.of(x, n_jobs=n), weights, spectra, max_iter=20, tol=0)
        for n in (1, 2)
    ]
    assert len(CountRows.of(x).blocks(9)) > 10
    np.testing.assert_array_equal(found[0].weights, found[1].weights)
    np.testing.assert_array_equal(found[0].spectra, found[1].spectra)


def uncompiled(monkeypatch):
    """Take the kernels as plain Python, those that they call included."""
    for module in (nonnegative_quadratic, row_kernels, count_sums):
        for name in dir(module):
            function = getattr(module, name)
            if hasattr(function, "py_func"):
                monkeypatch.setattr(module, name, function.py_func)
    for name in ("shrink_support", "minimise_quadratic", "safe_step"):
        monkeypatch.setattr(row_kernels, name, getattr(nonnegative_quadratic, name))


def test_compiled_equals_uncompiled(monkeypatch):
    rng = np.random.default_rng(0)
    y = rng.poisson(1.0, (12, 9)).astype(float)
    y[3] = 0
    x = sp.csr_array(y)
    weights, spectra = start(x)
    weights[5] = 0
    compiled = solver.alternate(CountRows.of(x, n_jobs=1), weights, spectra, max_iter=15, tol=0)
    uncompiled(monkeypatch)
    plain = solver.alternate(CountRows.of(x, n_jobs=1), weights, spectra, max_iter=15, tol=0)
    np.testing.assert_allclose(plain.weights, compiled.weights, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(plain.spectra, compiled.spectra, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_unrolled_loops_change_nothing(k, monkeypatch):
    rng = np.random.default_rng(k)
    spectra = rng.gamma(1.0, 1.0, (k, 30))
    spectra[0, :5] = 0
    weights = rng.gamma(1.0, 3.0, (40, k)) * (rng.random((40, k)) > 0.3)
    rows = CountRows.of(sp.csr_array(rng.poisson(weights @ spectra + 0.1)), n_jobs=1)
    free = rng.random((40, k)) > 0.1

    def run():
        new = weights.copy()
        found, statistics = rows.improve(spectra, new, free=free, n_passes=5)
        return found, statistics, new

    unrolled = run()
    monkeypatch.setattr(nonnegative_quadratic, "_UNROLLED", ())
    for one, other in zip(unrolled, run(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@given(st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_logarithm_of_the_kernel(values):
    array = np.array(values)
    weights = np.linspace(0.5, 3, array.size)
    expected = weights @ np.log(array)
    work = array.copy()
    found = row_kernels.weighted_log_sum(work, work.view(np.int64), weights, array.size)
    assert found == pytest.approx(expected, rel=1e-13, abs=1e-11 * array.size)


@given(
    st.integers(1, 6),
    st.integers(0, 2**31),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_quadratic_problem_equals_nnls(k, seed, rank_one):
    from scipy.optimize import nnls

    rng = np.random.default_rng(seed)
    root = rng.normal(size=(k, k)) if not rank_one else np.outer(rng.normal(size=k), np.ones(k))
    root = np.concatenate([root, 0.05 * np.eye(k)])
    target = rng.normal(size=2 * k)
    start_point = rng.uniform(0, 1, k)
    curvature = root.T @ root
    gradient = curvature @ start_point - root.T @ target
    out, work = np.empty(k), np.empty((k + 1, k + 1))
    free = np.ones(k, np.uint8)
    nonnegative_quadratic.minimise_quadratic(
        gradient, curvature, start_point, free, 50_000, 1e-12, out, work
    )
    best = nnls(root, target)[0]
    kept = np.empty(k)
    if nonnegative_quadratic.shrink_support(
        gradient, curvature, start_point, free, kept, work, (0,) * k if seed % 2 else ()
    ):
        np.testing.assert_allclose(root @ kept, root @ best, rtol=1e-5, atol=1e-7)
        assert (kept >= 0).all()
    mine = np.sum((root @ out - target) ** 2)
    assert mine == pytest.approx(np.sum((root @ best - target) ** 2), rel=1e-6, abs=1e-9)
    assert (out >= 0).all()


@pytest.mark.parametrize("parts", [(), (0, 0, 0)])
def test_elimination_finds_who_is_positive(parts):
    # Without coupling each coordinate goes to start - gradient / curvature, or to zero.
    start_point, gradient = np.array([1.0, 2.0, 0.0]), np.array([3.0, -1.0, 0.5])
    curvature, free = np.diag([2.0, 4.0, 1.0]), np.ones(3, np.uint8)
    out, work = np.empty(3), np.empty((4, 4))
    arguments = (gradient, curvature, start_point, free, out, work, parts)
    assert nonnegative_quadratic.shrink_support(*arguments)
    np.testing.assert_allclose(out, [0, 2.25, 0])
    free[0] = 0  # keeps its value, though the slope says down
    assert nonnegative_quadratic.shrink_support(*arguments)
    np.testing.assert_allclose(out, [1, 2.25, 0])
    gradient[2] = -0.5  # wants to leave zero: not for this function
    assert not nonnegative_quadratic.shrink_support(*arguments)


def test_recovers_separable_means(separable):
    weights, spectra = separable
    x = sp.csr_array(weights @ spectra)
    w0, h0 = start(x)
    found = solver.alternate(CountRows.of(x), w0, h0, tol=1e-13, max_iter=20000)
    scale = found.spectra.sum(axis=1, keepdims=True)
    h = found.spectra / scale
    order = [int(np.argmin(np.abs(h - s).sum(axis=1))) for s in spectra]
    np.testing.assert_allclose(h[order], spectra, atol=1e-3 * spectra.max())
    np.testing.assert_allclose(
        (found.weights * scale.T)[:, order], weights, atol=1e-3 * weights.max()
    )


def test_every_level_starts_from_positive_spectra(monkeypatch):
    """Coordinate descent never leaves an exact zero, so a channel at zero would stay there."""
    rng = np.random.default_rng(2)
    spectra = np.zeros((2, 30))
    spectra[0, :12], spectra[1, 10:28] = 1.0, 1.0
    share = np.linspace(0, 1, 1600)
    mean = 20 * np.stack([1 - share, share]).T @ (spectra / spectra.sum(axis=1, keepdims=True))
    starts = []

    def noted(counts, weights, spectra, **settings):
        starts.append(spectra.copy())
        return alternate(counts, weights, spectra, **settings)

    alternate = solver.alternate
    monkeypatch.setattr(solver, "alternate", noted)
    PoissonNMF(2, map_shape=(40, 40)).fit(sp.csr_array(rng.poisson(mean).astype(float)))
    assert len(starts) > 1
    for found in starts:
        assert (found[:, :28] > 0).all()
        # Though much less where the fit of the level before found nothing.
        assert found[:, :28].min() < 0.02 * found.max()


def test_the_start_is_near_the_purest_blocks(separable):
    weights, spectra = separable
    pooled = sp.csr_array(np.repeat(weights, 3, axis=0) @ spectra)
    found = vertex_spectra(pooled, 3, np.random.default_rng(0))
    unit = found / np.linalg.norm(found, axis=0)
    cosines = (spectra / np.linalg.norm(spectra, axis=1, keepdims=True)) @ unit
    # Each true spectrum is nearest to a start of its own.
    assert sorted(cosines.argmax(axis=1)) == [0, 1, 2]
    assert (cosines.max(axis=1) > 0.98).all()
