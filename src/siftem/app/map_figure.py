"""A map as a Bokeh figure: image, colour bar, scale bar, overlay, traces, brush."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.events import RangesUpdate
from bokeh.models import (
    BasicTicker,
    ColorBar,
    ColumnDataSource,
    CustomJS,
    Label,
    LinearColorMapper,
    LogColorMapper,
    LogTicker,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.palettes import Cividis256, Inferno256, Turbo256, Viridis256
from bokeh.plotting import figure

from siftem.app.map_mouse import MapMouse
from siftem.app.style import INK, PAPER, colour_figure
from siftem.figures.maps import BAR_SHARE, image_limits, scale_bar
from siftem.figures.page import image_aspect

#: Greys are light enough for colours to show over them.
_GREYS = tuple(f"#{g:02x}{g:02x}{g:02x}" for g in range(58, 251))
#: Colours of maps by name; the first have even steps for the eye, with any kind of colour vision.
PALETTES = {
    "Cividis": Cividis256,
    "Viridis": Viridis256,
    "Inferno": Inferno256,
    "Grey": _GREYS,
    "Turbo": Turbo256,
}
#: Units of length, and how many nm each is.
_UNITS = (("mm", 1e6), ("µm", 1e3), ("nm", 1.0), ("pm", 1e-3))
#: Logarithmic colours go down to this part of the upper limit.
_DECADES = 1e-3
#: Both colour mappers follow the limits, in the browser.
_LIMIT = """
    const low = limits.end > 0 ? Math.max(limits.start, decades * limits.end) : 1e-9
    linear.setv({low: limits.start, high: limits.end})
    log.setv({low, high: Math.max(limits.end, 1e-6)})
"""
#: Left end and line of the scale bar in what is seen.
_BAR_PLACE = (0.04, 0.95)
#: The scale bar of what is seen, as `siftem.figures.maps.scale_bar` chooses it.
_SCALE = """
    const span = x.end - x.start, calibrated = units[0][0] !== "px"
    const limit = share * span * size, power = 10 ** Math.floor(Math.log10(limit))
    const nice = [0.5, 1, 2, 5, 10].map(s => s * power).filter(s => s <= limit * (1 + 1e-9))
    const length = calibrated ? Math.max(...nice) : Math.max(...nice, 1)
    const [unit, nm] = units.find(([_, nm]) => length >= nm * (1 - 1e-9)) ?? units.at(-1)
    const left = x.start + place[0] * span, bottom = y.end + place[1] * (y.start - y.end)
    ends.data = {x: [left, left + length / size], y: [bottom, bottom]}
    label.setv({x: left, y: bottom, text: `${parseFloat((length / nm).toPrecision(6))} ${unit}`})
