"""The alternating solver: rows, then columns, until nothing moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from siftem.decompose import kernels
from siftem.progress import Progress, silent

#: Extrapolation (Ang & Gillis 2019): first weight, growth after a gain, cut after a loss.
_EXTRAPOLATION = (0.5, 1.05, 0.5)


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts stored by rows and by columns, so that both sides are row problems."""

    by_row: sp.csr_array
    by_column: sp.csr_array

    @classmethod
    def of(cls, x: sp.csr_array, dtype: np.dtype) -> Counts:
        """Store ``x`` (n, m) both ways with values of ``dtype``."""
        x = sp.csr_array(x, dtype=dtype)
        x.sum_duplicates()
        if (x.data == 0).any():
            x.eliminate_zeros()
        return cls(x, x.T.tocsr())


@dataclass(frozen=True, eq=False)
class Solution:
    """What the solver found.

    ``objective`` is ``sum(mean) - sum(y ln mean)``, ``deviance`` twice the distance of that
    to its value when every mean equals its count. ``history`` holds the objective of each
    sweep. ``kkt`` is the root mean square of ``min(w / mean(w), gradient / scale)`` over both
    factors: zero exactly at a stationary point.
    """

    weights: np.ndarray
    spectra: np.ndarray
    n_sweeps: int
    converged: bool
    objective: float
    deviance: float
    kkt: float
    history: np.ndarray


def saturated_objective(x: sp.csr_array) -> float:
    """Objective when every mean equals its count: ``sum(y - y ln y)``."""
    y = x.data[x.data > 0].astype(np.float64)
    return float((y - y * np.log(y)).sum())


def objective(counts: Counts, weights: np.ndarray, spectra: np.ndarray) -> float:
    """Poisson objective ``sum(mean) - sum(y ln mean)`` without its constant.

    Parameters
    ----------
    counts : Counts
    weights : ndarray of shape (n, k)
    spectra : ndarray of shape (m, k)
    """
    x = counts.by_row
    total = weights.sum(axis=0, dtype=np.float64) @ spectra.sum(axis=0, dtype=np.float64)
    rows = kernels.row_log_likelihoods(x.indptr, x.indices, x.data, spectra, weights)
    return float(total - rows.sum())


def solve_side(
    x: sp.csr_array,
    factor: np.ndarray,
    weights: np.ndarray,
    *,
    free: np.ndarray | None = None,
    n_passes: int = 3,
) -> None:
    """Improve ``weights`` (n, k) in place for the fixed ``factor`` (m, k) and ``x`` (n, m).

    ``free`` (k,) or (n, k) is True where a weight may change.
    """
    k = factor.shape[1]
    mask = np.ones((1, k), np.uint8) if free is None else np.atleast_2d(free).astype(np.uint8)
    sums = factor.sum(axis=0, dtype=np.float64)
    kernels.solve_rows(x.indptr, x.indices, x.data, factor, sums, weights, mask, n_passes)


def stationarity(
    counts: Counts,
    weights: np.ndarray,
    spectra: np.ndarray,
    free_weights: np.ndarray | None = None,
    free_spectra: np.ndarray | None = None,
) -> float:
    """Root mean square of ``min(w / mean(w), gradient / scale)`` over the free coordinates."""
    worst = 0.0
    for x, factor, w, free in (
        (counts.by_row, spectra, weights, free_weights),
        (counts.by_column, weights, spectra, free_spectra),
    ):
        sums = factor.sum(axis=0, dtype=np.float64)
        gradient = kernels.row_gradients(x.indptr, x.indices, x.data, factor, sums, w)
        level = w.mean(axis=0, dtype=np.float64)
        used = (sums > 0) & (level > 0)
        if not used.any():
            continue
        residual = np.minimum(w[:, used] / level[used], gradient[:, used] / sums[used])
        if free is not None:
            mask = np.broadcast_to(np.atleast_2d(free), w.shape)[:, used]
            residual = residual[mask]
        if residual.size:
            worst = max(worst, float(np.sqrt((residual**2).mean())))
    return worst


def alternate(
    counts: Counts,
    weights: np.ndarray,
    spectra: np.ndarray,
    *,
    free_weights: np.ndarray | None = None,
    free_spectra: np.ndarray | None = None,
    max_sweeps: int = 500,
    tol: float = 1e-7,
    n_passes: int = 3,
    extrapolate: bool = True,
    progress: Progress = silent,
    step: str = "decompose",
) -> Solution:
    """Minimise the Poisson objective over both factors.

    Parameters
    ----------
    counts : Counts
        (n, m).
    weights : ndarray of shape (n, k)
        Start; not changed.
    spectra : ndarray of shape (m, k)
        Start; not changed.
    free_weights : ndarray of bool, shape (k,) or (n, k), optional
        Where weights may change.
    free_spectra : ndarray of bool, shape (k,) or (m, k), optional
        Where spectra may change.
    max_sweeps : int
        Sweeps (rows then columns) at the most.
    tol : float
        Stop when a sweep lowers the objective by less than ``tol`` times the deviance.
    n_passes : int
        Coordinate passes on each row in a sweep.
    extrapolate : bool
        Run ahead along the last change (Ang & Gillis 2019), taken back when it does not pay.
        Without it the objective falls with every sweep.
    progress : Progress
        Called each sweep.
    step : str
        Name of the step for ``progress``.

    Returns
    -------
    Solution
    """
    w, h = weights.copy(), spectra.copy()
    w_ahead, h_ahead = w, h
    floor = saturated_objective(counts.by_row)
    last = objective(counts, w, h)
    history: list[float] = []
    beta, grow, cut = _EXTRAPOLATION
    first_gain = 0.0
    converged = False
    for sweep in range(1, max_sweeps + 1):
        w_new = w_ahead.copy()
        solve_side(counts.by_row, h_ahead, w_new, free=free_weights, n_passes=n_passes)
        w_ahead = np.maximum(w_new + beta * (w_new - w), 0) if extrapolate else w_new
        h_new = h_ahead.copy()
        solve_side(counts.by_column, w_ahead, h_new, free=free_spectra, n_passes=n_passes)
        value = objective(counts, w_new, h_new)
        if extrapolate and not value <= last:
            # The run-up overshot: forget it and go on from the best point, more carefully.
            beta *= cut
            w_ahead, h_ahead = w, h
            if beta > 1e-3:
                continue
            extrapolate = False
            continue
        h_ahead = np.maximum(h_new + beta * (h_new - h), 0) if extrapolate else h_new
        beta = min(beta * grow, 0.99)
        gain = last - value
        w, h, last = w_new, h_new, value
        history.append(value)
        threshold = tol * max(value - floor, 1e-12 * abs(floor))
        first_gain = max(first_gain, gain)
        progress(step, _log_fraction(gain, first_gain, threshold))
        if gain <= threshold:
            converged = True
            break
    return Solution(
        weights=w,
        spectra=h,
        n_sweeps=len(history),
        converged=converged,
        objective=last,
        deviance=2 * (last - floor),
        kkt=stationarity(counts, w, h, free_weights, free_spectra),
        history=np.array(history),
    )


def _log_fraction(gain: float, first: float, threshold: float) -> float:
    """How far the gain a sweep has come down from its first value to the threshold, in logs."""
    if threshold <= 0 or first <= threshold or gain <= threshold:
        return 1.0
    return float(np.clip(np.log(first / gain) / np.log(first / threshold), 0, 1))
