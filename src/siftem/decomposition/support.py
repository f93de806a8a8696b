"""What lies in and on what: classes that others surround, and films that go on below particles.

A class that one other surrounds may lie in it. A film has the same thickness below particles that
are thin and thick. What of its counts does not grow with the particle is the film's; what grows
with it is the particle's own, though it may hold the same elements. Borders that run obliquely look
alike, so pixels close to a border say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.ndimage import (
    binary_dilation,
    binary_fill_holes,
    binary_opening,
    distance_transform_edt,
    label,
    sum_labels,
)

from siftem.decomposition.purest import FEWEST_PIXELS, share_weights, sum_of

#: A host surrounds a class where it has this part of its border; at first sight, this.
_SURROUNDS, _MOSTLY = 0.75, 0.55
#: A class that is at least three pixels wide in this part of its pixels has no thin parts itself.
_THICK = 0.6
#: Threads that hold more of their own class than this are no borders of two others.
_ITS_OWN = 0.4
#: Patches of fewer pixels say nothing of how a class lies.
_SPECK = 8
_EIGHT = np.ones((3, 3), bool)


def hosts_of(labels: np.ndarray, k: int) -> list[tuple[int, ...]]:
    """Return for each class the classes that it is embedded in, the nearest first.

    Parameters
    ----------
    labels : ndarray of int, shape (ny, nx)
        Class of each pixel, 0 ... k - 1.
    k : int
    """
    first = mostly_around(labels, k)
    # What lies in the same host is no neighbour of its own.
    around = [_surroundings(labels, c, k, _SURROUNDS, first) for c in range(k)]
    out = []
    for c in range(k):
        chain: list[int] = []
        host = around[c]
        while host is not None and host != c and host not in chain:
            chain.append(host)
            host = around[host]
        out.append(tuple(chain))
    return out


def mostly_around(labels: np.ndarray, k: int) -> list[int | None]:
    """Return for each class the one that makes up most of what surrounds its patches, if any."""
    return [_surroundings(labels, c, k, _MOSTLY) for c in range(k)]


def _surroundings(
    labels: np.ndarray, c: int, k: int, least: float, known: Sequence[int | None] = ()
) -> int | None:
    """The class that surrounds the patches of a class; None where there is no single one.

    Holes of the patches count as theirs: a shell is surrounded by what lies outside of it.
    """
    patches, _ = label(labels == c, structure=_EIGHT)
    sizes = np.bincount(patches.ravel())
    large = (
        np.flatnonzero(sizes >= _SPECK)[1:]
        if sizes[0] >= _SPECK
        else np.flatnonzero(sizes >= _SPECK)
    )
    large = large[large > 0]
    if not large.size:
        return None
    spanning = sum(sizes[i] for i in large if _spans(patches == i))
    if spanning > 0.5 * sizes[large].sum():
        return None
    filled = binary_fill_holes(np.isin(patches, large))
    ring = binary_dilation(filled, _EIGHT) & ~filled
    if not ring.any():
        return None
    found = np.bincount(labels[ring], minlength=k)
    host = int(found.argmax())
    for other, its in enumerate(known):
        if its == host and other != c:
            found[other] = 0
    return host if host != c and found[host] >= least * found.sum() else None


def _spans(patch: np.ndarray) -> bool:
    """Whether a patch reaches from one edge of the map to the opposite one."""
    return bool((patch[0].any() and patch[-1].any()) or (patch[:, 0].any() and patch[:, -1].any()))


def thin_parts(labels: np.ndarray, weights: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Threads and specks of classes that are thick elsewhere: blurred borders of two others.

    Parameters
    ----------
    labels : ndarray of int, shape (ny, nx)
        Class of each pixel.
    weights : ndarray of shape (k, ny, nx)
        Counts of each pixel that are of each class, without bias; see
        `siftem.decomposition.purest`. A thread that holds mostly its own class is a
        thin shell or seam, and no border of others.
    total : ndarray of shape (ny, nx)
        Counts of each pixel.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
    """
    out = np.zeros(labels.shape, bool)
    for c, held in enumerate(weights):
        own = labels == c
        thick = binary_opening(np.pad(own, 1, mode="edge"), _EIGHT)[1:-1, 1:-1] & own
        if thick.sum() > _THICK * own.sum():
            patches, n = label(own & ~thick, structure=_EIGHT)
            which = np.arange(1, n + 1)
            counts = np.maximum(sum_labels(total, patches, which), 1e-9)
            share = sum_labels(held, patches, which) / counts
            off = (held - np.append(0.0, share)[patches] * total) ** 2
            sigma = np.sqrt(sum_labels(off, patches, which)) / counts
            speck = np.bincount(patches.ravel(), minlength=n + 1)[1:] < _SPECK
            out |= np.append(False, speck | (share - sigma < _ITS_OWN))[patches]
    return out


def without(labels: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """Give some pixels to the class of the nearest other one."""
    if not gone.any() or gone.all():
        return labels
    nearest = distance_transform_edt(gone, return_distances=False, return_indices=True)
    return np.asarray(labels[tuple(nearest)])


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


def over_core(core: np.ndarray, shell: np.ndarray) -> float:
    """How much of a shell lies above and below its core, in units of it beside the core.

    Of concentric spheres, as their areas say; the mean over the core's pixels over that of the
    shell's. Other bodies of one shape, flattened or drawn out along the beam, have the same.

    Parameters
    ----------
    core, shell : ndarray of bool, shape (ny, nx)

    Returns
    -------
    float
        0 where no shell touches a core.
    """
    patches, n = label(core | shell, structure=_EIGHT)
    which = np.arange(1, n + 1)
    areas = np.stack([sum_labels(part, patches, which) for part in (core, shell)])
    inner, ring = areas[:, (areas > 0).all(axis=0)].sum(axis=1)
    if not inner or not ring:
        return 0.0
    square = 1.0 + ring / inner
    around = square - 1.0
    return float((square**1.5 - 1.0 - around**1.5) / around**0.5)
