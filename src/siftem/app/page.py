"""The page: six steps from left to right, and one line that tells what is going on.

Beside them what a page needs of its browser: names of fields for screen readers, size and
brightness of the window, and keys that are pressed anywhere.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import panel as pn
import param
from bokeh.core.validation import silence
from bokeh.core.validation.warnings import FIXED_SIZING_MODE
from panel.custom import JSComponent
from panel.reactive import Syncable
from tornado.ioloop import IOLoop

from siftem.app.composition_view import CompositionView
from siftem.app.data_view import DataView
from siftem.app.decompose_view import DecomposeView
from siftem.app.export_view import ExportView
from siftem.app.files import Reports
from siftem.app.jobs import JobRunner, JobState, error_sentence
from siftem.app.map_figure import MapRanges, map_ranges
from siftem.app.saved_sessions import SavedSession, SavedSessions
from siftem.app.segment_view import SegmentView
from siftem.app.session import Session
from siftem.app.spectra_view import SpectraView
from siftem.app.step_view import View
from siftem.app.style import CONTROL_CSS, PAGE_CSS, RESIZED, TEXT_CSS, THEME_CSS, Room
from siftem.errors import SiftemError
from siftem.spectrum_image import SpectrumImage


class Labels(JSComponent):
    """Names what has a text beside it and no label: check boxes, sliders, tools of figures.

    Fields come and go in shadow trees, which no observer of the page sees: they are looked
    through once a second, which takes less than a millisecond.
    """

    _esm = """
    export function render({ model }) {
      document.documentElement.lang = "en"
      const name = (element, text) => {
        if (text && element.getAttribute("aria-label") !== text)
          element.setAttribute("aria-label", text)
      }
      const text = (root, selector) => root.querySelector(selector)?.textContent.trim()
      const look = (root) => {
        for (const input of root.querySelectorAll("input[type=checkbox]"))
          if (!input.closest("label")) name(input, text(root, ".bk-label"))
        for (const handle of root.querySelectorAll(".noUi-handle"))
          name(handle, text(root, ".bk-slider-title")?.split(":")[0])
        for (const button of root.querySelectorAll(".bk-spin-btn"))
          name(button, button.classList.contains("bk-spin-btn-up") ? "more" : "less")
        for (const group of root.querySelectorAll(".bk-btn-group")) {
          group.setAttribute("role", "group")
          for (const button of group.querySelectorAll("button"))
            button.setAttribute("aria-pressed", String(button.classList.contains("bk-active")))
        }
        const chosen = root.host?.style.getPropertyValue("--chosen")
        if (chosen) root.querySelector("button")?.setAttribute("aria-pressed", chosen)
        for (const scrolled of root.querySelectorAll(":scope > :not(style)"))
          if (scrolled.scrollHeight > scrolled.clientHeight + 1 &&
              /auto|scroll/.test(getComputedStyle(scrolled).overflowY) && scrolled.tabIndex < 0)
            scrolled.tabIndex = 0
        for (const element of root.querySelectorAll("*"))
          if (element.shadowRoot) look(element.shadowRoot)
      }
      const timer = setInterval(() => look(document), 1000)
      look(document)
      document.querySelector("body > div")?.setAttribute("role", "main")
      model.on("remove", () => clearInterval(timer))
    }
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"width": 0, "height": 0, "margin": 0, **options})


