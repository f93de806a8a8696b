"""All results of a run in one, with the recipe that gives them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from siftem.pipeline.quantities import trace_lines
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.results import Matched, RunResult, Truth
from siftem.segment.regions import Regions
from siftem.simulate.phantom import Phantom
from siftem.spectrum import Spectrum, spectral_angle

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
    return RunResult(
        recipe=_complete(recipe, matched),
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
        truth=None if phantom is None else _truth(phantom, segmentation.regions, pure),
        rectangle_spectrum=numbers.rectangle_spectrum,
        unmixed=done["unmix"],
        unmixed_compositions=numbers.unmixed,
        partition=numbers.partition,
        unmixed_partition=numbers.unmixed_partition,
        classifiers=done["segment"].classifiers,
    )


def _complete(recipe: Recipe, matched: Matched) -> Recipe:
    """Write into the recipe what was chosen on the way, so that it runs the same again."""
    return recipe.model_copy(
        update={
            "elements": matched.elements,
            "decompose": recipe.decompose.model_copy(
                update={"components": matched.factors.spectra.shape[0]}
            ),
            "figures": recipe.figures.model_copy(
                update={"trace_lines": trace_lines(recipe, matched.elements)}
            ),
        }
    )


def _truth(phantom: Phantom, regions: Regions, pure: Mapping[str, Spectrum]) -> Truth:
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
