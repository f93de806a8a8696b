"""Tables as plain data, and how one number of a composition is shown in them.

With errors, as a range, or as what is assumed: what a template or a terminal lays out.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from siftem.printed_numbers import (
    MISSING,
    Measured,
    as_in_range,
    measured,
    range_text,
    significant,
    whole_number,
)
from siftem.quantification.composition import Composition
from siftem.quantification.minerals import Quantity
from siftem.quantification.open_ranges import Proportion, interval_of, is_open

#: Shown for an element that was looked for and not found, ...
BELOW_LIMIT = "< LOD"
#: ... and for one that an anchor takes for absent.
ASSUMED = "assumed absent"
#: What the columns under a heading hold, where intervals stand among them, and what is no part of
#: their numbers.
_ERROR_TITLES = ("", " ±", " ± systematic")
_ONLY_95, _OR_95 = (" ± systematic", " 95%"), (" ±", " ± or 95%")
_BARE = re.compile(r"^\(?± |^\((?=\d)|(?<=\d)\)$")


@dataclass(frozen=True)
class Cell:
    """One cell.

    Parameters
    ----------
    text : str
    kind : str
        How it is set: "name" to the left, "value" to the right; "error", "systematic" and
        "interval" small behind them; "below" is not found or assumed, "between" found below its
        detection limit, "range" and "middle" in the middle, "flag" one to look at.
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
        ends = [(i, c) for row in self.rows for i, c in zip(_last_columns(row), row, strict=True)]
        for i in {i for i, c in ends if c.kind == "interval"}:
            titles[i] = titles[i].replace(*_ONLY_95).replace(*_OR_95)
        writer.writerow(titles)
        for row in self.rows:
            values: list[str] = []
            for cell in row:
                values += [_BARE.sub("", cell.text), *[""] * (cell.span - 1)]
            writer.writerow(values)
        return text.getvalue()


def _last_columns(row: Sequence[Cell]) -> list[int]:
    return [i - 1 for i in accumulate(cell.span for cell in row)]


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


#: In place of a detection limit above 100%.
NO_LIMIT = "no limit"
#: Percent that an element may hold without being found, from which on it is told with "< LOD".
_MUCH = 5.0
#: Behind contents that are found below their detection limit, where text can't be dotted.
BETWEEN_SIGN = " *"
#: An interval is told beside its value when it is wider by the first factor than counting makes it,
#: or narrower than the second, cut off by nothing and all.
_WIDER, _CUT, _QUANTILE = 1.5, 0.75, 1.96
#: What a note under a table says of intervals behind values, and of ranges.
INTERVALS = (
    "In brackets, where k-factors, film or borders leave more open than counting: all that the "
    "value may be, with a probability of 95%."
)
RANGES = (
    "Ranges hold all errors with a probability of 95%, and all that no anchor fixes: the value "
    "lies anywhere in them."
)


