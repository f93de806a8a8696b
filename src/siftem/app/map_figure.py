"""A map as a Bokeh figure: image, colour bar, scale bar, overlay, traces, brush."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.events import MouseMove, PanStart
from bokeh.models import (
    BasicTicker,
    ColorBar,
    ColumnDataSource,
    CustomJS,
    FreehandDrawTool,
    Label,
    LinearColorMapper,
    Range1d,
)
from bokeh.plotting import figure

from siftem.app.style import INK, PAPER, colour_figure
from siftem.figures.maps import image_limits, scale_bar
from siftem.figures.page import image_aspect

#: Colours of maps: even steps for the eye, with any kind of colour vision.
MAP_PALETTE = "Cividis256"
#: Light enough for colours to show over it.
GREY_PALETTE = tuple(f"#{g:02x}{g:02x}{g:02x}" for g in range(58, 251))
#: Room for the colour bar and its numbers, the title, and the tools, screen pixels.
_BAR_ROOM, _TITLE_ROOM, _TOOL_ROOM = 60, 26, 34
#: Titles of small maps have no room for a range behind so many letters.
_LONG_TITLE = 15

#: Of a stroke while it is drawn.
_STROKE_ALPHA = 0.75

Painted = Callable[[list[tuple[float, float]]], None]


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
    palette : str or sequence of str
    bar : bool
        A colour bar; without it the title tells the range.
    painted : callable, optional
        Called with the points (y, x) of each stroke of the mouse.
    dark : bool
        Light text on a dark ground.
    linked : MapFigure, optional
        A map of the same pixels: both are zoomed and moved together.
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
        palette: str | Sequence[str] = MAP_PALETTE,
        bar: bool = True,
        painted: Painted | None = None,
        dark: bool = False,
        linked: MapFigure | None = None,
        layers: bool = True,
    ) -> None:
        ny, nx = shape
        self.shape = shape
        beside = _BAR_ROOM if bar else 6
        width, height = _frame(image_aspect(shape, pixel_size), box, beside)
        self.frame_size = (width, height)
        self.figure: Any = figure(
            width=width + beside + (_TOOL_ROOM if painted else 0),
            height=height + _TITLE_ROOM + 6,
            frame_width=width,
            frame_height=height,
            title=title,
            x_range=linked.figure.x_range if linked else Range1d(-0.5, nx - 0.5, bounds="auto"),
            y_range=linked.figure.y_range if linked else Range1d(ny - 0.5, -0.5, bounds="auto"),
            tools="pan,box_zoom,wheel_zoom,reset",
            active_scroll="wheel_zoom",
            active_drag=None if painted else "pan",
            toolbar_location="right" if painted else None,
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
        self._colours = LinearColorMapper(
            palette=palette if isinstance(palette, str) else list(palette),
            low=0,
            high=1,
            nan_color="#ffffff",
        )
        self.figure.image("image", source=self._image, color_mapper=self._colours, **place)
        self._limits, self._contrast = (0.0, 1.0), (0.0, 1.0)
        self._bar: ColorBar | None = None
        if bar:
            self._bar = ColorBar(
                color_mapper=self._colours,
                width=10,
                padding=4,
                ticker=BasicTicker(desired_num_ticks=4),
                major_label_text_font_size="11px",
                major_label_text_color=INK[dark],
                background_fill_color=PAPER[dark],
            )
            self.figure.add_layout(self._bar, "right")
        self._room = beside, _TOOL_ROOM if painted else 0
        self._aspect = image_aspect(shape, pixel_size)
        if layers:
            clear = np.zeros(shape, np.uint32)
            self._overlay = ColumnDataSource({"image": [clear]})
            self._traces = ColumnDataSource({"image": [clear]})
            self._over = self.figure.image_rgba("image", source=self._overlay, **place)
            self.figure.image_rgba("image", source=self._traces, **place)
        self._add_scale_bar(pixel_size)
        self._painted = painted
        self._strokes = ColumnDataSource({"xs": [], "ys": []})
        if painted is not None:
            self._add_brush()

    def follow(self, moved: Callable[[int, int], None]) -> None:
        """Call with the pixel (y, x) under the cursor as it moves, some 30 times a second."""
        cursor = ColumnDataSource({"y": [-1], "x": [-1]})
        code = """
            const y = Math.round(cb_obj.y), x = Math.round(cb_obj.x)
            if (!(y >= 0 && x >= 0 && y < ny && x < nx)) return
            state.next = [y, x]
            if (state.waiting) return
            state.waiting = true
            const send = () => {
              state.waiting = false
              const y = state.next[0], x = state.next[1]
              if (y === cursor.data.y[0] && x === cursor.data.x[0]) return
              cursor.data = {y: [y], x: [x]}
            }
            setTimeout(send, 30)
        """
        ny, nx = self.shape
        arguments = {"cursor": cursor, "ny": ny, "nx": nx, "state": {"waiting": False}}
        self.figure.js_on_event(MouseMove, CustomJS(args=arguments, code=code))
        cursor.on_change(
            "data", lambda _attribute, _old, new: moved(int(new["y"][0]), int(new["x"][0]))
        )
        self.cursor = cursor

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
        colour_figure(self.figure, dark)
        if self._bar is not None:
            self._bar.update(major_label_text_color=INK[dark], background_fill_color=PAPER[dark])

    def show(self, image: np.ndarray, *, title: str, unit: str) -> None:
        """Show an image with its own colour scale."""
        low, high = self._limits = image_limits(np.asarray(image))
        self.contrast(*self._contrast)
        self._image.data = {"image": [np.ascontiguousarray(image, dtype=np.float32)]}
        if self._bar is not None:
            self.figure.title.text = f"{title} ({unit})"
        elif len(title) < _LONG_TITLE:
            self.figure.title.text = f"{title}, {low:.3g}–{high:.3g}"
        else:
            self.figure.title.text = title

    def contrast(self, low: float, high: float) -> None:
        """Spread the colours over a part of the range of the image, each end from 0 to 1."""
        self._contrast = low, high
        first, last = self._limits
        reach = last - first
        top = max(first + high * reach, first + low * reach + 1e-6 * (reach or 1.0))
        self._colours.update(low=first + low * reach, high=top)

    def overlay(self, rgba: np.ndarray | None, opacity: float = 1.0) -> None:
        """Lay colours over the image: uint8 (ny, nx, 4); None takes them away."""
        self._overlay.data = {"image": [_packed(rgba, self.shape)]}
        self._over.glyph.global_alpha = opacity

    def traces(self, rgba: np.ndarray | None) -> None:
        """Show painted pixels: uint8 (ny, nx, 4)."""
        self._traces.data = {"image": [_packed(rgba, self.shape)]}

    def brush(self, colour: str, width: float) -> None:
        """Set the colour of the brush, and its width in pixels of the map."""
        self._line.update(line_color=colour)
        self._brush_width.data = {"width": [float(width)]}
        self._line.line_width = max(2.0, width * self.frame_size[0] / self.shape[1])

    @property
    def image(self) -> np.ndarray:
        """The image shown."""
        return np.asarray(self._image.data["image"][0])

    @property
    def overlay_pixels(self) -> np.ndarray:
        """The overlay as packed colours, uint32 (ny, nx)."""
        return np.asarray(self._overlay.data["image"][0])

    @property
    def strokes(self) -> ColumnDataSource:
        """Where the brush leaves its strokes, in the browser."""
        return self._strokes

    def _add_brush(self) -> None:
        lines = self.figure.multi_line(
            "xs",
            "ys",
            source=self._strokes,
            line_width=4,
            line_alpha=_STROKE_ALPHA,
            line_cap="round",
        )
        self._line = lines.glyph
        lines.nonselection_glyph = lines.selection_glyph = None
        self._brush_width = ColumnDataSource({"width": [1.0]})
        # The tool itself takes the last stroke away when the next one begins. Were that done from
        # here, it would come late, in the middle of that stroke, and lose it.
        tool = FreehandDrawTool(renderers=[lines], num_objects=1)
        seen = CustomJS(args={"line": self._line}, code=f"line.line_alpha = {_STROKE_ALPHA}")
        self.figure.js_on_event(PanStart, seen)
        self.figure.add_tools(tool)
        self.figure.toolbar.active_drag = tool
        # Under zoom the brush covers the same pixels of the map.
        code = """
            const span = Math.abs(range.end - range.start)
            glyph.line_width = Math.max(2, brush.data.width[0] * plot.inner_width / span)
        """
        arguments = {
            "range": self.figure.x_range,
            "glyph": self._line,
            "brush": self._brush_width,
            "plot": self.figure,
        }
        for event in ("start", "end"):
            self.figure.x_range.js_on_change(event, CustomJS(args=arguments, code=code))
        self._strokes.on_change("data", self._stroke_drawn)

    def _stroke_drawn(self, _attribute: str, _old: Any, new: Mapping[str, Any]) -> None:
        strokes = list(zip(new["xs"], new["ys"], strict=False))
        if not strokes or self._painted is None:
            return
        for xs, ys in strokes:
            self._painted([(float(y), float(x)) for x, y in zip(xs, ys, strict=False)])
        # The stroke is now the app's: it came back as pixels.
        self._line.line_alpha = 0.0

    def _add_scale_bar(self, pixel_size: tuple[float, float] | None) -> None:
        ny, nx = self.shape
        bar = scale_bar(nx, pixel_size)
        left, bottom = -0.5 + 0.04 * nx, -0.5 + 0.95 * ny
        for colour, width in (("#000000", 6), ("#ffffff", 3)):
            ends = [left, left + bar.pixels]
            self.figure.line(ends, [bottom, bottom], line_color=colour, line_width=width)
        self.figure.add_layout(
            Label(
                x=left,
                y=bottom,
                y_offset=6,
                text=bar.label,
                text_color="#ffffff",
                text_font_size="11px",
                text_font_style="bold",
                background_fill_color="#000000",
                background_fill_alpha=0.55,
                padding=2,
                text_baseline="bottom",
            )
        )


def _frame(aspect: float, box: tuple[int, int], beside: int) -> tuple[int, int]:
    """Largest frame of an aspect (height over width) in a box with room for bar and title."""
    width, height = box[0] - beside, box[1] - _TITLE_ROOM - 6
    if width * aspect > height:
        return max(40, round(height / aspect)), height
    return width, max(40, round(width * aspect))


def _packed(rgba: np.ndarray | None, shape: tuple[int, int]) -> np.ndarray:
    if rgba is None:
        return np.zeros(shape, np.uint32)
    return np.ascontiguousarray(rgba, dtype=np.uint8).view(np.uint32).reshape(shape)
