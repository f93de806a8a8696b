"""Maximum-likelihood fit of counts by a non-negative sum of known shapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.lapack import dpocon, dpotrf, dpotri, dtrtrs
from scipy.optimize import nnls

from siftem.errors import InputError

#: A matrix whose reciprocal condition is larger has no eigenvalue near 1e-12 of the largest.
_WELL = 1e-10


@dataclass(frozen=True, eq=False)
class PoissonFit:
    """Result of :func:`fit_poisson`.

    Parameters
    ----------
    amplitudes : ndarray of shape (p,)
        Non-negative where asked.
    mean : ndarray of shape (m,)
        Expected counts, offset included.
    information : ndarray of shape (p, p)
        Fisher information ``G' diag(1/mean) G``.
    deviance : float
        ``2 sum(y ln(y/mean) - y + mean)``.
    converged : bool
    """

    amplitudes: np.ndarray
    mean: np.ndarray
    information: np.ndarray
    deviance: float
    converged: bool


def poisson_deviance(counts: np.ndarray, mean: np.ndarray) -> float:
    """Return ``2 sum(y ln(y/mean) - y + mean)``; ``y ln y`` is 0 at 0, and y may be any real >= 0.

    Parameters
    ----------
    counts, mean : ndarray of shape (m,)
        Non-negative; ``mean`` positive where ``counts`` are.
    """
    y = np.asarray(counts, float)
    log_ratio = np.zeros_like(y)
    positive = y > 0
    with np.errstate(divide="ignore"):
        log_ratio[positive] = y[positive] * np.log(y[positive] / mean[positive])
    return float(2 * (log_ratio - y + mean).sum())


def fit_poisson(
    design: np.ndarray,
    counts: np.ndarray,
    *,
    offset: np.ndarray | None = None,
    free_sign: np.ndarray | None = None,
    penalty: np.ndarray | None = None,
    start: np.ndarray | None = None,
    max_iter: int = 100,
    tol: float = 1e-9,
) -> PoissonFit:
    """Minimise ``sum(mean - y ln mean)`` with ``mean = design @ amplitudes + offset``.

    Fisher scoring: each step is a non-negative least-squares problem weighted by
    ``1/mean`` (Lawson & Hanson 1974), shortened until the deviance falls. The weights come
    from the model and not from the data: weights ``1/max(y, 1)`` would pull every sum low.

    Parameters
    ----------
    design : ndarray of shape (m, p)
        Shapes; columns must not be zero.
    counts : ndarray of shape (m,)
        Measured counts, >= 0.
    offset : ndarray of shape (m,), optional
        Known part of the mean, >= 0.
    free_sign : ndarray of bool, shape (p,), optional
        Amplitudes that may be negative (small corrections such as an energy shift).
    penalty : ndarray of shape (p, p), optional
        Adds ``amplitudes @ penalty @ amplitudes`` to the deviance: the inverse covariance of
        what is known of them.
    start : ndarray of shape (p,), optional
        First amplitudes.
    max_iter : int
        Steps at the most.
    tol : float
        Stop when the deviance falls by less than ``tol`` times (1 + deviance).

    Returns
    -------
    PoissonFit
    """
    g = np.asarray(design, float)
    y = np.asarray(counts, float)
    m, p = g.shape
    if y.shape != (m,):
        raise InputError(f"counts must have shape ({m},) to fit the design, got {y.shape}")
    if (y < 0).any() or not np.isfinite(y).all():
        raise InputError("counts to fit must be finite and not negative")
    base = np.zeros(m) if offset is None else np.asarray(offset, float)
    signed = np.zeros(p, bool) if free_sign is None else np.asarray(free_sign, bool)
    scale = np.sqrt((g**2).sum(axis=0))
    if (scale == 0).any():
        raise InputError("a shape with no strength in the fitted range cannot be fitted: drop it")
    # A mean far below one count over the range would give a channel an absurd weight.
    floor = max(1e-6 * float(y.mean() + base.mean()), 1e-12)

    def mean_of(theta: np.ndarray) -> np.ndarray:
        return np.maximum(g @ theta + base, floor)

    def cost_of(theta: np.ndarray, mean: np.ndarray) -> float:
        known = 0.0 if penalty is None else float(theta @ penalty @ theta)
        return poisson_deviance(y, mean) + known

    if start is None:
        theta = _weighted_nnls(g, y - base, np.maximum(_smooth(y), 1.0), signed, penalty)
    else:
        theta = np.asarray(start, float).copy()
    mean = mean_of(theta)
    cost = cost_of(theta, mean)
    converged = False
    for _ in range(max_iter):
        target = _weighted_nnls(g, y - base, mean, signed, penalty)
        length = 1.0
        while True:
            trial = theta + length * (target - theta)
            trial_mean = mean_of(trial)
            trial_cost = cost_of(trial, trial_mean)
            if trial_cost <= cost or length < 1e-4:
                break
            length *= 0.5
        gain = cost - trial_cost
        if gain > 0:
            theta, mean, cost = trial, trial_mean, trial_cost
        if gain <= tol * (1 + abs(cost)):
            converged = True
            break
    information = (g / mean[:, None]).T @ g
    if penalty is not None:
        information = information + penalty
    return PoissonFit(theta, mean, information, poisson_deviance(y, mean), converged)


def _weighted_nnls(
    g: np.ndarray,
    target: np.ndarray,
    variance: np.ndarray,
    signed: np.ndarray,
    penalty: np.ndarray | None,
) -> np.ndarray:
    """Least squares weighted by 1/variance, non-negative but where ``signed``."""
    root = 1.0 / np.sqrt(variance)
    weighted = g * root[:, None]
    gram = weighted.T @ weighted  # of one matrix with itself: half the work
    if penalty is not None:
        gram = gram + penalty
    return nonnegative_quadratic(gram, weighted.T @ (target * root), signed)


def nonnegative_quadratic(
    gram: np.ndarray, pull: np.ndarray, signed: np.ndarray | None = None
) -> np.ndarray:
    """Minimise ``x' gram x / 2 - pull' x`` with x >= 0 but where ``signed``; (p,).

    Parameters
    ----------
    gram : ndarray of shape (p, p)
        Positive definite.
    pull : ndarray of shape (p,)
    signed : ndarray of bool, shape (p,), optional

    References
    ----------
    Lawson & Hanson 1974, Solving Least Squares Problems.
    """
    # Parameters of curvature one; the small normal equations then suffice.
    length = np.sqrt(np.maximum(gram.diagonal(), 1e-300))
    gram = gram / (length[:, None] * length)
    gram.flat[:: pull.size + 1] += 1e-12
    pull = pull / length
    if signed is None or not signed.any():
        return _bounded(gram, pull) / length
    # What may have either sign is solved exactly for any value of the rest: eliminate it.
    own = cho_factor(gram[np.ix_(signed, signed)])
    cross = gram[np.ix_(signed, ~signed)]
    inner = cho_solve(own, cross)
    x = np.empty(pull.size)
    bound = gram[np.ix_(~signed, ~signed)] - cross.T @ inner
    x[~signed] = _bounded(bound, pull[~signed] - inner.T @ pull[signed])
    x[signed] = cho_solve(own, pull[signed] - cross @ x[~signed])
    return x / length


def _bounded(gram: np.ndarray, pull: np.ndarray) -> np.ndarray:
    """As `nonnegative_quadratic`, for a well scaled problem without free signs."""
    lower, failed = dpotrf(gram, lower=1)
    if failed:
        raise np.linalg.LinAlgError("the curvature of what is fitted is not positive")
    target, _ = dtrtrs(lower, pull, lower=1)
    return np.asarray(nnls(lower.T, target, maxiter=30 * target.size)[0])


def _smooth(y: np.ndarray) -> np.ndarray:
    """Running mean over five channels: a first guess of the expected counts."""
    kernel = np.ones(5) / 5
    return np.convolve(np.pad(y, 2, mode="edge"), kernel, mode="valid")


def covariance_of(information: np.ndarray) -> np.ndarray:
    """Inverse of a Fisher information; (p, p).

    By Cholesky's factors of the matrix scaled to a diagonal of ones. Directions that the data do
    not fix at all (relative eigenvalue below 1e-12) get the variance of that limit instead of
    infinity, which shows them as undetermined: where there may be such, by eigenvalues.
    """
    scale = np.sqrt(np.clip(np.diag(information), 1e-300, None))
    scaled = information / np.outer(scale, scale)
    factor, failed = dpotrf(scaled, lower=1)
    if not failed:
        well, _ = dpocon(factor, np.abs(scaled).sum(axis=0).max(), uplo="L")
        if well > _WELL:
            lower, _ = dpotri(factor, lower=1)
            lower = np.tril(lower)
            return np.asarray((lower + np.tril(lower, -1).T) / np.outer(scale, scale))
    values, vectors = np.linalg.eigh(scaled)
    values = np.maximum(values, 1e-12 * values.max())
    return np.asarray((vectors / values) @ vectors.T / np.outer(scale, scale))
