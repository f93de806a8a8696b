"""A forest of extremely randomised trees, grown and asked in milliseconds.

A tree that looks for the best limit of each feature finds, in the few dozen pixels of a stroke,
one that parts them by luck. An extremely randomised tree takes a limit at random between their
least and largest value and only chooses among features (Geurts, Ernst and Wehenkel 2006, Machine
Learning 63, 3): single trees are worse and their mean is better. Each grows on a draw of its own.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from siftem.errors import InputError
from siftem.segment.forest_kernels import PATCH_HEIGHT, deepest, grow_tree, vote, vote_unseen

#: Pixels that a tree draws of each class at the most: of an area that was filled, more of the
#: same pixels would only take time.
MOST_DRAWN = 2000


class Forest:
    """Extremely randomised trees in which all classes weigh the same.

    Parameters
    ----------
    n_trees : int
    max_features : "sqrt", "log2", int or float
        Features tried at a node: root or logarithm of their number, a number, or a share of it.
    min_samples_leaf : int
        Fewest drawn pixels in a leaf.
    random_state : int
        Seed, not negative. Results do not depend on the number of threads.
    n_jobs : int
        Threads.

    Attributes
    ----------
    classes_ : ndarray of shape (classes,), int64
    oob_score_ : float
        Accuracy on the pixels by the trees that did not draw them; one that every tree drew
        counts as wrong.
    feature_importances_ : ndarray of shape (n_features,), float64
        Share of each feature in what splits lower Gini's impurity by; zero when none did.
    """

    def __init__(
        self,
        n_trees: int,
        *,
        max_features: str | float,
        min_samples_leaf: int,
        random_state: int,
        n_jobs: int,
    ) -> None:
        self.n_trees = n_trees
        self.max_features = max_features
        self.min_samples_leaf = min_samples_leaf
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, samples: np.ndarray, labels: np.ndarray) -> Forest:
        """Grow the trees.

        Parameters
        ----------
        samples : ndarray of shape (n, n_features), float32
            Finite.
        labels : ndarray of shape (n,), int64

        Returns
        -------
        Forest
            Itself.
        """
        self.classes_, classes = np.unique(labels, return_inverse=True)
        order = np.argsort(classes, kind="stable")
        classes = classes[order]
        columns = np.ascontiguousarray(samples[order].T, dtype=np.float32)
        starts = np.searchsorted(classes, np.arange(self.classes_.size + 1))
        draws = np.minimum(np.diff(starts), MOST_DRAWN)
        tried = number_tried(self.max_features, len(columns))
        seeds = np.random.SeedSequence(self.random_state).generate_state(self.n_trees, np.uint64)

        def grow(some: np.ndarray) -> list[tuple[np.ndarray, ...]]:
            given = columns, classes, starts, draws, tried, self.min_samples_leaf
            return [grow_tree(*given, seed) for seed in some]

        with ThreadPoolExecutor(self.n_jobs) as pool:
            parts = pool.map(grow, np.array_split(seeds, self.n_jobs))
            trees = [tree for part in parts for tree in part]
        feature, limit, below, shares, importance, unseen = zip(*trees, strict=True)
        self._roots = np.cumsum([0, *map(len, feature)])[:-1]
        self._nodes = tuple(np.concatenate(part) for part in (feature, limit, below, shares))
        self._depth = max(map(deepest, feature, below))
        lowered = np.sum(importance, axis=0)
        self.feature_importances_ = lowered / (lowered.sum() or 1.0)
        votes = vote_unseen(columns, np.array(unseen), self._roots, *self._nodes)
        right = (votes.argmax(axis=0) == classes) & (votes.sum(axis=0) > 0)
        self.oob_score_ = float(right.mean())
        return self

    def shares(self, features: np.ndarray) -> np.ndarray:
        """Return the mean share of each class over all trees.

        Parameters
        ----------
        features : ndarray of shape (n_features, ny, nx), float32

        Returns
        -------
        ndarray of shape (classes, ny, nx), float32
            Sums to one over classes, but for rounding.
        """
        features = np.ascontiguousarray(features, dtype=np.float32)
        _, ny, nx = features.shape
        out = np.empty((self.classes_.size, ny, nx), np.float32)
        borders = [*range(0, ny, 2 * PATCH_HEIGHT), ny]

        def ask(lines: tuple[int, int]) -> None:
            vote(features, lines, self._roots, *self._nodes, self._depth, out)

        with ThreadPoolExecutor(self.n_jobs) as pool:
            list(pool.map(ask, pairwise(borders)))
        out /= np.float32(self.n_trees)
        return out


def number_tried(max_features: str | float, n_features: int) -> int:
    """Return how many features are tried at a node.

    Raises
    ------
    InputError
        When ``max_features`` is none of "sqrt", "log2", a number from 1 up, a share up to 1.
    """
    known = {"sqrt": np.sqrt, "log2": np.log2}
    if isinstance(max_features, str) and max_features in known:
        return max(1, int(known[max_features](n_features)))
    if isinstance(max_features, int | np.integer) and max_features >= 1:
        return min(int(max_features), n_features)
    if isinstance(max_features, float) and 0 < max_features <= 1:
        return max(1, int(max_features * n_features))
    raise InputError(
        f"max_features must be 'sqrt', 'log2', a whole number from 1 up or a share of the "
        f"features up to 1.0, got {max_features!r}"
    )
