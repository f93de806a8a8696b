"""Who looks on while a batch works."""

from __future__ import annotations

from dataclasses import dataclass


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
