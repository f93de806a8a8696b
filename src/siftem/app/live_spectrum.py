"""The spectrum of what lies under the cursor, beside the map, and the energies to be mapped.

Other spectra, such as those of components or of pure phases, stand with it: with no pixel under the
cursor as they are, else the part of each that belongs to the pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import panel as pn
from bokeh.events import SelectionGeometry, Tap
from bokeh.models import (
    BoxAnnotation,
    BoxSelectTool,
    ColumnDataSource,
    CustomJS,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.plotting import figure

from siftem.app.spectrum_figure import (
    Curve,
    LineMark,
    add_legend,
    add_marks,
    first_view,
    follow_view,
    limits_of_counts,
    plain_axes,
)
from siftem.app.style import INK, colour_figure
from siftem.spectrum_image import SpectrumImage

#: Channels are summed for the screen until no more than this many are left; spectra that are a
#: result are looked at more closely than those of single pixels.
_MOST_BINS, _MOST_OF_RESULTS = 700, 2800
_BESIDE, _BELOW = 96, 74
_CURSOR, _MEAN = "#D55E00", "#858585"
#: The browser tells where it was clicked, or between which energies the mouse was dragged.
_ASK = """
    const tap = cb_obj.event_name === "tap"
    if (!tap && !(cb_obj.final && cb_obj.geometry.type === "rect")) return
    const ends = tap ? [cb_obj.x, cb_obj.x] : [cb_obj.geometry.x0, cb_obj.geometry.x1]
    const serial = (asked.data.serial[0] ?? 0) + 1
    asked.data = {energies: ends, serial: [serial, serial]}
