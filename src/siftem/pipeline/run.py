"""The road from counts to compositions, one step after the other."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from siftem.decompose.factors import Factors, decompose
from siftem.decompose.matching import Markers, line_strengths, match_phases
from siftem.decompose.rank import choose_n_components
from siftem.errors import InputError, SiftemWarning
from siftem.pipeline.preparation import prepare
from siftem.pipeline.recipe import Phase, Recipe
from siftem.pipeline.rectangle import confined_rectangles
from siftem.pipeline.results import LineGain, RunResult, Truth
from siftem.pipeline.segmentation import segment
from siftem.pipeline.spectra import (
    FitSettings,
    compositions,
    fit_settings,
    line_gains,
    pure_spectra,
    quantified,
    region_spectra,
    with_film_calibration,
)
from siftem.progress import Progress, silent
from siftem.segment.regions import Regions
from siftem.simulate.phantom import Phantom
from siftem.spectrum import Spectrum, spectral_angle
from siftem.spectrum_image import SpectrumImage
from siftem.unmix.integrate import integrate

#: "auto" chooses among 1 and this many components.
_MOST_COMPONENTS = 7
#: A grain is truly there, for scoring a simulated run, from this share of the thickness on.
TRUE_SHARE = 0.15


def run(recipe: Recipe, *, progress: Progress = silent) -> RunResult:
    """Run a recipe: read, decompose, match, segment, integrate, subtract, quantify.

    Parameters
    ----------
    recipe : Recipe
    progress : Progress
        Called with the name of each step; raise from it to stop.

    Returns
    -------
    RunResult
        With all warnings; nothing is written to disk.

    Raises
    ------
    SiftemError
        In one sentence, when a step cannot be done.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", SiftemWarning)
        result = _run(recipe, progress)
    seen = dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, SiftemWarning))
    return replace(result, warnings=(*seen, *result.warnings))


def _run(recipe: Recipe, progress: Progress) -> RunResult:
    prepared = prepare(recipe, progress=progress)
    si = prepared.spectrum_image
    elements = _elements(recipe, si)
    notes = list(si.notes)
    factors = decompose(
        si,
        _number_of_components(recipe, si, notes, progress),
        random_state=recipe.decompose.seed,
        n_init=recipe.decompose.starts,
        tol=recipe.decompose.tolerance,
        max_iter=recipe.decompose.max_sweeps,
        keep_zero_peak=True,  # cropped already
        progress=progress,
    )
    factors, matrix = _named(recipe, si, factors, elements)
    segmentation = segment(recipe, si, factors, matrix, progress=progress)
    regions = segmentation.regions
    rectangles = confined_rectangles(
        regions.pure,
        share=recipe.figures.rectangle_share,
        given=recipe.figures.rectangle,
    )
    spectra = region_spectra(si, regions, required=recipe.phases)
    settings: FitSettings | None = None
    pure: dict[str, Spectrum] = {matrix: spectra[matrix]}
    quantities = {}
    gains: tuple[LineGain, ...] = ()
    confined = [integrate(si, rectangle) for rectangle in rectangles]
    if elements:
        progress("quantify", 0.0)
        settings = fit_settings(recipe, si, elements)
        of_matrix = quantified(spectra[matrix], recipe.phases.get(matrix, Phase()), settings)
        settings = with_film_calibration(settings, spectra[matrix], of_matrix)
        pure = pure_spectra(spectra, regions, settings)
        progress("quantify", 0.5)
        if si.signal_type == "EDS_SEM":
            notes.append(
                "a bulk specimen (SEM): k-factors of thin films do not hold, "
                "so compositions are left out"
            )
        else:
            quantities = compositions(pure, spectra, settings)
        lines = _trace_lines(recipe, elements)
        if confined and lines:
            gains = line_gains(lines, spectra[matrix], confined, settings)
        progress("quantify", 1.0)
    else:
        notes.append(
            "no elements are known: name them (--elements) to get pure spectra and compositions"
            if si.signal_type.startswith("EDS")
            else f"a signal of type {si.signal_type or 'unknown'}: region spectra only"
        )
    if not rectangles:
        notes.append("the pure matrix holds no rectangle to compare with")
    complete = _complete(recipe, factors, matrix, elements)
    return RunResult(
        recipe=complete,
        spectrum_image=si,
        factors=factors,
        segmentation=segmentation,
        rectangles=rectangles,
        spectra=spectra,
        pure=pure,
        compositions=quantities,
        calibration=settings.calibration if settings else None,
        gains=gains,
        warnings=tuple(notes),
        truth=None if prepared.phantom is None else _truth(prepared.phantom, regions, pure),
        rectangle_spectrum=confined[0] if confined else None,
    )


