"""The alternating solver: weights of all pixels, then spectra, until nothing moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siftem.decompose.blockwise import BlockedRows, BlockWeights
from siftem.decompose.channel_kernels import step_channels
from siftem.decompose.count_sums import column_sums
from siftem.decompose.known_parts import KnownParts, fit_amplitudes, step_amplitudes
from siftem.decompose.penalties import SpectraPenalty, WeightPenalty
from siftem.decompose.row_blocks import CountRows
from siftem.decompose.sweep_state import Checkpoint, Pace, SweepState, fit_key
from siftem.progress import Progress, silent

#: Extrapolation (Ang & Gillis 2019): first weight, growth after a gain, cut after a loss.
_EXTRAPOLATION = (0.7, 1.1, 0.5)
#: Extrapolated spectra keep this share at least: an exact zero could leave counts unexplained.
_LEAST_LEFT = 0.1


@dataclass(frozen=True, eq=False)
class Solution:
    """What the solver found.

    ``objective`` is ``sum(mean) - sum(y ln mean)`` plus the penalties, ``deviance`` twice the
    Kullback-Leibler divergence, without penalties. ``history`` holds the objective of each
    sweep. ``kkt`` is the larger of the root mean squares of ``min(w / mean(w), gradient /
    sum)`` over the two factors, and zero exactly at a stationary point. ``last_gain`` is the
    relative decrease of the last sweep, in deviances.
    """

    weights: np.ndarray
    spectra: np.ndarray
    amplitudes: np.ndarray | None
    n_sweeps: int
    converged: bool
    objective: float
    deviance: float
    kkt: float
    last_gain: float
    history: np.ndarray


def even_weights(counts: CountRows, k: int, dtype: np.dtype) -> np.ndarray:
    """Share the counts of each row equally among the components; (n, k)."""
    return counts.even_weights(k, dtype)


def poisson_objective(counts: CountRows, weights: np.ndarray, spectra: np.ndarray) -> float:
    """Return ``sum(mean) - sum(y ln mean)`` for ``weights`` (n, k) and ``spectra`` (k, m)."""
    found, _ = counts.improve(spectra, weights, n_passes=0, gather=False)
    return _expected_total(weights, spectra) - found


def solve_weights(
    counts: CountRows,
    spectra: np.ndarray,
    weights: np.ndarray,
    *,
    free: np.ndarray | None = None,
    n_passes: int = 200,
    tol: float = 1e-10,
) -> None:
    """Find the maximum-likelihood ``weights`` (n, k), in place, for fixed ``spectra`` (k, m)."""
    with counts.threads():
        counts.improve(spectra, weights, free=free, n_passes=n_passes, tol=tol, gather=False)


def stationarity(
    counts: CountRows,
    weights: np.ndarray,
    spectra: np.ndarray,
    *,
    known: KnownParts | None = None,
    amplitudes: np.ndarray | None = None,
    weight_penalties: Sequence[WeightPenalty] = (),
    spectra_penalties: Sequence[SpectraPenalty] = (),
) -> float:
    """Root mean square of ``min(w / mean(w), gradient / sum)``: the larger of both factors."""
    known = known or KnownParts()
    k = spectra.shape[0]
    _, statistics = counts.improve(spectra, weights, n_passes=0)
    extra = sum((p.gradient(spectra) for p in spectra_penalties), np.zeros(spectra.shape))
    sums = _sums(weights)
    if weight_penalties or spectra_penalties:
        sums = _sums_at_fixed_scale(statistics, extra, spectra)
    by_spectrum = sums[:, None] + extra - statistics[:k]
    free = np.broadcast_to(known.free_spectra(k).astype(bool), spectra.shape)
    values, scale = spectra, _sums(weights)[:, None]
    if known.basis is not None and amplitudes is not None:
        by_spectrum, values = by_spectrum @ known.basis, amplitudes
        scale = scale * known.basis.sum(axis=0)
        free = _free_amplitudes(known, amplitudes.shape)
    of_spectra = _residual(values, by_spectrum, scale, free)
    if isinstance(counts, BlockedRows):
        return max(counts.weight_residual(spectra, weights), of_spectra)
    by_weight = counts.weight_gradients(spectra, weights)
    for penalty in weight_penalties:
        by_weight = by_weight + penalty.gradient(weights)
    support = np.ones(weights.shape, bool) if known.support is None else known.support
    of_weights = _residual(weights.T, by_weight.T, spectra.sum(axis=1)[:, None], support.T)
    return max(of_weights, of_spectra)


def _residual(
    values: np.ndarray, gradient: np.ndarray, scale: np.ndarray, free: np.ndarray
) -> float:
    level = values.mean(axis=1, dtype=np.float64, keepdims=True)
    used = np.broadcast_to((level > 0) & (scale > 0), values.shape) & free
    if not used.any():
        return 0.0
    residual = np.minimum(
        values / np.where(level > 0, level, 1), gradient / np.where(scale > 0, scale, 1)
    )
    return float(np.sqrt((residual[used] ** 2).mean()))


def alternate(
    counts: CountRows,
    weights: np.ndarray,
    spectra: np.ndarray,
    *,
    known: KnownParts | None = None,
    weight_penalties: Sequence[WeightPenalty] = (),
    spectra_penalties: Sequence[SpectraPenalty] = (),
    max_sweeps: int = 500,
    tol: float = 1e-6,
    n_passes: int = 1,
    extrapolate: bool = True,
    progress: Progress = silent,
    step: str = "decompose",
    checkpoint: Checkpoint | None = None,
) -> Solution:
    """Minimise the Poisson objective, plus penalties, over both factors.

    A sweep takes Newton steps on every pixel's weights, gathers on the way the gradient and
    curvature of every channel, and takes one Newton step on the spectra. With a basis, that
    step is taken on its amplitudes.

    Parameters
    ----------
    counts : CountRows
        (n, m).
    weights : ndarray of shape (n, k)
        Start; not changed.
    spectra : ndarray of shape (k, m)
        Start; not changed.
    known : KnownParts, optional
    weight_penalties, spectra_penalties : sequence of penalties
    max_sweeps : int
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
    k, dtype = spectra.shape[0], spectra.dtype
    free, basis = known.free_spectra(k), known.basis
    penalised = bool(weight_penalties or spectra_penalties)
    w, point = _start(weights, spectra, known, fixed_scale=penalised)
    free_amplitudes = None if basis is None else _free_amplitudes(known, point.shape)
    at, ahead, best = point, point, None
    first_beta, grow, cut = _EXTRAPOLATION
    pace = Pace(first_beta)
    history: list[float] = []
    converged = False
    kept = None if checkpoint is None else checkpoint.load(key, w)
    if kept is not None:
        at, ahead, best, w, history = kept.at, kept.ahead, kept.best, kept.weights, kept.history
        pace = Pace.of(kept.numbers)
    with counts.threads():
        for _ in range(2 * max_sweeps):
            if len(history) >= max_sweeps:
                break
            if checkpoint is not None and checkpoint.due():
                checkpoint.keep(key, SweepState(at, ahead, best, w, history, pace.numbers()))
            trial = _as_spectra(ahead, known).astype(dtype)
            w_new = w.copy()
            linear, ridge = _sum_majorants(weight_penalties, w_new, (1, k))
            found, statistics = counts.improve(
                trial, w_new, free=known.support, linear=linear, ridge=ridge, n_passes=n_passes
            )
            sums = _sums(w_new)
            value = float(sums @ trial.sum(axis=1, dtype=np.float64)) - found
            bare = value
            value += sum(p.value(w_new) for p in weight_penalties)
            value += sum(p.value(trial) for p in spectra_penalties)
            if not pace.trusted and not value <= pace.last:
                # The run-up overshot: go on from the best point, more carefully.
                pace.beta *= cut
                ahead, pace.trusted = at, True
                continue
            if penalised and not value <= pace.last:
                # Keeping the sums of the spectra can cost more than the step gains.
                at = 0.5 * (at + (point if best is None else best[1]))
                ahead = at
                continue
            pace.gain, pace.last = pace.last - value, value
            w, best = w_new, (trial, ahead, bare)
            push, coupling = _sum_majorants(spectra_penalties, trial, (k, 1), (k, k))
            if penalised:
                sums = _sums_at_fixed_scale(statistics, push + coupling @ trial, trial)
            if basis is None or free_amplitudes is None:
                new = np.empty_like(trial)
                pace.expected = step_channels(statistics, sums, push, coupling, trial, free, new)
            else:
                new, pace.expected = step_amplitudes(
                    statistics, sums, push, coupling, basis, ahead, free_amplitudes
                )
            history.append(value)
            threshold = tol * max(bare - counts.saturated, 1e-12 * abs(counts.saturated))
            if len(history) > 1:
                pace.first_gain = max(pace.first_gain, pace.gain)
                progress(step, _log_fraction(pace.gain, pace.first_gain, threshold))
                if max(pace.gain, pace.expected) <= threshold:
                    converged = True
                    break
            if penalised:
                new = _normalised(new, basis)
            if extrapolate and len(history) > 1:
                ahead = np.maximum(new + pace.beta * (new - at), _LEAST_LEFT * new)
                pace.beta = min(pace.beta * grow, 0.99)
                pace.trusted = False
            else:
                ahead, pace.trusted = new, True
            at = new
    assert best is not None
    if checkpoint is not None:
        checkpoint.done()
    trial, point, bare = best
    return Solution(
        weights=w,
        spectra=trial,
        amplitudes=None if basis is None else point,
        n_sweeps=len(history),
        converged=converged,
        objective=pace.last,
        deviance=2 * (bare - counts.saturated),
        kkt=stationarity(
            counts,
            w,
            trial,
            known=known,
            amplitudes=None if basis is None else point,
            weight_penalties=weight_penalties,
            spectra_penalties=spectra_penalties,
        ),
        last_gain=float(pace.gain / max(bare - counts.saturated, 1e-300)),
        history=np.array(history),
    )


