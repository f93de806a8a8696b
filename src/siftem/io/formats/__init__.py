"""What siftem knows of single vendors' files, one module each.

HyperSpy and RosettaSciIO read most of them as they are; a module stands here where more is needed
than their reader does.
"""

from __future__ import annotations

from pathlib import Path

from siftem.files.file_headers import refuse_bad_header
from siftem.io.formats.bruker import BRUKER
from siftem.io.formats.jeol import JEOL
from siftem.io.formats.velox import VELOX
from siftem.io.formats.vendor import Vendor

VENDORS = (VELOX, JEOL, BRUKER)


def vendor_of(reader: str) -> Vendor:
    """Return what is known of a format by RosettaSciIO's name of it."""
    return next((v for v in VENDORS if v.reader == reader), Vendor(reader))


def refuse_damaged(file: Path) -> None:
    """Stop at files that a reader would fill the memory with, or read in part.

    Parameters
    ----------
    file : Path

    Raises
    ------
    ReadError
        See `siftem.files.file_headers.refuse_bad_header`; or for what a vendor's header says.
    """
    refuse_bad_header(file)
    for vendor in VENDORS:
        if vendor.header is not None:
            vendor.header(file)
