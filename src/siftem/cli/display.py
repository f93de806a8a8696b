"""Progress bars, time and memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class ProgressBars:
    """One bar for each step of the work, on a terminal; silent when quiet.

    Parameters
    ----------
    console : Console
        Where the bars go.
    quiet : bool
        Show nothing.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._tasks: dict[str, TaskID] = {}
        self._bars: Progress | None = None
        self._console = console
        if not quiet:
            self._bars = Progress(
                TextColumn("{task.description:>16}"),
                BarColumn(bar_width=32),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeElapsedColumn(),
                console=console,
            )

    def __enter__(self) -> ProgressBars:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars:
            self._bars.stop()

    def __call__(self, step: str, fraction: float) -> None:
        """Move the bar of a step to a fraction; a step that begins again starts over."""
        if self._bars is None:
            return
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(step, total=1.0)
        self._bars.update(self._tasks[step], completed=min(max(fraction, 0.0), 1.0))


def resources_used() -> Callable[[], dict[str, float]]:
    """Start a clock; the function returned tells seconds and peak memory so far."""
    start = time.perf_counter()

    def used() -> dict[str, float]:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # Kilobytes on Linux, bytes on macOS.
        megabytes = peak / (1e6 if sys.platform == "darwin" else 1e3)
        return {"seconds": time.perf_counter() - start, "peak_memory_MB": megabytes}

    return used
