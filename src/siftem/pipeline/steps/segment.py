"""From images to the probability of each grain: traces, and a forest."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from siftem.errors import DoubtWarning, InputError
from siftem.large.disk_images import image_beside, let_go
from siftem.pipeline.file_contents import file_content, file_names
from siftem.pipeline.layout import by_labels
from siftem.pipeline.painted_traces import grain_traces, painted_masks
from siftem.pipeline.parts import attempted
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.results import Classified, FeatureImages, Matched
from siftem.pipeline.steps.features import untrained
from siftem.pipeline.steps.step import Circumstances, Step, plain
from siftem.progress import Progress
from siftem.segment.classifier import PixelClassifier
from siftem.segment.features import FeatureTiles, PixelFeatures
from siftem.segment.traces import certain_pixels, component_shares, contradictions

#: Numbers in the maps of components up to which traces are compared with them: a second or two.
_MOST_CHECKED = 20_000_000


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
    if from_labels(recipe, matched):
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
        traces = certain_pixels(images.shares, random_state=recipe.segment.random_state)
    probabilities, out_of_bag, classifiers = {}, {}, {}
    for g, grain in enumerate(grains):
        progress("segment", g / len(grains))
        if recipe.segment.classifier is not None:
            classifier = trained(recipe.segment.classifier, grain, grains)
        else:
            classifier = untrained(recipe.segment, images.poisson)
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


def from_labels(recipe: Recipe, matched: Matched) -> bool:
    """Whether the classes of the pixels are the masks, and no forest is asked."""
    told = recipe.segment.traces is not None or recipe.segment.classifier is not None
    return by_labels(matched.layout) and not told


def _present(
    classifier: PixelClassifier, features: PixelFeatures | FeatureTiles, beside: np.ndarray
) -> np.ndarray:
    """Probability of the second class, (ny, nx) float32, finer than any forest tells it."""
    present = image_beside(beside, features.shape[:2], np.float32)
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


def _owns(recipe: Recipe) -> dict[str, Any]:
    s = recipe.segment
    if s.classifier is not None:
        return {"classifier": file_content(s.classifier)}
    own = plain(s, "smoothness", "margin", "classifier")
    if isinstance(s.traces, str):
        own["traces"] = file_content(s.traces)
    return own


def _run(recipe: Recipe, done: Mapping[str, Any], by: Circumstances) -> Classified:
    return classify(recipe, done["match"], done["features"], progress=by.progress)


STEP: Step = Step(
    "segment",
    "the classification of the pixels",
    ("match", "features"),
    _owns,
    _run,
    instead=lambda recipe, done: Classified({}, {}, {}, False, {}),
    needs=("features",),
)
