"""The map of mass thickness of a run, where a film is known."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from siftem.errors import InputError
from siftem.minerals.joint_calibration import JointCalibration
from siftem.minerals.thickness import ThicknessMap, image_thickness, thickness_map
from siftem.pipeline.layout import by_labels
from siftem.pipeline.minerals import joint_calibration
from siftem.pipeline.results import RunResult
from siftem.segment.regions import Regions

#: Maps that were made, by the regions they are of.
_MADE: WeakKeyDictionary[Regions, tuple[Any, ThicknessMap | str]] = WeakKeyDictionary()


def film_map(result: RunResult) -> ThicknessMap | None:
    """Return the map of mass thickness, on the scale of the matrix' film.

    Returns
    -------
    ThicknessMap or None
        None where nothing is known of the film, no pixel holds the matrix alone, or it is not known
        how much of each phase is in the pixels: without unmixing of phases that overlap, or without
        a composition.
    """
    found = _film_or_why(result)
    return None if isinstance(found, str) else found


def _film_or_why(result: RunResult) -> ThicknessMap | str:
    counts, sigmas = _counts_of_phases(result)
    if not counts:
        return "how much of each phase is in a pixel is not known: its unmixing is missing"
    known = _matrix_film(result)
    if known is None:
        return "nothing is known of the film: give its thickness and the densities, or calibrate"
    by, dark = result.recipe.calibrate.film_map, result.recipe.calibrate.film_dark
    regions = result.segmentation.regions
    own = (known, by, dark, id(result.unmixed), id(result.spectrum_image),
           tuple(id(result.compositions[n]) for n in counts))  # fmt: skip
    made = _MADE.get(regions)
    if made is not None and made[0] == own:
        return made[1]
    found: ThicknessMap | str
    try:
        found = thickness_map(
            counts,
            {n: result.compositions[n] for n in counts},
            reference=result.matrix,
            mass_thickness=known[0],
            mass_sigma=known[1],
            counts_sigma=sigmas,
        )
        if by == "haadf":
            found = _by_image(result, found, dark)
    except InputError as error:
        found = str(error)
    _MADE[regions] = (own, found)
    return found


def _counts_of_phases(
    result: RunResult,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Counts of each phase in each pixel and their errors: unmixed, or of pixels of one phase.

    Empty where they are not known.
    """
    unmixed = result.unmixed
    if unmixed is not None:
        if any(n not in result.compositions for n in unmixed.names):
            return {}, {}
        names = unmixed.names
        return dict(zip(names, unmixed.maps, strict=True)), dict(
            zip(names, unmixed.maps_sigma, strict=True)
        )
    layout, shown = result.layout, result.phase_map
    if layout is None or not by_labels(layout):
        return {}, {}
    own = {n: shown.labels == i for i, n in enumerate(shown.names) if n in result.compositions
           and layout.phases[i].role == "pure"}  # fmt: skip
    if not own:
        return {}, {}
    total = np.asarray(result.spectrum_image.total_map(), dtype=np.float64)
    known = np.any(list(own.values()), axis=0)
    return {n: np.where(known, total * mask, np.nan) for n, mask in own.items()}, {}


def _by_image(result: RunResult, film: ThicknessMap, dark: float | None) -> ThicknessMap:
    si = result.spectrum_image
    if si.survey is None or "ADF" not in si.survey_name.upper():
        raise InputError(
            "it takes an annular dark-field image of the same scan, and the file holds none: take "
            "counts"
        )
    return image_thickness(film, si.survey, result.compositions, reference=result.matrix, dark=dark)


def film_problem(result: RunResult) -> str:
    """Say why the film can't be mapped by the image that the recipe asks for; empty if it can."""
    if result.recipe.calibrate.film_map == "counts":
        return ""
    found = _film_or_why(result)
    return f"no map of mass thickness by HAADF: {found}" if isinstance(found, str) else ""


def _matrix_film(result: RunResult) -> tuple[float, float] | None:
    """Mass thickness of the matrix and its error, kg/m2: calibrated jointly, else as told."""
    joint = joint_calibration(result)
    if isinstance(joint, JointCalibration) and result.matrix in joint.film:
        found = joint.film[result.matrix]
        if found.value > 0:
            return found.value, found.sigma
    c = result.compositions.get(result.matrix)
    if c is None or c.film is None:
        return None
    # What a told range leaves open is an error of the composition; that of the scale is relative.
    thickness = result.recipe.quantify.thickness
    relative = 0.0
    if isinstance(thickness, tuple):
        relative = (thickness[1] - thickness[0]) / np.sqrt(12) / np.mean(thickness)
    return c.film.mass_thickness, float(relative) * c.film.mass_thickness


def film_data(result: RunResult) -> dict[str, Any] | None:
    """Return what the summary tells of the film; see ``docs/summary.md``."""
    found = film_map(result)
    if found is None:
        return None
    return {
        "reference": result.matrix,
        "by": result.recipe.calibrate.film_map,
        "scale_relative_sigma": found.scale_sigma,
        "regions": {name: dict(vars(region)) for name, region in film_regions(result).items()},
    }


def film_regions(result: RunResult) -> dict[str, Any]:
    """Return the mass thickness of the pure matrix and of each grain's mixture."""
    found = film_map(result)
    if found is None:
        return {}
    regions = result.segmentation.regions
    masks = {result.matrix: regions.pure.mask}
    if result.unmixed is None:
        labels = dict(enumerate(result.phase_map.names))
        masks |= {n: result.phase_map.labels == i for i, n in labels.items()}
    else:
        masks |= {grain: regions.mixture(grain).mask for grain in regions.names}
    out = {}
    for name, mask in masks.items():
        if name in found.by_phase and (mask & np.isfinite(found.mass)).any():
            out[name] = found.region(mask, name)
    return out
