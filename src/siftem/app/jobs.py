"""Work off the event loop: one long job at a time, and quick ones of which the last wins.

Whatever goes wrong in it reaches the page as one plain sentence.
"""

from __future__ import annotations

import re
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from siftem.errors import Cancelled, InputError, SiftemError
from siftem.progress import Progress, compiling_seen


def without_options(text: str) -> str:
    """Return a sentence without the options of the command line, which the page has not."""
    return re.sub(r" \(--[a-z-]+\)", "", text)


def error_sentence(error: BaseException) -> str:
    """Return what the page says of an error.

    Parameters
    ----------
    error : BaseException
        The message of a `SiftemError` is made for the reader. Anything else is a fault of
        siftem, and is told as one.

    Returns
    -------
    str
        One line.
    """
    if isinstance(error, Cancelled):
        return "Cancelled; what was done before stays."
    if isinstance(error, SiftemError):
        text = without_options(" ".join(str(error).split()))
        return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
    if isinstance(error, MemoryError):
        return "Out of memory: crop the map or its energy range."
    text = " ".join(str(error).split())
    about = f": {text}" if text else ""
    return f"Unexpected {type(error).__name__}{about} (please report this)."


#: Runs a function where the page may be changed: on the event loop of its session.
Push = Callable[[Callable[[], None]], None]
Work = Callable[[Progress], Any]
Done = Callable[[Any], None]

#: Progress reaches the page at most this often, seconds.
_TELL_EVERY = 0.1

#: A quick result is on the page after this time at the latest, seconds, or the page is gone.
_SHOWN_WITHIN = 2.0

#: Seconds for which what was shown has processor and wire for itself, before more is worked out.
_ON_ITS_WAY = 0.15

#: What the page says while a kernel, siftem's or a reader's, is compiled for this machine.
_COMPILING = "compiling, some seconds, once after installation"

#: What the steps are called on the page.
STEP_NAMES = {
    "load": "reading the map",
    "simulate": "simulating the map",
    "prepare": "preparing the map",
    "element maps": "fitting lines",
    "choose": "comparing numbers of components",
    "decompose": "decomposing",
    "match": "matching components",
    "features": "filtering images",
    "segment": "training the classifier",
    "regions": "cutting regions",
    "spectra": "subtracting the matrix",
    "unmix": "unmixing all pixels",
    "composition": "quantifying",
    "smoothness": "comparing smoothnesses",
    "report": "writing the report",
}


@dataclass(frozen=True)
class JobState:
    """What the status line shows.

    Parameters
    ----------
    title : str
        What the user asked for.
    step : str
        What is being done for it.
    fraction : float
        0 to 1 of this step.
    running : bool
    message : str
        Once it is over: how it went. While it runs: what was told meanwhile.
    failed : bool
        Whether ``message`` is an error.
    """

    title: str = ""
    step: str = ""
    fraction: float = 0.0
    running: bool = False
    message: str = ""
    failed: bool = False