"""
#: Room for the colour bar and its numbers, the title, and the tools, screen pixels.
_BAR_ROOM, _TITLE_ROOM, FIGURE_TOOLS = 60, 26, 34
#: Width of a letter in the title of a small map, screen pixels.
_LETTER = 7


MapRanges = tuple[Range1d, Range1d]

#: A colour through which all is seen.
CLEAR = "#00000000"


@dataclass(frozen=True, eq=False)
class Overlay:
    """Colours over a map, as they are sent: a byte a pixel, for a stroke waits for them.

    Parameters
    ----------
    numbers : ndarray of uint8, shape (ny, nx)
    colours : tuple of str
        Of each number, "#rrggbb" or "#rrggbbaa".
    """

    numbers: np.ndarray
    colours: tuple[str, ...]

    @property
    def rgba(self) -> np.ndarray:
        """The colour of each pixel; uint8 (ny, nx, 4)."""
        table = [list(bytes.fromhex(f"{colour[1:]}ff"[:8])) for colour in self.colours]
        return np.array(table, np.uint8)[self.numbers]


class _Layer:
    """Colours that lie over the image of a figure, at a place."""

    def __init__(self, plot: Any, place: dict[str, Any]) -> None:
        self.shown: Overlay | None = None
        self._source = ColumnDataSource({"image": [np.zeros((1, 1), np.uint8)]})
        self._mapper = LinearColorMapper(palette=[CLEAR], low=-0.5, high=0.5)
        self.drawn = plot.image("image", source=self._source, color_mapper=self._mapper, **place)

    def show(self, over: Overlay | None) -> None:
        """Show other colours; None takes them away."""
        self.shown = over
        colours = (CLEAR,) if over is None else over.colours
        if list(colours) != self._mapper.palette:
            self._mapper.update(palette=list(colours), high=len(colours) - 0.5)
        numbers = np.zeros((1, 1), np.uint8) if over is None else over.numbers
        self._source.data = {"image": [numbers]}


def map_ranges(shape: tuple[int, int]) -> MapRanges:
    """Return what is seen of a map of (ny, nx) pixels: all, to begin with.

    A range that is shown again begins where it was left, so it is told where all is.
    """
    ny, nx = shape
    made = [
        Range1d(start, end, bounds=(-0.5, n - 0.5), reset_start=start, reset_end=end)
        for start, end, n in ((-0.5, nx - 0.5, nx), (ny - 0.5, -0.5, ny))
    ]
    return made[0], made[1]


class MapFigure:
    """A map that can be painted on.

    Parameters
    ----------
    shape : tuple of int
        Pixels (ny, nx).
    pixel_size : tuple of float or None
        Height and width of a pixel in nm.
    box : tuple of int
        Largest width and height on the screen.
    title : str
    palette : str
        One of `PALETTES`.
    bar : bool
        A colour bar; without it the title tells the range.
    tools : bool
        Tools beside it, and a mouse that can paint and measure.
    dark : bool
        Light text on a dark ground.
    ranges : tuple of Range1d, optional
        As `map_ranges` makes them: maps with the same ones are zoomed and moved together.
    layers : bool
        Whether overlays and traces can be laid over it.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        pixel_size: tuple[float, float] | None,
        *,
        box: tuple[int, int],
        title: str = "",
        palette: str = "Cividis",
        bar: bool = True,
        tools: bool = False,
        dark: bool = False,
        ranges: MapRanges | None = None,
        layers: bool = True,
    ) -> None:
        ny, nx = shape
        self.shape = shape
        beside = _BAR_ROOM if bar else 6
        width, height = _frame(image_aspect(shape, pixel_size), box, beside)
        self.frame_size = (width, height)
        #: Columns and lines that are seen.
        self.ranges = ranges or map_ranges(shape)
        self.figure: Any = figure(
            name="map" if tools else None,
            width=width + beside + (FIGURE_TOOLS if tools else 0),
            height=height + _TITLE_ROOM + 6,
            frame_width=width,
            frame_height=height,
            title=title,
            x_range=self.ranges[0],
            y_range=self.ranges[1],
            tools="pan,box_zoom,wheel_zoom,reset",
            active_scroll="wheel_zoom",
            active_drag="pan",
            toolbar_location="right" if tools else None,
            min_border=2,
            output_backend="canvas",
        )
        self.figure.toolbar.logo = None
        self.figure.axis.visible = False
        self.figure.grid.visible = False
        colour_figure(self.figure, dark)
        self.figure.title.text_font_size = "13px" if bar else "11px"
        place: dict[str, Any] = {"x": -0.5, "y": -0.5, "dw": nx, "dh": ny}
        blank = np.zeros(shape, np.float32)
        self._image = ColumnDataSource({"image": [blank]})
        #: Of the colours; moved in the browser, too.
        self.limits = Range1d(0.0, 1.0)
        nothing = {
            "low": 0.0,
            "high": 1.0,
            "palette": list(PALETTES[palette]),
            "nan_color": "#ffffff",
        }
        self._linear = LinearColorMapper(**nothing)
        self._log = LogColorMapper(**{**nothing, "low": _DECADES})
        mappers = {"linear": self._linear, "log": self._log}
        moved = CustomJS(args={"limits": self.limits, **mappers, "decades": _DECADES}, code=_LIMIT)
        for end in ("start", "end"):
            self.limits.js_on_change(end, moved)
        self._drawn = self.figure.image(
            "image", source=self._image, color_mapper=self._linear, **place
        )
        self._bar: ColorBar | None = None
        if bar:
            self._bar = ColorBar(
                color_mapper=self._linear,
                width=10,
                padding=4,
                ticker=_ticker(),
                formatter=NumeralTickFormatter(format="0.[00]a"),
                major_label_text_font_size="11px",
                major_label_text_color=INK[dark],
                background_fill_color=PAPER[dark],
            )
            self.figure.add_layout(self._bar, "right")
        self._room = beside, FIGURE_TOOLS if tools else 0
        self._aspect = image_aspect(shape, pixel_size)
        if layers:
            self._overlay, self._traces = _Layer(self.figure, place), _Layer(self.figure, place)
        self._pixel_size = pixel_size
        self._add_scale_bar()
        self.mouse = MapMouse(self.figure, shape) if tools else None
        #: Of a small map that can be clicked.
        self.tapped: ColumnDataSource | None = None

    def resize(self, box: tuple[int, int], dark: bool) -> None:
        """Give the same map another size and other colours."""
        beside, tools = self._room
        width, height = self.frame_size = _frame(self._aspect, box, beside)
        self.figure.update(
            width=width + beside + tools,
            height=height + _TITLE_ROOM + 6,
            frame_width=width,
            frame_height=height,
        )
        self._length.text_font_size = _length_font(width)
        colour_figure(self.figure, dark)
        if self._bar is not None:
            self._bar.update(major_label_text_color=INK[dark], background_fill_color=PAPER[dark])

    def show(
        self,
        image: np.ndarray,
        *,
        title: str,
        unit: str,
        limits: tuple[float, float] | None = None,
    ) -> None:
        """Show an image, between limits of its colours; by default what few pixels exceed."""
        low, high = limits or image_limits(np.asarray(image))
        self.contrast(low, high)
        self._image.data = {"image": [np.ascontiguousarray(image, dtype=np.float32)]}
        if self._bar is not None:
            self.figure.title.text = f"{title} ({unit})" if unit else title
        else:
            self.figure.title.text = small_title(title, (low, high), self.frame_size[0])

    def contrast(self, low: float, high: float) -> None:
        """Spread the colours from one value to another, which is kept above it."""
        high = high if high > low else low + (1e-6 * abs(low) or 1e-6)
        if (low, high) == (self.limits.start, self.limits.end):
            return
        self.limits.update(start=low, end=high)
        self._linear.update(low=low, high=high)
        self._log.update(low=max(low, _DECADES * high) if high > 0 else 1e-9, high=max(high, 1e-6))

    def colours(self, palette: str, log: bool) -> None:
        """Choose a colour map by name, and whether its steps are those of the logarithm."""
        colours = list(PALETTES[palette])
        self._linear.palette = self._log.palette = colours
        mapper = self._log if log else self._linear
        self._drawn.glyph.color_mapper = mapper
        if self._bar is not None:
            ticker = LogTicker(desired_num_ticks=4) if log else _ticker()
            self._bar.update(color_mapper=mapper, ticker=ticker)

    def show_bar(self, shown: bool) -> None:
        """Show the colour bar, or leave its room empty."""
        if self._bar is not None and self._bar.visible != shown:
            self._bar.visible = shown

    def overlay(self, over: Overlay | None, opacity: float = 1.0) -> None:
        """Lay colours over the image; None takes them away."""
        self._overlay.show(over)
        self._overlay.drawn.glyph.global_alpha = opacity

    def traces(self, over: Overlay | None) -> None:
        """Show painted pixels."""
        self._traces.show(over)

    @property
    def image(self) -> np.ndarray:
        """The image shown."""
        return np.asarray(self._image.data["image"][0])

    @property
    def overlaid(self) -> np.ndarray:
        """The overlay; uint8 (ny, nx, 4), all zero without one."""
        shown = self._overlay.shown
        return np.zeros((*self.shape, 4), np.uint8) if shown is None else shown.rgba

    def place_scale_bar(self) -> None:
        """Put the scale bar into what is seen; the browser does so while it is zoomed."""
        columns, lines = self.ranges
        bar = scale_bar(float(columns.end - columns.start), self._pixel_size)
        left = columns.start + _BAR_PLACE[0] * (columns.end - columns.start)
        bottom = lines.end + _BAR_PLACE[1] * (lines.start - lines.end)
        self._length.update(x=left, y=bottom, text=bar.label)
        self._ends.data = {"x": [left, left + bar.pixels], "y": [bottom, bottom]}

    def _add_scale_bar(self) -> None:
        self._ends = ColumnDataSource({"x": [0.0, 0.0], "y": [0.0, 0.0]})
        for colour, width in (("#000000", 6), ("#ffffff", 3)):
            self.figure.line("x", "y", source=self._ends, line_color=colour, line_width=width)
        self._length = Label(
            x=0.0,
            y=0.0,
            y_offset=6,
            text="",
            text_color="#ffffff",
            text_font_size=_length_font(self.frame_size[0]),
            text_font_style="bold",
            background_fill_color="#000000",
            background_fill_alpha=0.55,
            padding=2,
            text_baseline="bottom",
        )
        self.figure.add_layout(self._length)
        size = self._pixel_size
        known = {
            "x": self.ranges[0],
            "y": self.ranges[1],
            "ends": self._ends,
            "label": self._length,
            "size": 1.0 if size is None else size[1],
            "units": [["px", 1.0]] if size is None else [list(unit) for unit in _UNITS],
            "place": list(_BAR_PLACE),
            "share": BAR_SHARE,
        }
        self.figure.js_on_event(RangesUpdate, CustomJS(args=known, code=_SCALE))
        self.place_scale_bar()


