"""What the first bytes of a file, or its HDF5 tree, say before any reader sees it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from siftem.errors import ReadError

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_PTS_LENGTH_AT = 32
#: A data set this small is always believed; a larger one must have some bytes in the file
#: for its size. Deflate gains at most 1032 to 1; event streams keep 2 bytes a pixel.
BELIEVED_VALUES, VALUES_PER_BYTE = 2**31, 20_000


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

    found: tuple[str, tuple[int, ...], int] = ("", (), 0)
    with h5py.File(file, "r") as content:
        for name, item in _datasets(file, content):
            n_bytes = int(item.dtype.itemsize)
            for n in item.shape or ():
                n_bytes *= int(n)
            if item.shape and n_bytes > found[2]:
                found = (name, tuple(int(n) for n in item.shape), n_bytes)
    return found


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
                groups.append((f"{name}/", item))
            elif isinstance(item, h5py.Dataset):
                if item.is_virtual or item.external:
                    raise ReadError(_elsewhere(file, name))
                yield name, item


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
        Size of the file.

    Returns
    -------
    bool
    """
    return n_values > max(BELIEVED_VALUES, VALUES_PER_BYTE * n_stored_bytes)


def refuse_bad_header(file: Path) -> None:
    """Stop at files that a reader would fill the memory with, or read in part.

    Parameters
    ----------
    file : Path

    Raises
    ------
    ReadError
        When an HDF5 data set claims an impossible shape or lies in another file, a .hspy file is
        not HDF5, or a JEOL .pts file is shorter than it says.
    """
    suffix, size = file.suffix.lower(), file.stat().st_size
    if suffix == ".hspy" and not is_hdf5(file):
        raise ReadError(f"cannot read {file}: it is not an HDF5 file, so not a .hspy file")
    if is_hdf5(file):
        try:
            name, shape, n_bytes = largest_dataset(file)
        except ReadError:
            raise
        except Exception as error:  # h5py raises several kinds on damage
            raise ReadError(
                f"cannot read {file}: it is a damaged or incomplete HDF5 file"
            ) from error
        if is_absurd(n_bytes, size):
            claimed = " x ".join(str(n) for n in shape)
            raise ReadError(
                f"cannot read {file}: its data set {name!r} claims {claimed} values "
                f"in a file of {size / 1e6:.3g} MB, so it is damaged"
            )
    if suffix == ".pts":
        head = _first_bytes(file, _PTS_LENGTH_AT + 4)
        if len(head) == _PTS_LENGTH_AT + 4 and head[4:12] == b"PTTDFILE":
            (length,) = struct.unpack_from("<I", head, _PTS_LENGTH_AT)
            if size < length:
                raise ReadError(
                    f"cannot read {file}: it is cut short, {size} of {length} bytes are there"
                )


def _first_bytes(file: Path, number: int) -> bytes:
    with file.open("rb") as stream:
        return stream.read(number)
