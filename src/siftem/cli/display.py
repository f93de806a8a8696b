"""What commands print: progress, time, memory, and the short summary of a run.

Options that several commands have are here as well, and the word on kernels that are compiled.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from siftem.errors import InputError
from siftem.printed_numbers import range_text, with_error
from siftem.progress import compiling_seen

if TYPE_CHECKING:
    from siftem.pipeline.results import RunResult


class ProgressBars:
    """One bar for each step of the work, on a terminal; silent when quiet.

    Parameters
    ----------
    console : Console
        Where the bars go.
    quiet : bool
        Show nothing.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._tasks: dict[str, TaskID] = {}
        self._bars: Progress | None = None
        self._console = console
        if not quiet:
            self._bars = Progress(
                TextColumn("{task.description:>16}"),
                BarColumn(bar_width=32),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeElapsedColumn(),
                console=console,
            )

    def __enter__(self) -> ProgressBars:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()

    def __call__(self, step: str, fraction: float) -> None:
        """Move the bar of a step to a fraction; a step that begins again starts over."""
        if self._bars is None:
            return
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(step, total=1.0)
        self._bars.update(self._tasks[step], completed=min(max(fraction, 0.0), 1.0))


def resources_used() -> Callable[[], dict[str, float]]:
    """Start a clock; the function returned tells seconds and peak memory so far."""
    start = time.perf_counter()

    def used() -> dict[str, float]:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # Kilobytes on Linux, bytes on macOS.
        megabytes = peak / (1e6 if sys.platform == "darwin" else 1e3)
        return {"seconds": time.perf_counter() - start, "peak_memory_MB": megabytes}

    return used


#: Shorter compilations need no word, seconds.
_SHORT = 1.0


@contextmanager
def compiling_told(console: Console, quiet: bool = False) -> Iterator[None]:
    """Say when kernels begin to be compiled, and how long that took in all.

    Numba keeps what it compiled beside the package or where ``NUMBA_CACHE_DIR`` says.

    Parameters
    ----------
    console : Console
        Where it is said.
    quiet : bool
        Say nothing.
    """
    if quiet:
        yield
        return
    told, own = False, os.getpid()

    def tell(begins: bool) -> None:
        nonlocal told
        if begins and not told and os.getpid() == own:  # copies of this process need not say it
            told = True
            console.print("compiling kernels, once after installation ...", markup=False)

    with compiling_seen(tell) as seen:
        yield
    if seen.seconds > _SHORT:
        console.print(
            f"{seen.seconds:.0f} s of this run went to compiling: not so next time", markup=False
        )


#: Errors and progress go to standard error, results to standard output.
ERRORS = Console(stderr=True, highlight=False, soft_wrap=True)
OUTPUT = Console(highlight=False, soft_wrap=True)

Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the results.")]
Show = Annotated[bool, typer.Option("--open", help="Open the report in the browser at the end.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, errors only.")]
Signal = Annotated[int | None, typer.Option("--signal", help="Number of the signal in the file.")]
Support = Annotated[
    str | None, typer.Option("--support", help="Elements of grid and holder, e.g. Cu,C.")
]
Scheduler = Annotated[str | None, typer.Option("--scheduler", help="Address of a Dask scheduler.")]


def print_result(
    console: Console, result: RunResult, folder: Path, resources: Mapping[str, float]
) -> None:
    """Print layout, compositions, warnings, time and memory."""
    # What only results need: other commands, and the start of this one, do without.
    from siftem.report.phase_names import layout_sentence
    from siftem.report.table import without_repeats

    console.print(f"layout: {layout_sentence(result)}", markup=False)
    _print_compositions(console, result)
    for line in (*_ratio_lines(result), *_lines_of_phases(result), *_lines_of_gains(result)):
        console.print(line, markup=False)
    if result.truth:
        for name, value in result.truth.overlap.items():
            console.print(f"{name}: intersection over union with the true mask {value:.3f}")
        for name, value in result.truth.angles.items():
            console.print(f"{name}: {value:.2f} degrees from the true spectrum")
    for warning, text in zip(result.warnings, without_repeats(result.warnings), strict=True):
        kind = "warning" if warning in result.doubts else "note"
        console.print(f"{kind}: {text}", markup=False)
    console.print(
        f"{resources['seconds']:.1f} s, {resources['peak_memory_MB']:.0f} MB at the most; "
        f"report: {folder / 'report.html'}",
        markup=False,
    )


