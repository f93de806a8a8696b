"""The alternating solver: weights of all pixels, then spectra, until nothing moves.

Where a fit stands after a sweep is kept, so that it can go on from there; parts may be held fixed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Generic, Protocol

import numpy as np
from scipy.optimize import linear_sum_assignment

from siftem import __version__
from siftem.decomposition.nonnegative_quadratic import step_channels
from siftem.decomposition.solver_rows import SolverRows, W, residual
from siftem.errors import InputError
from siftem.progress import Progress, silent


@dataclass
class Pace:
    """How a fit is going.

    Parameters
    ----------
    beta : float
        How far the spectra run ahead along their last change.
    first_gain, gain : float
        By which the objective fell at first at the most, and in the last sweep.
    expected : float
        What the next step of the spectra is to gain.
    last : float
        The objective.
    trusted : bool
        Whether the next sweep starts from a step, and not from a run ahead.
    """

    beta: float
    first_gain: float = 0.0
    gain: float = np.inf
    expected: float = np.inf
    last: float = np.inf
    trusted: bool = True

    def numbers(self) -> dict[str, float]:
        """Return them by name, as numbers."""
        return {name: float(value) for name, value in vars(self).items()}

    @classmethod
    def of(cls, numbers: Mapping[str, float]) -> Pace:
        """Return what `numbers` returned as it was."""
        rest = {name: value for name, value in numbers.items() if name != "trusted"}
        return cls(**rest, trusted=bool(numbers["trusted"]))


@dataclass(eq=False)
class SweepState:
    """State of `siftem.decomposition.solver.alternate` between two sweeps.

    ``at`` (where the last step led), ``ahead`` (from where the next sweep starts) and ``best``
    (of the lowest objective) are spectra (k, m); ``weights``, of ``best``, an array (n, k) or
    `BlockWeights`; ``history`` holds the objective of each sweep.
    """

    at: np.ndarray
    ahead: np.ndarray
    best: np.ndarray | None
    weights: Any
    history: list[float]
    pace: Pace


class Checkpoint(Protocol):
    """Keeps the state of a fit, so that a killed one goes on where it was."""

    def load(self, key: str, weights: Any) -> SweepState | None:
        """Return what was kept of the fit with this key; ``weights`` are its first ones."""

    def due(self) -> bool:
        """Whether it is time to keep the state again."""

    def keep(self, key: str, state: SweepState) -> None:
        """Keep the state; whole or not at all."""

    def done(self) -> None:
        """Forget the state: the fit has ended."""


def fit_key(given: Mapping[str, Any]) -> str:
    """Name a fit by the contents of all that it is given: its data, its start, its settings.

    Parameters
    ----------
    given : mapping
        Plain values, arrays, dataclasses of these, and objects with an ``identity``.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    TypeError
        For anything else: what the key can't tell apart must not pass unseen.
    """
    digest = hashlib.sha256(__version__.encode())
    _take_in(digest, given)
    return digest.hexdigest()


def _take_in(digest: Any, value: Any) -> None:
    digest.update(f"<{type(value).__name__}>".encode())
    if value is None or isinstance(value, (bool, int, float, str)):
        digest.update(repr(value).encode())
    elif isinstance(value, np.ndarray):
        digest.update(repr((value.dtype.str, value.shape)).encode())
        digest.update(np.ascontiguousarray(value).data)
    elif isinstance(value, Mapping):
        for name in sorted(value):
            _take_in(digest, name)
            _take_in(digest, value[name])
    elif isinstance(value, (list, tuple)):
        for part in value:
            _take_in(digest, part)
    elif isinstance(identity := getattr(value, "identity", None), str):
        digest.update(identity.encode())
    elif is_dataclass(value):
        _take_in(digest, {field.name: getattr(value, field.name) for field in fields(value)})
    else:
        raise TypeError(f"a fit can't be told from others by a {type(value).__name__}")


@dataclass(frozen=True, eq=False)
class KnownParts:
    """Restrictions of a factorisation; everything is free by default.

    Parameters
    ----------
    support : ndarray of bool, shape (n, k), optional
        Where a component may be present; its weight is zero elsewhere.
    fixed : mapping of int to ndarray of shape (m,)
        Spectra that are known, by component; used up to scale.
    """

    support: np.ndarray | None = None
    fixed: dict[int, np.ndarray] | None = None

    @classmethod
    def checked(
        cls,
        shape: tuple[int, int],
        n_components: int,
        *,
        support: np.ndarray | None,
        fixed: dict[int, np.ndarray] | None,
    ) -> KnownParts:
        """Check the parts against counts of ``shape`` (n, m) and return them as arrays."""
        n, m = shape
        k = n_components
        if support is not None:
            support = np.asarray(support, bool)
            if support.shape != (n, k):
                raise InputError(
                    f"support must have shape ({n}, {k}) for {n} pixels and {k} components, "
                    f"got {support.shape}"
                )
        parts: dict[int, np.ndarray] = {}
        for c, spectrum in (fixed or {}).items():
            values = np.asarray(spectrum, np.float64)
            if not 0 <= c < k:
                raise InputError(
                    f"fixed spectra name component {c}, but there are {k}: 0 to {k - 1}"
                )
            if values.shape != (m,) or not np.isfinite(values).all() or (values < 0).any():
                raise InputError(
                    f"the fixed spectrum of component {c} must be {m} finite, non-negative "
                    f"numbers, got shape {values.shape}"
                )
            if not values.sum() > 0:
                raise InputError(f"the fixed spectrum of component {c} is zero everywhere")
            parts[c] = values / values.sum()
        return cls(support, parts or None)

    def free_spectra(self, n_components: int) -> np.ndarray:
        """0 for components whose spectrum is fixed; uint8 (k, 1)."""
        free = np.ones((n_components, 1), np.uint8)
        for c in self.fixed or {}:
            free[c] = 0
        return free


def matched_start(
    spectra: np.ndarray,
    known: KnownParts,
    weights: np.ndarray,
) -> np.ndarray:
    """Put the spectra of a start (k, m) in the order that suits what is known of each component.

    A fixed spectrum takes the place of the one nearest to it, a support that of the one that
    lies inside it.

    Parameters
    ----------
    spectra : ndarray of shape (k, m)
        Positive, each summing to one.
    known : KnownParts
    weights : ndarray of shape (n, k)
        Weights for ``spectra``, to compare with the support.

    Returns
    -------
    ndarray of shape (k, m)
    """
    k = len(spectra)
    cost = np.zeros((k, k))
    for c, values in (known.fixed or {}).items():
        # What is fixed comes first, by a factor that no other cost outweighs.
        cost[c] += 1e3 * _divergences(spectra, np.broadcast_to(values, spectra.shape))
    if known.support is not None:
        total = np.maximum(weights.sum(axis=0), 1e-300)
        cost -= known.support.T.astype(np.float64) @ (weights / total)
    _, order = linear_sum_assignment(cost)
    return spectra[order]


def _divergences(spectra: np.ndarray, means: np.ndarray) -> np.ndarray:
    mixed = 0.99 * means + 0.01 * spectra
    return (spectra * np.log(spectra / mixed)).sum(axis=1)


#: Extrapolation (Ang & Gillis 2019): first weight, growth after a gain, cut after a loss.
_EXTRAPOLATION = (0.7, 1.1, 0.5)
#: Extrapolated spectra keep this share at least: an exact zero could leave counts unexplained.
_LEAST_LEFT = 0.1


@dataclass(frozen=True, eq=False)
class Solution(Generic[W]):
    """What the solver found.

    ``objective`` is ``sum(mean) - sum(y ln mean)``, ``deviance`` twice the Kullback-Leibler
    divergence. ``history`` holds the objective of each sweep. ``kkt`` is the larger of the
    root mean squares of ``min(w / mean(w), gradient / sum)`` over the two factors, and zero
    exactly at a stationary point. ``last_gain`` is the relative decrease of the last sweep,
    in deviances.
    """

    weights: W
    spectra: np.ndarray
    n_sweeps: int
    converged: bool
    objective: float
    deviance: float
    kkt: float
    last_gain: float
    history: np.ndarray


def even_weights(counts: SolverRows[W], k: int, dtype: np.dtype) -> W:
    """Share the counts of each row equally among the components; (n, k)."""
    return counts.even_weights(k, dtype)


def poisson_objective(counts: SolverRows[W], weights: W, spectra: np.ndarray) -> float:
    """Return ``sum(mean) - sum(y ln mean)`` for ``weights`` (n, k) and ``spectra`` (k, m)."""
    found, _ = counts.improve(spectra, weights, n_passes=0, gather=False)
    return float(counts.sums(weights) @ spectra.sum(axis=1, dtype=np.float64)) - found


def solve_weights(
    counts: SolverRows[W],
    spectra: np.ndarray,
    weights: W,
    *,
    free: np.ndarray | None = None,
    n_passes: int = 200,
    tol: float = 1e-10,
) -> None:
    """Find the maximum-likelihood ``weights`` (n, k), in place, for fixed ``spectra`` (k, m)."""
    with counts.threads():
        counts.improve(spectra, weights, free=free, n_passes=n_passes, tol=tol, gather=False)


def stationarity(
    counts: SolverRows[W],
    weights: W,
    spectra: np.ndarray,
    *,
    known: KnownParts | None = None,
) -> float:
    """Root mean square of ``min(w / mean(w), gradient / sum)``: the larger of both factors."""
    known = known or KnownParts()
    k = spectra.shape[0]
    _, statistics = counts.improve(spectra, weights, n_passes=0)
    sums = counts.sums(weights)[:, None]
    free = np.broadcast_to(known.free_spectra(k).astype(bool), spectra.shape)
    of_spectra = residual(spectra, sums - statistics[:k], sums, free)
    return max(counts.weight_residual(spectra, weights, known.support), of_spectra)


def alternate(
    counts: SolverRows[W],
    weights: W,
    spectra: np.ndarray,
    *,
    known: KnownParts | None = None,
    max_iter: int = 500,
    tol: float = 1e-6,
    n_passes: int = 1,
    extrapolate: bool = True,
    progress: Progress = silent,
    checkpoint: Checkpoint | None = None,
) -> Solution[W]:
    """Minimise the Poisson objective over both factors.

    A sweep takes Newton steps on every pixel's weights, gathers on the way the gradient and
    curvature of every channel, and takes one Newton step on the spectra.

    Parameters
    ----------
    counts : SolverRows
        (n, m).
    weights : ndarray of shape (n, k)
        Start; not changed.
    spectra : ndarray of shape (k, m)
        Start; not changed.
    known : KnownParts, optional
    max_iter : int
        Sweeps at the most.
    tol : float
        Stop when a sweep lowers the objective by less than ``tol`` times the deviance, and
        the next step of the spectra is expected to gain no more.
    n_passes : int
        Newton steps on each row in a sweep.
    extrapolate : bool
        Run the spectra ahead along their last change (Ang & Gillis 2019), taken back when
        it does not pay. Without it the objective falls with every sweep.
    progress : Progress
        Called each sweep.
    checkpoint : Checkpoint, optional
        Keeps the state now and then; a fit that was killed goes on from there and gives the
        same answer.

    Returns
    -------
    Solution
    """
    if checkpoint is not None:
        # First of all: these are the parameters, each of them, and nothing else yet.
        given = {n: v for n, v in locals().items() if n not in ("progress", "checkpoint")}
        key = fit_key(given)
    known = known or KnownParts()
    state = _start(counts, weights, spectra, known)
    if checkpoint is not None:
        state = checkpoint.load(key, state.weights) or state
    converged = False
    with counts.threads():
        for _ in range(2 * max_iter):
            if len(state.history) >= max_iter:
                break
            if checkpoint is not None and checkpoint.due():
                checkpoint.keep(key, state)
            if not _sweep(counts, state, known, n_passes=n_passes, extrapolate=extrapolate):
                continue
            pace = state.pace
            threshold = tol * max(pace.last - counts.saturated, 1e-12 * abs(counts.saturated))
            if len(state.history) > 1:
                progress("decompose", _log_fraction(pace.gain, pace.first_gain, threshold))
                if max(pace.gain, pace.expected) <= threshold:
                    converged = True
                    break
    assert state.best is not None
    if checkpoint is not None:
        checkpoint.done()
    excess = state.pace.last - counts.saturated
    return Solution(
        weights=state.weights,
        spectra=state.best,
        n_sweeps=len(state.history),
        converged=converged,
        objective=state.pace.last,
        deviance=2 * excess,
        kkt=stationarity(counts, state.weights, state.best, known=known),
        last_gain=float(state.pace.gain / max(excess, 1e-300)),
        history=np.array(state.history),
    )


def _start(counts: SolverRows[W], weights: W, spectra: np.ndarray, known: KnownParts) -> SweepState:
    """Return a state with weights and spectra that hold what is known."""
    w = counts.within(weights, known.support)
    at = spectra.copy()
    for c, values in (known.fixed or {}).items():
        at[c] = values
    return SweepState(at, at, None, w, [], Pace(_EXTRAPOLATION[0]))


def _sweep(
    counts: SolverRows[W], state: SweepState, known: KnownParts, *, n_passes: int, extrapolate: bool
) -> bool:
    """Improve both factors of ``state``; False where a run ahead did not pay and is taken back."""
    pace, spectra = state.pace, state.ahead
    _, grow, cut = _EXTRAPOLATION
    weights = state.weights.copy()
    found, statistics = counts.improve(spectra, weights, free=known.support, n_passes=n_passes)
    sums = counts.sums(weights)
    value = float(sums @ spectra.sum(axis=1, dtype=np.float64)) - found
    if not pace.trusted and not value <= pace.last:
        # The run-up overshot: go on from the best point, more carefully.
        pace.beta *= cut
        state.ahead, pace.trusted = state.at, True
        return False
    pace.gain, pace.last = pace.last - value, value
    state.weights, state.best = weights, spectra
    new = np.empty_like(spectra)
    free = known.free_spectra(len(spectra))
    pace.expected = step_channels(statistics, sums, spectra, free, new)
    state.history.append(value)
    started = len(state.history) > 1
    if started:
        pace.first_gain = max(pace.first_gain, pace.gain)
    if extrapolate and started:
        state.ahead = np.maximum(new + pace.beta * (new - state.at), _LEAST_LEFT * new)
        pace.beta = min(pace.beta * grow, 0.99)
        pace.trusted = False
    else:
        state.ahead, pace.trusted = new, True
    state.at = new
    return True


def _log_fraction(gain: float, first: float, threshold: float) -> float:
    """How far the gain a sweep has come down from its first value to the threshold, in logs."""
    if threshold <= 0 or first <= threshold or gain <= threshold:
        return 1.0
    return float(np.clip(np.log(first / gain) / np.log(first / threshold), 0, 1))
