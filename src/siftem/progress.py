"""How long work tells where it is, and how it is stopped."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A callback that long work calls from time to time.

    Raising any exception from the callback stops the work (this is how the command
    line and the app cancel); nothing is left half done outside the caller's arrays.
    """

    def __call__(self, step: str, fraction: float) -> None:
        """Report that ``fraction`` (0 to 1) of ``step`` is done."""


def silent(step: str, fraction: float) -> None:
    """Ignore progress: the default everywhere in the library."""
