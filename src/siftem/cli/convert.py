"""``siftem convert``, and the options of ``siftem run`` for maps that are larger than memory."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from siftem.cli.display import ERRORS, OUTPUT, ProgressBars, Quiet, Signal
from siftem.errors import InputError

if TYPE_CHECKING:
    from siftem.pipeline.recipe import Recipe
    from siftem.progress import Progress
    from siftem.spectrum_image import SpectrumImage


def convert(
    file: Annotated[Path, typer.Argument(help="A vendor file or a HyperSpy file.")],
    out: Annotated[Path, typer.Argument(help="The file to write, such as map.sift.")],
    signal: Signal = None,
    energies: Annotated[
        str | None, typer.Option("--energies", help="Channels to keep, e.g. 0.2:20 or 0.2:.")
    ] = None,
    frames: Annotated[
        str | None, typer.Option("--frames", help="Frames to sum, from 0, e.g. 0:50 or 0,2,5.")
    ] = None,
    shifts: Annotated[
        Path | None,
        typer.Option("--shifts", help="Drift of each frame: a text file with dy, dx on a line."),
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", help="Budget, e.g. 2GB; sets the size of blocks.")
    ] = None,
    compress: Annotated[
        bool, typer.Option("--compress", help="A smaller file that is slower to work on.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write a map as a sparse map file, for maps that are larger than memory."""
    from siftem.io.convert import convert as convert_file
    from siftem.large.sparse_file import open_sparse_file

    energy_range = None if energies is None else _energies(energies)
    chosen = None if frames is None else _frames(frames)
    drift = None if shifts is None else _shifts(shifts)
    with ProgressBars(ERRORS, quiet) as progress:
        convert_file(
            file,
            out,
            signal=signal,
            energy_range=energy_range,
            frames=chosen,
            shifts=drift,
            memory=memory,
            compress=compress,
            progress=progress,
        )
    if not quiet:
        header, source, _ = open_sparse_file(out)
        OUTPUT.print(
            f"{out}: {header.shape[0]} x {header.shape[1]} pixels, {header.axis.size} channels, "
            f"{len(source.edges) - 1} blocks, {Path(out).stat().st_size / 1e6:.3g} MB",
            markup=False,
        )
        for note in header.notes:
            OUTPUT.print(f"  {note}", markup=False)


def _energies(text: str) -> tuple[float | None, float | None]:
    low, colon, high = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return (float(low) if low else None, float(high) if high else None)
    except ValueError:
        raise InputError(f"--energies must be LOW:HIGH, such as 0.2:20, got {text!r}") from None


def _frames(text: str) -> slice | list[int]:
    try:
        if ":" in text:
            first, last = (int(part) if part.strip() else None for part in text.split(":"))
            return slice(first, last)
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"--frames must be FIRST:LAST or numbers with commas, such as 0:50 or 0,2,5, "
            f"got {text!r}"
        ) from None


def _shifts(path: Path) -> list[list[float]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the shifts {path}: {error}") from error
    found = []
    for number, line in enumerate(lines, start=1):
        words = line.split("#")[0].replace(",", " ").replace(";", " ").split()
        if not words:
            continue
        try:
            dy, dx = (float(word) for word in words)
        except ValueError:
            raise InputError(
                f"line {number} of {path} must hold two numbers, dy and dx, got {line.strip()!r}"
            ) from None
        found.append([dy, dx])
    return found


@contextlib.contextmanager
def map_on_disk(
    recipe: Recipe,
    *,
    memory: str | None,
    scheduler: str | None,
    beside: Path,
    checkpoints: Path | None,
    console: Console,
    progress: Progress,
) -> Iterator[SpectrumImage | None]:
    """Open the map of a recipe on disk, if a budget or a scheduler is given.

    A file in another format is converted first, to a file that is removed afterwards.

    Parameters
    ----------
    recipe : Recipe
    memory, scheduler : str, optional
    beside : Path
        Folder of the results; intermediate files go beside it.
    checkpoints : Path, optional
        Folder that is kept: intermediate files go there instead, to go on from after a kill.
    console : Console
        Told where the dashboard of the cluster is.
    progress : Progress

    Yields
    ------
    SpectrumImage or None
        None when the map is to be loaded whole.
    """
    if (memory is None and scheduler is None) or recipe.input.demo is not None:
        yield None
        return
    from siftem.files.atomic import refusals_told
    from siftem.io.convert import convert
    from siftem.large.open_map import open_map
    from siftem.large.sparse_file import is_sparse_file
    from siftem.pipeline.input_file import input_file

    path = Path(input_file(recipe))
    parent = beside.absolute().parent
    with contextlib.ExitStack() as stack:
        with refusals_told(f"in {checkpoints or parent}"):
            if checkpoints is not None:
                scratch = str(checkpoints.absolute() / "blocks")
                Path(scratch).mkdir(parents=True, exist_ok=True)
            else:
                parent.mkdir(parents=True, exist_ok=True)
                made = tempfile.TemporaryDirectory(prefix=f".{beside.name}-", dir=parent)
                scratch = stack.enter_context(made)
        if not is_sparse_file(path):
            path = convert(
                path,
                Path(scratch) / f"{path.stem}.sift",
                signal=recipe.input.signal,
                memory=memory,
                progress=progress,
            )
        image = stack.enter_context(
            open_map(
                path,
                memory=memory,
                scheduler="threads" if scheduler is None else scheduler,
                scratch=scratch,
            )
        )
        client = image.counts.work.client
        if client is not None:
            console.print(f"dashboard: {client.dashboard_link}", markup=False)
        yield image
