"""From maps to regions: traces, forest, graph cut, region algebra."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter, label

from siftem.blocked_counts import BlockedCounts
from siftem.decompose.layout import VACUUM
from siftem.disk_images import image_beside, let_go
from siftem.errors import DoubtWarning, InputError, SiftemWarning
from siftem.line_strips import converted, reach, strips
from siftem.pipeline.file_names import file_names
from siftem.pipeline.layout import by_labels
from siftem.pipeline.painted_traces import grain_traces, painted_masks
from siftem.pipeline.parts import attempted
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.recipe_segment import Segment
from siftem.pipeline.results import Classified, FeatureImages, Matched, Segmentation
from siftem.progress import Progress
from siftem.robust import lower_spread
from siftem.segment.classifier import PixelClassifier
from siftem.segment.feature_tiles import FeatureTiles
from siftem.segment.features import PixelFeatures
from siftem.segment.graph_cut import graph_cut
from siftem.segment.images import NamedImages, choose_images
from siftem.segment.regions import Regions
from siftem.segment.trace_check import component_shares, contradictions
from siftem.segment.traces import GrainShares, certain_pixels, grain_shares
from siftem.spectrum_image import SpectrumImage

#: Distances from borders that are tried for phases of which enough pixels are left.
_DEPTHS = (4.0, 3.0, 2.0)
_ENOUGH_PIXELS, _ENOUGH_LEFT = 100, 0.4
#: Numbers in the maps of components up to which traces are compared with them: a second or two.
_MOST_CHECKED = 20_000_000


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
    # Of a map that stays on disk, no seventy features of every pixel are kept.
    on_disk = isinstance(si.counts, BlockedCounts)
    further = [name for name in settings.images if name not in images]
    chosen = choose_images(si, further) if further else NamedImages({}, ())
    images.update(chosen.images)
    features = _untrained(settings, chosen.poisson).compute_features(images, in_tiles=on_disk)
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


def _untrained(settings: Segment, poisson: tuple[str, ...]) -> PixelClassifier:
    return PixelClassifier(
        features=settings.features,
        sigmas=settings.sigmas,
        poisson=poisson,
        n_trees=settings.trees,
        random_state=settings.seed,
    )


def classify(
    recipe: Recipe, matched: Matched, images: FeatureImages, *, progress: Progress
) -> Classified:
    """Find the probability of each grain phase against the rest, so that masks may overlap.

    Parameters
    ----------
    recipe : Recipe
    matched : Matched
    images : FeatureImages
    progress : Progress

    Returns
    -------
    Classified
    """
    grains = matched.grains
    shape = images.shares.vacuum.shape
    if _from_labels(recipe, matched):
        assert matched.layout is not None
        own = {g: matched.layout.labels == matched.factors.names.index(g) for g in grains}
        return Classified(
            probabilities={g: mask.astype(np.float32) for g, mask in own.items()},
            traces={g: np.zeros(shape, np.int8) for g in grains},
            out_of_bag={},
            painted=False,
            classifiers={},
        )
    traces = image_beside(images.shares.shares, (len(grains), *shape), np.int8)
    if recipe.segment.traces is not None:
        names = tuple(recipe.phases) or matched.factors.names
        painted = painted_masks(recipe.segment.traces, shape, names)
        traces = grain_traces(painted, grains)
        _tell_contradictions(matched, painted)
    elif recipe.segment.classifier is None and grains:
        traces = certain_pixels(images.shares, seed=recipe.segment.seed)
    probabilities, out_of_bag, classifiers = {}, {}, {}
    for g, grain in enumerate(grains):
        progress("segment", g / len(grains))
        if recipe.segment.classifier is not None:
            classifier = trained(recipe.segment.classifier, grain, grains)
        else:
            classifier = _untrained(recipe.segment, images.poisson)
            fitted = attempted(
                f"the region of {grain}", partial(classifier.fit, images.features, traces[g]), None
            )
            if fitted is None:
                continue
        features = images.features
        if classifier.feature_names_ != features.names:
            on_disk = isinstance(features, FeatureTiles)
            features = classifier.compute_features(images.images, in_tiles=on_disk)
        probabilities[grain] = _present(classifier, features, images.shares.shares)
        out_of_bag[grain] = float(classifier.oob_score_)
        classifiers[grain] = classifier
    progress("segment", 1.0)
    return Classified(
        probabilities=probabilities,
        traces=dict(zip(grains, traces, strict=True)),
        out_of_bag=out_of_bag,
        painted=recipe.segment.traces is not None or recipe.segment.classifier is not None,
        classifiers=classifiers,
    )


def _tell_contradictions(matched: Matched, painted: Mapping[str, np.ndarray]) -> None:
    """Tell of traces that lie where their component is not.

    Warns
    -----
    SiftemWarning
    """
    maps = matched.factors.maps
    if maps.size > _MOST_CHECKED:
        return
    shares = dict(zip(matched.factors.names, component_shares(maps)[0], strict=True))
    for said in contradictions(shares, painted):
        warnings.warn(said, DoubtWarning, stacklevel=3)


def _from_labels(recipe: Recipe, matched: Matched) -> bool:
    """Whether the classes of the pixels are the masks, and no forest is asked."""
    told = recipe.segment.traces is not None or recipe.segment.classifier is not None
    return by_labels(matched.layout) and not told


def _present(
    classifier: PixelClassifier, features: PixelFeatures | FeatureTiles, beside: np.ndarray
) -> np.ndarray:
    """Probability of the second class, (ny, nx) float32, finer than any forest tells it."""
    present = image_beside(beside, features.shape[:2], np.float32)
    if isinstance(features, PixelFeatures):
        present[:] = classifier.predict_proba(features)[1]
        return present
    for lines, columns, values in features.tiles():
        part = PixelFeatures(values, features.names)
        present[lines, columns] = classifier.predict_proba(part)[1]
        let_go(present)
        del values, part  # before the next tile is made
    return present


def trained(folder: str | Path, grain: str, grains: Sequence[str]) -> PixelClassifier:
    """Read the classifier of a grain, one of ``grains``, from a folder that a run wrote.

    Raises
    ------
    InputError
        When the folder has none of that name, or it tells other than two classes.
    """
    path = Path(folder) / f"{file_names(grains)[grain]}.npz"
    if not path.is_file():
        raise InputError(
            f"{folder} holds no classifier {path.name} for {grain}: give the folder 'classifier' "
            f"of a run with the same phases"
        )
    classifier = PixelClassifier.load(path)
    if classifier.classes_.tolist() != [1, 2]:
        raise InputError(
            f"{path} tells {classifier.classes_.size} classes, but two are needed: 1 without and "
            f"2 with the grain"
        )
    return classifier


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
    if _from_labels(recipe, matched):
        return labelled(recipe, matched, classified)
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


def labelled(recipe: Recipe, matched: Matched, classified: Classified) -> Segmentation:
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
            excluded=(layout.labels < 0) | _borders(layout.labels),
        ),
        probabilities=classified.probabilities,
        traces=classified.traces,
        out_of_bag=classified.out_of_bag,
        painted=False,
        smoothness=0.0,
    )


def _borders(labels: np.ndarray) -> np.ndarray:
    """Pixels near the borders of phases that have many others: a probe has tails."""
    out = np.zeros(labels.shape, bool)
    for c in range(int(labels.max()) + 1):
        own = labels == c
        if own.all():
            continue
        away = distance_transform_edt(own)
        for depth in _DEPTHS:
            near = own & (away <= depth)
            left = int(own.sum() - near.sum())
            if left >= max(_ENOUGH_PIXELS, _ENOUGH_LEFT * own.sum()):
                out |= near
                break
    return out


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
