"""The histogram of a map, on which the limits of its colours are dragged; the profile of a line."""

from __future__ import annotations

from typing import Any

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource, NumeralTickFormatter, Range1d, RangeTool
from bokeh.plotting import figure
from skimage.measure import profile_line

from siftem.app.map_figure import MapFigure
from siftem.app.map_mouse import Point
from siftem.app.spectrum_figure import plain_axes
from siftem.app.style import INK, colour_figure

_BINS = 80
#: Room of a number below the axis, and beside the frame of a small figure, screen pixels.
_NUMBER, _SIDES = 60, 16


class Histogram:
    """How many pixels have which value; the limits of a map's colours can be dragged in it."""

    def __init__(self) -> None:
        self.pane = pn.pane.Bokeh(None, margin=0)
        self._source = ColumnDataSource({"left": [], "right": [], "top": []})
        self._range = Range1d(0.0, 1.0)
        self._figure: Any = None
        self._name = ""

    def open(self, of: MapFigure, *, size: tuple[int, int], dark: bool) -> None:
        """Make it for a map, in a size."""
        plot = self._figure = _small_figure(size, sides=(_SIDES, _SIDES), x_range=self._range)
        plot.quad("left", "right", "top", bottom=0, source=self._source, color="#8a8f98")
        tool = RangeTool(x_range=of.limits)
        tool.overlay.update(
            fill_color="#0072B2", fill_alpha=0.18, line_color=INK[dark], line_width=1.5
        )
        plot.add_tools(tool)
        plot.yaxis.visible = False
        plot.xaxis.update(
            formatter=NumeralTickFormatter(format="0.[00]a"), axis_label=self._name or None
        )
        colour_figure(plot, dark)
        self.pane.object = plot

    def show(self, values: np.ndarray, start: float, name: str = "") -> None:
        """Show the values of an image from where its colours start, or from the least on.

        It is named where it is not the one that is seen.
        """
        self._name = name
        self._figure.xaxis.axis_label = name or None
        finite = values[np.isfinite(values)]
        if not finite.size:
            return
        low, high = min(start, float(finite.min())), float(finite.max())
        high = high if high > low else low + 1.0
        counts, edges = np.histogram(finite, _BINS, (low, high))
        self._range.update(start=low, end=high)
        # Few pixels of a small grain must be seen beside the many of the rest.
        top = np.log1p(counts)
        self._source.data = {"left": edges[:-1], "right": edges[1:], "top": top}


class LineProfile:
    """The values of a map along a line that is drawn on it."""

    def __init__(self) -> None:
        self.pane = pn.pane.Bokeh(None, margin=0)
        self._source = ColumnDataSource({"x": [], "y": []})
        self._figure: Any = None

    def open(self, *, size: tuple[int, int], dark: bool) -> None:
        """Make it in a size."""
        plot = self._figure = _small_figure(
            size, sides=(60, 36), x_range=Range1d(0.0, 1.0), y_range=Range1d(0.0, 1.0)
        )
        plot.line("x", "y", source=self._source, line_color="#D55E00", line_width=1.4)
        colour_figure(plot, dark)
        self.pane.object = plot

    def show(
        self,
        image: np.ndarray,
        first: Point,
        last: Point,
        width: int,
        pixel_size: tuple[float, float] | None,
    ) -> None:
        """Show an image between two points (y, x), each value the mean across a width in pixels."""
        values = np.asarray(
            profile_line(image, first, last, linewidth=max(1, width), mode="reflect"), np.float32
        )
        steps = np.linspace(0.0, 1.0, values.size)
        scale = pixel_size or (1.0, 1.0)
        length = float(np.linalg.norm(np.subtract(last, first) * scale))
        self._figure.xaxis.axis_label = "nm" if pixel_size else "Pixels"
        self._figure.x_range.end = max(length, 1e-9)
        low, high = min(0.0, float(values.min())), float(values.max())
        self._figure.y_range.update(
            start=1.05 * low, end=1.05 * (high if high > low else low + 1.0)
        )
        self._source.data = {"x": steps * length, "y": values}

    @property
    def shown(self) -> tuple[np.ndarray, np.ndarray]:
        """Distances and values."""
        return np.asarray(self._source.data["x"]), np.asarray(self._source.data["y"])


def _small_figure(size: tuple[int, int], *, sides: tuple[int, int], **options: Any) -> Any:
    plot = figure(
        width=size[0],
        height=size[1],
        tools="",
        toolbar_location=None,
        min_border_left=sides[0],
        min_border_right=sides[1],
        **options,
    )
    plain_axes(plot)
    # As many numbers as have room: Bokeh's own number of them would run into each other.
    plot.xaxis.ticker.desired_num_ticks = max(2, (size[0] - sum(sides)) // _NUMBER)
    plot.yaxis.ticker.desired_num_ticks = 3
    return plot