"""
#: With numbers from the start: Bokeh walks through the whole page when they replace its nodes.
_NO_BAND: dict[str, Any] = {"left": 0.0, "right": 0.0, "visible": False}
_BAND = {"fill_color": "#E69F00", "fill_alpha": 0.3, "line_color": "#E69F00"}
#: Of X-rays, and of losses, whose edges are no peaks to click.
_MAPS = {True: "click a line for its map", False: "drag over energies for their map"}


class LiveSpectrum:
    """A spectrum that follows the cursor, and gives maps of energies.

    Parameters
    ----------
    window : callable
        Called with the two energies between which the mouse was dragged.
    clicked : callable
        Called with an energy that was clicked. Energies are in keV, those of losses in eV.
    """

    def __init__(
        self, window: Callable[[float, float], None], clicked: Callable[[float], None]
    ) -> None:
        self.pane = pn.pane.Bokeh(None)
        self.figure: Any = None
        self._window, self._clicked = window, clicked
        # Panel takes what was asked of a figure itself away when it shows something else.
        self._asked = ColumnDataSource({"energies": [], "serial": []})
        self._asked.on_change("data", self._was_asked)
        self._band = BoxAnnotation(**_NO_BAND)
        self._si: SpectrumImage | None = None
        self._sum = np.zeros(0)
        self._curves: list[Curve] = []
        self._results, self._bottom = False, -np.inf
        self._home: tuple[float, float] | None = None
        self._source = ColumnDataSource({"x": [], "here": []})

    def open(
        self,
        si: SpectrumImage,
        marks: Sequence[LineMark],
        *,
        size: tuple[int, int],
        dark: bool,
        log: bool = False,
        curves: Sequence[Curve] = (),
    ) -> None:
        """Take a map, or another size, or other spectra.

        Parameters
        ----------
        si : SpectrumImage
        marks : sequence of LineMark
        size : tuple of int
            Width and height on the screen.
        dark : bool
        log : bool
            Logarithmic counts.
        curves : sequence of Curve
            Spectra on the axis of the map; by default the mean of the map stands with the pixel.
        """
        if si is not self._si:
            self._si = si
            self._sum = si.sum_spectrum()
            self._band = BoxAnnotation(**_NO_BAND)
            self._home = None
        self._results = bool(curves)
        mean = Curve("mean", self._sum, _MEAN, "4 2", lambda rows: rows.size / si.n_pixels)
        self._curves = [replace(c, values=self._binned(c.values)) for c in curves or (mean,)]
        axis = si.axis if si.axis.unit == "eV" else si.axis.to_kev()
        low, high = self._view(first_view(si.axis, self._sum, marks))
        centers = self._centers(axis.centers)
        seen = (centers >= low) & (centers <= high)
        bottom, top = limits_of_counts([c.values[seen] for c in self._curves], log)
        plot = self.figure = figure(
            width=size[0],
            height=size[1],
            title=self._help(),
            x_axis_label=f"Energy ({axis.unit})",
            y_axis_label="Counts",
            x_range=Range1d(
                low,
                high,
                bounds=(axis.first, axis.last),
                reset_start=self._home[0] if self._home else low,
                reset_end=self._home[1] if self._home else high,
            ),
            y_range=Range1d(bottom, top),
            y_axis_type="log" if log else "linear",
            tools="xwheel_zoom,xpan,reset",
            active_scroll="xwheel_zoom",
            toolbar_location="right",
            min_border_left=60,
        )
        plot.toolbar.logo = None
        plot.title.text_font_size = "11px"
        self._bottom = bottom if log else -np.inf
        self._source = ColumnDataSource({"x": centers, **self._whole()})
        lines, columns = [], [*(f"curve{n}" for n in range(len(self._curves))), "here"]
        for column, curve in zip(columns, (*self._curves, None), strict=True):
            colour = curve.colour if curve else INK[dark] if curves else _CURSOR
            drawn = plot.step(
                "x",
                column,
                source=self._source,
                mode="center",
                line_color=colour,
                line_dash=curve.dash if curve else "solid",
                line_width=1.3 if curves and curve else 1.0,
                nonselection_line_alpha=1.0,
                nonselection_line_color=colour,
            )
            if curve:
                lines.append((curve.name, [drawn]))
        legend = add_legend(plot, lines, size[0] - _BESIDE) if curves else 0
        drag = BoxSelectTool(dimensions="width", renderers=[])
        drag.overlay.fill_color = INK[dark]
        drag.overlay.fill_alpha = 0.15
        plot.add_tools(drag)
        plot.toolbar.active_drag = drag
        asks = CustomJS(args={"asked": self._asked}, code=_ASK)
        for event in (Tap, SelectionGeometry):
            plot.js_on_event(event, asks)
        follow_view(plot, [(self._source, column) for column in columns], log)
        band = self._band.properties_with_values(include_defaults=False)
        self._band = BoxAnnotation(**{**band, **_BAND})
        plot.add_layout(self._band)
        inner = (size[0] - _BESIDE, size[1] - _BELOW - legend)
        add_marks(plot, [m for m in marks if low <= m.energy <= high], (low, high), inner, dark)
        plain_axes(plot)
        plot.yaxis.formatter = NumeralTickFormatter(format="0,0.[0000]" if log else "0,0.[0]")
        colour_figure(plot, dark)
        self.pane.object = plot

    def show(self, y: int, x: int, width: float, about: str = "") -> None:
        """Show the sum of the pixels within half a width of one, and their part of the others.

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
        parts = {f"curve{n}": self._part(c, c.share(rows)) for n, c in enumerate(self._curves)}
        self._source.data = {"x": self._source.data["x"], "here": counts, **parts}
        pixels = "" if rows.size == 1 else f" ({rows.size} pixels)"
        said = f"y {y}, x {x}{pixels}: {counts.sum():,.0f} counts"
        self.figure.title.text = f"{said}; {about}" if about else said

    def rest(self) -> None:
        """Show results with no pixel beside them; where there are none, the last pixel stays."""
        if self._results:
            self._source.data = {"x": self._source.data["x"], **self._whole()}
            self.figure.title.text = self._help()
            # By the app, too: where another step came to the front meanwhile, no browser follows.
            seen = self._seen(float(self.figure.x_range.start), float(self.figure.x_range.end))
            log = bool(np.isfinite(self._bottom))
            low, high = limits_of_counts([c.values[seen] for c in self._curves], log)
            self.figure.y_range.update(start=low, end=high)

    def _seen(self, low: float, high: float) -> np.ndarray:
        """Points on the screen between two energies."""
        energies = self._source.data["x"]
        return np.asarray((energies >= low) & (energies <= high))

    def _help(self) -> str:
        """Say what the mouse does."""
        first = "Hover over the map" if self._results else "All pixels"
        losses = self._si is not None and self._si.axis.unit == "eV"
        return f"{first}; {_MAPS[not losses]}"

    def _view(self, home: tuple[float, float]) -> tuple[float, float]:
        """Return the energies to show: those that were zoomed to, else all of interest."""
        before, self._home = self._home, home
        if before is None or self.figure is None:
            return home
        shown = float(self.figure.x_range.start), float(self.figure.x_range.end)
        return home if np.allclose(shown, before) else shown

    def _whole(self) -> dict[str, np.ndarray]:
        parts = {f"curve{n}": self._part(c, 1.0) for n, c in enumerate(self._curves)}
        whole = parts["curve0"]
        return {**parts, "here": np.full_like(whole, np.nan) if self._results else whole}

    def _part(self, curve: Curve, share: float) -> np.ndarray:
        """Part of a curve; on a logarithmic axis what lies below it is drawn at its lower end."""
        return np.asarray(np.maximum(curve.values, self._bottom) * share, np.float32)

    def mark(self, low: float, high: float) -> None:
        """Mark the window (axis unit) whose map is shown."""
        self._band.update(left=low, right=high, visible=True)

    @property
    def shown(self) -> np.ndarray:
        """Counts shown, channels summed for the screen."""
        return np.asarray(self._source.data["here"])

    def _step(self, n: int) -> int:
        return -(-n // (_MOST_OF_RESULTS if self._results else _MOST_BINS))

    def _binned(self, counts: np.ndarray) -> np.ndarray:
        starts = np.arange(0, counts.size, self._step(counts.size))
        return np.asarray(np.add.reduceat(counts, starts), np.float32)

    def _centers(self, centers: np.ndarray) -> np.ndarray:
        step = self._step(centers.size)
        return np.array([c.mean() for c in np.split(centers, range(step, centers.size, step))])

    def _was_asked(self, _attribute: str, _old: Any, new: Any) -> None:
        low, high = sorted(float(e) for e in new["energies"])
        if low == high:
            self._clicked(low)
        else:
            self._window(low, high)


def pixels_about(y: int, x: int, width: float, shape: tuple[int, int]) -> np.ndarray:
    """Return the rows of the pixels within half a width of a pixel, that pixel in any case."""
    reach = int(width // 2)
    ys = np.arange(max(0, y - reach), min(shape[0], y + reach + 1))
    xs = np.arange(max(0, x - reach), min(shape[1], x + reach + 1))
    near = (ys[:, None] - y) ** 2 + (xs[None, :] - x) ** 2 <= max(width / 2, 0.5) ** 2
    rows: np.ndarray = (ys[:, None] * shape[1] + xs[None, :])[near]
    return rows
