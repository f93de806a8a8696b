"""How smooth labels should be, asked of counts that the labels have not seen.

The counts are split into two independent halves. One is segmented, and cut with each
smoothness; the other says how well each pixel's counts fit the class that it was given. Too
little smoothness follows the noise of the first half, too much swallows thin grains, and both
cost likelihood in the second. The truth, if there is any, is never looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from warnings import warn

import numpy as np
import scipy.sparse as sp

from siftem.errors import DoubtWarning, InputError
from siftem.machine import one_blas_thread
from siftem.old_names import takes_old_names
from siftem.progress import Progress, shows_progress, silent
from siftem.segment.graph_cut import graph_cut
from siftem.segment.images import stack_images
from siftem.spectrum_image import SpectrumImage
from siftem.thinning import split_counts, thin
from siftem.views import outline

#: Smoothnesses that are compared by default: the range of Fiji's slider.
CANDIDATES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0)

#: Each class has this many counts for each energy bin, ...
_COUNTS_IN_BIN = 50.0
#: ... and there are this many bins, at least and at most.
_BINS = (8, 300)
#: More combinations of overlapping phases than this are no classes that one could learn.
_MOST_CLASSES = 64

#: A spectrum image, or images of counts.
Counts = SpectrumImage | Mapping[str, np.ndarray] | np.ndarray
Probabilities = np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class SmoothnessChoice:
    """Held-out log-likelihood over the smoothness of labels.

    Parameters
    ----------
    candidates : tuple of float
        Smoothnesses, ascending.
    scores : ndarray of shape (halves, candidates)
        Log-likelihood (natural logarithm, up to a constant of each half) of one half of the
        counts, given the labels from the other.
    standard_error : ndarray of shape (candidates,)
        Of `loss`, by the counting noise of the judging halves; zero at the best.
    smoothness : float
        The choice: the largest within one standard error of the best.
    best : float
        Where the mean score is highest.
    sure : bool
        False when the counts can hardly tell, or the best is the largest tried.
    message : str
        What was chosen and why, for the reader.
    """

    __repr__ = outline

    candidates: tuple[float, ...]
    scores: np.ndarray
    standard_error: np.ndarray
    smoothness: float
    best: float
    sure: bool
    message: str

    @property
    def loss(self) -> np.ndarray:
        """Mean log-likelihood below that of the best candidate; (candidates,), not negative."""
        mean = self.scores.mean(axis=0)
        return mean.max() - mean


@shows_progress
@one_blas_thread()
@takes_old_names(seed="random_state")
def suggest_smoothness(
    counts: Counts,
    segment: Callable[[Any], Probabilities],
    *,
    candidates: Sequence[float] = CANDIDATES,
    splits: int = 1,
    random_state: int = 0,
    weights: np.ndarray | None = None,
    neighbourhood: int = 8,
    progress: Progress = silent,
) -> SmoothnessChoice:
    """Suggest a smoothness for `graph_cut` by count thinning.

    Every count goes to one of two halves by the toss of a coin; the halves of Poisson counts
    are independent. ``segment`` turns one half into probabilities p, which are cut with each
    candidate. With A the counts of that half in pixel i and energy bin c, B those of the
    other, L the labels of a candidate, and N the counts of each class,

        S_kc  = (sum_i p_k(i) A_ic + m s_c) / (sum_ic p_k(i) A_ic + m),
        score = sum_ic B_ic log S_L(i)c,

    s being the whole spectrum of A and m the number of bins: what the labels tell of the
    composition of each pixel, whatever its thickness. The halves then change places. Given
    A, the difference of two candidates' scores is a sum of Poisson counts times fixed
    numbers, so its variance is ``sum_ic B_ic (log S_L(i)c - log S_L'(i)c)^2``. Among the
    candidates within one standard error of the best, the smoothest is chosen.

    Half the counts are segmented, so with very few counts the suggestion is a little too
    smooth for all of them. What the counts do not show (vacuum against film of the same
    composition) has no say.

    Parameters
    ----------
    counts : SpectrumImage, mapping of str to ndarray (ny, nx), or ndarray (n, ny, nx)
        Whole counts: a spectrum image, or two images or more that share no count (maps of
        separate windows, not a map and the total).
    segment : callable
        Called with a half of ``counts`` (same type), returns its probabilities,
        (classes, ny, nx). For phases that overlap: a sequence or mapping of these, one for
        each phase; their combinations are then the classes. Everything that is learnt from
        counts (a factorisation, too) belongs inside, or the halves are not independent.
    candidates : sequence of float
        Smoothnesses to compare, two or more.
    splits : int
        How often the counts are split; each split gives two scores.
    random_state : int
        Of the splits.
    weights, neighbourhood
        As in `graph_cut`.
    progress : Progress
        Called as ``progress("smoothness", fraction)``.

    Returns
    -------
    SmoothnessChoice

    Warns
    -----
    SiftemWarning
        When the counts can hardly tell, or the best is the largest candidate.

    References
    ----------
    A. Dharamshi et al., Generalized data thinning, arXiv:2301.07276 (2023).

    Examples
    --------
    >>> import numpy as np
    >>> left = np.arange(32) < 16
    >>> means = {"Si": np.where(left, 8.0, 2.0), "Fe": np.where(left, 2.0, 8.0)}
    >>> rng = np.random.default_rng(0)
    >>> counts = {name: rng.poisson(np.tile(mean, (32, 1))) for name, mean in means.items()}
    >>> def segment(half):
    ...     present = 1 / (1 + np.exp(0.5 * (half["Si"] - half["Fe"])))
    ...     return np.stack([1 - present, present])
    >>> siftem.suggest_smoothness(counts, segment, candidates=(0.0, 1.0)).smoothness
    1.0
    """
    smoothnesses = _checked_candidates(candidates)
    if isinstance(splits, bool) or not isinstance(splits, int | np.integer) or splits < 1:
        raise InputError(f"splits must be a whole number from 1 up, got {splits!r}")
    rng = np.random.default_rng(random_state)
    shape = counts.shape if isinstance(counts, SpectrumImage) else _image_stack(counts)[1].shape[1:]
    judged: list[_Judged] = []
    steps = 2 * splits
    for _ in range(splits):
        halves = _halves(counts, rng)
        for given, judging in (halves, halves[::-1]):
            parts = _parts(segment(given.own), shape)
            labels = []
            for i, smoothness in enumerate(smoothnesses):
                cut = [
                    graph_cut(
                        p, smoothness=smoothness, weights=weights, neighbourhood=neighbourhood
                    )
                    for p in parts
                ]
                labels.append(_joint(cut, parts).ravel())
                done = len(judged) + (i + 1) / len(smoothnesses)
                progress("smoothness", done / steps)
            judged.append(_judge(given.counts, judging.counts, parts, np.array(labels)))
    scores = np.array([one.scores for one in judged])
    best = int(scores.mean(axis=0).argmax())
    # Both directions of a split count as one observation each; more splits of the same
    # counts make the mean steadier, but they are no new counts.
    variance = np.mean([one.variances(best) for one in judged], axis=0) / 2.0
    return _chosen(smoothnesses, scores, np.sqrt(variance))


@dataclass(frozen=True, eq=False)
class _Half:
    """One half of the counts, as the user gave them and as pixels x channels."""

    own: Any
    counts: sp.csr_array


@dataclass(frozen=True, eq=False)
class _Judged:
    """Scores of the candidates' labels (candidates, pixels) by counts (pixels, bins)."""

    labels: np.ndarray
    counts: sp.csr_array
    logs: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        fit = self.counts @ self.logs.T
        return np.take_along_axis(fit, self.labels.T, axis=1).sum(axis=0)

    def variances(self, best: int) -> np.ndarray:
        """Variance of each candidate's score minus the best one's; (candidates,)."""
        out = np.zeros(len(self.labels))
        n_classes = len(self.logs)
        pairs = self.labels * n_classes + self.labels[best]
        for i, row in enumerate(pairs):
            changed = np.flatnonzero(self.labels[i] != self.labels[best])
            for pair in np.unique(row[changed]):
                k, other = divmod(int(pair), n_classes)
                rows = changed[row[changed] == pair]
                squares = (self.logs[k] - self.logs[other]) ** 2
                out[i] += float((self.counts[rows] @ squares).sum())
        return out


def _judge(
    given: sp.csr_array, judging: sp.csr_array, parts: list[np.ndarray], labels: np.ndarray
) -> _Judged:
    shares = _joint_probabilities(parts)
    held = shares @ np.asarray(given.sum(axis=1, dtype=np.float64)).ravel()
    bins = _equal_bins(given, float(held[held > 0].min(initial=np.inf)))
    given, judging = sp.csr_array(given @ bins), sp.csr_array(judging @ bins)
    n_bins = bins.shape[1]
    # A bin without any count in one half may well have one in the other.
    whole = np.asarray(given.sum(axis=0, dtype=np.float64)).ravel() + 0.5
    sums = (given.T @ shares.T).T + n_bins * whole / whole.sum()
    return _Judged(labels, judging, np.log(sums / sums.sum(axis=1, keepdims=True)))


def _equal_bins(counts: sp.csr_array, fewest: float) -> sp.csr_array:
    """Return a matrix (channels, bins) that joins channels into bins of about equal counts.

    A class of few counts has a noisy spectrum, which would count against it.
    """
    m = counts.shape[1]
    spectrum = np.asarray(counts.sum(axis=0, dtype=np.float64)).ravel()
    n_bins = int(np.clip(fewest / _COUNTS_IN_BIN, *_BINS))
    if m <= n_bins or m <= _BINS[0] or not spectrum.any():
        return sp.csr_array(sp.eye_array(m))
    middle = (np.cumsum(spectrum) - spectrum / 2) / spectrum.sum()
    number = np.unique(np.minimum((middle * n_bins).astype(int), n_bins - 1), return_inverse=True)[
        1
    ]
    return sp.csr_array((np.ones(m), (np.arange(m), number)))


def _halves(counts: Counts, rng: np.random.Generator) -> tuple[_Half, _Half]:
    if isinstance(counts, SpectrumImage):
        first, second = thin(counts, random_state=rng)
        return _Half(first, first.counts), _Half(second, second.counts)
    names, stack = _image_stack(counts)
    pixels = sp.csr_array(stack.reshape(len(stack), -1).T)
    first_half, second_half = (
        _Half(_as_given(half, names, stack.shape, counts), half)
        for half in split_counts(pixels, 0.5, rng)
    )
    return first_half, second_half


def _as_given(
    pixels: sp.csr_array, names: tuple[str, ...], shape: tuple[int, ...], counts: Counts
) -> np.ndarray | dict[str, np.ndarray]:
    stack = np.ascontiguousarray(pixels.toarray().T).reshape(shape)
    return dict(zip(names, stack, strict=True)) if isinstance(counts, Mapping) else stack


def _image_stack(counts: Any) -> tuple[tuple[str, ...], np.ndarray]:
    names, stack = stack_images(counts)
    if len(stack) < 2:
        raise InputError(
            "a smoothness can't be judged by a single image of counts: give two or more, or the "
            "spectrum image"
        )
    if stack.min() < 0:
        raise InputError(f"counts must not be negative, got {stack.min():g}: give raw counts")
    if not np.array_equal(stack, np.rint(stack)):
        raise InputError("the images hold fractions, but whole counts are split: give raw counts")
    return names, stack


def _checked_candidates(candidates: Sequence[float]) -> tuple[float, ...]:
    smoothnesses = tuple(sorted({float(s) for s in candidates}))
    if len(smoothnesses) < 2 or not all(np.isfinite(s) and s >= 0 for s in smoothnesses):
        raise InputError(
            f"candidates must be two or more different numbers from 0 up, got {candidates!r}"
        )
    return smoothnesses


def _parts(probabilities: Probabilities, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return one (classes, ny, nx) array for each set of classes."""
    if isinstance(probabilities, Mapping):
        parts = [np.asarray(p) for p in probabilities.values()]
    elif isinstance(probabilities, np.ndarray):
        parts = [probabilities]
    else:
        parts = [np.asarray(p) for p in probabilities]
    for p in parts:
        if p.ndim != 3 or p.shape[1:] != tuple(shape):
            raise InputError(
                f"segment must return probabilities of shape (classes, {shape[0]}, {shape[1]}), "
                f"got {p.shape}"
            )
    n_classes = int(np.prod([len(p) for p in parts])) if parts else 0
    if not 2 <= n_classes <= _MOST_CLASSES:
        raise InputError(
            f"segment must return 2 to {_MOST_CLASSES} classes (combinations of overlapping "
            f"phases), got {n_classes}"
        )
    return parts


def _joint(labels: list[np.ndarray], parts: list[np.ndarray]) -> np.ndarray:
    """Number the combinations of labels."""
    out = np.zeros_like(labels[0])
    for one, p in zip(labels, parts, strict=True):
        out = out * len(p) + one
    return out


def _joint_probabilities(parts: list[np.ndarray]) -> np.ndarray:
    """Return the probability of each combination, in the order of _joint; (classes, pixels)."""
    out = np.ones((1, parts[0][0].size))
    for p in parts:
        flat = p.reshape(len(p), -1) / p.reshape(len(p), -1).sum(axis=0)
        out = (out[:, None] * flat[None]).reshape(-1, out.shape[1])
    return out


def _chosen(
    candidates: tuple[float, ...], scores: np.ndarray, standard_error: np.ndarray
) -> SmoothnessChoice:
    mean = scores.mean(axis=0)
    loss = mean.max() - mean
    best = int(loss.argmin())
    chosen = int(np.flatnonzero(loss <= standard_error)[-1])
    reasons = []
    if best == len(candidates) - 1:
        reasons.append(f"the counts would have it smoother than {candidates[-1]:g}, the most tried")
    if chosen == len(candidates) - 1 and loss[0] <= 2 * standard_error[0]:
        reasons.append("all smoothnesses explain the other half of the counts about equally well")
    sure = not reasons
    message = f"smoothness {candidates[chosen]:g}"
    if chosen != best:
        message += f" (highest at {candidates[best]:g}, but by less than its standard error)"
    if not sure:
        message += ": " + "; ".join(reasons)
        warn(
            f"the counts hardly tell how smooth the labels are: {message}",
            DoubtWarning,
            stacklevel=3,
        )
    return SmoothnessChoice(
        candidates, scores, standard_error, candidates[chosen], candidates[best], sure, message
    )
