"""How even classes of pixels are: what lies inside, how shares differ from place to place."""

from __future__ import annotations

from dataclasses import dataclass

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


def deficit(
    counts: sp.csr_array, inside: np.ndarray, spectra: np.ndarray, c: int
) -> tuple[float, float]:
    """How much less of itself the typical pixel of a class holds than its purest: least, most."""
    found = purest(counts, inside, spectra, c)
    ends = (found.share - found.sigma, found.share + 2 * found.sigma)
    least, most = (1 - found.typical / max(end, 1e-9) for end in ends)
    return least, most


@dataclass(frozen=True)
class Unevenness:
    """How much the share of a class varies inside it, and with which other one it changes.

    Parameters
    ----------
    variance, error : float
        Of its share, counting noise taken off, and the standard deviation of that; the error is
        infinite where no pixels have neighbours.
    partner : int or None
    """

    variance: float
    error: float
    partner: int | None

    @property
    def value(self) -> float:
        """Standard deviation of the share."""
        return float(np.sqrt(max(self.variance, 0.0)))

    @property
    def sure(self) -> bool:
        """Whether it is more than a pure phase's, beyond the noise."""
        return self.variance - 2 * self.error > _EVEN**2

    def sure_with(self, other: Unevenness) -> bool:
        """Whether the two together are, of phases that pass into each other."""
        error = float(np.hypot(self.error, other.error))
        return self.variance + other.variance - 2 * error > 2 * _EVEN**2


def unevenness(weights: np.ndarray, total: np.ndarray, own: np.ndarray, c: int) -> Unevenness:
    """Tell how even a class is, from products of neighbouring pixels, whose noise is independent.

    Parameters
    ----------
    weights, total, own, c
        As of `scatter`.
    """
    variance, error = scatter(weights, total, own, c)
    if not np.isfinite(error):
        return Unevenness(0.0, error, None)
    others = [j for j in range(len(weights)) if j != c]
    partner = min(others, key=lambda j: variance[j])
    return Unevenness(float(variance[c]), error, partner)


def scatter(
    weights: np.ndarray, total: np.ndarray, own: np.ndarray, c: int
) -> tuple[np.ndarray, float]:
    """How the share of a class varies inside it with that of each class, without counting noise.

    Parameters
    ----------
    weights : ndarray of shape (k, ny, nx)
        Counts of each class in each pixel.
    total : ndarray of shape (ny, nx)
    own : ndarray of bool, shape (ny, nx)
        Pixels of the class.
    c : int

    Returns
    -------
    variance : ndarray of shape (k,)
        Covariance of its share with each.
    error : float
        Standard deviation of its own; infinite where no pixels have neighbours.
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
        return products, np.inf
    return products / pairs, float(np.sqrt(spread)) / pairs


def distance_inside(own: np.ndarray) -> np.ndarray:
    """Distance in pixels to the nearest pixel outside; infinite where there is none."""
    return np.full(own.shape, np.inf) if own.all() else distance_transform_edt(own)