def _start(
    weights: np.ndarray, spectra: np.ndarray, known: KnownParts, *, fixed_scale: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights, and spectra or amplitudes of a basis, that hold what is known.

    With ``fixed_scale`` the spectra sum to one: penalties could be dodged by scaling.
    """
    w = weights.copy()
    if known.support is not None:
        w[~known.support] = 0
    point = _with_fixed(spectra.copy(), known)
    if known.basis is not None:
        free = _free_amplitudes(known, (len(point), known.basis.shape[1]))
        point = fit_amplitudes(known.basis, point.astype(np.float64), free)
    if fixed_scale:
        w *= _as_spectra(point, known).sum(axis=1)
        point = _normalised(point, known.basis)
    return w, point


def _sums(weights: np.ndarray) -> np.ndarray:
    if isinstance(weights, BlockWeights):
        return weights.sum()
    return column_sums(weights)


def _expected_total(weights: np.ndarray, spectra: np.ndarray) -> float:
    sums = _sums(weights)
    return float(sums @ spectra.sum(axis=1, dtype=np.float64))


def _sums_at_fixed_scale(
    statistics: np.ndarray, penalty_gradient: np.ndarray, spectra: np.ndarray
) -> np.ndarray:
    """Sums of the weights (k,), plus the multipliers that keep the sums of the spectra.

    A penalty could be dodged by scaling the weights down and the spectra up, or the other way
    round. At the optimum under fixed sums the gradient of a component, multiplied by its
    spectrum, adds up to zero: that gives the multiplier.
    """
    held = (spectra * (statistics[: len(spectra)] - penalty_gradient)).sum(axis=1)
    total = spectra.sum(axis=1, dtype=np.float64)
    return np.divide(held, total, out=np.zeros_like(total), where=total > 0)


def _normalised(point: np.ndarray, basis: np.ndarray | None) -> np.ndarray:
    """Scale spectra (k, m), or amplitudes (k, p) of a basis, so that the spectra sum to one."""
    total = point.sum(axis=1) if basis is None else point @ basis.sum(axis=0)
    return point / np.where(total > 0, total, 1.0)[:, None]


def _as_spectra(point: np.ndarray, known: KnownParts) -> np.ndarray:
    return point if known.basis is None else _with_fixed(point @ known.basis.T, known)


def _with_fixed(spectra: np.ndarray, known: KnownParts) -> np.ndarray:
    for c, values in (known.fixed or {}).items():
        spectra[c] = values
    return spectra


def _free_amplitudes(known: KnownParts, shape: tuple[int, int]) -> np.ndarray:
    free = np.ones(shape, bool) if known.basis_support is None else known.basis_support.copy()
    for c in known.fixed or {}:
        free[c] = False
    return free


def _sum_majorants(
    penalties: Sequence[WeightPenalty] | Sequence[SpectraPenalty],
    at: np.ndarray,
    linear_shape: tuple[int, int],
    quadratic_shape: tuple[int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    linear = np.zeros(linear_shape)
    quadratic = np.zeros(quadratic_shape or linear_shape)
    for penalty in penalties:
        more, bend = penalty.majorant(at)
        linear = linear + more
        quadratic = quadratic + bend
    return linear, quadratic


def _log_fraction(gain: float, first: float, threshold: float) -> float:
    """How far the gain a sweep has come down from its first value to the threshold, in logs."""
    if threshold <= 0 or first <= threshold or gain <= threshold:
        return 1.0
    return float(np.clip(np.log(first / gain) / np.log(first / threshold), 0, 1))
