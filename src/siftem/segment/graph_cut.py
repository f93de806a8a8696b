"""Smooth labels from probabilities: the Potts model, minimised by graph cuts.

Probabilities of classes, checked before they are cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import maxflow
import numpy as np

from siftem.errors import InputError
from siftem.large.disk_images import strips
from siftem.segment.strip_cut import LARGEST_WHOLE, cut_in_strips, held_pixels, pairs_of_free


def checked_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Return them as an array of floats from 0 to 1, (classes, ny, nx), or refuse them."""
    p = np.asarray(probabilities)
    if p.ndim != 3 or p.shape[0] < 2 or p.size == 0:
        raise InputError(
            f"probabilities must have shape (classes, ny, nx) with two classes or more, "
            f"got {p.shape}"
        )
    if p.dtype.kind != "f":
        raise InputError(f"probabilities must be floats from 0 to 1, got dtype {p.dtype}")
    for strip in strips(p.shape[1:], of=(p,)):
        seen = p[:, strip.lines]
        if not np.isfinite(seen).all():
            raise InputError("probabilities hold NaN or infinity: replace those pixels")
        if seen.min() < 0 or seen.max() > 1 + 1e-6:
            raise InputError(
                f"probabilities must lie between 0 and 1, got {p.min():g} to {p.max():g}: "
                "divide an 8-bit map by 256"
            )
        if not seen.any(axis=0).all():
            raise InputError("some pixels have probability zero for every class: give one a chance")
    return p


#: Half of the neighbours of a pixel as (dy, dx), so that each pair is met once.
OFFSETS = {4: ((0, 1), (1, 0)), 8: ((0, 1), (1, -1), (1, 0), (1, 1))}


def graph_cut(
    probabilities: np.ndarray,
    *,
    smoothness: float = 2.0,
    weights: np.ndarray | None = None,
    neighbourhood: int = 8,
) -> np.ndarray:
    """Choose the labels of least Potts energy.

    The energy of labels L is

        E(L) = -sum_i log p_i(L_i) + smoothness * sum_<ij> w_ij [L_i != L_j],

    with natural logarithms, over pixels i and over each pair <ij> of the eight neighbours
    once, diagonal pairs with the same weight as the others. For two classes the minimum is
    exact (Boykov & Kolmogorov); for more it is reached by alpha-expansion, which ends
    within a factor of two of it (Boykov, Veksler & Zabih).

    This is the energy of Fiji's Graph Cut plugin (release 1.0.2) on a 32-bit image of p
    whose largest value is one, or on an 8-bit one of 256 p, with the foreground bias and
    the edge image left alone; ``smoothness`` is its slider over 100 (0 to 10; 5 when the
    plugin starts). The plugin shows high p as black (0): what is black there is label 1
    here. Three habits of the plugin are kept: a probability of zero is a verdict that no
    smoothness overturns; data terms are rounded to single precision; pixels that could be
    either label without changing the energy get the later one. Labels then agree pixel for
    pixel, except where two labellings have the same energy within single precision.

    Parameters
    ----------
    probabilities : ndarray of shape (classes, ny, nx)
        From 0 to 1, two classes or more. A common factor of all classes of a pixel changes
        nothing, so they need not sum to one exactly.
    smoothness : float
        Cost of one pair of neighbours with different labels, in units of log-probability;
        0 takes the most probable class of each pixel.
    weights : ndarray of shape (pairs, ny, nx), optional
        Factor w_ij of each pair, not negative, by default one: entry ``[k, y, x]`` is for
        pixel (y, x) and its neighbour at ``OFFSETS[neighbourhood][k]``; see
        `contrast_weights`.
    neighbourhood : {8, 4}
        Neighbours of a pixel.

    Returns
    -------
    ndarray of shape (ny, nx), int64
        Index of the class, 0 ... classes - 1.

    References
    ----------
    Y. Boykov, V. Kolmogorov, IEEE Trans. Pattern Anal. Mach. Intell. 26 (2004) 1124.
    Y. Boykov, O. Veksler, R. Zabih, ibid. 23 (2001) 1222.
    I. Kovtun, Proc. DAGM 2003, Lect. Notes Comput. Sci. 2781, 402 (pixels settled beforehand).

    Examples
    --------
    >>> import numpy as np
    >>> present = np.array([[0.9, 0.4, 0.9], [0.9, 0.9, 0.9]])
    >>> siftem.graph_cut(np.stack([1 - present, present]), smoothness=2.0)
    array([[1, 1, 1],
           [1, 1, 1]])
    """
    p = checked_probabilities(probabilities)
    pair_costs = _pair_costs(smoothness, weights, neighbourhood, p.shape[1:])
    two = len(p) == 2
    smooth = any(costs.any() for costs in pair_costs)
    if two and smooth and p[0].size > LARGEST_WHOLE:
        # No terms of the whole map: they take more memory than all that the cut gives.
        finite = _FiniteTerms(p, pair_costs)
        return cut_in_strips(p, finite, pair_costs, _cut_two, OFFSETS[neighbourhood])
    data = _data_terms(p)
    if not (two and smooth):
        # Later class on ties, as the cut does.
        most_probable = data.shape[0] - 1 - data[::-1].argmin(axis=0)
    if not smooth:
        return most_probable
    data = _FiniteTerms(p, pair_costs)(p)
    if two:
        return _cut_two(data, pair_costs)
    return _expand(data, pair_costs, most_probable)


