"""Fixed spectra, supports, a basis, and the penalties."""

import numpy as np
import pytest
import scipy.sparse as sp

from siftem import PoissonNMF
from siftem.decompose import solver
from siftem.decompose.known_parts import KnownParts, fit_amplitudes, step_amplitudes
from siftem.decompose.penalties import LogSparsity, Smoothness, SumToOne, Volume
from siftem.decompose.row_blocks import CountRows
from siftem.errors import InputError


@pytest.fixture
def lines():
    """Counts (400, 60) whose spectra are sums of peaks and a slope, and their parts."""
    rng = np.random.default_rng(3)
    channel = np.arange(60)
    basis = np.stack(
        [np.exp(-0.5 * ((channel - c) / 2) ** 2) for c in (8, 20, 30, 45)] + [1 - channel / 70],
        axis=1,
    )
    amplitudes = np.array([[5, 1, 0, 3, 0.2], [0, 4, 6, 1, 0.3], [1, 0, 2, 6, 0.1]], float)
    spectra = amplitudes @ basis.T
    amplitudes /= spectra.sum(axis=1, keepdims=True)
    spectra /= spectra.sum(axis=1, keepdims=True)
    weights = 300 * rng.dirichlet(0.4 * np.ones(3), 400)
    counts = sp.csr_array(rng.poisson(weights @ spectra).astype(float))
    return counts, weights, spectra, basis, amplitudes


def test_fixed_spectrum_stays_and_helps(lines):
    counts, weights, spectra, _, _ = lines
    model = PoissonNMF(3, fixed_spectra={1: 7 * spectra[1]})
    found = model.fit_transform(counts)
    np.testing.assert_allclose(model.components_[1], spectra[1], rtol=1e-12)
    assert np.corrcoef(found[:, 1], weights[:, 1])[0, 1] > 0.97


def test_all_fixed_leaves_only_the_weights(lines):
    counts, _, spectra, _, _ = lines
    model = PoissonNMF(3, fixed_spectra=dict(enumerate(spectra)), tol=1e-12)
    found = model.fit_transform(counts)
    alone = solver.even_weights(CountRows.of(counts), 3, np.dtype(float))
    solver.solve_weights(CountRows.of(counts), spectra, alone)
    np.testing.assert_allclose(found, alone, atol=1e-3)


def test_support_keeps_components_out(lines):
    counts, weights, spectra, _, _ = lines
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


def test_basis_gives_spectra_inside_it_and_absent_shapes_stay_absent(lines):
    counts, _, _, basis, amplitudes = lines
    allowed = amplitudes > 0
    model = PoissonNMF(3, basis=basis, basis_support=allowed, tol=1e-9, max_iter=3000)
    model.fit(counts)
    assert (model.amplitudes_[~allowed] == 0).all()
    np.testing.assert_allclose(model.components_, model.amplitudes_ @ basis.T, rtol=1e-9)
    np.testing.assert_allclose(model.amplitudes_, amplitudes, atol=0.01)
    assert model.kkt_ < 0.02


def test_basis_with_a_fixed_spectrum(lines):
    counts, _, spectra, basis, _ = lines
    model = PoissonNMF(3, basis=basis, fixed_spectra={0: spectra[0]}).fit(counts)
    np.testing.assert_allclose(model.components_[0], spectra[0], rtol=1e-12)


def test_identity_basis_equals_free_channels(lines):
    counts, _, _, _, _ = lines
    counts = counts[:100, :25]
    free = PoissonNMF(2, tol=1e-10, max_iter=5000).fit(counts)
    tied = PoissonNMF(2, tol=1e-10, max_iter=5000, basis=np.eye(25)).fit(counts)
    assert tied.deviance_ == pytest.approx(free.deviance_, rel=1e-4)


def test_objective_falls_with_a_basis(lines):
    counts, weights, _spectra, basis, _ = lines
    found = solver.alternate(
        CountRows.of(counts),
        weights[:, ::-1].copy() + 1,
        np.full((3, 60), 1 / 60) * np.random.default_rng(0).uniform(0.5, 1.5, (3, 60)),
        known=KnownParts(basis=basis),
        extrapolate=False,
        tol=0,
        max_sweeps=60,
    )
    assert np.diff(found.history).max() <= 1e-12 * abs(found.history[0])


def test_step_of_amplitudes_follows_finite_differences(lines):
    counts, weights, _, basis, _ = lines
    rows = CountRows.of(counts)
    spectra = np.random.default_rng(1).uniform(0.5, 1.5, (3, 60)) / 60
    amplitudes = fit_amplitudes(basis, spectra, np.ones((3, 5), bool))

    def value(a):
        return solver.poisson_objective(rows, weights, a @ basis.T)

    _, statistics = rows.improve(amplitudes @ basis.T, weights.copy(), n_passes=0)
    new, expected = step_amplitudes(
        statistics,
        weights.sum(axis=0),
        np.zeros((3, 1)),
        np.zeros((3, 3)),
        basis,
        amplitudes,
        np.ones((3, 5), bool),
    )
    direction = new - amplitudes
    ahead, back = value(amplitudes + 1e-4 * direction), value(amplitudes - 1e-4 * direction)
    assert (ahead - back) / 2e-4 < -expected
    assert value(amplitudes) - value(new) == pytest.approx(expected, rel=0.6)


