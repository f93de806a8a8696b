"""From any file to a sparse map file, without holding the map in memory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from siftem.errors import InputError, ReadError
from siftem.io.counts import CountsBuilder, refuse_bloated
from siftem.io.cube_blocks import BLOCK_BYTES, FrameChoice, PixelBlock, event_bands, frame_blocks
from siftem.io.formats import VENDORS, refuse_damaged
from siftem.io.formats.vendor import EventFiles, Events
from siftem.io.hyperspy_bridge import channel_window, header_of, load, map_blocks, no_counts
from siftem.io.signal_choice import choose_spectrum_images, find_survey, is_map
from siftem.io.signal_metadata import (
    Layout,
    read_layout,
    text_in,
    with_whole_live_time,
)
from siftem.io.vendor_files import (
    OpenedFile,
    StoredSignal,
    checked_path,
    damage_as_read_error,
    guarded,
    most_entries,
    opened,
    quiet,
    refuse_absurd,
)
from siftem.large.sparse_file import MapHeader, is_sparse_file, open_sparse_file
from siftem.large.sparse_writer import SparseFileWriter, write_sparse_file
from siftem.machine import BASE_BYTES, parse_memory
from siftem.progress import Progress, shows_progress, silent
from siftem.spectrum_image import SpectrumImage

_Range = tuple[float | None, float | None] | None
#: Bytes for a band of events, and for a dense block, where no budget is given.
_EVENT_BYTES = 512 * 2**20
#: Of the budget beyond Python itself, a block or band may take this part.
_BLOCK_SHARE = 4


@shows_progress
def convert(
    source: Any,
    out: str | os.PathLike[str],
    *,
    signal: int | None = None,
    energy_range: _Range = None,
    frames: slice | Sequence[int] | None = None,
    shifts: Any = None,
    memory: str | int | None = None,
    compress: bool = False,
    progress: Progress = silent,
) -> Path:
    """Write a map as a sparse map file, without ever holding it in memory.

    Velox .emd and JEOL .pts event streams are read as streams; Bruker .bcf maps by bands of
    lines; anything else that HyperSpy reads lazily, by blocks. The file appears when it is
    complete; whatever was there before stays until then.

    Parameters
    ----------
    source : str, path-like, HyperSpy signal or SpectrumImage
        What to convert.
    out : str or path-like
        The file to write, by habit ending in .sift.
    signal : int, optional
        Number of the signal in the file, as ``siftem inspect`` lists them.
    energy_range : tuple of float, optional
        Keep the channels between (low, high), in the unit of the file's energy axis.
    frames : slice or sequence of int, optional
        Frames to sum, from 0; all by default.
    shifts : array of shape (frames, 2), optional
        Lines and columns (dy, dx) by which the specimen has moved in each frame, as
        HyperSpy's ``estimate_shift2D`` gives them, for each frame of the file or each chosen
        one. Frames are moved back by whole pixels, and the map is cropped to the pixels
        that all of them cover.
    memory : str or int, optional
        Budget such as "2GB"; sets the size of the blocks.
    compress : bool
        Deflate the counts: a smaller file that is several times slower to work on.
    progress : Progress
        Called with the step and the fraction done.

    Returns
    -------
    Path

    Raises
    ------
    ReadError
        When the file is missing, damaged or holds no map.
    InputError
        When frames or shifts do not fit, or counts are negative or NaN.

    Examples
    --------
    >>> siftem.convert("map.hspy", "map.sift", memory="1GB").name
    'map.sift'
    """
    block_bytes, event_bytes = _budgets(memory)
    target = Path(out)
    if isinstance(source, SpectrumImage):
        _refuse_frames(frames, shifts, "a spectrum image in memory")
        low, high = energy_range or (None, None)
        source = source.cropped(low, high)
        if source.counts.nnz == 0:
            raise InputError(no_counts(energy_range))
        return write_sparse_file(source, target, compress=compress)
    job = _Job(target, energy_range, frames, shifts, block_bytes, event_bytes, compress, progress)
    if hasattr(source, "axes_manager"):
        kind = text_in(source.metadata, "Signal.signal_type")
        with quiet():
            job.signal(StoredSignal(0, source, kind, "HyperSpy"), None)
        return target
    path = checked_path(source)
    with contextlib.suppress(OSError):  # there is no such file, or can't be: the writer tells
        if target.samefile(path):
            raise InputError(
                f"{path.name} would be replaced by what is made of it: name another file"
            )
    refuse_damaged(path)
    try:
        if is_sparse_file(path):
            _refuse_frames(frames, shifts, "a sparse map file")
            job.sparse_file(path)
        elif (listing := _event_files(path)) is not None:
            job.events(listing, path, signal)
        else:
            job.file(path, signal)
    except (InputError, ReadError) as error:
        if path.name in str(error):
            raise
        raise type(error)(f"{path.name}: {error}") from error
    return target


class _Job:
    """One conversion."""

    def __init__(
        self,
        out: Path,
        energy_range: _Range,
        frames: slice | Sequence[int] | None,
        shifts: Any,
        block_bytes: int,
        event_bytes: int,
        compress: bool,
        progress: Progress,
    ) -> None:
        self.out = out
        self.energy_range = energy_range
        self.frames = frames
        self.shifts = shifts
        self.block_bytes = block_bytes
        self.event_bytes = event_bytes
        self.compress = compress
        self.progress = progress

    def file(self, path: Path, number: int | None) -> None:
        """Any file that HyperSpy reads."""
        with opened(path) as file:
            chosen = choose_spectrum_images(file, number)
            if len(chosen) == 1:
                self.signal(chosen[0], file)
                return
        # Detectors as signals of their own: only their sum is wanted, and it is sparse.
        _refuse_frames(self.frames, self.shifts, "a file of several detectors")
        si = load(path, signal=number, energy_range=self.energy_range, progress=self.progress)
        write_sparse_file(si, self.out, compress=self.compress)

    def signal(self, stored: StoredSignal, file: OpenedFile | None) -> None:
        """One signal, lazy or not."""
        with damage_as_read_error():
            layout = read_layout(stored.signal, stored.signal_type)
            if file is not None:
                refuse_absurd(stored, layout, file.path)
            window = channel_window(layout, self.energy_range)
        data, shape, notes = stored.signal.data, layout.shape, layout.notes
        wants_frames = self.frames is not None or self.shifts is not None
        blocks: Iterator[PixelBlock]
        if wants_frames:
            if len(layout.order) != 4:
                raise InputError("frames or shifts are given, but this map keeps no frames apart")
            number = data.shape[layout.order[0]]
            choice = FrameChoice.checked(number, self.frames, self.shifts, shape)
            notes = (*notes[1:], *choice.notes(number, shape))
            (y0, y1), (x0, x1) = choice.common_area(shape)
            shape = (y1 - y0, x1 - x0)
            blocks = frame_blocks(
                data, layout.order, choice, window=window, budget=self.block_bytes
            )
        else:
            blocks = map_blocks(stored, layout, file, window, self.block_bytes)
        header = self._header(stored, layout, shape, notes, file)
        survey, name = self._survey(file, shape if shape == layout.shape else None)
        with self._writer(replace(header, survey_name=name), survey) as writer:
            in_order = _in_scan_order(guarded(blocks), header.axis.size, layout.reverse)
            said: tuple[str, ...] = ()
            done = 0
            for rows, found in in_order:
                said = said or found
                writer.append(rows)
                refuse_bloated(writer.entries, None if file is None else most_entries(file.path))
                done += rows.shape[0]
                self.progress("converting", done / (shape[0] * shape[1]))
            notes = (*writer.header.notes, *said)
            writer.header = replace(writer.header, notes=notes, doubts=said)
            self._complete(writer, stored)

    def events(self, kind: EventFiles, path: Path, number: int | None) -> None:
        """A file that lists events."""
        with kind.few(path) as small, opened(small, standing_for=path) as file:
            chosen = choose_spectrum_images(file, number)
            layout = read_layout(chosen[0].signal, chosen[0].signal_type)
            if kind.sized:
                refuse_absurd(chosen[0], layout, path)
            maps = [s.number for s in file.signals if is_map(s)]
            with contextlib.ExitStack() as stack:
                with damage_as_read_error():
                    places = [maps.index(s.number) for s in chosen]
                    found = stack.enter_context(kind.opened(path, layout, places))
                self._events(chosen[0], layout, file, found, path)

    def sparse_file(self, path: Path) -> None:
        """A sparse map file, to crop or compress it."""
        header, source, survey = open_sparse_file(path)
        low, high = self.energy_range or (None, None)
        window = header.axis.window(low, high)
        with self._writer(replace(header, axis=header.axis.cropped(window)), survey) as writer:
            for first, last in zip(source.edges[:-1], source.edges[1:], strict=True):
                writer.append(sp.csr_array(source.read(first, last)[:, window]))
                self.progress("converting", last / source.shape[0])
            self._refuse_empty(writer)

    def _events(
        self,
        stored: StoredSignal,
        layout: Layout,
        file: OpenedFile,
        found: Events,
        path: Path,
    ) -> None:
        streams = found.streams
        frames = len(streams[0].line_starts)
        choice = FrameChoice.checked(frames, self.frames, self.shifts, layout.shape)
        window = channel_window(layout, self.energy_range)
        (y0, y1), (x0, x1) = choice.common_area(layout.shape)
        shape = (y1 - y0, x1 - x0)
        notes = [*found.notes, *choice.notes(frames, layout.shape)]
        if len(streams) > 1:
            notes.append(f"summed {len(streams)} detectors")
        header = self._header(stored, layout, shape, tuple(notes), file)
        survey, name = self._survey(file, layout.shape)
        if survey is not None and found.image is not None:
            survey = found.image(choice)
        elif shape != layout.shape:
            survey = None
        header = replace(header, survey_name=name, title=path.stem)
        with self._writer(header, survey) as writer:
            done = 0
            bands = event_bands(streams, choice, window=window, budget=self.event_bytes)
            for rows in _guarded(bands):
                writer.append(rows)
                done += rows.shape[0]
                self.progress("converting", done / (shape[0] * shape[1]))
            self._complete(writer, stored)

    def _header(
        self,
        stored: StoredSignal,
        layout: Layout,
        shape: tuple[int, int],
        notes: tuple[str, ...],
        file: OpenedFile | None,
    ) -> MapHeader:
        stated = replace(layout, shape=shape, notes=notes)
        header = header_of(stored, stated, self.energy_range)
        return header if file is None else replace(header, title=file.path.stem)

    def _survey(
        self, file: OpenedFile | None, shape: tuple[int, int] | None
    ) -> tuple[np.ndarray | None, str]:
        if file is None or shape is None:
            return None, "HAADF"
        with damage_as_read_error():
            return find_survey(file.signals, shape)

    def _complete(self, writer: SparseFileWriter, stored: StoredSignal) -> None:
        """Refuse an empty map, and say what only all counts tell."""
        self._refuse_empty(writer)
        header = writer.header
        acquisition, notes = with_whole_live_time(
            header.acquisition,
            header.shape[0] * header.shape[1],
            writer.total,
            stored.signal.metadata,
        )
        writer.header = replace(header, acquisition=acquisition, notes=(*header.notes, *notes))

    def _refuse_empty(self, writer: SparseFileWriter) -> None:
        if not writer.entries:
            raise ReadError(no_counts(self.energy_range))

    def _writer(self, header: MapHeader, survey: np.ndarray | None) -> SparseFileWriter:
        return SparseFileWriter(self.out, header, survey=survey, compress=self.compress)


def _event_files(path: Path) -> EventFiles | None:
    kinds = (vendor.events for vendor in VENDORS)
    return next((kind for kind in kinds if kind is not None and kind.holds(path)), None)


def _in_scan_order(
    blocks: Iterator[PixelBlock], n_channels: int, reverse: bool
) -> Iterator[tuple[sp.csr_array, tuple[str, ...]]]:
    """Put blocks together until they are whole runs of pixels; yields rows and doubts of them."""
    first = 0
    held: list[tuple[np.ndarray, sp.csr_array]] = []
    number, last = 0, -1
    for pixels, block in blocks:
        builder = CountsBuilder(len(pixels), n_channels, reverse=reverse)
        builder.add(np.arange(len(pixels)), block)
        rows, doubts = builder.result()
        held.append((pixels, rows))
        number += len(pixels)
        last = max(last, int(pixels.max()))
        if number == last + 1 - first:
            order = np.argsort(np.concatenate([p for p, _ in held]), kind="stable")
            whole = held[0][1] if len(held) == 1 else sp.vstack([r for _, r in held], format="csr")
            in_order = np.array_equal(order, np.arange(order.size))
            yield sp.csr_array(whole if in_order else whole[order]), doubts
            held, number, first = [], 0, last + 1


def _guarded(bands: Generator[sp.csr_array, None, None]) -> Iterator[sp.csr_array]:
    """Turn what a damaged stream raises into one sentence, but not what the writer raises."""
    with contextlib.closing(bands) as source:
        while True:
            with damage_as_read_error():
                band = next(source, None)
            if band is None:
                return
            yield band


def _budgets(memory: str | int | None) -> tuple[int, int]:
    """Bytes of a dense block, and of a band of events."""
    if memory is None:
        return BLOCK_BYTES, _EVENT_BYTES
    room = max(parse_memory(memory) - BASE_BYTES, 0) // _BLOCK_SHARE
    if room < 2**22:
        raise InputError(
            f"a memory budget of {parse_memory(memory) / 1e6:.0f} MB is too small: give at least "
            f"{(BASE_BYTES + _BLOCK_SHARE * 2**22) / 1e6:.0f} MB"
        )
    return min(room, BLOCK_BYTES), min(room, _EVENT_BYTES)


def _refuse_frames(frames: Any, shifts: Any, what: str) -> None:
    if frames is not None or shifts is not None:
        raise InputError(f"frames or shifts are given, but {what} keeps no frames apart")
