"""Compiled kernels of a forest: growing one tree, and asking all of them for many pixels at once.

Clean input only; `siftem.segment.forest` checks it. Features are (features, pixels), float32.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: Of the sum over the pixels of a patch only whether it is zero counts, so its order is free.
_SIMD = {"nnan", "ninf", "nsz", "reassoc"}
#: Pixels of a patch that are asked together, and how many lines of the map it is high. Within
#: a patch pixels are much alike, so that many nodes send all of them the same way.
PATCH, PATCH_HEIGHT = 256, 16


@njit(cache=True, nogil=True)
def random_bits(state: np.ndarray) -> int:
    """Return 64 random bits (splitmix64: Steele, Lea and Flood 2014); ``state`` moves on."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True)
def random_below(state: np.ndarray, n: int) -> np.int64:
    """Return one of 0 ... n - 1."""
    return np.int64(random_bits(state) % np.uint64(n))


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def split_score(
    row: np.ndarray,
    limit: float,
    drawn: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    here: np.ndarray,
    least: int,
) -> float:
    """Return ``sum_k l_k**2 / l + sum_k r_k**2 / r``, which rises as Gini's impurity falls.

    ``l_k``, ``r_k`` are the weights of class k on both sides, ``l`` and ``r`` their sums; -1
    where a side has fewer than ``least`` pixels.
    """
    left = np.zeros(here.size)
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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def draw_pixels(
    state: np.ndarray, starts: np.ndarray, draws: np.ndarray, drawn: np.ndarray
) -> None:
    """Draw pixels of each class, with repeats; class k has the pixels starts[k] ... starts[k+1]."""
    end = 0
    for k in range(draws.size):
        for _ in range(draws[k]):
            drawn[end] = starts[k] + random_below(state, starts[k + 1] - starts[k])
            end += 1


@njit(cache=True, nogil=True)
def grow_tree(
    samples: np.ndarray,
    labels: np.ndarray,
    starts: np.ndarray,
    draws: np.ndarray,
    n_tried: int,
    least: int,
    seed: int,
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
    n_features, n = samples.shape
    n_classes, n_drawn = draws.size, draws.sum()
    state = np.empty(1, np.uint64)
    state[0] = seed
    drawn, aside = np.empty(n_drawn, np.int64), np.empty(n_drawn, np.int64)
    draw_pixels(state, starts, draws, drawn)
    unseen = np.ones(n, np.bool_)
    for i in drawn:
        unseen[i] = False
    weights, here = np.empty(n_classes), np.empty(n_classes)
    for k in range(n_classes):
        weights[k] = 1.0 / (n_classes * draws[k])
    most = 2 * n_drawn
    feature, limit = np.empty(most, np.int32), np.zeros(most, np.float32)
    below, shares = np.zeros(most, np.int32), np.zeros((most, n_classes), np.float32)
    importance, order = np.zeros(n_features), np.arange(n_features)
    first, end = np.empty(most, np.int64), np.empty(most, np.int64)
    first[0], end[0] = 0, n_drawn
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
                score = split_score(samples[f], one, mine, labels, weights, here, least)
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
    return (
        feature[:n_nodes].copy(),
        limit[:n_nodes].copy(),
        below[:n_nodes].copy(),
        shares[:n_nodes].copy(),
        importance,
        unseen,
    )


@njit(cache=True, nogil=True)
def vote_unseen(
    samples: np.ndarray,
    unseen: np.ndarray,
    roots: np.ndarray,
    feature: np.ndarray,
    limit: np.ndarray,
    below: np.ndarray,
    shares: np.ndarray,
) -> np.ndarray:
    """Sum the shares that trees give to pixels which they did not draw; (classes, n) float64.

    ``samples`` is (n_features, n), ``unseen`` (trees, n); the others are those of `vote`.
    """
    votes = np.zeros((shares.shape[1], samples.shape[1]))
    for t in range(roots.size):
        for i in range(samples.shape[1]):
            if unseen[t, i]:
                node = roots[t]
                while feature[node] >= 0:
                    right = samples[feature[node], i] > limit[node]
                    node = roots[t] + below[node] + right
                for k in range(shares.shape[1]):
                    votes[k, i] += shares[node, k]
    return votes


@njit(cache=True, nogil=True)
def deepest(feature: np.ndarray, below: np.ndarray) -> int:
    """Return how many nodes of a tree lie above its deepest leaf."""
    depth = np.zeros(feature.size, np.int64)
    most = 0
    for node in range(feature.size):
        most = max(most, depth[node])
        if feature[node] >= 0:
            depth[below[node]] = depth[below[node] + 1] = depth[node] + 1
    return most


@njit(cache=True, nogil=True, fastmath=_SIMD)
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
