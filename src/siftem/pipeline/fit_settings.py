"""What every line fit of a run has in common."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypedDict
from weakref import WeakKeyDictionary

from siftem.errors import DoubtWarning, InputError, SiftemWarning
from siftem.fit.element_search import FoundElement, find_elements, unexplained_lines
from siftem.fit.line_fit import LineFit, LineFitter
from siftem.fit.null_elements import contaminants_of
from siftem.fit.spectrum_model import Absorption, Calibration, quantified_family
from siftem.pipeline.factor_sources import FactorSources, factor_sources
from siftem.pipeline.parts import attempted, recorded_warnings
from siftem.pipeline.recipe import Phase, Recipe
from siftem.printed_numbers import percent
from siftem.quantification.composition import Composition, quantify
from siftem.quantification.detection_limit import warn_of_unexplained
from siftem.quantification.factor_lines import resolved_factors
from siftem.quantification.k_values import k_values
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.xray.detector import BARE, POLYMER, Detector

#: Lines that a list lacks count from this part of all line counts on: without them a composition
#: would be of something else. Columns and holders add less, as a rule.
STRONG = 0.003
#: Standard deviations from which on what the fit of the whole map leaves is told.
_STANDS_OUT = 8.0
#: What is done with lines that are in no list, and what to do.
_AS_SUPPORT = (
    "are fitted beside the others and left out of compositions, as those of a support. Add what is "
    "in the specimen to the elements (--elements), and the rest to the support (--support)"
)
#: What scattered electrons excite beside the specimen: grids, and what ion beams leave.
GRID = frozenset({"Cu", "Ga", "Pt", "Au"})
_SHOWN: WeakKeyDictionary[SpectrumImage, tuple[FoundElement, ...]] = WeakKeyDictionary()
#: Settings that were fitted ahead, and the recipe that they are for.
_AHEAD: WeakKeyDictionary[SpectrumImage, tuple[Recipe, Ahead]] = WeakKeyDictionary()
#: What a recipe says of the detector's window.
_WINDOWS = {None: None, "none": BARE, "polymer": POLYMER}


class FitOptions(TypedDict):
    """What fits, subtractions, unmixing and compositions are told alike."""

    elements: tuple[str, ...]
    support: tuple[str, ...]
    beam_energy: float
    detector: Detector
    calibration: Calibration | None
    energy_range: tuple[float | None, float | None]
    n_continuum: int | None


@dataclass(frozen=True)
class FitSettings:
    """What every line fit of a run has in common.

    Parameters
    ----------
    elements, support : tuple of str
    beam_energy : float
        keV.
    detector : Detector
    calibration : Calibration
        Fitted once, to the spectrum with most counts.
    recipe : Recipe
    sources : FactorSources
        What overrides computed k-factors.
    unlisted : tuple of str
        Elements of the support that nobody named, and which may be in the specimen.
    """

    elements: tuple[str, ...]
    support: tuple[str, ...]
    beam_energy: float
    detector: Detector
    calibration: Calibration
    recipe: Recipe
    sources: FactorSources = field(default_factory=FactorSources)
    unlisted: tuple[str, ...] = ()

    @property
    def options(self) -> FitOptions:
        """What every fit of the run is told."""
        return {
            "elements": self.elements,
            "support": self.support,
            "beam_energy": self.beam_energy,
            "detector": self.detector,
            "calibration": self.calibration,
            "energy_range": self.recipe.quantify.energy_range,
            "n_continuum": self.recipe.quantify.continuum_terms,
        }

    def fit(
        self,
        spectrum: Spectrum,
        *,
        absorption: Absorption | None = None,
        calibrate: bool = False,
    ) -> LineFit:
        """Fit all lines of a spectrum; ``calibrate`` fits the energy scale anew."""
        fitter = LineFitter(
            absorption=absorption, split_l=self.recipe.quantify.free_l_groups, **self.options
        )
        return replace(fitter, calibration=None if calibrate else self.calibration).fit(spectrum)

    def quantified(
        self, spectrum: Spectrum, phase: str = "", *, look_for_others: bool = True
    ) -> Composition:
        """Quantify a spectrum; with absorption when thickness and density are known.

        Parameters
        ----------
        spectrum : Spectrum
        phase : str
            Whose density to take; that of the spectrum's name by default.
        look_for_others : bool
            Warn of lines that no element explains.
        """
        own = self.recipe.phases.get(phase or spectrum.name, Phase())
        q, sources = self.recipe.quantify, self.sources
        by_zeta = sources.zeta_factors is not None
        has_film = q.thickness == 0 or (q.thickness is not None and own.density is not None)
        has_film = has_film and not by_zeta
        electrons = sources.electrons_per_pixel
        return quantify(
            spectrum,
            thickness=q.thickness if has_film else None,
            density=own.density if has_film else None,
            k_factors=None if by_zeta else sources.k_factors,
            split_l=q.free_l_groups,
            oxygen=q.oxygen,
            zeta_factors=sources.zeta_factors,
            dose=None if electrons is None else electrons * max(spectrum.n_pixels, 1),
            cross_sections=sources.cross_sections,
            **self.options,
            **({} if look_for_others else {"warn_above": None}),
        )

    def k_of(self, elements: tuple[str, ...], fit: LineFit) -> dict[str, float]:
        """k-factors, for emitted family photons, of elements for which others than computed hold.

        Parameters
        ----------
        elements : tuple of str
        fit : LineFit
            It tells the families.

        Returns
        -------
        dict of str to float
            Empty when nothing overrides the computed ones.
        """
        if not self.sources.any:
            return {}
        # All at once, as `quantified` does: given factors are tied to computed ones by one
        # element, and which one that is must not depend on what is asked for.
        families = {}
        for element in self.elements:
            own = quantified_family(fit.model.families, element, fit.spectrum.axis)
            if own is not None:
                families[element] = own
        given = self.sources.given
        if given is not None:
            given = resolved_factors(given, fit, tuple(families), self.detector)
        found = k_values(
            list(families.values()),
            self.beam_energy,
            self.detector,
            given,
            self.sources.cross_sections,
        )
        every = dict(zip(families, (float(k) for k in found.values), strict=True))
        return {element: every[element] for element in elements if element in every}


class Ahead(NamedTuple):
    """Settings that were fitted before their turn; what there was to say, and doubts among it."""

    settings: FitSettings
    notes: tuple[str, ...]
    doubts: tuple[str, ...]


def shown_elements(si: SpectrumImage) -> tuple[FoundElement, ...]:
    """Elements whose lines the sum of all pixels shows; of one map they are sought once."""
    if si not in _SHOWN:
        whole = Spectrum(si.sum_spectrum(), si.axis, name="all pixels", acquisition=si.acquisition)
        _SHOWN[si] = tuple(find_elements(whole))
    return _SHOWN[si]


def _unlisted_elements(fit: LineFit, si: SpectrumImage) -> tuple[str, ...]:
    """Return elements with strong lines that a fit of all pixels lacks.

    Without them a fit spoils energy scale and continuum for all phases, those that hold none of
    them among them.

    Parameters
    ----------
    fit : LineFit
        Of the sum of all pixels, by the elements that are listed.
    si : SpectrumImage

    Warns
    -----
    DoubtWarning
        Which elements, by which lines; where a search names none, which peaks are left.
    """
    known = {f.element for f in fit.model.families}
    photons = fit.design[:, : len(fit.model.families)] * fit.amplitudes[: len(fit.model.families)]
    counts = float(photons.sum())
    left = unexplained_lines(fit, significance=_STANDS_OUT)
    if not any(f.element in GRID or f.counts > STRONG * counts for f in left):
        return ()
    # The residual of a fit that lacks strong lines names them badly: the search starts anew.
    found = shown_elements(si)
    whole = sum(f.counts for f in found)
    beside = [
        f
        for f in found
        if f.element not in known and (f.element in GRID or f.counts > STRONG * whole)
    ]
    if not beside:
        warn_of_unexplained(fit, fit.spectrum.name, _STANDS_OUT)
    else:
        lines = ", ".join(f"{f.line} ({percent(f.counts / whole)}{f.caveat})" for f in beside)
        warnings.warn(
            f"lines of elements that are not listed hold a part of all line counts, {lines}. They "
            f"{_AS_SUPPORT}",
            DoubtWarning,
            stacklevel=4,
        )
    return tuple(f.element for f in beside)


def settings_ahead(recipe: Recipe, si: SpectrumImage) -> Ahead | None:
    """Fit the settings for the elements that a recipe lists; what is amiss waits for its turn."""
    with recorded_warnings() as told:
        made = attempted("settings", lambda: fit_settings(recipe, si, recipe.elements), None)
    return None if made is None else Ahead(made, tuple(told), tuple(told.doubts))


def keep_ahead(recipe: Recipe, si: SpectrumImage, ahead: Ahead | None) -> None:
    """Have `fit_settings` return what `settings_ahead` made, for this very recipe and map."""
    if ahead is not None:
        _AHEAD[si] = recipe, ahead


def fit_settings(recipe: Recipe, si: SpectrumImage, elements: tuple[str, ...]) -> FitSettings:
    """Fit the energy scale and resolution to the whole map; read what overrides k-factors.

    Raises
    ------
    InputError
        When the beam energy is unknown, or factors can't be used.
    """
    known = _AHEAD.get(si)
    if known is not None and known[0] is recipe and elements == recipe.elements:
        for note in known[1].notes:
            category = DoubtWarning if note in known[1].doubts else SiftemWarning
            warnings.warn(note, category, stacklevel=2)
        return known[1].settings
    acquisition = si.acquisition
    if acquisition.beam_energy is None:
        raise InputError(
            "the file does not say the beam energy: "
            "give acquisition.beam_energy (keV) in the recipe"
        )
    detector = Detector(resolution=acquisition.fwhm, window=_WINDOWS[recipe.quantify.window])
    settings = FitSettings(
        elements=elements,
        support=tuple(e for e in recipe.support if e not in elements),
        beam_energy=acquisition.beam_energy,
        detector=detector,
        calibration=Calibration(resolution=detector.resolution),
        recipe=recipe,
        sources=factor_sources(recipe.quantify, acquisition, si.n_pixels, detector),
    )
    whole = Spectrum(si.sum_spectrum(), si.axis, name="whole map", acquisition=acquisition)
    fit = settings.fit(whole, calibrate=True)
    unlisted = _unlisted_elements(fit, si)
    if unlisted:
        settings = replace(settings, support=(*settings.support, *unlisted), unlisted=unlisted)
        fit = settings.fit(whole, calibrate=True)
    return _with_contaminants(replace(settings, calibration=fit.calibration), fit, whole)


def _with_contaminants(settings: FitSettings, fit: LineFit, whole: Spectrum) -> FitSettings:
    """Add to the support whose faint lines show in the fit of the whole map and are in no list.

    Warns
    -----
    SiftemWarning
        Which elements, by which lines.
    """

    def beside(more: tuple[str, ...]) -> FitSettings:
        return replace(
            settings,
            support=(*settings.support, *more),
            unlisted=(*settings.unlisted, *more),
        )

    found = attempted(
        "the search for elements that nobody lists",
        lambda: contaminants_of(fit, lambda more: beside(more).fit(whole))[0],
        (),
    )
    if found:
        told = ", ".join(
            f"{f.line} ({f.energy:.2f} keV, {f.significance:.1f} sigma)" for f in found
        )
        warnings.warn(
            f"{told}: faint, but clear in the sum of all pixels, and in no list. They "
            f"{_AS_SUPPORT}",
            SiftemWarning,
            stacklevel=3,
        )
    return beside(tuple(f.element for f in found))


def with_film_calibration(
    settings: FitSettings, matrix: Spectrum, composition: Composition
) -> FitSettings:
    """Fit the energy scale once more, to the pure matrix with its absorption.

    Absorption bends the continuum at the edges and weakens soft lines; a fit without it puts
    part of that into the charge-collection depth, and O comes out wrong by half a percent.

    Parameters
    ----------
    settings : FitSettings
        With the calibration of the whole map.
    matrix : Spectrum
        Of the whole pure matrix: a single phase with most counts.
    composition : Composition
        Of the matrix; its absorption is used.

    Returns
    -------
    FitSettings
        The same ones when no film is given.
    """
    absorption = composition.fit.model.absorption
    if absorption is None:
        return settings
    found = settings.fit(matrix, absorption=absorption, calibrate=True)
    return replace(settings, calibration=found.calibration)
