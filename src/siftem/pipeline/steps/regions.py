"""From probabilities to masks and regions: graph cut, rims, region algebra."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation, label

from siftem.decomposition.purest import near_borders
from siftem.errors import SiftemWarning
from siftem.large.disk_images import converted, image_beside, let_go, strips
from siftem.pipeline.layout import by_labels
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.results import Classified, FeatureImages, Matched, Segmentation
from siftem.pipeline.steps.decompose import decomposed
from siftem.pipeline.steps.features import feature_images
from siftem.pipeline.steps.match import matched_phases
from siftem.pipeline.steps.segment import classify, from_labels
from siftem.pipeline.steps.step import Circumstances, Step, plain
from siftem.progress import Progress, silent
from siftem.segment.graph_cut import graph_cut
from siftem.segment.regions import Regions
from siftem.segment.smoothness import SmoothnessChoice, suggest_smoothness
from siftem.segment.traces import GrainShares
from siftem.spectrum_image import SpectrumImage


def cut(
    recipe: Recipe,
    matched: Matched,
    images: FeatureImages,
    classified: Classified,
    smoothness: float,
    *,
    progress: Progress,
) -> Segmentation:
    """Turn probabilities into masks and regions.

    Parameters
    ----------
    recipe : Recipe
    matched : Matched
    images : FeatureImages
    classified : Classified
    smoothness : float
        As the recipe says, or as it was chosen.
    progress : Progress

    Returns
    -------
    Segmentation
    """
    shares = images.shares
    vacuum = shares.vacuum
    masks: dict[str, np.ndarray] = {}
    for g, grain in enumerate(matched.grains):
        progress("regions", g / len(matched.grains))
        if grain not in classified.probabilities:
            continue
        labels = graph_cut(_both(classified.probabilities[grain]), smoothness=smoothness)
        masks[grain] = image_beside(vacuum, vacuum.shape, bool)
        for strip in strips(vacuum.shape, of=(labels, vacuum, masks[grain])):
            masks[grain][strip.lines] = (labels[strip.lines] == 1) & ~vacuum[strip.lines]
        del labels
        if not masks[grain].any():
            warnings.warn(
                f"no pixel is left to {grain} after the graph cut, so it has no region: lower the "
                f"smoothness (it is {smoothness:g}) or paint traces",
                SiftemWarning,
                stacklevel=2,
            )
            del masks[grain]
    # Faint rims of grains belong to neither the pure matrix nor another grain's mixture.
    excluded = converted(vacuum, bool)
    for g, grain in enumerate(matched.grains):
        if grain in masks:
            _add_rim(excluded, shares, g, masks[grain])
    progress("regions", 1.0)
    return Segmentation(
        regions=Regions(
            vacuum.shape,
            matrix=matched.matrix,
            masks=masks,
            margin=recipe.segment.margin,
            excluded=excluded,
        ),
        probabilities=classified.probabilities,
        traces=classified.traces,
        out_of_bag=classified.out_of_bag,
        painted=classified.painted,
        smoothness=smoothness,
    )


def labelled(
    recipe: Recipe, si: SpectrumImage, matched: Matched, classified: Classified
) -> Segmentation:
    """Make regions of the classes of pixels."""
    layout, names = matched.layout, matched.factors.names
    assert layout is not None
    masks = {}
    for grain in matched.grains:
        mask = layout.labels == names.index(grain)
        if mask.any():
            masks[grain] = mask
        elif layout.phases[names.index(grain)].role != "vacuum":
            warnings.warn(
                f"no pixel is left to {grain}, so it has no region: ask for fewer phases",
                SiftemWarning,
                stacklevel=3,
            )
    return Segmentation(
        regions=Regions(
            layout.labels.shape,
            matrix=matched.matrix,
            masks=masks,
            margin=recipe.segment.margin,
            excluded=(layout.labels < 0) | near_borders(layout.labels, si.counts),
        ),
        probabilities=classified.probabilities,
        traces=classified.traces,
        out_of_bag=classified.out_of_bag,
        painted=False,
        smoothness=0.0,
    )


def _both(present: np.ndarray) -> np.ndarray:
    """Probabilities of absence and presence; (2, ny, nx) float32."""
    out = image_beside(present, (2, *present.shape), np.float32)
    for strip in strips(present.shape, of=(present, out)):
        out[0, strip.lines] = 1 - present[strip.lines]
        out[1, strip.lines] = present[strip.lines]
    return out


def _add_rim(excluded: np.ndarray, shares: GrainShares, grain: int, mask: np.ndarray) -> None:
    """Add what shows of a grain outside its mask: rims of it, and faint grains of their own.

    Specks of noise are left out: patches away from the mask that are no larger than the
    smoothing (twice sigma) makes of a single count.
    """
    patches = image_beside(mask, mask.shape, np.int32)
    number = label(shares.touched[grain], structure=np.ones((3, 3)), output=patches)
    let_go(shares.touched, patches)
    sizes = np.zeros(number + 1, np.int64)
    beside = np.zeros(number + 1, bool)
    for strip in strips(mask.shape, 2, of=(mask, patches)):
        own = patches[strip.lines]
        sizes += np.bincount(own.ravel(), minlength=number + 1)
        near = binary_dilation(mask[strip.seen], iterations=2)[strip.own]
        beside[own[near]] = True
    kept = (sizes > 4 * np.pi * (2 * float(shares.sigmas[grain])) ** 2) | beside
    kept[0] = False
    for strip in strips(mask.shape, of=(excluded, mask, patches)):
        excluded[strip.lines] |= kept[patches[strip.lines]] & ~mask[strip.lines]


def smoothness_choice(
    recipe: Recipe,
    si: SpectrumImage,
    n_components: int,
    *,
    progress: Progress,
) -> SmoothnessChoice:
    """Suggest a smoothness: labels from one half of the counts are judged by the other.

    Each half is decomposed and classified for itself, as the recipe says.

    Parameters
    ----------
    recipe : Recipe
    si : SpectrumImage
        Prepared.
    n_components : int
        As chosen for all counts.
    progress : Progress
        Called with "smoothness".
    """
    fixed = recipe.decompose.model_copy(update={"components": n_components})
    recipe = recipe.model_copy(update={"decompose": fixed})

    def probabilities(half: SpectrumImage) -> dict[str, np.ndarray]:
        matched = matched_phases(recipe, half, decomposed(recipe, half, progress=silent).factors)
        images = feature_images(half, matched, recipe.segment)
        found = classify(recipe, matched, images, progress=silent).probabilities
        return {grain: np.stack([1 - p, p]) for grain, p in found.items()}

    return suggest_smoothness(
        si,
        probabilities,
        random_state=recipe.segment.random_state,
        progress=progress,
    )


def _instead(recipe: Recipe, done: Mapping[str, Any]) -> Segmentation:
    """The labels of a layout; without one all pixels are the matrix, as no grain was told."""
    matched = done["match"]
    if matched.layout is not None:
        return labelled(recipe, done["prepare"].spectrum_image, matched, done["segment"])
    shape = matched.factors.maps.shape[1:]
    regions = Regions(shape, matrix=matched.matrix, masks={}, margin=recipe.segment.margin)
    return Segmentation(regions, {}, {}, {}, False, 0.0)


def _owns(recipe: Recipe) -> dict[str, Any]:
    return plain(recipe.segment, "traces", "classifier", "trees", "random_state")


def _run(recipe: Recipe, done: Mapping[str, Any], by: Circumstances) -> Segmentation:
    matched, smoothness = done["match"], recipe.segment.smoothness
    if from_labels(recipe, matched):
        return labelled(recipe, done["prepare"].spectrum_image, matched, done["segment"])
    if smoothness == "auto" and matched.grains and not by_labels(matched.layout):
        k = matched.factors.spectra.shape[0]
        si = done["prepare"].spectrum_image
        smoothness = smoothness_choice(recipe, si, k, progress=by.progress).smoothness
    elif smoothness == "auto":
        smoothness = 0.0  # nothing to cut
    return cut(recipe, matched, done["features"], done["segment"], smoothness, progress=by.progress)


STEP: Step = Step(
    "regions",
    "the masks of the grains",
    ("prepare", "match", "features", "segment"),
    _owns,
    _run,
    instead=_instead,
    needs=("features",),
)
