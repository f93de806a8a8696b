"""What the classifier looks at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from siftem.decomposition.layout import VACUUM
from siftem.large.disk_images import image_beside, reach, strips
from siftem.pipeline.layout import by_labels
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.recipe_sections import Segment
from siftem.pipeline.results import FeatureImages, Matched
from siftem.pipeline.steps.step import Circumstances, Step
from siftem.robust import lower_spread
from siftem.segment.classifier import PixelClassifier
from siftem.segment.images import NamedImages, choose_images
from siftem.segment.traces import GrainShares, grain_shares
from siftem.spectrum_image import SpectrumImage


def feature_images(
    si: SpectrumImage, matched: Matched, settings: Segment | None = None
) -> FeatureImages:
    """Make the images that the classifier looks at, and their features.

    Parameters
    ----------
    si : SpectrumImage
    matched : Matched
    settings : Segment, optional
        Further images by name, features and widths.

    Returns
    -------
    FeatureImages
        Of each grain its share over its noise; all counts, smoothed; what else was chosen.
    """
    settings = settings or Segment()
    factors = matched.factors
    if by_labels(matched.layout):
        shares = _plain_shares(matched)
    else:
        shares = grain_shares(factors.maps, factors.names.index(matched.matrix))
    images = {grain: _significance(shares, g) for g, grain in enumerate(matched.grains)}
    width = float(shares.sigmas.mean()) if shares.sigmas.size else 1.0
    images["counts"] = _smooth_counts(si, width)
    further = [name for name in settings.images if name not in images]
    chosen = choose_images(si, further) if further else NamedImages({}, ())
    images.update(chosen.images)
    # Of a map that stays on disk, no seventy features of every pixel are kept.
    features = untrained(settings, chosen.poisson).compute_features(images, in_tiles=si.on_disk)
    return FeatureImages(images, shares, features, chosen.poisson)


def _plain_shares(matched: Matched) -> GrainShares:
    """Shares of the counts, where no mixing ratio is that of a matrix."""
    factors, layout = matched.factors, matched.layout
    assert layout is not None
    sigma = 1.0
    level = np.maximum(gaussian_filter(factors.maps.sum(axis=0), sigma), 1e-12)
    grains = [factors.names.index(g) for g in matched.grains]
    shares = np.array(
        [gaussian_filter(factors.maps[c], sigma) / level for c in grains], np.float32
    ).reshape(len(grains), *level.shape)
    noise = np.array([max(lower_spread(s.ravel()), 1e-3) for s in shares])
    return GrainShares(
        shares=shares,
        noise=noise,
        vacuum=layout.labels == VACUUM,
        matrix_ratio=np.eye(len(factors.names))[factors.names.index(matched.matrix)],
        sigmas=np.full(len(grains), sigma),
        touched=np.zeros(shares.shape, bool),
    )


def _significance(shares: GrainShares, grain: int) -> np.ndarray:
    """Share of a grain over its noise, float32 (ny, nx)."""
    out = image_beside(shares.shares, shares.vacuum.shape, np.float32)
    for strip in strips(out.shape, of=(shares.shares, out)):
        out[strip.lines] = shares.shares[grain, strip.lines] / shares.noise[grain]
    return out


def _smooth_counts(si: SpectrumImage, sigma: float) -> np.ndarray:
    """Counts of each pixel, smoothed; float32 (ny, nx)."""
    total = si.total_map()
    out = image_beside(total, total.shape, np.float32)
    for strip in strips(total.shape, reach(sigma), of=(total, out)):
        out[strip.lines] = gaussian_filter(total[strip.seen], sigma)[strip.own]
    return out


def untrained(settings: Segment, poisson: tuple[str, ...]) -> PixelClassifier:
    """Return a classifier as the recipe sets it; ``poisson`` names images of raw counts."""
    return PixelClassifier(
        features=settings.features,
        sigmas=settings.sigmas,
        poisson=poisson,
        n_trees=settings.trees,
        random_state=settings.random_state,
    )


def _owns(recipe: Recipe) -> dict[str, Any]:
    return recipe.segment.model_dump(mode="json", include={"images", "features", "sigmas"})


def _run(recipe: Recipe, done: Mapping[str, Any], by: Circumstances) -> FeatureImages:
    return feature_images(done["prepare"].spectrum_image, done["match"], recipe.segment)


STEP: Step = Step(
    "features",
    "every image for the classifier",
    ("prepare", "match"),
    _owns,
    _run,
    instead=lambda recipe, done: None,
)
