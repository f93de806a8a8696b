"""Cubes of counts and streams of X-ray events, taken apart into blocks that fit in memory.

A cube may be dense or lazy. A detector that writes events needs no cube at all: each scan line of
each frame is found once; then bands of lines of the map are put together from the lines of all
frames, moved back by the drift of each frame, and nothing larger than a band is ever in memory.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from siftem.errors import InputError

#: Memory for one event on its way into a sparse block.
_BYTES_PER_EVENT = 80


class EventStream(Protocol):
    """The events of one detector."""

    shape: tuple[int, int]
    n_channels: int
    #: Position in the stream at which each line of each frame starts, (frames, ny + 1).
    line_starts: np.ndarray

    def events(self, frame: int, first: int, last: int) -> tuple[Any, Any, Any]:
        """Line, column and channel of the events of some lines of a frame, in any order."""


@dataclass(frozen=True, eq=False)
class FrameChoice:
    """Which frames are summed, and how far each has drifted.

    Parameters
    ----------
    frames : tuple of int
        Numbers, from 0.
    drift : ndarray of int, shape (frames, 2)
        Lines and columns by which the specimen has moved in each of them.
    """

    frames: tuple[int, ...]
    drift: np.ndarray

    @classmethod
    def checked(
        cls,
        n_frames: int,
        frames: slice | Sequence[int] | None,
        drift: Any,
        shape: tuple[int, int],
    ) -> FrameChoice:
        """Check what the user asks for against what is in the file.

        Parameters
        ----------
        n_frames : int
            Frames in the file.
        frames : slice or sequence of int, optional
            All by default.
        drift : array of shape (frames, 2), optional
            For each chosen frame, or for each frame of the file; rounded to whole pixels.
        shape : tuple of int
            (ny, nx).

        Returns
        -------
        FrameChoice
        """
        numbers = range(n_frames)
        if isinstance(frames, slice):
            chosen = tuple(numbers[frames])
        elif frames is None:
            chosen = tuple(numbers)
        else:
            chosen = tuple(int(f) for f in frames)
        wrong = [f for f in chosen if not 0 <= f < n_frames]
        if wrong or not chosen or len(set(chosen)) < len(chosen):
            raise InputError(
                f"frames must be different numbers from 0 to {n_frames - 1}, the file has "
                f"{n_frames} frames; got {wrong[0] if wrong else list(chosen)}"
            )
        if drift is None:
            return cls(chosen, np.zeros((len(chosen), 2), int))
        moved = np.asarray(drift, float)
        if moved.ndim != 2 or moved.shape[1] != 2 or not np.isfinite(moved).all():
            raise InputError(
                f"shifts must be two finite numbers (dy, dx) for each frame, got an array of shape "
                f"{moved.shape}"
            )
        if len(moved) == n_frames:
            moved = moved[list(chosen)]
        if len(moved) != len(chosen):
            raise InputError(
                f"{len(moved)} shifts are given for {len(chosen)} chosen frames of {n_frames}: "
                f"give one for each"
            )
        whole = np.rint(moved).astype(int)
        found = cls(chosen, whole)
        (y0, y1), (x0, x1) = found.common_area(shape)
        if y1 - y0 < 1 or x1 - x0 < 1:
            raise InputError(
                f"the shifts reach from {whole.min()} to {whole.max()} pixels: no pixel of the "
                f"{shape[0]} x {shape[1]} map is in all frames"
            )
        return found

    def common_area(self, shape: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Lines and columns of the first frame's scan, moved back, that all frames cover."""
        low, high = self.drift.min(axis=0), self.drift.max(axis=0)
        return (
            (max(0, -int(low[0])), shape[0] - max(0, int(high[0]))),
            (max(0, -int(low[1])), shape[1] - max(0, int(high[1]))),
        )

    def notes(self, n_frames: int, shape: tuple[int, int]) -> tuple[str, ...]:
        """What to say about it."""
        out = []
        if len(self.frames) == n_frames:
            out.append(f"summed {n_frames} frames")
        else:
            out.append(f"summed {len(self.frames)} of {n_frames} frames")
        if self.drift.any():
            (y0, y1), (x0, x1) = self.common_area(shape)
            out.append(
                f"frames moved back by up to {np.abs(self.drift).max()} pixels, "
                f"cropped to the {y1 - y0} x {x1 - x0} pixels that all of them cover"
            )
        return tuple(out)


