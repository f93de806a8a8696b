"""Spectra and curves as Bokeh figures, with every axis named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from bokeh.models import (
    ColumnDataSource,
    CustomJS,
    FixedTicker,
    HoverTool,
    Label,
    Legend,
    LogAxis,
    LogTicker,
    NumeralTickFormatter,
    Range1d,
    Span,
    Whisker,
)
from bokeh.plotting import figure

from siftem.app.style import INK, MARKED, PAPER, colour_figure
from siftem.decomposition.rank import RankChoice
from siftem.energy_axis import EnergyAxis
from siftem.figures.spectra import shown_range
from siftem.segment.smoothness import SmoothnessChoice

#: Marks nearer than this on the screen get rows of their own, pixels.
_MARK_ROOM = 44
_ROWS = 4
_ROW_HEIGHT = 13
#: Room that axes, legend and title take from a figure, pixels.
_BESIDE, _BELOW, _ABOVE, _LEGEND, _TITLE = 96, 48, 5, 24, 22
#: Width of a letter in the legend; of a line beside its name, and between two of them.
_LETTER, _SPACE = 7, 8
_SAMPLE = 16 + 5 + _SPACE
_FONT = "12px"
#: Energies that are shown beyond the last line, keV.
_BEYOND = 0.6
#: The vertical axis follows what is in view.
_FOLLOW = """
    let top = -Infinity, bottom = Infinity
    for (const [source, column] of curves) {
      const x = source.data.x, y = source.data[column]
      for (let i = 0; i < x.length; i++) {
        if (x[i] < shown.start || x[i] > shown.end || (log && !(y[i] > 0))) continue
        if (y[i] > top) top = y[i]
        if (y[i] < bottom) bottom = y[i]
      }
    }
    if (!(top > -Infinity)) return
    if (log) {
      range.setv({start: Math.max(bottom / 1.5, top * 1e-6), end: top * 2})
    } else {
      const room = 0.05 * ((top - Math.min(bottom, 0)) || 1)
      range.setv({start: bottom < 0 ? bottom - room : 0, end: top + room})
    }
