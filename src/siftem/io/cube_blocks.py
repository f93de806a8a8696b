"""A cube of counts, dense or lazy, taken apart into blocks that fit in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from siftem.io.event_streams import FrameChoice

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
