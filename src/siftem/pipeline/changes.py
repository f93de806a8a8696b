"""Recipes from a file alone, and recipes changed by options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from siftem.errors import InputError
from siftem.pipeline.recipe import Recipe, make_recipe, read_recipe

_RECIPE_ENDINGS = (".yaml", ".yml")


def recipe_for(source: str | Path) -> Recipe:
    """Return the recipe in a file, or the plain recipe for a spectrum image.

    Parameters
    ----------
    source : path-like
        ``.yaml`` and ``.yml`` are recipes, all else is a spectrum image.
    """
    source = Path(source)
    if source.suffix.lower() in _RECIPE_ENDINGS:
        return read_recipe(source)
    return make_recipe({"input": {"file": str(source)}})


def merged_recipe(recipe: Recipe, sections: Mapping[str, Any]) -> Recipe:
    """Return the recipe with entries laid over it.

    Parameters
    ----------
    recipe : Recipe
    sections : mapping
        Top-level keys. A mapping is laid over the section, key by key, and over ``phases``
        phase by phase, a phase of None being taken out; anything else, also None, replaces
        the entry.

    Raises
    ------
    RecipeError
        When the result contradicts itself.
    """
    data: dict[str, Any] = recipe.model_dump(mode="json", exclude_none=True)
    for name, change in sections.items():
        change = _as_data(change)
        old = data.get(name)
        if not (isinstance(change, Mapping) and isinstance(old, dict)):
            data[name] = change
        elif name == "phases":
            both = dict(old)
            for phase, entries in change.items():
                if entries is None:
                    both.pop(phase, None)
                else:
                    both[phase] = {**old.get(phase, {}), **entries}
            data[name] = both
        elif name == "input":
            data[name] = dict(change)
        else:
            data[name] = {**old, **change}
    return make_recipe(data)


def _as_data(value: Any) -> Any:
    """Turn sections of a recipe, wherever they stand, into plain data."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, Mapping):
        return {k: _as_data(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_data(v) for v in value]
    return value


def changed_recipe(
    recipe: Recipe,
    *,
    components: str | int | None = None,
    elements: tuple[str, ...] | None = None,
    support: tuple[str, ...] | None = None,
    signal: int | None = None,
    unmix: bool | None = None,
) -> Recipe:
    """Return the recipe with some entries replaced; None keeps what it says.

    Raises
    ------
    InputError
        When the number of phases is neither a positive integer nor "auto".
    RecipeError
        When the result contradicts itself.
    """
    data: dict[str, Any] = recipe.model_dump(mode="json")
    if components is not None:
        if components != "auto":
            try:
                components = int(components)
            except ValueError:
                raise InputError(
                    f"--phases must be a number such as 3, or auto, got {components!r}"
                ) from None
        data["decompose"]["components"] = components
    if elements is not None:
        data["elements"] = elements
    if support is not None:
        data["support"] = support
    if signal is not None:
        data["input"]["signal"] = signal
    if unmix is not None:
        data["unmix"]["run"] = unmix
    return make_recipe(data)
