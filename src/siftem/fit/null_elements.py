"""Are the errors true? Elements that can't be there must scatter about zero by their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from siftem.fit.contaminants import contaminants_of
from siftem.fit.line_fit import LineFit, LineFitter
from siftem.fit.line_search import CANDIDATES
from siftem.fit.null_scatter import NullElements, null_scatter
from siftem.fit.spectrum_model import Absorption, Calibration
from siftem.hyperspy_input import as_spectrum
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector


def null_elements(
    spectrum: Spectrum,
    elements: Sequence[str],
    *,
    support: Sequence[str] = (),
    beam_energy: float | None = None,
    detector: Detector | None = None,
    absorption: Absorption | None = None,
    calibration: Calibration | None = None,
    energy_range: tuple[float | None, float | None] = (0.25, None),
    candidates: Sequence[str] = CANDIDATES,
) -> NullElements:
    """Fit, one at a time, elements that are not there, and see how they scatter.

    What is there but not listed, as Cl of a preparation or Pb of a shield, is found first, fitted
    with the rest, and told (`siftem.fit.contaminants`).

    Parameters
    ----------
    spectrum : Spectrum
    elements, support : sequence of str
        What is there.
    beam_energy : float, optional
        keV; by default the acquisition's.
    detector : Detector, optional
    absorption, calibration, energy_range
        As for `siftem.fit.line_fit.fit_lines`.
    candidates : sequence of str
        What to try. Left out are elements that are fitted, those without a line of their own
        in the range, and those whose lines coincide with fitted ones.

    Returns
    -------
    NullElements

    Raises
    ------
    InputError
        When the beam energy is not known, or the spectrum can't be fitted.

    Notes
    -----
    An element far off zero on the positive side may as well be there: look for its lines.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> spectrum = siftem.integrate(si, phantom.mask("Brg"), name="Brg")
    >>> absent = siftem.null_elements(spectrum, ["O", "Mg", "Al", "Si", "Ca", "Fe"], support=["Cu"])
    >>> "Au" in absent.z, "Mg" in absent.z
    (True, False)
    """
    spectrum = as_spectrum(spectrum)
    fitter = LineFitter.of(
        spectrum.acquisition,
        elements,
        support,
        beam_energy=beam_energy,
        detector=detector,
        absorption=absorption,
        calibration=calibration,
        energy_range=energy_range,
    )
    first = fitter.fit(spectrum)

    def beside(more: tuple[str, ...]) -> LineFit:
        further = (*fitter.support, *more)
        return replace(fitter, support=further, calibration=first.calibration).fit(spectrum)

    found, fit = contaminants_of(first, beside)
    return replace(null_scatter(fit, candidates), contaminants=found)
