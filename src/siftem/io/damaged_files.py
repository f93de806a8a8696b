"""Files whose header or content cannot be trusted: stop early, and in one sentence."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

from siftem.errors import ReadError, SiftemError
from siftem.io.cube_blocks import PixelBlock
from siftem.io.file_headers import BELIEVED_ENTRIES, ENTRIES_PER_BYTE, MOST_CHANNELS, is_absurd
from siftem.io.formats.known import vendor_of
from siftem.io.signal_axes import Layout
from siftem.io.vendor_files import StoredSignal, stored_bytes

#: The sparse result needs some bytes for every pixel, even for empty ones.
_BELIEVED_PIXELS, _PIXELS_PER_BYTE = 2**24, 16


def refuse_absurd(stored: StoredSignal, layout: Layout, path: Path) -> None:
    """Stop before a damaged or hostile header makes us fill the memory.

    Parameters
    ----------
    stored : StoredSignal
    layout : Layout
        What its axes mean.
    path : Path
        The file it is in.

    Raises
    ------
    ReadError
        When the claimed shape cannot be in a file of this size, or when it is known
        that the reader would lose a part of the map.
    """
    n_values = math.prod(int(n) for n in stored.signal.data.shape)
    pixels = layout.shape[0] * layout.shape[1]
    size = stored_bytes(path)
    if (
        layout.axis.size > MOST_CHANNELS
        or is_absurd(n_values, size)
        or pixels > max(_BELIEVED_PIXELS, _PIXELS_PER_BYTE * size)
    ):
        shape = " x ".join(str(n) for n in stored.signal.data.shape)
        raise ReadError(
            f"the header claims {shape} values in a file of {size / 1e6:.3g} MB: it is damaged"
        )
    refusal = vendor_of(stored.reader).refusal
    if refusal is not None and (why := refusal(layout)):
        raise ReadError(why)


def most_entries(path: Path) -> int:
    """Values that are not zero which a measured map in a file can have at the most.

    Noise can't be packed: a value and its place take several bits, where those of a map made up
    to fill the memory take a thousandth.

    Parameters
    ----------
    path : Path

    Returns
    -------
    int
    """
    return max(BELIEVED_ENTRIES, ENTRIES_PER_BYTE * stored_bytes(path))


@contextlib.contextmanager
def damage_as_read_error() -> Iterator[None]:
    """Turn whatever a lazy reader raises when it meets the damage into a ReadError."""
    try:
        yield
    except SiftemError:
        raise
    except MemoryError as error:
        raise ReadError("there is not enough memory to read the map") from error
    except Exception as error:
        raise ReadError(
            f"the map cannot be read, the file is damaged or incomplete ({type(error).__name__})"
        ) from error


def guarded(blocks: Iterator[PixelBlock]) -> Iterator[PixelBlock]:
    """Pass blocks on; only errors of making them become a ReadError.

    What the receiver raises between two blocks (a cancelled run) is not touched.

    Parameters
    ----------
    blocks : iterator

    Yields
    ------
    pixels, block
    """
    while True:
        with damage_as_read_error():
            item = next(blocks, None)
        if item is None:
            return
        yield item
