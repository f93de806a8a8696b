"""Tables of subtraction and unmixing side by side, and of partition coefficients by both."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from siftem.eels.ratios import ElementalRatios
from siftem.pipeline.agreement import FLAGGED, assumed_absent, flagged, run_differences
from siftem.pipeline.results import RunResult
from siftem.printed_numbers import plus_minus, signed, significant
from siftem.quantification.partition import PartitionCoefficient
from siftem.report.contents import content_cells
from siftem.report.table import Cell, Table, below_limit, error_cells, heading, name, range_cells


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
            cells.extend(content_cells(c, element, assumed))
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
    rows: list[tuple[Cell, ...]] = []
    by_atoms = False
    for label, ratios in result.ratios.items():
        base = ratios.elements.index(ratios.reference)
        for i in range(len(ratios.elements)):
            if i == base:
                continue
            if isinstance(ratios, ElementalRatios):
                by_atoms = True
                text = f"{ratios.elements[i]}/{ratios.reference}"
                cells = error_cells(
                    float(ratios.values[i]),
                    float(ratios.sigma[i]),
                    float(ratios.systematic_sigma[i]),
                )
            else:
                text = f"{ratios.families[i]}/{ratios.families[base]}"
                value, sigma = float(ratios.values[i]), float(ratios.sigma[i])
                cells = error_cells(value, sigma) if ratios.found[i] else below_limit(2)
            rows.append((name(label), name(text), *cells))
    if not rows:
        return None
    head = (name("Spectrum"), name("Ratio"), heading("Value", 3 if by_atoms else 2))
    if by_atoms:
        return Table(
            "Ratios of elements by atoms",
            head,
            tuple(rows),
            "From net edges; ± from counting, (± from the cross-sections).",
        )
    return Table(
        "Ratios of net lines",
        head,
        tuple(rows),
        "Of detected counts, not of atoms: without corrections for the thick specimen.",
    )
