"""How many components the counts support.

Of X-rays, by what neighbours have in common. Neighbouring pixels share their phases but not their
noise. How windows of the spectrum differ from the mean of the map, multiplied between neighbours
and summed over all pairs, is a matrix that counting noise leaves at zero: each of its eigenvalues
that stands out is one more way in which spectra differ from place to place. Mixtures of k spectra
differ in k - 1 ways. No pixel needs to tell anything alone, so that phases show at a few counts a
pixel. Of energy losses, by the deviance of counts that are held out by thinning.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter

from siftem.counting.outliers import checked_counts
from siftem.decomposition import solver
from siftem.decomposition.count_sums import share_out
from siftem.decomposition.initialise import pooled_counts, pooled_in_memory, pooled_squares
from siftem.decomposition.neighbours import ALONG, AROUND, ROWS, Near, Neighbours
from siftem.decomposition.poisson_fit import PoissonFit
from siftem.decomposition.solver_rows import solver_rows
from siftem.errors import DoubtWarning, InputError, SiftemWarning
from siftem.hyperspy_input import as_map
from siftem.machine import available, one_blas_thread
from siftem.printed_numbers import percent
from siftem.progress import Progress, shows_progress, silent
from siftem.spectrum_image import SpectrumImage
from siftem.thinning import split_counts
from siftem.views import outline

#: Windows of the spectrum, half of them of one width, the others where there are more counts, and
#: the fewest counts of one.
_WINDOWS, _COUNTS_IN_WINDOW = 80, 100.0
#: Maps of noise, and the standard deviations of their largest eigenvalues by which one
#: must exceed these.
_NOISE_MAPS, _CLEAR = 10, 5.0
#: Neighbours along layers serve where as many ways stand out this many times as far.
_MUCH_CLEARER = 1.5
#: Differences below this part (root mean square) are absorption, drift or stray counts.
_SMALL = 0.025
#: Differences below this part that follow a thickness which varies much are absorption, too:
#: the factor between the thickest and the thinnest tenth, the part that thickness explains,
#: and the pixels by which it is smoothed.
_SOFT, _THICKER, _EXPLAINED, _SMOOTH = 0.1, 2.0, 0.9, 4.0
#: Larger maps are pooled to this many pixels.
_MOST_POOLED = 30_000
#: Of which so many are summed at a time.
_ROWS = 4096


@dataclass(frozen=True)
class Kinds:
    """Ways in which the spectra of a map differ.

    Parameters
    ----------
    differences : tuple of float
        Root mean square over the map of each way, relative to the mean spectrum; falling.
    by_thickness : tuple of float
        Those left out, which follow the thickness as absorption does.
    layers : Near or None
        Neighbours along thin layers, where these tell more ways than neighbours all around.
    """

    differences: tuple[float, ...]
    by_thickness: tuple[float, ...] = ()
    layers: Near | None = None

    @property
    def n_components(self) -> int:
        """Spectra whose mixtures differ like this."""
        return 1 + len(self.differences)

    @property
    def message(self) -> str:
        """What was found, for the reader."""
        n = self.n_components
        text = f"{n} component{'s' * (n > 1)}: "
        if n == 1:
            text += "spectra of neighbours have nothing in common but their mean"
        else:
            parts = ", ".join(map(percent, self.differences))
            ways = "1 way" if n == 2 else f"{n - 1} ways"
            text += f"spectra differ from place to place in {ways}, by {parts} (rms)"
        if self.by_thickness:
            parts = ", ".join(map(percent, self.by_thickness))
            text += f"; {parts} more follow the thickness, as absorption does"
        return text


def count_kinds(si: SpectrumImage, *, random_state: int = 0) -> Kinds:
    """Count the ways in which spectra differ from place to place.

    Parameters
    ----------
    si : SpectrumImage
        Counts. Beyond 30,000 pixels neighbours are pooled.
    random_state : int
        Seed of the maps of noise.

    Returns
    -------
    Kinds

    Examples
    --------
    >>> phantom = siftem.simulate_demo((48, 48), dose=300)
    >>> kinds = siftem.count_kinds(phantom.spectrum_image.without_zero_peak())
    >>> kinds.n_components == 1 + len(kinds.differences)
    True
    """
    si = checked_counts(as_map(si))
    # The layout of each number of phases asks for them again.
    counted = _COUNTED.setdefault(si, {})
    if random_state not in counted:
        counted[random_state] = _kinds(si, random_state)
    return counted[random_state]


_COUNTED: WeakKeyDictionary[SpectrumImage, dict[int, Kinds]] = WeakKeyDictionary()


def _kinds(si: SpectrumImage, random_state: int) -> Kinds:
    counts, shape = si.counts, si.shape
    side = int(np.ceil(np.sqrt(si.n_pixels / _MOST_POOLED)))
    counts = pooled_squares(counts, shape, side)
    shape = (-(-shape[0] // side), -(-shape[1] // side))
    windows = _windows(np.asarray(counts.sum(axis=0, dtype=np.float64)).ravel())
    # Some rows at a time, and all let go: pooled pixels of a large map take hundreds of megabytes.
    some = (counts[i : i + _ROWS] for i in range(0, counts.shape[0], _ROWS))
    rows = np.concatenate([(part @ windows).toarray() for part in some])
    del counts, some
    total = rows.sum(axis=1)
    if rows.shape[1] < 2 or not total.any():
        return Kinds(())
    mean = rows.sum(axis=0) / total.sum()
    scale = np.sqrt(np.maximum(mean, 1e-300))
    off = (rows - np.outer(total, mean)) / scale
    noise = (d / scale for d in _noise(rows, mean, random_state))
    found, layers = _directions(off, noise, total, shape)
    kept: list[float] = []
    absorbed: list[float] = []
    level = gaussian_filter(total.reshape(shape), _SMOOTH)
    for size, score in zip(*found, strict=True):
        image = gaussian_filter(score.reshape(shape), _SMOOTH)
        thickness = size < _SOFT and _follows(image, level)
        (absorbed if thickness else kept).append(float(size))
    return Kinds(tuple(kept), tuple(absorbed), layers)


def _windows(whole: np.ndarray) -> sp.csr_array:
    """Matrix (channels, windows) that sums channels; no line takes most of the windows."""
    m = whole.size
    level = np.sqrt(np.maximum(whole, 0.0))
    level = np.cumsum(level + level.mean() + 1e-300)
    first = np.minimum((_WINDOWS * level / level[-1]).astype(int), _WINDOWS - 1)
    held = np.bincount(first, whole, _WINDOWS)
    into, last, sum_ = np.zeros(_WINDOWS, int), 0, 0.0
    for i in range(_WINDOWS):
        if sum_ >= _COUNTS_IN_WINDOW:
            last, sum_ = last + 1, 0.0
        into[i] = last
        sum_ += held[i]
    if sum_ < _COUNTS_IN_WINDOW and last > 0:
        into[into == last] = last - 1
    return sp.csr_array((np.ones(m), (np.arange(m), into[first])))


def _noise(rows: np.ndarray, mean: np.ndarray, random_state: int) -> Iterator[np.ndarray]:
    """Draw maps of the counts' noise alone: each count with its sign by the toss of a coin.

    They have the mean 0, and in each pixel and window the variance of the counts.
    """
    rng = np.random.default_rng(random_state)
    whole = np.rint(rows).astype(np.int64)
    for _ in range(_NOISE_MAPS):
        drawn = 2.0 * rng.binomial(whole, 0.5) - whole
        yield drawn - np.outer(drawn.sum(axis=1), mean)


def _directions(
    off: np.ndarray, noise: Iterable[np.ndarray], total: np.ndarray, shape: tuple[int, int]
) -> tuple[tuple[np.ndarray, np.ndarray], Near | None]:
    """What neighbours have in common beyond noise, and the layers along which they have most.

    Returns
    -------
    tuple
        Sizes (n,) and amounts (n, pixels); and neighbours along layers, where they show more than
        those all around do.
    """
    nears = AROUND + ROWS + ALONG

    def largest(drawn: tuple[int, np.ndarray]) -> list[float]:
        number, images = drawn
        of = Neighbours(images, shape, nears)
        # Noise has no direction: each map serves for some of the oblique ones.
        some = (*AROUND, *ROWS, *(ALONG[number % 4 + i] for i in (0, 4, 8)))
        return [float(np.linalg.eigvalsh(of.in_common(near))[-1]) for near in some]

    # As many maps at a time as are worked on: of a large map each takes 20 MB.
    n_jobs, drawn = available(), enumerate(noise)
    found: list[list[float]] = []
    while some := list(islice(drawn, n_jobs)):
        found += share_out(largest, some, n_jobs)
    by_noise = np.array(found)
    small, large = by_noise[:, :2].T
    levels = [small, large, *[by_noise[:, 2:4]] * len(ROWS), *[by_noise[:, 4:]] * len(ALONG)]
    of = Neighbours(np.column_stack([off, total]), shape, nears)
    best, best_near = _Found(np.zeros(0), np.zeros((0, len(off))), 0.0), AROUND[0]
    for near, level in zip(nears, levels, strict=True):
        ways = _beyond(of.in_common(near), off, level)
        clearer = near not in AROUND and ways.least > _MUCH_CLEARER * best.least
        if ways.sizes.size > best.sizes.size or (ways.sizes.size == best.sizes.size and clearer):
            best, best_near = ways, near
    return (best.sizes, best.amounts), None if best_near in AROUND else best_near


class _Found(NamedTuple):
    """Ways that stand out: sizes (n,), amounts (n, pixels), and how far the last one does."""

    sizes: np.ndarray
    amounts: np.ndarray
    least: float


def _beyond(products: np.ndarray, off: np.ndarray, level: np.ndarray) -> _Found:
    values, vectors = np.linalg.eigh(products[:-1, :-1])
    values, vectors = values[::-1], vectors[:, ::-1]
    sizes = np.sqrt(np.maximum(values, 0.0) / max(float(products[-1, -1]), 1e-300))
    above = (values - np.mean(level)) / np.std(level, ddof=1)
    clear = (above > _CLEAR) & (sizes > _SMALL)
    least = float(above[clear].min(initial=np.inf)) if clear.any() else 0.0
    return _Found(sizes[clear], (off @ vectors[:, clear]).T, least)


def _follows(image: np.ndarray, level: np.ndarray) -> bool:
    """Whether a difference is a function of a thickness that varies much."""
    there = level > 0.02 * level.max()
    thin, thick = np.quantile(level[there], [0.1, 0.9])
    if thick < _THICKER * thin:
        return False
    x = level[there] / level.max()
    share = image[there] / level[there]
    weight = np.sqrt(level[there])
    powers = np.stack([np.ones_like(x), x, x**2], axis=1)
    fit = np.linalg.lstsq(powers * weight[:, None], share * weight, rcond=None)[0]
    left = (weight * (share - powers @ fit)) ** 2
    whole = (weight * (share - np.average(share, weights=weight**2))) ** 2
    return bool(left.sum() < (1 - _EXPLAINED) * whole.sum())


#: Channels are summed down to about this many.
ENOUGH_BINS = 300
#: Counts of the whole map in a bin, at the least.
_COUNTS_IN_BIN = 100.0
#: Counts for each number that a component has, below which a phase may go unseen.
_FEW_COUNTS = 100.0
#: A map that is larger than memory is pooled to this many pixels at the most.
_MOST_OF_BLOCKS = 20_000


@dataclass(frozen=True, eq=False)
class RankChoice:
    """Held-out deviance over the number of components.

    Parameters
    ----------
    candidates : tuple of int
    deviances : ndarray of shape (folds, candidates)
        Held-out deviance of each fold.
    n_components : int
        The choice, by the one-standard-error rule.
    best : int
        Where the mean held-out deviance is lowest.
    sure : bool
        False when the data can hardly tell the choice from its neighbours.
    message : str
        What was chosen and why, for the reader.
    """

    __repr__ = outline

    candidates: tuple[int, ...]
    deviances: np.ndarray
    n_components: int
    best: int
    sure: bool
    message: str

    @property
    def excess(self) -> np.ndarray:
        """Mean held-out deviance above that of the best candidate; (candidates,)."""
        mean = self.deviances.mean(axis=0)
        return mean - mean.min()

    @property
    def standard_error(self) -> np.ndarray:
        """Standard error of `excess`, from the differences within each fold; (candidates,)."""
        mean = self.deviances.mean(axis=0)
        difference = self.deviances - self.deviances[:, [int(mean.argmin())]]
        return difference.std(axis=0, ddof=1) / np.sqrt(len(self.deviances))


@shows_progress
@one_blas_thread()
def choose_n_components(
    si: SpectrumImage,
    candidates: Iterable[int] = range(1, 8),
    *,
    folds: int = 5,
    test_share: float = 0.2,
    random_state: int = 0,
    n_jobs: int | None = None,
    keep_zero_peak: bool = False,
    progress: Progress = silent,
) -> RankChoice:
    """Choose the number of components by count thinning.

    Every count goes to the test set with probability ``test_share``, else to the training
    set. Thinned Poisson counts are independent, with the same mean up to the share: the
    deviance of the test set from a model fitted to the training set is an honest judge
    (Dharamshi et al. 2024, arXiv 2301.07276). Both factors come from the training set.
    Neighbouring pixels are pooled first to about 1500 counts, and channels to at most some
    300 bins of 100 counts or more: a component that has fewer numbers to learn overfits
    less. Among the candidates within one standard error of the best, the smallest is chosen.

    Parameters
    ----------
    si : SpectrumImage
        The counts; or a HyperSpy signal of them. What stands far out of an X-ray map is left
        out, as by `siftem.decompose`.
    candidates : iterable of int
        Numbers to compare.
    folds : int
        Independent thinnings, 2 or more.
    test_share : float
        Between 0 and 1.
    random_state : int
        Seed.
    n_jobs : int, optional
        Threads.
    keep_zero_peak : bool
        Do not crop the zero peak of an X-ray map.
    progress : Progress
        Called as ``progress("choose", fraction)``.

    Returns
    -------
    RankChoice
        Its ``candidates``, ``excess`` and ``standard_error`` are what a figure draws.

    Warns
    -----
    SiftemWarning
        When the best candidate is the largest one, or the data can hardly tell.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> choice = siftem.choose_n_components(si, range(1, 4), folds=2)
    >>> choice.candidates
    (1, 2, 3)
    >>> choice.n_components in choice.candidates
    True
    """
    si = as_map(si)
    if not keep_zero_peak:
        si = si.without_zero_peak()
    si = checked_counts(si)
    ranks = tuple(sorted({int(k) for k in candidates}))
    if not ranks or ranks[0] < 1 or ranks[-1] > min(si.n_pixels, si.n_channels):
        raise InputError(
            f"candidates must be numbers of components from 1 to "
            f"{min(si.n_pixels, si.n_channels)}, got {ranks}"
        )
    if folds < 2 or not 0 < test_share < 1:
        raise InputError(
            f"folds must be at least 2 and test_share between 0 and 1, got {folds}, {test_share}"
        )
    counts, shape = si.counts, si.shape
    if not counts.nnz:
        raise InputError("the map holds no counts: there is nothing to choose from")
    if si.on_disk:
        side = int(np.ceil(np.sqrt(si.n_pixels / _MOST_OF_BLOCKS)))
        counts = pooled_in_memory(counts, shape, side)
        shape = (-(-shape[0] // side), -(-shape[1] // side))
    pooled, shape = pooled_counts(counts, shape, ranks[-1])
    pooled = _binned(pooled)
    rng = np.random.default_rng(random_state)
    deviances = np.empty((folds, len(ranks)))
    for fold in range(folds):
        test, train = split_counts(pooled.astype(np.float64), test_share, rng)
        rows = solver_rows(test, n_jobs=n_jobs)
        for column, k in enumerate(ranks):
            model = PoissonFit(
                k, map_shape=shape, tol=1e-5, random_state=random_state, n_jobs=n_jobs
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SiftemWarning)
                weights = model.fit_weights(train)
            # A channel that no training count fell into would forbid every test count there.
            spectra = model.components_ + 1e-3 / model.components_.shape[1]
            spectra /= spectra.sum(axis=1, keepdims=True)
            weights = np.maximum(weights, 1e-9) * (test_share / (1 - test_share))
            deviances[fold, column] = 2 * (
                solver.poisson_objective(rows, weights, spectra) - rows.saturated
            )
            progress("choose", (fold * len(ranks) + column + 1) / (folds * len(ranks)))
    # What one more component would have to learn: its map and its spectrum.
    return _chosen(ranks, deviances, float(pooled.sum()) / sum(pooled.shape))


def _binned(x: sp.csr_array) -> sp.csr_array:
    """Sum neighbouring channels where there are many, and where they hold hardly anything.

    Lines are wider than a channel; and each number of a spectrum has to be learned from counts.
    """
    m = x.shape[1]
    width = max(m // ENOUGH_BINS, 1)
    total = np.asarray(x.sum(axis=0, dtype=np.float64)).ravel()
    into, held, last = np.zeros(m, np.int64), 0.0, 0
    for first in range(0, m, width):
        if held >= _COUNTS_IN_BIN:
            held, last = 0.0, last + 1
        into[first : first + width] = last
        held += total[first : first + width].sum()
    if last == m - 1:
        return x
    return sp.csr_array(x @ sp.csr_array((np.ones(m), (np.arange(m), into))))


def _chosen(ranks: tuple[int, ...], deviances: np.ndarray, richness: float) -> RankChoice:
    draft = RankChoice(ranks, deviances, ranks[0], ranks[0], True, "")
    excess, error = draft.excess, draft.standard_error
    best = int(excess.argmin())
    within = np.flatnonzero(excess <= error)
    chosen = int(within[0])
    reasons = []
    if best == len(ranks) - 1 and len(ranks) > 1:
        reasons.append(f"the held-out deviance still falls at {ranks[best]}, the largest tried")
    if chosen > 0 and excess[chosen - 1] < 3 * error[chosen - 1]:
        reasons.append(f"{ranks[chosen - 1]} predicts the held-out counts nearly as well")
    if chosen != best:
        reasons.append(f"{ranks[best]} is lowest, but by less than its standard error")
    if richness < _FEW_COUNTS and chosen < len(ranks) - 1:
        reasons.append(
            f"one more component would have {richness:.1f} counts for each number it has to "
            f"learn, so that a weak phase may go unseen"
        )
    sure = not reasons
    message = f"{ranks[chosen]} components" + ("" if sure else ": " + "; ".join(reasons))
    if not sure:
        warnings.warn(
            f"the counts hardly tell how many components there are: {message}",
            DoubtWarning,
            stacklevel=3,
        )
    return RankChoice(ranks, deviances, ranks[chosen], ranks[best], sure, message)
