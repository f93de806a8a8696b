"""The forest against scikit-learn's extremely randomised trees, and its trees one by one."""

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier

from siftem.errors import InputError
from siftem.segment import forest as forest_module
from siftem.segment.forest import Forest, grow_tree, number_tried

SETTINGS = {"max_features": "sqrt", "min_samples_leaf": 2, "random_state": 0, "n_jobs": 1}


def clouds(n=(60, 25, 40), seed=0, n_features=9):
    """Three overlapping clouds of unequal size; samples (n, features) and labels 1 ... 3."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([1, 2, 3], n))
    centres = rng.normal(0, 1.5, (3, n_features))
    return (centres[labels - 1] + rng.normal(0, 2, (labels.size, n_features))).astype("f4"), labels


@pytest.fixture(scope="module")
def samples():
    return clouds()


@pytest.fixture(scope="module")
def grown(samples):
    return Forest(300, **SETTINGS).fit(*samples)


def asked(forest, samples):
    return forest.shares(samples.T[:, None])[:, 0].T


def test_means_are_those_of_scikit_learn():
    # Equal classes, and leaves of one pixel: scikit-learn draws from all of them at once, and
    # counts a pixel that was drawn twice as one.
    known, new = clouds((40, 40, 40)), clouds(seed=1)[0]
    single = Forest(100, **{**SETTINGS, "min_samples_leaf": 1}).fit(*known)

    def theirs(seed):
        forest = ExtraTreesClassifier(100, bootstrap=True, oob_score=True, random_state=seed)
        return forest.fit(*known)

    first, second = theirs(0), theirs(1)
    own, expected = asked(single, new), first.predict_proba(new)
    np.testing.assert_allclose(own.sum(axis=1), 1, atol=1e-5)
    chance = np.sqrt(np.mean((expected - second.predict_proba(new)) ** 2))
    assert 0 < np.sqrt(np.mean((own - expected) ** 2)) < 1.3 * chance
    assert abs((own - expected).mean(axis=0)).max() < 0.02
    assert single.oob_score_ == pytest.approx(first.oob_score_, abs=0.05)
    importances = first.feature_importances_
    np.testing.assert_allclose(single.feature_importances_, importances, atol=0.04)
    assert single.feature_importances_.sum() == pytest.approx(1)
    assert single.classes_.tolist() == [1, 2, 3]


def test_a_tree_walked_by_hand(samples):
    order = np.argsort(samples[1], kind="stable")
    columns, labels = samples[0][order].T.copy(), samples[1][order] - 1
    starts = np.searchsorted(labels, [0, 1, 2, 3])
    draws = np.array([60, 25, 30])
    feature, limit, below, shares, importance, unseen = grow_tree(
        columns, labels, starts, draws, 3, 2, np.uint64(5)
    )
    # Every leaf holds two drawn pixels or more; the shares of all leaves are those of the classes.
    assert (below[feature >= 0] > np.flatnonzero(feature >= 0)).all()
    leaves = feature < 0
    np.testing.assert_allclose(shares[leaves].sum(axis=1), 1, rtol=1e-6)
    assert importance.min() >= -1e-12 and importance.sum() <= 2 / 3 + 1e-9
    assert 0.2 < unseen.mean() < 0.5  # (1 - 1/n)**n is 0.37
    tree = Forest(1, **SETTINGS)
    tree.classes_, tree._roots, tree._depth = np.arange(3), np.array([0]), 40
    tree._nodes = feature, limit, below, shares

    def walked(pixel):
        node = 0
        while feature[node] >= 0:
            node = below[node] + (pixel[feature[node]] > limit[node])
        return shares[node]

    expected = [walked(pixel) for pixel in samples[0]]
    np.testing.assert_array_equal(asked(tree, samples[0]), expected)


def test_a_part_of_a_map_and_threads_give_the_same_bits(samples, grown):
    rng = np.random.default_rng(2)
    features = rng.normal(0, 3, (9, 70, 37)).astype("f4")
    whole = grown.shares(features)
    np.testing.assert_array_equal(grown.shares(features[:, 13:29, 5:36]), whole[:, 13:29, 5:36])
    threads = Forest(300, **{**SETTINGS, "n_jobs": 3}).fit(*samples)
    np.testing.assert_array_equal(threads.shares(features), whole)
    other = Forest(300, **{**SETTINGS, "random_state": 1}).fit(*samples)
    assert (other.shares(features) != whole).any()


def test_of_large_areas_a_part_is_drawn(monkeypatch):
    monkeypatch.setattr(forest_module, "MOST_DRAWN", 50)
    many, few = clouds((4000, 4000, 30)), clouds((50, 50, 30))
    sizes = [len(Forest(20, **SETTINGS).fit(*some)._nodes[0]) for some in (many, few)]
    assert 0.7 < sizes[0] / sizes[1] < 1.4


def test_equal_pixels_of_two_classes_end_in_one_leaf():
    alike = np.ones((8, 3), np.float32)
    forest = Forest(10, **SETTINGS).fit(alike, np.array([1, 1, 1, 1, 1, 1, 2, 2]))
    np.testing.assert_allclose(asked(forest, alike[:1]), [[0.5, 0.5]], atol=1e-6)
    assert forest.feature_importances_.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("given", "n"), [("sqrt", 7), ("log2", 5), (3, 3), (80, 50), (0.5, 25), (0.001, 1)]
)
def test_features_tried_at_a_node(given, n):
    assert number_tried(given, 50) == n


@pytest.mark.parametrize("wrong", ["all", 0, 0.0, 1.5, -2])
def test_no_number_of_features(wrong):
    with pytest.raises(InputError, match="max_features"):
        number_tried(wrong, 50)