class JobRunner:
    """Runs the work of one session in threads and tells its page.

    Parameters
    ----------
    push : callable
        Takes a function of no arguments and runs it where the page may be changed.
    changed : callable
        Called there with each new `JobState`.
    """

    def __init__(self, push: Push, changed: Callable[[JobState], None]) -> None:
        self._push = push
        self._changed = changed
        self._lock = threading.Lock()
        self._cancel = threading.Event()
        self._thread: threading.Thread | None = None
        self._pending: tuple[tuple[Work, Done], ...] | None = None
        self._quick: threading.Thread | None = None
        self._more = threading.Event()  # quick work is pending
        self.state = JobState()

    @property
    def busy(self) -> bool:
        """Whether a long job is running."""
        return self.state.running

    def start(self, title: str, work: Work, done: Done | None = None) -> None:
        """Run work in a thread; then call ``done`` with its result.

        Parameters
        ----------
        title : str
            Such as "Decompose".
        work : callable
            Takes a progress callback, which raises `Cancelled` when the user has had enough.
        done : callable, optional
            Called on the page's event loop, unless the work failed.

        Raises
        ------
        InputError
            When another job is running.
        """
        with self._lock:
            if self.state.running:
                raise InputError(
                    f"{self.state.title} is still running: wait for it to end, or cancel it"
                )
            self._cancel.clear()
            self.state = JobState(title, running=True)
        self._changed(self.state)
        self._thread = threading.Thread(
            target=self._run, args=(title, work, done), name=f"siftem {title}", daemon=True
        )
        self._thread.start()

    def cancel(self) -> None:
        """Ask the running job to stop at its next report of progress."""
        self._cancel.set()

    def latest(self, work: Work, done: Done, *then: tuple[Work, Done]) -> None:
        """Run quick work; of several calls during a run only the last is done.

        For sliders and strokes: work stops at its next report of progress when other work waits.
        Errors are shown like those of a job. What can wait until the result is shown comes
        ``then``, after an error too, unless other work waits.
        """
        with self._lock:
            self._pending = ((work, done), *then)
            self._more.set()
            if self._quick is not None and self._quick.is_alive():
                return
            self._quick = threading.Thread(target=self._run_latest, daemon=True)
        self._quick.start()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until nothing runs any more."""
        for thread in (self._thread, self._quick):
            if thread is not None:
                thread.join(timeout)

    def tell(self, message: str, *, failed: bool = False) -> None:
        """Show a message in the status line; only from where the page may be changed."""
        before = self.state if self.state.running else JobState()
        self.state = replace(before, message=message, failed=failed)
        self._changed(self.state)

    def _run(self, title: str, work: Work, done: Done | None) -> None:
        told, step_now, fraction_now = 0.0, "", 0.0

        def progress(step: str, fraction: float) -> None:
            nonlocal told, step_now, fraction_now
            if self._cancel.is_set():
                raise Cancelled
            step_now, fraction_now = STEP_NAMES.get(step, step), float(fraction)
            now = time.monotonic()
            if now - told > _TELL_EVERY and not compiled.depth:
                told = now
                self._push(partial(self._show, step_now, fraction_now))

        def compiling(begins: bool) -> None:
            shown = (_COMPILING, 0.0) if begins else (step_now, fraction_now)
            self._push(partial(self._show, *shown))

        try:
            with compiling_seen(compiling) as compiled:
                result = work(progress)
        except Exception as error:
            self._finish(JobState(title, message=_sentence(error), failed=True), None, None)
        else:
            self._finish(JobState(title, message=f"{title}: done."), done, result)

    def _show(self, step: str, fraction: float) -> None:
        if self.state.running:
            self.state = replace(self.state, step=step, fraction=fraction)
            self._changed(self.state)

    def _finish(self, state: JobState, done: Done | None, result: Any) -> None:
        def on_page() -> None:
            self.state = state
            if done is not None:
                try:
                    done(result)
                except Exception as error:
                    self.tell(_sentence(error), failed=True)
            # It is said to be done when it can be seen; what was told meanwhile stays.
            if not self.state.running:
                self.state = replace(self.state, title=state.title)
            self._changed(self.state)

        self._push(on_page)

    def _give_way(self, step: str, fraction: float) -> None:
        if self._pending is not None:
            raise Cancelled

    def _shown(self, done: Done, result: Any) -> None:
        """Show a result, and wait for that: other work would take the time from it."""
        over = threading.Event()

        def show() -> None:
            try:
                done(result)
            finally:
                over.set()

        self._push(show)
        over.wait(_SHOWN_WITHIN)

    def _run_latest(self) -> None:
        while True:
            with self._lock:
                if self._pending is None:
                    self._quick = None
                    return
                stages = self._pending
                self._pending = None
                self._more.clear()
            for number, (work, done) in enumerate(stages):
                try:
                    if number:
                        self._more.wait(_ON_ITS_WAY)
                    self._give_way("", 0.0)
                    self._shown(done, work(self._give_way))
                except Cancelled:
                    break
                except Exception as error:
                    sentence = _sentence(error)
                    self._push(partial(self.tell, sentence, failed=True))


def _sentence(error: Exception) -> str:
    if not isinstance(error, (SiftemError, MemoryError)):
        # A fault of siftem: whoever started the server needs to see where.
        traceback.print_exception(error)
    return error_sentence(error)
