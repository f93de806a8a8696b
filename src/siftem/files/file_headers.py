"""What a file says of itself before any reader sees it: first bytes, HDF5 tree, tags of TIFF."""

from __future__ import annotations

import json
import logging
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from siftem.errors import ReadError
from siftem.files.hdf5_probe import refuse_endless_hdf5

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
#: A data set this small is always believed; a larger one must have some bytes in the file
#: for its size. Deflate gains at most 1032 to 1; event streams keep 2 bytes a pixel.
BELIEVED_VALUES, VALUES_PER_BYTE = 2**31, 20_000
_BELIEVED_EVENTS = 2**27
#: What is read at once and is not sparse: counted data do not shrink further.
BYTES_PER_STORED_BYTE = 64
#: So many counted values are always believed, and as many as these in each stored byte.
BELIEVED_ENTRIES, ENTRIES_PER_BYTE = 2**26, 8
#: A chunk of an HDF5 file is read whole; so is all that HyperSpy's files say of their signals.
_BELIEVED_CHUNK, _BELIEVED_NOTE = 2**29, 2**26
#: No detector has more.
MOST_CHANNELS = 2**16
#: The group of a Velox file that holds its events.
VELOX_STREAMS = "Data/SpectrumStream"
#: Longer than any scan line or energy axis.
_MOST_STEPS = 10**7


def is_hdf5(file: Path) -> bool:
    """Whether a file starts as HDF5 files do.

    Parameters
    ----------
    file : Path

    Returns
    -------
    bool
    """
    return file.is_file() and _first_bytes(file, len(_HDF5_MAGIC)) == _HDF5_MAGIC


def written_by_hyperspy(file: Path) -> bool:
    """Whether an HDF5 file says that HyperSpy wrote it.

    Parameters
    ----------
    file : Path

    Returns
    -------
    bool
    """
    import h5py

    try:
        with h5py.File(file, "r") as content:
            return str(content.attrs.get("file_format", "")) == "HyperSpy"
    except OSError:
        return False


def largest_dataset(file: Path) -> tuple[str, tuple[int, ...], int]:
    """Find the largest numeric data set of an HDF5 file by its claimed shape.

    Parameters
    ----------
    file : Path

    Returns
    -------
    name : str
    shape : tuple of int
    n_bytes : int
        Size in memory, whatever part of it the file really holds.

    Raises
    ------
    ReadError
        When a part of the file lies in another file.
    """
    import h5py

    with h5py.File(file, "r") as content:
        sizes = [
            (n, item.shape or (), _claimed_bytes(item)) for n, item in _datasets(file, content)
        ]
    name, shape, n_bytes = max(sizes, key=lambda one: one[2], default=("", (), 0))
    return name, tuple(int(n) for n in shape), n_bytes


def _claimed_bytes(item: Any) -> int:
    return math.prod(int(n) for n in item.shape or (0,)) * int(item.dtype.itemsize)


