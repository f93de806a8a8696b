"""What particles lie on: how much of a thin film goes on below them.

A film has the same thickness below particles that are thin and thick. What of its counts does not
grow with the particle is the film's; what grows with it is the particle's own, though it may hold
the same elements. Borders that run obliquely look alike, so pixels close to a border say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.ndimage import binary_dilation, distance_transform_edt

from siftem.decomposition.purest import FEWEST_PIXELS, share_weights, sum_of

#: Within this distance of a border pixels may be blurred, and surely mixed within the other.
_BLUR, _BORDER = 1.5, 2.5
#: A support has no more than this part of the counts of what lies on it; ...
_DIM = 0.5
#: ... and what has no more than this may be one even if nothing tells.
_FAINT = 0.25
#: What is brighter than a support by this factor lies on it.
_BRIGHTER = 1.2
#: A film is this part, or more, of what lies within so many pixels around what is on it.
_TOUCHES, _NEAR = 0.05, 3
#: Relative error of an amount that is measured well, and what absorption may do to it.
_TOLD, ABSORBED = 0.3, 0.15
#: What is left when the thickness explains the film's share, as part of what a film would make.
_OF_ONE_KIND = 0.5
#: What is surely less than this is not there, what is surely more and near one is.
_HALF = 0.5


@dataclass(frozen=True)
class Below:
    """How much of a support goes on below a phase.

    Parameters
    ----------
    amount : float
        In units of the support beside; 0 where nothing is known, so that none is taken off.
    low, high : float
        Its ends at two standard deviations; of what is not measured, none and as much as beside.
    """

    amount: float
    low: float
    high: float


#: What the recipe says.
AS_BESIDE = Below(1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Measured:
    """What does not grow with a grain, in units of the film beside it, and its error."""

    amount: float
    sigma: float

    @property
    def told(self) -> bool:
        """Whether the grain's thickness varies enough to tell."""
        return self.sigma < _TOLD

    @property
    def there(self) -> bool:
        """Whether the film surely goes on."""
        near = abs(self.amount - 1) < max(_HALF, 3 * self.sigma)
        return self.told and near and self.amount - 2 * self.sigma > _HALF

    @property
    def absent(self) -> bool:
        """Whether it surely does not."""
        return self.told and self.amount + 2 * self.sigma < _HALF

    def below(self, *, assumed: bool) -> Below:
        """Return the range of the film's amount.

        Parameters
        ----------
        assumed : bool
            Whether the film is taken to go on where nothing is measured.
        """
        if self.told:
            low, high = self.amount - 2 * self.sigma, self.amount + 2 * self.sigma
            return Below(1.0, max(min(low, 1.0), 0.0), max(high, 1.0))
        return Below(1.0, 0.0, 1.0 + _TOLD) if assumed else Below(0.0, 0.0, 1.0)


NOT_MEASURED = Measured(1.0, np.inf)


def measured_below(
    counts: sp.csr_array, total: np.ndarray, film: np.ndarray, inside: np.ndarray
) -> Measured:
    """Measure how much of a film goes on below a grain.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (ny * nx, m)
    total : ndarray of shape (ny, nx)
        Counts of each pixel.
    film, inside : ndarray of bool, shape (ny, nx)
        Pixels of the film alone, and of the grain with what lies below it.

    Returns
    -------
    Measured
        By products of neighbouring pixels, whose noise is independent.
    """
    if min(film.sum(), inside.sum()) < FEWEST_PIXELS:
        return NOT_MEASURED
    shapes = np.array([sum_of(counts, film), sum_of(counts, inside)])
    if not shapes.sum(axis=1).all():
        return NOT_MEASURED
    shapes = (shapes + 1e-6 * shapes.sum(axis=0)) / shapes.sum(axis=1, keepdims=True)
    # The mean of the grain holds the film: counts of the film above the mean, in each pixel.
    weights = share_weights(counts, shapes)[0].reshape(total.shape)
    mean = float(total[inside].mean())
    level = total - mean
    above = weights - weights[inside].mean()
    pairs = []
    for a, b in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        both = inside[a] & inside[b]
        pairs.append((level[a][both], level[b][both], above[a][both], above[b][both]))
    la, lb, wa, wb = (np.concatenate(v) for v in zip(*pairs, strict=True))
    variance = float((la * lb).sum())
    if variance <= 0:
        return NOT_MEASURED
    slope = 0.5 * float((la * wb + lb * wa).sum()) / variance
    # Each pixel is in several pairs.
    off = 0.5 * (la * (wb - slope * lb) + lb * (wa - slope * la))
    sigma = float(np.sqrt(2.0 * (off**2).sum())) / variance
    per_pixel = max(float(total[film].mean()), 1e-9)
    # Where the grain is of one kind, nothing but noise is left of what the thickness explains.
    left = float(((wa - slope * la) * (wb - slope * lb)).sum()) / variance
    if slope >= 1 or left > (_OF_ONE_KIND * per_pixel / mean) ** 2:
        return NOT_MEASURED
    amount = -slope * mean / (1 - slope) / per_pixel
    sigma = sigma * mean / (1 - slope) ** 2 / per_pixel
    return Measured(amount, float(np.hypot(sigma, ABSORBED)))