def _elements(recipe: Recipe, si: SpectrumImage) -> tuple[str, ...]:
    """Return the elements to quantify: the recipe's, else those that the file lists."""
    if not si.signal_type.startswith("EDS"):
        if recipe.elements:
            raise InputError(
                f"elements are quantified by X-ray lines, but this is a signal of type "
                f"{si.signal_type or 'unknown'}: leave the elements out"
            )
        return ()
    if recipe.elements:
        return recipe.elements
    return tuple(e for e in si.acquisition.elements if e not in recipe.support)


def _number_of_components(
    recipe: Recipe, si: SpectrumImage, notes: list[str], progress: Progress
) -> int:
    """As the recipe says; "auto" lets held-out counts choose among 1 to 7."""
    n = recipe.n_components
    if n != "auto":
        return n
    most = min(_MOST_COMPONENTS, si.n_pixels, si.n_channels)
    choice = choose_n_components(
        si,
        range(max(1, len(recipe.phases)), most + 1),
        random_state=recipe.decompose.seed,
        keep_zero_peak=True,  # cropped already
        progress=progress,
    )
    notes.append(choice.message)
    return choice.n_components


def _named(
    recipe: Recipe, si: SpectrumImage, factors: Factors, elements: tuple[str, ...]
) -> tuple[Factors, str]:
    """Match components to the recipe's phases, or name them by letter and strongest lines."""
    beam = si.acquisition.beam_energy or 200.0
    width = si.acquisition.resolution or 130.0
    marked = {n: Markers(p.high, p.absent) for n, p in recipe.phases.items()}
    if marked and any(m.high or m.absent for m in marked.values()):
        matched = match_phases(factors, marked, beam_energy=beam, resolution=width)
        assert recipe.matrix is not None
        return matched, recipe.matrix
    if recipe.phases:
        raise InputError(
            "the phases of the recipe have no markers: say what marks each, e.g. high: [Mg, Fe]"
        )
    if len(factors.names) == 1 or not elements:
        return factors, factors.names[0]
    visible = [e for e in elements if _has_line(e, si, beam)]
    strengths = line_strengths(
        factors.spectra, factors.axis, visible, beam_energy=beam, resolution=width
    )
    names = []
    for letter, row in zip(factors.names, strengths, strict=True):
        top = [visible[i] for i in np.argsort(-row, kind="stable")[:3] if row[i] > 0]
        names.append(f"{letter} ({' '.join(top)})" if top else letter)
    named = factors.reordered(tuple(range(len(names))), tuple(names))
    return named, names[0]


def _has_line(element: str, si: SpectrumImage, beam_energy: float) -> bool:
    try:
        line_strengths(np.ones((1, si.n_channels)), si.axis, [element], beam_energy=beam_energy)
    except InputError:
        return False
    return True


def _trace_lines(recipe: Recipe, elements: tuple[str, ...]) -> tuple[str, ...]:
    if recipe.figures.trace_lines:
        return recipe.figures.trace_lines
    return tuple(f"{e} La" for e in ("Nd", "Sm") if e in elements)


def _complete(recipe: Recipe, factors: Factors, matrix: str, elements: tuple[str, ...]) -> Recipe:
    """Write into the recipe what was chosen on the way, so that it runs the same again."""
    return recipe.model_copy(
        update={
            "elements": elements,
            "decompose": recipe.decompose.model_copy(
                update={"components": factors.spectra.shape[0]}
            ),
            "figures": recipe.figures.model_copy(
                update={"trace_lines": _trace_lines(recipe, elements)}
            ),
        }
    )


def _truth(phantom: Phantom, regions: Regions, pure: dict[str, Spectrum]) -> Truth:
    overlap, angles, fractions = {}, {}, {}
    for i, name in enumerate(phantom.names):
        fractions[name] = dict(phantom.weight_fractions[i])
        if name in pure:
            axis = pure[name].axis
            first = round((axis.offset - phantom.spectrum_image.axis.offset) / axis.scale)
            true = phantom.spectra[i][first : first + axis.size]
            angles[name] = spectral_angle(pure[name].values, true)
        if name in regions.names:
            found = regions.mask(name).mask
            truly = phantom.mask(name, at_least=TRUE_SHARE)
            union = (found | truly).sum()
            overlap[name] = float((found & truly).sum() / union) if union else 1.0
    return Truth(overlap, TRUE_SHARE, angles, fractions)
