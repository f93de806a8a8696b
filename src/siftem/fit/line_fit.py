"""Fit of all lines and the continuum of a spectrum at once, by Poisson likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from siftem.fit.element_search import warn_of_unlisted
from siftem.fit.fitter import LineFitter, steps_of
from siftem.fit.propagation import LineFit
from siftem.fit.spectrum_model import Absorption, Calibration
from siftem.fit.stand_ins import warn_of_stand_ins
from siftem.machine import one_blas_thread
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector

__all__ = ["LineFit", "LineFitter", "fit_lines"]


def fit_lines(
    spectrum: Spectrum,
    elements: Sequence[str],
    *,
    support: Sequence[str] = (),
    beam_energy: float,
    detector: Detector | None = None,
    absorption: Absorption | None = None,
    calibration: Calibration | None = None,
    energy_range: tuple[float | None, float | None] = (0.2, None),
    n_continuum: int | None = None,
    split_l: bool = False,
    templates: Mapping[str, np.ndarray] | None = None,
    model_error: bool = True,
    free_ratios: bool = True,
) -> LineFit:
    """Fit line families and continuum to a spectrum.

    Minimises the Poisson deviance of the measured counts; what was subtracted from them
    is a known part of the mean (``spectrum.background``). All amplitudes are >= 0. The
    detector's response is fitted, sum peaks are allowed for, and what all of this can't
    describe is estimated as a covariance beside which the amplitudes are fitted.

    Parameters
    ----------
    spectrum : Spectrum
        Counts, or counts less a scaled matrix (:func:`siftem.subtract`).
    elements, support : sequence of str
        All families of these elements in the range are fitted; those of the support may come from
        thick pieces, which absorb their soft lines more than the hard ones, and the
        continuum above their edges.
    beam_energy : float
        keV.
    detector : Detector, optional
        Efficiency and nominal resolution.
    absorption : callable, optional
        Share of the photons that leave the film, of energies in keV.
    calibration : Calibration, optional
        Given: the response is kept, its errors (``calibration.covariance``) are carried; an energy
        scale that the lines contradict is moved, with a warning from 3 eV on. By default it is
        fitted with priors, see `siftem.fit.calibrate`.
    energy_range : tuple
        Fitted range in keV; None means the end of the axis.
    n_continuum : int, optional
        Terms of the continuum. By default splines as stiff as the spectrum asks for.
    split_l : bool
        Let L1, L2 and L3 lines have their own amplitudes.
    templates : mapping of str to ndarray (channels,), optional
        Further measured shapes on the axis of ``spectrum``, such as the matrix.
    model_error : bool
        False takes the model for true, ratios of lines included: for spectra that were simulated
        by it.
    free_ratios : bool
        False keeps the tabulated ratios of lines, without an error, and the continuum without
        a step: in a search for elements they would stand for those that are not listed yet.

    Returns
    -------
    LineFit

    Warns
    -----
    DoubtWarning
        When the spectrum shows what is not listed, with energies and with what it may be; when
        a listed element may be another one. Not with ``model_error`` or ``free_ratios`` false.
    """
    steps = steps_of(
        spectrum, elements, support, beam_energy, detector or Detector(), absorption, energy_range,
        n_continuum, split_l, templates or {}, model_error, free_ratios,
    )  # fmt: skip
    with one_blas_thread():
        fit = steps.fitted(calibration)
        if model_error and free_ratios:
            warn_of_unlisted(fit, stacklevel=4)
            warn_of_stand_ins(fit, stacklevel=4)
    return fit
