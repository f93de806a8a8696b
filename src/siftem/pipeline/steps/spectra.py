"""Spectra of regions, and of the pure phases by subtraction."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from siftem.eels.edges import edges_in_windows
from siftem.eels.ratios import ElementalRatios, elemental_ratios
from siftem.errors import DoubtWarning, InputError, SiftemWarning
from siftem.fit.spectrum_model import Absorption
from siftem.pipeline.energy_shifts import warn_of_drift, warn_of_shifts
from siftem.pipeline.file_contents import file_content
from siftem.pipeline.fit_settings import FitSettings, fit_settings, with_film_calibration
from siftem.pipeline.open_scales import OpenScale, with_open_ends
from siftem.pipeline.own_pixels import OwnPixels
from siftem.pipeline.parts import attempted
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.recipe_sections import Phase
from siftem.pipeline.region_spectra import mixture_name, region_spectra
from siftem.pipeline.results import Matched
from siftem.pipeline.side_processes import SideProcesses
from siftem.pipeline.soft_lines import warn_of_uneven_phases
from siftem.pipeline.steps.step import Circumstances, Step, plain
from siftem.pipeline.subtraction import pure_losses, pure_spectra
from siftem.printed_numbers import in_words
from siftem.progress import Progress
from siftem.quantification.composition import Composition
from siftem.quantification.line_ratios import LineRatios, with_one_reference
from siftem.quantification.line_ratios import line_ratios as compared_lines
from siftem.segment.regions import Regions
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.integrate import WeightedMixture, integrate, weighted_mixtures
from siftem.unmixing.subtract import half_beside

#: What helps where an edge is not measured alone.
_OTHER_WINDOWS = (
    "Tell other windows (quantify: {edges: [{edge: ..., background: [...], signal: [...]}]})"
)


@dataclass(frozen=True, eq=False)
class RegionSpectra:
    """Spectra of a run.

    Parameters
    ----------
    settings : FitSettings or None
        None when no elements are known.
    integrated : mapping of str to Spectrum
        The pure matrix under its own name, "<grain> + <matrix>" for mixtures.
    pure : mapping of str to Spectrum
        Pure spectrum of each phase: the matrix integrated, the grains after subtraction;
        the matrix alone without elements.
    compositions : mapping of str to Composition
        Of the pure spectra; empty for a bulk specimen and without elements.
    ratios : mapping of str to ElementalRatios or LineRatios
        Of pure and integrated spectra, where compositions cannot be had: of atoms from the edges
        of energy losses, of net X-ray lines for a bulk specimen.
    open_scales : mapping of str to OpenScale
        Of grains without anchors: what is not known of them.
    missing : mapping of str to str
        What could not be had, and why.
    """

    settings: FitSettings | None
    integrated: Mapping[str, Spectrum]
    pure: Mapping[str, Spectrum]
    compositions: Mapping[str, Composition]
    ratios: Mapping[str, ElementalRatios | LineRatios] = field(default_factory=dict)
    open_scales: Mapping[str, OpenScale] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


def pure_phases(
    recipe: Recipe,
    si: SpectrumImage,
    regions: Regions,
    matched: Matched,
    *,
    n_jobs: int = 1,
    progress: Progress,
) -> RegionSpectra:
    """Integrate the regions, subtract the matrix from the mixtures, quantify what is left.

    Warns
    -----
    SiftemWarning
        When no elements are known, or the specimen is bulk.
    """
    progress("spectra", 0.0)
    elements = matched.elements
    missing: dict[str, str] = {}
    impure: dict[str, float] = {}
    integrated = region_spectra(
        si, regions, matched, missing, random_state=recipe.segment.random_state, impure=impure
    )
    matrix = integrated.get(regions.matrix)
    only = {} if matrix is None else {regions.matrix: matrix}
    contaminated = tuple(name for name, phase in recipe.phases.items() if phase.contaminants)
    own = OwnPixels(si, regions, matched, recipe.segment.random_state, contaminated, impure)
    warn_of_shifts(si, matched.factors)
    if si.signal_type == "EELS":
        return _of_losses(recipe, regions, own, integrated, missing)
    settings = _settings(recipe, si, elements, missing)
    if settings is None:
        pure, scales = own.spectra(integrated, only, None, missing)
        return RegionSpectra(None, integrated, pure, {}, {}, scales, missing)
    progress("spectra", 0.2)
    bulk = si.acquisition.bulk or si.signal_type == "EDS_SEM"
    if not bulk:
        warn_of_uneven_phases(si, own.pure_pixels)
    warn_of_drift(si, own.pure_pixels)
    absorption: Absorption | None = None
    if not bulk and matrix is not None:
        settings, absorption = attempted(
            f"the absorption in a film of {regions.matrix}",
            partial(_with_film, settings, matrix),
            (settings, None),
        )
    made = _made(recipe, si, regions, integrated, settings, absorption, missing, bulk=bulk)
    pure, scales = own.spectra(integrated, made, settings, missing)
    progress("spectra", 0.5)
    compositions: dict[str, Composition] = {}
    line_ratios: dict[str, LineRatios] = {}
    if bulk:
        warnings.warn(
            "a bulk specimen (SEM or XRF): k-factors of thin films do not hold, "
            "so compositions are left out and net lines compared instead",
            SiftemWarning,
            stacklevel=2,
        )
        line_ratios = bulk_ratios(pure, integrated, settings)
    else:
        compositions = compositions_of(
            pure,
            lambda name, spectrum: _with_ends(settings, spectrum, scales.get(name)),
            missing,
            n_jobs,
        )
    progress("spectra", 1.0)
    return RegionSpectra(settings, integrated, pure, compositions, line_ratios, scales, missing)


def _of_losses(
    recipe: Recipe,
    regions: Regions,
    own: OwnPixels,
    integrated: dict[str, Spectrum],
    missing: dict[str, str],
) -> RegionSpectra:
    """Pure spectra of energy losses, with ratios of their edges in place of compositions."""
    matrix = integrated.get(regions.matrix)
    anchored = {
        grain: integrated[mixture_name(grain, regions.matrix)]
        for grain in regions.names
        if recipe.phases.get(grain, Phase()).anchor
        and mixture_name(grain, regions.matrix) in integrated
    }
    losses = {} if matrix is None else pure_losses(recipe, anchored, matrix, missing)
    free, scales = own.spectra(integrated, losses, None, missing)
    losses = {n: s for n in own.names if (s := losses.get(n, free.get(n))) is not None}
    ratios = loss_ratios(recipe, losses, integrated, scales)
    return RegionSpectra(None, integrated, losses, {}, ratios, scales, missing)


def _settings(
    recipe: Recipe, si: SpectrumImage, elements: tuple[str, ...], missing: dict[str, str]
) -> FitSettings | None:
    """What all line fits share; None where there is nothing to fit, or no way to."""
    if not elements:
        warnings.warn(
            "no elements are known: name them (--elements) to get compositions"
            if si.signal_type.startswith("EDS")
            else f"a signal of type {si.signal_type or 'unknown'}: spectra only",
            SiftemWarning,
            stacklevel=3,
        )
        return None
    return attempted(
        "every composition", lambda: fit_settings(recipe, si, elements), None, missing=missing
    )


def _made(
    recipe: Recipe,
    si: SpectrumImage,
    regions: Regions,
    integrated: dict[str, Spectrum],
    settings: FitSettings,
    absorption: Absorption | None,
    missing: dict[str, str],
    *,
    bulk: bool,
) -> dict[str, Spectrum]:
    """Subtract the matrix from the mixtures, summed alike or by weights as the recipe says."""
    beside = {} if bulk else _beside(recipe, si, regions)
    subtracted = partial(
        pure_spectra,
        integrated, regions, settings, missing, absorption=absorption, beside=beside,
    )  # fmt: skip
    made = subtracted()
    if recipe.quantify.sums == "weighted":
        weighted = _weighted_sums(recipe, si, regions, made)
        for grain, mixture in weighted.items():
            label = mixture_name(grain, regions.matrix)
            integrated[label] = replace(mixture.spectrum, name=label)
        made = subtracted(weighted=weighted)
    return made


def compositions_of(
    spectra: Mapping[str, Spectrum],
    quantify: Callable[[str, Spectrum], Composition],
    missing: MutableMapping[str, str],
    n_jobs: int = 1,
) -> dict[str, Composition]:
    """Quantify spectra by their names; what can't be quantified is left out and told.

    Parameters
    ----------
    spectra : mapping of str to Spectrum
    quantify : callable
        Gives the composition of a spectrum, of its name and itself.
    missing : mutable mapping of str to str
        Gets the reasons.
    n_jobs : int
        Processes in which they are quantified.
    """

    def one(name: str, spectrum: Spectrum) -> tuple[Composition | None, dict[str, str], object]:
        lost: dict[str, str] = {}
        made = partial(quantify, name, spectrum)
        found = attempted(f"the composition of {name}", made, None, missing=lost)
        # The composition keeps how far its null elements scatter: every report asks for it.
        return found, lost, found and found.null_elements

    jobs = {name: partial(one, name, spectrum) for name, spectrum in spectra.items()}
    out = {}
    with SideProcesses(jobs, n_jobs) as shared:
        for name, (found, lost, _) in shared.results().items():
            missing.update(lost)
            if found is not None:
                out[name] = found
    return out


def _with_film(settings: FitSettings, matrix: Spectrum) -> tuple[FitSettings, Absorption | None]:
    """Settings calibrated with the absorption of the matrix, where a film is given."""
    # What is wrong with the matrix' fit is told later, once.
    first = settings.quantified(matrix, look_for_others=False)
    return with_film_calibration(settings, matrix, first), first.fit.model.absorption


def _with_ends(settings: FitSettings, spectrum: Spectrum, known: OpenScale | None) -> Composition:
    found = settings.quantified(spectrum)
    if known is None:
        return found
    return with_open_ends(found, known, lambda end: settings.quantified(end, look_for_others=False))


def _beside(recipe: Recipe, si: SpectrumImage, regions: Regions) -> dict[str, Spectrum]:
    """Sum, for each grain that the matrix is taken off, the half of the matrix beside it."""
    out = {}
    for grain in regions.names:
        near = half_beside(regions.pure.mask, regions.own(grain).mask)
        if recipe.phases.get(grain, Phase()).anchor and near.any():
            out[grain] = integrate(si, near, name=f"{regions.matrix} beside {grain}")
    return out


def _weighted_sums(
    recipe: Recipe, si: SpectrumImage, regions: Regions, pure: Mapping[str, Spectrum]
) -> dict[str, WeightedMixture]:
    """Sum by shares each grain whose contaminants the recipe does not name.

    Warns
    -----
    SiftemWarning
        When that cannot be done, and plain sums stay.
    """
    if si.on_disk:
        reason = "the counts stay on disk"
    elif any(n not in pure for n in regions.names):
        reason = "a grain has no mixture to begin with"
    else:
        sums = weighted_mixtures(si, regions, pure)
        named = {n for n, p in recipe.phases.items() if p.contaminants}
        return {n: w for n, w in sums.items() if n not in named}
    warnings.warn(f"sums are plain, not weighted: {reason}", SiftemWarning, stacklevel=3)
    return {}


def loss_ratios(
    recipe: Recipe,
    pure: Mapping[str, Spectrum],
    integrated: Mapping[str, Spectrum],
    scales: Mapping[str, OpenScale],
) -> dict[str, ElementalRatios]:
    """Ratios of elements of each phase and mixture, where the recipe names edges.

    A phase of which it is open how much of its host is in it has none: they would be those of one
    end of a range.

    Warns
    -----
    SiftemWarning
        The ratios of each pure phase in one line, or why there are none; which elements come
        out below zero, beyond what counting explains; and windows that hold another edge.
    """
    if not recipe.quantify.edges:
        warnings.warn(
            "no edges are named, so nothing is quantified: name those that the spectra show, as in "
            "quantify: {edges: [O_K, Mn_L3]}, to get ratios of atoms",
            SiftemWarning,
            stacklevel=3,
        )
    edges = [edge.made() for edge in recipe.quantify.edges]
    for held in edges_in_windows(edges).values():
        warnings.warn(
            f"{held}: its counts are not its own. {_OTHER_WINDOWS}", DoubtWarning, stacklevel=3
        )
    out: dict[str, ElementalRatios] = {}
    for name, spectrum in {**pure, **integrated}.items() if edges else ():
        try:
            if name in pure and name in scales and scales[name].ends:
                raise InputError("which its scale leaves open: give an anchor")
            out[name] = elemental_ratios(spectrum, edges)
            text = out[name].table().replace("\n", ", ")
        except InputError as error:
            text = f"no ratios of elements, {error}"
        if name in pure:
            warnings.warn(f"{name}: {text}", SiftemWarning, stacklevel=3)
        if name in out and (below := out[name].below_zero()):
            warnings.warn(
                f"{name}: less than nothing of {in_words(below)}. The background under an edge is "
                f"not the power law that its window shows. {_OTHER_WINDOWS}",
                DoubtWarning,
                stacklevel=3,
            )
    return out


def bulk_ratios(
    pure: Mapping[str, Spectrum], integrated: Mapping[str, Spectrum], settings: FitSettings
) -> dict[str, LineRatios]:
    """Compare net lines of each phase and mixture; what cannot be compared is left out.

    All are relative to one element as far as it is strong in each.

    Warns
    -----
    SiftemWarning
        The ratios of each pure phase in one line, or why there are none.
    """
    found, failed = {}, {}
    for name, spectrum in {**pure, **integrated}.items():
        try:
            found[name] = compared_lines(spectrum, **settings.options)
        except InputError as error:
            failed[name] = f"no ratios of lines, {error}"
    out = with_one_reference(found)
    for name in pure:
        text = failed[name] if name in failed else out[name].describe()
        warnings.warn(f"{name}: {text}", SiftemWarning, stacklevel=3)
    return out


def _quantify(recipe: Recipe) -> dict[str, Any]:
    q = recipe.quantify
    own = plain(q, "ratios", "partition", "wanted_limits", "onuma")
    if q.cross_sections is not None:
        own["cross_sections"] = file_content(q.cross_sections)
    for name in ("k_factors", "zeta_factors", "standard"):
        section = getattr(q, name)
        if section is not None and section.file is not None:
            own[name]["file"] = file_content(section.file)
    return own


def _owns(recipe: Recipe) -> dict[str, Any]:
    known = {
        n: p.model_dump(mode="json", include={"anchor", "contaminants", "density"})
        for n, p in recipe.phases.items()
    }
    return {"support": recipe.support, "phases": known, "quantify": _quantify(recipe)}


def _run(recipe: Recipe, done: Mapping[str, Any], by: Circumstances) -> RegionSpectra:
    si, regions = done["prepare"].spectrum_image, done["regions"].regions
    return pure_phases(recipe, si, regions, done["match"], n_jobs=by.n_jobs, progress=by.progress)


STEP: Step = Step(
    "spectra",
    "every spectrum of a region",
    ("prepare", "match", "regions"),
    _owns,
    _run,
    instead=lambda recipe, done: RegionSpectra(None, {}, {}, {}),
)
