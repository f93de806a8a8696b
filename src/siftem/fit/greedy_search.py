"""The elements of a spectrum, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import numpy as np
from scipy.interpolate import BSpline
from scipy.ndimage import uniform_filter1d
from scipy.optimize import nnls

from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.fit.calibrate import Known
from siftem.fit.fitter import LineFitter, fit_response
from siftem.fit.line_evidence import FoundElement, LineDoubt, line_doubt
from siftem.fit.line_search import (
    Left,
    LineLibrary,
    families_agree,
    residual_variance,
)
from siftem.fit.poisson import PoissonFit, fit_poisson
from siftem.fit.propagation import LineFit
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.lines import family_emission, line_families
from siftem.xray.response import pile_up

#: Elements that stand out most are compared by a fit.
_TRIED = 4
#: Shifts of the energy axis that are tried (keV), and how likely one is (standard deviation).
_SHIFTS = np.linspace(-0.16, 0.16, 17)
_FINER = 0.01
#: Steps where the deviance is more than so many times the least are not looked at any closer.
_WORTH = 3.0
#: Shifts farther apart than this, keV, put lines on those of other elements.
_APART = 0.05
_SHIFT_PRIOR = 0.04
#: A shift must lower the deviance by this share and number.
_CLEARLY, _CLEARLY_COUNTS = 0.1, 20.0
#: What is rare must explain this much more than what is common to be preferred.
_RARE_HANDICAP = 1.3
#: M lines with less than this share of what L lines ask for are missing; L lines may ask for too
#: little by this factor; lines with less than this share of their family hide nothing.
_MISSING, _AT_MOST, _WEAK = 0.5, 1.5, 0.01
# fmt: off
#: Elements that one peak of K lines is enough for.
COMMON = frozenset([
    "B", "C", "N", "O", "F", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "K", "Ca", "Ti", "V", "Cr",
    "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "As", "Sr", "Zr", "Nb", "Mo", "Ag", "Cd", "Sn",
    "Ba", "Ta", "W", "Pt", "Au", "Pb",
])
# fmt: on


class GreedySearch:
    """The state of a search: scale of the energy axis, profiles, and the latest fit."""

    def __init__(
        self, spectrum: Spectrum, candidates: Sequence[str], energy: float, detector: Detector
    ) -> None:
        self.spectrum = spectrum
        self.candidates = tuple(dict.fromkeys(candidates))
        self.energy = energy
        self.detector = detector
        self.extra = np.maximum(np.asarray(spectrum.variance) - spectrum.counts, 0.0)
        self._set(Calibration(resolution=detector.resolution))
        if not self.library.families:
            raise InputError("none of the candidate elements has a line in the energy range")
        self.rival_shifts: tuple[float, ...] = ()
        self.likely_shift = self._likely_shift()
        if self.likely_shift:
            self._set(replace(self.calibration, shift=self.likely_shift))

    def _set(self, calibration: Calibration) -> None:
        axis = self.spectrum.axis
        self.calibration = calibration
        self.library = LineLibrary(self.candidates, axis, self.energy, self.detector, calibration)
        model = SpectrumModel((), self.energy, self.detector, 1)
        kramers = model.continuum_columns(axis, calibration)[:, 0]
        energies = calibration.true_energies(axis)
        self.sums = pile_up(self.spectrum.counts, axis, energies=energies)
        columns = np.column_stack([smooth_columns(kramers, axis), self.sums])
        self.smooth = columns[:, columns.any(axis=0)]
        self._fits: dict[frozenset[str], tuple[list[int], PoissonFit]] = {}

    def _likely_shift(self) -> float:
        """Shift (keV) of the axis at which lines explain the spectrum best.

        Of all candidates at once, with the continuum: common elements alone may explain rare ones,
        badly, at another shift. None unless it explains clearly more than no shift.
        """
        families = line_families(
            self.candidates, beam_energy=self.energy, low=self.spectrum.axis.to_kev().first,
            high=self.spectrum.axis.to_kev().last,
        )  # fmt: skip
        if not families:
            return 0.0
        model = SpectrumModel(tuple(families), self.energy, self.detector, 1)

        def cost(shift: float) -> float:
            columns = model.line_columns(self.spectrum.axis, replace(self.calibration, shift=shift))
            design = np.hstack([self.smooth, columns[:, columns.any(axis=0)]])
            fit = fit_poisson(
                design, self.spectrum.counts, offset=self.spectrum.background, max_iter=6, tol=1e-3
            )
            return float(fit.deviance + (shift / _SHIFT_PRIOR) ** 2)

        costs = np.array([cost(float(shift)) for shift in _SHIFTS])
        beyond = np.concatenate([[np.inf], costs, [np.inf]])
        lowest = (costs <= beyond[:-2]) & (costs <= beyond[2:]) & (costs < _WORTH * costs.min())
        finer = {s + d for s in _SHIFTS[lowest] for d in (-_FINER, 0.0, _FINER)} | {0.0}
        tried = {float(shift): cost(float(shift)) for shift in sorted(finer, key=abs)}
        least = min(tried.values())
        good = [s for s, c in tried.items() if least >= (1 - _CLEARLY) * c - _CLEARLY_COUNTS]
        if 0.0 in good:
            likely = 0.0
        else:  # the best one around the nearest
            likely = min((s for s in good if abs(s - good[0]) < _APART), key=tried.__getitem__)
        # L lines of neighbours in the periodic table lie alike, so many eV apart.
        for shift in sorted((s for s in good if abs(s - likely) > _APART), key=tried.__getitem__):
            if all(abs(shift - rival) > _APART for rival in self.rival_shifts):
                self.rival_shifts = (*self.rival_shifts, shift)
        return likely

    def calibrate(self, chosen: Sequence[str], *, near: bool = False) -> None:
        """Fit energy scale and resolution with the elements so far.

        Parameters
        ----------
        chosen : sequence of str
        near : bool
            Keep the scale about where the lines of all elements told it to be.
        """
        if not chosen:
            return
        # From the likely shift: a fit of its own would look for it near zero.
        shift = self.likely_shift if near else self.calibration.shift
        axis = self.spectrum.axis
        moved = replace(axis, offset=axis.offset - shift * axis.per_kev)
        known = Known.while_searching(self.detector.resolution, len(chosen)) if near else None
        found = fit_response(
            replace(self.spectrum, axis=moved), chosen, beam_energy=self.energy,
            detector=self.detector, known=known,
        )  # fmt: skip
        self._set(replace(found, shift=found.shift + shift))

    def line_counts(self, spectra: np.ndarray, chosen: Sequence[str]) -> np.ndarray:
        """Counts of each chosen element's hardest family in other spectra on the same axis.

        By weighted least squares without negative amounts, all lines together. The hardest family
        on the axis is the least overlapped.

        Parameters
        ----------
        spectra : ndarray of shape (k, channels)
        chosen : sequence of str

        Returns
        -------
        ndarray of shape (k, elements)
        """
        places = [list(self.library.of(e)) for e in chosen]
        lines = self.library.profiles[:, [i for own in places for i in own]]
        design = np.hstack([self.smooth, lines])
        starts = self.smooth.shape[1] + np.cumsum([0, *(len(own) for own in places[:-1])])
        there = np.array([len(own) > 0 for own in places])
        out = np.zeros((len(spectra), len(chosen)))
        for row, values in zip(out, np.asarray(spectra, float), strict=True):
            weight = 1 / np.sqrt(np.maximum(values, 1e-3 * values.max()))
            amounts = nnls(design * weight[:, None], values * weight)[0] * design.sum(axis=0)
            row[there] = amounts[starts[there]]
        return out

    def surely_in(
        self, spectrum: Spectrum, chosen: Sequence[str], significance: float
    ) -> tuple[str, ...]:
        """Return those of some elements that another spectrum of the same detector surely holds.

        All lines together, with all that is not known of their ratios and shapes: F K beside Fe L
        is none.

        Parameters
        ----------
        spectrum : Spectrum
        chosen : sequence of str
            Of the candidates.
        significance : float
            In standard deviations.
        """
        other = copy(self)
        other.spectrum = spectrum
        other.extra = np.maximum(np.asarray(spectrum.variance) - spectrum.counts, 0.0)
        other._set(self.calibration)
        return tuple(other._pruned([e for e in chosen if len(other.library.of(e))], significance))

    def next_element(self, chosen: list[str], significance: float) -> str | None:
        """Return the element that explains most beside those already chosen, or None."""
        few = self._candidates(chosen, significance, together=True)
        if not few:
            # A peak that nothing explains is there all the same, and left out it would spoil the
            # rest: whoever made the spectrum may have known one line for each element.
            few = self._candidates(chosen, significance, together=True, alone=True)
        return few[0] if few else None

    def reconsidered(self, chosen: list[str], significance: float) -> list[str]:
        """Drop what the others explain, then let each element be replaced by a better one."""
        chosen = self._pruned(chosen, significance)
        for element in list(chosen):
            rest = [e for e in chosen if e != element]
            few = self._candidates(rest, significance, together=False)
            if element in few:
                chosen[chosen.index(element)] = few[0]
        return chosen

    def _candidates(
        self, chosen: list[str], significance: float, *, together: bool, alone: bool = False
    ) -> list[str]:
        """Credible elements beside those already chosen, by what they explain."""
        fit, design = self._quick_fit(chosen)
        continuum = self.smooth @ fit.amplitudes[: self.smooth.shape[1]]
        # What is not yet explained counts by the data: the lines of any element there would
        # else seem better the less the model knows.
        smoothed = np.maximum(fit.mean, uniform_filter1d(self.spectrum.counts, 5))
        peaks = smoothed - continuum - self.spectrum.background
        variance = residual_variance(smoothed, peaks, self.spectrum.axis, self.extra)
        photons = fit.amplitudes[self.smooth.shape[1] :]
        left = left_of(
            self.spectrum.counts - fit.mean, variance, design, self._doubt(chosen, photons)
        )
        few = list(
            self.library.best(
                left,
                set(chosen),
                significance,
                common=COMMON,
                most=_TRIED,
                together=together,
                alone=alone,
            )
        )

        sure = set(few)
        if together and few:
            # One that is a good deal off may be the only one whose lines are all there.
            few += [
                e
                for e in self.library.best(
                    left, {*chosen, *few}, significance, common=COMMON, most=_TRIED, lenient=True
                )
                if e in COMMON
            ]

        def explained(element: str) -> float:
            gain = fit.deviance - self._quick_fit([*chosen, element])[0].deviance
            gain = gain if element in sure else gain / _RARE_HANDICAP
            return gain if element in COMMON else gain / _RARE_HANDICAP

        return few if len(few) < 2 else sorted(few, key=explained, reverse=True)

    def _pruned(self, chosen: list[str], significance: float) -> list[str]:
        chosen = list(chosen)
        while chosen:
            fit, design = self._quick_fit(chosen)
            n = self.smooth.shape[1]
            lines = design[:, n:] @ fit.amplitudes[n:]
            variance = residual_variance(fit.mean, lines, self.spectrum.axis, self.extra)
            doubt = self._doubt(chosen, fit.amplitudes[n:])
            sigma = linear_sigma(left_of(lines, variance, design, doubt))
            z = fit.amplitudes[n:] / sigma[n : design.shape[1]]
            owner = [e for e in chosen for _ in self.library.of(e)]
            best = {e: max(v for o, v in zip(owner, z, strict=True) if o == e) for e in chosen}
            weakest = min(chosen, key=best.__getitem__)
            if best[weakest] >= significance:
                break
            chosen.remove(weakest)
        return chosen

    def _doubt(self, chosen: Sequence[str], photons: np.ndarray) -> np.ndarray:
        if not chosen:
            return np.zeros((self.spectrum.axis.size, 0))
        return LineDoubt.joined([self.library.doubt(e) for e in chosen]).columns(photons)

    def _quick_fit(self, chosen: list[str]) -> tuple[PoissonFit, np.ndarray]:
        """Fit with this scale, once for a set of elements; also return the columns."""
        own = [i for e in chosen for i in self.library.of(e)]
        design = np.hstack([self.smooth, self.library.profiles[:, own]])
        before = self._fits.get(frozenset(chosen))
        if before is None:
            fit = fit_poisson(
                design, self.spectrum.counts, offset=self.spectrum.background, max_iter=15, tol=1e-5
            )
            self._fits[frozenset(chosen)] = own, fit
            return fit, design
        order, fit = before
        if order == own:
            return fit, design
        n = self.smooth.shape[1]
        places = np.array([*range(n), *(n + order.index(i) for i in own)])
        amplitudes, information = fit.amplitudes[places], fit.information[np.ix_(places, places)]
        return replace(fit, amplitudes=amplitudes, information=information), design

    def confirmed(
        self, chosen: list[str], significance: float
    ) -> tuple[tuple[FoundElement, ...], LineFit | None]:
        """Fit the chosen elements together; return those still significant, and their fit."""
        hidden: dict[str, str] = {}
        sure: set[str] = set()
        while chosen:
            fitter = LineFitter(
                tuple(chosen),
                (),
                self.energy,
                self.detector,
                calibration=self.calibration,
                energy_range=(None, None),
            )
            fit = fitter.fit(self.spectrum, free_ratios=False)
            lines = fit.mean - fit.continuum - fit.spectrum.background
            variance = residual_variance(fit.mean, lines, fit.spectrum.axis, self.extra)
            doubt = line_doubt(fit.model, fit.spectrum.axis, fit.calibration)
            every = doubt.columns(fit.amplitudes[: len(fit.model.families)])
            whole = left_of(fit.spectrum.counts - fit.mean, variance, fit.design, every)
            sigma = linear_sigma(whole)
            found = [self._confirm(fit, variance, doubt, sigma, e) for e in chosen]
            doubted: dict[str, str] = {}
            for f in found:
                owner = None if f is None else in_place_of_m_lines(f, fit, doubt)
                if f is not None and owner is not None and f.element not in sure:
                    doubted[f.element] = owner
            sure |= self._surely_there(list(doubted), fitter, significance)
            for i, f in enumerate(found):
                if f is not None and f.element in doubted and f.element not in sure:
                    hidden[f.line] = doubted[f.element]
                    found[i] = None
            weak = [f for f in found if f is None or f.significance < significance]
            if not weak:
                kept = sorted((f for f in found if f), key=lambda f: -f.counts)
                told = tuple(
                    replace(f, may_hide=tuple(x for x, e in hidden.items() if e == f.element))
                    for f in kept
                )
                return told, fit
            # One at a time: without the weakest, another may become clear.
            z = [0.0 if f is None else f.significance for f in found]
            chosen = [e for e in chosen if e != chosen[int(np.argmin(z))]]
        return (), None

    def _surely_there(
        self, doubted: Sequence[str], fitter: LineFitter, significance: float
    ) -> set[str]:
        """Those of some elements that are there even if the response and all ratios give way."""
        if not doubted:
            return set()
        free = replace(fitter, calibration=None)
        rest = tuple(e for e in fitter.elements if e not in doubted)
        every, without = free.fit(self.spectrum), replace(free, elements=rest).fit(self.spectrum)
        misfit = every.reduced_deviance
        gain = self.spectrum.axis.size * (without.reduced_deviance - misfit) / max(misfit, 1.0)
        if gain < significance**2:
            return set()
        sigma = np.sqrt(np.diag(every.covariance))
        return {
            e for e in doubted
            if every.unbounded[every.index(e)] > significance * sigma[every.index(e)]
        }  # fmt: skip

    def _confirm(
        self,
        fit: LineFit,
        variance: np.ndarray,
        doubt: LineDoubt,
        sigmas: np.ndarray,
        element: str,
    ) -> FoundElement | None:
        """Size, significance and peaks of an element in a fit; None when they disagree."""
        own = [
            i
            for i, f in enumerate(fit.model.families)
            if f.element == element and fit.spectrum.axis.to_kev().contains(f.alpha_energy)
        ]
        if not own:
            return None
        families = [fit.model.families[i] for i in own]
        residual = fit.spectrum.counts - fit.mean
        every = fit.amplitudes[: len(fit.model.families)]
        sigma = sigmas[own]
        photons = fit.amplitudes[own]
        emission = np.array([family_emission(f, self.energy) for f in families])
        if not families_agree(families, emission, photons, sigma):
            return None
        others = np.delete(fit.design, own, axis=1)
        rest = np.where(np.isin(np.arange(every.size), own), 0.0, every)
        alone = left_of(
            residual + fit.design[:, own] @ photons, variance, others, doubt.columns(rest)
        )
        evidence = self.library.seen(element, alone, common=element in COMMON, lenient=True)
        lacks = ""
        if not evidence and element in COMMON:
            lacks = "K beta"
            evidence = self.library.seen(element, alone, common=True, lenient=True, alone=True)
        if not evidence:
            return None
        counts = photons * fit.design[:, own].sum(axis=0)
        clearest = int(np.argmax(photons / sigma))
        return FoundElement(
            element,
            families[clearest].name,
            families[clearest].alpha_energy,
            float(counts[clearest]),
            float(photons[clearest] / sigma[clearest]),
            evidence,
            lacks=lacks,
        )


def in_place_of_m_lines(found: FoundElement, fit: LineFit, doubt: LineDoubt) -> str | None:
    """Return the element for whose M lines K lines may stand, if its L lines are there.

    Ratios of M lines are not known well, so that P fits a peak of Pt, or S one of Pb, better than
    the M lines themselves. These must be there: where they are not, and would be hardly less than
    what was found in their place, only a fit in which all gives way can tell one from the other.

    Parameters
    ----------
    found : FoundElement
    fit : LineFit
        With all elements.
    doubt : LineDoubt
        Of its families.
    """
    families = fit.model.families
    photons = fit.amplitudes[: len(families)]
    likely = doubt.m_of_l @ photons
    width = 1e-3 * float(fit.model.detector.fwhm(found.energy))
    for i in np.flatnonzero(photons < _MISSING * likely):
        own, seen = families[i], float(fit.design[:, i].sum())
        near = own.weights[np.abs(own.energies - found.energy) < width]
        enough = photons[i] * seen + found.counts < _AT_MOST * likely[i] * seen
        if found.line.endswith(" K") and (near > _WEAK).any() and enough:
            return own.element
    return None


def left_of(
    residual: np.ndarray, variance: np.ndarray, design: np.ndarray, doubt: np.ndarray
) -> Left:
    """What a fit leaves, beside its columns and what is not known of them."""
    design = design[:, design.any(axis=0)]
    prior = np.concatenate([np.zeros(design.shape[1]), np.ones(doubt.shape[1])])
    return Left(residual, variance, np.hstack([design, doubt]), prior)


def linear_sigma(left: Left) -> np.ndarray:
    """Standard deviations of all columns' amplitudes by linear propagation; (p,)."""
    weighted = left.design / left.variance[:, None]
    information = weighted.T @ left.design + np.diag(left.prior)
    scale = np.sqrt(np.maximum(np.diag(information), 1e-300))
    gram = information / np.outer(scale, scale)
    return np.sqrt(np.diag(np.linalg.pinv(gram, hermitian=True))) / scale


def smooth_columns(continuum: np.ndarray, axis: EnergyAxis) -> np.ndarray:
    """Return the continuum times broad bumps, which let it bend; (channels, bumps).

    The bumps are cubic B-splines, many peak widths wide and wider at higher energy.
    """
    kev = axis.to_kev()
    # Half a keV at 0 and two at 6 keV: knots at equal steps of ln(E + 2 keV).
    low, high = np.log(max(kev.first, 0.0) + 2.0), np.log(max(kev.last, 0.1) + 2.0)
    steps = max(int(np.ceil((high - low) / 0.25)), 1)
    knots = np.exp(np.linspace(low - 0.75, high + 0.75, steps + 7)) - 2.0
    inside = np.clip(kev.centers, knots[3], knots[-4] - 1e-9)
    bumps = BSpline.design_matrix(inside, knots, 3).toarray()
    columns = bumps * continuum[:, None]
    return np.asarray(columns[:, columns.max(axis=0) > 1e-6 * columns.max()])
