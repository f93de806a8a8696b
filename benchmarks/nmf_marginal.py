"""Spectra of the largest marginal likelihood: each pixel's weights are averaged out, not fitted."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.special import digamma, gammaln, polygamma

from siftem.decomposition.nonnegative_quadratic import step_channels
from siftem.decomposition.solver_rows import CountRows
from siftem.errors import DoubtWarning, InputError
from siftem.machine import one_blas_thread
from siftem.progress import Progress, silent

#: Shapes of the prior stay between these: a shape near zero would switch pixels off for good.
_SHAPES = (0.02, 1e4)
#: Rounds of the weights' posterior in a sweep.
_ROUNDS = 3


@dataclass(frozen=True, eq=False)
class Marginal:
    """Spectra and the posterior of the weights under a gamma prior.

    Parameters
    ----------
    spectra : ndarray of shape (k, m)
        Each sums to one.
    weights : ndarray of shape (n, k)
        Posterior means, in counts.
    prior_shape, prior_mean : ndarray of shape (k,)
        Of the gamma prior of each component, fitted.
    bound : float
        Lower bound of the logarithm of the marginal likelihood, without ``-sum(ln y!)``.
    history : ndarray of shape (sweeps,)
        The bound of each sweep; it never falls.
    converged : bool
    """

    spectra: np.ndarray
    weights: np.ndarray
    prior_shape: np.ndarray
    prior_mean: np.ndarray
    bound: float
    history: np.ndarray
    converged: bool


@one_blas_thread()
def fit_marginal(
    counts: sp.csr_array,
    spectra: np.ndarray,
    *,
    prior_shape: float | None = None,
    max_sweeps: int = 300,
    tol: float = 1e-6,
    n_jobs: int | None = None,
    progress: Progress = silent,
) -> Marginal:
    """Fit spectra by the variational bound of the gamma-Poisson marginal likelihood.

    The weights of component c have the prior ``Gamma(shape_c, mean_c)``; their posterior is
    approximated by independent gammas (Cemgil 2009, Comput. Intell. Neurosci. 785152;
    Gopalan, Hofman & Blei 2015, UAI). For one component that is exact. The spectra take the
    Newton step of `siftem.decomposition.solver`, on the statistics gathered at
    ``exp(E[ln w])``; the mean of the prior is fitted too, and its shape unless given.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (n, m)
    spectra : ndarray of shape (k, m)
        Start, positive where counts are; for example ``PoissonNMF(k).fit(counts).components_``.
    prior_shape : float, optional
        Shape of the prior of all components; fitted, one by one, when left out. Below one the
        prior favours pixels that hold few components.
    max_sweeps : int
        A warning says when they did not suffice.
    tol : float
        Stop when a sweep raises the bound by less than ``tol`` times the number of counts.
    n_jobs : int, optional
        Threads.
    progress : Progress
        Called as ``progress("marginal", fraction)``.

    Returns
    -------
    Marginal

    Raises
    ------
    InputError
        When the start does not fit the counts or leaves a count unexplained.
    """
    if prior_shape is not None and not _SHAPES[0] <= prior_shape <= _SHAPES[1]:
        raise InputError(
            f"prior_shape must be between {_SHAPES[0]:g} and {_SHAPES[1]:g}, got {prior_shape!r}"
        )
    rows = CountRows.of(counts, n_jobs=n_jobs)
    h = np.ascontiguousarray(spectra, np.float64)
    if h.ndim != 2 or h.shape[1] != rows.shape[1] or not (h >= 0).all():
        raise InputError(
            f"spectra must be a non-negative array of shape (k, {rows.shape[1]}), got {h.shape}"
        )
    if not rows.nnz or not (h.sum(axis=0)[np.unique(rows.indices.view(np.int32))] > 0).all():
        raise InputError("spectra must be positive in every channel that holds counts")
    h = h / h.sum(axis=1, keepdims=True)
    k = len(h)
    free = np.ones((k, 1), np.uint8)
    shape, mean = np.full(k, prior_shape or 1.0), np.full(k, rows.total / k / rows.shape[0])
    logs = rows.even_weights(k, np.dtype(float)) + 1e-3 * mean
    history: list[float] = []
    converged = False
    with rows.threads():
        for sweep in range(max_sweeps):
            rate = shape / mean
            for _ in range(_ROUNDS):
                alpha = shape + logs * (1.0 - rows.weight_gradients(h, logs))
                mean_log = digamma(alpha) - np.log(rate + 1.0)
                logs = np.maximum(np.exp(mean_log), 1e-300)
            weights = alpha / (rate + 1.0)
            found, statistics = rows.improve(h, logs, n_passes=0)
            history.append(found - float(weights.sum()) - _divergence(alpha, rate, shape))
            sums = weights.sum(axis=0)
            stepped = np.empty_like(h)
            step_channels(statistics, sums, h, free, stepped)
            progress("marginal", (sweep + 1) / max_sweeps)
            if sweep and history[-1] - history[-2] <= tol * rows.total:
                converged = True
                break
            # The posterior follows the scale of its spectrum; then the prior follows it.
            scale = np.maximum(stepped.sum(axis=1), 1e-300)
            h = stepped / scale[:, None]
            logs *= scale
            mean = np.maximum(weights.mean(axis=0) * scale, 1e-12)
            if prior_shape is None:
                gap = np.log(mean) - mean_log.mean(axis=0) - np.log(scale)
                shape = _gamma_shape(gap, start=shape)
    if not converged:
        warnings.warn(
            f"fit_marginal stopped at max_sweeps={max_sweeps} before it converged: raise it or tol",
            DoubtWarning,
            stacklevel=2,
        )
    return Marginal(h, weights, shape, mean, history[-1], np.array(history), converged)


def _divergence(alpha: np.ndarray, rate: np.ndarray, shape: np.ndarray) -> float:
    """Kullback-Leibler divergence of all posteriors Gamma(alpha, rate + 1) from the prior."""
    beta = rate + 1.0
    each = (
        (alpha - shape) * digamma(alpha)
        - gammaln(alpha)
        + gammaln(shape)
        + shape * (np.log(beta) - np.log(rate))
        + alpha * (rate - beta) / beta
    )
    return float(each.sum())


def _gamma_shape(gap: np.ndarray, *, start: np.ndarray) -> np.ndarray:
    """Shape of maximum likelihood: ``ln a - digamma(a) = gap`` with ``gap = ln E w - E ln w``."""
    gap = np.maximum(gap, 1e-9)
    shape = (3 - gap + np.sqrt((gap - 3) ** 2 + 24 * gap)) / (12 * gap)
    for _ in range(8):
        error = np.log(shape) - digamma(shape) - gap
        shape = 1 / (1 / shape + error / (shape**2 * (1 / shape - polygamma(1, shape))))
        shape = np.where(np.isfinite(shape) & (shape > 0), shape, start)
    return np.clip(shape, *_SHAPES)
