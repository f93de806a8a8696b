"""A forest of extremely randomised trees, grown and asked in milliseconds by compiled kernels.

A tree that looks for the best limit of each feature finds, in the few dozen pixels of a stroke,
one that parts them by luck. An extremely randomised tree takes a limit at random between their
least and largest value and only chooses among features (Geurts, Ernst and Wehenkel 2006, Machine
Learning 63, 3): single trees are worse and their mean is better. Each grows on a draw of its own.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from siftem.compiling import inner_kernel, kernel
from siftem.errors import InputError

#: Of the sum over the pixels of a patch only whether it is zero counts, so its order is free.
_SIMD = {"nnan", "ninf", "nsz", "reassoc"}
#: Pixels of a patch that are asked together, and how many lines of the map it is high. Within
#: a patch pixels are much alike, so that many nodes send all of them the same way.
PATCH, PATCH_HEIGHT = 256, 16


@inner_kernel()
def random_bits(state: np.ndarray) -> int:
    """Return 64 random bits (splitmix64: Steele, Lea and Flood 2014); ``state`` moves on."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@inner_kernel()
def random_below(state: np.ndarray, n: int) -> np.int64:
    """Return one of 0 ... n - 1."""
    return np.int64(random_bits(state) % np.uint64(n))


@inner_kernel()
def random_limit(state: np.ndarray, row: np.ndarray, drawn: np.ndarray) -> tuple[bool, np.float32]:
    """Return whether a feature differs between pixels, and a limit anywhere between them."""
    low = high = row[drawn[0]]
    for i in drawn:
        low, high = min(low, row[i]), max(high, row[i])
    if not high > low:
        return False, low
    part = np.float64(random_bits(state) >> np.uint64(11)) / 2.0**53
    limit = np.float32(low + (high - low) * part)
    return True, (limit if limit < high else low)


@inner_kernel()
def split_score(
    row: np.ndarray,
    limit: float,
    drawn: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    here: np.ndarray,
    left: np.ndarray,
    least: int,
) -> float:
    """Return ``sum_k l_k**2 / l + sum_k r_k**2 / r``, which rises as Gini's impurity falls.

    ``l_k``, ``r_k`` are the weights of class k on both sides, ``l`` and ``r`` their sums; -1
    where a side has fewer than ``least`` pixels. ``left``, of the size of ``here``, is scratch.
    """
    for k in range(here.size):
        left[k] = 0.0
    n_left = 0
    for i in drawn:
        if row[i] <= limit:
            left[labels[i]] += weights[labels[i]]
            n_left += 1
    if n_left < least or drawn.size - n_left < least:
        return -1.0
    on_left = on_right = squares_left = squares_right = 0.0
    for k in range(here.size):
        right = here[k] - left[k]
        on_left += left[k]
        on_right += right
        squares_left += left[k] ** 2
        squares_right += right**2
    return squares_left / on_left + squares_right / on_right


@inner_kernel()
def parted(row: np.ndarray, limit: float, drawn: np.ndarray, aside: np.ndarray) -> int:
    """Put the pixels that are not above a limit before the others; return how many there are."""
    n = above = 0
    for i in drawn:
        if row[i] > limit:
            aside[above] = i
            above += 1
        else:
            drawn[n] = i
            n += 1
    for i in range(above):
        drawn[n + i] = aside[i]
    return n


@inner_kernel()
def draw_pixels(
    state: np.ndarray, starts: np.ndarray, draws: np.ndarray, drawn: np.ndarray
) -> None:
    """Draw pixels of each class, with repeats; class k has the pixels starts[k] ... starts[k+1]."""
    end = 0
    for k in range(draws.size):
        for _ in range(draws[k]):
            drawn[end] = starts[k] + random_below(state, starts[k + 1] - starts[k])
            end += 1


