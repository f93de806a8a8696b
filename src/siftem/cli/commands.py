"""The subcommands of ``siftem``."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from siftem import __version__
from siftem.cli.display import (
    ERRORS,
    OUTPUT,
    Out,
    ProgressBars,
    Quiet,
    Scheduler,
    Show,
    Signal,
    Support,
    compiling_told,
)
from siftem.cli.files import convert, maps
from siftem.cli.runs import batch, run_and_write
from siftem.errors import Cancelled, InputError, SiftemError
from siftem.machine import available

#: Exit code of what was stopped with Ctrl-C.
_INTERRUPTED = 130
app = typer.Typer(
    name="siftem",
    help="Sift overlapping phases out of (S)TEM spectrum images.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def run_commands(arguments: list[str]) -> int:
    """Run a subcommand and return its exit code, errors told in one line."""
    try:
        code = int(app(args=arguments, prog_name="siftem", standalone_mode=False) or 0)
        if code == _INTERRUPTED:  # Typer makes this of Ctrl-C, and says nothing
            raise KeyboardInterrupt
        return code
    except Cancelled as error:
        ERRORS.print(f"siftem: {error}", markup=False)
        return _INTERRUPTED
    except SiftemError as error:
        ERRORS.print(f"siftem: {error}", markup=False)
        return 1
    except (typer.Abort, KeyboardInterrupt):
        ERRORS.print("siftem: interrupted, nothing was written")
        return _INTERRUPTED
    except MemoryError:
        ERRORS.print("siftem: out of memory: crop the map or its energy range")
        return 1
    except Exception as error:
        # Wrong use: typer's own copy of click is private, so its errors are told by their shape.
        if hasattr(error, "format_message"):
            ERRORS.print(f"siftem: {error.format_message()} (see siftem --help)", markup=False)
            return 2
        if _is_disk_full(error):
            ERRORS.print(
                "siftem: no space is left on the disk: free some and run the same command again, "
                "what was there before is kept"
            )
            return 1
        if "cannot cache function" in str(error):  # Numba
            ERRORS.print(
                "siftem: compiled code can't be kept anywhere: set the environment variable "
                "NUMBA_CACHE_DIR to a folder that can be written"
            )
            return 1
        ERRORS.print("".join(traceback.format_exception(error)), markup=False)
        ERRORS.print(
            f"siftem: unexpected {type(error).__name__}: {error} "
            f"(please report this with the lines above)",
            markup=False,
        )
        return 1


def _is_disk_full(error: Exception) -> bool:
    from siftem.batch.folder import is_disk_full

    return is_disk_full(error)


def _show_version(value: bool) -> None:
    if value:
        OUTPUT.print(f"siftem {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Version.")
    ] = False,
) -> None:
    """Sift overlapping phases out of (S)TEM spectrum images."""


app.command()(batch)
app.command()(convert)
app.command()(maps)


@app.command("app")
def open_app(
    file: Annotated[
        Path | None, typer.Argument(help="A spectrum image, or a recipe (.yaml).")
    ] = None,
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 5006,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; any but this machine's own asks for a token."),
    ] = "localhost",
    pages: Annotated[
        int, typer.Option(min=1, help="Pages that may be open at a time, each with its own map.")
    ] = 8,
    show: Annotated[
        bool, typer.Option("--show/--no-show", help="Open a browser, or only tell the address.")
    ] = True,
) -> None:
    """Do all of it with a mouse, in the browser."""
    from siftem.app import require_extra

    require_extra()
    from siftem.app.server import serve

    serve(
        file,
        host=host,
        port=port,
        pages=pages,
        show=show,
        tell=lambda text: print(text, flush=True),
    )


@app.command()
def recipe(
    file: Annotated[Path | None, typer.Argument(help="A spectrum image.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write, by default FILE.yaml.")
    ] = None,
    phases: Annotated[str, typer.Option("--phases", help="Number of phases, or 'auto'.")] = "auto",
    elements: Annotated[
        str | None, typer.Option("--elements", help="Elements to quantify, by default as found.")
    ] = None,
    support: Support = None,
    signal: Signal = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Write the JSON schema of recipes, for editors.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Look at a map and write a commented recipe: elements, support, layout, phases as found."""
    from siftem.files.atomic import replacing
    from siftem.pipeline.recipe import schema_text
    from siftem.pipeline.recipe_parts import listed_names
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
        with ProgressBars(ERRORS, quiet) as progress:
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
        OUTPUT.print(str(target), markup=False)


