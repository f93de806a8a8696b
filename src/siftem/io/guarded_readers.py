"""Readers kept from what a file may make them do: claim all memory, loop, or run what it holds.

Those written in Python are ended when they loop for ever or fill the memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from siftem.errors import ReadError
from siftem.progress import Progress, silent

#: Keys under which HyperSpy finds objects to make, by their beginning.
_OBJECTS = ("_sig_", "_hspy_AxesManager_", "_hspy_Axis_")
#: Parts of a signal that siftem has no use for; functions of models are stored as pickles.
_UNUSED = ("models", "learning_results")

#: So many bytes are let through: the damage is met, and told, when they are read.
_BELIEVED_BYTES = 2**31
_NAME = "memmap_distributed"
#: Two threads that open files must not put back each other's replacement.
ONE_AT_A_TIME = threading.RLock()


@contextlib.contextmanager
def claims_checked(file_reader: Callable[..., Any], path: str) -> Iterator[None]:
    """Let a reader of RosettaSciIO map no more of a file into memory than there is.

    Dask draws up a list of blocks for whatever a header claims, which takes minutes or all
    memory for an absurd one, long before the file is found to be too short.

    Parameters
    ----------
    file_reader : callable
        The ``memmap_distributed`` of its module, or of the module ``file`` in it, is replaced
        while the block runs.
    path : str
        For the message.
    """
    module = sys.modules.get(file_reader.__module__)
    with ONE_AT_A_TIME, contextlib.ExitStack() as stack:
        for place in (module, getattr(module, "file", None)):
            original = getattr(place, _NAME, None)
            if callable(original):
                setattr(place, _NAME, _checked(original, path))
                stack.callback(setattr, place, _NAME, original)
        yield


def _checked(original: Callable[..., Any], path: str) -> Callable[..., Any]:
    def memmap(filename: Any, dtype: Any, *rest: Any, **options: Any) -> Any:
        shape = options.get("shape")
        if shape is not None:
            sizes = [int(n) for n in (shape if isinstance(shape, tuple) else (shape,))]
            claimed = math.prod(sizes) * np.dtype(dtype).itemsize
            stored = Path(filename).stat().st_size
            if claimed > max(_BELIEVED_BYTES, 2 * stored):
                raise ReadError(
                    f"cannot read {path}: its header claims {' x '.join(map(str, sizes))} values "
                    f"where {stored / 1e6:.3g} MB are stored, so it is damaged"
                )
        return original(filename, dtype, *rest, **options)

    return memmap


def plain_signals(signals: list[dict[str, Any]], path: str) -> list[dict[str, Any]]:
    """Take the objects out of what a reader found, before HyperSpy makes signals of it.

    HyperSpy lets SymPy evaluate the formula of an axis, which may be any Python expression, and
    makes signals, axes and markers of what it finds in the metadata.

    Parameters
    ----------
    signals : list of dict
        As the readers of RosettaSciIO return them.
    path : str
        For the message.

    Returns
    -------
    list of dict

    Raises
    ------
    ReadError
        When an axis is given by a formula.
    """
    for signal in signals:
        axes = signal.get("axes") or []
        if any("expression" in axis for axis in axes if isinstance(axis, dict)):
            raise ReadError(
                f"cannot read {path}: one of its axes is a formula, which siftem doesn't evaluate: "
                "convert it to numbers in HyperSpy (convert_to_uniform_axis) and save it again"
            )
        for name in _UNUSED:
            signal.pop(name, None)
        for name in ("metadata", "original_metadata", "attributes"):
            if name in signal:
                signal[name] = _without_objects(signal[name])
        if isinstance(signal.get("metadata"), dict):
            signal["metadata"].pop("Markers", None)
    return signals


def _without_objects(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_objects(part)
            for key, part in value.items()
            if not str(key).startswith(_OBJECTS)
        }
    if isinstance(value, (list, tuple)) and any(isinstance(part, (dict, list)) for part in value):
        return type(value)(_without_objects(part) for part in value)
    return value


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
def watched(
    path: Path,
    n_stored_bytes: int,
    *,
    more: float = 0.0,
    progress: Progress = silent,
    reached: Callable[[], float] = lambda: 0.0,
) -> Iterator[None]:
    """Give a block of Python code a limit of processor time and of memory, and tell of it.

    Parameters
    ----------
    path : Path
        For the message.
    n_stored_bytes : int
        Of the file.
    more : float
        Further seconds.
    progress : Progress
        Called from another thread while the block runs; what it raises ends the block.
    reached : callable
        Gives the fraction of the file that is read, as far as that is known.

    Raises
    ------
    ReadError
        When the block takes far more of either than a file of this size can need.
    """
    seconds = _SECONDS + more + n_stored_bytes / _BYTES_PER_SECOND
    growth = max(_GROWTH, _GROWTH_PER_BYTE * n_stored_bytes)
    thread, over, lock = threading.get_ident(), threading.Event(), threading.Lock()
    reasons: list[str | Exception] = []

    def tell() -> None:
        progress("opening the file", reached())

    watcher = threading.Thread(
        target=_watch, args=(thread, seconds, growth, over, lock, reasons, tell), daemon=True
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
        why = reasons[0]
        if isinstance(why, Exception):
            raise why from None
        raise ReadError(f"cannot read {path}: its reader {why}, so it is damaged") from None


def _watch(
    thread: int,
    seconds: float,
    growth: int,
    over: threading.Event,
    lock: threading.Lock,
    reasons: list[str | Exception],
    tell: Callable[[], None],
) -> None:
    begun, before, pause = time.process_time(), _resident(), _LOOK_EVERY
    reason: str | Exception
    while not over.wait(pause):
        if time.process_time() - begun > seconds:
            reason = f"has not come back after {seconds:.0f} s"
        elif _resident() - before > growth:
            reason = f"takes more than {growth / 1e9:.2g} GB"
        else:
            try:
                tell()
                continue
            except Exception as stopped:
                reason = stopped
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
