"""The confined rectangle of pure matrix that one would draw by hand."""

from __future__ import annotations

import numpy as np

from siftem.errors import InputError
from siftem.segment.regions import Region


def confined_rectangles(
    region: Region, *, share: float = 0.03, given: tuple[int, int, int, int] | None = None
) -> tuple[Region, ...]:
    """Return the rectangles of about a share of the map that fit into a region.

    Without a given one: of all rectangles of that area that lie fully within the region,
    the one closest to a square; among several, the one with most of the region around it;
    then the next such one that does not overlap the first, and so on. One rectangle's
    signal is a matter of luck where a line is faint; the average over several is not. If
    none fits, the area shrinks until one does.

    Parameters
    ----------
    region : Region
        The pure matrix.
    share : float
        Share of the map's pixels.
    given : tuple of int, optional
        y, x, height, width of the only rectangle.

    Returns
    -------
    tuple of Region
        All of one size, the first one the innermost; empty when the region holds no
        rectangle of at least nine pixels.
    """
    mask = region.mask
    ny, nx = mask.shape
    if given is not None:
        y, x, h, w = given
        if y < 0 or x < 0 or h < 1 or w < 1 or y + h > ny or x + w > nx:
            raise InputError(
                f"the rectangle {given} (y, x, height, width) does not lie within the map "
                f"of {ny} x {nx} pixels"
            )
        return (_rectangle(mask.shape, y, x, h, w, 1),)
    area = share * mask.size
    while area >= 9:
        for aspect in (1.0, 1.25, 0.8, 1.6, 0.625, 2.0, 0.5, 3.0, 1 / 3):
            h = round(np.sqrt(area * aspect))
            w = round(area / max(h, 1))
            if 1 <= h <= ny and 1 <= w <= nx:
                found = _fitting(mask, h, w)
                if found:
                    return found
        area *= 0.9
    return ()


def _fitting(mask: np.ndarray, h: int, w: int) -> tuple[Region, ...]:
    """All disjoint rectangles of a size within a mask, innermost first."""
    rest = mask.copy()
    found: list[Region] = []
    while True:
        holes = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
        holes[1:, 1:] = (~rest).cumsum(axis=0).cumsum(axis=1)
        inside = (holes[h:, w:] - holes[:-h, w:] - holes[h:, :-w] + holes[:-h, :-w]) == 0
        if not inside.any():
            return tuple(found)
        y, x = _innermost(mask, inside, h, w)
        found.append(_rectangle(mask.shape, y, x, h, w, len(found) + 1))
        rest[y : y + h, x : x + w] = False


def _innermost(mask: np.ndarray, inside: np.ndarray, h: int, w: int) -> tuple[int, int]:
    """Corner of the fitting rectangle whose surroundings hold most of the region."""
    weights = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    weights[1:, 1:] = mask.cumsum(axis=0).cumsum(axis=1)
    ys, xs = np.nonzero(inside)
    grow_y, grow_x = h // 2, w // 2
    top, left = np.maximum(ys - grow_y, 0), np.maximum(xs - grow_x, 0)
    bottom = np.minimum(ys + h + grow_y, mask.shape[0])
    right = np.minimum(xs + w + grow_x, mask.shape[1])
    around = weights[bottom, right] - weights[top, right] - weights[bottom, left]
    best = int((around + weights[top, left]).argmax())
    return int(ys[best]), int(xs[best])


def _rectangle(shape: tuple[int, int], y: int, x: int, h: int, w: int, number: int) -> Region:
    mask = np.zeros(shape, bool)
    mask[y : y + h, x : x + w] = True
    return Region(f"confined rectangle {number}", mask, "give a rectangle in the recipe")
