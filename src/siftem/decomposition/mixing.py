"""How evenly a class of pixels is mixed: by how its shares scatter and rise inside of it."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.ndimage import distance_transform_edt

from siftem.decomposition.purest import purest

#: Shares of a pure phase scatter by no more than this inside its grains.
_EVEN = 0.06


def deep(own: np.ndarray) -> np.ndarray:
    """Pixels of a class away from its border; all of them where few are left."""
    away = distance_inside(own)
    for depth, fewest in ((2.0, 30), (1.0, 12)):
        if (own & (away > depth)).sum() >= fewest:
            return np.asarray(own & (away > depth))
    return own


def deficit(counts: sp.csr_array, inside: np.ndarray, spectra: np.ndarray, c: int) -> float:
    """How much less of itself the typical pixel of a class holds than its purest pixels."""
    found = purest(counts, inside, spectra, c)
    return 1 - found.typical / max(found.share - found.sigma, 1e-9)


def unevenness(
    weights: np.ndarray, total: np.ndarray, own: np.ndarray, c: int
) -> tuple[float, bool, int | None]:
    """How much the share of a class varies inside it, and with which other one it changes.

    From products of neighbouring pixels, whose noise is independent.
    """
    inner = deep(own)
    level = np.maximum(total, 1e-9)
    mean = weights[:, inner].sum(axis=1) / max(float(total[inner].sum()), 1e-9)
    off = np.where(inner, weights - mean[:, None, None] * total, 0.0)
    products, pairs, spread = np.zeros(len(weights)), 0.0, 0.0
    for a, b in (
        (np.s_[:-1], np.s_[1:]),
        (np.s_[:, :-1], np.s_[:, 1:]),
    ):
        both = inner[a] & inner[b]
        pairs += float((level[a] * level[b])[both].sum())
        for j in range(len(weights)):
            first = off[c][a] * off[j][b] + off[j][a] * off[c][b]
            products[j] += 0.5 * float(first[both].sum())
        spread += float(((off[c][a] * off[c][b])[both] ** 2).sum())
    if pairs <= 0:
        return 0.0, False, None
    variance = products / pairs
    others = [j for j in range(len(weights)) if j != c]
    partner = min(others, key=lambda j: variance[j])
    error = np.sqrt(spread) / pairs
    sure = bool(variance[c] - 2 * error > _EVEN**2)
    return float(np.sqrt(max(variance[c], 0.0))), sure, partner


def distance_inside(own: np.ndarray) -> np.ndarray:
    """Distance in pixels to the nearest pixel outside; infinite where there is none."""
    return np.full(own.shape, np.inf) if own.all() else distance_transform_edt(own)