def numeric_gradient(function, at, index, step):
    ends = []
    for sign in (1, -1):
        moved = at.copy()
        moved[index] += sign * step
        ends.append(function(moved))
    return (ends[0] - ends[1]) / (2 * step)


@pytest.mark.parametrize(
    ("penalty", "shape"),
    [
        (Smoothness((4, 5), 2.0, np.array([1.0, 0.3])), (20, 2)),
        (LogSparsity(0.7, np.array([1.0, 0.3])), (20, 2)),
        (SumToOne(0.6, np.array([1.3, 0.4])), (20, 2)),
        (Volume(3.0, 0.5), (3, 8)),
    ],
)
def test_penalties_gradient_and_majorant(penalty, shape):
    rng = np.random.default_rng(0)
    at = rng.uniform(0.1, 2.0, shape)
    gradient = penalty.gradient(at)
    for _ in range(10):
        index = tuple(int(rng.integers(s)) for s in shape)
        numeric = numeric_gradient(penalty.value, at, index, 1e-6)
        assert gradient[index] == pytest.approx(numeric, rel=1e-5, abs=1e-7)
    linear, quadratic = penalty.majorant(at)

    def bound(x):
        if isinstance(penalty, Volume):
            return (linear * x).sum() + 0.5 * np.einsum("cj,cd,dj->", x, quadratic, x)
        return (linear * x).sum() + 0.5 * (quadratic * x**2).sum()

    for scale in (0.01, 0.3, 3.0):
        other = np.abs(at + scale * rng.normal(size=shape))
        assert bound(other) - bound(at) >= penalty.value(other) - penalty.value(at) - 1e-9


@pytest.mark.parametrize(
    "strength", [{"smoothness": 2.0}, {"sparsity": 0.5}, {"sum_to_one": 1.0}, {"volume": 0.01}]
)
def test_penalised_objective_falls(lines, strength):
    counts, _, _, _, _ = lines
    model = PoissonNMF(3, map_shape=(20, 20), extrapolate=False, max_iter=2000, **strength)
    model.fit(counts)
    assert np.diff(model.history_).max() <= 1e-11 * abs(model.history_[0])


@pytest.mark.parametrize("name", ["smoothness", "sparsity", "sum_to_one", "volume"])
def test_what_is_penalised_gets_less(lines, name):
    counts = lines[0]

    def penalty(strength):
        model = PoissonNMF(3, map_shape=(20, 20), max_iter=5000, **{name: strength})
        weights = model.fit_transform(counts)
        if name == "volume":
            return Volume(1.0, 1.0).value(model.components_)
        level = weights.mean(axis=0)
        of = {
            "smoothness": Smoothness((20, 20), 1.0, level),
            "sparsity": LogSparsity(1.0, level),
            "sum_to_one": SumToOne.fitted(1.0, weights),
        }
        return of[name].value(weights)

    assert penalty(1.0 if name != "volume" else 0.1) < 0.98 * penalty(0.0)


def test_a_shear_still_sums_to_one():
    """Why sum-to-one can't choose: sheared weights sum to one as exactly as the true ones."""
    shares = np.random.default_rng(0).dirichlet(np.ones(3), 500)
    weights = shares * [300.0, 200.0, 350.0]
    shear = np.eye(3)
    shear[1, 0] = 0.4
    for w in (weights, weights @ shear):
        penalty = SumToOne.fitted(1.0, w)
        assert penalty.value(w) < 1e-6
    np.testing.assert_allclose(SumToOne.fitted(1.0, weights).pixel, [300, 200, 350], rtol=1e-6)


def test_smoothness_brings_maps_nearer_to_smooth_truth(lines):
    _, _, spectra, _, _ = lines
    y, x = np.mgrid[0:20, 0:20] / 20
    maps = np.stack([x * y, (1 - x) * y, 1 - y])
    weights = 60 * maps.reshape(3, -1).T
    counts = sp.csr_array(np.random.default_rng(0).poisson(weights @ spectra).astype(float))
    errors = {}
    for strength in (0.0, 3.0):
        model = PoissonNMF(
            3,
            map_shape=(20, 20),
            smoothness=strength,
            fixed_spectra=dict(enumerate(spectra)),
            max_iter=5000,
        )
        found = model.fit_transform(counts)
        errors[strength] = np.sqrt(((found - weights) ** 2).mean())
    assert errors[3.0] < 0.6 * errors[0.0]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"support": np.ones((3, 3), bool)}, "support"),
        ({"fixed_spectra": {5: np.ones(60)}}, "component 5"),
        ({"fixed_spectra": {0: -np.ones(60)}}, "non-negative"),
        ({"fixed_spectra": {0: np.zeros(60)}}, "zero everywhere"),
        ({"basis": np.ones((5, 2))}, "basis"),
        ({"basis": np.zeros((60, 2))}, "basis"),
        ({"basis": np.ones((60, 2)), "basis_support": np.ones((2, 2), bool)}, "basis_support"),
        ({"basis_support": np.ones((3, 2), bool)}, "needs a basis"),
    ],
)
def test_wrong_parts_are_named(lines, parts, message):
    with pytest.raises(InputError, match=message):
        PoissonNMF(3, **parts).fit(lines[0])
