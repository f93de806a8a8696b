"""The spectrum of what lies under the cursor, beside the map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import panel as pn
from bokeh.events import SelectionGeometry
from bokeh.models import BoxSelectTool, ColumnDataSource, DataRange1d, Range1d
from bokeh.plotting import figure

from siftem.app.spectrum_figure import LineMark, add_marks, plain_axes
from siftem.app.style import INK, colour_figure
from siftem.spectrum_image import SpectrumImage

#: Channels are summed for the screen until no more than this many are left.
_MOST_BINS = 700
_BESIDE, _BELOW = 96, 74
_CURSOR, _MEAN = "#D55E00", "#858585"


class LiveSpectrum:
    """A spectrum that follows the cursor, and gives the map of an energy window dragged in it.

    Parameters
    ----------
    window : callable
        Called with the two energies (axis unit) between which the mouse was dragged.
    """

    def __init__(self, window: Callable[[float, float], None]) -> None:
        self.pane = pn.pane.Bokeh(None)
        self.figure: Any = None
        self._window = window
        self._si: SpectrumImage | None = None
        self._mean = np.zeros(0)
        self._source = ColumnDataSource({"x": [], "here": [], "mean": []})

    def open(
        self,
        si: SpectrumImage,
        marks: Sequence[LineMark],
        *,
        size: tuple[int, int],
        dark: bool,
    ) -> None:
        """Take a map, or another size.

        Parameters
        ----------
        si : SpectrumImage
        marks : sequence of LineMark
        size : tuple of int
            Width and height on the screen.
        dark : bool
        """
        if si is not self._si:
            self._si = si
            self._mean = self._binned(si.sum_spectrum()) / si.n_pixels
        axis = si.axis if si.axis.unit == "eV" else si.axis.to_kev()
        low, high = axis.first, axis.last
        plot = self.figure = figure(
            width=size[0],
            height=size[1],
            title="Move over the map (dashed: its mean); drag here for a window's map",
            x_axis_label=f"Energy ({axis.unit})",
            y_axis_label="Counts",
            x_range=Range1d(low, high, bounds=(low, high)),
            y_range=DataRange1d(only_visible=True, start=0),
            tools="xwheel_zoom,xpan,reset",
            active_scroll="xwheel_zoom",
            toolbar_location="right",
            min_border_left=60,
        )
        plot.toolbar.logo = None
        plot.title.text_font_size = "12px"
        centers = self._centers(axis.centers)
        blank = np.zeros_like(centers)
        self._source = ColumnDataSource({"x": centers, "here": blank, "mean": blank})
        for column, colour, dash in (("mean", _MEAN, "4 2"), ("here", _CURSOR, "solid")):
            plot.step(
                "x",
                column,
                source=self._source,
                mode="center",
                line_color=colour,
                line_dash=dash,
                nonselection_line_alpha=1.0,
                nonselection_line_color=colour,
            )
        drag = BoxSelectTool(dimensions="width", renderers=[])
        drag.overlay.fill_color = INK[dark]
        drag.overlay.fill_alpha = 0.15
        plot.add_tools(drag)
        plot.toolbar.active_drag = drag
        plot.on_event(SelectionGeometry, self._dragged)
        inner = (size[0] - _BESIDE, size[1] - _BELOW)
        add_marks(plot, [m for m in marks if low <= m.energy <= high], (low, high), inner, dark)
        plain_axes(plot)
        colour_figure(plot, dark)
        self.pane.object = plot

    def show(self, y: int, x: int, width: float, about: str = "") -> None:
        """Show the sum of the pixels within half a width of one, beside the mean of the map.

        Parameters
        ----------
        y, x : int
            Pixel; outside the map nothing changes.
        width : float
            Pixels.
        about : str
            Further words for the title.
        """
        si = self._si
        if si is None or not (0 <= y < si.shape[0] and 0 <= x < si.shape[1]):
            return
        rows = pixels_about(y, x, width, si.shape)
        counts = self._binned(si.sum_spectrum(rows))
        self._source.data = {
            "x": self._source.data["x"],
            "here": counts,
            "mean": self._mean * rows.size,
        }
        pixels = "1 pixel" if rows.size == 1 else f"{rows.size} pixels"
        self.figure.title.text = f"y {y}, x {x}; {pixels}: {counts.sum():,.0f} counts{about}"

    @property
    def shown(self) -> np.ndarray:
        """Counts shown, channels summed for the screen."""
        return np.asarray(self._source.data["here"])

    def _step(self, n: int) -> int:
        return -(-n // _MOST_BINS)

    def _binned(self, counts: np.ndarray) -> np.ndarray:
        starts = np.arange(0, counts.size, self._step(counts.size))
        return np.asarray(np.add.reduceat(counts, starts), np.float32)

    def _centers(self, centers: np.ndarray) -> np.ndarray:
        step = self._step(centers.size)
        return np.array([c.mean() for c in np.split(centers, range(step, centers.size, step))])

    def _dragged(self, event: Any) -> None:
        geometry = event.geometry
        if event.final and geometry.get("type") == "rect":
            ends = sorted((float(geometry["x0"]), float(geometry["x1"])))
            self._window(ends[0], ends[1])


def pixels_about(y: int, x: int, width: float, shape: tuple[int, int]) -> np.ndarray:
    """Return the rows of the pixels within half a width of a pixel, that pixel in any case."""
    reach = int(width // 2)
    ys = np.arange(max(0, y - reach), min(shape[0], y + reach + 1))
    xs = np.arange(max(0, x - reach), min(shape[1], x + reach + 1))
    near = (ys[:, None] - y) ** 2 + (xs[None, :] - x) ** 2 <= max(width / 2, 0.5) ** 2
    rows: np.ndarray = (ys[:, None] * shape[1] + xs[None, :])[near]
    return rows
