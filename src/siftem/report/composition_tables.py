"""Tables of compositions, their ratios, and what they rest on.

Subtraction and unmixing stand side by side, also for partition coefficients.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from siftem.eels.ratios import ElementalRatios
from siftem.errors import InputError
from siftem.pipeline.composition_doubts import (
    FLAGGED,
    assumed_absent,
    flagged,
    run_differences,
    run_on_support,
)
from siftem.pipeline.results import RunResult
from siftem.pipeline.summary import oxides_by_cation
from siftem.printed_numbers import plus_minus, signed, significant
from siftem.quantification.composition import Composition
from siftem.quantification.line_ratios import LineRatios
from siftem.quantification.open_ranges import atomic_ratio, is_open, oxide_percent
from siftem.quantification.partition import PartitionCoefficient
from siftem.report.table import (
    INTERVALS,
    RANGES,
    Cell,
    Table,
    assumed_cells,
    below_limit,
    content_cells,
    derived_cells,
    error_cells,
    heading,
    limit_text,
    name,
    number,
    open_phases,
    range_cells,
    with_intervals,
)

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def quantified_phases(result: RunResult) -> tuple[str, ...]:
    """Return the phases with a composition, the matrix first."""
    return tuple(n for n in result.pure if n in result.compositions)


def quantified_mixtures(result: RunResult) -> tuple[str, ...]:
    """Return the mixtures that were quantified as they are, before the subtraction."""
    return tuple(n for n in result.compositions if n not in result.pure)


def headings(result: RunResult, names: Collection[str]) -> list[str]:
    """Return the names of phases, and which are mostly support."""
    held = run_on_support(result)
    return [f"{n}, mostly support" if n in held else n for n in names]


def overview_table(result: RunResult, names: tuple[str, ...], caption: str) -> Table:
    """Tabulate atomic percent of several phases side by side, with counting errors."""
    assumed = assumed_absent(result.recipe)
    shown = {n: result.compositions[n] for n in names}
    rows = []
    for element in dict.fromkeys(e for c in shown.values() for e in c.elements):
        cells: list[Cell] = [name(element)]
        for phase, c in shown.items():
            cells.extend(content_cells(c, element, assumed.get(phase, ())))
        rows.append(tuple(cells))
    notes = [
        "± one standard deviation from counting and from the scale of what was taken off.",
        INTERVALS if with_intervals(rows) else "",
        RANGES if open_phases(shown.values()) else "",
    ]
    return Table(
        caption,
        (name("at%"), *(heading(n, 2) for n in headings(result, names))),
        tuple(rows),
        " ".join(filter(None, notes)),
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
        Each value with its statistical error, and in brackets the 95% interval of all errors;
        ranges where nothing fixes how much of another phase to take off.
    """
    c = result.compositions[phase]
    assumed = assumed_absent(result.recipe).get(phase, ())
    oxides = oxides_by_cation(c)
    rows = []
    for i, element in enumerate(c.elements):
        cells: list[Cell] = [name(element), name(c.families[i].split()[-1])]
        for by in ("weight", "atoms"):
            cells.extend(content_cells(c, element, assumed, by=by, errors="interval"))
        if element not in oxides:
            cells += [Cell("", "name", 4)] if oxides else []
        else:
            label, value = oxides[element]
            cells.append(name(label.translate(_SUBSCRIPTS)))
            if element in assumed:
                cells.extend(assumed_cells(3))
            elif c.found[i] or is_open(c):
                cells.extend(derived_cells(c, value, oxide_percent(c, element)))
            else:
                cells.extend(below_limit(3))
        limit = float(c.detection_limits[i])
        cells.append(Cell("" if element in assumed else limit_text(limit)))
        rows.append(tuple(cells))
    head = [name("element"), name("line"), heading("wt%", 3), heading("at%", 3)]
    head += [name("oxide"), heading("wt% of oxide", 3)] if oxides else []
    return Table("", (*head, heading("LOD, wt%")), tuple(rows))


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
                value = c.ratio(ratio)
            except InputError:
                cells.append(Cell("not quantified", "below", 3))
                continue
            cells.extend(derived_cells(c, value, atomic_ratio(c, ratio)))
        rows.append(tuple(cells))
    if not rows or not names:
        return None
    return Table(
        "Atomic ratios, by unmixing" if unmixed else "Atomic ratios",
        (name("ratio"), *(heading(n, 3) for n in names)),
        tuple(rows),
        "± statistical, in brackets the 95% interval of all errors. Elements below their LOD enter "
        "with their fitted values.",
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


def comparison_tables(result: RunResult) -> tuple[Table, ...]:
    """Tabulate atomic percent by both ways for each phase; empty without unmixing."""
    assumed = assumed_absent(result.recipe)
    return tuple(
        _comparison(phase, result, away, assumed.get(phase, ()))
        for phase, away in run_differences(result).items()
    )


def _comparison(
    phase: str, result: RunResult, away: Mapping[str, float], assumed: Collection[str]
) -> Table:
    first, second = result.compositions[phase], result.unmixed_compositions[phase]
    rows = []
    for element in first.elements:
        cells: list[Cell] = [name(element)]
        for c in (first, second):
            cells.extend(content_cells(c, element, assumed, errors="counting"))
        z = away.get(element)
        if z is None:
            cells.append(Cell(""))
        else:
            cells.append(Cell(signed(z), "flag" if abs(z) > FLAGGED else "value"))
        rows.append(tuple(cells))
    return Table(
        phase,
        (name("at%"), heading("subtract", 2), heading("unmix", 2), heading("difference, σ")),
        tuple(rows),
    )


def comparison_text(result: RunResult) -> str:
    """Say how unmixing went and what it found otherwise; empty without it."""
    unmixed = result.unmixed
    if unmixed is None:
        return ""
    how = "converged" if unmixed.converged else "stopped before it converged"
    anchors = plus_minus("; ".join(f"{n}: {text}" for n, text in unmixed.anchors.items()))
    text = f"Joint fit of all pixels: {unmixed.n_iter} steps, {how}. Anchors: {anchors}."
    told = [f"{phase} ({', '.join(far)})" for phase, far in flagged(result).items()]
    if told:
        return (
            f"{text} The two ways disagree by more than {FLAGGED:g} σ on {', '.join(told)}: look "
            f"whether the mixtures hold what the masks or the anchors do not say."
        )
    return f"{text} The two ways agree within {FLAGGED:g} σ on every element of every phase."


def partition_tables(result: RunResult) -> tuple[Table, ...]:
    """Tabulate the partition coefficients of each pair of phases by both ways."""
    by_unmixing = {(d.phases, d.element): d for d in result.unmixed_partition}
    tables = []
    for pair in dict.fromkeys(d.phases for d in result.partition):
        rows = []
        for d in (d for d in result.partition if d.phases == pair):
            cells: list[Cell] = [name(d.element), *_coefficient(d, systematic=True)]
            if by_unmixing:
                other = by_unmixing.get((pair, d.element))
                cells += [Cell("", "value", 2)] if other is None else _coefficient(other)
            rows.append(tuple(cells))
        head = [name("element"), heading("D, subtract" if by_unmixing else "D", 3)]
        if by_unmixing:
            head.append(heading("D, unmix", 2))
        tables.append(Table(f"{pair[0]} / {pair[1]}", tuple(head), tuple(rows)))
    return tuple(tables)


def _coefficient(d: PartitionCoefficient, *, systematic: bool = False) -> list[Cell]:
    if d.is_range:
        return list(range_cells(*d.interval_95, 3 if systematic else 2))
    if not d.limit:
        return list(error_cells(d.value, d.sigma, d.systematic if systematic else None))
    sign = "<" if d.limit == "below" else ">"
    return [Cell(f"{sign} {significant(d.value, 2)}", "below", 3 if systematic else 2)]


def measured_ratios(result: RunResult) -> Table | None:
    """Return one row for each ratio of each pure phase and mixture; None without any."""
    rows = [
        (name(label), name(text), *cells)
        for label, ratios in result.ratios.items()
        for text, cells in _ratio_cells(ratios).items()
    ]
    if not rows:
        return None
    title, note, span = _ratio_words(result)
    return Table(
        title, (name("Spectrum"), name("Ratio"), heading("Value", span)), tuple(rows), note
    )


def ratios_by_phase(result: RunResult) -> Table | None:
    """Return one row for each measured ratio, with a column for each phase; None without any."""
    found = {n: _ratio_cells(r) for n, r in result.ratios.items() if n in result.pure}
    rows = list(dict.fromkeys(text for cells in found.values() for text in cells))
    if not rows:
        return None
    title, note, span = _ratio_words(result)
    nothing = (Cell("", "value", span),)
    return Table(
        title,
        (name("Ratio"), *(heading(phase, span) for phase in found)),
        tuple(
            (name(text), *(cell for cells in found.values() for cell in cells.get(text, nothing)))
            for text in rows
        ),
        note,
    )


def _ratio_cells(ratios: ElementalRatios | LineRatios) -> dict[str, tuple[Cell, ...]]:
    """Value and errors of each ratio to the reference, by what it is called."""
    base = ratios.elements.index(ratios.reference)
    out = {}
    for i in range(len(ratios.elements)):
        if i == base:
            continue
        value, sigma = float(ratios.values[i]), float(ratios.sigma[i])
        if isinstance(ratios, ElementalRatios):
            text = f"{ratios.elements[i]}/{ratios.reference}"
            out[text] = error_cells(value, sigma, float(ratios.systematic_sigma[i]))
        else:
            text = f"{ratios.families[i]}/{ratios.families[base]}"
            out[text] = error_cells(value, sigma) if ratios.found[i] else below_limit(2)
    return out


def _ratio_words(result: RunResult) -> tuple[str, str, int]:
    """Title and note of a table of ratios, and cells of a value."""
    if any(isinstance(r, ElementalRatios) for r in result.ratios.values()):
        note = "From net edges; ± from counting, (± from cross-sections and backgrounds)."
        return "Ratios of elements by atoms", note, 3
    note = "Of detected counts, not of atoms: without corrections for the thick specimen."
    return "Ratios of net lines", note, 2