def contrast_weights(
    image: np.ndarray, *, contrast: float | None = None, neighbourhood: int = 8
) -> np.ndarray:
    """Make label changes cheap where an image changes: ``exp(-(I_i - I_j)^2 / 2 s^2)``.

    Parameters
    ----------
    image : ndarray of shape (ny, nx)
        For example a HAADF image; smooth it first if it is noisy.
    contrast : float, optional
        The step s that counts as an edge, in the image's unit; by default the root mean
        square step between neighbours.
    neighbourhood : {8, 4}
        As in `graph_cut`.

    Returns
    -------
    ndarray of shape (pairs, ny, nx), float64
        Factors from 0 to 1; all one for a constant image. Entries of pairs that would
        leave the image are one and never used.

    References
    ----------
    Y. Boykov, M.-P. Jolly, Proc. ICCV 2001, vol. 1, 105.
    """
    values = np.asarray(image, dtype=np.float64)
    if values.ndim != 2 or values.size == 0 or not np.isfinite(values).all():
        raise InputError(
            f"the contrast image must be finite numbers of shape (ny, nx), got {values.shape}"
        )
    if contrast is not None and not (np.isfinite(contrast) and contrast > 0):
        raise InputError(f"contrast must be a positive step of the image, got {contrast!r}")
    offsets = _offsets(neighbourhood)
    steps = np.zeros((len(offsets), *values.shape))
    n_pairs = 0
    for step, offset in zip(steps, offsets, strict=True):
        here, there = _ends(values, offset)
        _ends(step, offset)[0][...] = (here - there) ** 2
        n_pairs += here.size
    variance = steps.sum() / max(n_pairs, 1) if contrast is None else contrast**2
    return np.exp(-steps / (2.0 * variance)) if variance > 0 else np.ones_like(steps)


def _offsets(neighbourhood: int) -> tuple[tuple[int, int], ...]:
    if neighbourhood not in OFFSETS:
        raise InputError(f"neighbourhood must be 8 or 4, got {neighbourhood!r}")
    return OFFSETS[neighbourhood]


def _pair_costs(
    smoothness: float,
    weights: np.ndarray | None,
    neighbourhood: int,
    shape: tuple[int, ...],
) -> np.ndarray:
    """Return smoothness * w of each pair, (pairs, ny, nx); float64, maybe a broadcast view."""
    if not (np.isfinite(smoothness) and smoothness >= 0):
        raise InputError(f"smoothness must be a number from 0 upwards, got {smoothness!r}")
    expected = (len(_offsets(neighbourhood)), *shape)
    if weights is None:
        return np.broadcast_to(np.float64(smoothness), expected)
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != expected:
        raise InputError(f"weights must have shape {expected}, got {weights.shape}")
    if not (np.isfinite(weights).all() and weights.min() >= 0):
        raise InputError("weights must be finite and not negative")
    return smoothness * weights


