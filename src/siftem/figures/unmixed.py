"""The figure of unmixing: abundance maps, their errors, and the spectra beside the subtracted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from siftem.energy_axis import EnergyAxis
from siftem.figures.legend import Entry, draw_titled_legend, height_below
from siftem.figures.line_labels import LineLabel
from siftem.figures.maps import COLOUR_BAR_ROOM, add_colour_bar, draw_image
from siftem.figures.page import MARGIN, ROW_GAP, TITLE_HEIGHT, ImageGrid, Page, image_grid
from siftem.figures.spectra import Curve, Strip, draw_stack, energy_scale, stack_height
from siftem.figures.style import BEHIND_COLOUR, Look, drawing_style, phase_colours
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.unmixed import Unmixed

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
        values = _on(own.axis, other)
        total = float(values.sum())
        if total > 0:
            scaled = values * (float(own.values.sum()) / total)
            curves.append(Curve(scaled, BEHIND_COLOUR, bold=False))
    return Strip(tuple(curves))


def _on(axis: EnergyAxis, spectrum: Spectrum) -> np.ndarray:
    """The channels of a spectrum that a cropped axis holds."""
    start = round((axis.offset - spectrum.axis.offset) / axis.scale)
    return spectrum.values[start : start + axis.size]
