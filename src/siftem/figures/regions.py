"""Regions, phase maps and the agreement of two segmentations, as colours over a map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from siftem.decomposition.layout import MIXED, VACUUM
from siftem.errors import InputError
from siftem.figures.line_labels import Swatch, draw_swatches, swatches_height, swatches_width
from siftem.figures.maps import block_means, draw_image, image_limits, shown_step
from siftem.figures.page import GAP, MARGIN, TITLE_HEIGHT, Page, image_grid
from siftem.figures.style import (
    OVERLAP_COLOUR,
    PAGE_WIDTH,
    SMALL_FONT_SIZE,
    drawing_style,
    phase_colours,
    text_width,
)
from siftem.segment.regions import Regions

#: How much of an overlay's colour covers the grey image.
_OPACITY = 0.62


def overlay(
    shape: tuple[int, int],
    layers: Mapping[str, tuple[np.ndarray, str]],
    background: np.ndarray | None = None,
) -> np.ndarray:
    """Blend coloured masks over a grey image.

    Parameters
    ----------
    shape : tuple of int
        Pixels (ny, nx).
    layers : mapping of str to (mask, colour)
        Boolean masks (ny, nx); later ones lie on top.
    background : ndarray of shape (ny, nx), optional
        Shown in light grey; white when not given.

    Returns
    -------
    ndarray of shape (ny, nx, 3)
        RGB from 0 to 1.
    """
    if background is None:
        grey = np.ones(shape)
    else:
        low, high = image_limits(background, from_zero=False)
        shown = np.clip(np.nan_to_num(background, nan=low), low, high)  # infinities, too
        grey = 0.35 + 0.6 * (shown - low) / (high - low)
    rgb = np.repeat(grey[:, :, None], 3, axis=2)
    base = rgb.copy()
    for mask, colour in layers.values():
        rgb[mask] = (1 - _OPACITY) * base[mask] + _OPACITY * np.array(to_rgb(colour))
    return rgb


def draw_mask(
    ax: Axes,
    mask: np.ndarray,
    colour: str,
    *,
    background: np.ndarray | None = None,
    pixel_size: tuple[float, float] | None = None,
) -> None:
    """Draw one region in its phase's colour over a grey image.

    Parameters
    ----------
    ax : Axes
    mask : ndarray of shape (ny, nx), bool
        True = included.
    colour : str
    background : ndarray of shape (ny, nx), optional
    pixel_size : tuple of float, optional
        nm.
    """
    mask = np.asarray(mask)
    shape = (mask.shape[0], mask.shape[1])
    _draw_layers(ax, shape, {"region": (mask, colour)}, background, pixel_size)


def _draw_layers(
    ax: Axes,
    shape: tuple[int, int],
    layers: Mapping[str, tuple[np.ndarray, str]],
    background: np.ndarray | None,
    pixel_size: tuple[float, float] | None,
) -> None:
    """Draw coloured masks over a grey image, no finer than a picture shows them."""
    step = shown_step(shape)
    coarse = {name: (mask[::step, ::step], colour) for name, (mask, colour) in layers.items()}
    grey = None if background is None else block_means(background, step)
    size = next(iter(coarse.values()))[0].shape
    rgb = overlay((size[0], size[1]), coarse, grey)
    draw_image(ax, rgb, shape=shape, pixel_size=pixel_size)


def draw_regions(
    ax: Axes,
    regions: Regions,
    colours: Mapping[str, str],
    *,
    background: np.ndarray | None = None,
    pixel_size: tuple[float, float] | None = None,
) -> dict[str, str]:
    """Draw pure matrix, mixtures and intersections in one image.

    Parameters
    ----------
    ax : Axes
    regions : Regions
    colours : mapping of str to str
        Colour of each phase.
    background : ndarray of shape (ny, nx), optional
        What shows in grey where no region lies.
    pixel_size : tuple of float, optional
        nm.

    Returns
    -------
    dict of str to str
        Colour of each region, by its name, for a legend.
    """
    shown = {f"pure {regions.matrix}": (regions.pure.mask, colours[regions.matrix])}
    for grain in regions.names:
        shown[f"mixture {grain}"] = (regions.mixture(grain).mask, colours[grain])
    if len(regions.names) > 1:
        shown["intersection"] = (regions.intersection.mask, OVERLAP_COLOUR)
    _draw_layers(ax, regions.shape, shown, background, pixel_size)
    return {name: colour for name, (_, colour) in shown.items()}


def regions_figure(
    regions: Regions,
    *,
    colours: Mapping[str, str] | None = None,
    background: np.ndarray | None = None,
    pixel_size: tuple[float, float] | None = None,
) -> Figure:
    """Return one picture of all regions with a legend of their shares of the map.

    Parameters
    ----------
    regions : Regions
    colours : mapping of str to str, optional
        Colour of each phase; by default in the order matrix, grains.
    background : ndarray of shape (ny, nx), optional
        Shown in grey under the colours, such as all counts or HAADF.
    pixel_size : tuple of float, optional
        nm.

    Returns
    -------
    Figure
        88 mm wide (one column) and more.
    """
    colours = colours or phase_colours((regions.matrix, *regions.names))
    width = 110.0
    grid = image_grid(1, regions.shape, pixel_size, width=3 * 60.0, columns=1)
    counts = regions.pixel_counts()
    if len(regions.names) < 2:
        counts.pop("intersection")
    height = max(grid.image_height, 5.0 * (len(counts) + 1)) + 2 * MARGIN
    with drawing_style():
        page = Page(height, width)
        ax = page.axes(MARGIN, MARGIN, grid.image_width, grid.image_height)
        shown = draw_regions(ax, regions, colours, background=background, pixel_size=pixel_size)
        left = MARGIN + grid.image_width + 4.0
        total = regions.shape[0] * regions.shape[1]
        swatches = [
            Swatch(name, shown.get(name, "#C8C8C8"), f"{100 * pixels / total:.1f}%")
            for name, pixels in counts.items()
        ]
        draw_swatches(page, swatches, left=left, top=MARGIN, width=width - MARGIN - left)
    return page.figure


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


_BOTH = "#0072B2"
#: Masks of the first segmentation alone, of the second alone.
_ALONE = ("#E69F00", "#CC79A7")
_NAMES = ("first only", "second only")


def agreement_figure(
    first: Mapping[str, np.ndarray],
    second: Mapping[str, np.ndarray],
    *,
    background: np.ndarray | None = None,
    pixel_size: tuple[float, float] | None = None,
) -> Figure:
    """Draw where two segmentations of one map agree, an image for each phase.

    Parameters
    ----------
    first, second : mapping of str to ndarray (ny, nx), bool
        Masks of the same phases, True = included.
    background : ndarray of shape (ny, nx), optional
        Shown in grey.
    pixel_size : tuple of float, optional
        nm.

    Returns
    -------
    Figure
        180 mm wide, with the intersection over union above each image.
    """
    if not first or list(first) != list(second):
        raise InputError(
            f"both segmentations must have the same phases, got {', '.join(first) or 'none'} and "
            f"{', '.join(second) or 'none'}"
        )
    shape = np.shape(next(iter(first.values())))
    if len(shape) != 2 or any(np.shape(m) != shape for m in (*first.values(), *second.values())):
        raise InputError("both segmentations must be masks of one shape (ny, nx)")
    grid = image_grid(len(first), (shape[0], shape[1]), pixel_size)
    with drawing_style():
        page = Page(grid.height + TITLE_HEIGHT + 2 * MARGIN)
        for i, name in enumerate(first):
            a, b = np.asarray(first[name], bool), np.asarray(second[name], bool)
            both, either = int((a & b).sum()), int((a | b).sum())
            shown = {
                "both": (a & b, _BOTH),
                _NAMES[0]: (a & ~b, _ALONE[0]),
                _NAMES[1]: (b & ~a, _ALONE[1]),
            }
            left, top = grid.place(i, MARGIN)
            ax = page.axes(left, top, grid.image_width, grid.image_height)
            picture = overlay((shape[0], shape[1]), shown, background)
            draw_image(ax, picture, pixel_size=pixel_size)
            share = f", IoU {both / either:.2f}" if either else ", nowhere"
            page.title(left, top, name, width=grid.title_width, ending=share)
        x = grid.left
        for label, colour in (("both", _BOTH), *zip(_NAMES, _ALONE, strict=True)):
            _swatch(page, x, page.height - MARGIN - 1.0, colour)
            page.text(
                x + 3.6, page.height - MARGIN - 1.0, label, size=SMALL_FONT_SIZE, va="baseline"
            )
            x += 3.6 + text_width(label, size=SMALL_FONT_SIZE) + GAP
    return page.figure


def _swatch(page: Page, left: float, bottom: float, colour: str) -> None:
    page.figure.add_artist(
        Rectangle(
            (left / page.width, 1 - bottom / page.height),
            2.6 / page.width,
            2.0 / page.height,
            transform=page.figure.transFigure,
            facecolor=colour,
            alpha=0.8,
            edgecolor="none",
        )
    )
