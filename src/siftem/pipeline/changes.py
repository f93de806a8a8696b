"""Recipes from a file alone, and recipes changed by options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


def changed_recipe(
    recipe: Recipe,
    *,
    components: str | int | None = None,
    elements: tuple[str, ...] | None = None,
    support: tuple[str, ...] | None = None,
    signal: int | None = None,
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
    return make_recipe(data)
