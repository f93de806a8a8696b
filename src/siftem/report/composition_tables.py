"""Tables of compositions, their ratios, and what they rest on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from siftem.errors import InputError
from siftem.pipeline.results import RunResult
from siftem.quantify.composition import Composition
from siftem.quantify.minerals import ANIONS, Quantity, oxide_name
from siftem.report.numbers import significant
from siftem.report.table import (
    Cell,
    Table,
    below_limit,
    error_cells,
    heading,
    name,
    number,
)

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def quantified_phases(result: RunResult) -> tuple[str, ...]:
    """Return the phases with a composition, the matrix first."""
    return tuple(n for n in result.pure if n in result.compositions)


def quantified_mixtures(result: RunResult) -> tuple[str, ...]:
    """Return the mixtures that were quantified as they are, before the subtraction."""
    return tuple(n for n in result.compositions if n not in result.pure)


def overview_table(result: RunResult, names: tuple[str, ...], caption: str) -> Table:
    """Tabulate atomic percent of several phases side by side, with counting errors."""
    elements = list(dict.fromkeys(e for n in names for e in result.compositions[n].elements))
    rows = []
    for element in elements:
        cells: list[Cell] = [name(element)]
        for phase in names:
            c = result.compositions[phase]
            if element not in c.elements:
                cells.append(Cell("", "value", 2))
                continue
            i = c.elements.index(element)
            if c.found[i]:
                sigma = float(np.sqrt(c.atomic_covariance[i, i]))
                cells.extend(error_cells(100 * float(c.atomic_fractions[i]), 100 * sigma))
            else:
                cells.extend(below_limit(2))
        rows.append(tuple(cells))
    return Table(
        caption,
        (name("at%"), *(heading(n, 2) for n in names)),
        tuple(rows),
        "± one standard deviation from counting and from the scale of the subtraction.",
    )


def composition_table(result: RunResult, phase: str) -> Table:
    """Tabulate one phase: weight and atomic percent, oxides, detection limits.

    Parameters
    ----------
    result : RunResult
    phase : str

    Returns
    -------
    Table
        Each value with its statistical error, and its systematic one in brackets.
    """
    c = result.compositions[phase]
    oxides = oxide_percents(c)
    at_sigma = np.sqrt(np.diag(c.atomic_covariance))
    at_systematic = np.sqrt(np.diag(c.atomic_systematic))
    rows = []
    for i, element in enumerate(c.elements):
        cells: list[Cell] = [name(element), name(c.families[i].split()[-1])]
        oxide = oxides.get(element)
        if c.found[i]:
            cells.extend(
                error_cells(
                    100 * float(c.weight_fractions[i]),
                    100 * float(c.sigma[i]),
                    100 * float(c.systematic_sigma[i]),
                )
            )
            cells.extend(
                error_cells(
                    100 * float(c.atomic_fractions[i]),
                    100 * float(at_sigma[i]),
                    100 * float(at_systematic[i]),
                )
            )
        else:
            cells.extend((*below_limit(3), *below_limit(3)))
        if oxide is None:
            cells.append(Cell("", "name", 4))
        else:
            label, value, systematic = oxide
            cells.append(name(label))
            if c.found[i]:
                cells.extend(error_cells(value.value, value.sigma, systematic))
            else:
                cells.extend(below_limit(3))
        cells.append(number(100 * float(c.detection_limits[i]), 2))
        rows.append(tuple(cells))
    return Table(
        "",
        (
            name("element"),
            name("line"),
            heading("wt%", 3),
            heading("at%", 3),
            Cell("oxide", "name"),
            heading("wt% of oxide", 3),
            heading("LOD, wt%"),
        ),
        tuple(rows),
    )


def oxide_percents(c: Composition) -> dict[str, tuple[str, Quantity, float]]:
    """Return oxide, weight percent with counting error, and systematic error, by cation.

    Empty when the usual valence of an element is not known.
    """
    try:
        counted = c.oxides()
        # The same propagation of errors, with the systematic covariance in its place.
        systematic = replace(c, covariance=c.systematic).oxides()
        labels = {oxide_name(e): e for e in c.elements if e not in ANIONS}
    except InputError:
        return {}
    return {labels[o]: (o.translate(_SUBSCRIPTS), counted[o], systematic[o].sigma) for o in counted}


def ratio_table(result: RunResult, *, unmixed: bool = False) -> Table | None:
    """Tabulate the recipe's atomic ratios of each phase; None without any.

    Parameters
    ----------
    result : RunResult
    unmixed : bool
        Of the unmixed spectra in place of the subtracted ones.
    """
    compositions = result.unmixed_compositions if unmixed else result.compositions
    names = tuple(n for n in quantified_phases(result) if n in compositions)
    rows = []
    for ratio in result.recipe.quantify.ratios:
        cells: list[Cell] = [name(ratio)]
        for phase in names:
            c = compositions[phase]
            try:
                value, systematic = c.ratio(ratio), c.ratio_systematic(ratio)
            except InputError:
                cells.append(Cell("not quantified", "below", 3))
                continue
            cells.extend(error_cells(value.value, value.sigma, systematic))
        rows.append(tuple(cells))
    if not rows or not names:
        return None
    return Table(
        "Atomic ratios, by unmixing" if unmixed else "Atomic ratios",
        (name("ratio"), *(heading(n, 3) for n in names)),
        tuple(rows),
        "± statistical, (± systematic), as above. Elements below their LOD enter with their "
        "fitted values.",
    )


def k_factor_table(result: RunResult) -> Table | None:
    """Tabulate k-factors with their source and uncertainty, and absorption in each phase."""
    names = quantified_phases(result)
    if not names:
        return None
    first = result.compositions[names[0]]
    films = [n for n in names if result.compositions[n].film is not None]
    rows = []
    for i, element in enumerate(first.elements):
        shell = first.families[i].split()[-1]
        cells = [
            name(element),
            name(f"{shell} (qualitative)" if shell == "M" else shell),
            number(float(first.k.values[i]), 4),
            number(100 * float(first.k.relative_sigma[i]), 2),
            name(first.k.source[i]),
        ]
        for phase in films:
            c = result.compositions[phase]
            cells.append(Cell(f"{float(c.absorption[c.elements.index(element)]):.3f}"))
        rows.append(tuple(cells))
    return Table(
        "k-factors and absorption",
        (
            name("element"),
            name("family"),
            heading("k"),
            heading("± %"),
            name("source"),
            *(heading(f"escape from {n}") for n in films),
        ),
        tuple(rows),
        "k by weight, for the photons emitted in the whole line family, without detector. "
        "Its uncertainty is systematic, the same for every phase. Escape: share of the "
        "family's photons that leave the film.",
    )


def film_text(c: Composition) -> str:
    """Say what was assumed about absorption in the film."""
    if c.film is None:
        if c.film_ends is None:
            return "no absorption correction"
        return (
            "no absorption correction (no thickness or density given): the systematic errors "
            "allow for any film up to 0.001 kg/m²"
        )
    film = c.film
    return (
        f"absorption corrected for {significant(film.thickness, 3)} nm of "
        f"{significant(film.density, 3)} g/cm³ at a take-off angle of {film.take_off_angle:g}°"
    )
