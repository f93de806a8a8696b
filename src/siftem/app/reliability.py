"""What the numbers of a phase rest on, for the place where the numbers stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from siftem.fit.element_search import structure_of
from siftem.fit.line_fit import LineFit
from siftem.pipeline.composition_doubts import assumed_absent
from siftem.pipeline.results import RunResult
from siftem.printed_numbers import plus_minus, significant, whole_number, with_error
from siftem.report.table import (
    Cell,
    Table,
    assumed_cells,
    heading,
    name,
    range_cells,
)

#: Absent elements scatter by more than this many of their errors when those are too small, ...
_WIDE = 1.5
#: ... and anchors disagree from this many on.
CONFLICT = 3.0
_POOR_SIGN = "⚠"


def poor_fit(fit: LineFit) -> str:
    """Say where a model does not describe its spectrum; empty where it does."""
    found = structure_of(fit)
    if found is None:
        return ""
    return f"poor: off by {100 * found.excess:+.0f}% at {found.worst:.2f} keV"


def reliability_table(result: RunResult, phases: Sequence[str]) -> Table:
    """Tabulate fit, absent elements, anchor and its conflict for each phase.

    Parameters
    ----------
    result : RunResult
    phases : sequence of str
        With compositions.
    """
    rows = []
    for phase in phases:
        c, spectrum = result.compositions[phase], result.pure[phase]
        poor = poor_fit(c.fit)
        deviance = significant(c.fit.reduced_deviance, 3)
        wide = c.null_elements.z and c.null_elements.rms > _WIDE
        scatter = f"{c.null_elements.rms:.1f} σ" if c.null_elements.z else "not known"
        anchor, scale, conflict, against = "nothing taken off", "", "", False
        taken, known = result.scale_of(phase), result.open_scales.get(phase)
        if taken is not None:
            anchor, scale = plus_minus(taken.anchor), with_error(taken.scale, taken.scale_sigma)
            against = taken.conflict > CONFLICT
            conflict = f"{taken.conflict:.1f} σ" if taken.conflict else ""
            if known is not None and known.ranges:
                low, high = known.ranges[0].ends
                anchor, scale = "none", f"{low:.3g} to {high:.3g}"
        rows.append(
            (
                name(phase),
                Cell(whole_number(spectrum.n_pixels)),
                Cell(whole_number(float(spectrum.values.sum()))),
                Cell(f"{deviance} {poor}".strip(), "flag" if poor else "value"),
                Cell(scatter, "flag" if wide else "value"),
                name(anchor),
                Cell(scale),
                Cell(conflict, "flag" if against else "value"),
            )
        )
    return Table(
        "What the numbers rest on",
        (
            name("phase"),
            heading("pixels"),
            heading("counts"),
            heading("deviance of the fit"),
            heading("absent elements"),
            name("anchor"),
            heading("scale"),
            heading("conflict"),
        ),
        tuple(rows),
        "Deviance per degree of freedom: about 1 where the model describes the counts. Absent "
        "elements scatter by 1 σ where the errors are true.",
    )


def interval_table(result: RunResult, phases: Sequence[str]) -> Table:
    """Tabulate the ranges that hold all errors with a probability of 95%, in atomic percent."""
    assumed = assumed_absent(result.recipe)
    shown = {n: result.compositions[n] for n in phases}
    rows = []
    for element in dict.fromkeys(e for c in shown.values() for e in c.elements):
        cells: list[Cell] = [name(element)]
        for phase, c in shown.items():
            if element not in c.elements:
                cells.append(Cell(""))
            elif element in assumed.get(phase, ()):
                cells.extend(assumed_cells(1))
            else:
                low, high = 100 * c.atomic_interval_95[c.index(element)]
                cells.extend(range_cells(float(low), float(high), 1))
        rows.append(tuple(cells))
    return Table(
        "Composition of the phases, 95% intervals",
        (name("at%"), *(heading(n) for n in phases)),
        tuple(rows),
        "Counting, the model, k-factors and attenuation, and what anchors and regions leave open.",
    )


def marked(table: Table, result: RunResult) -> Table:
    """Return a table with a sign at the phases whose fit is poor."""
    poor = {n for n, c in result.compositions.items() if poor_fit(c.fit)}
    head = (replace(c, text=f"{c.text} {_POOR_SIGN}") if c.text in poor else c for c in table.head)
    return replace(table, head=tuple(head))


def grave_notes(result: RunResult, phases: Sequence[str]) -> list[str]:
    """Return what puts the numbers of these phases in doubt."""
    about = _about(result, phases)
    return [w for w in about if w in result.doubts]


def other_notes(result: RunResult, phases: Sequence[str]) -> list[str]:
    """Return what else the run warned of, that of these phases first."""
    about, grave = _about(result, phases), grave_notes(result, phases)
    rest = [w for w in result.warnings if w not in about]
    return [*(w for w in about if w not in grave), *rest]


def _about(result: RunResult, phases: Sequence[str]) -> list[str]:
    begins = tuple(f"{p}:" for p in phases) + tuple(f"{p} + {result.matrix}:" for p in phases)
    return [w for w in result.warnings if begins and w.startswith(begins)]