def small_title(name: str, limits: tuple[float, float], width: int) -> str:
    """Return the title of a small map, with its range where that fits, else as much as fits."""
    letters = width // _LETTER
    long = f"{name}, {short_number(limits[0])}–{short_number(limits[1])}"
    if len(long) <= letters:
        return long
    return name if len(name) <= letters else f"{name[: max(1, letters - 1)]}…"


def short_number(value: float, digits: int = 3) -> str:
    """Return a number with few digits, and thousands or millions by a letter as on the axes."""
    text = f"{value:.{digits}g}"
    if "e+" not in text:
        return text
    factor, letter = next(
        ((f, c) for f, c in ((1e9, "b"), (1e6, "m"), (1e3, "k")) if abs(value) >= f), (1.0, "")
    )
    return f"{value / factor:.{digits}g}{letter}"


def length_text(size: tuple[float, float]) -> str:
    """Return the height and width of a pixel, in nm, as text with a unit that can be read."""
    unit, factor = next((u, f) for u, f in _UNITS if max(size) >= 0.1 * f or f < 1)
    return f"{size[0] / factor:.3g} × {size[1] / factor:.3g} {unit}"


def figure_size(aspect: float, box: tuple[int, int]) -> tuple[int, int]:
    """Return width and height of a map with bar and tools, its aspect height over width."""
    width, height = _frame(aspect, box, _BAR_ROOM)
    return width + _BAR_ROOM + FIGURE_TOOLS, height + _TITLE_ROOM + 6


def _ticker() -> BasicTicker:
    return BasicTicker(desired_num_ticks=4)


def _length_font(width: int) -> str:
    """Size of the text at the scale bar of a map that is so wide on the screen."""
    return "11px" if width > 150 else "8px"


def _frame(aspect: float, box: tuple[int, int], beside: int) -> tuple[int, int]:
    """Largest frame of an aspect (height over width) in a box with room for bar and title."""
    width, height = box[0] - beside, box[1] - _TITLE_ROOM - 6
    if width * aspect > height:
        return max(40, round(height / aspect)), height
    return width, max(40, round(width * aspect))
