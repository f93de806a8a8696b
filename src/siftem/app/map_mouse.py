"""What the mouse does on a map: it paints, fills, draws a profile, and tells where it is.

Strokes are drawn in the browser, at once, and are sent with a serial number until the app has
taken them: none is lost when the next one follows before the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bokeh.events import (
    DoubleTap,
    MouseEnter,
    MouseLeave,
    MouseMove,
    Pan,
    PanEnd,
    PanStart,
    Press,
    PressUp,
    Tap,
)
from bokeh.models import ColumnDataSource, CustomJS

#: What dragging does.
MOVE, PAINT, ERASE, FILL, PROFILE = "move", "paint", "erase", "fill", "profile"

_EVENTS = (
    MouseMove, MouseEnter, MouseLeave, Tap, DoubleTap, PanStart, Pan, PanEnd, Press, PressUp
)  # fmt: skip

Point = tuple[float, float]

#: One function for all events of a map, which keeps what it needs between them in `state`.
_MOUSE = """
    const kind = cb_obj.event_name
    const mode = brush.data.mode[0], width = brush.data.width[0]
    if (mode !== state.mode) {             // painting and profiles take the mouse from the tools
      state.mode = mode
      for (const tool of plot.toolbar.tools) {
        if (tool.type === "PanTool") tool.active = mode === "move"
        else if (tool.type === "BoxZoomTool") tool.active = false
      }
    }
    const tool = plot.toolbar.gestures.pan.active
    const draws = ["paint", "erase", "fill"].includes(mode) && tool == null
    const per_pixel = plot.inner_width / Math.abs(plot.x_range.end - plot.x_range.start)
    const place = [cb_obj.x, cb_obj.y]
    const within = (at, n) => at >= -0.5 && at < n - 0.5
    const inside = within(place[0], nx) && within(place[1], ny)

    const ends = kind === "panend" || kind === "pressup"
    const tell = (source, data) => {       // at once, then at most some 30 times a second
      const now = performance.now()
      clearTimeout(state.later[source.id])
      const send = () => { state.told[source.id] = performance.now(); source.data = data }
      const wait = 30 - (now - (state.told[source.id] ?? -Infinity))
      if (wait <= 0) send()
      else state.later[source.id] = setTimeout(send, wait)
    }
    const begin = () => {
      state.serial += 1
      const of = live.data
      of.xs.push([place[0]]); of.ys.push([place[1]]); of.serial.push(state.serial)
      of.colour.push(brush.data.colour[0])
      of.wide.push(mode === "fill" ? 2 : Math.max(2, width * per_pixel))
    }
    const on = (x, y) => {
      const last = live.data.xs.length - 1
      live.data.xs[last].push(x); live.data.ys[last].push(y)
      live.change.emit()
    }
    const send = () => {                   // all that the app has not taken yet
      const {xs, ys, serial} = live.data
      const n = state.open ? xs.length - 1 : xs.length
      sent.data = {xs: xs.slice(0, n).map(p => [...p]), ys: ys.slice(0, n).map(p => [...p]),
                   serial: serial.slice(0, n)}
    }

    if (kind === "mousemove" || kind === "mouseenter") {
      const seen = draws && mode !== "fill" && inside
      outline.data.x[0] = place[0]; outline.data.y[0] = place[1]
      outline.data.width[0] = seen ? Math.max(width, 1) : NaN
      outline.change.emit()
      const y = Math.round(place[1]), x = Math.round(place[0])
      if (inside && (y !== cursor.data.y[0] || x !== cursor.data.x[0]))
        tell(cursor, {y: [y], x: [x]})
    }
    if (kind === "mouseleave") {
      outline.data.width[0] = NaN
      outline.change.emit()
      if (cursor.data.y[0] >= 0) tell(cursor, {y: [-1], x: [-1]})
    } else if (kind === "tap" && draws && inside) {
      if (mode !== "fill") { begin(); send(); live.change.emit() }
      else if (!state.open) { begin(); state.open = true; live.change.emit() }
      else on(...place)
    } else if (kind === "doubletap" && state.open) {
      state.open = false
      send()
    } else if (kind === "panstart" || kind === "press") {
      // Who holds still for a moment before drawing "presses": no "pan" comes after that.
      state.pressed = kind === "press"
      state.dragged = draws && inside && !state.open ? "stroke" : ""
      if (mode === "profile" && tool == null && inside) {
        state.dragged = "profile"
        state.from = place
      }
      if (state.dragged === "stroke") { begin(); live.change.emit() }
    } else if (["pan", "panend", "pressup"].includes(kind) ||
               (kind === "mousemove" && state.pressed)) {
      const x = Math.min(nx - 0.5, Math.max(-0.5, place[0]))
      const y = Math.min(ny - 0.5, Math.max(-0.5, place[1]))
      if (state.dragged === "stroke") {
        on(place[0], place[1])
        outline.data.x[0] = place[0]; outline.data.y[0] = place[1]
        outline.change.emit()
        if (ends) send()
      } else if (state.dragged === "profile") {
        tell(profile, {x: [state.from[0], x], y: [state.from[1], y]})
      }
      if (ends) { state.dragged = ""; state.pressed = false }
    }
