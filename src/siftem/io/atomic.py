"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from siftem.errors import InputError


@contextlib.contextmanager
def refusals_told(what: str) -> Iterator[None]:
    """Turn the system's refusal to write somewhere into one sentence.

    Parameters
    ----------
    what : str
        What can't be written, as it goes on after "cannot write ".

    Raises
    ------
    InputError
        For want of permission, for a name that is too long and the like.
    OSError
        As it is when the disk is full: whoever began the work knows what has been kept.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(f"cannot write {what}: {error.strerror or error}") from error


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path``, and move it there when all went well.

    The temporary name keeps the suffix, because many writers choose the format by it.
    When the block raises, the temporary file is removed and whatever was at ``path``
    stays as it was.

    Parameters
    ----------
    path : str or path-like
        The file to write; its folder must exist.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    InputError
        When the folder does not exist or cannot be written, or ``path`` is itself a folder.
    """
    target = Path(path)
    # Names may have 255 bytes; that of the draft must not be what is too long.
    stem = target.stem if len(os.fsencode(target.name)) < 200 else "draft"
    draft = target.with_name(f".{stem}.{secrets.token_hex(4)}.part{target.suffix}")
    with refusals_told(str(target)):
        if not target.parent.is_dir():
            raise InputError(f"cannot write {target}: the folder {target.parent} does not exist")
        if target.is_dir():
            raise InputError(f"cannot write {target}: it is a folder, a file name is needed")
        draft.open("xb").close()
    try:
        yield draft
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