def _data_terms(p: np.ndarray) -> np.ndarray:
    """Return -log p, infinite where p is 0, rounded like Fiji's: (classes, ny, nx) float32.

    Fiji adds its prior of one half to each term in single precision; so does this, since
    the rounding decides which of two equally good labellings is taken.
    """
    data = np.empty(p.shape, np.float32)
    for terms, of_class in zip(data, p, strict=True):
        with np.errstate(divide="ignore"):
            log = np.log(of_class.astype(np.float64)).astype(np.float32)
        terms[...] = -log - np.float32(np.log(0.5))
    return data


class _FiniteTerms:
    """Data terms, those of impossible labels so large that no saving on pairs can pay for them."""

    def __init__(self, p: np.ndarray, pair_costs: np.ndarray) -> None:
        least = np.array(1.0, p.dtype)
        for strip in strips(p.shape[1:], of=(p,)):
            seen = p[:, strip.lines]
            least = np.minimum(least, np.min(seen, initial=1.0, where=seen > 0))
        largest = _data_terms(least.reshape(1, 1))[0, 0]
        self.barrier = float(largest) + 2.0 * sum(float(c.max()) for c in pair_costs) + 1.0

    def __call__(self, p: np.ndarray) -> np.ndarray:
        """Terms of some pixels (classes, ...), float64."""
        data = _data_terms(p).astype(np.float64)
        data[np.isinf(data)] = self.barrier
        return data