def is_dim(level: float, beside: float) -> bool:
    """Whether something has so few counts per pixel that it may be the film below the other."""
    return level < _DIM * beside


def flanks(
    labels: np.ndarray, rims: Sequence[tuple[int, ...]], levels: Sequence[float]
) -> np.ndarray:
    """Give what lies between a film and a grain to the grain, but for their blurred border.

    The thin flanks of a particle hold as much film as its middle, and look like a mixture.

    Parameters
    ----------
    labels : ndarray of int, shape (ny, nx)
        Class of each pixel.
    rims : sequence of tuple of int
        For each class, the two between which it lies; empty for any other.
    levels : sequence of float
        Counts per pixel of each class.

    Returns
    -------
    ndarray of int, shape (ny, nx)
    """
    out = labels.copy()
    for c, parents in enumerate(rims):
        if not parents:
            continue
        film, grain = sorted(parents, key=lambda p: levels[p])
        if is_dim(levels[film], levels[grain]):
            away = np.asarray(distance_transform_edt(labels != film))
            out[(labels == c) & (away > _BLUR)] = grain
    return out


def _beside(labels: np.ndarray, grain: int, film: int) -> bool:
    """Whether a film is near a grain: nowhere else does it go on below."""
    own = labels == grain
    ring = binary_dilation(own, iterations=_NEAR) & ~own
    return bool((labels[ring] == film).mean() > _TOUCHES) if ring.any() else False


def find_support(
    counts: sp.csr_array,
    labels: np.ndarray,
    levels: Sequence[float],
    surrounding: Sequence[int],
) -> tuple[int, dict[int, Below], bool] | None:
    """Find the film that the phases of a map lie on.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (ny * nx, m)
    labels : ndarray of int, shape (ny, nx)
        Phase of each pixel; negative for none.
    levels : sequence of float
        Counts per pixel of each phase; 0 for one that can be neither support nor on it.
    surrounding : sequence of int
        Dim phases that surround brighter ones, and are surrounded by nothing.

    Returns
    -------
    support : int
    below : dict of int to Below
        How much of it is below each phase that may lie on it.
    sure : bool
        False where nothing tells that it goes on below any of them.
    """
    shape = labels.shape
    total = np.asarray(counts.sum(axis=1, dtype=np.float64)).reshape(shape)
    far = {
        c: np.asarray(distance_transform_edt(labels == c)) if (labels == c).any() else None
        for c, level in enumerate(levels)
        if level > 0
    }
    areas = {c: int((labels == c).sum()) for c in far}
    best: tuple[int, dict[int, Below], bool] | None = None
    largest = 0
    for c, own in far.items():
        brighter = [g for g in far if levels[g] > _BRIGHTER * levels[c]]
        dim = any(is_dim(levels[c], levels[g]) for g in brighter)
        if own is None or not dim or not any(_beside(labels, g, c) for g in brighter):
            continue
        deep = own > _BORDER
        found = {
            g: measured_below(counts, total, deep, distance > _BORDER)
            for g in brighter
            if (distance := far[g]) is not None
        }
        # A film carries all there is: most of it must say so.
        on_it = sum(areas[g] for g, m in found.items() if m.there and is_dim(levels[c], levels[g]))
        sure = c in surrounding or on_it > 0.5 * sum(areas[g] for g in brighter)
        below = {
            g: m.below(assumed=sure)
            for g, m in found.items()
            if not m.absent and (sure or (not m.told and levels[c] < _FAINT * levels[g]))
        }
        # What surely is one comes before what only may be.
        rank = areas[c] + (labels.size if sure else 0)
        if below and rank > largest:
            best, largest = (c, below, sure), rank
    return best