def grow_tree(
    samples: np.ndarray,
    labels: np.ndarray,
    starts: np.ndarray,
    draws: np.ndarray,
    n_tried: int,
    least: int,
    seed: np.uint64,
) -> tuple[np.ndarray, ...]:
    """Grow an extremely randomised tree.

    Parameters
    ----------
    samples : ndarray of shape (n_features, n), float32
        Ordered by class.
    labels : ndarray of shape (n,), int64
        Classes from 0.
    starts : ndarray of shape (classes + 1,), int64
        Where each class begins.
    draws : ndarray of shape (classes,), int64
        How many pixels are drawn of each class; whatever their number, classes weigh the same.
    n_tried : int
        Features tried at a node, of those that differ between its pixels.
    least : int
        Pixels of a leaf.
    seed : uint64

    Returns
    -------
    feature : ndarray of int32, shape (nodes,)
        -1 for a leaf.
    limit : ndarray of float32, shape (nodes,)
        What lies above it goes to ``below + 1``, other pixels to ``below``.
    below : ndarray of int32, shape (nodes,)
    shares : ndarray of float32, shape (nodes, classes)
        Of a leaf.
    importance : ndarray of float64, shape (n_features,)
        By how much splits on each feature lower Gini's impurity, with all weights 1 in sum.
    unseen : ndarray of bool, shape (n,)
        Pixels that were not drawn.
    """
    n_features, n_drawn = len(samples), int(draws.sum())
    most, n_classes = 2 * n_drawn, draws.size
    feature, limit = np.empty(most, np.int32), np.zeros(most, np.float32)
    below, shares = np.zeros(most, np.int32), np.zeros((most, n_classes), np.float32)
    importance, unseen = np.zeros(n_features), np.ones(samples.shape[1], bool)
    pixels, ends = np.empty((2, n_drawn), np.int64), np.empty((2, most), np.int64)
    nodes = feature, limit, below, shares
    n_nodes = _grow_tree(
        samples, labels, starts, draws, n_tried, least, np.array([seed], np.uint64), nodes,
        importance, unseen, (pixels, ends, np.empty((3, n_classes)), np.arange(n_features)),
    )  # fmt: skip
    return (*(part[:n_nodes].copy() for part in nodes), importance, unseen)


# Types are those of `grow_tree`; `unseen` comes as ones, and the last are scratch.
@kernel()
def _grow_tree(  # type: ignore[no-untyped-def]
    samples, labels, starts, draws, n_tried, least, state, nodes, importance, unseen, scratch
):
    """Do the work of `grow_tree`; return how many nodes there are."""
    feature, limit, below, shares = nodes
    pixels, ends, classes, order = scratch
    n_features, n_classes = samples.shape[0], draws.size
    drawn, aside = pixels[0], pixels[1]
    draw_pixels(state, starts, draws, drawn)
    for i in drawn:
        unseen[i] = False
    weights, here, left = classes[0], classes[1], classes[2]
    for k in range(n_classes):
        weights[k] = 1.0 / (n_classes * draws[k])
    first, end = ends[0], ends[1]
    first[0], end[0] = 0, drawn.size
    node, n_nodes = 0, 1
    while node < n_nodes:
        mine = drawn[first[node] : end[node]]
        for k in range(n_classes):
            here[k] = 0.0
        for i in mine:
            here[labels[i]] += weights[labels[i]]
        total = squares = 0.0
        n_present = 0
        for k in range(n_classes):
            total += here[k]
            squares += here[k] ** 2
            n_present += here[k] > 0
        feature[node] = -1
        best, tried = -1.0, 0
        untried = n_features if n_present > 1 and mine.size >= 2 * least else 0
        while untried > 0 and tried < n_tried:
            j = random_below(state, untried)
            untried -= 1
            f = order[j]
            order[j], order[untried] = order[untried], f
            differs, one = random_limit(state, samples[f], mine)
            if differs:
                tried += 1
                score = split_score(samples[f], one, mine, labels, weights, here, left, least)
                if score > best:
                    best, feature[node], limit[node] = score, f, one
        if feature[node] < 0:
            for k in range(n_classes):
                shares[node, k] = here[k] / total
        else:
            importance[feature[node]] += best - squares / total
            middle = first[node] + parted(samples[feature[node]], limit[node], mine, aside)
            below[node] = n_nodes
            first[n_nodes], end[n_nodes] = first[node], middle
            first[n_nodes + 1], end[n_nodes + 1] = middle, end[node]
            n_nodes += 2
        node += 1
    return n_nodes


@kernel()
def vote_unseen(
    samples: np.ndarray,
    unseen: np.ndarray,
    roots: np.ndarray,
    feature: np.ndarray,
    limit: np.ndarray,
    below: np.ndarray,
    shares: np.ndarray,
    votes: np.ndarray,
) -> None:
    """Add the shares that trees give to pixels which they did not draw to ``votes`` (classes, n).

    ``samples`` is (n_features, n), ``unseen`` (trees, n); the others are those of `vote`.
    """
    for t in range(roots.size):
        for i in range(samples.shape[1]):
            if unseen[t, i]:
                node = roots[t]
                while feature[node] >= 0:
                    right = samples[feature[node], i] > limit[node]
                    node = roots[t] + below[node] + right
                for k in range(shares.shape[1]):
                    votes[k, i] += shares[node, k]


