"""The estimator: what scikit-learn and its users expect."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from siftem import PoissonNMF
from siftem.errors import InputError, SiftemWarning


@parametrize_with_checks([PoissonNMF(n_components=2, max_iter=20000, n_jobs=1)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("form", ["dense", "csc", "integer", "uint16", "coo_int64"])
def test_same_answer_for_every_form_of_the_counts(small, form):
    forms = {
        "dense": small.toarray(),
        "csc": sp.csc_array(small),
        "integer": small.astype(np.int64),
        "uint16": sp.csr_matrix(small.astype(np.uint16)),
        "coo_int64": sp.csr_array(
            (small.data, small.indices.astype(np.int64), small.indptr.astype(np.int64)),
            shape=small.shape,
        ),
    }
    reference = PoissonNMF(3).fit(small)
    found = PoissonNMF(3).fit(forms[form])
    np.testing.assert_allclose(found.components_, reference.components_, rtol=1e-9, atol=1e-12)


def test_single_precision_agrees_with_double(small):
    double = PoissonNMF(3, tol=1e-9, max_iter=5000).fit(small)
    single = PoissonNMF(3, tol=1e-7, dtype="float32", max_iter=5000)
    weights = single.fit_transform(small)
    assert weights.dtype == single.components_.dtype == np.float32
    assert single.deviance_ == pytest.approx(double.deviance_, rel=1e-3)
    np.testing.assert_allclose(single.components_, double.components_, atol=0.02)


def test_transform_gives_the_weights_of_the_fit(small):
    model = PoissonNMF(3, tol=1e-9, max_iter=5000)
    weights = model.fit_transform(small)
    np.testing.assert_allclose(model.transform(small), weights, atol=1e-3 * weights.max())
    mean = model.inverse_transform(weights)
    assert mean.shape == small.shape
    np.testing.assert_allclose(mean.sum(axis=1), small.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(model.components_.sum(axis=1), 1)


def test_attributes_tell_how_it_ended(small):
    model = PoissonNMF(3).fit(small)
    assert model.converged_
    assert 0 <= model.relative_decrease_ <= 1e-6
    assert 0 <= model.kkt_ < 0.1
    assert model.history_.shape == (model.n_iter_,)
    assert model.reconstruction_err_ == pytest.approx(np.sqrt(model.deviance_))
    y, mean = small.toarray(), model.inverse_transform(model.transform(small))
    kl = np.where(y > 0, y * np.log(np.where(y > 0, y, 1) / np.where(y > 0, mean, 1)), 0) - y + mean
    assert model.deviance_ == pytest.approx(2 * kl.sum(), rel=1e-3)


def test_stop_at_max_iter_is_said(small):
    with pytest.warns(SiftemWarning, match="max_iter=2 .* raise max_iter or tol"):
        PoissonNMF(3, max_iter=2).fit(small)


def test_restarts_keep_the_best_and_report_all(small):
    model = PoissonNMF(3, n_init=4, n_jobs=2).fit(small)
    assert model.deviances_of_starts_.shape == (4,)
    assert model.deviance_ == pytest.approx(model.deviances_of_starts_.min())
    again = PoissonNMF(3, n_init=4, n_jobs=1).fit(small)
    np.testing.assert_array_equal(again.components_, model.components_)


def test_same_seed_same_answer(small):
    one = PoissonNMF(3, init="random", random_state=7).fit(small)
    two = clone(one).fit(small)
    np.testing.assert_array_equal(one.components_, two.components_)


@pytest.mark.filterwarnings("ignore:.*max_iter=1:siftem.errors.SiftemWarning")
def test_another_seed_is_another_start(small):
    def start(seed, **parameters):
        return PoissonNMF(3, random_state=seed, max_iter=1, **parameters).fit(small)

    assert not np.allclose(start(7, init="random").components_, start(8, init="random").components_)
    # The first start takes the farthest corners, the others draw them.
    drawn = [start(seed, n_init=3).components_of_starts_ for seed in (7, 8)]
    assert not np.allclose(drawn[0][1:], drawn[1][1:])


def test_every_kind_of_seed_is_taken(small):
    def start(seed):
        return PoissonNMF(3, init="random", random_state=seed).fit(small).components_

    of = [np.random.default_rng(5), np.random.default_rng(5), np.random.default_rng(6)]
    first, again, other = (start(rng) for rng in of)
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
    assert np.array_equal(start(np.random.RandomState(5)), start(np.random.RandomState(5)))
    assert not np.allclose(start(np.random.RandomState(5)), start(np.random.RandomState(6)))
    assert np.array_equal(start(None), start(0))


def test_progress_rises_and_can_stop_the_work(small):
    seen = []
    PoissonNMF(3, progress=lambda step, fraction: seen.append((step, fraction))).fit(small)
    assert {s for s, _ in seen} == {"decompose"}
    assert all(0 <= f <= 1 for _, f in seen)
    assert seen[-1][1] == 1

    def stop(step, fraction):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PoissonNMF(3, progress=stop).fit(small)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 0}, "n_components"),
        ({"init": "nndsvd"}, "init"),
        ({"dtype": "int32"}, "dtype"),
        ({"max_iter": 0}, "max_iter"),
        ({"map_shape": (3, 3)}, "map_shape"),
        ({"tol": -1.0}, "tol"),
    ],
)
def test_wrong_parameters_are_named(small, parameters, message):
    with pytest.raises(InputError, match=message):
        PoissonNMF(**parameters).fit(small)


extreme_counts = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=7),
    elements=st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.0, 1e-3, 7.5, 1e5, 1e9]),
)
inits = st.sampled_from(["vertices", "random"])


# Kernels are compiled anew for each number of components and each precision.
@given(extreme_counts, st.sampled_from([(1, "float64"), (3, "float64"), (3, "float32")]), inits)
@settings(max_examples=40, deadline=None)
@pytest.mark.filterwarnings("ignore::siftem.errors.SiftemWarning")
def test_extreme_counts_give_finite_factors(counts, kind, init):
    assert_finite(counts, *kind, init)


@pytest.mark.slow
@given(extreme_counts, st.integers(1, 8), st.sampled_from(["float64", "float32"]), inits)
@settings(max_examples=400, deadline=None)
@pytest.mark.filterwarnings("ignore::siftem.errors.SiftemWarning")
def test_extreme_counts_give_finite_factors_of_any_number(counts, k, dtype, init):
    assert_finite(counts, k, dtype, init)


def assert_finite(counts, k, dtype, init):
    model = PoissonNMF(k, dtype=dtype, init=init, max_iter=50, n_jobs=1)
    weights = model.fit_transform(counts)
    assert np.isfinite(weights).all()
    assert np.isfinite(model.components_).all()
    assert (weights >= 0).all()
    assert (model.components_ >= 0).all()
    assert np.isfinite(model.deviance_)
    total = counts.sum(axis=1)
    # Every stationary point keeps the counts of each row.
    rounding = (1e-11 if dtype == "float32" else 1e-15) * total.max(initial=0)
    np.testing.assert_allclose(weights.sum(axis=1), total, rtol=1e-2, atol=1e-6 + rounding)


def test_one_pixel_and_one_component():
    x = np.array([[3.0, 0.0, 5.0, 2.0]])
    model = PoissonNMF(1)
    weights = model.fit_transform(x)
    np.testing.assert_allclose(weights @ model.components_, x, atol=1e-6)


def test_one_component_is_the_outer_product_of_the_sums(small):
    model = PoissonNMF(1, tol=1e-13)
    weights = model.fit_transform(small)
    np.testing.assert_allclose(model.components_[0], small.sum(axis=0) / small.sum(), atol=1e-9)
    np.testing.assert_allclose(weights[:, 0], small.sum(axis=1), rtol=1e-9)
