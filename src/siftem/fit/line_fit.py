"""Fit of all lines and the continuum of a spectrum at once, by Poisson likelihood.

What all fits of a measurement have in common is told once, in one object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from siftem.acquisition import Acquisition
from siftem.errors import InputError
from siftem.fit.calibrate import Known
from siftem.fit.fit_steps import FitSteps
from siftem.fit.propagation import LineFit
from siftem.fit.spectrum_model import Absorption, Calibration, SpectrumModel
from siftem.machine import one_blas_thread
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.elements import element_symbols
from siftem.xray.lines import line_families, valence_lines

__all__ = ["LineFit", "LineFitter", "fit_lines"]

#: Softer pulses, keV, are those of the zero peak.
_SOFTEST_PULSE = 0.2
#: K lines up to this far below the fitted range, keV, are fitted by their flanks: three standard
#: deviations of soft lines. Nothing is measured by them.
_FLANK = 0.08


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
    """
    steps = _steps(
        spectrum, elements, support, beam_energy, detector or Detector(), absorption, energy_range,
        n_continuum, split_l, templates or {}, model_error, free_ratios,
    )  # fmt: skip
    with one_blas_thread():
        return steps.fitted(calibration)


def fit_response(
    spectrum: Spectrum,
    elements: Sequence[str],
    *,
    beam_energy: float,
    detector: Detector,
    known: Known | None = None,
) -> Calibration:
    """Fit the detector's response as `fit_lines` does on all channels, and nothing after it.

    Ratios of lines are kept as tabulated.

    Parameters
    ----------
    spectrum, elements, beam_energy, detector
        As for `fit_lines`.
    known : Known, optional
        By default what holds for all detectors.

    Returns
    -------
    Calibration
        Without errors.
    """
    steps = _steps(
        spectrum, elements, (), beam_energy, detector, None, (None, None), None, False, {}, True,
        False,
    )  # fmt: skip
    with one_blas_thread():
        return steps.calibrated(known)


def _steps(
    spectrum: Spectrum,
    elements: Sequence[str],
    support: Sequence[str],
    beam_energy: float,
    detector: Detector,
    absorption: Absorption | None,
    energy_range: tuple[float | None, float | None],
    n_continuum: int | None,
    split_l: bool,
    templates: Mapping[str, np.ndarray],
    model_error: bool,
    free_ratios: bool,
) -> FitSteps:
    window = spectrum.axis.window_kev(*energy_range)
    cut = spectrum.sliced(window)
    # Pulses below the fitted range pile up, too; those of no energy do not.
    softest = spectrum.axis.window_kev(_SOFTEST_PULSE, None).start
    pulses = spectrum.sliced(slice(min(window.start, softest), window.stop))
    if not cut.counts.sum() > 0:
        raise InputError(
            f"spectrum {spectrum.name!r} holds no counts in the fitted range: nothing to fit"
        )
    kev = cut.axis.to_kev()
    listed = element_symbols(elements)
    thick = tuple(e for e in element_symbols(support) if e not in listed)
    every = list(dict.fromkeys([*listed, *thick]))
    families = line_families(
        every, beam_energy=beam_energy, low=kev.first, high=kev.last, split_l=split_l
    )
    dropped = tuple(e for e in every if not any(f.element == e for f in families))
    # A line whose middle lies below the range has its flank in it, beside or under others.
    further = line_families(every, beam_energy=beam_energy, low=kev.first - _FLANK, high=kev.last)
    families += [f for f in further if f.element in dropped and f.shell == "K"]
    model = SpectrumModel(
        tuple(families),
        beam_energy,
        detector,
        n_continuum,
        absorption,
        spline_range=(kev.first, min(kev.last, beam_energy)),
        valence=tuple(valence_lines(every, low=kev.first, high=kev.last)),
        thick=thick,
    )
    extra = {k: np.asarray(v, float)[window] for k, v in templates.items()}
    return FitSteps(model, cut, pulses, extra, dropped, model_error, free_ratios)


@dataclass(frozen=True)
class LineFitter:
    """Fits one spectrum after the other alike; `dataclasses.replace` changes a part.

    Parameters
    ----------
    elements, support : tuple of str
        All families of these are fitted.
    beam_energy : float
        keV.
    detector : Detector
    calibration : Calibration, optional
        By default each fit finds its own.
    absorption : callable, optional
        Share of the photons that leave the film, of energies in keV.
    energy_range : tuple
        keV.
    n_continuum : int, optional
    split_l : bool
        As for `siftem.fit.line_fit.fit_lines`.
    """

    elements: tuple[str, ...]
    support: tuple[str, ...]
    beam_energy: float
    detector: Detector
    calibration: Calibration | None = None
    absorption: Absorption | None = None
    energy_range: tuple[float | None, float | None] = (0.2, None)
    n_continuum: int | None = None
    split_l: bool = False

    @classmethod
    def of(
        cls,
        acquisition: Acquisition,
        elements: Iterable[str],
        support: Iterable[str] = (),
        *,
        beam_energy: float | None = None,
        detector: Detector | None = None,
        **rest: Any,
    ) -> LineFitter:
        """Complete what is given by what the acquisition says.

        Parameters
        ----------
        acquisition : Acquisition
        elements, support : iterable of str
            Of the support, what is an element as well is left out.
        beam_energy : float, optional
        detector : Detector, optional
        **rest
            Further fields.

        Raises
        ------
        InputError
            When nothing tells the beam energy, or something is no element.
        """
        energy = beam_energy or acquisition.beam_energy
        if energy is None:
            raise InputError("the beam energy is not known: give beam_energy in keV")
        listed = element_symbols(elements)
        beside = tuple(e for e in element_symbols(support) if e not in listed)
        return cls(listed, beside, energy, detector or Detector.of(acquisition), **rest)

    def fit(self, spectrum: Spectrum, *, model_error: bool = True) -> LineFit:
        """Fit line families and continuum to a spectrum: see `siftem.fit.line_fit.fit_lines`."""
        return fit_lines(
            spectrum,
            self.elements,
            support=self.support,
            beam_energy=self.beam_energy,
            detector=self.detector,
            absorption=self.absorption,
            calibration=self.calibration,
            energy_range=self.energy_range,
            n_continuum=self.n_continuum,
            split_l=self.split_l,
            model_error=model_error,
        )
