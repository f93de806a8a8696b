"""How well a model explains the counts: line fits with residuals, and the figure of unmixing.

The latter has abundance maps, their errors, and the spectra beside the subtracted ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from siftem.figures.line_labels import (
    LEGEND_ROW,
    Entry,
    LineLabel,
    band_height,
    draw_legend,
    draw_line_labels,
    draw_titled_legend,
    height_below,
    legend_rows,
    legend_width,
    seen_lines,
)
from siftem.figures.maps import COLOUR_BAR_ROOM, add_colour_bar, draw_image
from siftem.figures.page import (
    MARGIN,
    ROW_GAP,
    TITLE_HEIGHT,
    ImageGrid,
    Page,
    fix_minor_ticks,
    image_grid,
)
from siftem.figures.spectra import (
    BOTTOM_ROOM,
    LEFT_ROOM,
    RIGHT_ROOM,
    Curve,
    Strip,
    draw_spectrum,
    draw_stack,
    energy_scale,
    log_axis,
    log_limits,
    stack_height,
)
from siftem.figures.style import (
    BEHIND_COLOUR,
    NEUTRAL_COLOUR,
    PAGE_WIDTH,
    Look,
    drawing_style,
    fitted_text,
    phase_colours,
    text_width,
)
from siftem.fit.line_fit import LineFit
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.unmixed import Unmixed

_COUNTS_COLOUR = "#0072B2"
_MODEL_COLOUR = "black"
#: Residuals beyond this many standard deviations are drawn at the edge.
_RESIDUAL_LIMIT = 6.0


def fit_figure(
    fit: LineFit,
    *,
    name: str | None = None,
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
    labels = seen_lines([fit])
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
        fix_minor_ticks(ax)
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


#: Pixels that took no part, such as the rims of grains.
_LEFT_OUT = "#8a8a8a"
LOOK = Look()


def figure3(
    si: SpectrumImage,
    unmixed: Unmixed,
    *,
    subtracted: Mapping[str, Spectrum],
    line_labels: Sequence[LineLabel] = (),
    colours: Mapping[str, str] | None = None,
    look: Look = LOOK,
) -> Figure:
    """Draw what unmixing gives.

    Counts of each phase in each pixel, their standard deviations below, and the spectra of the
    phases over those by subtraction.

    Parameters
    ----------
    si : SpectrumImage
    unmixed : Unmixed
    subtracted : mapping of str to Spectrum
        Pure spectra by subtraction, on any axis with the same channels.
    line_labels : sequence of LineLabel
    colours : mapping of str to str, optional
        Colour of each phase.
    look : Look

    Returns
    -------
    Figure
        As wide as ``look`` says.
    """
    colours = colours or phase_colours(unmixed.names)
    k = len(unmixed.names)
    grid = image_grid(
        k, si.shape, si.pixel_size, below=COLOUR_BAR_ROOM, max_height=50.0, width=look.width
    )
    axis = unmixed.spectra[unmixed.names[0]].axis
    strip = float(np.clip(72.0 / k, 13.0, 28.0))
    spectra_top = MARGIN + 2 * grid.height + ROW_GAP
    stack = stack_height(k, line_labels, strip_height=strip)
    title = "Spectra by unmixing"
    entries = (
        Entry("unmix ± 1σ", "black", "band"),
        Entry("subtract, scaled to the same counts", BEHIND_COLOUR),
    )
    stack += height_below(title, entries, look.width)
    with drawing_style():
        page = Page(spectra_top + TITLE_HEIGHT + stack + MARGIN, look.width)
        for row, (what, maps) in enumerate((("", unmixed.maps), ("± ", unmixed.maps_sigma))):
            for i, name in enumerate(unmixed.names):
                shown, colour = f"{what}{name}", colours[name]
                _panel(page, grid, i, row, shown, maps[i], si, colour, look.colour_map)
        top = draw_titled_legend(page, spectra_top + TITLE_HEIGHT, title, entries)
        draw_stack(
            page,
            axis,
            [_strip(unmixed.spectra[n], subtracted.get(n), colours[n]) for n in unmixed.names],
            top=top,
            labels=line_labels,
            scale=energy_scale(axis, si.signal_type),
            strip_height=strip,
            energy_range=look.energy_range,
        )
    return page.figure


def _panel(
    page: Page,
    grid: ImageGrid,
    index: int,
    row: int,
    title: str,
    image: np.ndarray,
    si: SpectrumImage,
    colour: str,
    colour_map: str,
) -> None:
    left, top = grid.place(index, MARGIN + row * grid.height)
    page.title(left, top, title, width=grid.title_width, colour=colour)
    ax = page.axes(left, top, grid.image_width, grid.image_height)
    ax.set_facecolor(_LEFT_OUT)
    drawn = draw_image(ax, image, pixel_size=si.pixel_size, colours=colour_map)
    add_colour_bar(
        page,
        drawn,
        left=left,
        top=top + grid.image_height,
        width=grid.bar_width,
        label="counts",
    )


def _strip(own: Spectrum, other: Spectrum | None, colour: str) -> Strip:
    curves = [Curve(own.values, colour, own.name, own.standard_deviation)]
    if other is not None:
        start = round((own.axis.offset - other.axis.offset) / own.axis.scale)
        values, sigma = (
            v[start : start + own.axis.size] for v in (other.values, other.standard_deviation)
        )
        if (total := float(values.sum())) > 0:
            scale = float(own.values.sum()) / total
            curves.append(Curve(scale * values, BEHIND_COLOUR, sigma=scale * sigma, bold=False))
    return Strip(tuple(curves))