def event_bands(
    streams: Sequence[EventStream],
    choice: FrameChoice,
    *,
    window: slice = slice(None),
    budget: int,
) -> Generator[sp.csr_array, None, None]:
    """Yield the map, some lines at a time, as sparse counts summed over frames and detectors.

    Parameters
    ----------
    streams : sequence of EventStream
        Detectors of the same scan.
    choice : FrameChoice
    window : slice
        Channels to take.
    budget : int
        Bytes that a band may need on the way; a single line may exceed it.

    Yields
    ------
    scipy.sparse.csr_array of shape (lines * columns, channels), int32
        Lines and columns of the common area, in scan order.
    """
    shape, n_channels = streams[0].shape, streams[0].n_channels
    (top, bottom), (left, right) = choice.common_area(shape)
    low, high, _ = window.indices(n_channels)
    columns = right - left
    for y0, y1 in _bands(streams, choice, (top, bottom), budget):
        parts = []
        for stream in streams:
            for frame, (dy, dx) in zip(choice.frames, choice.drift, strict=True):
                y, x, channel = stream.events(frame, y0 + int(dy), y1 + int(dy))
                x = x - (left + int(dx))
                kept = (x >= 0) & (x < columns) & (channel >= low) & (channel < high)
                row = (y[kept] - (y0 + int(dy))) * columns + x[kept]
                parts.append(row * (high - low) + (channel[kept] - low))
        yield _counted(np.concatenate(parts), ((y1 - y0) * columns, high - low))


def _bands(
    streams: Sequence[EventStream], choice: FrameChoice, lines: tuple[int, int], budget: int
) -> Iterator[tuple[int, int]]:
    """Cut lines into bands whose events fit the budget."""
    top, bottom = lines
    words = np.zeros(bottom - top, np.int64)
    for stream in streams:
        for frame, (dy, _) in zip(choice.frames, choice.drift, strict=True):
            starts = stream.line_starts[frame, top + dy : bottom + dy + 1]
            words += np.diff(starts)
    most = max(budget // _BYTES_PER_EVENT, 1)
    start, held = 0, 0
    for line, number in enumerate(words.tolist()):
        if line > start and held + number > most:
            yield top + start, top + line
            start, held = line, 0
        held += number
    yield top + start, bottom


def _counted(keys: np.ndarray, shape: tuple[int, int]) -> sp.csr_array:
    """Count equal events; ``keys`` are row * channels + channel."""
    keys.sort()
    first = np.flatnonzero(np.diff(keys, prepend=-1)) if keys.size else np.zeros(0, np.int64)
    number = np.diff(first, append=keys.size).astype(np.int32)
    row, channel = np.divmod(keys[first], shape[1])
    starts = np.zeros(shape[0] + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=shape[0]), out=starts[1:])
    return sp.csr_array((number, channel.astype(np.int32), starts), shape=shape)


#: No dense block of a cube grows beyond this many bytes, unless one stored chunk does.
BLOCK_BYTES = 48 * 2**20

#: First and last + 1 index along an axis.
Band = tuple[int, int]
#: Pixels of a block (row numbers of the sparse result) and their counts (pixels, channels).
PixelBlock = tuple[np.ndarray, Any]


def cube_blocks(
    data: Any,
    order: tuple[int, ...],
    *,
    window: slice = slice(None),
    budget: int = BLOCK_BYTES,
) -> Iterator[PixelBlock]:
    """Yield the spectra of a map block by block, in scan order.

    Dask blocks are computed one at a time in the calling thread. Blocks follow the
    stored chunks, so that no chunk is read twice; a chunk larger than the budget is
    read in slices when it comes straight from a file, and whole otherwise, since each
    slice would compute all of it again.

    Parameters
    ----------
    data : ndarray or dask array with 3 or 4 axes
        Counts; the blocks of a dask array may be dense or ``sparse.COO``.
    order : tuple of int
        Which axes of ``data`` are (y, x, energy) or (frame, y, x, energy). Frames are
        summed.
    window : slice
        Channels to take.
    budget : int
        Bytes that a dense block may take.

    Yields
    ------
    pixels : ndarray of int64, shape (p,)
        Pixel numbers ``y * nx + x``.
    block : ndarray or sparse.COO of shape (p, channels)
        Their counts.
    """
    y_axis, x_axis, energy_axis = order[-3:]
    nx = data.shape[x_axis]
    n_frames = data.shape[order[0]] if len(order) == 4 else 1
    itemsize = data.dtype.itemsize if n_frames == 1 else max(8, data.dtype.itemsize)
    pixel_bytes = data.shape[energy_axis] * itemsize
    for (y0, y1), (x0, x1) in _tiles(data, y_axis, x_axis, pixel_bytes, budget):
        total: Any = None
        for frame in range(n_frames):
            index = [slice(None)] * data.ndim
            index[y_axis], index[x_axis] = slice(y0, y1), slice(x0, x1)
            index[energy_axis] = window
            if len(order) == 4:
                index[order[0]] = slice(frame, frame + 1)
            block = data[tuple(index)]
            if hasattr(block, "dask"):
                from dask.local import get_sync  # by its name it would import dask.distributed

                block = block.compute(scheduler=get_sync)
            block = block.transpose(order)
            if n_frames > 1:
                # Small unsigned types would wrap round in the sum.
                block = block.astype(np.float64 if block.dtype.kind == "f" else np.int64)
                block = block if total is None else total + block
            total = block
        y, x = np.mgrid[y0:y1, x0:x1]
        yield (y * nx + x).ravel(), total.reshape(((y1 - y0) * (x1 - x0), total.shape[-1]))