def _ends(array: np.ndarray, offset: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return views of both ends of all pairs with this offset; the last two axes are y, x."""
    dy, dx = offset
    ny, nx = array.shape[-2:]
    left, right = max(0, -dx), max(0, dx)
    here = array[..., : ny - dy, left : nx - right]
    there = array[..., dy:, right : nx - left]
    return here, there


def _pairs(pair_costs: np.ndarray) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """Iterate over offsets with the costs of their pairs, as in the first view of _ends."""
    offsets = next(o for o in OFFSETS.values() if len(o) == len(pair_costs))
    for offset, costs in zip(offsets, pair_costs, strict=True):
        yield offset, _ends(costs, offset)[0]


def _cut_two(data: np.ndarray, pair_costs: np.ndarray) -> np.ndarray:
    """Return the exact minimum for two classes."""
    offsets = np.array(OFFSETS[2 * len(pair_costs)])
    gain = data[0] - data[1]
    # What is free to be either counts to label 1: a tie is enough for it, and not for label 0.
    ones = held_pixels(gain, gain >= 0, pair_costs, offsets)
    free = ~(ones | held_pixels(-gain, gain < 0, pair_costs, offsets))
    if not free.any():
        return ones.astype(np.int64)
    first, second, costs = pairs_of_free(free, ones, gain, pair_costs, offsets)
    left = gain[free]
    graph = maxflow.GraphFloat(left.size, first.size)
    nodes = graph.add_nodes(left.size)
    if first.size:
        graph.add_edges(first, second, costs, costs)
    # Label 1 is the side of the source: a pixel cut from it pays what it gains by that label.
    graph.add_grid_tedges(nodes, np.maximum(left, 0.0), np.maximum(-left, 0.0))
    graph.maxflow()
    ones[free] = ~graph.get_grid_segments(nodes)
    return ones.astype(np.int64)


def _expand(data: np.ndarray, pair_costs: np.ndarray, most_probable: np.ndarray) -> np.ndarray:
    """Minimise by alpha-expansion from the given labels."""
    labels, free = _settle(data, pair_costs, most_probable)
    if not free.any():
        return labels.reshape(most_probable.shape)
    n_classes = data.shape[0]
    data = data.reshape(n_classes, -1)
    pixels = np.flatnonzero(free)
    pairs = _touching_pairs(free.reshape(most_probable.shape), pair_costs)

    def energy(candidate: np.ndarray) -> float:
        """Return the part of the energy that free pixels can change."""
        own = data[candidate[pixels], pixels].sum()
        return float(own + pairs.costs[candidate[pairs.first] != candidate[pairs.second]].sum())

    lowest = energy(labels)
    alpha, fruitless = 0, 0
    while fruitless < n_classes:
        candidate = _expansion_move(data, pairs, labels, alpha, free)
        reached = energy(candidate)
        # A margin for rounding, or two equally good labellings could alternate for ever.
        if reached < lowest - 1e-9 * max(1.0, abs(lowest)):
            labels, lowest, fruitless = candidate, reached, 0
        else:
            fruitless += 1
        alpha = (alpha + 1) % n_classes
    return labels.reshape(most_probable.shape)


def _settle(
    data: np.ndarray, pair_costs: np.ndarray, most_probable: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return labels of which most are those of a global minimum, and which are free; (pixels,).

    Cut each class against the best of all others, pixel by pixel. In any labelling, turning
    the pixels that a class wins in its cut to that class does not raise the energy: inside
    they are equal, and their border costs at most what it costs in the cut (Kovtun). What no
    class wins is left to the expansion, a small part of the map.
    """
    labels, free = most_probable.ravel().copy(), np.ones(most_probable.size, dtype=bool)
    for alpha in range(len(data)):
        others = np.delete(data, alpha, axis=0).min(axis=0)
        wins = _cut_two(np.stack([others, data[alpha]]), pair_costs).ravel() == 1
        labels[wins] = alpha
        free &= ~wins
    return labels, free


class _PairList(NamedTuple):
    """Pairs of neighbours by their pixels' flat indices, with the cost of different labels."""

    first: np.ndarray
    second: np.ndarray
    costs: np.ndarray


def _touching_pairs(free: np.ndarray, pair_costs: np.ndarray) -> _PairList:
    """Return the pairs of which one pixel or both are free."""
    index = np.arange(free.size).reshape(free.shape)
    found = []
    for offset, costs in _pairs(pair_costs):
        here, there = _ends(free, offset)
        touched = here | there
        found.append([part[touched] for part in (*_ends(index, offset), costs)])
    return _PairList(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _expansion_move(
    data: np.ndarray, pairs: _PairList, labels: np.ndarray, alpha: int, free: np.ndarray
) -> np.ndarray:
    """Return the best labels in which any set of free pixels has turned to alpha.

    With x = 1 for a pixel that turns, a pair of pixels i, j of other labels f costs

        f_i == f_j:  w |x_i - x_j|
        f_i != f_j:  w (1 - x_i x_j) = w - w/2 (x_i + x_j) + w/2 |x_i - x_j|,

    and a pair of which one has alpha already costs w (1 - x) of the other. Where j is not
    free and has another label than alpha, turning costs w more if f_i == f_j.
    """
    movable = free & (labels != alpha)
    pixels = np.flatnonzero(movable)
    if pixels.size == 0:
        return labels
    node = np.empty(labels.size, dtype=np.int64)
    node[pixels] = np.arange(pixels.size)
    first, second, costs = pairs
    f_first, f_second = labels[first], labels[second]
    both = movable[first] & movable[second]
    equal = f_first == f_second
    split = both & ~equal
    common = 0.5 * split - 1.0 * (equal & ~both)
    saved = np.bincount(first, costs * (common + (f_second == alpha)), labels.size)
    saved += np.bincount(second, costs * (common + (f_first == alpha)), labels.size)
    graph = maxflow.GraphFloat(pixels.size, int(both.sum()))
    graph.add_nodes(pixels.size)
    capacity = np.where(split, 0.5 * costs, costs)[both]
    graph.add_edges(node[first[both]], node[second[both]], capacity, capacity)
    cost = data[alpha, pixels] - data[labels[pixels], pixels] - saved[pixels]
    nodes = np.arange(pixels.size)
    # The sink's side turns; free pixels stay.
    graph.add_grid_tedges(nodes, np.maximum(cost, 0.0), np.maximum(-cost, 0.0))
    graph.maxflow()
    moved = labels.copy()
    moved[pixels[graph.get_grid_segments(nodes)]] = alpha
    return moved
