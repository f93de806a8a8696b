"""What stands on top of a report: each phase with its area and composition, and what to heed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from siftem.fit.structure import structure_of
from siftem.pipeline.agreement import assumed_absent, flagged
from siftem.pipeline.results import RunResult
from siftem.printed_numbers import range_text
from siftem.quantification.fractions import Composition
from siftem.quantification.open_ranges import is_open
from siftem.report.composition_tables import quantified_phases
from siftem.report.contents import content_cells
from siftem.report.layout_tables import role_words
from siftem.report.phase_names import mineral_notes
from siftem.report.table import Cell, Table, assumed_cells, heading, name, range_cells

#: A model's error of this share of the whole is as large as that of counting.
_AS_LARGE = np.sqrt(0.5)


def summary_table(result: RunResult) -> Table:
    """Tabulate area, role and contents with 95% intervals, one phase beside the other."""
    phases = tuple(result.pure) or result.factors.names
    shown = {n: result.compositions[n] for n in quantified_phases(result)}
    areas, errors = result.phase_map.area_percent, result.phase_map.area_sigma
    roles, assumed = role_words(result), assumed_absent(result.recipe)
    area: list[Cell] = [name("area, %")]
    lies: list[Cell] = [name("how it lies")]
    for phase in phases:
        error = errors.get(phase, 0.0)
        found = areas.get(phase)
        text = "" if found is None else f"{found:.1f}" + (f" ± {error:.1f}" if error else "")
        area.append(Cell(text, "middle", 2))
        lies.append(Cell(roles.get(phase, ""), "middle", 2))
    rows = [tuple(area), tuple(lies)]
    for element in dict.fromkeys(e for c in shown.values() for e in c.elements):
        cells: list[Cell] = [name(element)]
        for phase in phases:
            c = shown.get(phase)
            if c is None or element not in c.elements:
                cells.append(Cell("", "value", 2))
            else:
                cells.extend(_content(c, element, assumed.get(phase, ())))
        rows.append(tuple(cells))
    return Table(
        "The phases, at%",
        (name(""), *(cell for n in phases for cell in (heading(n), heading("95%")))),
        tuple(rows),
        _note(rows) if shown else "",
    )


def _note(rows: Sequence[tuple[Cell, ...]]) -> str:
    note = (
        "Contents with their 95% intervals, which hold counting, the model, k-factors and "
        "attenuation, and what anchors and regions leave open."
    )
    if any(cell.kind == "between" for row in rows for cell in row):
        note += " Dotted: above the critical level, below the detection limit."
    return note


def _content(c: Composition, element: str, assumed: tuple[str, ...]) -> tuple[Cell, ...]:
    if element in assumed:
        return assumed_cells(2)
    low, high = 100 * c.atomic_interval_95[c.index(element)]
    if is_open(c):
        return range_cells(float(low), float(high), 2)
    value = content_cells(c, element)[0]
    return (
        Cell(value.text, value.kind),
        Cell(range_text(float(low), float(high)), "error"),
    )


def what_to_heed(result: RunResult) -> tuple[str, ...]:
    """Return what the numbers show that nobody has warned of yet, in one sentence each.

    Fits that do not describe their counts, disagreements of the two ways beyond three standard
    deviations, and phases for which the model errs by more than the counts.
    """
    out = []
    for label, c in result.compositions.items():
        poor = structure_of(c.fit)
        begins = f"{label}: the model does not describe"
        if poor is not None and not any(w.startswith(begins) for w in result.warnings):
            out.append(
                f"{label}: the model does not describe its spectrum at {poor.worst:.2f} keV "
                f"({100 * poor.excess:+.0f}%): what lies there has large errors"
            )
    for phase, far in flagged(result).items():
        listed = ", ".join(f"{e} ({z:+.1f} sigma)" for e, z in far.items())
        out.append(
            f"{phase}: unmixing and subtraction differ by more than three standard deviations in "
            f"{listed}: one of the two does not hold there"
        )
    large = []
    for phase in quantified_phases(result):
        c = result.compositions[phase]
        above = c.found & (c.model_sigma > _AS_LARGE * c.sigma)
        own = [e for e, a in zip(c.elements, above, strict=True) if a and e not in c.assumed_absent]
        if own:
            large.append(f"{phase} ({', '.join(own)})")
    if large:
        out.append(
            f"what the model of the spectrum cannot describe is a larger error than counting in "
            f"{', '.join(large)}: more counts would not help these"
        )
    return (*out, *mineral_notes(result))
