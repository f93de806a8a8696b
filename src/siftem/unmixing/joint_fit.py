"""Newton's method for the spectra of all phases, abundances profiled out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls

from siftem.progress import Progress
from siftem.unmixing.pixel_sets import PixelSets
from siftem.unmixing.profile import profile_information, share_groups

#: A condition without an uncertainty holds to this share of what it sums up.
_EXACT = 1e-5
#: The fit has converged when twice the log likelihood gains less.
_GAIN = 0.01


@dataclass(frozen=True, eq=False)
class PhaseCondition:
    """A linear condition on the coefficients of one phase.

    Parameters
    ----------
    phase : int
    row : ndarray of shape (q,)
        ``row . theta = 0``.
    change : ndarray of shape (q,)
        Change of the row with one standard deviation of what is assumed.
    """

    phase: int
    row: np.ndarray
    change: np.ndarray


@dataclass(frozen=True, eq=False)
class JointFit:
    """Result of :func:`maximise`.

    Parameters
    ----------
    coefficients : ndarray of shape (k, q)
    spectra : ndarray of shape (channels, k)
        Each sums to one.
    maps : ndarray of shape (pixels, k)
    covariance : ndarray of shape (k q, k q)
    unbounded : ndarray of shape (k, q)
        Coefficients as one more step would leave them if they could be negative.
    deviance : float
        Minus twice the log likelihood, up to a constant.
    n_iter : int
    converged : bool
    """

    coefficients: np.ndarray
    spectra: np.ndarray
    maps: np.ndarray
    covariance: np.ndarray
    unbounded: np.ndarray
    deviance: float
    n_iter: int
    converged: bool


def maximise(
    sets: PixelSets,
    designs: Sequence[np.ndarray],
    start: np.ndarray,
    conditions: Sequence[PhaseCondition],
    *,
    max_iter: int,
    progress: Progress,
) -> JointFit:
    """Maximise the likelihood of all pixels over abundances and coefficients.

    Parameters
    ----------
    sets : PixelSets
    designs : sequence of ndarray of shape (channels, q)
        Columns of each phase.
    start : ndarray of shape (k, q)
        First coefficients.
    conditions : sequence of PhaseCondition
    max_iter : int
    progress : callable

    Returns
    -------
    JointFit
    """
    problem = _Problem(sets, designs, conditions)
    theta = problem.normalised(np.maximum(start, 0.0))
    maps = np.zeros((sets.counts.shape[0], len(designs)))
    value = problem.solve(theta, maps)
    converged = False
    step = 0
    for step in range(1, max_iter + 1):
        progress("unmix", min(step / 15, 0.99))
        target = problem.newton_target(theta, maps)
        length = 1.0
        while True:
            trial = problem.normalised(theta + length * (target - theta))
            trial_maps = maps.copy()
            trial_value = problem.solve(trial, trial_maps)
            if trial_value < value or length < 1e-2:
                break
            length *= 0.4
        gain = value - trial_value
        if gain > 0:
            theta, maps, value = trial, trial_maps, trial_value
        if gain < _GAIN:
            converged = True
            break
    covariance = problem.covariance(theta, maps)
    push = covariance @ problem.gradient(theta, maps)
    progress("unmix", 1.0)
    return JointFit(
        theta, problem.spectra(theta), maps, covariance, theta + push.reshape(theta.shape),
        value - problem.penalty(theta), step, converged,
    )  # fmt: skip


class _Problem:
    def __init__(
        self,
        sets: PixelSets,
        designs: Sequence[np.ndarray],
        conditions: Sequence[PhaseCondition],
    ) -> None:
        self.sets = sets
        self.designs = list(designs)
        self.conditions = list(conditions)
        self.sums = np.array([g.sum(axis=0) for g in designs])
        self.k, self.q = self.sums.shape

    def spectra(self, theta: np.ndarray) -> np.ndarray:
        columns = [g @ t for g, t in zip(self.designs, theta, strict=True)]
        # No channel may be impossible: a stray count there would have no likelihood.
        spectra = np.maximum(np.stack(columns, axis=1), 1e-12)
        return np.ascontiguousarray(spectra / spectra.sum(axis=0))

    def normalised(self, theta: np.ndarray) -> np.ndarray:
        return np.asarray(theta / (theta * self.sums).sum(axis=1, keepdims=True))

    def _rows(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Conditions on all coefficients and their standard deviations."""
        rows = np.zeros((len(self.conditions), self.k * self.q))
        sigma = np.zeros(len(self.conditions))
        for i, c in enumerate(self.conditions):
            rows[i, c.phase * self.q : (c.phase + 1) * self.q] = c.row
            # What the condition sums up in the phase that has most of it.
            size = max(float(np.abs(c.row) @ t) for t in theta)
            sigma[i] = np.hypot(float(c.change @ theta[c.phase]), _EXACT * size)
        return rows, sigma

    def penalty(self, theta: np.ndarray) -> float:
        rows, sigma = self._rows(theta)
        return float(((rows @ theta.ravel() / sigma) ** 2).sum()) if len(rows) else 0.0

    def solve(self, theta: np.ndarray, maps: np.ndarray) -> float:
        """Solve for the abundances in place; twice the negative log posterior."""
        likelihood = self.sets.counts.solve(self.spectra(theta), self.sets.allowed, maps)
        return -2 * likelihood + self.penalty(theta)

    def _curvature(self, theta: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Half the second derivative of the objective, with the scales held."""
        shares, counts, _ = share_groups(maps)
        information = profile_information(self.designs, self.spectra(theta), shares, counts)
        rows, sigma = self._rows(theta)
        information += (rows / sigma[:, None] ** 2).T @ rows
        totals = np.maximum(maps.sum(axis=0), 1.0)
        for c in range(self.k):
            own = slice(c * self.q, (c + 1) * self.q)
            information[own, own] += totals[c] * np.outer(self.sums[c], self.sums[c])
        return information

    def gradient(self, theta: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Half the descent of the objective with each coefficient; (k q,)."""
        ratios = self.sets.counts.ratios(self.spectra(theta), maps)
        totals = maps.sum(axis=0)
        gradient = np.concatenate(
            [g.T @ (ratios[:, i] - totals[i]) for i, g in enumerate(self.designs)]
        )
        rows, sigma = self._rows(theta)
        return np.asarray(gradient - rows.T @ (rows @ theta.ravel() / sigma**2))

    def newton_target(self, theta: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Minimum of the quadratic model over non-negative coefficients; (k, q)."""
        x = theta.ravel()
        gradient = self.gradient(theta, maps)
        information = self._curvature(theta, maps)
        scale = 1 / np.sqrt(np.maximum(np.diag(information), 1e-300))
        scaled = information * np.outer(scale, scale)
        scaled[np.diag_indices_from(scaled)] += 1e-9
        lower = cholesky(scaled, lower=True)
        pull = scaled @ (x / scale) + gradient * scale
        solution = nnls(lower.T, solve_triangular(lower, pull, lower=True), maxiter=50 * x.size)[0]
        return np.asarray((solution * scale).reshape(self.k, self.q))

    def covariance(self, theta: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Covariance of the coefficients with the scale of each spectrum held; (k q, k q)."""
        information = self._curvature(theta, maps)
        scale = 1 / np.sqrt(np.maximum(np.diag(information), 1e-300))
        values, vectors = np.linalg.eigh(information * np.outer(scale, scale))
        values = np.maximum(values, 1e-10 * values.max())
        inverse = (vectors / values) @ vectors.T * np.outer(scale, scale)
        # Held scales have no error: take out the direction that only the gauge fixed.
        keep = np.eye(self.k * self.q)
        for c in range(self.k):
            own = slice(c * self.q, (c + 1) * self.q)
            keep[own, own] -= np.outer(theta[c], self.sums[c])
        return np.asarray(keep @ inverse @ keep.T)
