"""Segment: paint traces, train, move the smoothness, see the regions."""

from __future__ import annotations

from typing import Any

import panel as pn

from siftem.app.map_figure import MapFigure
from siftem.app.map_images import COMPONENT, MapImage
from siftem.app.map_mouse import ERASE, FILL, MOVE, PAINT
from siftem.app.map_step import MapStep
from siftem.app.map_toolbar import OF_PHASE, MapToolbar, PhaseButtons
from siftem.app.overlays import (
    MapFindings,
    overlay_pixels,
    overlay_words,
    tables_html,
    traces_overlay,
    training_sentence,
)
from siftem.app.spectrum_figure import likelihood_figure
from siftem.app.step_view import StepPage, numbers
from siftem.app.style import CONTROL_CSS, FIELD, WIDE
from siftem.errors import InputError
from siftem.pipeline.results import Matched
from siftem.segment.smoothness import SmoothnessChoice

_THIRD: dict[str, Any] = {**WIDE, "margin": (5, 4, 5, 8)}
_AGAINST = " But traces contradict their components: see beside the map."
_ERASER = "#ffffff"
_MODES = {"Paint": PAINT, "Fill": FILL, "Erase": ERASE}
_DECOMPOSE_FIRST = "<p>Decompose the map first: its components become the classes to paint.</p>"
_NOT_SMOOTH = (
    ": the classes of single pixels already fit counts that they have not seen, and a smoother "
    "cut would take thin parts away."
)
_HINTS = {
    PAINT: "Drag, or click for a dab. A pixel painted as two grains holds both.",
    FILL: "Drag around it, or click corner by corner and double-click the last.",
    ERASE: "Drag, or click: takes pixels from all phases.",
}
_MODE_KEYS = {"p": "Paint", "b": "Paint", "f": "Fill", "e": "Erase"}