class Window(JSComponent):
    """Tells the size of the window when it is there and when it changes, and sets its colours.

    Parameters
    ----------
    told : callable
        Called with width and height in CSS pixels, and whether the system prefers a dark page.
    """

    dark = param.Boolean(default=False, doc="Whether the page is dark.")
    css = param.String(default=THEME_CSS, doc="Colours of both themes, by custom properties.")

    _esm = """
    export function render({ model }) {
      const style = document.createElement("style")
      style.textContent = model.css
      document.head.append(style)
      const prefers = window.matchMedia("(prefers-color-scheme: dark)")
      const tell = () => model.send_msg({
        width: window.innerWidth, height: window.innerHeight, dark: prefers.matches })
      let waiting
      const later = () => { clearTimeout(waiting); waiting = setTimeout(tell, 250) }
      const paint = () => document.documentElement.classList.toggle("siftem-dark", model.dark)
      window.addEventListener("resize", later)
      model.on("dark", paint)
      paint()
      tell()
      model.on("remove", () => {
        window.removeEventListener("resize", later)
        style.remove()
      })
    }
    """

    def __init__(self, told: Callable[[int, int, bool], None], **options: Any) -> None:
        super().__init__(**{"width": 0, "height": 0, "margin": 0, **options})
        self._told = told

    def _handle_msg(self, message: Any) -> None:
        self._told(int(message["width"]), int(message["height"]), bool(message["dark"]))


