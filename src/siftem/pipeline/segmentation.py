"""From maps to regions: traces, forest, graph cut, region algebra."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter, label

from siftem.decompose.factors import Factors
from siftem.errors import InputError
from siftem.io.images import read_label_image
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.results import Segmentation
from siftem.progress import Progress
from siftem.segment.classifier import PixelClassifier
from siftem.segment.graph_cut import graph_cut
from siftem.segment.regions import Regions
from siftem.segment.traces import GrainShares, certain_pixels, grain_shares
from siftem.spectrum_image import SpectrumImage


def segment(
    recipe: Recipe,
    si: SpectrumImage,
    factors: Factors,
    matrix: str,
    *,
    progress: Progress,
) -> Segmentation:
    """Find each grain phase against the rest, so that masks may overlap.

    Parameters
    ----------
    recipe : Recipe
    si : SpectrumImage
    factors : Factors
        Named; ``matrix`` is one of the names.
    matrix : str
        The phase that is everywhere.
    progress : Progress

    Returns
    -------
    Segmentation
    """
    grains = [n for n in factors.names if n != matrix]
    shares = grain_shares(factors.maps, factors.names.index(matrix))
    painted = recipe.segment.traces is not None
    if painted:
        traces = _painted_traces(recipe, si.shape, (*factors.names,), grains)
    else:
        traces = certain_pixels(shares, seed=recipe.segment.seed)
    images = _images(si, shares, grains)
    classifier = PixelClassifier(n_trees=recipe.segment.trees, random_state=recipe.segment.seed)
    features = classifier.compute_features(images)
    probabilities: dict[str, np.ndarray] = {}
    masks: dict[str, np.ndarray] = {}
    out_of_bag: dict[str, float] = {}
    for g, grain in enumerate(grains):
        progress("segment", g / len(grains))
        classifier.fit(features, traces[g])
        both = classifier.predict_proba(features)
        probabilities[grain] = both[1]
        out_of_bag[grain] = float(classifier.oob_score_)
        labels = graph_cut(both, smoothness=recipe.segment.smoothness)
        masks[grain] = (labels == 1) & ~shares.vacuum
        if not masks[grain].any():
            raise InputError(
                f"no pixel is left to {grain} after the graph cut: lower the smoothness "
                f"(it is {recipe.segment.smoothness:g}) or paint traces"
            )
    progress("segment", 1.0)
    # Faint rims of grains belong to neither the pure matrix nor another grain's mixture.
    rims = np.zeros(si.shape, bool)
    for g, grain in enumerate(grains):
        rims |= _rim(shares.touched[g], masks[grain], float(shares.sigmas[g]))
    regions = Regions(
        si.shape,
        matrix=matrix,
        masks=masks,
        margin=recipe.segment.margin,
        excluded=shares.vacuum | rims,
    )
    return Segmentation(
        regions=regions,
        probabilities=probabilities,
        traces=dict(zip(grains, traces, strict=True)),
        out_of_bag=out_of_bag,
        painted=painted,
    )


def _rim(touched: np.ndarray, mask: np.ndarray, sigma: float) -> np.ndarray:
    """What shows of a grain outside its mask: rims of it, and faint grains of their own.

    Specks of noise are left out: patches away from the mask that are no larger than the
    smoothing (twice sigma) makes of a single count.
    """
    patches, number = label(touched, structure=np.ones((3, 3)))
    sizes = np.bincount(patches.ravel(), minlength=number + 1)
    kept = sizes > 4 * np.pi * (2 * sigma) ** 2
    kept[np.unique(patches[binary_dilation(mask, iterations=2)])] = True
    kept[0] = False
    return kept[patches] & ~mask


def _images(si: SpectrumImage, shares: GrainShares, grains: list[str]) -> dict[str, np.ndarray]:
    """Channels for the classifier: the grains' shares over their noise, and all counts."""
    images = {
        grain: z.astype(np.float32) for grain, z in zip(grains, shares.significance, strict=True)
    }
    images["counts"] = gaussian_filter(si.total_map(), float(shares.sigmas.mean())).astype(
        np.float32
    )
    return images


def _painted_traces(
    recipe: Recipe, shape: tuple[int, int], names: tuple[str, ...], grains: list[str]
) -> np.ndarray:
    """Turn painted labels into present and absent for each grain.

    Label 1 is the first phase, and so on, in the order of the recipe's phases; a pixel that
    is painted as another phase is taken as free of this one.
    """
    assert recipe.segment.traces is not None
    labels = read_label_image(recipe.segment.traces, shape)
    order = tuple(recipe.phases) or names
    if labels.max() > len(order):
        raise InputError(
            f"the traces hold label {labels.max()}, but there are only {len(order)} phases "
            f"({', '.join(order)}): 0 is unpainted, 1 the first phase"
        )
    out = np.zeros((len(grains), *shape), np.int8)
    for g, grain in enumerate(grains):
        own = labels == order.index(grain) + 1
        if not own.any():
            raise InputError(
                f"the traces hold no pixel of {grain} (label {order.index(grain) + 1}): paint some"
            )
        out[g][(labels > 0) & ~own] = 1
        out[g][own] = 2
        if not (out[g] == 1).any():
            raise InputError(
                f"the traces hold {grain} only: paint some pixels of another phase, too"
            )
    return out
