"""Telling that kernels are compiled, which happens once after installation."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

#: Shorter compilations need no word, seconds.
_SHORT = 1.0


@contextmanager
def compiling_told(console: Console, quiet: bool = False) -> Iterator[None]:
    """Say when kernels begin to be compiled, and how long that took in all.

    Numba keeps what it compiled beside the package or where ``NUMBA_CACHE_DIR`` says.

    Parameters
    ----------
    console : Console
        Where it is said.
    quiet : bool
        Say nothing.
    """
    if quiet:
        yield
        return
    from numba.core import event

    class Watch(event.Listener):
        """Kernels may be compiled in the course of another's compilation."""

        depth, begun, seconds = 0, 0.0, 0.0

        def on_start(self, event: event.Event) -> None:
            if not self.depth:
                self.begun = time.perf_counter()
                if not self.seconds:
                    console.print("compiling kernels, once after installation ...", markup=False)
            self.depth += 1

        def on_end(self, event: event.Event) -> None:
            self.depth -= 1
            if not self.depth:
                self.seconds += time.perf_counter() - self.begun

    watch = Watch()
    event.register("numba:compile", watch)
    try:
        yield
    finally:
        event.unregister("numba:compile", watch)
    if watch.seconds > _SHORT:
        console.print(
            f"{watch.seconds:.0f} s of this run went to compiling: not so next time", markup=False
        )
