"""A file for HDF5 to write into that fails in Python, where errors can be told."""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import TracebackType
from typing import Any


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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        if kind is None:
            self.check()
