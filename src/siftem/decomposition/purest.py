"""The pixels of a region that hold most of one phase, and how near its borders they may lie.

A share that is picked for being large is large by luck as well. Each count goes to one of two
halves by the toss of a coin: one half picks the pixels, the other is summed, and then they change
places. What comes out is the mean of the pixels that were picked, without luck. The shares are
amounts of the spectra of classes, of either sign, from few channels to be noisy in.

A probe has tails, and borders run obliquely: pixels near a border hold other phases. They are left
out as deep as the map can bear, but for those rings of pixels whose counts say that they hold too
little of the others to matter beside the noise that would be lost with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.optimize import nnls

from siftem.large.rows_of_counts import rows_of
from siftem.thinning import split_counts

#: Channels are summed down to about this many: a spectrum of a thousand counts is then no more
#: than half noise, which would lower all amounts.
_BINS = 150
#: No bin counts more than one with this part of the mean.
_FLOOR = 0.1


def binning(n_channels: int) -> sp.csr_array:
    """Matrix (m, bins) that sums neighbouring channels."""
    width = max(n_channels // _BINS, 1)
    place = np.arange(n_channels)
    return sp.csr_array((np.ones(n_channels, np.float32), (place, place // width)))


def share_weights(counts: sp.csr_array, spectra: np.ndarray) -> np.ndarray:
    """Counts of each of some spectra in each pixel, by weighted least squares; float64 (k, n).

    ``x D H' (H D H')^-1`` with the binned spectra H and D the inverse of their mean: linear in the
    counts, hence without bias, whatever the noise of a pixel.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (n, m)
        Or `siftem.large.rows_of_counts.BlockedCounts`.
    spectra : ndarray of shape (k, m)
        Each summing to one.
    """
    bins = binning(spectra.shape[1])
    shapes = (bins.T @ spectra.T).T
    mean = shapes.mean(axis=0)
    weighted = shapes / np.maximum(mean, _FLOOR * mean.mean())
    operator = bins @ (weighted.T @ np.linalg.pinv(weighted @ shapes.T))
    return rows_of(counts).images(operator)


#: Shares of the region that are tried.
_PARTS = (0.03, 0.06, 0.12, 0.25, 0.5, 1.0)
#: Fewer pixels or counts than this make no spectrum.
FEWEST_PIXELS, FEWEST_COUNTS = 30, 1000.0
#: Of larger regions, pixels at even distances serve.
MOST_PIXELS = 60_000
#: Shares that differ by no more than this, and their error, count as the same.
_AS_PURE = 0.003
#: What other phases add to a spectrum counts this much more than noise of the same size.
WORSE = 2.0
#: Noise of a share that is good enough to pick pixels by.
_NOISE = 0.05
_WIDEST = 3.0


@dataclass(frozen=True, eq=False)
class Purest:
    """Sum over the purest pixels of a region.

    Parameters
    ----------
    spectrum : ndarray of shape (m,)
        Counts; each pixel's from the half that did not pick it.
    pixels : float
        Pixels that were picked, the mean of both halves.
    share : float
        Mean share of the phase in them, in units of the spectra that were given.
    sigma : float
        Its standard deviation by counting.
    typical : float
        Mean share in the whole region.
    impure : float
        How much of the pixels may still be other phases: no more than the purest ones that were
        tried are purer than the region by, with two errors. What falls off from a border, as
        probes and diffusion make it, has fallen by half at the least on the way to them.
    """

    spectrum: np.ndarray
    pixels: float
    share: float
    sigma: float
    typical: float
    impure: float


def purest(
    counts: sp.csr_array,
    inside: np.ndarray,
    spectra: np.ndarray,
    own: int,
    *,
    with_it: Sequence[int] = (),
    by_noise: bool = False,
    fewest: int = FEWEST_PIXELS,
    random_state: int = 0,
) -> Purest:
    """Sum the pixels of a region in which a phase has its largest share.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (ny * nx, m)
        Or `siftem.large.rows_of_counts.BlockedCounts`. Of fractions, all serve to pick and to sum.
    inside : ndarray of bool, shape (ny, nx)
        The region.
    spectra : ndarray of shape (k, m)
        Of what the pixels hold, each summing to one.
    own : int
        Which of them.
    with_it : sequence of int
        Those of which pixels may hold any amount: they count as the phase's own.
    by_noise : bool
        Take more pixels where what they add of other phases is less than the noise they take.
    fewest : int
        Pixels that are picked at the least.
    random_state : int
        Seed of the halves.

    Returns
    -------
    Purest
        Of all pixels of the region, where there are too few to choose from.
    """
    halves = _Halves.of(counts, inside, random_state)
    return _purest(halves, spectra, (own, *with_it), by_noise=by_noise, fewest=fewest)


def _purest(
    halves: _Halves,
    spectra: np.ndarray,
    own: tuple[int, ...],
    *,
    by_noise: bool,
    fewest: int = FEWEST_PIXELS,
) -> Purest:
    """See `purest`."""
    measured = [_Shares(half, spectra, own) for half in halves.counts]
    picked = [shares.order(halves.inside) for shares in measured]
    judged = measured[::-1]
    n = halves.counts[0].shape[0]
    tried = []
    for part in _PARTS:
        size = min(max(round(part * n), fewest), n)
        share, sigma, held = _mean([j.share(o[:size]) for j, o in zip(judged, picked, strict=True)])
        if held >= FEWEST_COUNTS or part == 1.0:
            tried.append((size, share, sigma, held))
    _, most, error, _ = max(tried, key=lambda t: t[1] - t[2])
    if by_noise:
        others = np.delete(spectra, own[1:], axis=0)
        apart = WORSE * float(np.linalg.norm(spectra[own[0]] - others, axis=1).max())
        wrong = [(apart * max(most - t[1], 0.0)) ** 2 + 1 / max(t[3], 1.0) for t in tried]
        size, share, sigma, _ = tried[int(np.argmin(wrong))]
    else:
        # Where more pixels are as pure within the errors, more of them are better.
        as_pure = [t for t in tried if t[1] + np.hypot(t[2], error) >= most - _AS_PURE]
        size, share, sigma, _ = as_pure[-1]
    total = np.zeros(halves.counts[0].shape[1])
    for half, order in zip(halves.counts[::-1], picked, strict=True):
        total += np.asarray(half[np.sort(order[:size])].sum(axis=0, dtype=np.float64)).ravel()
    typical = _mean([j.share(np.arange(n)) for j in judged])[0]
    scale = 1.0 if halves.whole else 0.5
    impure = max(most - typical, 0.0) + 2.0 * error
    return Purest(scale * total, float(size), share, sigma, typical, impure)


def _sparser(inside: np.ndarray) -> np.ndarray:
    """Keep every so many pixels of a region."""
    step = -(-int(np.count_nonzero(inside)) // MOST_PIXELS)
    out = np.zeros(inside.size, bool)
    out[np.flatnonzero(inside.ravel())[::step]] = True
    return out.reshape(inside.shape)


def _within(values: np.ndarray, inside: np.ndarray, sigma: float) -> np.ndarray:
    """Smoothed over the region alone; (pixels of the region,)."""
    image = np.zeros(inside.shape)
    image[inside] = values
    return np.asarray(gaussian_filter(image, sigma, mode="constant")[inside])


@dataclass(frozen=True, eq=False)
class _Halves:
    """The counts of a region's pixels, each count in one of two parts by chance.

    Fractions can't be parted: both parts are then all of them, and ``whole`` is False.
    """

    inside: np.ndarray
    counts: tuple[sp.csr_array, sp.csr_array]
    whole: bool

    @classmethod
    def of(cls, counts: sp.csr_array, inside: np.ndarray, random_state: int = 0) -> _Halves:
        if np.count_nonzero(inside) > MOST_PIXELS:
            inside = _sparser(inside)
        rows = sp.csr_array(counts[np.flatnonzero(inside.ravel())])
        rng = np.random.default_rng(random_state)
        whole = rows.dtype.kind != "f" or np.array_equal(rows.data, np.rint(rows.data))
        return cls(inside, split_counts(rows, 0.5, rng) if whole else (rows, rows), whole)


class _Shares:
    """Shares of a phase in pixels, by one half of the counts."""

    def __init__(self, half: sp.csr_array, spectra: np.ndarray, own: tuple[int, ...]) -> None:
        self._weights = share_weights(half, spectra)[list(own)].sum(axis=0)
        self._level = np.asarray(half.sum(axis=1, dtype=np.float64)).ravel()

    def order(self, inside: np.ndarray) -> np.ndarray:
        """Rows of the region, the largest share first."""
        weights, level = self._weights, self._level
        typical = max(float(level.mean()), 1e-9)
        noise = np.std(weights - weights.mean() * level / typical) / typical
        sigma = float(np.clip(noise / _NOISE / np.sqrt(4 * np.pi), 0.0, _WIDEST))
        if sigma > 0.4:
            weights, level = (_within(v, inside, sigma) for v in (weights, level))
        share = weights / np.maximum(level, 1e-9)
        # What has hardly any counts has no share.
        share[level < 0.1 * typical] = -np.inf
        return np.argsort(-share, kind="stable")

    def share(self, rows: np.ndarray) -> tuple[float, float, float]:
        """Mean share, its standard deviation, counts."""
        held = float(self._level[rows].sum())
        if held <= 0:
            return 0.0, np.inf, 0.0
        share = float(self._weights[rows].sum()) / held
        off = self._weights[rows] - share * self._level[rows]
        return share, float(np.sqrt((off**2).sum())) / held, held


def _mean(found: list[tuple[float, float, float]]) -> tuple[float, float, float]:
    shares, sigmas, held = (np.array(v) for v in zip(*found, strict=True))
    return float(shares.mean()), float(np.sqrt((sigmas**2).mean() / len(sigmas))), float(held.sum())


def class_spectra(counts: sp.csr_array, labels: np.ndarray, k: int) -> np.ndarray:
    """Mean spectrum of each class, summing to one; (k, m)."""
    out = np.array([sum_of(counts, labels == c) for c in range(k)])
    out = out + 1e-6 * out.sum(axis=0) + 1e-12
    return np.asarray(out / out.sum(axis=1, keepdims=True))


def purest_spectra(counts: sp.csr_array, labels: np.ndarray, k: int) -> np.ndarray:
    """Spectrum of the purest pixels of each class, summing to one; (k, m)."""
    means = class_spectra(counts, labels, k)
    out = np.array(means)
    for c in range(k):
        found = purest(counts, labels == c, means, c).spectrum
        if found.sum() > 0:
            out[c] = found / found.sum()
    return out


def sum_of(counts: sp.csr_array, inside: np.ndarray) -> np.ndarray:
    """Sum the counts of the pixels of a mask (ny, nx); float64 (m,)."""
    return rows_of(counts).sum_of_rows(np.flatnonzero(inside.ravel()))


def spectra_inside(
    counts: sp.csr_array, insides: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum the purest pixels of each phase.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (ny * nx, m)
        Or `siftem.large.rows_of_counts.BlockedCounts`. Of large maps all pixels inside are
        summed.
    insides : sequence of ndarray of bool, shape (ny, nx)
        Pixels of each phase.

    Returns
    -------
    spectra : ndarray of shape (k, m)
        Counts.
    counts, pixels : ndarray of shape (k,)
    """
    sums = np.array([sum_of(counts, inside) for inside in insides])
    pixels = np.array([float(max(inside.sum(), 1)) for inside in insides])
    if insides[0].size <= MOST_PIXELS:
        spectra = sums + 1e-6 * sums.sum(axis=0) + 1e-12
        halves = {
            c: _Halves.of(counts, inside)
            for c, inside in enumerate(insides)
            if inside.sum() >= FEWEST_PIXELS
        }
        for _ in range(2):  # the first purest spectra are the better measure of purity
            spectra = spectra / spectra.sum(axis=1, keepdims=True)
            for c, parts in halves.items():
                one = _purest(parts, spectra, (c,), by_noise=True)
                if one.spectrum.sum() > 0:
                    sums[c], pixels[c] = one.spectrum, one.pixels
            spectra = sums + 1e-6 * sums.sum(axis=0) + 1e-12
    return sums, sums.sum(axis=1), pixels