def bands(chunks: tuple[int, ...], unit_bytes: int, budget: int) -> list[Band]:
    """Group neighbouring chunks of one axis as long as a group fits the budget.

    Parameters
    ----------
    chunks : tuple of int
        Lengths of the chunks.
    unit_bytes : int
        Bytes of one index along this axis.
    budget : int
        Bytes of a group; a single chunk may exceed it.

    Returns
    -------
    list of (start, stop)
    """
    found: list[Band] = []
    start = stop = 0
    for length in chunks:
        if stop > start and (stop + length - start) * unit_bytes > budget:
            found.append((start, stop))
            start = stop
        stop += length
    found.append((start, stop))
    return found


def _tiles(
    data: Any, y_axis: int, x_axis: int, pixel_bytes: int, budget: int
) -> Iterator[tuple[Band, Band]]:
    ny, nx = data.shape[y_axis], data.shape[x_axis]
    if hasattr(data, "dask"):
        y_chunks, x_chunks = data.chunks[y_axis], data.chunks[x_axis]
        sliceable = _comes_straight_from_storage(data)
    else:
        y_chunks, x_chunks, sliceable = (ny,), (nx,), True
    for y0, y1 in bands(y_chunks, nx * pixel_bytes, budget):
        for x0, x1 in bands(x_chunks, (y1 - y0) * pixel_bytes, budget):
            if not sliceable:
                yield (y0, y1), (x0, x1)
                continue
            rows = bands((1,) * (y1 - y0), (x1 - x0) * pixel_bytes, budget)
            for first, last in rows:
                yield (y0 + first, y0 + last), (x0, x1)


def _comes_straight_from_storage(data: Any) -> bool:
    """Whether dask can pass a slice on to the stored array instead of computing a chunk."""
    return all(name.startswith(("array-", "original-array-")) for name in data.dask.layers)


def frame_blocks(
    data: Any,
    order: tuple[int, ...],
    choice: FrameChoice,
    *,
    window: slice = slice(None),
    budget: int,
) -> Iterator[PixelBlock]:
    """Yield the sum of chosen frames, moved back by their drift, in scan order.

    Parameters
    ----------
    data : ndarray or dask array with 4 axes
        Its blocks may be dense or ``sparse.COO``.
    order : tuple of int
        Which axes are (frame, y, x, energy).
    choice : FrameChoice
    window : slice
        Channels to take.
    budget : int
        Bytes that a dense block may take; a single line may exceed it.

    Yields
    ------
    pixels : ndarray of int64
        Pixel numbers in the common area.
    block : ndarray or sparse.COO of shape (pixels, channels)
    """
    shape = (data.shape[order[1]], data.shape[order[2]])
    (top, bottom), (left, right) = choice.common_area(shape)
    columns = right - left
    line_bytes = columns * data.shape[order[3]] * max(8, data.dtype.itemsize)
    lines = max(1, budget // line_bytes)
    for y0 in range(top, bottom, lines):
        y1 = min(y0 + lines, bottom)
        total: Any = None
        for frame, (dy, dx) in zip(choice.frames, choice.drift, strict=True):
            index = [slice(None)] * data.ndim
            index[order[0]] = slice(frame, frame + 1)
            index[order[1]] = slice(y0 + int(dy), y1 + int(dy))
            index[order[2]] = slice(left + int(dx), right + int(dx))
            index[order[3]] = window
            block = data[tuple(index)]
            if hasattr(block, "dask"):
                from dask.local import get_sync  # by its name it would import dask.distributed

                block = block.compute(scheduler=get_sync)
            block = block.transpose(order)
            # Small unsigned types would wrap round in the sum.
            block = block.astype(np.float64 if block.dtype.kind == "f" else np.int64)
            total = block if total is None else total + block
        pixels = np.arange((y0 - top) * columns, (y1 - top) * columns)
        yield pixels, total.reshape((pixels.size, total.shape[-1]))
