"""A run from the recipe to the folder of its results, as commands do it."""

from __future__ import annotations

import gc
import webbrowser
from pathlib import Path
from typing import Any

import typer

from siftem.cli.display import ERRORS, OUTPUT, ProgressBars, compiling_told, resources_used
from siftem.errors import InputError
from siftem.processors import available

#: Exit code of a run whose maps, spectra and figures were written, but no composition or ratio.
_NOT_QUANTIFIED = 3


def run_and_write(
    recipe: Any,
    out: Path,
    quiet: bool,
    checkpoints: Path | None = None,
    *,
    memory: str | None = None,
    scheduler: str | None = None,
    again: bool = False,
    show: bool = False,
) -> None:
    """Run a recipe and write all that comes of it, as ``siftem run`` and ``siftem demo`` do.

    Parameters
    ----------
    recipe : Recipe
    out : Path
        Folder of the results.
    quiet : bool
        Say nothing.
    checkpoints : Path, optional
    memory, scheduler : str, optional
        As the options say.
    again, show : bool
        Compute what is there already; open the report.

    Raises
    ------
    typer.Exit
        With 3 when nothing could be quantified.
    """
    from siftem.pipeline.input_file import reading_ahead

    # A map that stays on disk does so because there is little memory.
    n_jobs = available() if memory is None and scheduler is None else 1
    with reading_ahead(recipe, n_jobs) as ahead:
        _written(
            recipe,
            out,
            quiet,
            checkpoints,
            memory=memory,
            scheduler=scheduler,
            again=again,
            show=show,
            n_jobs=n_jobs,
            ahead=ahead,
        )


def _written(
    recipe: Any,
    out: Path,
    quiet: bool,
    checkpoints: Path | None,
    *,
    memory: str | None,
    scheduler: str | None,
    again: bool,
    show: bool,
    n_jobs: int,
    ahead: Any,
) -> None:
    from siftem.cli.convert import map_on_disk
    from siftem.cli.display import print_result
    from siftem.pipeline.parts import recorded_warnings
    from siftem.pipeline.store import check_destination, tidy_up
    from siftem.pipeline.workflow import Workflow
    from siftem.report.folder import exported_result, write_results

    gc.freeze()  # modules and classes stay: nobody need look through them again
    with recorded_warnings() as notes:
        tidy_up(check_destination(out))
    for note in notes:
        ERRORS.print(note, markup=False)
    if checkpoints is not None and checkpoints.resolve().is_relative_to(out.resolve()):
        raise InputError(
            f"the checkpoints in {checkpoints} would be replaced together with the results in "
            f"{out}: choose a folder outside it"
        )
    used = resources_used()
    with compiling_told(ERRORS, quiet), ProgressBars(ERRORS, quiet) as progress:
        on_disk = map_on_disk(
            recipe,
            memory=memory,
            scheduler=scheduler,
            beside=out,
            checkpoints=checkpoints,
            console=ERRORS,
            progress=progress,
        )
        with on_disk as image:
            workflow = Workflow(
                recipe,
                checkpoints=checkpoints,
                spectrum_image=image,
                n_jobs=n_jobs,
                ahead=ahead,
            )
            known = None if again else exported_result(workflow, out)
            if known is not None:
                result, folder = known, out
            else:
                result, keys = workflow.outcome(progress=progress)
                folder = write_results(
                    result,
                    out,
                    resources=used(),
                    keys=keys,
                    processes=n_jobs,
                    progress=progress,
                )
    if not quiet:
        if known is not None:
            OUTPUT.print(
                f"nothing has changed: the results in {folder} are those of this very recipe "
                f"(--again computes them again)",
                markup=False,
            )
        print_result(OUTPUT, result, folder, used())
    if show:
        webbrowser.open((folder / "report.html").absolute().as_uri())
    for part, reason in result.missing.items():
        ERRORS.print(f"siftem: {part} is missing: {reason}", markup=False)
    if not result.quantified:
        ERRORS.print(f"siftem: nothing was quantified, the rest is in {folder}", markup=False)
        raise typer.Exit(_NOT_QUANTIFIED)
