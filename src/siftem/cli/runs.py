"""A run from the recipe to the folder of its results, and ``siftem batch``: one over many maps."""

from __future__ import annotations

import gc
import threading
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from siftem.batch.folder import Outcome, Watcher
from siftem.cli.display import (
    ERRORS,
    OUTPUT,
    Out,
    ProgressBars,
    Quiet,
    Scheduler,
    compiling_told,
    resources_used,
)
from siftem.errors import Cancelled, InputError
from siftem.machine import available

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
    early: Any = None,
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
    early : EarlyReader, optional
        What is ready to read the map.

    Raises
    ------
    typer.Exit
        With 3 when nothing could be quantified.
    """
    from siftem.pipeline.input_file import reading_ahead

    # A map that stays on disk does so because there is little memory.
    n_jobs = available() if memory is None and scheduler is None else 1
    with reading_ahead(recipe, n_jobs, early) as ahead:
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
    from siftem.cli.display import print_result
    from siftem.cli.files import map_on_disk
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


def batch(
    recipe: Annotated[Path, typer.Argument(help="A recipe (.yaml); its input may be left out.")],
    files: Annotated[list[Path], typer.Argument(help="Spectrum images, or patterns: maps/*.emd.")],
    out: Out = None,
    n_jobs: Annotated[
        int | None, typer.Option("--n-jobs", "--workers", help="Processes on this machine.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", help="Threads of each process.")
    ] = None,
    scheduler: Scheduler = None,
    joint: Annotated[
        bool, typer.Option("--joint", help="Factorise all maps together: common spectra.")
    ] = False,
    spectra: Annotated[
        Path | None, typer.Option("--spectra", help="Spectra that all maps share (CSV, .hspy).")
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", help="Leave maps on disk; budget, e.g. 2GB.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Run one recipe over many maps; run again, it does only what is missing or changed."""
    from siftem.batch.run import run_batch
    from siftem.pipeline.recipe import read_recipe

    chosen = read_recipe(recipe, for_many=True)
    try:
        with BatchBars(ERRORS, quiet) as watcher:
            result = run_batch(
                chosen,
                list(_matching(files)),
                out or Path(f"siftem-{recipe.stem}"),
                joint=joint,
                spectra=spectra,
                n_jobs=n_jobs,
                threads=threads,
                scheduler=scheduler,
                memory=memory,
                processes=available(),
                watcher=watcher,
            )
    except KeyboardInterrupt:
        raise Cancelled("interrupted; the same command goes on where it was") from None
    if not quiet:
        counts = {s: sum(o.status == s for o in result.outcomes) for s in ("done", "kept")}
        OUTPUT.print(
            f"{counts['done']} done, {counts['kept']} were up to date, "
            f"{len(result.failed)} failed; report: {result.folder / 'report.html'}",
            markup=False,
        )
    if result.failed:
        if quiet:
            for outcome in result.failed:
                ERRORS.print(f"siftem: {outcome.name}: {outcome.error}", markup=False)
        raise typer.Exit(1)


def _matching(files: Sequence[Path]) -> Iterator[Path]:
    """Files by their names or by patterns, which PowerShell leaves as they are."""
    for file in files:
        pattern = str(file.relative_to(file.anchor))
        found = [] if file.exists() else sorted(Path(file.anchor).glob(pattern))
        yield from found or [file]


class BatchBars(Watcher):
    """A bar for all maps and one for each that is worked on; a line for each that is done.

    Parameters
    ----------
    console : Console
    quiet : bool
        Show nothing.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._lock = threading.Lock()
        self._tasks: dict[str, TaskID] = {}
        self._over: set[str] = set()
        self._all: TaskID | None = None
        self._overall = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=quiet,
        )

    def __enter__(self) -> BatchBars:
        self._overall.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._overall.stop()

    def begin(self, names: tuple[str, ...]) -> None:
        """Show how many there are."""
        self._all = self._overall.add_task("maps", total=len(names))

    def dashboard(self, address: str) -> None:
        """Show where Dask's dashboard is."""
        self._line(f"Dask dashboard: {address}")

    def step(self, name: str, step: str, fraction: float) -> None:
        """Move the bar of a map."""
        with self._lock:
            if name in self._over:
                return
            if name not in self._tasks:
                self._tasks[name] = self._overall.add_task(name, total=100)
            self._overall.update(
                self._tasks[name],
                description=f"{name}: {step}",
                completed=round(100 * min(max(fraction, 0.0), 1.0)),
            )

    def finished(self, outcome: Outcome) -> None:
        """Take the bar of a map away and tell how it went."""
        with self._lock:
            self._over.add(outcome.name)
            if outcome.name in self._tasks:
                self._overall.remove_task(self._tasks.pop(outcome.name))
            if self._all is not None:
                self._overall.advance(self._all)
        told = {
            "done": f"done in {outcome.seconds:.1f} s",
            "kept": "up to date",
        }.get(outcome.status, f"{outcome.status}: {outcome.error}")
        self._line(f"{outcome.name}: {told}")

    def _line(self, text: str) -> None:
        if not self._quiet:
            self._console.print(text, markup=False)
