"""The curve over smoothness chosen by held-out labels, and coefficients over ionic radii."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from siftem.errors import InputError
from siftem.figures.page import MARGIN, TITLE_HEIGHT, Page, short_number
from siftem.figures.style import (
    GUIDE_COLOUR,
    PAGE_WIDTH,
    SMALL_FONT_SIZE,
    drawing_style,
    new_figure,
)
from siftem.minerals.lattice_strain import OnumaDiagram
from siftem.segment.smoothness import SmoothnessChoice

_CURVE_COLOUR = "#0072B2"
_CHOICE_COLOUR = "#D55E00"
#: mm for the numbers beside and below a frame.
_LEFT_ROOM, _BELOW_ROOM = 13.0, 8.0


def smoothness_figure(choice: SmoothnessChoice) -> Figure:
    """Draw what each smoothness loses of the best held-out log-likelihood.

    Parameters
    ----------
    choice : SmoothnessChoice

    Returns
    -------
    Figure
        88 mm wide (one column). Bars are standard errors; the line marks the choice. Both
        axes are linear near zero and logarithmic beyond.
    """
    candidates, loss = np.array(choice.candidates), choice.loss
    step = float(candidates[candidates > 0].min())
    width, height = 88.0, 56.0
    frame = (width - 2 * MARGIN - _LEFT_ROOM, height - 2 * MARGIN - TITLE_HEIGHT - _BELOW_ROOM)
    # Logarithmic from the noise on, or from the least loss.
    error = choice.standard_error
    noise = error[error > 0]
    linear = float(max(noise.min(), 1e-3)) if noise.size else 1.0
    with drawing_style():
        page = Page(height, width)
        top = MARGIN + TITLE_HEIGHT
        ax = page.axes(MARGIN + _LEFT_ROOM, top, *frame)
        ax.axvline(choice.smoothness, color=_CHOICE_COLOUR, linewidth=1.0)
        ax.axhline(0.0, color=GUIDE_COLOUR, linewidth=0.5, zorder=0)
        ax.errorbar(
            candidates,
            loss,
            yerr=error,
            color=_CURVE_COLOUR,
            marker="o",
            markersize=2.4,
            capsize=1.5,
            linewidth=0.8,
        )
        ax.set_yscale("symlog", linthresh=linear, linscale=0.7)
        ax.set_ylim(-0.5 * linear, max(1.6 * float((loss + error).max()), 2.0 * linear))
        title = f"Suggested {choice.smoothness:g}, best {choice.best:g}"
        page.text(MARGIN + _LEFT_ROOM, top - 1.4, title, va="baseline")
        ax.set_xscale("symlog", linthresh=step, linscale=0.5)
        ax.set_xlim(-0.3 * step, candidates[-1] * 1.15)
        places = ax.transData.transform(np.column_stack([candidates, candidates * 0]))[:, 0]
        numbered = candidates[_spaced(places)]
        ax.xaxis.set_major_locator(FixedLocator(numbered.tolist()))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xticklabels([f"{value:g}" for value in numbered])
        ax.set_xlabel("Smoothness")
        ax.set_ylabel("Loss of log-likelihood")
    return page.figure


def _spaced(positions: np.ndarray) -> np.ndarray:
    """Return indices of positions (pixels, ascending) that leave room for their numbers."""
    kept = [0]
    for i in range(1, len(positions)):
        if positions[i] - positions[kept[-1]] > 50:
            kept.append(i)
    return np.array(kept)


#: By charge: distinct also for colour-blind readers.
_COLOURS = {1: "#CC79A7", 2: "#009E73", 3: "#0072B2", 4: "#D55E00", 5: "#56B4E9", 6: "#000000"}
_MARKERS = {1: "v", 2: "s", 3: "o", 4: "D", 5: "^", 6: "P"}
_WIDTH, _HEIGHT = 86.0, 66.0


def onuma_figure(diagrams: Sequence[OnumaDiagram], *, width: float = PAGE_WIDTH) -> Figure:
    """Draw D on a logarithmic axis against ionic radii, with the curves of lattice strain.

    Parameters
    ----------
    diagrams : sequence of OnumaDiagram
        One panel each.
    width : float
        mm at the most: two panels beside each other on a page of two columns, else one.

    Returns
    -------
    Figure
        Errors are 95% intervals; arrows are limits; bands hold 68% of the curves.
    """
    shown = [d for d in diagrams if d.points]
    if not shown:
        raise InputError(
            "no partition coefficient of an ion whose radius is known: nothing to draw"
        )
    columns = min(len(shown), 2 if width >= 1.6 * _WIDTH else 1)
    rows = -(-len(shown) // columns)
    with drawing_style():
        figure = new_figure(min(_WIDTH * columns, width), _HEIGHT * rows)
        figure.set_layout_engine("constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, diagram in zip(panels, shown, strict=False):
            draw_onuma(ax, diagram)
        for ax in panels[len(shown) :]:
            ax.set_visible(False)
    return figure


def draw_onuma(ax: Axes, diagram: OnumaDiagram) -> None:
    """Draw one diagram into axes."""
    for point in diagram.points:
        colour = _COLOURS.get(point.charge, "black")
        marker = _MARKERS.get(point.charge, "o")
        low, high = point.interval_95
        if not np.isfinite(point.value) or point.value <= 0:
            if 0 < low < high < np.inf:  # known as a range only
                ax.plot([point.radius] * 2, [low, high], color=colour, linewidth=0.8)
            continue
        face = colour if point.fitted else "white"
        if point.limit:
            arrow = "v" if point.limit == "below" else "^"
            ax.plot(point.radius, point.value, arrow, color=colour, markersize=4, fillstyle="none")
        else:
            ends = [[max(point.value - low, 0.0)], [max(min(high, 1e9) - point.value, 0.0)]]
            ax.errorbar(
                point.radius, point.value, yerr=ends, fmt=marker, color=colour, markersize=3.5,
                markerfacecolor=face, elinewidth=0.6, capsize=0,
            )  # fmt: skip
        ax.annotate(
            point.element, (point.radius, point.value), xytext=(3, 3), textcoords="offset points",
            fontsize=SMALL_FONT_SIZE, color=colour,
        )  # fmt: skip
    for curve in diagram.curves:
        colour = _COLOURS.get(curve.charge, "black")
        own = [p.radius for p in diagram.points if p.fitted and p.charge == curve.charge]
        r = np.linspace(min(own) - 0.06, max(own) + 0.06, 120)
        low_band, high_band = curve.band(r)
        ax.fill_between(r, low_band, high_band, color=colour, alpha=0.15, linewidth=0)
        ax.plot(r, curve.at(r), color=colour, linewidth=0.9, label=f"{curve.charge}+")
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=99))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: short_number(v)))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.margins(0.09, 0.1)  # room for the names beside the outermost points
    top, bottom = diagram.phases
    ax.set_xlabel(f"ionic radius, Å (coordination {diagram.coordination})")
    ax.set_ylabel(f"D, {top} / {bottom}")
    # Charges without a curve have a colour too.
    for charge in sorted({p.charge for p in diagram.points} - {c.charge for c in diagram.curves}):
        colour = _COLOURS.get(charge, "black")
        marker = _MARKERS.get(charge, "o")
        ax.plot([], [], marker, color=colour, markersize=3.5, fillstyle="none", label=f"{charge}+")
    ax.legend(frameon=False, fontsize=SMALL_FONT_SIZE)
