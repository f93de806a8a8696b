"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import secrets
from collections.abc import Iterator
from pathlib import Path

from siftem.errors import InputError
from siftem.machine import is_alive


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


def name_beside(target: Path, ending: str) -> Path:
    """Return a new hidden name beside a file or folder that tells which process it belongs to.

    Parameters
    ----------
    target : Path
    ending : str
        Such as ".draft".
    """
    return target.with_name(f"{_beginning(target)}{os.getpid()}-{secrets.token_hex(4)}{ending}")


def left_beside(target: Path, ending: str) -> list[Path]:
    """Find what processes of this machine that were killed left beside a file or folder.

    Parameters
    ----------
    target : Path
    ending : str
        As it was given to `name_beside`.

    Returns
    -------
    list of Path
    """
    begins, found = _beginning(target), []
    with contextlib.suppress(OSError):
        for path in sorted(target.parent.iterdir()):
            if path.name.startswith(begins) and path.name.endswith(ending):
                pid = path.name.removeprefix(begins).partition("-")[0]
                if pid.isdigit() and not is_alive(int(pid)):
                    found.append(path)
    return found


def _beginning(target: Path) -> str:
    # Names may have 255 bytes; that of a draft must not be what is too long.
    short = len(os.fsencode(target.name)) < 150
    name = target.name if short else hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    return f".{name}.{platform.node()[:64]}-"


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
    ending = f".part{target.suffix}"
    draft = name_beside(target, ending)
    with refusals_told(str(target)):
        if not target.parent.is_dir():
            raise InputError(f"cannot write {target}: the folder {target.parent} does not exist")
        if target.is_dir():
            raise InputError(f"cannot write {target}: it is a folder, a file name is needed")
        for orphan in left_beside(target, ending):
            orphan.unlink(missing_ok=True)
        draft.open("xb").close()
    try:
        yield draft
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
