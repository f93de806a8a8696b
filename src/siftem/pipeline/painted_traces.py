"""Painted traces of a recipe, from shapes or files, as pixels that hold each phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from skimage.draw import polygon2mask

from siftem.errors import RecipeError
from siftem.io.imagej_rois import read_rois, stroke_mask
from siftem.io.images import read_label_image
from siftem.pipeline.recipe_sections import Shape
from siftem.printed_numbers import in_words

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
