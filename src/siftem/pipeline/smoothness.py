"""The smoothness of the cut, where the recipe leaves it to the counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from siftem.pipeline.components import decomposed, matched_phases
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.segmentation import classify, feature_images
from siftem.progress import Progress, silent
from siftem.segment.smoothness import CANDIDATES, SmoothnessChoice, suggest_smoothness
from siftem.spectrum_image import SpectrumImage


def smoothness_choice(
    recipe: Recipe,
    si: SpectrumImage,
    n_components: int,
    candidates: Sequence[float] = CANDIDATES,
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
    candidates : sequence of float
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
        si, probabilities, candidates=candidates, seed=recipe.segment.seed, progress=progress
    )
