"""What is in a file (``siftem inspect``, ``siftem maps``), and ``siftem convert``."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from siftem.cli.display import (
    ERRORS,
    OUTPUT,
    Out,
    ProgressBars,
    Quiet,
    Signal,
    Support,
    compiling_told,
)
from siftem.errors import InputError, SeveralMapsError
from siftem.machine import available
from siftem.progress import Progress, silent

if TYPE_CHECKING:
    from siftem.io.signal_choice import SignalEntry
    from siftem.pipeline.recipe import Recipe
    from siftem.spectrum_image import SpectrumImage


def describe_file(path: Path, signal: int | None, progress: Progress) -> str:
    """Describe the signals of a file and the spectrum image that would be used.

    Parameters
    ----------
    path : Path
    signal : int, optional
        Number of the signal; by default the only usable one.
    progress : Progress

    Returns
    -------
    str
        Several lines.

    Raises
    ------
    ReadError
        When the file cannot be read, its map is damaged, or the asked signal is no spectrum
        image. A file of several maps is only listed.
    """
    from siftem.io.hyperspy_bridge import load
    from siftem.io.signal_choice import list_signals
    from siftem.io.vendor_files import checked_path
    from siftem.large.sparse_file import is_sparse_file
    from siftem.pipeline.side_processes import LARGEST, SideProcesses

    si: SpectrumImage | str
    if is_sparse_file(checked_path(path)):
        lines, si = _listed(path, list_signals(path)), load(path, signal=signal, progress=progress)
    elif not path.is_file() or path.stat().st_size > LARGEST:
        lines, si = _read(path, signal, progress)
    else:
        with SideProcesses({"map": partial(_read, path, signal)}, available()) as reading:
            _import_search()
            lines, si = reading.results()["map"]
    if isinstance(si, str):
        return "\n".join([*lines, si])
    return "\n".join([*lines, *_describe_map(si), *_describe_elements(si)])


def _read(
    path: Path, signal: int | None, progress: Progress = silent
) -> tuple[list[str], SpectrumImage | str]:
    """List the signals of a file; return the map that would be used, or why there is no one."""
    from siftem.io.hyperspy_bridge import load_opened
    from siftem.io.signal_choice import entries_of
    from siftem.io.vendor_files import opened

    with opened(path, progress=progress) as file:
        lines = _listed(path, entries_of(file))
        try:
            return lines, load_opened(file, signal=signal, progress=progress)
        except SeveralMapsError as error:
            return lines, str(error)


def _import_search() -> None:
    """Import what finds elements, with its tables and kernels, while a copy reads the map."""
    from siftem.energy_axis import EnergyAxis
    from siftem.fit.element_search import CANDIDATES
    from siftem.fit.line_search import LineLibrary
    from siftem.fit.spectrum_model import Calibration
    from siftem.xray.detector import Detector

    LineLibrary(CANDIDATES, EnergyAxis(0.0, 0.01, 2000), 200.0, Detector(), Calibration(near=0.01))


def _listed(path: Path, entries: list[SignalEntry]) -> list[str]:
    lines = [f"{path}: {len(entries)} signal{'s' if len(entries) != 1 else ''}"]
    for entry in entries:
        shape = " x ".join(str(n) for n in entry.shape)
        kind = f"{entry.signal_type} {entry.kind}".strip()
        lines.append(f"  {entry.index}: {entry.title or 'untitled'}: {kind}, {shape} {entry.dtype}")
        lines += [f"       {axis}" for axis in entry.axes]
    return lines


def _describe_map(si: SpectrumImage) -> list[str]:
    ny, nx = si.shape
    a = si.acquisition
    known = [
        f"{label} {value:g} {unit}"
        for label, value, unit in (
            ("beam", a.beam_energy, "keV"),
            ("take-off angle", a.take_off_angle, "degrees"),
            ("resolution", a.resolution, "eV at Mn Kα"),
            ("live time", a.live_time, "s"),
        )
        if value is not None
    ]
    size = ", their size not calibrated"
    if si.pixel_size is not None:
        size = f" of {si.pixel_size[0]:.4g} x {si.pixel_size[1]:.4g} nm"
    empty = int((si.total_map() == 0).sum())
    lines = [
        "",
        f"spectrum image: {ny} x {nx} pixels{size}, {si.n_channels} channels of "
        f"{si.axis.scale:.4g} {si.axis.unit} from {si.axis.offset:.4g} {si.axis.unit}",
        f"counts: {si.total:.4g} in all, {si.total / si.n_pixels:.4g} a pixel, "
        f"{100 * si.density:.3g}% of the cube is not zero"
        + (f", {empty} pixels are empty" if empty else ""),
        f"acquisition: {', '.join(known) or 'not stated in the file'}",
    ]
    if si.survey is not None:
        lines.append(f"survey image: {si.survey_name}")
    if a.elements:
        lines.append(f"elements listed in the file: {', '.join(a.elements)}")
    lines += [f"{'warning' if n in si.doubts else 'note'}: {n}" for n in si.notes]
    return lines


def _describe_elements(si: SpectrumImage) -> list[str]:
    if not si.signal_type.startswith("EDS"):
        return []
    from siftem.fit.element_search import find_elements
    from siftem.spectrum import Spectrum

    try:
        cropped = si.without_zero_peak()
        found = find_elements(
            Spectrum(cropped.sum_spectrum(), cropped.axis, name="sum", acquisition=si.acquisition)
        )
    except InputError as error:  # nothing beyond the zero peak
        return [f"lines seen: none, {error}"]
    if not found:
        return ["lines seen: none"]
    return ["lines seen (a suggestion): " + ", ".join(str(f) for f in found)]


def maps(
    file: Annotated[Path, typer.Argument(help="A vendor file or a HyperSpy file.")],
    elements: Annotated[
        str | None,
        typer.Option("--elements", help="Elements to map, e.g. O,Mg,Si; else those of the file."),
    ] = None,
    support: Support = None,
    signed: Annotated[
        bool,
        typer.Option("--signed", help="Unbiased, for sums and means: pixels may be negative."),
    ] = False,
    signal: Signal = None,
    out: Out = None,
    quiet: Quiet = False,
) -> None:
    """Map all line families by a fit to each pixel, as TIFF stacks with their errors."""
    import numpy as np

    from siftem.element_mapping import element_maps
    from siftem.files.atomic import refusals_told
    from siftem.io.hyperspy_bridge import load
    from siftem.io.images import write_values
    from siftem.pipeline.parts import recorded_warnings
    from siftem.pipeline.recipe_parts import listed_names

    with (
        recorded_warnings() as notes,
        compiling_told(ERRORS, quiet),
        ProgressBars(ERRORS, quiet) as progress,
    ):
        si = load(file, signal=signal, progress=progress)
        found = element_maps(
            si,
            listed_names(elements) or None,
            support=listed_names(support) or (),
            nonnegative=not signed,
            progress=progress,
        )
    folder = out or Path(f"siftem-maps-{file.stem}")
    with refusals_told(f"to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        for name, values in (("counts", found.counts), ("sigma", found.sigma)):
            images = dict(zip(found.names, values, strict=True))
            write_values(folder / f"{name}.tif", images, si.pixel_size)
    for note in notes:
        ERRORS.print(f"siftem: {note}", markup=False)
    if not quiet:
        for name, total, sigma in zip(found.names, found.totals, found.sigma, strict=True):
            OUTPUT.print(
                f"{name}: {total:.4g} counts in all, "
                f"{np.median(sigma):.3g} (1 sigma) in a typical pixel",
                markup=False,
            )
        OUTPUT.print(f"maps: {folder / 'counts.tif'}, {folder / 'sigma.tif'}", markup=False)


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
            ERRORS.print(f"dashboard: {client.dashboard_link}", markup=False)
        yield image
