"""Panels placed in millimetres from the top left of a page, and the numbers beside axes.

Where noise has both signs, an axis is linear about zero and logarithmic above.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import TICKLEFT
from matplotlib.text import Text
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    NullFormatter,
    NullLocator,
    SymmetricalLogLocator,
)

from siftem.figures.style import (
    FONT_SIZE,
    MM_PER_INCH,
    PAGE_WIDTH,
    STYLE,
    fitted_text,
    new_figure,
    text_width,
)

#: Space above each panel for its letter and title, mm.
TITLE_HEIGHT = 4.6
#: Space between neighbouring panels, mm.
GAP = 4.0
#: Space between rows of panels, mm.
ROW_GAP = 1.5
#: Narrowest panel that still holds a title, mm.
_LEAST_CELL = 30.0
#: Space around the page, mm.
MARGIN = 1.5


class Page:
    """A figure whose axes and texts are placed in mm from the top left.

    Parameters
    ----------
    height : float
        mm.
    width : float
        mm.
    """

    def __init__(self, height: float, width: float = PAGE_WIDTH) -> None:
        self.width = width
        self.height = height
        self.figure: Figure = new_figure(width, height)
        self._letters = 0

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes whose frame has these edges."""
        box = (
            left / self.width,
            1 - (top + height) / self.height,
            width / self.width,
            height / self.height,
        )
        return self.figure.add_axes(box)

    def text(self, left: float, top: float, text: str, **style: Any) -> Text:
        """Write plain text (never read as formulas) with its baseline at ``top``."""
        return self.figure.text(
            left / self.width, 1 - top / self.height, text, parse_math=False, **style
        )

    def title(
        self,
        left: float,
        top: float,
        text: str,
        *,
        width: float,
        colour: str = "black",
        ending: str = "",
    ) -> float:
        """Write the next panel letter and a title above a panel whose top left is given.

        A title wider than ``width`` mm is cut with an ellipsis, but ``ending`` stays whole.

        Returns
        -------
        float
            mm from the left of the page to the end of the title.
        """
        letter = f"({panel_letter(self._letters)})"
        self._letters += 1
        baseline = top - 1.5
        self.text(left, baseline, letter, weight="bold")
        start = text_width(letter, bold=True) + 1.3
        named = colour != "black"
        room = width - start - (text_width(ending, bold=named) if ending else 0.0)
        shown = fitted_text(text, room, size=FONT_SIZE, bold=named) + ending
        weight = "bold" if named else "normal"
        self.text(left + start, baseline, shown, color=colour, weight=weight)
        return left + start + text_width(shown, bold=named)


def frame_size(ax: Axes) -> tuple[float, float]:
    """Width and height of the frame of axes, mm."""
    box = ax.get_position()
    page = ax.figure
    assert isinstance(page, Figure)
    width, height = page.get_size_inches() * MM_PER_INCH
    return float(box.width * width), float(box.height * height)


def panel_letter(index: int) -> str:
    """Return a, b, ..., z, aa, ab, ... for 0, 1, ..."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


@dataclass(frozen=True)
class ImageGrid:
    """Where equal image panels go: rows of cells, each with a title and room below.

    Parameters
    ----------
    columns, rows : int
    image_width, image_height : float
        mm.
    left : float
        mm from the left of the page to the first cell.
    cell_width, cell_height : float
        mm, titles and gaps included.
    """

    columns: int
    rows: int
    image_width: float
    image_height: float
    left: float
    cell_width: float
    cell_height: float

    @property
    def height(self) -> float:
        """Height of all rows, mm."""
        return self.rows * self.cell_height

    @property
    def title_width(self) -> float:
        """Room for a title, mm."""
        return self.cell_width - GAP + 1.0

    @property
    def bar_width(self) -> float:
        """Room for a colour bar and its label below an image, mm."""
        return max(self.image_width, min(self.cell_width - GAP, 26.0))

    def place(self, index: int, top: float) -> tuple[float, float]:
        """Return left and top of an image's frame, for a grid that starts at ``top``."""
        row, column = divmod(index, self.columns)
        return (
            self.left + column * self.cell_width,
            top + row * self.cell_height + TITLE_HEIGHT,
        )


