"""From images to the probability of each grain: traces, painted or found, and a forest."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from skimage.draw import polygon2mask

from siftem.errors import DoubtWarning, InputError, RecipeError
from siftem.io.imagej_rois import read_rois, stroke_mask
from siftem.io.images import read_label_image
from siftem.large.disk_images import image_beside, let_go
from siftem.pipeline.file_contents import file_content, file_names
from siftem.pipeline.layout import by_labels
from siftem.pipeline.parts import attempted
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.recipe_sections import Shape
from siftem.pipeline.results import Classified, FeatureImages, Matched
from siftem.pipeline.steps.features import untrained
from siftem.pipeline.steps.step import Circumstances, Step, plain
from siftem.printed_numbers import in_words
from siftem.progress import Progress
from siftem.segment.classifier import PixelClassifier
from siftem.segment.features import FeatureTiles, PixelFeatures
from siftem.segment.traces import certain_pixels, contradictions

_OUTLINES = (".zip", ".roi")


def painted_masks(
    traces: str | Mapping[str, Sequence[Shape]],
    shape: tuple[int, int],
    phases: Sequence[str],
) -> dict[str, np.ndarray]:
    """Return the painted pixels of each phase.

    Parameters
    ----------
    traces : str or mapping of str to sequence of Shape
        A label image (0 unpainted, then the phases in order), an ImageJ .zip or .roi whose
        outlines bear the phases' names ("Fp", "Fp 2", "Fp-1"), or shapes by phase.
    shape : tuple of int
        Scan size (ny, nx).
    phases : sequence of str

    Returns
    -------
    dict of str to ndarray of bool, shape (ny, nx)
        A pixel may be painted as several phases, where they overlap.

    Raises
    ------
    InputError
        When a phase is unknown, or a shape lies outside the map.
    """
    if isinstance(traces, str):
        if Path(traces).suffix.lower() in _OUTLINES:
            return _of_outlines(traces, shape, phases)
        return _of_labels(traces, shape, phases)
    out = {}
    for name, shapes in traces.items():
        if name not in phases:
            raise RecipeError(
                f"traces are painted for {name!r}, but the phases are {', '.join(phases)}"
            )
        out[name] = np.zeros(shape, bool)
        for one in shapes:
            out[name] |= shape_mask(one, shape, name)
    return out


#: Pixels from the map's corner beyond which nobody means to paint: each one would be passed.
_FARTHEST = 1e6


def shape_mask(one: Shape, shape: tuple[int, int], name: str = "") -> np.ndarray:
    """Return the pixels of one painted shape; bool (ny, nx).

    A polygon holds the pixels whose centre lies inside, a line those within half its width
    (at least the ones it passes through). What lies outside the map is cut off; a shape that
    lies wholly outside is an error, as is a single pixel outside.
    """
    what = f"a painted shape of {name}" if name else "a painted shape"
    if one.pixels is not None or one.runs is not None:
        return _listed_pixels(one, shape, what)
    mask = np.zeros(shape, bool)
    if one.polygon is not None:
        mask = np.asarray(polygon2mask(shape, np.array(one.polygon)))
    elif one.line is not None:
        points = np.array(one.line, float)
        if np.abs(points).max() > _FARTHEST:
            raise RecipeError(f"{what} lies millions of pixels away from the map")
        mask = stroke_mask(points, one.width, shape)
    if not mask.any():
        raise RecipeError(f"{what} covers no pixel of the {shape[0]} x {shape[1]} map")
    return mask


def grain_traces(masks: Mapping[str, np.ndarray], grains: Sequence[str]) -> np.ndarray:
    """Turn painted phases into present and absent for each grain.

    A pixel that is painted as another phase and not as this one is taken as free of it.

    Parameters
    ----------
    masks : mapping of str to ndarray (ny, nx)
    grains : sequence of str

    Returns
    -------
    ndarray of int8, shape (grains, ny, nx)
        2 present, 1 absent, 0 not painted.

    Raises
    ------
    InputError
        When a grain, or all that is not this grain, has no painted pixel.
    """
    if not masks:
        raise RecipeError("the traces are empty: paint some pixels of each phase")
    shape = next(iter(masks.values())).shape
    anything = np.any(list(masks.values()), axis=0)
    out = np.zeros((len(grains), *shape), np.int8)
    missing = [grain for grain in grains if grain not in masks or not masks[grain].any()]
    if missing:
        raise RecipeError(f"the traces hold no pixel of {in_words(missing)}: paint some")
    for g, grain in enumerate(grains):
        own = masks[grain]
        out[g][anything & ~own] = 1
        out[g][own] = 2
        if not (out[g] == 1).any():
            raise RecipeError(
                f"the traces hold {grain} only: paint some pixels of another phase, too"
            )
    return out


def _listed_pixels(one: Shape, shape: tuple[int, int], what: str) -> np.ndarray:
    mask = np.zeros(shape, bool)
    runs = one.runs or tuple((y, x, x) for y, x in one.pixels or ())
    for y, first, last in runs:
        if y >= shape[0] or last >= shape[1] or first > last:
            raise RecipeError(
                f"{what} holds the pixels y {y}, x {first} to {last}, which the map of "
                f"{shape[0]} x {shape[1]} pixels does not have"
            )
        mask[y, first : last + 1] = True
    return mask


def _of_labels(path: str, shape: tuple[int, int], phases: Sequence[str]) -> dict[str, np.ndarray]:
    labels = read_label_image(path, shape)
    if labels.max() > len(phases):
        raise RecipeError(
            f"the traces hold label {labels.max()}, but there are only {len(phases)} phases "
            f"({', '.join(phases)}): 0 is unpainted, 1 the first phase"
        )
    return {
        name: labels == number
        for number, name in enumerate(phases, start=1)
        if (labels == number).any()
    }


def _of_outlines(path: str, shape: tuple[int, int], phases: Sequence[str]) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    for name, mask in read_rois(path, shape).items():
        fitting = [p for p in phases if name == p or _numbered(name, p)]
        if not fitting:
            raise RecipeError(
                f"{Path(path).name}: the outline {name!r} bears no phase's name: rename it to one "
                f"of {', '.join(phases)}, with a number behind if there are several"
            )
        phase = max(fitting, key=len)
        out[phase] = out.get(phase, np.zeros(shape, bool)) | mask
    return out


def _numbered(name: str, phase: str) -> bool:
    rest = name.removeprefix(phase)
    return rest != name and not rest.strip(" -_.0123456789")


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
    if matched.factors.maps.size > _MOST_CHECKED:
        return
    shares = dict(zip(matched.factors.names, matched.smooth_shares[0], strict=True))
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
