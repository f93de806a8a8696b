"""Are the errors true? Elements that can't be there must scatter about zero by their errors.

Those of holder, column and preparation that nobody lists are found in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from siftem.fit.fitter import LineFitter
from siftem.fit.greedy_search import COMMON
from siftem.fit.line_evidence import FoundElement, SeenLine, peaks_of
from siftem.fit.line_search import CANDIDATES
from siftem.fit.poisson import covariance_of
from siftem.fit.propagation import LineFit, variance_of
from siftem.fit.spectrum_model import Absorption, Calibration, SpectrumModel, quantified_family
from siftem.hyperspy_input import as_spectrum
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.elements import atomic_number
from siftem.xray.lines import LineFamily, line_families, visible_name

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
    contaminants : tuple of FoundElement
        What is not listed and stands out as only an element that is there does: it is not
        absent, and the others are judged beside it.
    """

    z: Mapping[str, float]
    contaminants: tuple[FoundElement, ...] = ()

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
        found = ", ".join(f"{f.line} {f.significance:.1f} sigma" for f in self.contaminants)
        there = f"not listed but there: {found}; " if found else ""
        if not self.z:
            return f"{there}no absent element has a line of its own here"
        farthest = ", ".join(f"{e} {self.z[e]:+.1f}" for e in self.worst[:3])
        return (
            f"{there}{len(self.z)} absent elements scatter by {self.rms:.1f} sigma, "
            f"{100 * self.beyond_two:.0f}% beyond two (farthest {farthest})"
        )


def null_scatter(fit: LineFit, candidates: Sequence[str] = CANDIDATES) -> NullElements:
    """Return how absent elements scatter about zero beside a fit.

    All that was fitted gives way to each element, the response and the misfit as well. What
    stands out as only an element that is there does (`_seen`) is told apart, and the others are
    judged beside it: lines on its lines would stand for it.

    Parameters
    ----------
    fit : LineFit
    candidates : sequence of str
        What to try. Left out are elements that are fitted, those without a line of their own in
        the range, and those whose lines coincide with fitted ones.

    Returns
    -------
    NullElements
    """
    absent = _Absent.of(fit, candidates)
    found: list[FoundElement] = []
    passed: set[str] = set()
    while True:
        there = [f.element for f in found]
        z = absent.scatter(there)
        common = [e for e in z if e in COMMON and e not in passed]
        best = max(common, key=z.__getitem__, default=None)
        if best is None or z[best] < _THERE or len(found) == _MOST:
            return NullElements(z, tuple(found))
        passed.add(best)
        seen = absent.seen(best, there)
        if seen is not None:
            found.append(seen)


@dataclass(frozen=True, eq=False)
class _Absent:
    """Families that are not fitted, beside a fit.

    Parameters
    ----------
    fit : LineFit
    families : tuple of LineFamily
    lines : ndarray of shape (channels, families)
    fitted : GivingWay
    beside : Beside
    """

    fit: LineFit
    families: tuple[LineFamily, ...]
    lines: np.ndarray
    fitted: GivingWay
    beside: Beside

    @classmethod
    def of(cls, fit: LineFit, candidates: Sequence[str]) -> _Absent:
        for element in candidates:
            atomic_number(element)
        model, axis = fit.model, fit.spectrum.axis
        kev = axis.to_kev()
        known = {f.element for f in model.families} | set(fit.dropped)
        families = tuple(
            line_families(
                [e for e in candidates if e not in known],
                beam_energy=model.beam_energy, low=kev.first, high=kev.last,
            )
        )  # fmt: skip
        lines = np.zeros((axis.size, 0))
        if families:
            lines = SpectrumModel(
                families, model.beam_energy, model.detector, 1, model.absorption
            ).line_columns(axis, fit.calibration)
        fitted = GivingWay.of(fit)
        return cls(fit, families, lines, fitted, fitted.beside(lines))

    def _of(self, elements: Sequence[str]) -> list[int]:
        return [i for e in elements for i, f in enumerate(self.families) if f.element == e]

    @cached_property
    def leads(self) -> dict[str, int]:
        """Place of the family by which each element is tried, of those that can be."""
        out = {}
        for element in dict.fromkeys(f.element for f in self.families):
            own = [self.families[i] for i in self._of([element])]
            family = quantified_family(own, element, self.fit.spectrum.axis)
            if family is None or family.alpha_energy < _SOFTEST:
                continue
            lead = self.families.index(family)
            left = self.beside.information[lead, lead]
            if left > (1.0 - _HIDDEN) * self.beside.alone[lead]:
                out[element] = lead
        return out

    def scatter(self, there: Sequence[str] = ()) -> dict[str, float]:
        """Amount over its error of each element, added by itself beside those that are there."""
        with_them = self._of(there)
        out = {}
        for element, lead in self.leads.items():
            if element in there:
                continue
            at = [*self._of([element]), *with_them]
            amount, covariance = self.beside.amounts(at)
            place = at.index(lead)
            if covariance[place, place] > 0:  # what an anchor pins has no error left
                out[element] = float(amount[place] / np.sqrt(covariance[place, place]))
        return out

    def seen(self, element: str, there: Sequence[str]) -> FoundElement | None:
        """Return an element that stands out if it is there, beside others that are."""
        at = [*self._of([element]), *self._of(there)]
        amount, covariance = self.beside.amounts(at)
        lead = self.leads[element]
        place = at.index(lead)

        def further(columns: np.ndarray) -> list[tuple[float, float]]:
            with_them = self.fitted.beside(np.hstack([self.lines[:, at], columns]))
            own = range(len(at))
            each = (with_them.amounts([*own, len(at) + k]) for k in range(columns.shape[1]))
            return [(float(a[-1]), float(np.sqrt(e[-1, -1]))) for a, e in each]

        photons, sigma = float(amount[place]), float(np.sqrt(covariance[place, place]))
        counts = photons * float(self.lines[:, lead].sum())
        return _seen(self.fit, self.families[lead], photons, photons / sigma, counts, further)


