"""How the phases of a map lie, in words and as a table."""

from __future__ import annotations

import numpy as np

from siftem.decomposition.layout import MIXED, VACUUM
from siftem.pipeline.layout import by_labels, describe_layout
from siftem.pipeline.results import RunResult
from siftem.printed_numbers import whole_number
from siftem.report.table import Cell, Table, error_cells, heading, name


def layout_sentence(result: RunResult) -> str:
    """Say in one sentence how the phases lie, and where that comes from."""
    names = (result.matrix, *result.grains)
    if result.layout is not None:
        names = result.factors.names
    return describe_layout(result.layout, result.recipe, names, result.matrix)


def role_words(result: RunResult) -> dict[str, str]:
    """Say of each phase how it lies, in few words."""
    names, layout = result.factors.names, result.layout
    if not by_labels(layout):
        return {n: "matrix" if n == result.matrix else "grain" for n in names}
    assert layout is not None
    out = {}
    for phase, lies in zip(names, layout.phases, strict=True):
        hosts = ", in ".join(names[h] for h in lies.hosts)
        on = bool(lies.hosts) and layout.phases[lies.hosts[0]].role == "support"
        out[phase] = {
            "pure": "pure in its own pixels",
            "embedded": f"{'on' if on else 'in'} {hosts}",
            "uneven": f"mixed with {hosts}",
            "support": "support",
            "vacuum": "vacuum",
        }[lies.role]
    return out


def phase_table(result: RunResult) -> Table:
    """Tabulate area, pixels, counts and role of each phase, and what its pixels may hold."""
    shown, layout = result.phase_map, result.layout
    areas, errors, roles = shown.area_percent, shown.area_sigma, role_words(result)
    total = np.asarray(result.spectrum_image.total_map(), dtype=np.float64)
    rows = []
    labels = [*enumerate(shown.names), (MIXED, "mixed"), (VACUUM, "vacuum")]
    for label, phase in labels:
        own = shown.labels == label
        if label < 0 and not own.any():
            continue
        role, holds = (
            {MIXED: "borders and overlaps", VACUUM: "next to no counts"}.get(label, ""),
            "",
        )
        if label >= 0:
            role, holds = roles[phase], "nothing else"
            if layout is not None:
                hosts = [shown.names[h] for h in layout.phases[label].hosts]
                holds = ", ".join(hosts) or holds
            elif phase != result.matrix:
                holds = result.matrix
        pixels, counts = int(own.sum()), float(total[own].sum())
        rows.append(
            (
                name(phase),
                name(role),
                name(holds),
                *error_cells(areas[phase], errors.get(phase, 0.0)),
                Cell(whole_number(pixels)),
                Cell(whole_number(counts)),
                Cell(whole_number(counts / pixels) if pixels else ""),
            )
        )
    return Table(
        "Phases",
        (
            name("phase"),
            name("lies"),
            name("may also hold"),
            heading("area, %", 2),
            heading("pixels"),
            heading("counts"),
            heading("a pixel"),
        ),
        tuple(rows),
        "Area: share of the map, ± from the pixels at borders. In the recipe, layout: and a "
        "phase’s lies: correct how the phases lie.",
    )
