"""What each step of a run depends on, as a hash of its contents."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from siftem.errors import SiftemError
from siftem.pipeline.file_contents import code_state, image_content, with_contents
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.road import ROAD, STEPS
from siftem.pipeline.steps.composition import LOOKS
from siftem.pipeline.steps.step import plain
from siftem.spectrum_image import SpectrumImage


def step_key(step: str, recipe: Recipe, given: SpectrumImage | None = None) -> str:
    """Return the SHA-256 of all that a step depends on: fields of the recipe, files, siftem.

    Parameters
    ----------
    step : str
        One of `STEPS`.
    recipe : Recipe
    given : SpectrumImage, optional
        Takes the place of the recipe's input.

    Returns
    -------
    str
        64 hexadecimal digits. Files count by their content and not by their place.

    Raises
    ------
    ReadError
        When a file that the recipe names is not there.
    """
    return _keys(recipe, given, step)[step]


def step_keys(recipe: Recipe, given: SpectrumImage | None = None) -> dict[str, str]:
    """Return the keys of all steps, and under "export" that of all that is written of a run.

    Parameters
    ----------
    recipe : Recipe
    given : SpectrumImage, optional
        Takes the place of the recipe's input.
    """
    keys = _keys(recipe, given, STEPS[-1])
    shown = {
        "title": recipe.title,
        "ratios": recipe.quantify.ratios,
        "onuma": plain(recipe.quantify.onuma),
        "wanted_limits": recipe.quantify.wanted_limits,
        "oxygens": {n: p.oxygens for n, p in recipe.phases.items()},
        "groups": {n: p.group for n, p in recipe.phases.items()},
        "calibrate": plain(recipe.calibrate),
        "identify": with_contents({"identify": plain(recipe.identify)}, recipe),
        "figures": {k: v for k, v in plain(recipe.figures).items() if k in LOOKS},
    }
    data = {"shown": shown, "parents": list(keys.values())}
    keys["export"] = hash_of(data)
    return keys


def present_keys(recipe: Recipe, given: SpectrumImage | None = None) -> dict[str, str]:
    """Return the keys of all steps up to the first one whose files are not there.

    Parameters
    ----------
    recipe : Recipe
    given : SpectrumImage, optional
        Takes the place of the recipe's input.
    """
    return _keys(recipe, given, STEPS[-1], tolerant=True)


def _keys(
    recipe: Recipe, given: SpectrumImage | None, until: str, *, tolerant: bool = False
) -> dict[str, str]:
    keys: dict[str, str] = {}
    for step in ROAD[: STEPS.index(until) + 1]:
        try:
            first = step is ROAD[0]
            own = (
                step.owns(recipe) if given is None or not first else {"given": image_content(given)}
            )
        except SiftemError:
            if tolerant:
                return keys
            raise
        data = {
            "siftem": code_state(),
            "step": step.name,
            "own": own,
            "parents": [keys[parent] for parent in step.parents],
        }
        keys[step.name] = hash_of(data)
    return keys


def hash_of(data: Any) -> str:
    """Return the hash of plain data."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