"""


@dataclass(frozen=True)
class Curve:
    """A spectrum to draw.

    Parameters
    ----------
    name : str
    values : ndarray of shape (channels,)
    colour : str
    dash : str
        "solid" or as Bokeh has it.
    share : callable, optional
        Of the rows of some pixels: the part of its counts that belongs beside theirs.
    """

    name: str
    values: np.ndarray
    colour: str
    dash: str = "solid"
    share: Callable[[np.ndarray], float] = field(default=lambda _rows: 1.0)


@dataclass(frozen=True)
class LineMark:
    """An X-ray line to mark: its text and energy in keV."""

    text: str
    energy: float


def spectrum_figure(
    axis: EnergyAxis,
    curves: Sequence[Curve],
    *,
    marks: Sequence[LineMark] = (),
    size: tuple[int, int],
    log: bool = True,
    value_name: str = "counts",
    window: tuple[float, float] | None = None,
    title: str = "",
    dark: bool = False,
) -> figure:
    """Draw spectra over energy, with their lines marked.

    Parameters
    ----------
    axis : EnergyAxis
    curves : sequence of Curve
    marks : sequence of LineMark
    size : tuple of int
        Width and height on the screen.
    log : bool
    value_name : str
        Of the vertical axis.
    window : tuple of float, optional
        Energies to show at first, in the axis' unit for energy loss, else keV.
    title : str
    dark : bool
        Light lines and text on a dark ground.
    """
    kev = axis if axis.unit == "eV" else axis.to_kev()
    centers = kev.centers
    low, high = window or first_view(axis, np.sum([c.values for c in curves], axis=0), marks)
    shown = (centers >= low) & (centers <= high)
    bottom, top = limits_of_counts([c.values[shown] for c in curves], log)
    plot = figure(
        width=size[0],
        height=size[1],
        title=title or None,
        x_axis_label=f"Energy ({kev.unit})",
        y_axis_label=value_name,
        x_range=Range1d(low, high, bounds=(kev.first, kev.last)),
        y_range=Range1d(bottom, top),
        y_axis_type="log" if log else "linear",
        tools="xbox_zoom,xpan,xwheel_zoom,reset",
        active_drag="xbox_zoom",
        active_scroll="xwheel_zoom",
        toolbar_location="right",
        min_border_left=60,
    )
    plot.toolbar.logo = None
    if title:
        plot.title.text_font_size = "13px"
    lines = []
    for curve in curves:
        values = np.where(curve.values > bottom, curve.values, bottom) if log else curve.values
        drawn = plot.step(
            centers,
            values,
            mode="center",
            color=curve.colour,
            line_width=1.3,
            line_dash=curve.dash,
        )
        lines.append((curve.name, [drawn]))
    follow_view(plot, [(drawn.data_source, "y") for _name, (drawn,) in lines], log)
    legend = add_legend(plot, lines, size[0] - _BESIDE) if len(curves) > 1 else 0
    if not log:
        plot.add_layout(Span(location=0, dimension="width", line_color="#999999", line_width=1))
    above = _ABOVE + legend + (_TITLE if title else 0)
    inner = (size[0] - _BESIDE, size[1] - _BELOW - above)
    add_marks(plot, [m for m in marks if low <= m.energy <= high], (low, high), inner, dark)
    plain_axes(plot)
    colour_figure(plot, dark)
    return plot


def follow_view(plot: figure, curves: Sequence[tuple[ColumnDataSource, str]], log: bool) -> None:
    """Let the vertical axis follow what is in view, as it is moved and as the counts change.

    Not by a `DataRange1d`: what that has found once is fixed when the figure is shown again.
    """
    follow = CustomJS(
        args={
            "curves": [list(curve) for curve in curves],
            "shown": plot.x_range,
            "range": plot.y_range,
            "log": log,
        },
        code=_FOLLOW,
    )
    for end in ("start", "end"):
        plot.x_range.js_on_change(end, follow)
    for source, _column in curves:
        source.js_on_change("data", follow)


def first_view(
    axis: EnergyAxis, counts: np.ndarray, marks: Sequence[LineMark]
) -> tuple[float, float]:
    """Return the energies to show at first: where counts and marked lines are, all losses."""
    if axis.unit == "eV":
        return axis.first, axis.last
    kev = axis.to_kev()
    low, high = shown_range(axis, (), [counts])
    return low, min(kev.last, max(high, max((m.energy for m in marks), default=0.0) + _BEYOND))


def deviance_figure(choice: RankChoice, *, size: tuple[int, int], dark: bool = False) -> figure:
    """Draw the held-out deviance over the number of components, with what it suggests."""
    return choice_figure(
        {str(n): n == choice.n_components for n in choice.candidates},
        choice.excess,
        choice.standard_error,
        names=("Number of components", "Deviance above best"),
        size=size,
        dark=dark,
    )


def likelihood_figure(choice: SmoothnessChoice, *, size: tuple[int, int], dark: bool) -> figure:
    """Draw what likelihood each smoothness loses, with the one that is suggested."""
    # Every other one has a name: more do not fit.
    named = {
        (f"{c:g}" if n % 2 == 0 else " " * n): c == choice.smoothness
        for n, c in enumerate(choice.candidates)
    }
    return choice_figure(
        named,
        choice.loss,
        choice.standard_error,
        names=("Smoothness", "Log-likelihood lost"),
        size=size,
        dark=dark,
    )


def choice_figure(
    candidates: Mapping[str, bool],
    excess: np.ndarray,
    error: np.ndarray,
    *,
    names: tuple[str, str],
    size: tuple[int, int],
    dark: bool = False,
) -> figure:
    """Draw how much worse than the best each candidate is, with what is suggested.

    Parameters
    ----------
    candidates : mapping of str to bool
        What each is called, and whether it is the suggested one.
    excess, error : ndarray of shape (candidates,)
        Not negative; one standard error.
    names : tuple of str
        Of both axes.
    size : tuple of int
    dark : bool
    """
    chosen, places = list(candidates.values()), list(range(len(candidates)))
    source = ColumnDataSource(
        {
            "n": places,
            "name": list(candidates),
            "excess": excess,
            "low": excess - error,
            "high": excess + error,
            "fill": ["#0072B2" if c else "#ffffff" for c in chosen],
            "size": [13 if c else 8 for c in chosen],
        }
    )
    reach = float((excess + error).max()) or 1.0
    plot = figure(
        width=size[0],
        height=size[1],
        x_axis_label=names[0],
        y_axis_label=names[1],
        y_range=Range1d(-0.06 * reach, 1.08 * reach),
        tools="",
        toolbar_location=None,
    )
    plot.xaxis.ticker = places
    plot.xaxis.major_label_overrides = dict(zip(places, candidates, strict=True))
    plot.line("n", "excess", source=source, line_color="#0072B2")
    whisker = Whisker(base="n", lower="low", upper="high", source=source, line_color="#0072B2")
    whisker.upper_head.size = whisker.lower_head.size = 7
    plot.add_layout(whisker)
    dots = plot.scatter(
        "n", "excess", source=source, size="size", fill_color="fill", line_color="#0072B2"
    )
    about = [(names[0], "@name"), (names[1], "@excess{0.0}")]
    plot.add_tools(HoverTool(renderers=[dots], tooltips=about))
    plain_axes(plot)
    colour_figure(plot, dark)
    return plot


def limits_of_counts(values: Sequence[np.ndarray], log: bool) -> tuple[float, float]:
    """Return the limits of a vertical axis; a logarithmic one stops where the noise begins."""
    every = np.concatenate(values) if len(values) else np.zeros(1)
    every = every[np.isfinite(every)]
    top = float(every.max(initial=0.0))
    if log:
        positive = every[every > 0]
        top = top if top > 0 else 1.0
        bottom = float(np.quantile(positive, 0.1)) if positive.size else top / 10
        return max(bottom / 1.5, top * 1e-6), top * 2
    bottom = float(every.min(initial=0.0))
    room = 0.05 * ((top - bottom) or 1.0)
    return bottom - (room if bottom < 0 else 0), top + room


def add_legend(plot: figure, items: list[tuple[str, list[Any]]], width: int) -> int:
    """Name curves above a figure, in as many rows as keep them within a width; their height."""
    wide = [_LETTER * len(name) + _SAMPLE for name, _drawn in items]
    columns = len(items) if sum(wide) <= width else max(1, width // max(wide))
    legend = Legend(
        items=items,
        orientation="horizontal",
        ncols=columns,
        label_text_font_size="11px",
        border_line_color=None,
        padding=0,
        margin=2,
        spacing=_SPACE,
        glyph_width=16,
    )
    plot.add_layout(legend, "above")
    rows = -(-len(items) // columns)
    return _LEGEND * rows


def add_marks(
    plot: figure,
    marks: Sequence[LineMark],
    window: tuple[float, float],
    inner: tuple[int, int],
    dark: bool,
) -> None:
    """Mark lines at the top of a figure, in as many rows as keep their names apart."""
    per_kev = inner[0] / (window[1] - window[0])
    right = [-np.inf] * _ROWS
    for mark in sorted(marks, key=lambda m: m.energy):
        x = mark.energy * per_kev
        # At the right border a name stands before its line.
        before = (window[1] - mark.energy) * per_kev < _MARK_ROOM
        x -= _MARK_ROOM * before
        row = next((r for r in range(_ROWS) if x - right[r] >= _MARK_ROOM), None)
        plot.add_layout(
            Span(
                location=mark.energy,
                dimension="height",
                line_color=MARKED[dark],
                line_width=1,
                line_dash="dotted",
                level="underlay",
            )
        )
        if row is None:  # no room for its name: the line is still marked
            continue
        right[row] = x
        plot.add_layout(
            Label(
                x=mark.energy,
                y=inner[1] - 16 - _ROW_HEIGHT * row,
                y_units="screen",
                x_offset=-2 if before else 2,
                text_align="right" if before else "left",
                text=mark.text,
                text_font_size="11px",
                text_color=INK[dark],
                background_fill_color=PAPER[dark],
                background_fill_alpha=0.8,
            )
        )


def plain_axes(plot: figure) -> None:
    """Write the names and numbers of axes as all figures do."""
    for one in plot.axis:
        if isinstance(one, LogAxis):
            # Within two decades Bokeh's ticks would be 7.000e+6, one over the other.
            few = isinstance(plot.y_range, Range1d) and plot.y_range.end < 300 * plot.y_range.start
            fixed = [step * 10.0**n for n in range(-6, 13) for step in (1, 2, 5)]
            one.ticker = FixedTicker(ticks=fixed) if few else LogTicker(desired_num_ticks=4)
            one.formatter = NumeralTickFormatter(format="0,0.[000]")
        one.axis_label_text_font_style = "normal"
        one.axis_label_text_font_size = _FONT
        one.major_label_text_font_size = "11px"