def _datasets(file: Path, content: Any) -> Iterator[tuple[str, Any]]:
    """Yield all data sets of an open HDF5 file, each once, with their names.

    Nothing is followed that leads out of the file: behind an external link may be a pipe that
    never answers, and HDF5 crashes on a virtual data set that is mapped to itself.
    """
    import h5py

    seen = set()
    groups = [("", content)]
    while groups:
        prefix, group = groups.pop()
        for key in group:
            name, link = f"{prefix}{key}", group.get(key, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise ReadError(_elsewhere(file, name))
            if not isinstance(link, h5py.HardLink):
                continue
            item = group[key]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                _refuse_long_axis(file, name, item)
                groups.append((f"{name}/", item))
            elif isinstance(item, h5py.Dataset):
                if item.is_virtual or item.external:
                    raise ReadError(_elsewhere(file, name))
                yield name, item


def _refuse_long_axis(file: Path, name: str, group: Any) -> None:
    """HyperSpy makes an array of each axis, however long its file says that it is."""
    steps = group.attrs.get("size") if name.rpartition("/")[2].startswith("axis-") else None
    if isinstance(steps, (int, np.integer)) and steps > _MOST_STEPS:
        raise ReadError(
            f"cannot read {file}: its {name!r} claims {steps} steps "
            f"in a file of {file.stat().st_size / 1e6:.3g} MB, so it is damaged"
        )


def _elsewhere(file: Path, name: str) -> str:
    return (
        f"cannot read {file}: its {name!r} is only a link to data in another file, save all of it "
        "in one file"
    )


def is_absurd(n_values: int, n_stored_bytes: int) -> bool:
    """Whether a header claims far more values than the file can hold.

    Parameters
    ----------
    n_values : int
        Values that the header claims.
    n_stored_bytes : int
        Size of the file, or of what it stores of them.

    Returns
    -------
    bool
    """
    return n_values > max(BELIEVED_VALUES, VALUES_PER_BYTE * n_stored_bytes)


def is_bloated(n_bytes: int, n_stored_bytes: int, believed: int) -> bool:
    """Whether what is read at once claims far more bytes than are stored of it.

    Parameters
    ----------
    n_bytes : int
        In memory.
    n_stored_bytes : int

    Returns
    -------
    bool
    """
    return n_bytes > max(believed, BYTES_PER_STORED_BYTE * n_stored_bytes)


def refuse_bad_header(file: Path) -> None:
    """Stop at files that a reader would fill the memory with, or read in part.

    Parameters
    ----------
    file : Path

    Raises
    ------
    ReadError
        When an HDF5 data set claims an impossible shape or lies in another file, or a .hspy file
        is not HDF5.
    """
    suffix, size = file.suffix.lower(), file.stat().st_size
    if suffix == ".hspy" and not is_hdf5(file):
        raise ReadError(f"cannot read {file}: it is not an HDF5 file, so not a .hspy file")
    if is_hdf5(file):
        refuse_endless_hdf5(file)
        try:
            _refuse_bad_hdf5(file, size)
        except ReadError:
            raise
        except Exception as error:  # h5py raises several kinds on damage
            raise ReadError(
                f"cannot read {file}: it is a damaged or incomplete HDF5 file"
            ) from error


def _refuse_bad_hdf5(file: Path, size: int) -> None:
    import h5py

    with h5py.File(file, "r") as content:
        by_hyperspy = str(content.attrs.get("file_format", "")) == "HyperSpy"
        for name, item in _datasets(file, content):
            n_bytes, stored = _claimed_bytes(item), int(item.id.get_storage_size())
            chunk = math.prod(item.chunks or ()) * int(item.dtype.itemsize)
            is_data = name.startswith("Experiments/") and name.endswith("/data")
            # The reader of Velox files holds a whole stream, where others go chunk by chunk.
            events = name.startswith(VELOX_STREAMS)
            if (
                is_absurd(n_bytes, stored)
                or (events and is_bloated(n_bytes, stored, _BELIEVED_EVENTS))
                or is_bloated(chunk, stored, _BELIEVED_CHUNK)
                or (by_hyperspy and not is_data and is_bloated(n_bytes, stored, _BELIEVED_NOTE))
            ):
                claimed = " x ".join(str(n) for n in item.shape)
                raise ReadError(
                    f"cannot read {file}: its data set {name!r} claims {claimed} values "
                    f"in a file of {size / 1e6:.3g} MB, so it is damaged"
                )
            if by_hyperspy and is_data and item.chunks is not None:
                _refuse_missing_chunks(file, name, item)
        if VELOX_STREAMS in content:
            _refuse_bad_streams(file, content[VELOX_STREAMS])


def _refuse_missing_chunks(file: Path, name: str, item: Any) -> None:
    """HDF5 reads chunks that were never written as zeros; HyperSpy writes each of them."""
    wanted = math.prod(-(-n // side) for n, side in zip(item.shape, item.chunks, strict=True))
    there = item.id.get_num_chunks()
    if there < wanted:
        raise ReadError(
            f"cannot read {file}: {wanted - there} of {wanted} chunks of its {name!r} are missing "
            "and would be read as zeros: copy or save it again"
        )


def _refuse_bad_streams(file: Path, streams: Any) -> None:
    """Velox: 16-bit numbers in one column, and settings that say how many channels there are."""
    for key in streams:
        if not {"Data", "AcquisitionSettings"} <= set(streams[key]):  # the reader says what lacks
            continue
        data = streams[key]["Data"]
        if data.ndim != 2 or data.shape[1] != 1 or data.dtype != np.uint16:
            shape = " x ".join(str(n) for n in data.shape)
            raise ReadError(
                f"cannot read {file}: its spectrum stream holds {shape} numbers of type "
                f"{data.dtype.str}, but a single column of uint16 was expected, so it is damaged"
            )
        text = streams[key]["AcquisitionSettings"][0]
        channels = json.loads(text)["bincount"]
        try:
            possible = 0 < int(channels) <= MOST_CHANNELS
        except (TypeError, ValueError, OverflowError):
            possible = False
        if not possible:
            raise ReadError(
                f"cannot read {file}: its spectrum stream claims {str(channels)[:40]} channels, "
                "so it is damaged"
            )


def _first_bytes(file: Path, number: int) -> bytes:
    with file.open("rb") as stream:
        return stream.read(number)


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
