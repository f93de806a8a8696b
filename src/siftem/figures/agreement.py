"""How far two segmentations of one map agree."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from siftem.errors import InputError
from siftem.figures.maps import draw_image
from siftem.figures.page import GAP, MARGIN, TITLE_HEIGHT, Page, image_grid
from siftem.figures.regions import overlay
from siftem.figures.style import SMALL_FONT_SIZE, drawing_style, text_width

_BOTH = "#0072B2"
#: Masks of the first segmentation alone, of the second alone.
_ALONE = ("#E69F00", "#CC79A7")


def agreement_figure(
    first: Mapping[str, np.ndarray],
    second: Mapping[str, np.ndarray],
    *,
    background: np.ndarray | None = None,
    pixel_size: tuple[float, float] | None = None,
    labels: tuple[str, str] = ("first only", "second only"),
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
    labels : tuple of str
        What is in one of them only.

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
                labels[0]: (a & ~b, _ALONE[0]),
                labels[1]: (b & ~a, _ALONE[1]),
            }
            left, top = grid.place(i, MARGIN)
            ax = page.axes(left, top, grid.image_width, grid.image_height)
            picture = overlay((shape[0], shape[1]), shown, background)
            draw_image(ax, picture, pixel_size=pixel_size)
            share = f", IoU {both / either:.2f}" if either else ", nowhere"
            page.title(left, top, name, width=grid.title_width, ending=share)
        x = grid.left
        for label, colour in (("both", _BOTH), *zip(labels, _ALONE, strict=True)):
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
