"""A lazy or dense stack of frames, put together a few lines of the map at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from siftem.io.cube_blocks import PixelBlock
from siftem.io.event_streams import FrameChoice


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