class SegmentView(MapStep):
    """The map to paint on."""

    name = "Segment"

    def __init__(self, page: StepPage) -> None:
        super().__init__(page, log=False)
        self._of: object = None
        self._overlaid = False
        self._choice: SmoothnessChoice | None = None
        self._quiet = False
        self.findings = MapFindings(self.session)
        self.phase = ""
        self.phases = PhaseButtons(self.button, self.choose_phase)
        self.mode = pn.widgets.RadioButtonGroup(
            name="Mouse", options=list(_MODES), value="Paint", **FIELD
        )
        self.brush = pn.widgets.IntSlider(name="Brush, pixels", start=1, end=15, value=3, **FIELD)
        self.curve = pn.pane.Bokeh(None)
        self.live = pn.widgets.Checkbox(
            name="After each stroke", value=True, stylesheets=[CONTROL_CSS], margin=(2, 8)
        )
        self.hint = self.text("", **WIDE)
        self.points = pn.widgets.TextInput(
            name="Stroke by numbers: y, x; y, x", placeholder="10, 12; 14, 30", **FIELD
        )
        self.smoothness = pn.widgets.FloatSlider(
            name="Smoothness", start=0.0, end=10.0, step=0.1, value=1.0, **FIELD
        )
        self.margin_slider = pn.widgets.IntSlider(
            name="Margin at borders, pixels", start=0, end=8, value=1, **FIELD
        )
        tools = self._toolbar = MapToolbar()
        self.overlay, self.of_phase, self.opacity = tools.overlay, tools.of_phase, tools.opacity
        self.traces = tools.traces
        self.counts = self.text("", **WIDE)
        self.controls[:] = [
            self.text("<h2>1 Paint pixels of each phase</h2>"),
            self.phases.grid,
            self.mode,
            self.brush,
            self.hint,
            pn.Row(
                self.button("Undo", self.undo, **_THIRD),
                self.button("Redo", self.redo, **_THIRD),
                self.button("Clear all", self.clear, **_THIRD),
            ),
            self.text("<h2>2 Train</h2>"),
            self.button("Train", self.train, kind="success", **WIDE),
            self.live,
            self.text("<h2>3 Smooth</h2>"),
            self.smoothness,
            self.margin_slider,
            self.button("Suggest smoothness", self.suggest, **WIDE),
            self.curve,
            pn.Card(
                self.points,
                self.button("Add the stroke", self.add_stroke),
                self.text(
                    "<p class='hint'>Keys: 1 to 9 choose a phase, P paint, F fill, E erase, [ and ]"
                    " (or Shift with the wheel) the brush, Ctrl+Z undo, Ctrl+Y redo, T train."
                    "</p>",
                    **WIDE,
                ),
                title="From the keyboard",
                collapsed=True,
                **WIDE,
                margin=(4, 8),
            ),
        ]
        self.look.words = self._words
        self._toolbar.watch(lambda: page.attempt(self._draw))
        for widget in (self.mode, self.brush):
            widget.param.watch(lambda _e: page.attempt(self._set_brush), "value")
        for slider in (self.smoothness, self.margin_slider):
            slider.param.watch(lambda _e: page.attempt(self._smooth), "value")

    def choose_phase(self, name: str) -> None:
        """Paint this phase from now on."""
        self.phase = name
        self.look.choose(f"{COMPONENT}{name}")
        self._quiet = True
        self.mode.value = "Paint"
        self._quiet = False
        self._phase_buttons()
        self._set_brush()

    @property
    def figure(self) -> MapFigure | None:
        """The map; None before there is one."""
        return self.look.figure

    def painted(self, points: list[tuple[float, float]]) -> None:
        """Take a stroke (y, x) of the mouse."""
        self.page.attempt(lambda: self._paint(points, _MODES[self.mode.value]))

    def undo(self) -> None:
        """Take back the last stroke."""
        if not self.session.undo():
            raise InputError("there is no stroke to undo")
        self._changed_traces()

    def redo(self) -> None:
        """Do again what was taken back."""
        if not self.session.redo():
            raise InputError("there is nothing to do again")
        self._changed_traces()

    def clear(self) -> None:
        """Remove all traces."""
        self.session.clear_traces()
        self._changed_traces()

    def add_stroke(self) -> None:
        """Paint a stroke that is given by numbers."""
        text = self.points.value_input or self.points.value
        self._paint(numbers(text, "the stroke"))

    def train(self) -> None:
        """Train the classifier on the traces and cut the regions, in a job."""
        workflow = self.session.workflow

        def show(_result: Any) -> None:
            self._overlaid = False
            self._cut(None)
            self.refresh()
            scores = workflow.get("segment")
            if scores is not None:
                said = training_sentence(scores)
                against = bool(self.findings.contradictions())
                self.jobs.tell(said + (_AGAINST if against else ""), failed=against)

        self.jobs.start("Train", lambda progress: workflow.run("regions", progress=progress), show)

    def suggest(self) -> None:
        """Let halves of the counts judge the smoothness, in a job."""
        workflow = self.session.workflow

        def show(choice: SmoothnessChoice) -> None:
            self.smoothness.value = min(choice.smoothness, self.smoothness.end)
            self._draw_choice(choice)
            said = choice.message[:1].upper() + choice.message[1:]
            self.jobs.tell(said + (_NOT_SMOOTH if choice.smoothness == 0 else "."))

        self.jobs.start(
            "Suggest smoothness",
            lambda progress: workflow.choose_smoothness(progress=progress),
            show,
        )

    def _draw_choice(self, choice: SmoothnessChoice) -> None:
        self._choice = choice
        size = (self.room.controls - 36, 170)
        self.curve.object = likelihood_figure(choice, size=size, dark=self.room.dark)

    def key(self, key: str) -> None:
        """Choose a phase, what the mouse does and the size of the brush; undo, redo; train."""
        grains = list(self.session.colours())
        if key.isdigit() and 0 < int(key) <= len(grains):
            self.choose_phase(grains[int(key) - 1])
        elif key in _MODE_KEYS:
            self.mode.value = _MODE_KEYS[key]
        elif key in ("[", "]"):
            step = 1 if key == "]" else -1
            self.brush.value = min(self.brush.end, max(self.brush.start, self.brush.value + step))
        elif key == "Control+z":
            self.undo()
        elif key in ("Control+y", "Control+Z"):
            self.redo()
        elif key == "t":
            self.train()

    def refresh(self) -> None:
        """Show map, traces and regions as they are."""
        matched = self.matched()
        if matched is not self._of or matched is None:
            self._of = None
        if not self.session.is_open:
            self.no_map()
            return
        if matched is None:
            self.show_map(of=None)
            self.look.drag(MOVE)
            self._draw_traces()
            if self.figure is not None:
                self.figure.overlay(None)
            self.show(self.text(_DECOMPOSE_FIRST))
            return
        if matched is not self._of:
            self._take(matched)
        self._show_settings()
        # Drawn before it is shown: a title that comes later would shift the map.
        self._draw()
        self.show(self.counts, fields=self._toolbar.fields)

    def reach(self) -> float:
        """Return the width of the brush."""
        return float(self.brush.value)

    def first_images(self) -> list[MapImage]:
        """Return nothing: phases and regions are overlays here."""
        return []

    def _pictures_of(self) -> Any:
        return None

    def _take(self, matched: Matched) -> None:
        """Take components that are new."""
        self._of, self._overlaid = matched, False
        self.curve.object = self._choice = None
        names = matched.factors.names
        grain = next((g for g in matched.grains), matched.matrix)
        self._quiet = True
        self.of_phase.options = list(names)
        self.of_phase.value = grain
        if self.session.workflow.get("regions") is not None:  # such as after a reload
            self._lay_over()
        self._quiet = False
        self.phase = self.phase if self.phase in names else grain
        before = self.figure
        self.show_map(of=None, chosen=f"{COMPONENT}{self.phase}")
        if self.figure is not before and self.figure is not None and self.figure.mouse is not None:
            self.figure.mouse.draws(self.painted)
        self._phase_buttons()
        self._set_brush()

    def _show_settings(self) -> None:
        """Show smoothness and margin as the recipe has them."""
        segment = self.session.recipe.segment
        smoothness = 1.0 if segment.smoothness == "auto" else float(segment.smoothness)
        self._quiet = True
        self.smoothness.end = max(10.0, smoothness)
        self.smoothness.value = smoothness
        self.margin_slider.end = max(8, segment.margin)
        self.margin_slider.value = segment.margin
        self._quiet = False

    def resized(self) -> None:
        """Draw the map in the new room."""
        super().resized()
        if self._choice is not None:
            self._draw_choice(self._choice)
        if self._of is not None:
            self._set_brush()

    def _paint(self, points: list[tuple[float, float]], mode: str = PAINT) -> None:
        if self.jobs.busy:
            raise InputError("wait until the work in progress is done, then paint on")
        if mode == ERASE:
            self.session.erase(points, float(self.brush.value))
        elif mode == FILL:
            self.session.fill(self.phase, points)
        else:
            self.session.paint(self.phase, points, float(self.brush.value))
        self._changed_traces()

    def _changed_traces(self) -> None:
        self._draw_traces()
        pixels = self.session.traces.pixels()
        said = ", ".join(f"{name} {n}" for name, n in pixels.items()) or "none"
        self.jobs.tell(f"Painted pixels: {said}.")
        if self.live.value and len(pixels) > 1 and not self.session.not_painted():
            self._cut_anew()
        else:
            self._draw()

    def _cut_anew(self) -> None:
        """Cut regions, and train before if need be; of calls in quick succession the last counts.

        What is said beside the map takes as long as the cut, and must not keep it waiting.
        """
        session, findings = self.session, self.findings
        workflow = session.workflow

        def told(_progress: Any) -> str:
            findings.words()  # ready for the cursor, which comes before the next stroke
            return tables_html(self.overlay.value, session, findings)

        self.jobs.latest(
            lambda progress: workflow.run("regions", progress=progress),
            self._cut,
            (told, lambda said: self.counts.param.update(object=said)),
        )

    def _cut(self, _result: Any) -> None:
        """Show regions that are new; the first time over the map."""
        self._lay_over()
        self._draw_overlay()
        self.session.keep()

    def _lay_over(self) -> None:
        if not self._overlaid and self.overlay.value == "None":
            self.overlay.value = "Regions"
        self._overlaid = True

    def _phase_buttons(self) -> None:
        self.phases.show(self.session.colours(), self.phase)

    def _set_brush(self) -> None:
        if not self._quiet:
            colour = self.session.colours().get(self.phase, "#000000")
            mode = _MODES[self.mode.value]
            self.hint.object = f"<p class='hint'>{_HINTS[mode]}</p>"
            self.look.drag(
                mode,
                width=float(self.brush.value),
                colour=_ERASER if mode == ERASE else colour,
            )

    def _smooth(self) -> None:
        if self._quiet:
            return
        self.session.set_smoothness(float(self.smoothness.value), int(self.margin_slider.value))
        workflow = self.session.workflow
        if self.jobs.busy or workflow.get("segment") is None:
            return
        self._cut_anew()

    def _draw(self) -> None:
        if self._quiet or self.figure is None or not self.session.is_open:
            return
        self._draw_traces()
        self._draw_overlay()
        self.counts.object = tables_html(self.overlay.value, self.session, self.findings)

    def _draw_traces(self) -> None:
        if self.figure is None:
            return
        colours = self.session.colours()
        masks = self.session.traces.masks() if self.traces.value else {}
        self.figure.traces(traces_overlay(masks, colours))

    def _words(self, y: int, x: int) -> str:
        """Say what the overlay shows at a pixel."""
        kind, of = str(self.overlay.value), str(self.of_phase.value)
        return overlay_words(kind, of, self.session, self.findings, (y, x))

    def _draw_overlay(self) -> None:
        if self.figure is None or self._quiet:
            return
        kind = self.overlay.value
        self.of_phase.visible = kind in OF_PHASE
        over = overlay_pixels(kind, self.of_phase.value, self.session, self.findings)
        self.figure.overlay(over, float(self.opacity.value))
