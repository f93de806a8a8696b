"""How near the borders of phases their own pixels still serve.

A probe has tails, and borders run obliquely: pixels near a border hold other phases. They are left
out as deep as the map can bear, but for those rings of pixels whose counts say that they hold too
little of the others to matter beside the noise that would be lost with them.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.ndimage import distance_transform_edt
from scipy.optimize import nnls

from siftem.decomposition.purest import MOST_PIXELS, WORSE, sum_of

#: Distances from borders that are tried for phases of which enough pixels are left.
_DEPTHS = (4, 3, 2)
_ENOUGH_PIXELS, _ENOUGH_LEFT = 100, 0.4
#: Windows by which pixels are compared, and the fewest counts of one that tells anything.
_WINDOWS, _FEWEST = 150, 30.0
#: Relative errors that do not matter, and mean square of what may differ, in units of the noise.
_ALIKE, _MUCH = 0.03, 3.0


def near_borders(labels: np.ndarray, counts: sp.csr_array) -> np.ndarray:
    """Find the pixels near the borders of phases that are better left out of their sums.

    Parameters
    ----------
    labels : ndarray of int, shape (ny, nx)
        Phase of each pixel; below zero, none.
    counts : scipy.sparse.csr_array of shape (ny * nx, m)
        Or `siftem.large.rows_of_counts.BlockedCounts`.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
    """
    out = np.zeros(labels.shape, bool)
    inner: dict[int, np.ndarray] = {}
    rings: dict[int, list[np.ndarray]] = {}
    for c in range(int(labels.max()) + 1):
        own = labels == c
        inner[c], rings[c] = own, []
        if own.all() or not own.any():
            continue
        away = distance_transform_edt(own)
        for depth in _DEPTHS:
            left = own & (away > depth)
            if left.sum() >= max(_ENOUGH_PIXELS, _ENOUGH_LEFT * own.sum()):
                inner[c] = left
                rings[c] = [own & (d - 1 < away) & (away <= d) for d in range(depth, 0, -1)]
                break
    sums = {c: sum_of(counts, inside) for c, inside in inner.items() if inside.any()}
    for c, outside in rings.items():
        used = 0
        if outside and inner[c].sum() < MOST_PIXELS:  # of more, noise is no matter
            others = [s for o, s in sums.items() if o != c]
            used = _harmless(sums[c], [sum_of(counts, ring) for ring in outside], others)
        for ring in outside[used:]:
            out |= ring
    return out


def _harmless(inner: np.ndarray, rings: list[np.ndarray], others: list[np.ndarray]) -> int:
    """How many rings, from the inside, make the sum better than it is without them."""
    shape = inner / max(inner.sum(), 1.0)
    apart = [float(np.linalg.norm(shape - o / max(o.sum(), 1.0))) for o in others]
    parts = np.stack([inner, *others], axis=1)
    held, off, used = float(inner.sum()), 0.0, 0
    best = 1.0 / max(held, 1.0)
    for i, ring in enumerate(rings):
        if not of_one_kind(ring, parts, inner):
            break
        off += float(_foreign(ring, parts) @ apart)
        held += float(ring.sum())
        error = (WORSE * off / held) ** 2 + 1.0 / held
        if error < best:
            best, used = error, i + 1
    return used


def _foreign(ring: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Counts of a ring that are of each other phase; (k - 1,)."""
    target, design = _windows(ring), _windows(parts)
    root = 1.0 / np.sqrt(np.maximum(target, 1.0))
    scales = nnls(design * root[:, None], target * root)[0]
    return np.asarray(scales[1:] * parts[:, 1:].sum(axis=0))


def as_mixture(counts: np.ndarray, parts: np.ndarray) -> np.ndarray | None:
    """Shares of other phases that would make up a phase's counts; None where nothing does.

    Parameters
    ----------
    counts : ndarray of shape (m,)
    parts : ndarray of shape (m, k)
        Counts of the other phases.
    """
    target, design = _windows(counts), _windows(parts)
    told = target > _FEWEST
    if told.sum() <= design.shape[1]:
        return None
    target, design = target[told], design[told]
    root = 1.0 / np.sqrt(target + (_ALIKE * target) ** 2)
    scales = nnls(design * root[:, None], target * root)[0]
    if float((((target - design @ scales) * root) ** 2).mean()) >= _MUCH:
        return None
    shares = scales * design.sum(axis=0)
    return np.asarray(shares / max(shares.sum(), 1e-300))


def of_one_kind(pixels: np.ndarray, parts: np.ndarray, variance: np.ndarray) -> bool:
    """Whether some pixels are those of a region with more or less of the other phases.

    Parameters
    ----------
    pixels : ndarray of shape (m,)
        Their counts.
    parts : ndarray of shape (m, k)
        Counts of the region, then of the other phases.
    variance : ndarray of shape (m,)
        Of the region's counts.
    """
    target, noise, design = _windows(pixels), _windows(variance), _windows(parts)
    told = target > _FEWEST
    if told.sum() <= design.shape[1]:
        return True
    target, noise, design = target[told], noise[told], design[told]
    share = target.sum() / max(design[:, 0].sum(), 1.0)
    weight = 1.0 / (target + share**2 * noise + (_ALIKE * target) ** 2)
    root = np.sqrt(weight)[:, None]
    scales = np.linalg.lstsq(design * root, target * root[:, 0], rcond=1e-9)[0]
    off = (target - design @ scales) * root[:, 0]
    return float((off**2).mean()) < _MUCH


def _windows(values: np.ndarray) -> np.ndarray:
    """Sums over windows of channels, along the first axis."""
    starts = np.arange(0, values.shape[0], max(values.shape[0] // _WINDOWS, 1))
    return np.asarray(np.add.reduceat(values, starts, axis=0))