def image_grid(
    n: int,
    shape: tuple[int, int],
    pixel_size: tuple[float, float] | None,
    *,
    below: float = 0.0,
    columns: int | None = None,
    width: float = PAGE_WIDTH,
    max_height: float = 60.0,
) -> ImageGrid:
    """Plan equal panels for images of one shape over the width of a page.

    Up to five stand in one row of 180 mm, fewer in narrower ones; more are spread evenly over rows.

    Parameters
    ----------
    n : int
        Number of images, at least 1.
    shape : tuple of int
        Pixels (ny, nx).
    pixel_size : tuple of float or None
        Height and width of a pixel.
    below : float
        mm to keep free below each image, as for a colour bar.
    columns : int, optional
        Images in a row.
    width : float
        mm.
    max_height : float
        Tallest image, mm; images then become narrower than their cells.

    Returns
    -------
    ImageGrid
        Strips of extreme aspect are shown with at least 6 mm on the short side, stretched.
    """
    if columns is None:
        rows = math.ceil(n / max(1, int((width - 2 * MARGIN + GAP) // (_LEAST_CELL + GAP))))
        columns = math.ceil(n / rows)
    rows = math.ceil(n / columns)
    usable = width - 2 * MARGIN
    # One or two lone panels would be too large: no cell is wider than a third of the page.
    cell = min((usable + GAP) / columns, max((usable + GAP) / 3, _LEAST_CELL + GAP))
    aspect = image_aspect(shape, pixel_size)
    image_width = cell - GAP
    image_height = image_width * aspect
    if image_height > max_height:
        image_height = max_height
        image_width = max(max_height / aspect, 6.0)
    image_height = max(image_height, 6.0)
    # Narrow images stand together, with room for their titles and colour bars.
    cell = min(cell, max(image_width, _LEAST_CELL) + GAP)
    left = MARGIN + max(0.0, (usable + GAP - columns * cell) / 2)
    return ImageGrid(
        columns=columns,
        rows=rows,
        image_width=image_width,
        image_height=image_height,
        left=left,
        cell_width=cell,
        cell_height=TITLE_HEIGHT + image_height + below + 1.5,
    )


def image_aspect(shape: tuple[int, int], pixel_size: tuple[float, float] | None) -> float:
    """Return height over width of an image of rectangular pixels."""
    ny, nx = shape
    dy, dx = pixel_size or (1.0, 1.0)
    return (ny * dy) / (nx * dx)


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def short_number(value: float) -> str:
    """Return 0, 0.01, 1, 30 or 3×10³ for one digit times a power of ten."""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(value) + 1e-9)
    factor = round(value / 10.0**exponent)
    if -2 <= exponent <= 2:
        return f"{factor * 10.0**exponent:g}"
    power = "10" + str(exponent).translate(_SUPERSCRIPTS)
    return power if factor == 1 else f"{factor}×{power}"


#: Decades that the linear part takes, from zero to where it ends.
_LINEAR_DECADES = 0.7
#: How far the axis goes below zero at the least, as a share of the linear part.
_BELOW = 0.7


def fix_minor_ticks(ax: Axes) -> None:
    """Draw the vertical axis' minor ticks as one line, for axes whose limits stay as they are.

    With five artists to each tick they take a fifth of the time of a page.
    """
    low, high = ax.get_ylim()
    places = np.asarray(ax.yaxis.get_minorticklocs(), float)
    places = places[(places >= low) & (places <= high)]
    ax.yaxis.set_minor_locator(NullLocator())
    ticks = Line2D(
        np.zeros(places.size),
        places,
        linestyle="none",
        marker=TICKLEFT,
        markersize=STYLE["ytick.minor.size"],
        markeredgewidth=STYLE["ytick.minor.width"],
        color="black",
        transform=ax.get_yaxis_transform(),
        clip_on=False,
        zorder=2.01,
    )
    ax.add_artist(ticks)


def linear_end(values: np.ndarray, sigma: np.ndarray) -> float:
    """Return where noise ends: three typical standard deviations of the fainter half.

    Parameters
    ----------
    values, sigma : ndarray of shape (channels,)
        Channels without an error, as those without a count, tell nothing of the noise.
    """
    known = sigma > 0
    if not known.any():
        return float(max(1e-3 * np.abs(values).max(), 1e-12))
    values, sigma = values[known], sigma[known]
    return float(max(3 * np.median(sigma[values <= np.median(values)]), 1e-12))


def signed_axis(ax: Axes, values: np.ndarray, sigma: np.ndarray, high: float) -> None:
    """Make the vertical axis linear up to `linear_end` and logarithmic beyond, with few numbers.

    Parameters
    ----------
    ax : Axes
    values, sigma : ndarray of shape (channels,)
        There is room for the lowest of them.
    high : float
        Upper limit.
    """
    end = linear_end(values, sigma)
    high = max(high, 2 * end)
    ax.set_yscale("symlog", linthresh=end, linscale=_LINEAR_DECADES)
    ax.set_ylim(min(-_BELOW * end, 1.5 * float(values.min())), high)
    # Numbers near the ends would run into those of the panels above and below.
    first, last = math.ceil(math.log10(end)), math.floor(math.log10(high / 1.3))
    decades = range(last, first - 1, -max(1, math.ceil((last - first + 1) / 2)))
    ax.yaxis.set_major_locator(FixedLocator([0.0, *sorted(10.0**d for d in decades)]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: short_number(v)))
    ax.yaxis.set_minor_locator(
        SymmetricalLogLocator(base=10, linthresh=end, subs=list(range(2, 10)))
    )
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.axhline(0.0, color="black", linewidth=0.35, zorder=0.8)
