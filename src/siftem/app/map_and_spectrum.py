"""One large map beside one large spectrum, in every step: the cursor on the one moves the other.

Every step has the same frame: the map stands at the left, its contrast under it, the spectrum
beside it, and what else the step has to tell under the spectrum; under a wide map, which leaves
room there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import panel as pn

from siftem.app.contrast import Histogram, LineProfile
from siftem.app.live_spectrum import LiveSpectrum
from siftem.app.map_figure import (
    FIGURE_TOOLS,
    PALETTES,
    MapFigure,
    MapRanges,
    figure_size,
    short_number,
)
from siftem.app.map_images import (
    COMPONENT,
    TOTAL,
    UNDER_COLOURS,
    MapImage,
    clicked_window,
    limits_of,
    line_marks,
    window_image,
)
from siftem.app.map_mouse import MOVE, PROFILE, Point
from siftem.app.spectrum_figure import Curve, LineMark
from siftem.app.style import CONTROL_CSS, RESIZED, SCROLLED_CSS, Room
from siftem.eels.edges import Edge
from siftem.figures.page import image_aspect
from siftem.spectrum_image import SpectrumImage

#: Height of the histogram under the map, and of the fields above it, screen pixels.
STRIP, TOOLBAR = 92, 56
#: The part of the width that is the spectrum's at least, and what a contrast needs.
_BESIDE, _NARROWEST = 0.45, 440
#: Between map and spectrum, screen pixels.
GAP = 12
#: A spectrum that is lower shows nothing.
_LOWEST = 170


@dataclass(frozen=True)
class Arrangement:
    """Sizes (width, height) on the screen.

    Parameters
    ----------
    box : tuple of int
        The largest map with its colour bar, without its tools.
    strip, spectrum, below : tuple of int
    under_map : bool
        Whether what else there is stands under the map.
    """

    box: tuple[int, int]
    strip: tuple[int, int]
    spectrum: tuple[int, int]
    below: tuple[int, int]
    under_map: bool


def arrange(room: Room, aspect: float, *, part: float, most: int) -> Arrangement:
    """Give the map what room it can use, and the spectrum the rest.

    Parameters
    ----------
    room : Room
    aspect : float
        Height of the map over its width.
    part : float
        Part of the height that tables take of the spectrum.
    most : int
        They need no more than this, screen pixels; with 0 there are none.
    """
    wide, tall = room.content, room.height - TOOLBAR
    widest = wide - GAP - int(_BESIDE * wide)
    box = (widest - FIGURE_TOOLS, tall - STRIP)
    width, height = figure_size(aspect, box)
    column = max(width, _NARROWEST)
    side, left = wide - column - GAP, tall - STRIP - height
    wanted = min(int(part * tall), most)
    if wanted and left >= wanted:
        return Arrangement(box, (column, STRIP), (side, tall), (column, left), True)
    spectrum = max(_LOWEST, tall - wanted)
    return Arrangement(box, (column, STRIP), (side, spectrum), (side, tall - spectrum), False)


_LOOK = {"stylesheets": [CONTROL_CSS], "margin": (2, 5)}
#: Width of the fields beside the histogram, screen pixels.
_LIMITS = 268


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
    part : float
        Part of the height beside the map that what stands below the spectrum takes.
    most : int
        It needs no more than this, screen pixels.
    log : bool
        Logarithmic counts to begin with.
    """

    def __init__(
        self,
        attempt: Callable[[Callable[[], Any]], None],
        *,
        palette: str,
        reach: Callable[[], float] = lambda: 1.0,
        part: float = 0.42,
        most: int = 400,
        log: bool = False,
    ) -> None:
        self._attempt, self._reach = attempt, reach
        self.part, self.most = part, most
        self.images: dict[str, MapImage] = {}
        self.figure: MapFigure | None = None
        #: Says what lies over the map at a pixel (y, x), where there is something to say.
        self.words: Callable[[int, int], str] = lambda _y, _x: ""
        #: What dragging does as long as no profile is drawn.
        self._mode: dict[str, Any] = {"mode": MOVE}
        self._shown = ""
        self._limits: dict[str, tuple[float, float]] = {}
        self._si: SpectrumImage | None = None
        self._elements: tuple[str, ...] = ()
        self._edges: tuple[Edge, ...] = ()
        self._curves: Sequence[Curve] = ()
        self._room = Room()
        self._at = arrange(self._room, 1.0, part=part, most=most)
        self._quiet = self._over = False
        self.name = pn.widgets.Select(name="Map", options=[], width=130, **_LOOK)
        self.palette = pn.widgets.Select(
            name="Colours", options=list(PALETTES), value=palette, width=86, **_LOOK
        )
        self.low = pn.widgets.FloatInput(name="From", width=96, **_LOOK)
        self.high = pn.widgets.FloatInput(name="To", width=96, **_LOOK)
        self.automatic = pn.widgets.Button(
            name="Auto", width=46, stylesheets=[CONTROL_CSS], margin=(20, 0, 0, 0)
        )
        tick = {"stylesheets": [CONTROL_CSS], "margin": (26, 5, 0, 3)}
        self.log = pn.widgets.Checkbox(name="Log", width=44, **tick)
        self.profile = pn.widgets.Checkbox(name="Profile", width=58, **tick)
        self.log_counts = pn.widgets.Checkbox(name="Log counts", value=log, width=88, **tick)
        self.fields = [self.name, self.palette, self.log, self.profile, self.log_counts]
        self.spectrum = LiveSpectrum(self._dragged, self._clicked)
        # In a column of its own: drawn anew, it would take the cursor from fields below it.
        self._drawn = pn.Column(self.spectrum.pane, margin=0)
        self.histogram, self.line = Histogram(), LineProfile()
        self.map_pane = pn.pane.Bokeh(None, margin=0)
        self._strip = pn.Column(self.histogram.pane, margin=0)
        limits = pn.Row(self.low, self.high, self.automatic, margin=(12, 0))
        #: What stands in place of the map, as a rule the map; under it its contrast.
        self.front = pn.Column(self.map_pane, pn.Row(self._strip, limits, margin=0), margin=0)
        #: What else the step has to tell.
        self.below = pn.Column(
            scroll="y",
            stylesheets=[SCROLLED_CSS],
            sizing_mode=RESIZED,
            width=400,
            height=200,
            margin=0,
        )
        self._left, self.side = pn.Column(margin=(0, GAP, 0, 0)), pn.Column(margin=0)
        self._bar = pn.Row(*self.fields)
        self.panel = pn.Column(self._bar, pn.Row(self._left, self.side, margin=0), margin=0)
        for widget in (self.palette, self.log):
            widget.param.watch(lambda _e: attempt(self._colour), "value")
        for widget in (self.low, self.high):
            widget.param.watch(lambda _e: attempt(self._typed), "value")
        self.automatic.on_click(lambda _e: attempt(self._auto))
        self.profile.param.watch(lambda _e: attempt(self._use), "value")
        self.log_counts.param.watch(lambda _e: attempt(self._draw_spectrum), "value")
        self.name.param.watch(lambda _e: attempt(self.draw), "value")

    def open(
        self,
        si: SpectrumImage,
        images: dict[str, MapImage],
        elements: tuple[str, ...],
        *,
        room: Room,
        chosen: str | None = None,
        ranges: MapRanges | None = None,
        curves: Sequence[Curve] = (),
        edges: tuple[Edge, ...] = (),
    ) -> None:
        """Take a map, its images, and the spectra that stand beside those of its pixels.

        Maps with the same ``ranges`` are zoomed together.
        """
        another = si is not self._si
        self._si, self.images, self._elements = si, images, elements
        self._room, self._curves, self._edges = room, curves, edges
        if another or self.figure is None:
            self._limits = {}
            self.figure = MapFigure(
                si.shape,
                si.pixel_size,
                box=(400, 400),
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
        self._offer()
        self.name.value = wanted if wanted in images else next(iter(images))
        self._quiet = False
        self._shown = ""
        self._fit()
        self._colour()
        self._use()
        self.draw()
        self.map_pane.object = self.figure.figure

    def resized(self, room: Room) -> None:
        """Draw all in another room."""
        self._room = room
        if self.figure is not None:
            self._fit()
            self._use()

    def close(self) -> None:
        """Let go of the map: the browser's events keep what they are told to."""
        vars(self.spectrum).clear()
        vars(self).clear()

    def beside(self, curves: Sequence[Curve]) -> None:
        """Show other spectra."""
        self._curves = curves
        self._draw_spectrum()

    def in_front(self, other: Any = None) -> None:
        """Show something else in place of the map, with nothing below; by default the map."""
        wanted = self.front if other is None else other
        if self._left[0] is not wanted:
            self._left[0] = wanted
            self._fit()

    @property
    def room_in_front(self) -> tuple[int, int]:
        """Width and height of what stands in place of the map."""
        tall = self._room.height - TOOLBAR
        return self._at.strip[0], tall - self._at.below[1] if self._at.under_map else tall

    @property
    def room_below(self) -> tuple[int, int]:
        """Width and height of what stands below the spectrum, or below a wide map."""
        return self._at.below

    def show_fields(self, fields: Sequence[Any]) -> None:
        """Show further fields behind those of the map."""
        wanted = [*self.fields, *fields]
        if list(self._bar) != wanted:
            self._bar[:] = wanted

    def _offer(self) -> None:
        """List the maps; of components the names alone, which the list has room for."""
        short = {name.removeprefix(COMPONENT): name for name in self.images}
        one_each = len(short) == len(self.images)
        self.name.options = short if one_each else {name: name for name in self.images}

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
            # Colours of phases lie over a map that says where they are, not how much there is.
            self.figure.show_bar(image.over is None)
            if self._over or image.over is not None:
                self.figure.overlay(image.over() if image.over is not None else None)
            self._over = image.over is not None
            self.figure.show(pixels, title=image.name, unit=image.unit, limits=limits)
            self._tell_limits()
            below = UNDER_COLOURS if image.over is not None else ""
            self.histogram.show(pixels, self.figure.limits.start, below)
        finally:
            self._quiet = False

    def _fit(self) -> None:
        if self.figure is None or self._si is None:
            return
        aspect = image_aspect(self._si.shape, self._si.pixel_size)
        front = self._left[0] if len(self._left) else self.front
        most = self.most if front is self.front else 0  # as `in_front` says
        at = self._at = arrange(self._room, aspect, part=self.part, most=most)
        dark = self._room.dark
        self.figure.resize(at.box, dark)
        strip = (at.strip[0] - _LIMITS, at.strip[1])
        self.histogram.open(self.figure, size=strip, dark=dark)
        self.line.open(size=strip, dark=dark)
        self.below.param.update(width=at.below[0], height=at.below[1])
        self._draw_spectrum()
        left = [front, *([self.below] if at.under_map else [])]
        side = [self._drawn, *([] if at.under_map else [self.below])]
        for column, wanted in ((self._left, left), (self.side, side)):
            if list(column) != wanted:
                column[:] = wanted

    def _draw_spectrum(self) -> None:
        if self._si is None:
            return
        marks = [LineMark(*mark) for mark in line_marks(self._si, self._elements, self._edges)]
        self.spectrum.open(
            self._si,
            marks,
            size=self._at.spectrum,
            dark=self._room.dark,
            log=bool(self.log_counts.value),
            curves=self._curves,
        )

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
        if image is None or self.figure is None:
            return
        if y < 0:
            self.spectrum.rest()
            return
        known = image.name == TOTAL and self._reach() < 2  # is in the title in any case
        name = image.name.removeprefix(COMPONENT)
        about = "" if known else f"{name} {short_number(self.figure.image[y, x], 4)}"
        about = image.words(y, x) if image.words is not None else about
        about = self.words(y, x) or about
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
                self._offer()
            self.choose(name)