def abreast(phases: Sequence[str], most: int) -> list[tuple[str, ...]]:
    """Return phases in groups of much the same size, none larger than `most`."""
    groups = np.array_split(np.arange(len(phases)), max(1, -(-len(phases) // most)))
    return [tuple(phases[i] for i in group) for group in groups if len(group)]


def without_repeats(notes: Sequence[str]) -> list[str]:
    """Return notes without the sentences that a later one says again; each keeps its first."""
    parted = [re.split(r"(?<=\.) (?=[A-Z])", f"{note}.") for note in notes]
    out = []
    for i, (first, *more) in enumerate(parted):
        later = {sentence for sentences in parted[i + 1 :] for sentence in sentences[1:]}
        out.append(" ".join([first, *(s for s in more if s not in later)])[:-1])
    return out


def content_cells(
    c: Composition,
    element: str,
    assumed: Collection[str] = (),
    *,
    by: str = "atoms",
    errors: str = "",
) -> tuple[Cell, ...]:
    """Return the cells of one element's content, in percent.

    Parameters
    ----------
    c : Composition
    element : str
        When it was not quantified, the cell is empty.
    assumed : collection of str
        Elements that an anchor takes for absent.
    by : {"atoms", "weight"}
    errors : {"", "counting", "systematic", "interval"}
        What stands behind the value: the error from counting, and behind that the systematic one or
        the 95% interval of all errors. By default this interval in place of the error from
        counting, where it is wider than counting makes it.

    Returns
    -------
    tuple of Cell
        Two columns, or three with what stands behind the error from counting.
    """
    span = 3 if errors in ("systematic", "interval") else 2
    if element not in c.elements:
        return (Cell("", "value", span),)
    if element in assumed:
        return assumed_cells(span)
    i, atoms = c.index(element), by == "atoms"
    low, high = map(float, 100 * (c.atomic_interval_95 if atoms else c.weight_interval_95)[i])
    if is_open(c):
        return range_cells(low, high, span)
    if not c.found[i]:
        return below_limit(span, high if high > _MUCH else None)
    value = 100 * float((c.atomic_fractions if atoms else c.weight_fractions)[i])
    covariance = c.atomic_covariance if atoms else c.covariance
    sigma = 100 * float(np.sqrt(max(covariance[i, i], 0.0)))
    cells = error_cells(value, sigma)
    if errors == "interval":
        cells = interval_cells(value, sigma, low, high)
    elif errors == "systematic":
        own = c.atomic_systematic if atoms else c.systematic
        cells = error_cells(value, sigma, 100 * float(np.sqrt(max(own[i, i], 0.0))))
    elif not errors:
        cells = value_cells(value, sigma, low, high)
    if c.weight_fractions[i] < c.detection_limits[i]:
        return replace(cells[0], kind="between"), *cells[1:]
    return cells


def value_cells(value: float, sigma: float, low: float, high: float) -> tuple[Cell, ...]:
    """Return a value with its counting error, or with its interval where that says more.

    Where it is wider, or so much narrower that the error would reach below nothing or beyond all.
    """
    interval = _interval(low, high)
    of_counting = 2 * _QUANTILE * sigma
    wider, cut = high - low > _WIDER * of_counting, high - low < _CUT * of_counting
    if interval.text and (wider or cut):
        return Cell(as_in_range(value, low, high)), interval
    return error_cells(value, sigma)


def interval_cells(value: float, sigma: float, low: float, high: float) -> tuple[Cell, ...]:
    """Return a value with its counting error and the 95% interval of all errors, in three cells."""
    return (*error_cells(value, sigma), _interval(low, high))


def _interval(low: float, high: float) -> Cell:
    """Return an interval in brackets; nothing where it says nothing."""
    text = range_text(low, high)
    return Cell("" if text == MISSING else f"({text})", "interval")


def derived_cells(c: Composition, value: Quantity, proportion: Proportion) -> tuple[Cell, ...]:
    """Return the three cells of what follows from a composition, as those of its contents.

    Parameters
    ----------
    c : Composition
    value : Quantity
        With its counting error.
    proportion : Proportion
        The same, as it follows from the weight fractions.
    """
    low, high = interval_of(c, proportion)
    if is_open(c):
        return range_cells(low, high, 3)
    return interval_cells(value.value, value.sigma, low, high)


def open_phases(compositions: Collection[Composition]) -> bool:
    """Whether any composition is shown by ranges."""
    return any(is_open(c) for c in compositions)


def with_intervals(rows: Iterable[Iterable[Cell]]) -> bool:
    """Whether any value has its interval behind it."""
    return any(cell.kind == "interval" for row in rows for cell in row)


def limit_text(limit: float, *, per: float = 100.0) -> str:
    """Return a detection limit as text.

    Parameters
    ----------
    limit : float
        A weight fraction.
    per : float
        Unit: 100 for percent, 1e6 for parts per million.
        Significant ones.

    Returns
    -------
    str
        "no limit" where not even the pure element would be found; empty for what has none, as
        oxygen by stoichiometry.
    """
    if not limit > 0:
        return ""
    if limit > 1:
        return NO_LIMIT
    shown = limit * per
    return whole_number(float(f"{shown:.2g}")) if shown >= 100 else significant(shown, 2)


def plain_text(cells: tuple[Cell, ...]) -> str:
    """Return the text of some cells in one line, with a sign where it is below its limit."""
    text = " ".join(cell.text for cell in cells if cell.text)
    return text + BETWEEN_SIGN if any(cell.kind == "between" for cell in cells) else text


def between_note(rows: Iterable[Iterable[str]]) -> str:
    """Return what the sign means, when a text of a table has it."""
    signed = any(text.endswith(BETWEEN_SIGN) for row in rows for text in row)
    return "*: above the critical level, below the detection limit" if signed else ""
