"""The short summary of a run on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from siftem.pipeline.agreement import flagged
from siftem.pipeline.results import RunResult
from siftem.report.numbers import with_error


def print_result(
    console: Console, result: RunResult, folder: Path, resources: Mapping[str, float]
) -> None:
    """Print compositions, warnings, time and memory."""
    phases = [n for n in result.pure if n in result.compositions]
    if phases:
        table = Table(title="Composition, at% (± counting only)", title_justify="left")
        table.add_column("")
        for name in phases:
            table.add_column(name, justify="right")
        for element in result.compositions[phases[0]].elements:
            row = [element]
            for name in phases:
                c = result.compositions[name]
                i = c.elements.index(element)
                sigma = float(np.sqrt(c.atomic_covariance[i, i]))
                shown = with_error(100 * float(c.atomic_fractions[i]), 100 * sigma)
                row.append(shown if c.found[i] else "< LOD")
            table.add_row(*row)
        console.print(table)
    for ratio in result.recipe.quantify.ratios:
        values = []
        for name in phases:
            quantity = result.compositions[name].ratio(ratio)
            if np.isfinite(quantity.value) and quantity.sigma < abs(quantity.value):
                systematic = result.compositions[name].ratio_systematic(ratio)
                shown = with_error(quantity.value, quantity.sigma)
                values.append(f"{name} {shown} (systematic {systematic:.2g})")
        if values:
            console.print(f"{ratio}: {'; '.join(values)}", markup=False)
    for pair, text in _partition(result).items():
        console.print(f"D({pair}): {text}", markup=False)
    for phase, far in flagged(result).items():
        listed = ", ".join(f"{e} by {z:+.1f} sigma" for e, z in far.items())
        console.print(f"{phase}: unmixing differs from subtraction in {listed}", markup=False)
    for gain in result.gains:
        # Nothing over the rectangle, or over both: how many times more says nothing.
        times = f" ({gain.gain:.1f} times)" if np.isfinite(gain.gain) else ""
        console.print(
            f"{gain.line}: signal to noise {gain.whole:.1f} over the whole pure {result.matrix}, "
            f"{gain.rectangle:.1f} over a rectangle{times}",
            markup=False,
        )
    if result.truth:
        for name, value in result.truth.overlap.items():
            console.print(f"{name}: intersection over union with the true mask {value:.3f}")
        for name, value in result.truth.angles.items():
            console.print(f"{name}: {value:.2f} degrees from the true spectrum")
    for warning in result.warnings:
        console.print(f"note: {warning}", markup=False)
    console.print(
        f"{resources['seconds']:.1f} s, {resources['peak_memory_MB']:.0f} MB at the most; "
        f"report: {folder / 'report.html'}",
        markup=False,
    )


def _partition(result: RunResult) -> dict[str, str]:
    """Partition coefficients that were measured, for each pair of phases."""
    out: dict[str, list[str]] = {}
    for d in result.partition:
        if not d.limit:
            shown = f"{d.element} {with_error(d.value, d.sigma)}"
            out.setdefault("/".join(d.phases), []).append(shown)
    return {pair: ", ".join(texts) for pair, texts in out.items()}
