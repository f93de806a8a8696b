"""Result of a fit of lines and continuum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siftem.errors import InputError
from siftem.fit.misfit import Misfit
from siftem.fit.propagation import propagated_to
from siftem.fit.spectrum_model import Calibration, SpectrumModel, quantified_family
from siftem.spectrum import Spectrum
from siftem.views import outline


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
        (`siftem.xray.lines`) and from the step of the continuum at silicon's edge
        (`siftem.fit.dead_layer`), as far as the spectrum does not tell them: a systematic error.
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
        intervals and for means over many spectra; of no use as an amount.
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
