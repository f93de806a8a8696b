"""What all line fits of a measurement have in common, told once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from siftem.acquisition import Acquisition
from siftem.errors import InputError
from siftem.fit.line_fit import LineFit, fit_lines
from siftem.fit.spectrum_model import Absorption, Calibration
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.elements import element_symbols


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
            free_ratios=free_ratios,
        )
