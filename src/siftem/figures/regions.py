"""Regions as coloured overlays: pure matrix, mixtures, intersections."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from siftem.figures.legend import Swatch, draw_swatches
from siftem.figures.maps import block_means, draw_image, image_limits, shown_step
from siftem.figures.page import MARGIN, Page, image_grid
from siftem.figures.style import (
    OVERLAP_COLOUR,
    drawing_style,
    phase_colours,
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