"""

#: The outline is as wide as the brush, while that is changed by key or wheel.
_BRUSHED = """
    if (isNaN(outline.data.width[0])) return
    outline.data.width[0] = Math.max(brush.data.width[0], 1)
    outline.change.emit()
"""

#: The app has taken strokes: what was drawn of them goes, as they came back as pixels.
_TAKEN = """
    const keep = live.data.serial.map((serial, i) => [serial, i])
      .filter(([serial]) => serial > taken.data.serial[0]).map(([_, i]) => i)
    for (const name of Object.keys(live.data))
      live.data[name] = keep.map(i => live.data[name][i])
    live.change.emit()
"""


class MapMouse:
    """The mouse on one map.

    Parameters
    ----------
    plot : bokeh.plotting.figure
        In pixels of the map.
    shape : tuple of int
        Pixels (ny, nx).
    """

    def __init__(self, plot: Any, shape: tuple[int, int]) -> None:
        self._plot = plot
        ny, nx = shape
        #: Pixel under the cursor, ends of the profile, strokes: as the browser sends them.
        self.cursor = ColumnDataSource({"y": [-1], "x": [-1]})
        self.profile = ColumnDataSource({"x": [], "y": []})
        self.strokes = ColumnDataSource({"xs": [], "ys": [], "serial": []})
        self._brush = ColumnDataSource({"mode": [MOVE], "width": [1.0], "colour": ["#000000"]})
        self._taken = ColumnDataSource({"serial": [0]})
        self._outline = ColumnDataSource({"x": [0.0], "y": [0.0], "width": [float("nan")]})
        names = ("xs", "ys", "serial", "colour", "wide")
        self._live = ColumnDataSource({name: [] for name in names})
        self._draw()
        events = CustomJS(
            args={
                "plot": plot,
                "nx": nx,
                "ny": ny,
                "brush": self._brush,
                "live": self._live,
                "outline": self._outline,
                "cursor": self.cursor,
                "profile": self.profile,
                "sent": self.strokes,
                "taken": self._taken,  # for its own callback: what no figure names never comes
                "state": {
                    "serial": 0,
                    "told": {},
                    "later": {},
                    "open": False,
                    "dragged": "",
                    "pressed": False,
                },
            },
            code=_MOUSE,
        )
        for event in _EVENTS:
            plot.js_on_event(event, events)
        brushed = CustomJS(args={"outline": self._outline, "brush": self._brush}, code=_BRUSHED)
        self._brush.js_on_change("data", brushed)
        taken = CustomJS(args={"live": self._live, "taken": self._taken}, code=_TAKEN)
        self._taken.js_on_change("data", taken)

    def moves(self, told: Callable[[int, int], None]) -> None:
        """Call with the pixel (y, x) under the cursor as it moves; (-1, -1) when it leaves."""
        self.cursor.on_change(
            "data", lambda _attribute, _old, new: told(int(new["y"][0]), int(new["x"][0]))
        )

    def draws(self, told: Callable[[list[Point]], None]) -> None:
        """Call with the points (y, x) of each stroke.

        What it means is what was chosen before it came: the choice may reach the browser later.
        """

        def sent(_attribute: str, _old: Any, new: Mapping[str, Any]) -> None:
            done = self._taken.data["serial"][0]
            for serial, xs, ys in zip(new["serial"], new["xs"], new["ys"], strict=True):
                if serial > done:
                    told([(float(y), float(x)) for x, y in zip(xs, ys, strict=True)])
                    done = serial
            self._taken.data = {"serial": [done]}

        self.strokes.on_change("data", sent)

    def measures(self, told: Callable[[Point, Point], None]) -> None:
        """Call with both ends (y, x) of a profile as its line is drawn."""

        def sent(_attribute: str, _old: Any, new: Mapping[str, Any]) -> None:
            if len(new["x"]) == 2:
                first, last = (
                    (float(y), float(x)) for x, y in zip(new["x"], new["y"], strict=True)
                )
                told(first, last)

        self.profile.on_change("data", sent)

    def use(self, mode: str, *, width: float = 1.0, colour: str = "#000000") -> None:
        """Say what dragging does from now on; the width is in pixels of the map."""
        self._brush.data = {"mode": [mode], "width": [float(width)], "colour": [colour]}
        if mode != PROFILE and len(self.profile.data["x"]):
            self.profile.data = {"x": [], "y": []}

    @property
    def mode(self) -> str:
        """What dragging does."""
        return str(self._brush.data["mode"][0])

    def _draw(self) -> None:
        plot = self._plot
        plot.multi_line(
            "xs",
            "ys",
            source=self._live,
            line_color="colour",
            line_width="wide",
            line_alpha=0.75,
            line_cap="round",
            line_join="round",
        )
        for colour, thick in (("#000000", 3.0), ("#ffffff", 1.2)):
            plot.ellipse(
                "x",
                "y",
                width="width",
                height="width",
                source=self._outline,
                fill_color=None,
                line_color=colour,
                line_width=thick,
            )
            plot.line("x", "y", source=self.profile, line_color=colour, line_width=thick)
