"""TIFF files: what their tags claim, against what is stored."""

from __future__ import annotations

import logging
import zlib
from pathlib import Path
from typing import Any

from siftem.errors import ReadError
from siftem.io.file_headers import is_bloated

# It tells of damage on the terminal, tag by tag, where nobody else listens.
logging.getLogger("tifffile").addHandler(logging.NullHandler())
#: An image may be empty, and then nearly nothing is stored of it: so many bytes are believed.
_BELIEVED_IMAGE = 2**29
#: Compressions whose data don't say how long they become: Deflate, by both of its numbers.
_DEFLATE, _DEFLATE_GAIN = (8, 32946), 1032
#: Tiles at the edge of an image are as large as the others.
_PADDING = 2**26


def refuse_bad_tiff(file: Path) -> None:
    """Refuse a TIFF whose images would take far more memory than the file is large.

    Parameters
    ----------
    file : Path
        One that can't be read at all is left to who reads it.

    Raises
    ------
    ReadError
    """
    import tifffile

    stored = file.stat().st_size
    try:
        with tifffile.TiffFile(file) as content:
            bloated = any(
                is_bloated(series.nbytes, stored, _BELIEVED_IMAGE) for series in content.series
            ) or any(_grows(content, page) for page in content.pages)
    except Exception:  # tifffile raises anything at all on damage
        return
    if bloated:
        raise ReadError(
            f"cannot read {file}: its images would take far more memory than "
            f"{stored / 1e6:.3g} MB can hold, so it is damaged"
        )


def _grows(content: Any, page: Any) -> bool:
    """Whether a piece of a page becomes longer than the whole page."""
    if page.compression not in _DEFLATE:
        return False
    for place, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        if size * _DEFLATE_GAIN <= _BELIEVED_IMAGE:
            continue
        content.filehandle.seek(place)
        packed, most = content.filehandle.read(size), page.nbytes + _PADDING
        if len(zlib.decompressobj().decompress(packed, most)) == most:
            return True
    return False
