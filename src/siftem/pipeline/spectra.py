"""Spectra of regions, and of the pure phases by subtraction."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType

from siftem.blocked_counts import BlockedCounts
from siftem.eels.ratios import ElementalRatios
from siftem.errors import InputError, SiftemWarning
from siftem.fit.line_fit import LineFit
from siftem.fit.spectrum_model import Absorption
from siftem.pipeline.energy_losses import loss_ratios, pure_losses
from siftem.pipeline.fit_settings import FitSettings, fit_settings, with_film_calibration
from siftem.pipeline.open_scales import OpenScale, with_open_ends
from siftem.pipeline.own_pixels import OwnPixels, mixture_name, region_spectra
from siftem.pipeline.parts import attempted
from siftem.pipeline.recipe import AnchorChoice, Recipe
from siftem.pipeline.recipe_phases import Phase, order_of_subtraction
from siftem.pipeline.results import Matched
from siftem.progress import Progress
from siftem.quantify.composition import Composition
from siftem.quantify.line_ratios import LineRatios
from siftem.quantify.line_ratios import line_ratios as compared_lines
from siftem.segment.regions import Regions
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.unmix.anchors import (
    Absent,
    Anchor,
    GivenScale,
    KnownRatio,
    MostMatrix,
    Stoichiometry,
)
from siftem.unmix.subtract import PureSpectrum, subtract
from siftem.unmix.weighted import WeightedMixture, weighted_mixtures


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
        si, regions, matched, missing, seed=recipe.segment.seed, impure=impure
    )
    matrix = integrated.get(regions.matrix)
    only = {} if matrix is None else {regions.matrix: matrix}
    contaminated = tuple(name for name, phase in recipe.phases.items() if phase.contaminants)
    own = OwnPixels(si, regions, matched, recipe.segment.seed, contaminated, impure)
    if si.signal_type == "EELS":
        anchored = {
            grain: integrated[mixture_name(grain, regions.matrix)]
            for grain in regions.names
            if recipe.phases.get(grain, Phase()).anchor
            and mixture_name(grain, regions.matrix) in integrated
        }
        losses = {} if matrix is None else pure_losses(recipe, anchored, matrix, regions)
        free, scales = own.spectra(integrated, losses, None, missing)
        losses = {n: s for n in own.names if (s := losses.get(n, free.get(n))) is not None}
        ratios = loss_ratios(recipe, losses, integrated)
        return RegionSpectra(None, integrated, losses, {}, ratios, scales, missing)
    if not elements:
        warnings.warn(
            "no elements are known: name them (--elements) to get compositions"
            if si.signal_type.startswith("EDS")
            else f"a signal of type {si.signal_type or 'unknown'}: spectra only",
            SiftemWarning,
            stacklevel=2,
        )
        pure, scales = own.spectra(integrated, only, None, missing)
        return RegionSpectra(None, integrated, pure, {}, {}, scales, missing)
    settings = attempted(
        "every composition", lambda: fit_settings(recipe, si, elements), None, missing=missing
    )
    if settings is None:
        pure, scales = own.spectra(integrated, only, None, missing)
        return RegionSpectra(None, integrated, pure, {}, {}, scales, missing)
    progress("spectra", 0.2)
    bulk = si.acquisition.bulk or si.signal_type == "EDS_SEM"
    absorption: Absorption | None = None
    if not bulk and matrix is not None:
        settings, absorption = attempted(
            f"the absorption in a film of {regions.matrix}",
            partial(_with_film, settings, matrix),
            (settings, None),
        )
    made = pure_spectra(integrated, regions, settings, missing, absorption=absorption)
    if recipe.quantify.sums == "weighted":
        weighted = _weighted_sums(recipe, si, regions, made)
        for grain, mixture in weighted.items():
            label = mixture_name(grain, regions.matrix)
            integrated[label] = replace(mixture.spectrum, name=label)
        made = pure_spectra(
            integrated, regions, settings, missing, absorption=absorption, weighted=weighted
        )
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
            pure, lambda name, spectrum: _with_ends(settings, spectrum, scales.get(name)), missing
        )
    progress("spectra", 1.0)
    return RegionSpectra(settings, integrated, pure, compositions, line_ratios, scales, missing)


def compositions_of(
    spectra: Mapping[str, Spectrum],
    quantify: Callable[[str, Spectrum], Composition],
    missing: MutableMapping[str, str],
) -> dict[str, Composition]:
    """Quantify spectra by their names; what can't be quantified is left out and told.

    Parameters
    ----------
    spectra : mapping of str to Spectrum
    quantify : callable
        Gives the composition of a spectrum, of its name and itself.
    missing : mutable mapping of str to str
        Gets the reasons.
    """
    out = {}
    for name, spectrum in spectra.items():
        found = attempted(
            f"the composition of {name}", partial(quantify, name, spectrum), None, missing=missing
        )
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


def _weighted_sums(
    recipe: Recipe, si: SpectrumImage, regions: Regions, pure: Mapping[str, Spectrum]
) -> dict[str, WeightedMixture]:
    """Sum by shares each grain whose contaminants the recipe does not name.

    Warns
    -----
    SiftemWarning
        When that cannot be done, and plain sums stay.
    """
    if isinstance(si.counts, BlockedCounts):
        reason = "the counts stay on disk"
    elif any(n not in pure for n in regions.names):
        reason = "a grain has no mixture to begin with"
    else:
        sums = weighted_mixtures(si, regions, pure)
        named = {n for n, p in recipe.phases.items() if p.contaminants}
        return {n: w for n, w in sums.items() if n not in named}
    warnings.warn(f"sums are plain, not weighted: {reason}", SiftemWarning, stacklevel=3)
    return {}


def bulk_ratios(
    pure: Mapping[str, Spectrum], integrated: Mapping[str, Spectrum], settings: FitSettings
) -> dict[str, LineRatios]:
    """Compare net lines of each phase and mixture; what cannot be compared is left out.

    Warns
    -----
    SiftemWarning
        The ratios of each pure phase in one line, or why there are none.
    """
    out = {}
    for name, spectrum in {**pure, **integrated}.items():
        try:
            out[name] = compared_lines(
                spectrum,
                settings.elements,
                support=settings.support,
                beam_energy=settings.beam_energy,
                detector=settings.detector,
                calibration=settings.calibration,
                energy_range=settings.recipe.quantify.energy_range,
                n_continuum=settings.recipe.quantify.continuum_terms,
            )
            text = out[name].describe()
        except InputError as error:
            text = f"no ratios of lines, {error}"
        if name in pure:
            warnings.warn(f"{name}: {text}", SiftemWarning, stacklevel=3)
    return out


def pure_spectra(
    spectra: Mapping[str, Spectrum],
    regions: Regions,
    settings: FitSettings,
    missing: MutableMapping[str, str] | None = None,
    *,
    absorption: Absorption | None = None,
    weighted: Mapping[str, WeightedMixture] = MappingProxyType({}),
) -> dict[str, Spectrum]:
    """Subtract the matrix, and other contaminants, from each mixture that has anchors.

    Parameters
    ----------
    spectra : mapping of str to Spectrum
        Of the regions.
    regions : Regions
    settings : FitSettings
    missing : mutable mapping of str to str, optional
        Gets the reason for each grain whose pure spectrum can't be had.
    absorption : callable, optional
        Share of the photons that leave the film, of energies in keV; that of the matrix serves
        for all phases, since anchors that compare elements need it to a few percent only.
    weighted : mapping of str to WeightedMixture, optional
        What overlaps the grains of these sums is taken out with its own weighted sum.

    Returns
    -------
    dict of str to Spectrum
        The matrix first, the grains in the order of the regions.
    """
    matrix = spectra.get(regions.matrix)
    if matrix is None:
        return {}
    phases = settings.recipe.phases
    named = order_of_subtraction(regions.matrix, phases) if phases else ()
    order = [*(n for n in named if n in regions.names)]
    order += [n for n in regions.names if n not in order]
    made: dict[str, Spectrum] = {}
    matrix_fit = settings.fit(matrix) if settings.sources.any else None

    def pure_grain(grain: str, mixture: Spectrum) -> Spectrum:
        phase = phases[grain]
        contaminants: list[Spectrum] = []
        for other in phase.contaminants:
            if other not in made:
                raise InputError(f"{grain} holds {other}, of which no pure spectrum was found")
            contaminants.append(made[other])
        anchors = phase_anchors(phase, settings, matrix_fit)
        if grain in weighted:
            # Sums of pixels, not pure phases: named apart.
            for part, scale in zip(weighted[grain].others, weighted[grain].anchors, strict=True):
                contaminants.append(replace(part, name=f"weighted sum of {part.name}"))
                anchors.append(replace(scale, of=contaminants[-1].name))
        return subtract(
            mixture,
            [matrix, *contaminants],
            anchor=anchors,
            elements=settings.elements,
            support=settings.support,
            beam_energy=settings.beam_energy,
            detector=settings.detector,
            calibration=settings.calibration,
            absorption=absorption,
            energy_range=settings.recipe.quantify.energy_range,
            n_continuum=settings.recipe.quantify.continuum_terms,
            name=grain,
        )

    for grain in order:
        mixture = spectra.get(mixture_name(grain, regions.matrix))
        if mixture is None or not phases.get(grain, Phase()).anchor:
            continue
        found = attempted(
            f"the pure spectrum of {grain}",
            partial(pure_grain, grain, mixture),
            None,
            missing=missing,
        )
        if found is not None:
            made[grain] = found
    return {regions.matrix: matrix, **{n: made[n] for n in regions.names if n in made}}


def phase_anchors(
    phase: Phase, settings: FitSettings, matrix_fit: LineFit | None = None
) -> list[Anchor]:
    """Build the anchors that a recipe gives for a phase.

    Parameters
    ----------
    phase : Phase
    settings : FitSettings
    matrix_fit : LineFit, optional
        It tells the families by which given k-factors hold; needed when some are given.
    """
    return [make_anchor(choice, settings, matrix_fit) for choice in phase.anchor]


def make_anchor(
    choice: AnchorChoice, settings: FitSettings, matrix_fit: LineFit | None = None
) -> Anchor:
    """Build the anchor that a recipe asks for, with the k-factors of the run."""

    def of(elements: tuple[str, ...]) -> dict[str, float]:
        return {} if matrix_fit is None else settings.k_of(elements, matrix_fit)

    if choice.absent is not None:
        return Absent(*choice.absent)
    if choice.ratio is not None:
        r = choice.ratio
        given = of((r.numerator, r.denominator))
        if given and r.by == "atoms":
            text = f"{r.numerator}/{r.denominator}"
            return Stoichiometry(text, r.value, sigma=r.sigma, k_factors=given)
        return KnownRatio(r.numerator, r.denominator, r.value, sigma=r.sigma, by=r.by)
    if choice.stoichiometry is not None:
        s = choice.stoichiometry
        plain = Stoichiometry(s.ratio, s.value, sigma=s.sigma)
        return Stoichiometry(s.ratio, s.value, sigma=s.sigma, k_factors=of(plain.elements))
    if choice.scale is not None:
        return GivenScale(choice.scale.value, choice.scale.sigma, of=choice.scale.of)
    return MostMatrix(choice.most_matrix or settings.elements)


def matrix_in(grain: str, pure: Mapping[str, Spectrum], matrix: str) -> float:
    """Factor by which the pure matrix' own counts are in a grain's pure spectrum, negated.

    A contaminant that was subtracted had matrix subtracted itself, which is thereby given
    back: ``mixture - a M - b (other - c M)`` holds M with the factor ``-(a - b c)``.
    """
    spectrum = pure.get(grain)
    if not isinstance(spectrum, PureSpectrum):
        return 0.0
    total = 0.0
    for part in spectrum.subtracted:
        if part.name == matrix:
            total += part.scale
        else:
            total -= part.scale * matrix_in(part.name, pure, matrix)
    return total
