"""Ratios of elements or lines, where no compositions can be had."""

from __future__ import annotations

from siftem.eels.ratios import ElementalRatios
from siftem.pipeline.results import RunResult
from siftem.report.table import Cell, Table, below_limit, error_cells, heading, name


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
