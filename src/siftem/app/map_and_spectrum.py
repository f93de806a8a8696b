"""One large map beside one large spectrum: the cursor on the one moves the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import panel as pn

from siftem.app.contrast import Histogram, LineProfile
from siftem.app.live_spectrum import LiveSpectrum
from siftem.app.map_figure import PALETTES, MapFigure, MapRanges
from siftem.app.map_images import (
    TOTAL,
    MapImage,
    clicked_window,
    limits_of,
    line_marks,
    window_image,
)
from siftem.app.map_mouse import MOVE, PROFILE, Point
from siftem.app.spectrum_figure import LineMark
from siftem.app.style import CONTROL_CSS, Room
from siftem.spectrum_image import SpectrumImage

#: Height of the histogram under the spectrum, and of the fields above the map, screen pixels.
STRIP, TOOLBAR = 92, 62
#: The least that the column beside the map takes.
_SIDE = 380
_LOOK = {"stylesheets": [CONTROL_CSS], "margin": (2, 5)}


class MapAndSpectrum:
    """A map, the spectrum of what lies under the cursor, and how both are looked at.

    Parameters
    ----------
    attempt : callable
        Does something quick; its errors become a sentence on the page.
    palette : str
        To begin with.
    reach : callable
        Gives the width, in pixels, of what is summed under the cursor and across a profile.
    """

    def __init__(
        self,
        attempt: Callable[[Callable[[], Any]], None],
        *,
        palette: str,
        reach: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self._attempt, self._reach = attempt, reach
        self.images: dict[str, MapImage] = {}
        self.figure: MapFigure | None = None
        #: What dragging does as long as no profile is drawn.
        self._mode: dict[str, Any] = {"mode": MOVE}
        self._shown = ""
        self._limits: dict[str, tuple[float, float]] = {}
        self._si: SpectrumImage | None = None
        self._elements: tuple[str, ...] = ()
        self._room, self._extra = Room(), 0
        self._quiet = False
        self.name = pn.widgets.Select(name="Map", options=[], width=142, **_LOOK)
        self.palette = pn.widgets.Select(
            name="Colours", options=list(PALETTES), value=palette, width=92, **_LOOK
        )
        self.low = pn.widgets.FloatInput(name="From", width=92, **_LOOK)
        self.high = pn.widgets.FloatInput(name="To", width=92, **_LOOK)
        self.automatic = pn.widgets.Button(
            name="Auto", width=52, stylesheets=[CONTROL_CSS], margin=(20, 5, 0, 0)
        )
        tick = {"stylesheets": [CONTROL_CSS], "margin": (26, 6, 0, 4)}
        self.log = pn.widgets.Checkbox(name="Log", width=46, **tick)
        self.profile = pn.widgets.Checkbox(name="Profile", width=62, **tick)
        self.log_counts = pn.widgets.Checkbox(
            name="Logarithmic counts", stylesheets=[CONTROL_CSS], margin=(2, 8)
        )
        self.fields = [
            self.name, self.palette, self.log, self.low, self.high, self.automatic, self.profile,
        ]  # fmt: skip
        self.spectrum = LiveSpectrum(self._dragged, self._clicked)
        self.histogram, self.line = Histogram(), LineProfile()
        self.map_pane = pn.pane.Bokeh(None, margin=(0, 4))
        self._strip = pn.Column(self.histogram.pane, margin=0)
        self.side = pn.Column(self.log_counts, self.spectrum.pane, self._strip, margin=0)
        self.row = pn.Row(self.map_pane, self.side)
        for widget in (self.palette, self.log):
            widget.param.watch(lambda _e: attempt(self._colour), "value")
        for widget in (self.low, self.high):
            widget.param.watch(lambda _e: attempt(self._typed), "value")
        self.automatic.on_click(lambda _e: attempt(self._auto))
        self.profile.param.watch(lambda _e: attempt(self._use), "value")
        self.log_counts.param.watch(lambda _e: attempt(self._fit), "value")
        self.name.param.watch(lambda _e: attempt(self.draw), "value")

    def open(
        self,
        si: SpectrumImage,
        images: dict[str, MapImage],
        elements: tuple[str, ...],
        *,
        room: Room,
        extra: int = 0,
        chosen: str | None = None,
        ranges: MapRanges | None = None,
    ) -> None:
        """Take a map and its images; the height left for something else beside it is ``extra``.

        Maps with the same ``ranges`` are zoomed together.
        """
        another = si is not self._si
        self._si, self.images, self._elements = si, images, elements
        self._room, self._extra = room, extra
        if another or self.figure is None:
            self._limits = {}
            self.figure = MapFigure(
                si.shape,
                si.pixel_size,
                box=self._box(),
                palette=self.palette.value,
                tools=True,
                dark=room.dark,
                ranges=ranges,
            )
            mouse = self.figure.mouse
            assert mouse is not None
            mouse.moves(self._moved)
            mouse.measures(self._measured)
            for end in ("start", "end"):
                self.figure.limits.on_change(end, lambda _a, _o, _n: self._limited())
        self._quiet = True
        wanted = chosen or self.name.value
        self.name.options = list(images)
        self.name.value = wanted if wanted in images else next(iter(images))
        self._quiet = False
        self._shown = ""
        self._fit()
        self._colour()
        self._use()
        self.draw()
        self.map_pane.object = self.figure.figure

    def resized(self, room: Room, extra: int) -> None:
        """Draw all in another room; see `open`."""
        self._room, self._extra = room, extra
        if self.figure is not None:
            self.figure.resize(self._box(), room.dark)
            self._fit()
            self._use()

    def choose(self, name: str) -> None:
        """Show an image by its name."""
        self.name.value = name

    def drag(self, mode: str, *, width: float = 1.0, colour: str = "#000000") -> None:
        """Say what dragging does as long as no profile is drawn."""
        self._mode = {"mode": mode, "width": width, "colour": colour}
        self._use()

    def draw(self) -> None:
        """Show the image that is chosen."""
        if self._quiet or self.figure is None or self._shown == self.name.value:
            return
        self._shown = self.name.value
        image = self.images[self._shown]
        pixels = np.asarray(image.pixels())
        self._quiet = True
        try:
            limits = self._limits.get(self._shown) or limits_of(image)
            self.figure.show(pixels, title=image.name, unit=image.unit, limits=limits)
            self._tell_limits()
            self.histogram.show(pixels, self.figure.limits.start)
        finally:
            self._quiet = False

    @property
    def room_beside(self) -> int:
        """Width beside the map."""
        assert self.figure is not None
        return max(_SIDE, self._room.content - int(self.figure.figure.width) - 24)

    def _box(self) -> tuple[int, int]:
        return self._room.content - _SIDE - 66, self._room.height - TOOLBAR

    def _fit(self) -> None:
        if self.figure is None or self._si is None:
            return
        width, height = self.room_beside, self._room.height - TOOLBAR
        marks = [LineMark(*mark) for mark in line_marks(self._si, self._elements)]
        tall = max(150, height - STRIP - self._extra - 26)
        dark = self._room.dark
        self.spectrum.open(
            self._si, marks, size=(width, tall), dark=dark, log=bool(self.log_counts.value)
        )
        self.histogram.open(self.figure, size=(width, STRIP), dark=dark)
        self.line.open(size=(width, STRIP), dark=dark)

    def _colour(self) -> None:
        if self.figure is not None:
            self.figure.colours(self.palette.value, bool(self.log.value))

    def _use(self) -> None:
        if self.figure is None or self.figure.mouse is None:
            return
        measures = bool(self.profile.value)
        self.figure.mouse.use(**({**self._mode, "mode": PROFILE} if measures else self._mode))
        strip = self.line.pane if measures else self.histogram.pane
        if self._strip[0] is not strip:  # drawn anew, it would keep a stroke waiting
            self._strip[:] = [strip]

    def _limited(self) -> None:
        """Take limits that were dragged in the histogram."""
        if self.figure is None or self._quiet:
            return
        self._limits[self._shown] = (self.figure.limits.start, self.figure.limits.end)
        self._quiet = True
        self._tell_limits()
        self._quiet = False

    def _tell_limits(self) -> None:
        assert self.figure is not None
        self.low.value = float(f"{self.figure.limits.start:.4g}")
        self.high.value = float(f"{self.figure.limits.end:.4g}")

    def _typed(self) -> None:
        if self._quiet or self.figure is None or None in (self.low.value, self.high.value):
            return
        self.figure.contrast(self.low.value, self.high.value)

    def _auto(self) -> None:
        if self.figure is not None:
            self._limits.pop(self._shown, None)
            self._quiet = True
            self.figure.contrast(*limits_of(self.images[self._shown]))
            self._tell_limits()
            self._quiet = False

    def _moved(self, y: int, x: int) -> None:
        image = self.images.get(self._shown)
        if image is not None and self.figure is not None:
            known = image.name == TOTAL and self._reach() < 2  # is in the title in any case
            name = image.name.removeprefix("Component ")
            about = "" if known else f"{name} {self.figure.image[y, x]:.4g}"
            self.spectrum.show(y, x, float(self._reach()), about)

    def _measured(self, first: Point, last: Point) -> None:
        if self.figure is not None and self._si is not None:
            width = round(self._reach())
            self.line.show(self.figure.image, first, last, width, self._si.pixel_size)

    def _dragged(self, low: float, high: float) -> None:
        unit = "" if self._si is None else self._si.axis.unit
        self._attempt(lambda: self._show_window(f"{low:.4g}–{high:.4g} {unit}", (low, high)))

    def _clicked(self, energy: float) -> None:
        si = self._si
        if si is not None:
            self._attempt(lambda: self._show_window(*clicked_window(si, self._elements, energy)))

    def _show_window(self, name: str, window: tuple[float, float]) -> None:
        assert self._si is not None
        # All in one message: the browser colours a large map anew for each that changes something.
        with pn.io.hold():
            self.spectrum.mark(*window)
            if name not in self.images:
                self.images[name] = window_image(self._si, name, window)
                self.name.options = list(self.images)
            self.choose(name)
