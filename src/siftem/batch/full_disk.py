"""A full disk: told apart from other errors, because it stops everything."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from siftem.errors import SiftemError

_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
#: What libraries that keep no error number write (HDF5 among them).
_WORDS = ("no space left on device", "disk quota exceeded", "file too large")


class DiskFullError(SiftemError):
    """Nothing more can be written where the results go."""


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that the disk or the quota is full."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in _ERRORS:
            return True
        if any(words in str(error).lower() for words in _WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def disk_full_message(folder: Path) -> str:
    """Say what happened and what to do, in one sentence."""
    return (
        f"no space is left for the results in {folder}: free some and run the same command "
        f"again, all maps that were finished are kept"
    )


@contextlib.contextmanager
def told_in_one_sentence(folder: Path) -> Iterator[None]:
    """Turn errors of writing into one sentence.

    Raises
    ------
    DiskFullError
        When the disk is full.
    SiftemError
        When it cannot be written for another reason.
    """
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        if is_disk_full(error):
            raise DiskFullError(disk_full_message(folder)) from error
        if isinstance(error, OSError):
            raise SiftemError(f"cannot write in {folder}: {error.strerror or error}") from error
        raise
