"""How many components the counts support: held-out deviance by thinning."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from siftem.blas_threads import one_blas_thread
from siftem.counting.outliers import checked_counts
from siftem.decomposition import solver
from siftem.decomposition.initialise import pooled_counts
from siftem.decomposition.poisson_fit import PoissonFit
from siftem.decomposition.pooled_blocks import pooled_in_memory
from siftem.decomposition.solver_rows import solver_rows
from siftem.errors import DoubtWarning, InputError, SiftemWarning
from siftem.hyperspy_input import as_map
from siftem.progress import Progress, shows_progress, silent
from siftem.spectrum_image import SpectrumImage
from siftem.thinning import split_counts
from siftem.views import outline

#: Channels are summed down to about this many.
ENOUGH_BINS = 300
#: Counts of the whole map in a bin, at the least.
_COUNTS_IN_BIN = 100.0
#: Counts for each number that a component has, below which a phase may go unseen.
_FEW_COUNTS = 100.0
#: A map that is larger than memory is pooled to this many pixels at the most.
_MOST_PIXELS = 20_000


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
        side = int(np.ceil(np.sqrt(si.n_pixels / _MOST_PIXELS)))
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
