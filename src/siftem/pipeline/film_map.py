"""The map of mass thickness of a run, where a film is known and all pixels were unmixed."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from siftem.errors import InputError
from siftem.minerals.image_thickness import image_thickness
from siftem.minerals.joint_calibration import JointCalibration
from siftem.minerals.thickness import ThicknessMap, thickness_map
from siftem.pipeline.minerals import joint_calibration
from siftem.pipeline.results import RunResult
from siftem.unmixing.unmixed import Unmixed

#: Maps that were made, by the unmixing they are of.
_MADE: WeakKeyDictionary[Unmixed, tuple[Any, ThicknessMap | None]] = WeakKeyDictionary()


def film_map(result: RunResult) -> ThicknessMap | None:
    """Return the map of mass thickness, on the scale of the matrix' film.

    Returns
    -------
    ThicknessMap or None
        None without unmixing or compositions of all its phases, where nothing is known of the film,
        or where no pixel holds the matrix alone.
    """
    unmixed = result.unmixed
    if unmixed is None or any(n not in result.compositions for n in unmixed.names):
        return None
    known = _matrix_film(result)
    if known is None:
        return None
    by, dark = result.recipe.calibrate.film_map, result.recipe.calibrate.film_dark
    own = (known, by, dark, tuple(id(result.compositions[n]) for n in unmixed.names))
    made = _MADE.get(unmixed)
    if made is not None and made[0] == own:
        return made[1]
    try:
        found = thickness_map(
            dict(zip(unmixed.names, unmixed.maps, strict=True)),
            {n: result.compositions[n] for n in unmixed.names},
            reference=result.matrix,
            mass_thickness=known[0],
            mass_sigma=known[1],
            counts_sigma=dict(zip(unmixed.names, unmixed.maps_sigma, strict=True)),
        )
        if by == "haadf":
            found = _by_image(result, found, dark)
    except InputError:
        found = None
    _MADE[unmixed] = (own, found)
    return found


def _by_image(result: RunResult, film: ThicknessMap, dark: float | None) -> ThicknessMap:
    si = result.spectrum_image
    if si.survey is None or film_problem(result):
        raise InputError(film_problem(result))
    return image_thickness(film, si.survey, result.compositions, reference=result.matrix, dark=dark)


def film_problem(result: RunResult) -> str:
    """Say why the film can't be mapped by the image that the recipe asks for; empty if it can."""
    si = result.spectrum_image
    if result.recipe.calibrate.film_map == "counts":
        return ""
    if si.survey is None or "ADF" not in si.survey_name.upper():
        return (
            "no map of mass thickness: calibrate: film_map: haadf asks for an annular dark-field "
            "image of the same scan, and the file holds none: take counts"
        )
    return ""


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
    masks = {result.matrix: regions.pure}
    masks |= {grain: regions.mixture(grain) for grain in regions.names}
    out = {}
    for name, region in masks.items():
        mask = np.asarray(region.mask)
        if name in found.by_phase and (mask & np.isfinite(found.mass)).any():
            out[name] = found.region(mask, name)
    return out
