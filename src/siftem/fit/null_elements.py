"""Are the errors true? Elements that can't be there must scatter about zero by their errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from siftem.errors import InputError
from siftem.fit.line_fit import LineFit, fit_lines
from siftem.fit.line_search import CANDIDATES
from siftem.fit.poisson import covariance_of
from siftem.fit.spectrum_model import Absorption, Calibration, SpectrumModel, quantified_family
from siftem.hyperspy_input import as_spectrum
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.elements import atomic_number
from siftem.xray.lines import line_families

#: An element of whose lines the fitted ones can take over more than this share is none to
#: test with: it could stand for them.
_HIDDEN = 0.8
#: Softer lines are hardly counted.
_SOFTEST = 0.4
#: From this scatter on the errors are not to be believed.
WIDE = 1.5


@dataclass(frozen=True)
class NullElements:
    """How elements that are absent scatter.

    Parameters
    ----------
    z : mapping of str to float
        Amount over its error, of each element by itself; normal with a width of one if the
        errors are true.
    """

    z: Mapping[str, float]

    def __repr__(self) -> str:
        return f"<NullElements: {self.describe()}>"

    @property
    def rms(self) -> float:
        """Root mean square of z: 1 if the errors are true, more if they are too small."""
        return float(np.sqrt(np.mean(np.square(self._values)))) if self.z else float("nan")

    @property
    def beyond_two(self) -> float:
        """Share of the elements beyond two standard deviations; 5% if the errors are true."""
        return float(np.mean(np.abs(self._values) > 2)) if self.z else float("nan")

    @property
    def worst(self) -> tuple[str, ...]:
        """The elements, those farthest off first."""
        return tuple(sorted(self.z, key=lambda e: -abs(self.z[e])))

    @property
    def _values(self) -> np.ndarray:
        return np.array(list(self.z.values()), dtype=float)

    def describe(self) -> str:
        """Say it in a few words."""
        if not self.z:
            return "no absent element has a line of its own here"
        farthest = ", ".join(f"{e} {self.z[e]:+.1f}" for e in self.worst[:3])
        return (
            f"{len(self.z)} absent elements scatter by {self.rms:.1f} sigma, "
            f"{100 * self.beyond_two:.0f}% beyond two (farthest {farthest})"
        )


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

    Parameters
    ----------
    spectrum : Spectrum
    elements, support : sequence of str
        All that is there; the list must be complete.
    beam_energy : float, optional
        keV; by default the acquisition's.
    detector : Detector, optional
    absorption, calibration, energy_range
        As for `siftem.fit.line_fit.fit_lines`.
    candidates : sequence of str
        What to try. Left out are elements that are listed, those without a line of their own
        in the range, and those whose lines coincide with those of listed ones.

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
    energy = beam_energy or spectrum.acquisition.beam_energy
    if energy is None:
        raise InputError("the beam energy is not known: give beam_energy in keV")
    fit = fit_lines(
        spectrum,
        elements,
        support=support,
        beam_energy=energy,
        detector=detector or Detector.of(spectrum.acquisition),
        absorption=absorption,
        calibration=calibration,
        energy_range=energy_range,
    )
    return null_scatter(fit, candidates)


def null_scatter(fit: LineFit, candidates: Sequence[str] = CANDIDATES) -> NullElements:
    """Return how absent elements scatter about zero beside a fit.

    All that was fitted gives way to each element, the response and the misfit as well.

    Parameters
    ----------
    fit : LineFit
    candidates : sequence of str
        See `null_elements`.

    Returns
    -------
    NullElements
    """
    for element in candidates:
        atomic_number(element)
    model, axis = fit.model, fit.spectrum.axis
    kev = axis.to_kev()
    known = {f.element for f in model.families} | set(fit.dropped)
    families = line_families(
        [e for e in candidates if e not in known],
        beam_energy=model.beam_energy, low=kev.first, high=kev.last,
    )  # fmt: skip
    if not families:
        return NullElements({})
    lines = SpectrumModel(
        tuple(families), model.beam_energy, model.detector, 1, model.absorption
    ).line_columns(axis, fit.calibration)
    own = np.hstack([fit.design, fit.slopes])
    weight = 1.0 / np.maximum(fit.mean, 1e-9)
    weighted, information = fit.misfit.eliminated(np.hstack([own, lines]), weight)
    pull = weighted.T @ (fit.spectrum.counts - fit.mean)
    p = own.shape[1]
    # The fit is at its optimum within bounds: it is the new lines alone that are pulled.
    pull[:p] = 0.0
    inner = covariance_of(information[:p, :p] + fit.precision)
    cross = information[p:, :p]
    left = information[p:, p:] - cross @ inner @ cross.T
    alone = np.diag(lines.T @ (lines * weight[:, None]))
    out = {}
    for element in dict.fromkeys(f.element for f in families):
        at = [i for i, f in enumerate(families) if f.element == element]
        family = quantified_family([families[i] for i in at], element, axis)
        if family is None or family.alpha_energy < _SOFTEST:
            continue
        place = at.index(families.index(family))
        lead = at[place]
        hidden = 1.0 - left[lead, lead] / max(information[p + lead, p + lead], 1e-300)
        if hidden > _HIDDEN or not alone[lead] > 0:
            continue
        covariance = covariance_of(left[np.ix_(at, at)])
        amount = covariance @ pull[p:][at]
        out[element] = float(amount[place] / np.sqrt(covariance[place, place]))
    return NullElements(out)
