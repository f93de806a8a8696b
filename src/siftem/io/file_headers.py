"""What the first bytes of a file, or its HDF5 tree, say before any reader sees it."""

from __future__ import annotations

import struct
from pathlib import Path

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
    """
    import h5py

    found: tuple[str, tuple[int, ...], int] = ("", (), 0)

    def visit(name: str, item: object) -> None:
        nonlocal found
        if isinstance(item, h5py.Dataset) and item.shape:
            n_bytes = int(item.dtype.itemsize)
            for n in item.shape:
                n_bytes *= int(n)
            if n_bytes > found[2]:
                found = (name, tuple(int(n) for n in item.shape), n_bytes)

    with h5py.File(file, "r") as content:
        content.visititems(visit)
    return found


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
        When an HDF5 data set claims an impossible shape, a .hspy file is not HDF5, or
        a JEOL .pts file is shorter than it says.
    """
    suffix, size = file.suffix.lower(), file.stat().st_size
    if suffix == ".hspy" and not is_hdf5(file):
        raise ReadError(f"cannot read {file}: it is not an HDF5 file, so not a .hspy file")
    if is_hdf5(file):
        try:
            name, shape, n_bytes = largest_dataset(file)
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
