"""What all fits of a measurement have in common, told once, in one object.

It does not look for what is not listed: what does look for elements fits lines by it.
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

#: Softer pulses, keV, are those of the zero peak.
_SOFTEST_PULSE = 0.2
#: K lines up to this far below the fitted range, keV, are fitted by their flanks: three standard
#: deviations of soft lines. Nothing is measured by them.
_FLANK = 0.08


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
    steps = steps_of(
        spectrum, elements, (), beam_energy, detector, None, (None, None), None, False, {}, True,
        False,
    )  # fmt: skip
    with one_blas_thread():
        return steps.calibrated(known)


def steps_of(
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
    """Return the steps of a fit, with the arguments of `siftem.fit.line_fit.fit_lines`."""
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

    def fit(
        self, spectrum: Spectrum, *, model_error: bool = True, free_ratios: bool = True
    ) -> LineFit:
        """Fit line families and continuum to a spectrum: see `siftem.fit.line_fit.fit_lines`.

        What is not listed is for the caller to look for.
        """
        steps = steps_of(
            spectrum, self.elements, self.support, self.beam_energy, self.detector,
            self.absorption, self.energy_range, self.n_continuum, self.split_l, {}, model_error,
            free_ratios,
        )  # fmt: skip
        with one_blas_thread():
            return steps.fitted(self.calibration)
