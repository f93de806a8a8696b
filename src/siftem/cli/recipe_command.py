"""``siftem recipe``: a recipe to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from siftem.cli.display import ProgressBars
from siftem.errors import InputError

_errors = Console(stderr=True, highlight=False, soft_wrap=True)


def recipe(
    file: Annotated[Path | None, typer.Argument(help="A spectrum image.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write, by default FILE.yaml.")
    ] = None,
    phases: Annotated[str, typer.Option("--phases", help="Number of phases, or 'auto'.")] = "auto",
    elements: Annotated[
        str | None, typer.Option("--elements", help="Elements to quantify, by default as found.")
    ] = None,
    support: Annotated[
        str | None, typer.Option("--support", help="Elements of grid and holder, e.g. Cu,C.")
    ] = None,
    signal: Annotated[
        int | None, typer.Option("--signal", help="Number of the signal in the file.")
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Write the JSON schema of recipes, for editors.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, errors only.")] = False,
) -> None:
    """Look at a map and write a commented recipe: elements, support, layout, phases as found."""
    from siftem.io.atomic import replacing
    from siftem.pipeline.recipe_parts import listed_names
    from siftem.pipeline.recipe_schema import schema_text
    from siftem.pipeline.starting_recipe import starting_recipe

    if schema:
        target, text = out or Path("recipe.schema.json"), schema_text()
    elif file is None:
        raise InputError("name the map that the recipe is for: siftem recipe FILE")
    else:
        target = out or Path(f"{file.stem}.yaml")
        if target.exists():
            raise InputError(
                f"{target} is there already, and may be yours: choose another with --out, or move "
                "it away"
            )
        with ProgressBars(_errors, quiet) as progress:
            text = starting_recipe(
                file,
                beside=target.absolute().parent,
                name=target.name,
                components=phases,
                elements=listed_names(elements),
                support=listed_names(support),
                signal=signal,
                progress=progress,
            )
    with replacing(target) as draft:
        draft.write_text(text, encoding="utf-8")
    if not quiet:
        Console(highlight=False, soft_wrap=True).print(str(target), markup=False)
