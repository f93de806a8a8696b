"""A copy of this process that imports what reads a map before it is told which one."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from siftem.pipeline.side_processes import LARGEST, SideProcesses
from siftem.simulate.phantom import Phantom, simulate_demo

Made = TypeVar("Made")
#: The job.
COUNTS = "counts"
#: A message up to this size goes through a pipe as one.
_ONE_MESSAGE = 4096


def simulation(
    shape: tuple[int, int], *, channels: int = 2048, dose: float, random_state: int
) -> Callable[[], Phantom] | None:
    """Return what simulates the model case in a copy, None for what is too large."""
    if dose * shape[0] * shape[1] > LARGEST:
        return None
    return partial(simulate_demo, shape, channels=channels, dose=dose, random_state=random_state)


class EarlyReader(SideProcesses[Made]):
    """Read, or simulate, in a copy that has imported for it while the recipe was made.

    Parameters
    ----------
    processes : int
        With this one; alone it does nothing ahead.
    prepare : callable, optional
        Imports what only reading needs.
    """

    def __init__(self, processes: int, prepare: Callable[[], object] | None = None) -> None:
        self._prepare = prepare
        self._told, self._tell = os.pipe()
        self.job: Callable[[], Made] | None = None
        super().__init__({COUNTS: self._done_when_told}, processes)

    def __exit__(self, *about: object) -> None:
        super().__exit__(*about)
        os.close(self._told)
        os.close(self._tell)

    def ask(self, job: Callable[[], Made]) -> bool:
        """Say what is to be done; False where it is not done ahead, or something else was asked.

        Parameters
        ----------
        job : callable
            A function of a module, or a partial of one, with a few arguments.
        """
        message = pickle.dumps(job)
        other = self.job is not None and message != pickle.dumps(self.job)
        if other or len(message) > _ONE_MESSAGE or not self._running:
            self.stop()
            return False
        if self.job is None:
            self.job = job
            os.write(self._tell, message)
        return True

    def _done_when_told(self) -> Made:
        if self.job is None:  # in the copy, which was made before
            if self._prepare is not None:
                self._prepare()
            job: Callable[[], Made] = pickle.loads(os.read(self._told, _ONE_MESSAGE))
            return job()
        return self.job()
