"""The page: six steps from left to right, one line that tells what is going on."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import panel as pn
from bokeh.core.validation import silence
from bokeh.core.validation.warnings import FIXED_SIZING_MODE
from panel.reactive import Syncable
from tornado.ioloop import IOLoop

from siftem.app.composition_view import CompositionView
from siftem.app.data_view import DataView
from siftem.app.decompose_view import DecomposeView
from siftem.app.error_sentence import error_sentence
from siftem.app.export_view import ExportView
from siftem.app.files import Reports
from siftem.app.jobs import JobRunner, JobState
from siftem.app.labels import Labels
from siftem.app.map_figure import MapRanges, map_ranges
from siftem.app.saved_sessions import SavedSession, SavedSessions
from siftem.app.segment_view import SegmentView
from siftem.app.session import Session
from siftem.app.shortcuts import Shortcuts
from siftem.app.spectra_view import SpectraView
from siftem.app.step_view import View
from siftem.app.style import CONTROL_CSS, PAGE_CSS, RESIZED, TEXT_CSS, Room
from siftem.app.window import Window
from siftem.errors import SiftemError
from siftem.hyperspy_input import as_map
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.results import RunResult
from siftem.spectrum_image import SpectrumImage

# The heights of what has a fixed width follow from what is in it.
silence(FIXED_SIZING_MODE)
# A click that follows the change of a field at once makes Panel take that change first, and both
# without the document's lock: Bokeh refuses what they change of a figure, and the click is lost.
Syncable._event_coroutine = pn.io.with_lock(Syncable._event_coroutine)

_VIEWS: tuple[type[View], ...] = (
    DataView,
    DecomposeView,
    SegmentView,
    SpectraView,
    CompositionView,
    ExportView,
)


class Page:
    """The page of one user.

    Parameters
    ----------
    source : path-like, Recipe, SpectrumImage or HyperSpy signal, optional
        Opened at once.
    reports : Reports, optional
        Of the server whose page this is: it fills the browser's window, takes files and opens
        reports in tabs. Without one, as in a notebook, it has a fixed size.
    """

    def __init__(
        self,
        source: Any = None,
        *,
        reports: Reports | None = None,
    ) -> None:
        self._document = pn.state.curdoc if pn.state.curdoc else None
        self._loop = IOLoop.current() if self._on_server else None
        self.session = Session(SavedSessions())
        self.jobs = JobRunner(self._push, self._job_changed)
        self.session.on_trouble = lambda said: self._push(lambda: self.jobs.tell(said, failed=True))
        self.room = Room()
        self._ranges: tuple[SpectrumImage, MapRanges] | None = None
        self._window = Window(self.resized) if reports is not None else None
        self.reports = reports
        self._buttons: list[Any] = []
        self._status = pn.pane.HTML(
            "", stylesheets=[TEXT_CSS], width=820, margin=(6, 8, 0, 10), sizing_mode=RESIZED
        )
        self._bar = pn.indicators.Progress(
            value=0, max=100, width=240, height=14, margin=(10, 8), visible=False
        )
        self._cancel = pn.widgets.Button(
            name="Cancel", width=90, visible=False, stylesheets=[CONTROL_CSS]
        )
        self._cancel.on_click(lambda _event: self.jobs.cancel())
        self.views = [view(self) for view in _VIEWS]
        self.active = 0
        self._fresh = True
        self._body = pn.Column(self.views[0].panel)
        self.panel = pn.Column(
            self._stepper(),
            pn.Row(self._status, self._bar, self._cancel, height=38),
            self._body,
            Shortcuts(self._key),
            Labels(),
            *([self._window] if self._window else []),
            width=self.room.window[0] - 20,
            stylesheets=[PAGE_CSS],
            sizing_mode=RESIZED,
        )
        self.jobs.tell("Open a map, or try the demo.")
        if source is not None and not isinstance(source, (str, Path, Recipe)):
            source = as_map(source)
        if source is not None:
            self.open("Open", lambda progress: self.session.open(source, progress=progress))
        self.refresh()

    def __panel__(self) -> Any:
        """Return the page as a Panel object."""
        return self.panel

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        return self.panel._repr_mimebundle_(include, exclude)

    @property
    def recipe(self) -> Recipe:
        """What was clicked together so far."""
        return self.session.recipe

    @property
    def spectrum_image(self) -> SpectrumImage:
        """The map that is open, as it is decomposed."""
        return self.session.spectrum_image

    def map_ranges(self) -> MapRanges:
        """Return what is seen of the map that is open: the same in each step."""
        si = self.session.spectrum_image
        if self._ranges is None or self._ranges[0] is not si:
            self._ranges = si, map_ranges(si.shape)
        return self._ranges[1]

    def results(self) -> RunResult:
        """Do what is still missing, and return all results."""
        return self.session.workflow.result()

    def open(self, title: str, work: Callable[[Any], Any]) -> None:
        """Open a map in a job."""
        self.jobs.start(title, work, lambda _result: self.refresh())

    def go_on(self, saved: SavedSession) -> None:
        """Go on with a session that was kept, in a job, at the step where it was left."""
        self.jobs.start(
            f"Go on with {saved.title}",
            lambda progress: self.session.go_on(saved, progress=progress),
            lambda _result: self.go(self.session.shown),
        )

    def run(self, title: str, work: Callable[[Any], Any]) -> None:
        """Do a long piece of work in a job, and show what came of it."""
        self.jobs.start(title, work, lambda _result: self.refresh())

    def go(self, index: int) -> None:
        """Bring a step to the front."""
        self.attempt(self.views[self.active].leave)
        self.active = self.session.shown = max(0, min(index, len(self.views) - 1))
        self.session.keep()
        for i, button in enumerate(self._buttons):
            button.button_type = "primary" if i == self.active else "default"
        self._body[:] = [self.views[self.active].panel]
        self.attempt(self.views[self.active].refresh)

    def refresh(self) -> None:
        """Show the present state in the step in front."""
        self.attempt(self.views[self.active].refresh)

    def attempt(self, action: Callable[[], Any]) -> None:
        """Do something quick; an error becomes one sentence on the page."""
        try:
            action()
        except Exception as error:
            if not isinstance(error, SiftemError):
                import traceback

                traceback.print_exception(error)
            self.jobs.tell(error_sentence(error), failed=True)

    def resized(self, width: int, height: int, prefers_dark: bool = False) -> None:
        """Fill a window of this size; the first time, in the colours that the system prefers."""
        dark = prefers_dark if self._fresh else self.room.dark
        self._fresh = False
        self._take(Room((width, height), dark))

    def set_dark(self, dark: bool) -> None:
        """Make the page dark or light."""
        self._take(Room(self.room.window, dark))

    def _take(self, room: Room) -> None:
        if room == self.room:
            return
        self.room = room
        self.panel.width = room.window[0] - 20
        self._status.width = room.window[0] - 420
        if self._window is not None:
            self._window.dark = room.dark
        for view in self.views:
            view.resized()
        self.refresh()

    def close(self) -> None:
        """Stop what runs for this page, and let go of all that it holds.

        Panel keeps the callbacks of closed pages, and with them what they lead to.
        """
        self.jobs.cancel()
        self.session.close()
        self._ranges = None
        for view in self.views:
            view.close()
        self.views.clear()
        self.panel.clear()

    def _stepper(self) -> Any:
        brand = pn.pane.HTML(
            "<h1 style='font-size:20px;letter-spacing:.02em;margin:0'>siftem</h1>",
            width=80,
            margin=(6, 14, 0, 10),
        )
        for i, view in enumerate(self.views):
            button = pn.widgets.Button(
                name=f"{i + 1}  {view.name}",
                width=140,
                button_type="primary" if i == 0 else "default",
                stylesheets=[CONTROL_CSS],
                margin=(5, 3),
            )
            button.on_click(lambda _event, index=i: self.go(index))
            self._buttons.append(button)
        onward = pn.widgets.Button(
            name="Next step →", width=110, stylesheets=[CONTROL_CSS], margin=(5, 3, 5, 40)
        )
        onward.on_click(lambda _event: self.go(self.active + 1))
        row = pn.Row(brand, *self._buttons, onward, height=44)
        if self._window is not None:
            theme = pn.widgets.Button(
                name="Light or dark", width=110, stylesheets=[CONTROL_CSS], margin=(5, 3)
            )
            theme.on_click(lambda _event: self.set_dark(not self.room.dark))
            row.append(theme)
        return row

    def _job_changed(self, state: JobState) -> None:
        self._bar.visible = self._cancel.visible = state.running
        # Work of which nobody knows how much is done moves the bar to and fro.
        self._bar.value = min(100, round(100 * state.fraction)) if state.fraction > 0 else -1
        role = 'role="alert" class="error-line"' if state.failed else 'role="status"'
        said = f"<span {role}>{html.escape(state.message)}</span>" if state.message else ""
        if state.running:
            step = f": {state.step} …" if state.step else " …"
            said = f'<span role="status">{html.escape(state.title + step)}</span> {said}'
        self._status.object = said
        if state.title and not state.running:
            self.session.keep()
        if state.failed and state.title and not state.running:
            self.refresh()  # fields tell again what counts

    @property
    def _on_server(self) -> bool:
        return self._document is not None and self._document.session_context is not None

    def _push(self, action: Callable[[], None]) -> None:
        """Run an action on the event loop of the server, from any thread; elsewhere at once."""
        if self._loop is None:
            action()
            return
        # By the loop itself: a document that holds changes back may lose what a thread adds.
        self._loop.add_callback(self._at_next_tick, action)

    def _at_next_tick(self, action: Callable[[], None]) -> None:
        document: Any = self._document
        if document.session_context is not None and not document.session_context.destroyed:
            document.add_next_tick_callback(action)

    def _key(self, key: str) -> None:
        if key == "Alt+ArrowRight":
            self.go(self.active + 1)
        elif key == "Alt+ArrowLeft":
            self.go(self.active - 1)
        else:
            self.attempt(lambda: self.views[self.active].key(key))
