"""A line fit and its residuals: whether lines and continuum explain the counts."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from siftem.figures.legend import LEGEND_ROW, Entry, draw_legend, legend_rows, legend_width
from siftem.figures.line_labels import LineLabel, band_height, draw_line_labels, seen_lines
from siftem.figures.page import MARGIN, TITLE_HEIGHT, Page
from siftem.figures.spectra import (
    BOTTOM_ROOM,
    LEFT_ROOM,
    RIGHT_ROOM,
    Curve,
    draw_spectrum,
    energy_scale,
    log_axis,
    log_limits,
)
from siftem.figures.style import (
    NEUTRAL_COLOUR,
    PAGE_WIDTH,
    drawing_style,
    fitted_text,
    text_width,
)
from siftem.fit.line_fit import LineFit

_COUNTS_COLOUR = "#0072B2"
_MODEL_COLOUR = "black"
#: Residuals beyond this many standard deviations are drawn at the edge.
_RESIDUAL_LIMIT = 6.0


def fit_figure(
    fit: LineFit,
    *,
    name: str | None = None,
    labels: tuple[LineLabel, ...] | None = None,
    colour: str = _COUNTS_COLOUR,
    signal_type: str = "EDS_TEM",
    width: float = PAGE_WIDTH,
) -> Figure:
    """Draw counts, fit and continuum on a logarithmic axis, and the residuals below.

    Parameters
    ----------
    fit : LineFit
        What was subtracted before the fit is left out of counts and fit alike.
    name : str, optional
        By default that of the spectrum.
    labels : tuple of LineLabel, optional
        By default the lines that are seen in this fit.
    colour : str
        Of the counts and the name.
    signal_type : str
    width : float
        Of the page, mm.

    Returns
    -------
    Figure
        Residuals are ``(counts - fit) / sqrt(fit)``, those beyond 6 at the edge.
    """
    labels = seen_lines([fit]) if labels is None else labels
    spectrum = fit.spectrum
    scale = energy_scale(spectrum.axis, signal_type)
    band, main, below = band_height(labels), 42.0, 16.0
    frame_width = width - 2 * MARGIN - LEFT_ROOM - RIGHT_ROOM
    shown = name if name is not None else spectrum.name
    entries = (
        Entry("counts", colour),
        Entry("fit", _MODEL_COLOUR),
        Entry("continuum", _MODEL_COLOUR, "dashed"),
        Entry(f"deviance per degree of freedom {fit.reduced_deviance:.2f}", NEUTRAL_COLOUR, ""),
    )
    # Beside the name, or where that is too narrow in rows below it.
    beside = text_width(shown, bold=True) + 4.0 + legend_width(entries) <= frame_width
    rows = 0 if beside else len(legend_rows(entries, frame_width))
    header = MARGIN + TITLE_HEIGHT + rows * LEGEND_ROW
    height = header + band + main + below + BOTTOM_ROOM + MARGIN
    left = MARGIN + LEFT_ROOM
    top = header + band
    with drawing_style():
        page = Page(height, width)
        kev = spectrum.axis.to_kev()
        low, high = kev.first, kev.last
        limits = (low * scale.per_kev, high * scale.per_kev)
        ax = page.axes(left, top, frame_width, main)
        ax.set_xlim(*limits)
        floor, ceiling = log_limits(spectrum.values, np.sqrt(spectrum.variance))
        log_axis(ax, floor, ceiling)
        modelled = fit.mean - spectrum.background
        for curve in (
            Curve(spectrum.values, colour, bold=False),
            Curve(modelled, _MODEL_COLOUR),
            Curve(fit.continuum, _MODEL_COLOUR, dashed=True),
        ):
            draw_spectrum(ax, spectrum.axis, curve, scale=scale, floor=floor)
        ax.tick_params(labelbottom=False)
        residuals = page.axes(left, top + main, frame_width, below)
        residuals.set_xlim(*limits)
        residuals.set_ylim(-_RESIDUAL_LIMIT, _RESIDUAL_LIMIT)
        for level in (-3, 3):
            residuals.axhline(level, color=NEUTRAL_COLOUR, lw=0.4, ls=(0, (3, 3)))
        edges = spectrum.axis.to_kev().edges * scale.per_kev
        clipped = np.clip(fit.residual, -_RESIDUAL_LIMIT, _RESIDUAL_LIMIT)
        residuals.plot(edges[:-1], clipped, drawstyle="steps-post", color=colour, lw=0.5)
        residuals.yaxis.set_major_locator(FixedLocator([-3, 0, 3]))
        residuals.set_xlabel(scale.label)
        page.text(
            MARGIN + 0.3, top + main / 2, scale.channel_label, rotation=90, ha="left", va="center"
        )
        page.text(
            MARGIN + 0.3,
            top + main + below / 2,
            "residual (σ)",
            rotation=90,
            ha="left",
            va="center",
        )
        if labels:
            strip = page.axes(left, header, frame_width, band)
            strip.set_xlim(*limits)
            draw_line_labels(
                strip,
                labels,
                width=frame_width,
                height=band,
                per_kev=scale.per_kev,
                spectra=[ax, residuals],
            )
        name_width = frame_width - (legend_width(entries) + 4.0 if beside else 0.0)
        shown = fitted_text(shown, name_width, bold=True)
        page.text(left, MARGIN + 2.6, shown, weight="bold", color=colour)
        room = legend_width(entries) + 0.1 if beside else frame_width
        draw_legend(
            page, entries, left=left + frame_width - room,
            top=MARGIN + 2.6 + (0.0 if beside else LEGEND_ROW), width=room,
        )  # fmt: skip
    return page.figure