@app.command()
def demo(
    out: Out = None,
    dose: Annotated[float, typer.Option(help="Mean counts a pixel.")] = 300.0,
    size: Annotated[int, typer.Option(help="Pixels on each side.")] = 128,
    random_state: Annotated[
        int,
        typer.Option("--random-state", "--seed", help="Seed of the simulation and of the run."),
    ] = 0,
    show: Show = False,
    quiet: Quiet = False,
) -> None:
    """Simulate the model case, run everything and write the report."""
    from siftem.pipeline.early_reader import EarlyReader, simulation

    with EarlyReader[Any](available()) as early:
        job = simulation((size, size), dose=dose, random_state=random_state)
        if job is not None:
            early.ask(job)
        from siftem.pipeline.starting_recipe import demo_recipe

        made = demo_recipe(shape=(size, size), dose=dose, random_state=random_state)
        run_and_write(made, out or Path("siftem-demo"), quiet, show=show, early=early)


@app.command()
def example(
    name: Annotated[str, typer.Argument(help="Which example: 71gpa.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write.")] = None,
    quiet: Quiet = False,
) -> None:
    """Fetch the real 71 GPa map by pip, check its hash, and keep it for later."""
    if name.lower() != "71gpa":
        raise InputError(f"there is no example {name!r}: the one there is is called 71gpa")
    from siftem.datasets import fetch_71gpa

    if not quiet:
        ERRORS.print("fetching the 71 GPa map (5 MB) ...")
    OUTPUT.print(str(fetch_71gpa(out)), markup=False)


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="A vendor file or a HyperSpy file.")],
    signal: Signal = None,
    quiet: Quiet = False,
) -> None:
    """Show what is in a file: signals, axes, counts, sparsity, element lines."""
    from siftem.cli.files import describe_file

    with compiling_told(ERRORS, quiet), ProgressBars(ERRORS, quiet) as progress:
        text = describe_file(file, signal, progress)
    OUTPUT.print(text, markup=False)


@app.command()
def run(
    source: Annotated[Path, typer.Argument(help="A spectrum image, or a recipe (.yaml).")],
    phases: Annotated[
        str | None, typer.Option("--phases", help="Number of phases; by default the counts tell.")
    ] = None,
    elements: Annotated[
        str | None, typer.Option("--elements", help="Elements to quantify, e.g. O,Mg,Si.")
    ] = None,
    support: Support = None,
    signal: Signal = None,
    unmix: Annotated[
        bool | None,
        typer.Option(
            "--unmix/--no-unmix",
            help="Unmix all pixels at once beside the subtraction, or don't; "
            "by default unless it would take minutes.",
        ),
    ] = None,
    checkpoints: Annotated[
        Path | None,
        typer.Option(help="Folder where slow steps leave their results, to go on from."),
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", help="Leave the map on disk; budget, e.g. 2GB.")
    ] = None,
    scheduler: Scheduler = None,
    again: Annotated[
        bool,
        typer.Option("--again", help="Compute, even if the folder holds these very results."),
    ] = False,
    out: Out = None,
    show: Show = False,
    quiet: Quiet = False,
) -> None:
    """Run a file or a recipe, from the counts to the compositions."""
    from siftem.io.hyperspy_bridge import import_readers
    from siftem.pipeline.early_reader import EarlyReader

    in_memory = memory is None and scheduler is None and source.exists()
    with EarlyReader[Any](available() if in_memory else 1, import_readers) as early:
        from siftem.pipeline.changes import changed_recipe, recipe_for
        from siftem.pipeline.parts import recorded_warnings
        from siftem.pipeline.recipe_parts import listed_names

        with recorded_warnings() as notes:
            read = recipe_for(source)
        for note in notes:
            ERRORS.print(f"siftem: {note}", markup=False)
        wanted = changed_recipe(
            read,
            components=phases,
            elements=listed_names(elements),
            support=listed_names(support),
            signal=signal,
            unmix=unmix,
        )
        run_and_write(
            wanted,
            out or Path(f"siftem-{source.stem}"),
            quiet,
            checkpoints,
            memory=memory,
            scheduler=scheduler,
            again=again,
            show=show,
            early=early,
        )
