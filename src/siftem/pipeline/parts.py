"""Parts of a run that may fail and leave the rest standing.

This is the one place where faults are caught: what a part needs is given as a function, and what
stands in its place when it fails is given beside it. The reason goes to the warnings of the run,
and so into the report and the summary. Warnings are recorded for each piece of work by itself, also
when several threads work at once.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, TypeVar

import numpy as np

from siftem.errors import Cancelled, DoubtWarning, RecipeError, SiftemError, SiftemWarning

Made = TypeVar("Made")
Instead = TypeVar("Instead")

#: What data can do to a part. A recipe that contradicts itself is told before any work; full
#: memory, a full disk and Ctrl-C end the run.
_FAULTS = (SiftemError, np.linalg.LinAlgError, ArithmeticError, LookupError, TypeError, ValueError)


def attempted(
    part: str,
    make: Callable[[], Made],
    instead: Instead,
    *,
    missing: MutableMapping[str, str] | None = None,
) -> Made | Instead:
    """Make a part of a run, or say why it is missing.

    Parameters
    ----------
    part : str
        What it is, such as "the composition of Fp".
    make : callable
        Returns it.
    instead : object
        Returned when ``make`` fails.
    missing : mutable mapping of str to str, optional
        Gets the reason under ``part``.

    Returns
    -------
    object

    Raises
    ------
    Cancelled, RecipeError
        Those are not caught, nor is what follows from an OSError.

    Warns
    -----
    SiftemWarning
        That the part is missing, and why.
    """
    try:
        return make()
    except (Cancelled, RecipeError):
        raise
    except _FAULTS as error:
        if isinstance(error.__cause__ or error.__context__, OSError):
            raise  # the disk is full, or a file is gone: no matter of this part alone
        reason = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, SiftemError):
            reason = f"unexpected {type(error).__name__}, please report it: {reason}"
        warnings.warn(f"{part} is missing: {reason}", DoubtWarning, stacklevel=2)
        if missing is not None:
            missing[part] = reason
        return instead


class WarningRecord(list[str]):
    """Messages in their order, each once.

    Attributes
    ----------
    doubts : list of str
        Those of them that put a number in doubt.
    """

    def __init__(self) -> None:
        super().__init__()
        self.doubts: list[str] = []


_lock = threading.Lock()
_own = threading.local()
_open: list[WarningRecord] = []
_state: list[warnings.catch_warnings[Any]] = []


@contextlib.contextmanager
def recorded_warnings() -> Iterator[WarningRecord]:
    """Collect the messages of every SiftemWarning of this thread; other warnings are dropped.

    ``warnings.catch_warnings`` changes the whole process and is undone in the wrong order
    when two threads overlap. Here the first thread in installs one hook, the last one out
    takes it away, and the hook sorts by thread. What a thread of no record says (a worker
    of a library) goes to the record that is open, if there is only one.

    Yields
    ------
    WarningRecord
        Filled as they come.
    """
    found = WarningRecord()
    outer: WarningRecord | None = getattr(_own, "record", None)
    _own.record = found
    _enter(found)
    try:
        yield found
    finally:
        _leave(found)
        _own.record = outer


def _enter(found: WarningRecord) -> None:
    with _lock:
        if not _open:
            state = warnings.catch_warnings()
            state.__enter__()
            _state.append(state)
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", SiftemWarning)
            warnings.showwarning = _sort
        _open.append(found)


def _leave(found: WarningRecord) -> None:
    with _lock:
        # By identity: two empty records are equal.
        _open[:] = [record for record in _open if record is not found]
        if not _open:
            _state.pop().__exit__(None, None, None)


def _sort(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
    record: WarningRecord | None = getattr(_own, "record", None)
    if record is None and len(_open) == 1:
        record = _open[0]
    if record is None or not issubclass(category, SiftemWarning):
        return
    text = str(message)
    if text not in record:
        record.append(text)
    if issubclass(category, DoubtWarning) and text not in record.doubts:
        record.doubts.append(text)
