"""Make a spectrum image ready to be decomposed: its acquisition, its counts, its energies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from siftem.counting.door import as_counted
from siftem.counting.outliers import without_outliers
from siftem.eels.noise import counted
from siftem.errors import InputError
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.results import Loaded, Prepared
from siftem.pipeline.steps.step import Circumstances, Step, plain
from siftem.spectrum_image import ZERO_PEAK_END


def prepare(recipe: Recipe, loaded: Loaded) -> Prepared:
    """Apply what the recipe says of the acquisition, and crop the energy range.

    Energy-loss data that are no counts are brought to equivalent counts, with a note.

    Raises
    ------
    InputError
        When nothing is left to work on.
    """
    si = loaded.spectrum_image
    given = recipe.acquisition.model_dump(exclude_none=True)
    kind = given.pop("signal_type", None)
    if kind is not None:
        si = replace(si, signal_type=kind)
        given["bulk"] = kind == "EDS_SEM"
    if given:
        si = replace(si, acquisition=replace(si.acquisition, **given))
    low, high = recipe.energy_range
    unit = si.axis.per_kev
    if low == ZERO_PEAK_END:
        # Only detectors of X-rays have a zero peak; below 200 eV of energy loss lie edges.
        si = si.without_zero_peak()
        low = None
    si = si.cropped(None if low is None else low * unit, None if high is None else high * unit)
    if not si.counts.nnz:
        raise InputError(
            f"{si.title}: the map holds no counts between {si.axis.first:.3g} "
            f"and {si.axis.last:.4g} {si.axis.unit}: check the file, or choose another energy range"
        )
    si = without_outliers(as_counted(counted(si)))
    return Prepared(si, loaded.phantom)


def _owns(recipe: Recipe) -> dict[str, Any]:
    return {"energy_range": recipe.energy_range, "acquisition": plain(recipe.acquisition)}


def _run(recipe: Recipe, done: Mapping[str, Any], by: Circumstances) -> Prepared:
    return prepare(recipe, done["load"])


STEP: Step = Step("prepare", "counts that can be decomposed", ("load",), _owns, _run)