@kernel()
def deepest(feature: np.ndarray, below: np.ndarray, depth: np.ndarray) -> int:
    """Return how many nodes of a tree lie above its deepest leaf; ``depth`` is scratch."""
    depth[0] = most = 0
    for node in range(feature.size):
        most = max(most, depth[node])
        if feature[node] >= 0:
            depth[below[node]] = depth[below[node] + 1] = depth[node] + 1
    return most


@kernel(makes_arrays=True, fastmath=_SIMD)
def vote(
    samples: np.ndarray,
    lines: tuple[int, int],
    roots: np.ndarray,
    feature: np.ndarray,
    limit: np.ndarray,
    below: np.ndarray,
    shares: np.ndarray,
    depth: int,
    out: np.ndarray,
) -> None:
    """Sum the shares that all trees give to each class, in some lines of a map.

    A patch of pixels goes through each tree together, with a mask for each branch that is still
    to be visited. The sums of a pixel do not depend on the patches: trees come in their order.

    Parameters
    ----------
    samples : ndarray of shape (n_features, ny, nx), float32
    lines : tuple of int
        First line and the one behind the last.
    roots : ndarray of shape (trees,), int64
        First node of each tree; ``below`` counts from there, too.
    feature, limit, below, shares : ndarray
        Of the nodes of all trees, as `grow_tree` returns them.
    depth : int
        Of the deepest tree.
    out : ndarray of shape (classes, ny, nx), float32
        Receives the sums.
    """
    n_features, nx = samples.shape[0], samples.shape[2]
    n_classes = shares.shape[1]
    height = min(PATCH_HEIGHT, lines[1] - lines[0])
    width = PATCH // height
    values = np.zeros((n_features, PATCH), np.float32)
    lowest, highest = np.empty(n_features, np.float32), np.empty(n_features, np.float32)
    masks, waiting = np.empty((depth + 2, PATCH), np.float32), np.empty(depth + 2, np.int64)
    sums = np.empty((n_classes, PATCH), np.float32)
    for y0 in range(lines[0], lines[1], height):
        rows = min(height, lines[1] - y0)
        for x0 in range(0, nx, width):
            columns = min(width, nx - x0)
            for f in range(n_features):
                low = high = samples[f, y0, x0]
                for y in range(rows):
                    for x in range(columns):
                        value = samples[f, y0 + y, x0 + x]
                        values[f, y * columns + x] = value
                        low, high = min(low, value), max(high, value)
                lowest[f], highest[f] = low, high
            for k in range(n_classes):
                for i in range(PATCH):
                    sums[k, i] = 0.0
            for root in roots:
                top = 1
                waiting[0] = root
                for i in range(PATCH):
                    masks[0, i] = 1.0
                while top > 0:
                    top -= 1
                    node = waiting[top]
                    f, split = feature[node], limit[node]
                    if f < 0:
                        for k in range(n_classes):
                            share = shares[node, k]
                            if share > 0:
                                for i in range(PATCH):
                                    sums[k, i] += share * masks[top, i]
                    elif highest[f] <= split or lowest[f] > split:
                        waiting[top] = root + below[node] + (lowest[f] > split)
                        top += 1
                    else:
                        before = after = np.float32(0)
                        for i in range(PATCH):
                            all_here = masks[top, i]
                            above = all_here if values[f, i] > split else np.float32(0)
                            masks[top + 1, i] = above
                            masks[top, i] = all_here - above
                            before += all_here
                            after += above
                        if after == before:
                            for i in range(PATCH):
                                masks[top, i] = masks[top + 1, i]
                        if after < before:
                            waiting[top] = root + below[node]
                            top += 1
                        if after > 0:
                            waiting[top] = root + below[node] + 1
                            top += 1
            for k in range(n_classes):
                for y in range(rows):
                    for x in range(columns):
                        out[k, y0 + y, x0 + x] = sums[k, y * columns + x]


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
        room = np.empty(max(map(len, feature)), np.int64)
        self._depth = max(deepest(f, b, room) for f, b in zip(feature, below, strict=True))
        lowered = np.sum(importance, axis=0)
        self.feature_importances_ = lowered / (lowered.sum() or 1.0)
        votes = np.zeros((self.classes_.size, len(samples)))
        vote_unseen(columns, np.array(unseen), self._roots, *self._nodes, votes)
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
