"""The phase map: one colour a pixel, with the area of each phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from siftem.decomposition.layout import MIXED, VACUUM
from siftem.figures.legend import Swatch, draw_swatches, swatches_height, swatches_width
from siftem.figures.maps import draw_image, shown_step
from siftem.figures.page import MARGIN, Page, image_grid
from siftem.figures.style import PAGE_WIDTH, drawing_style, phase_colours

#: Pixels of several phases; no phase is grey.
MIXED_COLOUR = "#B4B4B4"
VACUUM_COLOUR = "#FFFFFF"
#: mm; longer names are cut.
_LEGEND_WIDTH = 62.0


@dataclass(frozen=True, eq=False)
class Labels:
    """One phase a pixel.

    Parameters
    ----------
    names : tuple of str
        Label i is ``names[i]``.
    labels : ndarray of int, shape (ny, nx)
        `siftem.decomposition.layout.VACUUM` and `siftem.decomposition.layout.MIXED` are no phases.
    area_percent, area_sigma : mapping of str to float
        Of the phases, of "mixed" and "vacuum".
    """

    names: tuple[str, ...]
    labels: np.ndarray
    area_percent: Mapping[str, float]
    area_sigma: Mapping[str, float]


def draw_phase_map(
    ax: Axes,
    shown: Labels,
    colours: Mapping[str, str],
    *,
    pixel_size: tuple[float, float] | None = None,
) -> None:
    """Draw the phases in their colours, mixed pixels grey and vacuum white.

    Parameters
    ----------
    ax : Axes
    shown : Labels
    colours : mapping of str to str
        Of each phase.
    pixel_size : tuple of float, optional
        nm.
    """
    table = np.zeros((len(shown.names) + 2, 3))
    for i, name in enumerate(shown.names):
        table[i] = to_rgb(colours[name])
    # These labels are indices from the end.
    table[VACUUM], table[MIXED] = to_rgb(VACUUM_COLOUR), to_rgb(MIXED_COLOUR)
    shape = (shown.labels.shape[0], shown.labels.shape[1])
    step = shown_step(shape)
    draw_image(ax, table[shown.labels[::step, ::step]], shape=shape, pixel_size=pixel_size)


def area_swatches(shown: Labels, colours: Mapping[str, str]) -> list[Swatch]:
    """Return the legend of a phase map: each phase with its share of the map and its error."""
    every = {n: colours[n] for n in shown.names}
    every.update({"mixed": MIXED_COLOUR, "vacuum": VACUUM_COLOUR})
    out = []
    for name, colour in every.items():
        area = shown.area_percent[name]
        if name not in shown.names and not area:
            continue
        error = shown.area_sigma.get(name, 0.0)
        digits = 1 if error >= 0.05 or not error else 2
        text = f"{area:.{digits}f}%" if not error else f"{area:.{digits}f} ± {error:.{digits}f}%"
        out.append(Swatch(name, colour, text))
    return out


def phase_map_figure(
    shown: Labels,
    *,
    colours: Mapping[str, str] | None = None,
    pixel_size: tuple[float, float] | None = None,
    width: float = PAGE_WIDTH,
) -> Figure:
    """Return the phase map with its legend.

    Parameters
    ----------
    shown : Labels
    colours : mapping of str to str, optional
        Of each phase; by default in their order.
    pixel_size : tuple of float, optional
        nm.
    width : float
        mm at the most.

    Returns
    -------
    Figure
    """
    colours = colours or phase_colours(shown.names)
    shape = (shown.labels.shape[0], shown.labels.shape[1])
    swatches = area_swatches(shown, colours)
    legend = min(max(swatches_width(swatches), 20.0), _LEGEND_WIDTH, width / 2)
    # As small as a column, so that its names can be read on top of the report, too.
    cell = min(62.0, width - legend - 2 * MARGIN - 1.0)
    grid = image_grid(1, shape, pixel_size, width=3 * cell, columns=1, max_height=62.0)
    width = 2 * MARGIN + grid.image_width + 4.0 + legend
    height = max(grid.image_height, swatches_height(swatches)) + 2 * MARGIN
    with drawing_style():
        page = Page(height, width)
        ax = page.axes(MARGIN, MARGIN, grid.image_width, grid.image_height)
        draw_phase_map(ax, shown, colours, pixel_size=pixel_size)
        left = MARGIN + grid.image_width + 4.0
        draw_swatches(page, swatches, left=left, top=MARGIN, width=width - MARGIN - left)
    return page.figure
