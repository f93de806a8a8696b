"""Compiled kernels of a cut of two labels: what is settled before it, and the graph of the rest."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
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
    ny, nx = gain.shape
    held, outside = wanted.copy(), np.zeros((ny, nx))
    queue = np.empty(ny * nx, np.int64)
    start = end = 0
    for i in range(ny * nx):
        if not wanted[i // nx, i % nx]:
            queue[end] = i
            end += 1
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
    return held


@njit(cache=True, nogil=True)
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
    ny, nx = free.shape
    number = np.empty((ny, nx), np.int64)
    n = 0
    for y in range(ny):
        for x in range(nx):
            number[y, x] = n
            n += free[y, x]
    most = n * offsets.shape[0]
    first, second, costs = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most)
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
    return first[:found], second[:found], costs[:found]
