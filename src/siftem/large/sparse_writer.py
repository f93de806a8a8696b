"""Writing sparse map files, a few pixels after the other."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import scipy.sparse as sp

from siftem.errors import InputError
from siftem.files.atomic import replacing
from siftem.large.sparse_file import FORMAT, VERSION, MapHeader
from siftem.spectrum_image import SpectrumImage, refuse_absurd_total, total_of

#: Entries after which a block ends, at the next pixel: some 10 MB at work.
ENTRIES_PER_BLOCK = 1_000_000
#: Elements of a stored chunk.
_CHUNK = 1 << 18
#: Types of the counts, the smallest that holds them all.
_VALUE_TYPES = ("uint8", "uint16", "uint32", "int64", "float64")


class SparseFileWriter:
    """Appends pixels, in scan order, to a file that appears when all went well.

    Use it in a ``with`` statement. Memory does not grow with the map.

    Parameters
    ----------
    path : str or path-like
    header : MapHeader
    survey : ndarray of shape (ny, nx), optional
    compress : bool
        Deflate the counts: about two thirds of the size, but several times slower to read.
    entries_per_block : int
        A block ends at the first pixel after so many entries.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        header: MapHeader,
        *,
        survey: np.ndarray | None = None,
        compress: bool = False,
        entries_per_block: int = ENTRIES_PER_BLOCK,
    ) -> None:
        self.header = header
        self._survey = survey
        self._options: dict[str, Any] = {"chunks": (_CHUNK,)}
        if compress:
            self._options |= {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        self._entries_per_block = entries_per_block
        self._stack = contextlib.ExitStack()
        self._path = Path(path)
        self._pixels = 0
        self._entries = 0
        self._edges = [0]
        self._block_start = 0
        self._type = 0
        self._digest = hashlib.sha256()
        self._spectrum = np.zeros(header.axis.size)
        self._per_channel = np.zeros(header.axis.size, np.int64)

    def __enter__(self) -> SparseFileWriter:
        import h5py

        draft = self._stack.enter_context(replacing(self._path))
        self._disk = self._stack.enter_context(DiskFile(draft))
        self._file = self._stack.enter_context(h5py.File(self._disk, "w"))
        ny, nx = self.header.shape
        channel_type = np.min_scalar_type(self.header.axis.size - 1)
        group = self._file.create_group("counts")
        self._starts = group.create_dataset("row_starts", (ny * nx + 1,), "int64", chunks=None)
        self._channels = group.create_dataset(
            "channels", (0,), channel_type, maxshape=(None,), **self._options
        )
        self._values = group.create_dataset(
            "values", (0,), _VALUE_TYPES[0], maxshape=(None,), **self._options
        )
        return self

    @property
    def entries(self) -> int:
        """Non-zero counts written so far."""
        return self._entries

    @property
    def total(self) -> float:
        """Counts written so far."""
        return float(self._spectrum.sum())

    def append(self, rows: sp.csr_array) -> None:
        """Append the next pixels, (any number, channels); checked counts without zeros."""
        rows = sp.csr_array(rows)
        n, m = rows.shape
        if m != self.header.axis.size or self._pixels + n > np.prod(self.header.shape):
            raise InputError(
                f"{n} pixels of {m} channels do not fit into a map of "
                f"{self.header.shape[0]} x {self.header.shape[1]} pixels and "
                f"{self.header.axis.size} channels, of which {self._pixels} are written"
            )
        self._hold(rows.data)
        channels = rows.indices.astype(self._channels.dtype)
        values = rows.data.astype(self._values.dtype)
        for array in (rows.indptr.astype(np.int64), channels, values):
            self._digest.update(array.data)
        end = self._entries + rows.nnz
        self._channels.resize((end,))
        self._values.resize((end,))
        self._channels[self._entries :] = channels
        self._values[self._entries :] = values
        starts = rows.indptr.astype(np.int64) + self._entries
        self._starts[self._pixels : self._pixels + n + 1] = starts
        self._spectrum += np.bincount(rows.indices, weights=rows.data, minlength=m)
        refuse_absurd_total(total_of(self._spectrum))
        self._per_channel += np.bincount(rows.indices, minlength=m)
        self._end_blocks(starts)
        self._entries = end
        self._pixels += n
        self._disk.check()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            try:
                self._finish()
            except BaseException as failure:
                # The draft goes; what was there before stays.
                self._stack.__exit__(type(failure), failure, failure.__traceback__)
                raise
        self._stack.__exit__(kind, error, trace)

    def _end_blocks(self, starts: np.ndarray) -> None:
        at = 0
        while True:
            full = self._block_start + self._entries_per_block
            at = int(np.searchsorted(starts, full))
            if at >= starts.size:
                return
            edge = self._pixels + at
            if edge > self._edges[-1]:
                self._edges.append(edge)
            self._block_start = int(starts[at])

    def _finish(self) -> None:
        n = int(np.prod(self.header.shape))
        if self._pixels != n:
            raise InputError(f"only {self._pixels} of {n} pixels were written")
        if self._edges[-1] != n:
            self._edges.append(n)
        file, header = self._file, self.header
        self._starts[n] = self._entries
        file["counts"].create_dataset("block_edges", data=np.array(self._edges, np.int64))
        file.create_dataset("sum_spectrum", data=self._spectrum)
        file.create_dataset("entries_per_channel", data=self._per_channel)
        if self._survey is not None:
            survey = file.create_dataset("survey", data=np.asarray(self._survey))
            survey.attrs["name"] = header.survey_name
        file.attrs["shape"] = np.array(header.shape, np.int64)
        for name in ("offset", "scale", "size", "unit"):
            file.attrs[f"energy_{name}"] = getattr(header.axis, name)
        if header.pixel_size is not None:
            file.attrs["pixel_size_nm"] = np.array(header.pixel_size, float)
        file.attrs["acquisition"] = json.dumps(asdict(header.acquisition))
        file.attrs["signal_type"] = header.signal_type
        file.attrs["title"] = header.title
        file.attrs["notes"] = json.dumps(list(header.notes))
        if header.doubts:
            file.attrs["doubts"] = json.dumps(list(header.doubts))
        if header.pedestal:
            file.attrs["pedestal"] = float(header.pedestal)
        self._digest.update(repr(header).encode())
        file.attrs["content_sha256"] = self._digest.hexdigest()
        file.attrs["version"] = VERSION
        file.attrs["format"] = FORMAT

    def _hold(self, data: np.ndarray) -> None:
        """Make room for larger counts: rewrite what is there in a wider type."""
        needed = _type_for(data)
        if needed <= self._type:
            return
        self._type = needed
        group = self._file["counts"]
        old = self._values
        del group["values"]
        wide = group.create_dataset(
            "values", old.shape, _VALUE_TYPES[needed], maxshape=(None,), **self._options
        )
        for start in range(0, self._entries, 16 * _CHUNK):
            stop = min(start + 16 * _CHUNK, self._entries)
            wide[start:stop] = old[start:stop]
        self._values = wide


def write_sparse_file(
    si: SpectrumImage,
    path: str | os.PathLike[str],
    *,
    compress: bool = False,
    entries_per_block: int = ENTRIES_PER_BLOCK,
) -> Path:
    """Write a spectrum image that is in memory as a sparse map file.

    Parameters
    ----------
    si : SpectrumImage
    path : str or path-like
    compress : bool
        See `SparseFileWriter`.
    entries_per_block : int
        See `SparseFileWriter`.

    Returns
    -------
    Path
    """
    with SparseFileWriter(
        path,
        MapHeader.of(si),
        survey=si.survey,
        compress=compress,
        entries_per_block=entries_per_block,
    ) as writer:
        x = si.counts
        if not x.has_canonical_format or (x.nnz and x.data.min() == 0):
            x = x.copy()
            x.sum_duplicates()
            x.eliminate_zeros()
        step = max(1, int(4e6 / max(x.nnz / x.shape[0], 1)))
        for start in range(0, x.shape[0], step):
            writer.append(x[start : start + step])
    return Path(path)


def _type_for(data: np.ndarray) -> int:
    """Number of the smallest type that holds some counts exactly."""
    if data.size == 0:
        return 0
    if data.dtype.kind == "f" and not np.array_equal(data, np.rint(data)):
        return len(_VALUE_TYPES) - 1
    largest = float(data.max())
    for number, name in enumerate(_VALUE_TYPES[:3]):
        if largest <= np.iinfo(name).max:
            return number
    return 3 if largest < 2**53 else len(_VALUE_TYPES) - 1


class DiskFile(io.RawIOBase):
    """A new file that remembers the first error of writing and takes no more from then on.

    HDF5 cannot close a file that it failed to write: on a full disk it keeps trying until
    the interpreter ends, and brings that down. Here every write succeeds as far as HDF5 is
    told; whoever uses the file asks ``check`` now and then, and leaving the ``with`` statement
    raises what went wrong.

    Parameters
    ----------
    path : str or path-like
        Made anew.

    Raises
    ------
    OSError
        From `check` and at the end: the first error of writing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self._file = Path(path).open("w+b", buffering=0)  # noqa: SIM115
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise the first error of writing, if there was one."""
        if self._error is not None:
            raise self._error

    def write(self, data: Any) -> int:
        """Write all of the bytes, or remember why not; the position moves on either way."""
        view = memoryview(data).cast("B")
        if self._error is None:
            start = self._file.tell()
            done = 0
            try:
                while done < view.nbytes:
                    done += self._file.write(view[done:]) or 0
            except OSError as error:
                self._error = error
                self._file.seek(start + view.nbytes)
        else:
            self._file.seek(view.nbytes, os.SEEK_CUR)
        return view.nbytes

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file, or remember why not."""
        size = self._file.tell() if size is None else size
        if self._error is None:
            try:
                self._file.truncate(size)
            except OSError as error:
                self._error = error
        return size

    def readinto(self, buffer: Any) -> int | None:
        """Read what was written; zeros where nothing is."""
        view = memoryview(buffer).cast("B")
        done = 0
        while done < view.nbytes:
            got = self._file.readinto(view[done:])
            if not got:
                view[done:] = bytes(view.nbytes - done)
                break
            done += got
        return view.nbytes

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Position in bytes."""
        return self._file.tell()

    def readable(self) -> bool:
        """Yes."""
        return True

    def writable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def close(self) -> None:
        """Close the file; what went wrong before is not told here."""
        if not self.closed:
            try:
                self._file.close()
            except OSError as error:  # network file systems tell of a full disk only now
                self._error = self._error or error
        super().close()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        if kind is None:
            self.check()
