"""How the errors of channels and of the model move the amplitudes of a fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siftem.fit.misfit import Misfit
from siftem.fit.poisson import covariance_of
from siftem.spectrum import Spectrum


@dataclass(frozen=True, eq=False)
class Propagated:
    """Errors of the parameters of a fit.

    Parameters
    ----------
    covariance : ndarray of shape (p, p)
        Of all but what is told apart.
    apart : ndarray of shape (p, p)
        Covariance by what was known beforehand of the last parameters.
    bread : ndarray of shape (p, p)
        Inverse of the information, with what was known beforehand.
    operator : ndarray of shape (p, channels)
        ``d parameters / d counts``.
    """

    covariance: np.ndarray
    apart: np.ndarray
    bread: np.ndarray
    operator: np.ndarray


def propagated(
    columns: np.ndarray,
    precision: np.ndarray,
    mean: np.ndarray,
    misfit: Misfit,
    spectrum: Spectrum,
    apart: int = 0,
) -> Propagated:
    """Propagate the errors of the counts, of the model and of what was known beforehand.

    With the weights ``V = diag(mean) + misfit`` of the fit and the true covariance
    ``V + (variance - mean) + modes - pinned`` of the counts: ``bread = (X' V^-1 X + P)^-1``,
    ``operator = bread X' V^-1`` and
    ``Cov = operator (diag(variance) + misfit + modes - pinned) operator' + bread P bread``:
    a sum of what each adds. A smooth spectrum, which has no variance of its own, was made by a
    model: all errors, that model's as well, are in its modes.

    Parameters
    ----------
    columns : ndarray of shape (channels, p)
    precision : ndarray of shape (p, p)
        Inverse covariance of what was known.
    mean : ndarray of shape (channels,)
        Expected counts, positive: their variance.
    misfit : Misfit
    spectrum : Spectrum
        Its variance, modes and pinned modes.
    apart : int
        Of so many parameters, the last ones, the prior's errors are told apart.

    Returns
    -------
    Propagated
    """
    weighted, information = misfit.eliminated(columns, 1.0 / mean)
    bread = covariance_of(information + precision)
    operator = bread @ weighted.T
    common = operator @ spectrum.modes.T
    covariance = common @ common.T
    own = slice(precision.shape[0] - apart, None)
    prior = bread @ precision @ bread
    by_last = np.zeros_like(prior)
    if spectrum.variance.any():
        by_model = (operator @ misfit.basis) * misfit.sigma
        covariance += (operator * variance_of(spectrum, mean)) @ operator.T
        by_last = bread[:, own] @ precision[own, own] @ bread[own]
        covariance += by_model @ by_model.T + prior - by_last
    if spectrum.pinned.size:
        covariance = _less(covariance, operator @ spectrum.pinned.T)
    return Propagated(covariance, by_last, bread, operator)


def propagated_to(
    index: int,
    columns: np.ndarray,
    precision: np.ndarray,
    mean: np.ndarray,
    misfit: Misfit,
    spectrum: Spectrum,
) -> float:
    """Variance of one parameter of a counted spectrum, as `propagated` has it, pinned modes apart.

    Parameters
    ----------
    index : int
        Of the parameter.
    columns, precision, mean, misfit, spectrum
        See `propagated`.
    """
    weighted, information = misfit.eliminated(columns, 1.0 / mean)
    row = covariance_of(information + precision)[index]
    operator = weighted @ row
    total = float(((spectrum.modes @ operator) ** 2).sum())
    if spectrum.variance.any():
        total += float(operator**2 @ variance_of(spectrum, mean) + row @ precision @ row)
        total += float(((misfit.basis.T @ operator * misfit.sigma) ** 2).sum())
    return total


def variance_of(spectrum: Spectrum, mean: np.ndarray) -> np.ndarray:
    """Variance of each channel, with the mean in place of the counts; (channels,).

    The mean is a better variance of Poisson counts than the counts themselves. A smooth
    spectrum, which has all its errors in modes, keeps none of its own.
    """
    return np.maximum(spectrum.variance + mean - spectrum.counts, 0.1 * spectrum.variance)


def _less(covariance: np.ndarray, pinned: np.ndarray) -> np.ndarray:
    """Take pinned modes (p, r) off a covariance (p, p), which stays one.

    The modes were made with the counts as their own variance and the covariance with the
    mean's, so that a little may be left below zero.
    """
    scale = np.sqrt(np.clip(np.diag(covariance), 1e-300, None))
    left = (covariance - pinned @ pinned.T) / np.outer(scale, scale)
    values, vectors = np.linalg.eigh(left)
    return np.asarray((vectors * np.clip(values, 0.0, None)) @ vectors.T * np.outer(scale, scale))
