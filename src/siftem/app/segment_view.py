"""Segment: paint traces, train, move the smoothness, see the regions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import panel as pn

from siftem.app.live_spectrum import LiveSpectrum
from siftem.app.map_figure import GREY_PALETTE, MapFigure
from siftem.app.map_findings import MapFindings
from siftem.app.map_images import MapImage, line_marks, map_images, net_window_map
from siftem.app.map_toolbar import OF_PHASE, MapToolbar
from siftem.app.overlays import traces_overlay
from siftem.app.segment_overlays import overlay_pixels, tables_html, training_sentence
from siftem.app.spectrum_figure import LineMark
from siftem.app.step_view import View, numbers
from siftem.app.style import COLUMN_CSS, CONTROL_CSS, CONTROLS, RESIZED, phase_button_css
from siftem.errors import InputError
from siftem.segment.smoothness import SmoothnessChoice

if TYPE_CHECKING:
    from siftem.app.page import Page

_FIELD = {"width": CONTROLS - 30, "stylesheets": [CONTROL_CSS], "margin": (2, 8)}
_INNER = {**_FIELD, "width": CONTROLS - 54}
_AGAINST = " But traces contradict their components: see beside the map."
_ERASER = "#ffffff"
#: Width of the column with the pixel counts.
_SIDE = 330


class SegmentView(View):
    """The map to paint on."""

    name = "Segment"

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self._of: object = None
        self._images: dict[str, MapImage] = {}
        self._quiet = False
        self.figure: MapFigure | None = None
        self.findings = MapFindings(self.session)
        self.phase = ""
        self.phases = pn.GridBox(ncols=2)
        self.mode = pn.widgets.RadioButtonGroup(
            name="Mouse", options=["Paint", "Erase"], value="Paint", **_FIELD
        )
        self.brush = pn.widgets.IntSlider(name="Brush, pixels", start=1, end=15, value=3, **_FIELD)
        self.points = pn.widgets.TextInput(
            name="Stroke by numbers: y, x; y, x", placeholder="10, 12; 14, 30", **_INNER
        )
        self.smoothness = pn.widgets.FloatSlider(
            name="Smoothness", start=0.0, end=10.0, step=0.1, value=1.0, **_FIELD
        )
        self.margin_slider = pn.widgets.IntSlider(
            name="Margin at borders, pixels", start=0, end=8, value=1, **_FIELD
        )
        tools = self._toolbar = MapToolbar()
        self.background, self.overlay, self.of_phase = (
            tools.background,
            tools.overlay,
            tools.of_phase,
        )
        self.opacity, self.contrast, self.traces = tools.opacity, tools.contrast, tools.traces
        self.counts = self.text("", width=300, sizing_mode=RESIZED)
        self.live = LiveSpectrum(self._window)
        self._tables = pn.Column(
            self.counts,
            scroll="y",
            stylesheets=[COLUMN_CSS],
            sizing_mode=RESIZED,
            width=300,
            height=300,
        )
        self.controls[:] = [
            self.text("<h2>1 Paint some pixels of each phase</h2>"),
            self.phases,
            self.mode,
            self.brush,
            pn.Row(
                self.button("Undo", self.undo, width=CONTROLS // 2 - 30),
                self.button("Clear all", self.clear, width=CONTROLS // 2 - 30),
            ),
            self.text("<h2>2 Train</h2>"),
            self.button("Train", self.train, kind="success", width=CONTROLS - 40),
            self.text("<h2>3 Smooth</h2>"),
            self.smoothness,
            self.margin_slider,
            self.button("Suggest smoothness", self.suggest, width=CONTROLS - 40),
            pn.Card(
                self.points,
                self.button("Add the stroke", self.add_stroke),
                self.text(
                    "<p class='hint'>Keys: 1 to 9 choose a phase, P paint, E erase, Ctrl+Z undo, "
                    "T train. A pixel painted as two grains holds both.</p>",
                    width=CONTROLS - 50,
                ),
                title="From the keyboard",
                collapsed=True,
                width=CONTROLS - 26,
                margin=(4, 8),
            ),
        ]
        self._toolbar.watch(lambda: page.attempt(self._draw))
        for widget in (self.mode, self.brush):
            widget.param.watch(lambda _e: page.attempt(self._set_brush), "value")
        for slider in (self.smoothness, self.margin_slider):
            slider.param.watch(lambda _e: page.attempt(self._smooth), "value")

    def choose_phase(self, name: str) -> None:
        """Paint this phase from now on."""
        self.phase = name
        self._quiet = True
        self.mode.value = "Paint"
        self._quiet = False
        self._phase_buttons()
        self._set_brush()

    def painted(self, points: list[tuple[float, float]]) -> None:
        """Take a stroke (y, x) of the mouse."""
        self.page.attempt(lambda: self._paint(points))

    def undo(self) -> None:
        """Take back the last stroke."""
        if not self.session.undo():
            raise InputError("there is no stroke to undo")
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
            if self.overlay.value == "None":
                self.overlay.value = "Regions"
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
            self.jobs.tell(f"{choice.message[:1].upper()}{choice.message[1:]}.")

        self.jobs.start(
            "Suggest smoothness",
            lambda progress: workflow.choose_smoothness(progress=progress),
            show,
        )

    def key(self, key: str) -> None:
        """Choose a phase, the brush or the eraser; undo; train."""
        grains = list(self.session.colours())
        if key.isdigit() and 0 < int(key) <= len(grains):
            self.choose_phase(grains[int(key) - 1])
        elif key in ("b", "p"):
            self.mode.value = "Paint"
        elif key == "e":
            self.mode.value = "Erase"
        elif key == "Control+z":
            self.undo()
        elif key == "t":
            self.train()

    def refresh(self) -> None:
        """Show map, traces and regions as they are."""
        matched = self.session.workflow.get("match") if self.session.is_open else None
        if matched is None:
            self._of = None
            self.content[:] = [
                self.text(
                    "<p>Decompose the map first: its components become the classes to paint.</p>",
                    margin=(30, 20),
                )
            ]
            return
        si = self.session.spectrum_image
        if matched is not self._of:
            self._of = matched
            self._images = map_images(si, matched.factors, self.session.elements())
            segment = self.session.recipe.segment
            self._quiet = True
            names = list(self._images)
            self.background.options = names
            grain = next((g for g in matched.grains), matched.matrix)
            self.background.value = f"Component {grain}"
            self.of_phase.options = list(matched.factors.names)
            self.of_phase.value = grain
            smoothness = 1.0 if segment.smoothness == "auto" else float(segment.smoothness)
            self.smoothness.end = max(10.0, smoothness)
            self.smoothness.value = smoothness
            self.margin_slider.end = max(8, segment.margin)
            self.margin_slider.value = segment.margin
            self.phase = self.phase if self.phase in matched.factors.names else grain
            self._make_figure()
            self._quiet = False
            self._phase_buttons()
            self._set_brush()
        # Drawn before it is shown: a title that comes later would shift the map.
        self._draw()
        assert self.figure is not None
        self.content[:] = [
            self._toolbar.row,
            pn.Row(
                pn.pane.Bokeh(self.figure.figure, margin=(0, 4)),
                pn.Column(self._tables, self.live.pane),
            ),
        ]

    def _make_figure(self) -> None:
        si = self.session.spectrum_image
        self.figure = MapFigure(
            si.shape,
            si.pixel_size,
            box=self._box(),
            palette=GREY_PALETTE,
            painted=self.painted,
            dark=self.room.dark,
        )
        self.figure.follow(self._moved)
        self._background = ""
        self._fit_side()

    def resized(self) -> None:
        """Draw the map in the new room."""
        super().resized()
        if self.figure is not None and self.session.is_open and self._of is not None:
            self.figure.resize(self._box(), self.room.dark)
            self._set_brush()
            self._fit_side()

    def _fit_side(self) -> None:
        """Give tables and spectrum the room beside the map."""
        assert self.figure is not None
        width = self.room.content - self.figure.figure.width - 24
        below = max(190, int(0.4 * (self.room.height - 66)))
        self._tables.param.update(width=width, height=self.room.height - 66 - below)
        self.counts.width = width - 24
        si = self.session.spectrum_image
        marks = [LineMark(*mark) for mark in line_marks(si, self.session.elements())]
        self.live.open(si, marks, size=(width, below), dark=self.room.dark)

    def _moved(self, y: int, x: int) -> None:
        """Show the spectrum of the pixels under the brush, and what the map holds there."""
        image = self._images.get(self._background)
        if image is None or self.figure is None or not self.session.is_open:
            return
        about = f"; {image.name}: {self.figure.image[y, x]:.4g}"
        self.live.show(y, x, float(self.brush.value), about)

    def _window(self, low: float, high: float) -> None:
        """Show the map of an energy window that was dragged in the spectrum."""
        self.page.attempt(lambda: self._show_window(low, high))

    def _show_window(self, low: float, high: float) -> None:
        si = self.session.spectrum_image
        net = net_window_map(si, low, high)
        name = f"Window {low:.4g} to {high:.4g} {si.axis.unit}"
        self._images[name] = MapImage(name, "net counts", lambda: net)
        self.background.options = list(self._images)
        self.background.value = name

    def _box(self) -> tuple[int, int]:
        return self.room.content - _SIDE - 50, self.room.height - 66

    def _paint(self, points: list[tuple[float, float]]) -> None:
        if self.jobs.busy:
            raise InputError("wait until the work in progress is done, then paint on")
        if self.mode.value == "Erase":
            self.session.erase(points, float(self.brush.value))
        else:
            self.session.paint(self.phase, points, float(self.brush.value))
        self._changed_traces()

    def _changed_traces(self) -> None:
        self._draw()
        pixels = self.session.traces.pixels()
        said = ", ".join(f"{name} {n}" for name, n in pixels.items()) or "none"
        self.jobs.tell(f"Painted pixels: {said}.")

    def _phase_buttons(self) -> None:
        made = []
        for number, (name, colour) in enumerate(self.session.colours().items(), start=1):
            made.append(
                self.button(
                    f"{number}  {name}",
                    lambda chosen=name: self.choose_phase(chosen),
                    width=CONTROLS // 2 - 26,
                    margin=(2, 4),
                    stylesheets=[phase_button_css(colour, name == self.phase)],
                )
            )
        self.phases[:] = made

    def _set_brush(self) -> None:
        if self.figure is not None and not self._quiet:
            erasing = self.mode.value == "Erase"
            colour = _ERASER if erasing else self.session.colours().get(self.phase, "#000000")
            self.figure.brush(colour, float(self.brush.value))

    def _put_smoothness(self) -> None:
        self.session.set_smoothness(float(self.smoothness.value), int(self.margin_slider.value))

    def _smooth(self) -> None:
        if self._quiet:
            return
        self._put_smoothness()
        workflow = self.session.workflow
        if self.jobs.busy or workflow.get("segment") is None:
            return

        def show(_result: Any) -> None:
            self._draw()
            self.session.keep()

        self.jobs.latest(lambda progress: workflow.run("regions", progress=progress), show)

    def _draw(self) -> None:
        if self._quiet or self.figure is None or not self.session.is_open:
            return
        colours = self.session.colours()
        if self._background != self.background.value:
            self._background = self.background.value
            image = self._images[self._background]
            self.figure.show(image.pixels(), title=image.name, unit=image.unit)
        self.figure.contrast(*(part / 100 for part in self.contrast.value))
        masks = self.session.traces.masks() if self.traces.value else {}
        shape = self.session.spectrum_image.shape
        self.figure.traces(traces_overlay(masks, colours, shape) if masks else None)
        kind = self.overlay.value
        self.of_phase.visible = kind in OF_PHASE
        over = overlay_pixels(kind, self.of_phase.value, self.session, self.findings)
        self.figure.overlay(over, float(self.opacity.value))
        self.counts.object = tables_html(kind, self.session, self.findings)