#: A share that grows by more over the last pixel on the way to the middle of a phase, which has so
#: many pixels, has not levelled off.
_RISES, _MIDDLE = 0.03, 12


def most_from_around(counts: sp.csr_array, away: np.ndarray, spectra: np.ndarray) -> float:
    """Largest share of other phases in a narrow phase, from how its own grows up to its middle.

    All, where it surely grows: a probe's tails meet there. What falls off from a border has fallen
    by half, or more, over the last pixel, so the outer one of the last two rings holds no more than
    twice what the share may have grown by, with two errors.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (ny * nx, m)
        Or `siftem.large.rows_of_counts.BlockedCounts`.
    away : ndarray of float64, shape (ny, nx)
        Distance of the phase's pixels to its border; 0 outside.
    spectra : ndarray of shape (k, m)
        Of the phase, then of those around it, each summing to one.

    Returns
    -------
    float
        From 0 to 1; 0 as well for a phase of one ring.
    """
    deepest = int(np.ceil(away.max()))
    while deepest > 1 and (away > deepest - 1).sum() < _MIDDLE:
        deepest -= 1
    if deepest < 2:
        return 0.0
    means = []
    for ring in ((away > deepest - 2) & (away <= deepest - 1), away > deepest - 1):
        rows = sp.csr_array(counts[np.flatnonzero(ring.ravel())])
        weights = share_weights(rows, spectra)[0]
        total = np.asarray(rows.sum(axis=1, dtype=np.float64)).ravel()
        held = max(float(total.sum()), 1e-9)
        share = float(weights.sum()) / held
        means.append((share, float(np.sqrt(((weights - share * total) ** 2).sum())) / held))
    (outer, first), (inner, second) = means
    grown, errors = inner - outer, 2.0 * float(np.hypot(first, second))
    return 1.0 if grown > _RISES + errors else min(2.0 * (max(grown, 0.0) + errors), 1.0)


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