def _print_compositions(console: Console, result: RunResult) -> None:
    """Print at% of all phases, in as many tables as the width asks for."""
    from siftem.pipeline.composition_doubts import assumed_absent
    from siftem.report.composition_tables import headings
    from siftem.report.table import between_note, content_cells, open_phases, plain_text

    shown = {n: result.compositions[n] for n in result.pure if n in result.compositions}
    if not shown:
        return
    assumed = assumed_absent(result.recipe)
    title = "Composition, at% (± counting only; in brackets: all that may be, 95%"
    title += "; ranges alike)" if open_phases(shown.values()) else ")"
    elements = tuple(dict.fromkeys(e for c in shown.values() for e in c.elements))
    columns = {
        heading: [plain_text(content_cells(c, e, assumed.get(n, ()))) for e in elements]
        for heading, (n, c) in zip(headings(result, list(shown)), shown.items(), strict=True)
    }
    for some in _abreast(columns, console.width):
        table = Table(title=title, title_justify="left")
        table.add_column("")
        for heading in some:
            table.add_column(heading, justify="right")
        for row in zip(elements, *(columns[heading] for heading in some), strict=True):
            table.add_row(*row)
        console.print(table)
        title = ""
    if note := between_note(columns.values()):
        console.print(note, markup=False)


def _ratio_lines(result: RunResult) -> Iterator[str]:
    """Yield each ratio of the recipe in all phases that have it."""
    import numpy as np

    from siftem.quantification.open_ranges import atomic_ratio, interval_of, is_open
    from siftem.report.table import plain_text, value_cells

    for ratio in result.recipe.quantify.ratios:
        values = []
        for name in (n for n in result.pure if n in result.compositions):
            c = result.compositions[name]
            try:
                quantity = c.ratio(ratio)
            except InputError:  # an element of it is not in this phase's range
                continue
            low, high = interval_of(c, atomic_ratio(c, ratio))
            if is_open(c):
                values.append(f"{name} {range_text(low, high)}")
            elif np.isfinite(quantity.value) and quantity.sigma < abs(quantity.value):
                cells = value_cells(quantity.value, quantity.sigma, low, high)
                values.append(f"{name} {plain_text(cells)}")
        if values:
            yield f"{ratio}: {'; '.join(values)}"


def _lines_of_phases(result: RunResult) -> Iterator[str]:
    """Yield what phases are and how they compare, beside their compositions."""
    from siftem.pipeline.composition_doubts import flagged
    from siftem.pipeline.minerals import formulas_of, names_of
    from siftem.report.phase_names import calibration_lines, mineral_notes

    yield from calibration_lines(result)
    for name, formula in formulas_of(result).items():
        yield f"{name}: {formula}"
    for name, found in names_of(result).items():
        yield f"{name} may be: {found}"
    for note in mineral_notes(result):
        yield f"note: {note}"
    for pair, text in _partition(result).items():
        yield f"D({pair}), by weight: {text}"
    for phase, far in flagged(result).items():
        listed = ", ".join(f"{e} by {z:+.1f} sigma" for e, z in far.items())
        yield f"{phase}: unmixing differs from subtraction in {listed}"


def _lines_of_gains(result: RunResult) -> Iterator[str]:
    """Yield what a faint line gains by the whole pure matrix."""
    import numpy as np

    from siftem.figures.line_labels import spelled_line

    for gain in result.gains:
        # Nothing over the rectangle, or over both: how many times more says nothing.
        times = f" ({gain.gain:.1f} times)" if np.isfinite(gain.gain) else ""
        yield (
            f"{spelled_line(gain.line)}: signal to noise {gain.whole:.1f} over the whole pure "
            f"{result.matrix}, {gain.rectangle:.1f} over a rectangle{times}"
        )


def _abreast(columns: Mapping[str, list[str]], width: int) -> list[list[str]]:
    """Return the headings of columns in groups that fit beside each other, no text parted."""
    groups: list[list[str]] = [[]]
    left = room = width - 6  # less the elements and borders
    for heading, texts in columns.items():
        taken = 3 + max(map(len, (*texts, *heading.split())), default=0)
        if taken > left and groups[-1]:
            groups.append([])
            left = room
        groups[-1].append(heading)
        left -= taken
    return groups


def _partition(result: RunResult) -> dict[str, str]:
    """Partition coefficients that were measured, for each pair of phases."""
    out: dict[str, list[str]] = {}
    for d in result.partition:
        if d.is_range:
            shown = f"{d.element} {range_text(*d.interval_95)}"
            out.setdefault("/".join(d.phases), []).append(shown)
        elif not d.limit:
            shown = f"{d.element} {with_error(d.value, d.sigma)}"
            out.setdefault("/".join(d.phases), []).append(shown)
    return {pair: ", ".join(texts) for pair, texts in out.items()}
