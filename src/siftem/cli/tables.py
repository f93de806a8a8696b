"""The short summary of a run on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from siftem.errors import InputError
from siftem.figures.line_labels import spelled_line
from siftem.pipeline.agreement import assumed_absent, flagged
from siftem.pipeline.minerals import formulas_of, names_of
from siftem.pipeline.results import RunResult
from siftem.printed_numbers import range_text, with_error
from siftem.quantification.open_ranges import atomic_ratio, interval_of, is_open
from siftem.report.contents import between_note, content_cells, open_phases, plain_text
from siftem.report.layout_tables import layout_sentence
from siftem.report.phase_names import mineral_notes


def print_result(
    console: Console, result: RunResult, folder: Path, resources: Mapping[str, float]
) -> None:
    """Print layout, compositions, warnings, time and memory."""
    console.print(f"layout: {layout_sentence(result)}", markup=False)
    phases = [n for n in result.pure if n in result.compositions]
    if phases:
        assumed = assumed_absent(result.recipe)
        shown = {n: result.compositions[n] for n in phases}
        title = "Composition, at% (± counting only"
        title += "; ranges: all that may be)" if open_phases(shown.values()) else ")"
        table = Table(title=title, title_justify="left")
        table.add_column("")
        for name in phases:
            table.add_column(name, justify="right")
        rows: list[list[str]] = []
        for element in dict.fromkeys(e for c in shown.values() for e in c.elements):
            cells = [content_cells(c, element, assumed.get(n, ())) for n, c in shown.items()]
            rows.append([plain_text(cell) for cell in cells])
            table.add_row(element, *rows[-1])
        console.print(table)
        if note := between_note(rows):
            console.print(note, markup=False)
    for ratio in result.recipe.quantify.ratios:
        values = []
        for name in phases:
            c = result.compositions[name]
            try:
                quantity = c.ratio(ratio)
            except InputError:  # an element of it is not in this phase's range
                continue
            if is_open(c):
                low, high = interval_of(c, atomic_ratio(c, ratio))
                values.append(f"{name} {range_text(low, high)}")
            elif np.isfinite(quantity.value) and quantity.sigma < abs(quantity.value):
                shown_value = with_error(quantity.value, quantity.sigma)
                systematic = c.ratio_systematic(ratio)
                values.append(f"{name} {shown_value} (systematic {systematic:.2g})")
        if values:
            console.print(f"{ratio}: {'; '.join(values)}", markup=False)
    for name, formula in formulas_of(result).items():
        console.print(f"{name}: {formula}", markup=False)
    for name, found in names_of(result).items():
        console.print(f"{name} may be: {found}", markup=False)
    for note in mineral_notes(result):
        console.print(f"note: {note}", markup=False)
    for pair, text in _partition(result).items():
        console.print(f"D({pair}): {text}", markup=False)
    for phase, far in flagged(result).items():
        listed = ", ".join(f"{e} by {z:+.1f} sigma" for e, z in far.items())
        console.print(f"{phase}: unmixing differs from subtraction in {listed}", markup=False)
    for gain in result.gains:
        # Nothing over the rectangle, or over both: how many times more says nothing.
        times = f" ({gain.gain:.1f} times)" if np.isfinite(gain.gain) else ""
        console.print(
            f"{spelled_line(gain.line)}: signal to noise {gain.whole:.1f} over the whole pure "
            f"{result.matrix}, {gain.rectangle:.1f} over a rectangle{times}",
            markup=False,
        )
    if result.truth:
        for name, value in result.truth.overlap.items():
            console.print(f"{name}: intersection over union with the true mask {value:.3f}")
        for name, value in result.truth.angles.items():
            console.print(f"{name}: {value:.2f} degrees from the true spectrum")
    for warning in result.warnings:
        kind = "warning" if warning in result.doubts else "note"
        console.print(f"{kind}: {warning}", markup=False)
    console.print(
        f"{resources['seconds']:.1f} s, {resources['peak_memory_MB']:.0f} MB at the most; "
        f"report: {folder / 'report.html'}",
        markup=False,
    )


def _partition(result: RunResult) -> dict[str, str]:
    """Partition coefficients that were measured, for each pair of phases."""
    out: dict[str, list[str]] = {}
    for d in result.partition:
        if d.is_range:
            shown = f"{d.element} {range_text(*d.interval_95)}"
            out.setdefault("/".join(d.phases), []).append(shown)
        elif not d.limit:
            shown = f"{d.element} {with_error(d.value, d.sigma)}"
            out.setdefault("/".join(d.phases), []).append(shown)
    return {pair: ", ".join(texts) for pair, texts in out.items()}
