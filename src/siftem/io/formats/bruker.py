"""Bruker .bcf maps read a band of rows at a time.

RosettaSciIO decodes a .bcf into one dense cube, in the smallest integer type that holds
twice the mean of the strongest channel: a map in memory may be a hundred times its file,
and a pixel far brighter than the mean wraps round without a word. Here its decoder is fed
one band of rows after the other, into 32-bit counts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from siftem.errors import ReadError
from siftem.io.cube_blocks import BLOCK_BYTES, PixelBlock
from siftem.io.formats.vendor import Vendor

#: Length of the header in front of the first row.
_HEADER_BYTES = 0x1A0
#: x, channels, channels in use, constant, packing, size, pulses, bytes of the body.
_PIXEL_HEAD = struct.Struct("<IHHIHHHI")
_PACKED_16_BIT, _PACKED_12_BIT = 0, 1
#: The decoder may read one run (255 channels of 8 bytes and its head) past the end.
_PADDING = bytes(4096)


def bruker_blocks(
    filename: str, shape: tuple[int, int, int], *, map_number: int = 0, budget: int = BLOCK_BYTES
) -> Iterator[PixelBlock]:
    """Yield the spectra of a Bruker map, a band of rows at a time.

    Parameters
    ----------
    filename : str
        A .bcf file.
    shape : tuple of int
        (ny, nx, channels) as its header has it.
    map_number : int
        Which of the maps in the file, from 0, in RosettaSciIO's order.
    budget : int
        Bytes that a dense band may take.

    Yields
    ------
    pixels : ndarray of int64, shape (p,)
        Pixel numbers ``y * nx + x``.
    block : ndarray of uint32, shape (p, channels)
        Their counts.

    Raises
    ------
    ReadError
        When the stream of pixels is cut short or contradicts the header.
    """
    decode, container = _decoder(), _container(filename)
    ny, nx, channels = shape
    stored = container.get_file(f"EDSDatabase/SpectrumData{_map_index(container, map_number)}")
    stream = _PieceReader(stored.get_iter_and_properties()[0])
    header = stream.read(_HEADER_BYTES)
    if struct.unpack_from("<ii", header) != (ny, nx):
        raise ReadError(
            f"the map is {ny} x {nx} pixels by its image, but "
            "{} x {} by its spectra: the file is damaged".format(*struct.unpack_from("<ii", header))
        )
    rows_per_band = max(1, budget // (nx * channels * 4))
    for y0 in range(0, ny, rows_per_band):
        rows = min(rows_per_band, ny - y0)
        band = b"".join(_row(stream, nx, channels) for _ in range(rows))
        part = struct.pack("<ii", rows, nx) + header[8:] + band + _PADDING
        block = decode(_Band(part), (rows, nx, channels), np.uint32)
        pixels = np.arange(y0 * nx, (y0 + rows) * nx)
        yield pixels, np.asarray(block).reshape(rows * nx, channels)


class _Band:
    """Looks to RosettaSciIO's decoder like a file that holds a few rows only."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def get_iter_and_properties(self) -> tuple[Iterator[bytes], int, int]:
        return iter([self._content]), len(self._content), 1


class _PieceReader:
    """Reads a given number of bytes from a stream that comes in pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""
        self._at = 0

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes."""
        if self._at + size <= len(self._piece):
            self._at += size
            return self._piece[self._at - size : self._at]
        parts, missing = [], size
        while missing:
            part = self._piece[self._at : self._at + missing]
            parts.append(part)
            missing -= len(part)
            self._at += len(part)
            if missing:
                self._piece, self._at = next(self._pieces, b""), 0
                if not self._piece:
                    raise ReadError("the stream of spectra ends too early: the file is cut short")
        return b"".join(parts)


def _row(stream: _PieceReader, nx: int, channels: int) -> bytes:
    """Cut one row of pixels out of the stream, checked so that the decoder is safe."""
    head = stream.read(4)
    (n_pixels,) = struct.unpack("<I", head)
    parts = [head]
    if n_pixels > nx:
        raise ReadError(f"a row claims {n_pixels} pixels of {nx}: the file is damaged")
    for _ in range(n_pixels):
        head = stream.read(_PIXEL_HEAD.size)
        x, _, _, _, packing, _, n_pulses, body = _PIXEL_HEAD.unpack(head)
        size = body
        if packing == _PACKED_16_BIT:
            fits = 2 * n_pulses <= body
        elif packing == _PACKED_12_BIT:
            fits = 3 * n_pulses <= 2 * body
        else:  # run lengths, then pulses that did not fit into them
            fits = 4 <= body < 2**16
            size += 2 * n_pulses
        # A channel takes at most 8 bytes, plus 10 for the head of its run.
        if x >= nx or not fits or body > 18 * max(channels, 4096) + 4:
            raise ReadError(f"pixel {x} of a row contradicts its header: the file is damaged")
        parts += [head, stream.read(size)]
    return b"".join(parts)


def _decoder() -> Any:
    try:
        from rsciio.bruker.unbcf_fast import parse_to_numpy
    except ImportError:  # RosettaSciIO without its compiled part
        from rsciio.bruker._api import py_parse_hypermap as parse_to_numpy
    return parse_to_numpy


def _container(filename: str) -> Any:
    from rsciio.bruker._api import SFS_reader

    return SFS_reader(filename)


def _map_index(container: Any, map_number: int) -> int:
    names = [name for name in container.vfs["EDSDatabase"] if "SpectrumData" in name]
    return int(names[map_number][-1])


BRUKER = Vendor("Bruker", options={"index": "all"}, compiled=True, blocks=bruker_blocks)
