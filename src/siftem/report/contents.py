"""How one number of a composition is shown: with errors, as a range, or as what is assumed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np

from siftem.printed_numbers import significant, whole_number
from siftem.quantification.composition import Composition
from siftem.quantification.minerals import Quantity
from siftem.quantification.open_ranges import Proportion, interval_of, is_open
from siftem.report.table import Cell, assumed_cells, below_limit, error_cells, range_cells

#: In place of a detection limit above 100%.
NO_LIMIT = "no limit"
#: Percent that an element may hold without being found, from which on it is told with "< LOD".
_MUCH = 5.0
#: Behind contents that are found below their detection limit, where text can't be dotted.
BETWEEN_SIGN = " *"
#: What a note under a table says of ranges.
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
    systematic: bool = False,
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
    systematic : bool
        Show the systematic error as well.

    Returns
    -------
    tuple of Cell
        Two columns, with systematic errors three.
    """
    span = 3 if systematic else 2
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
    values = c.atomic_fractions if atoms else c.weight_fractions
    errors = [c.atomic_covariance if atoms else c.covariance]
    if systematic:
        errors.append(c.atomic_systematic if atoms else c.systematic)
    cells = error_cells(
        100 * float(values[i]), *(100 * float(np.sqrt(max(e[i, i], 0.0))) for e in errors)
    )
    if c.weight_fractions[i] < c.detection_limits[i]:
        return replace(cells[0], kind="between"), *cells[1:]
    return cells


def derived_cells(
    c: Composition, value: Quantity, systematic: float, proportion: Proportion
) -> tuple[Cell, ...]:
    """Return the three cells of what follows from a composition, with both errors or as a range.

    Parameters
    ----------
    c : Composition
    value : Quantity
        With its counting error.
    systematic : float
        Its systematic standard deviation.
    proportion : Proportion
        The same, as it follows from the weight fractions.
    """
    if is_open(c):
        return range_cells(*interval_of(c, proportion), 3)
    return error_cells(value.value, value.sigma, systematic)


def open_phases(compositions: Collection[Composition]) -> bool:
    """Whether any composition is shown by ranges."""
    return any(is_open(c) for c in compositions)


def limit_text(limit: float, *, per: float = 100.0, digits: int = 2) -> str:
    """Return a detection limit as text.

    Parameters
    ----------
    limit : float
        A weight fraction.
    per : float
        Unit: 100 for percent, 1e6 for parts per million.
    digits : int
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
    return (
        whole_number(float(f"{shown:.{digits}g}"))
        if shown >= 10**digits
        else significant(shown, digits)
    )


def plain_text(cells: tuple[Cell, ...]) -> str:
    """Return the text of some cells in one line, with a sign where it is below its limit."""
    text = " ".join(cell.text for cell in cells if cell.text)
    return text + BETWEEN_SIGN if any(cell.kind == "between" for cell in cells) else text


def between_note(rows: Iterable[Iterable[str]]) -> str:
    """Return what the sign means, when a text of a table has it."""
    signed = any(text.endswith(BETWEEN_SIGN) for row in rows for text in row)
    return "*: above the critical level, below the detection limit" if signed else ""
