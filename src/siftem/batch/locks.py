"""Locks that the operating system frees when their owner dies, however it dies."""

from __future__ import annotations

import contextlib
import errno
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from siftem.batch.folder import BatchFolder
from siftem.batch.full_disk import told_in_one_sentence
from siftem.errors import SiftemError

#: What systems answer whose file systems know no locks.
_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK}


@contextlib.contextmanager
def held(path: Path, *, wait: float) -> Iterator[bool]:
    """Hold the lock of a file; give False when another process has it.

    Parameters
    ----------
    path : Path
        Its folder exists.
    wait : float
        Seconds to wait for it; negative waits for ever.

    Raises
    ------
    SiftemError
        When the file system knows no locks.
    """
    # Without this, a file system without locks would be given marker files instead, which stay
    # when their owner is killed, and everyone would wait for them for ever.
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=wait, poll_interval=0.1)
    except Timeout:
        yield False
        return
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise SiftemError(
            f"the file system of {path.parent} knows no file locks, which keep two batches from "
            f"spoiling each other: choose an output folder on another one"
        ) from None
    try:
        yield True
    finally:
        lock.release()


@contextlib.contextmanager
def taking_part(folder: BatchFolder, batch: str) -> Iterator[None]:
    """Take part in the work on a folder; several batches may, if they do the same.

    Each takes a lock on a file of its own, which ends with its process. Files whose lock
    is free are of batches that were killed.

    Parameters
    ----------
    folder : BatchFolder
    batch : str
        Key of recipe and options.

    Raises
    ------
    SiftemError
        When a batch with another recipe is at work in the folder.
    """
    users = folder.private / "running"
    own = users / f"{batch}.{uuid.uuid4().hex[:8]}.lock"
    with contextlib.ExitStack() as stack:
        with (
            told_in_one_sentence(folder.root),
            held(folder.private / "folder.lock", wait=-1),
        ):
            users.mkdir(parents=True, exist_ok=True)
            for other in users.glob("*.lock"):
                with held(other, wait=0) as free:
                    if not free and not other.name.startswith(f"{batch}."):
                        raise SiftemError(
                            f"a batch with another recipe is at work in {folder.root}: "
                            f"wait until it is done, or choose another output folder"
                        )
                if free:
                    other.unlink(missing_ok=True)
            stack.enter_context(held(own, wait=-1))
            stack.callback(own.unlink, missing_ok=True)
        yield
