"""The result of a fit of lines and continuum, and how errors of channels and model move it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siftem.errors import InputError
from siftem.fit.misfit import Misfit
from siftem.fit.poisson import covariance_of
from siftem.fit.spectrum_model import Calibration, SpectrumModel, quantified_family
from siftem.spectrum import Spectrum
from siftem.views import outline


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


@dataclass(frozen=True, eq=False)
class LineFit:
    """Fitted lines of a spectrum.

    Parameters
    ----------
    spectrum : Spectrum
        What was fitted, cropped to the fitted range.
    model : SpectrumModel
        Families and continuum.
    names : tuple of str
        Names of the columns: families, continuum, templates.
    amplitudes : ndarray of shape (p,)
        Photons emitted towards the detector by each family, in the order of ``names``;
        continuum and templates in their own scales.
    covariance : ndarray of shape (p, p)
        Of counting, of the detector's response, of ratios of lines and of what the model can't
        describe.
    ratio_covariance : ndarray of shape (p, p)
        The part of ``covariance`` that comes from ratios of lines that are not known well
        (`siftem.xray.lines`), from the energy scale's curvature (`siftem.fit.line_weights`) and
        from steps of the continuum at edges (`siftem.fit.fit_steps`), as far as the spectrum
        does not tell them: a systematic error.
    counting_covariance : ndarray of shape (p, p)
        What ``covariance`` would be if the model and its ratios of lines were true.
    design : ndarray of shape (channels, p)
        Columns, with the ratios of lines and the step of the continuum that were found.
    mean : ndarray of shape (channels,)
        Expected counts by the model, background included. Where the model errs it need not
        follow the counts: see ``misfit``.
    closest : ndarray of shape (channels,)
        Expected counts by the model that fits best, as if its errors were nothing.
    misfit : Misfit
        Covariance of what the model can't describe.
    slopes : ndarray of shape (channels, parameters)
        Change of the expected counts with the parameters of the response, then with the step of the
        continuum and ratios of lines in units of their prior's width.
    precision : ndarray of shape (p + parameters, p + parameters)
        What is known beforehand of the continuum's curvature, of the response and of ratios.
    deviance : float
        Poisson deviance of the model that fits best, errors of the model left out.
    degrees_of_freedom : int
        Channels minus parameters.
    calibration : Calibration
        Fitted or given.
    dropped : tuple of str
        Elements without a line in the range.
    operator : ndarray of shape (p, channels)
        ``d amplitudes / d counts``: how noise of a channel moves the amplitudes.
    unbounded : ndarray of shape (p,)
        The amplitudes as one more Newton step would leave them if they could be negative:
        unlike those at the bound they are unbiased, and ``covariance`` is theirs. Kept at zero
        are further families of what is there, and what noise can't explain. For
        intervals and for means over many spectra; of no use as an amount. What is kept is taken
        for absent by the others, too.
    """

    __repr__ = outline

    spectrum: Spectrum
    model: SpectrumModel
    names: tuple[str, ...]
    amplitudes: np.ndarray
    covariance: np.ndarray
    ratio_covariance: np.ndarray
    counting_covariance: np.ndarray
    design: np.ndarray
    mean: np.ndarray
    closest: np.ndarray
    misfit: Misfit
    slopes: np.ndarray
    precision: np.ndarray
    deviance: float
    degrees_of_freedom: int
    calibration: Calibration
    dropped: tuple[str, ...]
    operator: np.ndarray
    unbounded: np.ndarray

    @property
    def reduced_deviance(self) -> float:
        """Deviance over degrees of freedom: about 1 for a model that fits well-filled channels."""
        return self.deviance / max(self.degrees_of_freedom, 1)

    @property
    def continuum(self) -> np.ndarray:
        """Fitted continuum in counts; (channels,)."""
        columns = [i for i, n in enumerate(self.names) if n.startswith("continuum ")]
        return self.design[:, columns] @ self.amplitudes[columns]

    @property
    def residual(self) -> np.ndarray:
        """``(counts - closest) / sqrt(closest)``; (channels,)."""
        return (self.spectrum.counts - self.closest) / np.sqrt(self.closest)

    def index(self, element: str, shell: str | None = None) -> int:
        """Position of the family by which an element is quantified.

        Raises
        ------
        InputError
            When the element was not fitted or has no line in the range.
        """
        family = quantified_family(self.model.families, element, self.spectrum.axis, shell)
        if family is None:
            raise InputError(
                f"element {element} has no fitted {shell or 'K, L or M'} line between "
                f"{self.spectrum.axis.first:.3g} and {self.spectrum.axis.last:.3g} "
                f"{self.spectrum.axis.unit}: add it to the elements or widen the energy range"
            )
        return self.names.index(family.name)

    def sigma_at_zero(self, index: int) -> float:
        """Standard deviation of one amplitude if its true value were zero.

        The mean without that family gives the noise under it (Currie 1968 with the fit in
        place of windows). What an anchor pins does not lower it: that a line is absent was
        assumed and not seen.
        """
        mean = np.maximum(self.mean - self.amplitudes[index] * self.design[:, index], 1e-9)
        columns = np.hstack([self.design, self.slopes])
        variance = propagated_to(index, columns, self.precision, mean, self.misfit, self.spectrum)
        return float(np.sqrt(variance))
