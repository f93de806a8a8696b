"""Tables as plain data: what a template or a terminal lays out."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass

from siftem.printed_numbers import Measured, measured, range_text, significant

#: Shown for an element that was looked for and not found, ...
BELOW_LIMIT = "< LOD"
#: ... and for one that an anchor takes for absent.
ASSUMED = "assumed absent"
#: What the columns under a heading hold, and what is no part of their numbers.
_ERROR_TITLES = ("", " ±", " ± systematic")
_BARE = re.compile(r"^\(?± |(?<=\d)\)$")


@dataclass(frozen=True)
class Cell:
    """One cell.

    Parameters
    ----------
    text : str
    kind : {"name", "value", "error", "systematic", "below", "between", "range", "middle", "flag"}
        How it is set: names to the left, values to the right, errors small behind them;
        "below" is not found or assumed, "between" found below its detection limit, "flag"
        one to look at.
    span : int
        Columns.
    """

    text: str
    kind: str = "value"
    span: int = 1


@dataclass(frozen=True)
class Table:
    """A table with a caption and a note below.

    Parameters
    ----------
    caption : str
    head : tuple of Cell
        Spans add up to the columns of each row.
    rows : tuple of tuple of Cell
    note : str
    """

    caption: str
    head: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def as_csv(self) -> str:
        """Return the table as CSV: a column for each value, error and systematic error."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        titles: list[str] = []
        for cell in self.head:
            own = [f"{cell.text}{more}" for more in _ERROR_TITLES[: cell.span]]
            titles += own + [cell.text] * (cell.span - len(own))
        writer.writerow(titles)
        for row in self.rows:
            values: list[str] = []
            for cell in row:
                values += [_BARE.sub("", cell.text), *[""] * (cell.span - 1)]
            writer.writerow(values)
        return text.getvalue()


def heading(text: str, span: int = 1) -> Cell:
    """Return a head cell over numbers."""
    return Cell(text, "value", span)


def name(text: str) -> Cell:
    """Return a cell with a name."""
    return Cell(text, "name")


def number(value: float, digits: int = 3) -> Cell:
    """Return a cell with a number to some significant digits."""
    return Cell(significant(value, digits))


def error_cells(value: float, sigma: float, systematic: float | None = None) -> tuple[Cell, ...]:
    """Return a value and its error in two cells, or three with a systematic error."""
    return _cells(measured(value, sigma, systematic), systematic is not None)


def below_limit(span: int, at_most: float | None = None) -> tuple[Cell, ...]:
    """Return the cell for an element that was not found, and how much of it there may be."""
    more = "" if at_most is None else f" (up to {significant(at_most, 2)})"
    return (Cell(BELOW_LIMIT + more, "below", span),)


def range_cells(low: float, high: float, span: int) -> tuple[Cell, ...]:
    """Return the cell for what lies anywhere in a range."""
    return (Cell(range_text(low, high), "range", span),)


def assumed_cells(span: int) -> tuple[Cell, ...]:
    """Return the cell for an element that was taken for absent."""
    return (Cell(ASSUMED, "below", span),)


def _cells(shown: Measured, with_systematic: bool) -> tuple[Cell, ...]:
    cells = [
        Cell(shown.value),
        Cell(f"± {shown.sigma}" if shown.sigma else "", "error"),
    ]
    if with_systematic:
        cells.append(Cell(f"(± {shown.systematic})" if shown.systematic else "", "systematic"))
    return tuple(cells)
