"""Newton's method for the spectra of all phases, abundances profiled out.

So what many mixed pixels know of the spectra counts, although their abundances are unknown too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls

from siftem.progress import Progress
from siftem.unmixing.pixel_sets import PixelSets, solve_abundances

#: Shares of the phases in a pixel are rounded to this many parts to put pixels together.
_PARTS = 24
#: Groups of pixels that are worked on at once.
_AT_ONCE = 256
#: Passes over the phases at the most, for spectra of known amounts.
_PASSES = 1000


def share_groups(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put pixels with about the same shares together.

    Parameters
    ----------
    maps : ndarray of shape (pixels, k)
        Abundances.

    Returns
    -------
    shares : ndarray of shape (groups, k)
        Sum to one.
    counts : ndarray of shape (groups,)
        Abundances of all pixels of a group.
    group : ndarray of int, shape (pixels,)
        Group of each pixel; -1 for a pixel without counts.
    """
    total = maps.sum(axis=1)
    used = total > 0
    parts = maps[used] / total[used, None]
    keys, inverse = np.unique(np.round(parts * _PARTS).astype(int), axis=0, return_inverse=True)
    inverse = inverse.ravel()
    counts = np.bincount(inverse, total[used])
    columns = [np.bincount(inverse, maps[used, i]) / counts for i in range(maps.shape[1])]
    shares = np.stack(columns, axis=1)
    # A phase that rounds to none is none: its abundance lies at the bound.
    shares[keys == 0] = 0.0
    group = np.full(maps.shape[0], -1)
    group[used] = inverse
    return shares / shares.sum(axis=1, keepdims=True), counts, group


def profile_information(
    designs: Sequence[np.ndarray], spectra: np.ndarray, shares: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Fisher information of the spectra's coefficients, abundances profiled out.

    With means ``n f.S`` of a pixel of n counts and shares f, columns ``G_k`` of phase k and
    ``W = 1 / f.S``, the block of phases k and l is

        I_kl = sum n f_k f_l [ G_k'WG_l - G_k'WS (S'WS)^-1 S'WG_l ]

    over groups of pixels of the same shares. The first term is one sum of weights over the
    groups, the second a product of matrices with the groups along their inner side.

    Parameters
    ----------
    designs : sequence of ndarray of shape (channels, q)
        Columns of each phase.
    spectra : ndarray of shape (channels, k)
        S, each summing to one.
    shares : ndarray of shape (groups, k)
    counts : ndarray of shape (groups,)

    Returns
    -------
    ndarray of shape (k q, k q)
        Coefficients of the first phase first. Singular along the scale of each spectrum,
        which the abundances take up.
    """
    q, k = designs[0].shape[1], spectra.shape[1]
    out = np.zeros((k, q, k, q))
    pairs = [(a, b) for a in range(k) for b in range(a, k)]
    for start in range(0, counts.size, _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        share, n = shares[some], counts[some]
        weight = 1 / np.maximum(spectra @ share.T, 1e-12)
        there = share > 0
        inner = np.zeros((n.size, k, k))
        for a, b in pairs:
            inner[:, a, b] = inner[:, b, a] = weight.T @ (spectra[:, a] * spectra[:, b])
        inner *= there[:, :, None] & there[:, None, :]
        inverse = np.linalg.pinv(inner, hermitian=True)
        # Channels x groups x phases: the mean's share of each phase's spectrum.
        parts = (weight[:, :, None] * spectra[:, None, :]).reshape(spectra.shape[0], -1)
        cross = [
            (g.T @ parts).reshape(q, n.size, k) * (np.sqrt(n) * f)[:, None]
            for g, f in zip(designs, share.T, strict=True)
        ]
        solved = [np.einsum("qgk,gkl->qgl", c, inverse).reshape(q, -1) for c in cross]
        for a, b in pairs:
            own = weight @ (n * share[:, a] * share[:, b])
            block = (designs[a] * own[:, None]).T @ designs[b]
            block -= cross[a].reshape(q, -1) @ solved[b].T
            out[a, :, b] += block
            if a != b:
                out[b, :, a] += block.T
    return out.reshape(k * q, k * q)


def free_spectra(
    counts: np.ndarray, amounts: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Maximum-likelihood spectra of known amounts, every channel for itself.

    A channel is to the groups what a pixel is to the channels: the same iteration solves both.

    Parameters
    ----------
    counts : ndarray of shape (groups, channels)
    amounts : ndarray of shape (groups, k)
        Of each phase in each group, for spectra that sum to one.
    start : ndarray of shape (channels, k)
        First spectra, positive.

    Returns
    -------
    spectra : ndarray of shape (channels, k)
    variance : ndarray of shape (channels, k)
        By the Fisher information of each channel, for the given amounts.
    """
    totals = np.maximum(amounts.sum(axis=0), 1e-300)
    rows = sp.csr_array(counts.T)
    found = np.maximum(start, 1e-3 * start.max(axis=0) / start.shape[0]) * totals
    solve_abundances(
        rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data, amounts / totals,
        np.ones(found.shape, np.uint8), found, _PASSES, 1e-9,
    )  # fmt: skip
    spectra = found / totals
    mean = np.maximum(spectra @ amounts.T, 1e-6 * counts.mean() + 1e-300)
    information = np.einsum("gk,jg,gl->jkl", amounts, 1 / mean, amounts)
    inverse = np.linalg.pinv(information, hermitian=True)
    return spectra, np.maximum(np.einsum("jkk->jk", inverse), 0.0)


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