class Shortcuts(JSComponent):
    """Listens to the keyboard and calls back with the name of a key.

    Keys that are typed into fields are left alone, but for Alt with an arrow.

    Parameters
    ----------
    pressed : callable
        Called with names such as "1", "e", "Control+z", "Alt+ArrowRight".
    """

    _esm = """
    export function render({ model }) {
      const wanted = /^(\\d|[bepft[\\]]|Control\\+[zyZ]|Alt\\+Arrow(Left|Right))$/
      const listen = (event) => {
        const target = event.composedPath()[0]
        const name = (event.ctrlKey || event.metaKey ? "Control+" : "") +
          (event.altKey ? "Alt+" : "") + event.key
        const typing = target instanceof HTMLElement &&
          (/^(TEXTAREA|SELECT)$/.test(target.tagName) ||
            (target.tagName === "INPUT" && !/^(radio|checkbox|range)$/.test(target.type)))
        if (!wanted.test(name) || (typing && !event.altKey)) return
        event.preventDefault()
        model.send_msg(name)
      }
      const turned = (event) => {     // the wheel alone zooms
        if (!event.shiftKey) return
        event.preventDefault()
        event.stopPropagation()
        model.send_msg(event.deltaX + event.deltaY < 0 ? "]" : "[")
      }
      // Tables go to the clipboard as text with tabs, which spreadsheets and papers take.
      const copied = async (event) => {
        const button = event.composedPath()[0]
        if (!(button instanceof HTMLElement) || !button.matches("button.copy")) return
        const rows = [...button.closest(".copied-table").querySelectorAll("tr")]
        const cells = row => [...row.cells].flatMap(cell =>
          [cell.textContent.trim(), ...Array(cell.colSpan - 1).fill("")])
        try {
          await navigator.clipboard.writeText(rows.map(r => cells(r).join("\\t")).join("\\n"))
          button.textContent = "Copied"
        } catch { button.textContent = "The browser does not allow it" }
        setTimeout(() => { button.textContent = "Copy" }, 2000)
      }
      const wheel = {capture: true, passive: false}
      document.addEventListener("keydown", listen)
      document.addEventListener("click", copied)
      document.addEventListener("wheel", turned, wheel)
      model.on("remove", () => {
        document.removeEventListener("keydown", listen)
        document.removeEventListener("click", copied)
        document.removeEventListener("wheel", turned, wheel)
      })
    }
    """

    def __init__(self, pressed: Callable[[str], None], **options: Any) -> None:
        super().__init__(**{"width": 0, "height": 0, "margin": 0, **options})
        self._pressed = pressed

    def _handle_msg(self, message: Any) -> None:
        self._pressed(str(message))


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
    source : path-like, Recipe or SpectrumImage, optional
        Opened at once.
    reports : Reports, optional
        Of the server whose page this is.
    session : Session, optional
        To work on, which outlives the page; by default it has one of its own.
    """

    def __init__(
        self,
        source: Any = None,
        *,
        reports: Reports | None = None,
        session: Session | None = None,
    ) -> None:
        self._document = pn.state.curdoc if pn.state.curdoc else None
        on_server = self._document is not None and self._document.session_context is not None
        self._loop = IOLoop.current() if on_server else None
        self._lent = session is not None
        self.session = session or Session(SavedSessions())
        self.jobs = JobRunner(self._push, self._job_changed)
        self.session.on_trouble = lambda said: self._push(lambda: self.jobs.tell(said, failed=True))
        self.room = Room()
        self._ranges: tuple[SpectrumImage, MapRanges] | None = None
        self._window = Window(self.resized)
        self.reports = reports or Reports()
        self._buttons: list[Any] = []
        self._status = pn.pane.HTML(
            "", stylesheets=[TEXT_CSS], width=820, margin=(3, 8, 0, 10), sizing_mode=RESIZED
        )
        self._bar = pn.indicators.Progress(
            value=0, max=100, width=240, height=14, margin=(8, 8), visible=False
        )
        self._cancel = pn.widgets.Button(
            name="Cancel", width=90, visible=False, stylesheets=[CONTROL_CSS], margin=(0, 8)
        )
        self._cancel.on_click(lambda _event: self.jobs.cancel())
        self.views = [view(self) for view in _VIEWS]
        self.active = 0
        self._fresh = True
        self._body = pn.Column(self.views[0].panel)
        self.panel = pn.Column(
            self._stepper(),
            pn.Row(self._status, self._bar, self._cancel, height=34),
            self._body,
            Shortcuts(self._key),
            Labels(),
            self._window,
            width=self.room.window[0] - 20,
            stylesheets=[PAGE_CSS],
            sizing_mode=RESIZED,
        )
        self.jobs.tell("Open a map, or try the demo.")
        if source is not None:
            self.open("Open", lambda progress: self.session.open(source, progress=progress))
        self.refresh()

    def map_ranges(self) -> MapRanges:
        """Return what is seen of the map that is open: the same in each step."""
        si = self.session.spectrum_image
        if self._ranges is None or self._ranges[0] is not si:
            self._ranges = si, map_ranges(si.shape)
        return self._ranges[1]

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
        # First filled, then seen: fields that change under a quick hand lose what it did.
        self.attempt(self.views[self.active].take_room)
        self.attempt(self.views[self.active].refresh)
        self._body[:] = [self.views[self.active].panel]

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
        self._window.dark = room.dark
        self.views[self.active].take_room()
        self.refresh()

    def end(self, why: str) -> None:
        """Stop what runs for this page, and put a sentence in its place; from any thread."""
        said = f'<p role="alert">{html.escape(why)}</p>'
        self.jobs.cancel()
        self._push(lambda: self.panel.__setitem__(slice(None), [pn.pane.HTML(said)]))

    def close(self) -> None:
        """Stop what runs for this page, and let go of all that it holds.

        Panel keeps the callbacks of closed pages, and with them what they lead to.
        """
        self.jobs.cancel()
        if not self._lent:
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
            margin=(5, 14, 0, 10),
        )
        for i, view in enumerate(self.views):
            button = pn.widgets.Button(
                name=f"{i + 1}  {view.name}",
                width=118,
                button_type="primary" if i == 0 else "default",
                stylesheets=[CONTROL_CSS],
                margin=(4, 3),
            )
            button.on_click(lambda _event, index=i: self.go(index))
            self._buttons.append(button)
        onward = pn.widgets.Button(
            name="Next step →", width=110, stylesheets=[CONTROL_CSS], margin=(4, 3, 4, 24)
        )
        onward.on_click(lambda _event: self.go(self.active + 1))
        theme = pn.widgets.Button(
            name="Light or dark", width=110, stylesheets=[CONTROL_CSS], margin=(4, 3)
        )
        theme.on_click(lambda _event: self.set_dark(not self.room.dark))
        return pn.Row(brand, *self._buttons, onward, theme, height=40)

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

    def _push(self, action: Callable[[], None]) -> None:
        """Run an action on the loop of the server, from any thread; elsewhere at once."""
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
