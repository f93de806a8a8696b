"""Who looks on while a batch works."""

from __future__ import annotations

from dataclasses import dataclass

from siftem.progress import Progress


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Parameters
    ----------
    name : str
    status : {"done", "kept", "failed", "busy", "disk full"}
        "kept" means that an earlier result is up to date.
    error : str
        One sentence.
    seconds : float
    """

    name: str
    status: str
    error: str = ""
    seconds: float = 0.0


class Watcher:
    """Told what happens in a batch; this one does nothing, others override what they need.

    The methods may be called from several threads.
    """

    def begin(self, names: tuple[str, ...]) -> None:
        """Work on these maps begins."""

    def dashboard(self, address: str) -> None:
        """Dask shows its dashboard at this address."""

    def step(self, name: str, step: str, fraction: float) -> None:
        """A share (0 to 1) of a step is done for a map."""

    def finished(self, outcome: Outcome) -> None:
        """A map is done with, well or not."""


class Overall(Watcher):
    """Tells one callback which share of all maps is done.

    Parameters
    ----------
    progress : Progress
    """

    def __init__(self, progress: Progress) -> None:
        self._progress, self._jobs, self._finished = progress, 1, 0

    def begin(self, names: tuple[str, ...]) -> None:
        """Work on these maps begins."""
        self._jobs = max(len(names), 1)

    def step(self, name: str, step: str, fraction: float) -> None:
        """A step of a map moves on; what counts is the maps that are finished."""
        self._progress(f"{name}: {step}", self._finished / self._jobs)

    def finished(self, outcome: Outcome) -> None:
        """A map is done with, well or not."""
        self._finished += 1
        self._progress(outcome.name, self._finished / self._jobs)
