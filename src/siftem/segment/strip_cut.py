"""A cut between two classes on a large map, a strip of lines at a time, and still exact.

The graph of a whole map takes some 300 bytes a pixel. In the Potts model with two classes, more of
label 1 around a strip can only bring more of label 1 into it. So a pixel that gets label 1 although
all around the strip is held at 0 has it in the whole map, too, and likewise with 0; with a margin
that noise does not cross, that settles nearly all. The few pixels left make a small graph. Compiled
kernels settle what they can before it, and build it of the rest.
"""

from __future__ import annotations

from collections.abc import Callable

import maxflow
import numpy as np

from siftem.compiling import kernel
from siftem.large.disk_images import converted, image_beside, let_go, strips

#: Pixels beyond which a map is cut in strips, and of one strip with its margins.
LARGEST_WHOLE = 500_000
_STRIP = 150_000
#: Lines that a strip overlaps its neighbours by.
_MARGIN = 48

Cut = Callable[[np.ndarray, np.ndarray], np.ndarray]
Terms = Callable[[np.ndarray], np.ndarray]


def cut_in_strips(
    p: np.ndarray,
    terms_of: Terms,
    pair_costs: np.ndarray,
    cut: Cut,
    offsets: tuple[tuple[int, int], ...],
) -> np.ndarray:
    """Return the labels of least energy, those with most pixels of label 1 among equals.

    Parameters
    ----------
    p : ndarray of shape (2, ny, nx)
        Probabilities.
    terms_of : callable
        ``terms_of(p)`` gives the finite costs of the labels of some pixels, float64.
    pair_costs : ndarray of shape (pairs, ny, nx)
        Cost of different labels, for each pixel and its neighbour at ``offsets``.
    cut : callable
        ``cut(data, pair_costs)`` does the same for a whole map.
    offsets : tuple of (dy, dx)

    Returns
    -------
    ndarray of shape (ny, nx), int64
    """
    ny, nx = p.shape[1:]
    labels = image_beside(p, (ny, nx), np.int8)
    lines = max(_STRIP // nx - 2 * _MARGIN, _MARGIN)
    # No saving on the pairs of a pixel can pay for this.
    barrier = 1.0 + 2.0 * sum(float(costs.max()) for costs in pair_costs)
    for first in range(0, ny, lines):
        last = min(first + lines, ny)
        top, bottom = max(first - _MARGIN, 0), min(last + _MARGIN, ny)
        own = slice(first - top, last - top)
        found = []
        free = terms_of(p[:, top:bottom])
        for held in (0, 1):
            terms = free.copy()
            for line, at_border in ((0, top == 0), (-1, bottom == ny)):
                if not at_border:
                    terms[1 - held, line] = terms[held, line] + barrier
            found.append(cut(terms, pair_costs[:, top:bottom])[own])
        labels[first:last] = np.where(found[0] == found[1], found[0], -1)
        let_go(p, labels)
    open_ends = strips((ny, nx), of=(labels,))
    if any((labels[strip.lines] < 0).any() for strip in open_ends):
        _settle_rest(p, terms_of, pair_costs, offsets, labels)
    return converted(labels, np.int64)


def _settle_rest(
    p: np.ndarray,
    terms_of: Terms,
    pair_costs: np.ndarray,
    offsets: tuple[tuple[int, int], ...],
    labels: np.ndarray,
) -> None:
    """Cut the pixels that have no label (-1) yet, the others held; ``labels`` in place."""
    ny, nx = labels.shape
    pixels = np.concatenate(
        [
            np.flatnonzero(labels[strip.lines] < 0) + strip.lines.start * nx
            for strip in strips((ny, nx), of=(labels,))
        ]
    )
    y, x = np.divmod(pixels, nx)
    terms = terms_of(p[:, y, x])
    graph = maxflow.GraphFloat(y.size, 8 * y.size)
    nodes = graph.add_nodes(y.size)
    for (dy, dx), costs in zip(offsets, pair_costs, strict=True):
        for sign in (1, -1):
            yy, xx = y + sign * dy, x + sign * dx
            inside = np.flatnonzero((yy >= 0) & (yy < ny) & (xx >= 0) & (xx < nx))
            other = (yy[inside], xx[inside])
            # The cost belongs to the first pixel of the pair.
            cost = costs[y[inside], x[inside]] if sign == 1 else costs[other]
            beside = labels[other]
            for held in (0, 1):
                np.add.at(terms[1 - held], inside[beside == held], cost[beside == held])
            if sign == 1:
                free = beside < 0
                capacity = cost[free]
                node = np.searchsorted(pixels, yy[inside][free] * nx + xx[inside][free])
                graph.add_edges(inside[free], node, capacity, capacity)
    # Label 1 is the side of the source, as in the cut of a whole map.
    graph.add_grid_tedges(nodes, terms[0], terms[1])
    graph.maxflow()
    labels[y, x] = ~graph.get_grid_segments(nodes)


def held_pixels(
    gain: np.ndarray, wanted: np.ndarray, pair_costs: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    """Return pixels that have a label in the minimum, because of all that want it.

    The largest set in which each pixel gains no less by the label than its pairs with pixels
    outside cost. Turning any part of it to the label saves pairs within, and pays no more than is
    gained for those without: so the minimum holds the whole set.

    Parameters
    ----------
    gain : ndarray of shape (ny, nx), float64
        By how much the label is better than the other one.
    wanted : ndarray of shape (ny, nx), bool
        Where the set may be.
    pair_costs : ndarray of shape (pairs, ny, nx), float64
    offsets : ndarray of shape (pairs, 2), int64

    Returns
    -------
    ndarray of shape (ny, nx), bool
    """
    held, queue = wanted.copy(), np.empty(gain.size, np.int64)
    begun = np.flatnonzero(~wanted)
    queue[: begun.size] = begun
    _let_go(gain, held, pair_costs, offsets, np.zeros(gain.shape), queue, begun.size)
    return held


@kernel()
def _let_go(
    gain: np.ndarray,
    held: np.ndarray,
    pair_costs: np.ndarray,
    offsets: np.ndarray,
    outside: np.ndarray,
    queue: np.ndarray,
    end: int,
) -> None:
    """Take pixels out of ``held`` (ny, nx), from the first ``end`` of the ``queue`` on.

    ``outside`` (ny, nx) starts at zero; the queue has room for all pixels.
    """
    ny, nx = gain.shape
    start = 0
    while start < end:
        y, x = queue[start] // nx, queue[start] % nx
        start += 1
        for k in range(offsets.shape[0]):
            for sign in (1, -1):
                v, u = y + sign * offsets[k, 0], x + sign * offsets[k, 1]
                if v < 0 or v >= ny or u < 0 or u >= nx or not held[v, u]:
                    continue
                # A pair's cost stands at the one of its pixels from which the offset leads.
                outside[v, u] += pair_costs[k, y, x] if sign > 0 else pair_costs[k, v, u]
                if gain[v, u] < outside[v, u]:
                    held[v, u] = False
                    queue[end] = v * nx + u
                    end += 1


def pairs_of_free(
    free: np.ndarray,
    ones: np.ndarray,
    gain: np.ndarray,
    pair_costs: np.ndarray,
    offsets: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs of free pixels; those with settled ones go into ``gain``, in place.

    Parameters
    ----------
    free, ones : ndarray of shape (ny, nx), bool
        Not settled; settled as label 1.
    gain : ndarray of shape (ny, nx), float64
        By how much label 1 is better.
    pair_costs, offsets
        As in `held_pixels`.

    Returns
    -------
    first, second : ndarray of int64
        Numbers of free pixels in scan order.
    costs : ndarray of float64
    """
    number = np.cumsum(free).reshape(free.shape) - free
    most = int(free.sum()) * len(offsets)
    first, second, costs = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most)
    found = _pair(free, ones, gain, pair_costs, offsets, number, first, second, costs)
    return first[:found], second[:found], costs[:found]


@kernel()
def _pair(
    free: np.ndarray,
    ones: np.ndarray,
    gain: np.ndarray,
    pair_costs: np.ndarray,
    offsets: np.ndarray,
    number: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    costs: np.ndarray,
) -> int:
    """Do the work of `pairs_of_free`; return how many pairs there are."""
    ny, nx = free.shape
    found = 0
    for k in range(offsets.shape[0]):
        for y in range(ny):
            for x in range(nx):
                v, u = y + offsets[k, 0], x + offsets[k, 1]
                if v < 0 or v >= ny or u < 0 or u >= nx or not (free[y, x] or free[v, u]):
                    continue
                cost = pair_costs[k, y, x]
                if free[y, x] and free[v, u]:
                    first[found], second[found], costs[found] = number[y, x], number[v, u], cost
                    found += 1
                elif free[y, x]:
                    gain[y, x] += cost if ones[v, u] else -cost
                else:
                    gain[v, u] += cost if ones[y, x] else -cost
    return found
