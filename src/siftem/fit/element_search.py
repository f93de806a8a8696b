"""Which elements a spectrum shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BSpline
from scipy.ndimage import uniform_filter1d

from siftem.blas_threads import one_blas_thread
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.fit.line_fit import LineFit, fit_lines
from siftem.fit.line_search import (
    CANDIDATES,
    LineLibrary,
    families_agree,
    residual_variance,
)
from siftem.fit.poisson import PoissonFit, fit_poisson
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.elements import atomic_number
from siftem.xray.lines import family_emission
from siftem.xray.pile_up import pile_up

#: Elements at the most; a spectrum with more is not understood.
_MOST = 30
#: Numbers of elements after which the energy scale is fitted anew.
_CALIBRATE_AT = (2, 5, 10, 18)
#: Elements that stand out most are compared by a fit.
_TRIED = 4
#: What is rare must explain this much more than what is common to be preferred.
_RARE_HANDICAP = 1.3
# fmt: off
_COMMON = frozenset([
    "B", "C", "N", "O", "F", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "K", "Ca", "Ti", "V", "Cr",
    "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "As", "Sr", "Zr", "Nb", "Mo", "Ag", "Cd", "Sn",
    "Ba", "Ta", "W", "Pt", "Au", "Pb",
])
# fmt: on


@dataclass(frozen=True)
class FoundElement:
    """An element that a spectrum shows.

    Parameters
    ----------
    element : str
    line : str
        Its clearest family in the spectrum, such as "Fe K".
    energy : float
        Energy of that family's alpha line, keV.
    counts : float
        Fitted counts of the family.
    significance : float
        Counts over their standard deviation, which includes that the peaks of the model
        are not quite right.
    """

    element: str
    line: str
    energy: float
    counts: float
    significance: float


def find_elements(
    spectrum: Spectrum,
    *,
    beam_energy: float | None = None,
    detector: Detector | None = None,
    significance: float = 6.0,
    candidates: Sequence[str] = CANDIDATES,
    energy_range: tuple[float | None, float | None] = (0.25, None),
) -> tuple[FoundElement, ...]:
    """Suggest the elements of a spectrum.

    Starts from a smooth continuum and adds one element after the other: the one whose lines
    stand out most from what is left (score test), provided that all its families that should
    show do show. The continuum may bend, sum peaks are allowed for, and a share of each peak
    counts as unknown, so that neither a bend nor the flank of a strong peak passes for a
    line. In the end all are fitted together and what is not significant is dropped. A
    suggestion: elements whose lines coincide can be mistaken for each other.

    Parameters
    ----------
    spectrum : Spectrum
    beam_energy : float, optional
        keV; by default the acquisition's, else 200.
    detector : Detector, optional
    significance : float
        Standard deviations that an element must reach.
    candidates : sequence of str
        Elements that are tried.
    energy_range : tuple
        In keV.

    Returns
    -------
    tuple of FoundElement
        Most counts first.

    Raises
    ------
    InputError
        When the spectrum holds no counts in the range, or no candidate has a line there.
    """
    if not significance > 0:
        raise InputError(f"significance must be positive, got {significance}")
    for element in candidates:
        atomic_number(element)
    energy = beam_energy or spectrum.acquisition.beam_energy or 200.0
    detector = detector or Detector(resolution=spectrum.acquisition.resolution or 130.0)
    cut = _cut(spectrum, energy_range)
    kev = cut.axis.to_kev()
    if kev.last >= energy:
        cut = _cut(spectrum, (energy_range[0], 0.98 * energy))
    counts = cut.counts
    if not counts.sum() > 0:
        raise InputError(f"spectrum {spectrum.name!r} holds no counts: no element to find")
    with one_blas_thread():
        search = _Search(cut, candidates, energy, detector)
        chosen: list[str] = []
        for _ in range(_MOST):
            best = search.next_element(chosen, significance)
            if best is None:
                break
            chosen.append(best)
            if len(chosen) in _CALIBRATE_AT:
                search.calibrate(chosen)
                chosen = search.reconsidered(chosen, significance)
        for _ in range(2):
            search.calibrate(chosen)
            chosen = search.reconsidered(chosen, significance)
        return search.confirmed(chosen, significance)


def unexplained_lines(
    fit: LineFit,
    *,
    significance: float = 8.0,
    candidates: Sequence[str] = CANDIDATES,
    most: int = 10,
) -> tuple[FoundElement, ...]:
    """Name lines in the residual of a fit that none of its elements explains.

    Parameters
    ----------
    fit : LineFit
    significance : float
        Standard deviations that an element's lines must reach in the residual.
    candidates : sequence of str
        Elements that are tried.
    most : int
        Elements to name at the most.

    Returns
    -------
    tuple of FoundElement
        The likely element of each line, most significant first; each is added to the fit
        before the next is sought.
    """
    spectrum, model = fit.spectrum, fit.model
    counts = spectrum.counts
    extra = np.maximum(np.asarray(spectrum.variance) - counts, 0.0)
    variance = residual_variance(fit.mean, fit.mean - fit.continuum, spectrum.axis, extra)
    if not _stands_out(counts - fit.mean, variance, spectrum.axis, 0.5 * significance):
        return ()
    known = {f.element for f in model.families}
    library = LineLibrary(
        [e for e in candidates if e not in known],
        spectrum.axis, model.beam_energy, model.detector, fit.calibration,
    )  # fmt: skip
    if not library.families:
        return ()
    bends = _smooth_columns(fit.continuum, spectrum.axis)
    design = np.hstack([fit.design, bends, pile_up(counts, spectrum.axis)])
    design = design[:, design.any(axis=0)]
    found: list[FoundElement] = []
    while len(found) < most:
        scores = library.scores(counts, fit.mean, variance, design)
        standing_out = library.best(scores, {f.element for f in found}, significance)
        if not standing_out:
            break
        best = standing_out[0]
        lead = library.clearest(best, scores)
        place = library.elements.index(best)
        seen = scores.family[lead] * library.profiles[:, lead].sum()
        family = library.families[lead]
        z = float(scores.significance[place])
        found.append(FoundElement(best, family.name, family.alpha_energy, float(seen), z))
        design = np.hstack([design, library.profiles[:, library.of(best)]])
    return tuple(sorted(found, key=lambda f: -f.significance))


class _Search:
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

    def _set(self, calibration: Calibration) -> None:
        axis = self.spectrum.axis
        self.calibration = calibration
        self.library = LineLibrary(self.candidates, axis, self.energy, self.detector, calibration)
        model = SpectrumModel((), self.energy, self.detector, 1)
        kramers = model.continuum_columns(axis, calibration)[:, 0]
        self.sums = pile_up(self.spectrum.counts, axis)
        columns = np.column_stack([_smooth_columns(kramers, axis), self.sums])
        self.smooth = columns[:, columns.any(axis=0)]

    def calibrate(self, chosen: Sequence[str]) -> None:
        """Fit energy scale and resolution with the elements so far."""
        if not chosen:
            return
        self._set(self._fit(chosen).calibration)

    def next_element(self, chosen: list[str], significance: float) -> str | None:
        """Return the element that explains most beside those already chosen, or None."""
        fit, design = self._quick_fit(chosen)
        continuum = self.smooth @ fit.amplitudes[: self.smooth.shape[1]]
        # What is not yet explained counts by the data: the lines of any element there would
        # else seem better the less the model knows.
        smoothed = np.maximum(fit.mean, uniform_filter1d(self.spectrum.counts, 5))
        peaks = smoothed - continuum - self.spectrum.background
        variance = residual_variance(smoothed, peaks, self.spectrum.axis, self.extra)
        scores = self.library.scores(self.spectrum.counts, fit.mean, variance, design)
        few = self.library.best(scores, set(chosen), significance, most=_TRIED)
        if len(few) < 2:
            return few[0] if few else None

        def explained(element: str) -> float:
            gain = fit.deviance - self._quick_fit([*chosen, element])[0].deviance
            return gain if element in _COMMON else gain / _RARE_HANDICAP

        return max(few, key=explained)

    def reconsidered(self, chosen: list[str], significance: float) -> list[str]:
        """Drop what the others explain, then let each element be replaced by a better one."""
        chosen = self._pruned(chosen, significance)
        for element in list(chosen):
            rest = [e for e in chosen if e != element]
            better = self.next_element(rest, significance)
            if better is not None and better != element:
                chosen[chosen.index(element)] = better
        return chosen

    def _pruned(self, chosen: list[str], significance: float) -> list[str]:
        chosen = list(chosen)
        while chosen:
            fit, design = self._quick_fit(chosen)
            n = self.smooth.shape[1]
            lines = design[:, n:] @ fit.amplitudes[n:]
            variance = residual_variance(fit.mean, lines, self.spectrum.axis, self.extra)
            sigma = _linear_sigma(design, variance)
            z = fit.amplitudes[n:] / sigma[n:]
            owner = [e for e in chosen for _ in self.library.of(e)]
            best = {e: max(v for o, v in zip(owner, z, strict=True) if o == e) for e in chosen}
            weakest = min(chosen, key=best.__getitem__)
            if best[weakest] >= significance:
                break
            chosen.remove(weakest)
        return chosen

    def _quick_fit(self, chosen: list[str]) -> tuple[PoissonFit, np.ndarray]:
        own = [i for e in chosen for i in self.library.of(e)]
        design = np.hstack([self.smooth, self.library.profiles[:, own]])
        fit = fit_poisson(
            design, self.spectrum.counts, offset=self.spectrum.background, max_iter=15, tol=1e-5
        )
        return fit, design

    def confirmed(self, chosen: list[str], significance: float) -> tuple[FoundElement, ...]:
        """Fit the chosen elements together and keep those that are still significant."""
        while chosen:
            fit = self._fit(chosen, self.calibration)
            lines = fit.mean - fit.continuum - fit.spectrum.background
            variance = residual_variance(fit.mean, lines, fit.spectrum.axis, self.extra)
            found = [self._confirm(fit, variance, e) for e in chosen]
            weak = [f for f in found if f is None or f.significance < significance]
            if not weak:
                kept = [f for f in found if f is not None]
                return tuple(sorted(kept, key=lambda f: -f.counts))
            # One at a time: without the weakest, another may become clear.
            z = [0.0 if f is None else f.significance for f in found]
            chosen = [e for e in chosen if e != chosen[int(np.argmin(z))]]
        return ()

    def _confirm(self, fit: LineFit, variance: np.ndarray, element: str) -> FoundElement | None:
        """Size and significance of an element in a fit; None when its families disagree."""
        own = [i for i, f in enumerate(fit.model.families) if f.element == element]
        own = [
            i for i in own
            if fit.spectrum.axis.to_kev().contains(fit.model.families[i].alpha_energy)
        ]  # fmt: skip
        if not own:
            return None
        families = [fit.model.families[i] for i in own]
        sigma = _linear_sigma(fit.design, variance)[own]
        photons = fit.amplitudes[own]
        emission = np.array([family_emission(f, self.energy) for f in families])
        if not families_agree(families, emission, photons, sigma):
            return None
        counts = photons * fit.design[:, own].sum(axis=0)
        clearest = int(np.argmax(photons / sigma))
        return FoundElement(
            element,
            families[clearest].name,
            families[clearest].alpha_energy,
            float(counts[clearest]),
            float(photons[clearest] / sigma[clearest]),
        )

    def _fit(self, chosen: Sequence[str], calibration: Calibration | None = None) -> LineFit:
        return fit_lines(
            self.spectrum,
            chosen,
            beam_energy=self.energy,
            detector=self.detector,
            calibration=calibration,
            energy_range=(None, None),
        )


def _stands_out(
    residual: np.ndarray, variance: np.ndarray, axis: EnergyAxis, significance: float
) -> bool:
    """Whether the residual, summed over a peak's width, rises this high anywhere."""
    width = max(round(0.08 / axis.to_kev().scale), 1)
    box = np.ones(width)
    sums = np.convolve(residual, box, mode="same")
    return bool((sums > significance * np.sqrt(np.convolve(variance, box, mode="same"))).any())


def _linear_sigma(design: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Standard deviations of amplitudes by linear propagation; (p,)."""
    weighted = design / variance[:, None]
    scale = np.sqrt(np.maximum((design * weighted).sum(axis=0), 1e-300))
    gram = (weighted.T @ design) / np.outer(scale, scale)
    return np.sqrt(np.diag(np.linalg.pinv(gram, hermitian=True))) / scale


def _cut(spectrum: Spectrum, energy_range: tuple[float | None, float | None]) -> Spectrum:
    unit = 1.0 if spectrum.axis.unit == "keV" else 1e3
    low, high = (None if e is None else e * unit for e in energy_range)
    return spectrum.cropped(low, high)


def _smooth_columns(continuum: np.ndarray, axis: EnergyAxis) -> np.ndarray:
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
