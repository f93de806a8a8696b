"""Readers written in Python are ended when they loop for ever or fill the memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from siftem.errors import ReadError

#: Processor time in seconds for a small file, and bytes for each further second: some readers take
#: a byte at a time.
_SECONDS, _BYTES_PER_SECOND = 10.0, 500_000
#: Growth that is always allowed, and bytes for each stored byte.
_GROWTH, _GROWTH_PER_BYTE = 2**30, 64
_LOOK_EVERY = 0.05
_AGAIN_AFTER = 1.0


class _Ended(BaseException):
    """Not an Exception: readers catch these and go on."""


@contextlib.contextmanager
def watched(path: Path, n_stored_bytes: int, *, more: float = 0.0) -> Iterator[None]:
    """Give a block of Python code a limit of processor time and of memory.

    Parameters
    ----------
    path : Path
        For the message.
    n_stored_bytes : int
        Of the file.
    more : float
        Further seconds.

    Raises
    ------
    ReadError
        When the block takes far more of either than a file of this size can need.
    """
    seconds = _SECONDS + more + n_stored_bytes / _BYTES_PER_SECOND
    growth = max(_GROWTH, _GROWTH_PER_BYTE * n_stored_bytes)
    thread, over, lock = threading.get_ident(), threading.Event(), threading.Lock()
    reasons: list[str] = []
    watcher = threading.Thread(
        target=_watch, args=(thread, seconds, growth, over, lock, reasons), daemon=True
    )
    watcher.start()
    try:
        try:
            yield
        finally:
            with lock:
                over.set()
                if reasons:  # what has not been raised yet must not be raised later
                    _raise_in(thread, None)
    except _Ended:
        raise ReadError(f"cannot read {path}: its reader {reasons[0]}, so it is damaged") from None


def _watch(
    thread: int,
    seconds: float,
    growth: int,
    over: threading.Event,
    lock: threading.Lock,
    reasons: list[str],
) -> None:
    begun, before, pause = time.process_time(), _resident(), _LOOK_EVERY
    while not over.wait(pause):
        if time.process_time() - begun > seconds:
            reason = f"has not come back after {seconds:.0f} s"
        elif _resident() - before > growth:
            reason = f"takes more than {growth / 1e9:.2g} GB"
        else:
            continue
        with lock:
            if not over.is_set():
                reasons.append(reason)
                _raise_in(thread, _Ended)
        pause = _AGAIN_AFTER


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    exception = None if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), exception)


def _resident() -> int:
    """Bytes of this process in memory; 0 where the system doesn't say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0
