"""Axes of the user's, or new ones that notebooks show and ``plt.show()`` finds."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from siftem.figures.style import MM_PER_INCH, SMALL_FONT_SIZE, drawing_style, new_figure

#: Pixels per inch on a screen.
_SCREEN_DPI = 150


def new_axes(width: float, height: float, rows: int = 1, columns: int = 1, **grid: Any) -> Any:
    """Return axes in a new figure of pyplot's; to be called outside of `drawing_style`.

    A notebook's backend sets itself up with the first figure, in settings that `drawing_style`
    would take back.

    Parameters
    ----------
    width, height : float
        mm.
    rows, columns : int
    **grid
        As for ``Figure.subplots``.

    Returns
    -------
    ndarray of Axes, shape (rows, columns)
    """
    size = (width / MM_PER_INCH, height / MM_PER_INCH)
    figure = plt.figure(figsize=size, dpi=_SCREEN_DPI, layout="constrained", facecolor="white")
    with drawing_style():
        axes = figure.subplots(rows, columns, squeeze=False, **grid)
    for ax in axes.flat:
        settle(ax)
    return axes


@contextmanager
def one_panel(ax: Axes | None, width: float, height: float) -> Iterator[Axes]:
    """Give axes to draw into: the user's in the user's style, or new ones in that of siftem."""
    panel = new_axes(width, height)[0, 0] if ax is None else ax
    with nullcontext() if ax is not None else drawing_style():
        yield panel


def settle(ax: Axes) -> None:
    """Fix the sizes of ticks, which matplotlib looks up only when it draws."""
    for which, length, width in (("major", 2.2, 0.5), ("minor", 1.2, 0.35)):
        ax.tick_params(
            which=which, labelsize=SMALL_FONT_SIZE, length=length, width=width, direction="out"
        )


def small_png(draw: Callable[[Axes], Any], width: float, height: float) -> bytes:
    """Return one panel as a PNG for a page.

    Parameters
    ----------
    draw : callable
        Draws into the axes it is given.
    width, height : float
        mm.
    """
    buffer = io.BytesIO()
    with drawing_style():
        figure = new_figure(width, height)
        figure.set_layout_engine("constrained")
        ax = figure.add_subplot()
        settle(ax)
        draw(ax)
        figure.savefig(buffer, format="png", dpi=_SCREEN_DPI, metadata={"Software": None})
        figure.clear()
    return buffer.getvalue()
