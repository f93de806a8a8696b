"""A row of names with a sample of the line, the band or the points they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from siftem.figures.page import MARGIN, TITLE_HEIGHT, Page
from siftem.figures.style import NEUTRAL_COLOUR, SMALL_FONT_SIZE, fitted_text, text_width

_SAMPLE = 4.2  # mm
_SPACE = 4.0
#: Height of a row of names, mm.
LEGEND_ROW = 3.2


@dataclass(frozen=True)
class Entry:
    """One name in a legend.

    Parameters
    ----------
    text : str
    colour : str
    kind : {"line", "dashed", "points", "band", ""}
        What is drawn before the text; "band" is a line with its band, "" is nothing.
    """

    text: str
    colour: str
    kind: str = "line"


def legend_width(entries: Sequence[Entry]) -> float:
    """Width in mm that `draw_legend` takes."""
    texts = sum(text_width(e.text, size=SMALL_FONT_SIZE) for e in entries)
    samples = sum(_SAMPLE + 1.0 for e in entries if e.kind)
    return texts + samples + _SPACE * max(len(entries) - 1, 0)


def legend_rows(entries: Sequence[Entry], width: float) -> list[list[Entry]]:
    """Part entries into as few rows as a width in mm allows, in their order."""
    rows: list[list[Entry]] = []
    for entry in entries:
        if rows and legend_width([*rows[-1], entry]) <= width:
            rows[-1].append(entry)
        else:
            rows.append([entry])
    return rows


def height_below(title: str, entries: Sequence[Entry], page_width: float) -> float:
    """Return the mm that a legend takes below its title: none where it fits beside it."""
    title_width = text_width("(m)", bold=True) + 1.3 + text_width(title)
    if legend_width(entries) <= page_width - 2 * MARGIN - title_width - 6.0:
        return 0.0
    return LEGEND_ROW * len(legend_rows(entries, page_width - 2 * MARGIN))


def draw_titled_legend(page: Page, top: float, title: str, entries: Sequence[Entry]) -> float:
    """Write a title over the whole page and its legend, beside it or below.

    Returns
    -------
    float
        mm from the top of the page to what follows.
    """
    end = page.title(MARGIN, top, title, width=page.width - 2 * MARGIN)
    below = height_below(title, entries, page.width)
    left, baseline = (MARGIN, top + 1.6) if below else (end + 6.0, top - 1.5)
    draw_legend(page, entries, left=left, top=baseline, width=page.width - MARGIN - left)
    return top + below


def draw_legend(
    page: Page, entries: Sequence[Entry], *, left: float, top: float, width: float
) -> None:
    """Draw entries side by side, in as many rows as they take.

    Parameters
    ----------
    page : Page
    entries : sequence of Entry
    left, top : float
        mm; ``top`` is the baseline of the first row.
    width : float
        mm; text that does not fit is cut with an ellipsis.
    """
    for i, row in enumerate(legend_rows(entries, width)):
        _draw_row(page, row, left, top + i * LEGEND_ROW, width)


def _draw_row(page: Page, entries: Sequence[Entry], left: float, top: float, width: float) -> None:
    x = left
    middle = 1 - (top - 0.75) / page.height
    for entry in entries:
        if entry.kind:
            ends = [x / page.width, (x + _SAMPLE) / page.width]
            _sample(page, entry, ends, middle)
            x += _SAMPLE + 1.0
        shown = fitted_text(entry.text, left + width - x, size=SMALL_FONT_SIZE)
        page.text(x, top, shown, size=SMALL_FONT_SIZE, color=entry.colour)
        x += text_width(shown, size=SMALL_FONT_SIZE) + _SPACE


def _sample(page: Page, entry: Entry, ends: list[float], middle: float) -> None:
    transform = page.figure.transFigure
    if entry.kind == "band":
        half = 0.6 / page.height
        band = Rectangle(
            (ends[0], middle - half),
            ends[1] - ends[0],
            2 * half,
            transform=transform,
            facecolor=entry.colour,
            alpha=0.35,
            linewidth=0,
        )
        page.figure.add_artist(band)
    points = entry.kind == "points"
    x = [0.5 * (ends[0] + ends[1])] if points else ends
    line = Line2D(
        x,
        [middle] * len(x),
        color=entry.colour,
        linewidth=0.8,
        linestyle=(0, (4, 2)) if entry.kind == "dashed" else "-",
        marker="o" if points else None,
        markersize=2.2,
        transform=transform,
    )
    page.figure.add_artist(line)
    if points:
        bar = 0.95 / page.height
        page.figure.add_artist(
            Line2D(
                x * 2,
                [middle - bar, middle + bar],
                color=entry.colour,
                linewidth=0.5,
                transform=transform,
            )
        )


@dataclass(frozen=True)
class Swatch:
    """One line of a legend of areas.

    Parameters
    ----------
    text, colour : str
    share : str
        Written at the right.
    """

    text: str
    colour: str
    share: str


def swatches_height(swatches: Sequence[Swatch]) -> float:
    """Height in mm that `draw_swatches` takes."""
    return TITLE_HEIGHT * len(swatches) + 1.0


def swatches_width(swatches: Sequence[Swatch]) -> float:
    """Width in mm that they need for all names to be seen."""
    names = max((text_width(s.text) for s in swatches), default=0.0)
    shares = max((text_width(s.share, size=SMALL_FONT_SIZE) for s in swatches), default=0.0)
    return 3.8 + names + 5.0 + shares


def draw_swatches(
    page: Page, swatches: Sequence[Swatch], *, left: float, top: float, width: float
) -> None:
    """Draw patches of colour with their names below each other.

    Parameters
    ----------
    page : Page
    swatches : sequence of Swatch
    left, top, width : float
        mm; names that do not fit are cut with an ellipsis.
    """
    width = min(width, swatches_width(swatches))
    numbers = max((text_width(s.share, size=SMALL_FONT_SIZE) for s in swatches), default=0.0)
    for i, swatch in enumerate(swatches):
        baseline = top + TITLE_HEIGHT * (i + 1) - 1.6
        patch = Rectangle(
            (left / page.width, 1 - baseline / page.height),
            2.6 / page.width,
            2.2 / page.height,
            transform=page.figure.transFigure,
            facecolor=swatch.colour,
            edgecolor=NEUTRAL_COLOUR,
            linewidth=0.3,
        )
        page.figure.add_artist(patch)
        page.text(
            left + width, baseline, swatch.share, size=SMALL_FONT_SIZE, ha="right", va="baseline"
        )
        shown = fitted_text(swatch.text, width - 3.8 - numbers - 2.0)
        page.text(left + 3.8, baseline, shown, va="baseline")
