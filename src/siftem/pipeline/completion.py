"""All results of a run in one, with the recipe that gives them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from siftem.pipeline.fit_settings import FitSettings
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.recipe_paths import with_absolute_paths
from siftem.pipeline.results import Matched, RunResult, Truth
from siftem.pipeline.steps.composition import trace_lines
from siftem.segment.regions import Regions
from siftem.simulate.phantom import Phantom
from siftem.spectrum import Spectrum, spectral_angle
from siftem.unmixing.unmixed import Unmixed

#: A grain is truly there, for scoring a simulated run, from this share of the thickness on.
TRUE_SHARE = 0.15


def run_result(recipe: Recipe, done: Mapping[str, Any], warnings: tuple[str, ...]) -> RunResult:
    """Put the results of all steps together.

    Parameters
    ----------
    recipe : Recipe
    done : mapping of str to result
        Of every step.
    warnings : tuple of str
    """
    matched, spectra, numbers = done["match"], done["spectra"], done["composition"]
    choice = done["decompose"].choice
    notes = warnings if choice is None else tuple(dict.fromkeys((*warnings, choice.message)))
    segmentation, phantom = done["regions"], done["prepare"].phantom
    pure = spectra.pure
    truth = None
    if phantom is not None:
        truth = _truth(phantom, segmentation.regions, pure, done["unmix"])
    return RunResult(
        recipe=_complete(recipe, matched, segmentation.smoothness, spectra.settings),
        spectrum_image=done["prepare"].spectrum_image,
        factors=matched.factors,
        segmentation=segmentation,
        rectangles=numbers.rectangles,
        spectra=spectra.integrated,
        pure=pure,
        compositions=numbers.compositions,
        calibration=spectra.settings.calibration if spectra.settings else None,
        gains=numbers.gains,
        warnings=notes,
        truth=truth,
        rectangle_spectrum=numbers.rectangle_spectrum,
        unmixed=done["unmix"],
        unmixed_compositions=numbers.unmixed,
        partition=numbers.partition,
        unmixed_partition=numbers.unmixed_partition,
        classifiers=done["segment"].classifiers,
        ratios=spectra.ratios,
        layout=matched.layout,
        open_scales=spectra.open_scales,
        missing={**spectra.missing, **numbers.missing},
    )


def _complete(
    recipe: Recipe, matched: Matched, smoothness: float, settings: FitSettings | None
) -> Recipe:
    """Write into the recipe what was chosen on the way, so that it runs the same from anywhere."""
    unlisted = settings.unlisted if settings else ()
    complete = recipe.model_copy(
        update={
            "elements": matched.elements,
            "support": (*recipe.support, *unlisted),
            "decompose": recipe.decompose.model_copy(
                update={"components": matched.factors.spectra.shape[0]}
            ),
            "segment": recipe.segment.model_copy(update={"smoothness": smoothness}),
            "figures": recipe.figures.model_copy(
                update={"trace_lines": trace_lines(recipe, matched.elements)}
            ),
        }
    )
    return Recipe.model_validate(with_absolute_paths(complete.model_dump(mode="json")))


def _truth(
    phantom: Phantom, regions: Regions, pure: Mapping[str, Spectrum], unmixed: Unmixed | None
) -> Truth:
    overlap, angles, unmixed_angles, fractions = {}, {}, {}, {}
    for i, name in enumerate(phantom.names):
        fractions[name] = dict(phantom.weight_fractions[i])
        if name in pure:
            angles[name] = _angle(phantom, i, pure[name])
        if unmixed is not None and name in unmixed.spectra:
            unmixed_angles[name] = _angle(phantom, i, unmixed.spectra[name])
        if name in regions.names:
            found = regions.mask(name).mask
            truly = phantom.mask(name, at_least=TRUE_SHARE)
            union = (found | truly).sum()
            overlap[name] = float((found & truly).sum() / union) if union else 1.0
    return Truth(overlap, TRUE_SHARE, angles, fractions, unmixed_angles)


def _angle(phantom: Phantom, phase: int, spectrum: Spectrum) -> float:
    """Angle to the true spectrum of a phase on the same channels, degrees."""
    axis = spectrum.axis
    first = round((axis.offset - phantom.spectrum_image.axis.offset) / axis.scale)
    return spectral_angle(spectrum.values, phantom.spectra[phase][first : first + axis.size])
