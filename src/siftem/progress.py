"""How long work tells where it is, and how it is stopped; in notebooks with a bar.

The bar comes by itself for what takes longer than two seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from html import escape
from typing import Any, ParamSpec, Protocol, TypeVar


class Progress(Protocol):
    """A callback that long work calls from time to time.

    Raising any exception from the callback stops the work (this is how the command
    line and the app cancel); nothing is left half done outside the caller's arrays.
    """

    def __call__(self, step: str, fraction: float) -> None:
        """Report that ``fraction`` (0 to 1) of ``step`` is done."""


def silent(step: str, fraction: float) -> None:
    """Ignore progress: the default everywhere in the library."""


class Compiling:
    """What numba compiles: one kernel may be compiled in the course of another's compilation.

    Attributes
    ----------
    depth : int
        Compilations that are under way.
    seconds : float
        What those took that are over.
    """

    depth, begun, seconds = 0, 0.0, 0.0


@contextmanager
def compiling_seen(changed: Callable[[bool], None]) -> Iterator[Compiling]:
    """Follow what is compiled while a block runs, in whatever thread, a reader's kernels too.

    Parameters
    ----------
    changed : callable
        Called, in the thread that compiles, with True when that begins and False when it is over.

    Yields
    ------
    Compiling
    """
    from numba.core import event

    seen = Compiling()

    class Watch(event.Listener):
        def on_start(self, event: event.Event) -> None:
            seen.depth += 1
            if seen.depth == 1:
                seen.begun = time.perf_counter()
                changed(True)

        def on_end(self, event: event.Event) -> None:
            if seen.depth == 1:
                seen.seconds += time.perf_counter() - seen.begun
                changed(False)
            seen.depth = max(seen.depth - 1, 0)  # one may have begun before the block

    watch = Watch()
    event.register("numba:compile", watch)
    try:
        yield seen
    finally:
        event.unregister("numba:compile", watch)


P = ParamSpec("P")
R = TypeVar("R")

#: Seconds before a bar appears, and between two pictures of it.
_PATIENCE, _PAUSE = 2.0, 0.2
#: Calls that are under way: what they call shows no bar of its own.
_under_way: list[str] = []


def shows_progress(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function with the keyword ``progress`` show a bar where nobody gives one.

    In notebooks only. ``progress=siftem.progress.silent`` shows none.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        bar = None
        if "progress" not in kwargs and not _under_way and in_notebook():
            bar = NotebookBar(function.__name__.strip("_"))
            kwargs["progress"] = bar
        _under_way.append(function.__name__)
        try:
            return function(*args, **kwargs)
        finally:
            _under_way.pop()
            if bar is not None:
                bar.close()

    return call


def in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook, where output can be replaced."""
    shell = _shell()
    return shell is not None and hasattr(shell, "kernel")


def _shell() -> Any:
    module = sys.modules.get("IPython")
    return None if module is None else module.get_ipython()


class NotebookBar:
    """A bar for the step that is being done.

    Parameters
    ----------
    name : str
        What is done as a whole.
    """

    def __init__(self, name: str) -> None:
        self.name, self.step, self.fraction, self.closed = name, "", 0.0, False
        self._start = self._drawn = time.monotonic()
        self._handle: Any = None

    def __call__(self, step: str, fraction: float) -> None:
        """Move on; nothing is shown in the first two seconds."""
        self.step, self.fraction = step, min(max(fraction, 0.0), 1.0)
        now = time.monotonic()
        if now - self._start < _PATIENCE or (self._handle and now - self._drawn < _PAUSE):
            return
        self._drawn = now
        self._show()

    def close(self) -> None:
        """Leave the time that it took, if there is a bar."""
        self.closed = True
        if self._handle is not None:
            self._show()

    def _show(self) -> None:
        if self._handle is None:
            self._handle = sys.modules["IPython"].display.display(self, display_id=True)
        else:
            self._handle.update(self)

    def __repr__(self) -> str:
        seconds = time.monotonic() - self._start
        if self.closed:
            return f"{self.name}: {seconds:.1f} s"
        step = "" if self.step == self.name else f", {self.step}"
        return f"{self.name}{step}: {100 * self.fraction:.0f}%, {seconds:.0f} s"

    def _repr_html_(self) -> str:
        if self.closed:
            return f"<small>{escape(repr(self))}</small>"
        bar = f'<progress max="1" value="{self.fraction:.3f}"></progress>'
        return f"{bar} <small>{escape(repr(self))}</small>"
