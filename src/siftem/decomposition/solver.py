"""The alternating solver: weights of all pixels, then spectra, until nothing moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

import numpy as np

from siftem.decomposition.nonnegative_quadratic import step_channels
from siftem.decomposition.solver_rows import SolverRows, W, residual
from siftem.decomposition.sweep_state import Checkpoint, KnownParts, Pace, SweepState, fit_key
from siftem.progress import Progress, silent

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
    step: str = "decompose",
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
    step : str
        Name of the step for ``progress``.
    checkpoint : Checkpoint, optional
        Keeps the state now and then; a fit that was killed goes on from there and gives the
        same answer.

    Returns
    -------
    Solution
    """
    if checkpoint is not None:
        # First of all: these are the parameters, each of them, and nothing else yet.
        given = {n: v for n, v in locals().items() if n not in ("progress", "step", "checkpoint")}
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
                progress(step, _log_fraction(pace.gain, pace.first_gain, threshold))
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