@dataclass(frozen=True, eq=False)
class Beside:
    """What a spectrum tells of further columns beside a fit.

    Parameters
    ----------
    information : ndarray of shape (n, n)
        With the variances that the fit weighed the channels by.
    pull : ndarray of shape (n,)
    alone : ndarray of shape (n,)
        What it would tell of each column if nothing had been fitted.
    spread : ndarray of shape (n, n)
        Covariance of the pull with all errors of the spectrum.
    taken : ndarray of shape (p, n)
        What each column takes of what was fitted.
    """

    information: np.ndarray
    pull: np.ndarray
    alone: np.ndarray
    spread: np.ndarray
    taken: np.ndarray

    def amounts(self, at: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Amounts of some columns, added together to the fit, and their covariance."""
        block = np.ix_(at, at)
        inverse = covariance_of(self.information[block])
        return inverse @ self.pull[at], inverse @ self.spread[block] @ inverse


@dataclass(frozen=True, eq=False)
class GivingWay:
    """All that was fitted, which gives way to further columns: response and misfit as well.

    Parameters
    ----------
    fit : LineFit
    weighted : ndarray of shape (channels, p)
        Columns and slopes of the fit over the covariance of channels and misfit.
    inner : ndarray of shape (p, p)
        Their covariance.
    """

    fit: LineFit
    weighted: np.ndarray
    inner: np.ndarray

    @classmethod
    def of(cls, fit: LineFit) -> GivingWay:
        """Return what was fitted, as it gives way."""
        weighted, information = fit.misfit.eliminated(
            np.hstack([fit.design, fit.slopes]), 1.0 / np.maximum(fit.mean, 1e-9)
        )
        return cls(fit, weighted, covariance_of(information + fit.precision))

    def beside(self, columns: np.ndarray) -> Beside:
        """Return what a spectrum tells of further columns beside the fit; (channels, n)."""
        fit, spectrum = self.fit, self.fit.spectrum
        mean = np.maximum(fit.mean, 1e-9)
        weighted, among = fit.misfit.eliminated(columns, 1.0 / mean)
        cross = columns.T @ self.weighted
        taken = self.inner @ cross.T
        left = among - cross @ taken
        # The fit is at its optimum within bounds: it is the new columns alone that are pulled.
        pull = weighted.T @ (spectrum.counts - fit.mean)
        rows = weighted - self.weighted @ taken
        further = variance_of(spectrum, mean) - mean if spectrum.variance.any() else -mean
        common, pinned = spectrum.modes @ rows, spectrum.pinned @ rows
        spread = left + (rows * further[:, None]).T @ rows + common.T @ common - pinned.T @ pinned
        return Beside(left, pull, np.diag(among), spread, taken)


#: Standard deviations beside a fit from which on an element is fitted itself.
_WORTH = 2.0
#: Standard deviations, once it is fitted, from which on it is there: softer lines (keV) lie in the
#: feet of others, where the model is less sure.
_THERE, _THERE_SOFT, _SOFT = 3.5, 4.0, 1.0
#: Elements that are fitted, and found, at the most.
_TRIED, _MOST = 10, 6
#: Lines lie where they should within this many standard deviations, or keV.
_AWAY, _NEAR = 3.0, 0.012
#: Peaks of an element have the ratios of tables within this share; on their way out of what is
#: thick, soft L lines are lost.
_RATIO = {"K": 0.25, "L": 1.0, "M": 0.25}
#: keV by which lines are moved to see how a fit changes.
_STEP = 0.002


def contaminants_of(
    fit: LineFit,
    refit: Callable[[tuple[str, ...]], LineFit],
) -> tuple[tuple[FoundElement, ...], LineFit]:
    """Find elements that are there and not listed, one after the other.

    Sought are those that holders, columns and preparations bring. An element that stands out
    beside the fit is fitted itself, with the errors of the model estimated anew: what its lines
    explain was taken for such errors before. It is there if it then stands out clearly
    (`_THERE`), lies where its lines lie, and has their ratios.

    Parameters
    ----------
    fit : LineFit
        Of all that is listed.
    refit : callable
        Fits further elements beside, at the same calibration.

    Returns
    -------
    found : tuple of FoundElement
        In the order in which they were found, those that stand out most first.
    fit : LineFit
        With them.
    """
    found: list[FoundElement] = []
    passed: set[str] = set()
    for _ in range(_TRIED):
        z = _Absent.of(fit, [e for e in sorted(COMMON) if e not in passed]).scatter()
        best = max(z, key=z.__getitem__, default=None)
        if best is None or z[best] < _WORTH or len(found) == _MOST:
            break
        passed.add(best)
        trial = refit((*(f.element for f in found), best))
        seen = _fitted(trial, best)
        if seen is not None:
            found.append(seen)
            fit = trial
    return tuple(found), fit


def _fitted(fit: LineFit, element: str) -> FoundElement | None:
    """Return an element of a fit if it is there; None if something else is taken for it."""
    place = fit.index(element)
    photons = float(fit.amplitudes[place])
    # Whether it is there does not hang on how well the ratios of its lines are known.
    variance = fit.covariance[place, place] - fit.ratio_covariance[place, place]
    significance = float(fit.unbounded[place] / np.sqrt(variance))
    counts = photons * float(fit.design[:, place].sum())
    family = fit.model.families[place]
    return _seen(fit, family, photons, significance, counts, partial(_further, fit))


def _seen(
    fit: LineFit,
    family: LineFamily,
    photons: float,
    significance: float,
    counts: float,
    further: Callable[[np.ndarray], list[tuple[float, float]]],
) -> FoundElement | None:
    """Return an element if it is there: clear, where its lines lie, and in their ratios.

    Parameters
    ----------
    fit : LineFit
    family : LineFamily
        By which it is tried.
    photons, significance, counts : float
    further : callable
        Amount of each of some columns beside all lines of the element, and its standard deviation.
    """
    model = fit.model
    least = _THERE if family.alpha_energy > _SOFT else _THERE_SOFT
    if photons <= 0 or significance < least:
        return None
    peaks = peaks_of(
        [family], fit.spectrum.axis, model.beam_energy, model.detector, fit.calibration
    )
    of_peak = peaks.profiles.sum(axis=0)
    strongest = int(np.argmax(of_peak))
    others = np.flatnonzero(np.arange(of_peak.size) != strongest)
    moved = _change_with_shift(fit, family) * photons
    (shift, sigma), *more_of = further(np.column_stack([moved, peaks.profiles[:, others]]))
    if abs(shift) > max(_AWAY * sigma, _NEAR):
        return None
    evidence = [SeenLine(_name(peaks.parts[strongest]), family.alpha_energy, significance)]
    for i, (more, sigma) in zip(others, more_of, strict=True):
        if abs(more) > _AWAY * np.hypot(sigma, _RATIO[family.shell[0]] * photons):
            return None
        if photons + more > _AWAY * sigma:
            part = peaks.parts[i]
            evidence.append(SeenLine(_name(part), part.alpha_energy, (photons + more) / sigma))
    return FoundElement(
        family.element,
        family.name,
        family.alpha_energy,
        counts,
        significance,
        tuple(sorted(evidence, key=lambda e: -e.significance)),
    )


def _name(part: LineFamily) -> str:
    return visible_name(part.lines[0])


def _change_with_shift(fit: LineFit, family: LineFamily) -> np.ndarray:
    """Counts of one photon that a family 1 keV higher would have more; (channels,)."""
    of = fit.model
    model = SpectrumModel((family,), of.beam_energy, of.detector, 1, of.absorption)
    up, down = (
        model.line_columns(
            fit.spectrum.axis, replace(fit.calibration, shift=fit.calibration.shift + step)
        )[:, 0]
        for step in (_STEP, -_STEP)
    )
    return np.asarray((up - down) / (2 * _STEP))


def _further(fit: LineFit, columns: np.ndarray) -> list[tuple[float, float]]:
    """Amount of each of some columns beside a fit, by itself, and its standard deviation."""
    found = GivingWay.of(fit).beside(columns)
    each = (found.amounts([i]) for i in range(columns.shape[1]))
    return [(float(amount[0]), float(np.sqrt(error[0, 0]))) for amount, error in each]


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
    with the rest, and told (`siftem.fit.null_elements`).

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
    rest = null_scatter(fit, candidates)
    return replace(rest, contaminants=(*found, *rest.contaminants))
