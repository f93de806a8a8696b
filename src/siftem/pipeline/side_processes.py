"""Parts of the work done by copies of this process, where the system can make such."""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import signal
import warnings
from collections.abc import Callable, Mapping
from typing import Generic, Self, TypeVar

from siftem.errors import DoubtWarning, SiftemWarning
from siftem.pipeline.parts import recorded_warnings

Made = TypeVar("Made")
#: Bytes of a file, or counts. What a copy has read goes through a pipe, and is there three times.
LARGEST = 2**24
#: Linux' prctl: the signal to get when the parent dies.
_WHEN_PARENT_DIES = 1


class SideProcesses(Generic[Made]):
    """Make independent things in copies of this process while it does something else.

    A copy (fork) has all data and libraries at once, without reading or sending anything; only
    what it made comes back. Whoever asks for the results makes what is left. Where processes can't
    be copied safely (other systems than Linux), all is made then.

    Parameters
    ----------
    jobs : mapping of str to callable
        Each returns what can be pickled, and uses no threads but those that it makes itself: the
        ones that are there already aren't copied.
    processes : int
        With this one, which may do something else: one job has a copy to itself.

    Examples
    --------
    >>> from siftem.pipeline.side_processes import SideProcesses
    >>> with SideProcesses({"a": lambda: 1, "b": lambda: 2}, 2) as beside:
    ...     beside.results()
    {'a': 1, 'b': 2}
    """

    def __init__(self, jobs: Mapping[str, Callable[[], Made]], processes: int = 1) -> None:
        self._jobs = dict(jobs)
        can = hasattr(os, "fork") and os.uname().sysname == "Linux"
        self._copies = min(processes - 1, len(self._jobs), 255) if can else 0
        self._running: dict[int, int] = {}
        # One byte for each job, taken by whoever is free: reading a pipe is a queue of processes.
        self._queue, numbers = os.pipe()
        os.write(numbers, bytes(range(min(len(self._jobs), 256))))
        os.close(numbers)

    def __enter__(self) -> Self:
        for _ in range(self._copies):
            ours, theirs = os.pipe()
            process = os.fork()
            if process == 0:
                _work_and_end(self, theirs)
            os.close(theirs)
            self._running[process] = ours
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._queue)
        self.stop()

    def stop(self) -> None:
        """End the copies, whatever they are at."""
        for process, pipe in self._running.items():
            os.close(pipe)
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        self._running = {}

    def results(self) -> dict[str, Made]:
        """Return what was made, in the order of the jobs, and repeat what was warned of.

        A job whose process ended untimely is done here, so that its error is raised here, too.
        """
        made = self.made()
        while self._running:
            process, pipe = self._running.popitem()
            with os.fdopen(pipe, "rb") as sent:
                answer = sent.read()
            os.waitpid(process, 0)
            if answer:
                made |= pickle.loads(answer)
        out = {}
        for name, job in self._jobs.items():
            if name in made:
                out[name], notes, doubts = made[name]
                for note in notes:
                    category = DoubtWarning if note in doubts else SiftemWarning
                    warnings.warn(note, category, stacklevel=2)
            else:
                out[name] = job()
        return out

    def made(self) -> dict[str, tuple[Made, list[str], list[str]]]:
        """Take jobs until none is left; return what they gave, and its warnings and doubts."""
        names, done = list(self._jobs), {}
        while number := os.read(self._queue, 1):
            with recorded_warnings() as told:
                value = self._jobs[names[number[0]]]()
            done[names[number[0]]] = (value, list(told), told.doubts)
        return done


def _work_and_end(side: SideProcesses[Made], pipe: int) -> None:
    """Be the copy: never return, nor run what the original does at its end."""
    gc.freeze()  # looking through what is shared would copy it
    try:
        # Whoever is killed takes the copies along, and with them the locks that they share.
        ctypes.CDLL(None).prctl(_WHEN_PARENT_DIES, signal.SIGKILL)
        answer = pickle.dumps(side.made())
        with os.fdopen(pipe, "wb") as out:
            out.write(answer)
    finally:
        os._exit(0)
