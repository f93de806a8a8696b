"""Onuma diagrams of a run: its partition coefficients against ionic radii."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from siftem.minerals.lattice_strain import OnumaDiagram, lattice_strain
from siftem.pipeline.results import RunResult
from siftem.quantification.partition import PartitionCoefficient


def onuma_diagrams(result: RunResult, *, fewest: int = 3) -> tuple[OnumaDiagram, ...]:
    """Return the Onuma diagrams of pairs of phases with so many ions of known radii."""
    wanted = result.recipe.quantify.onuma
    out = []
    for pair in dict.fromkeys(d.phases for d in result.partition):
        own = tuple(d for d in result.partition if d.phases == pair)
        diagram = _diagram(own, wanted.coordination, wanted.temperature)
        if len(diagram.points) >= fewest:
            out.append(diagram)
    return tuple(out)


@lru_cache(maxsize=32)
def _diagram(
    coefficients: tuple[PartitionCoefficient, ...], coordination: int, temperature: float | None
) -> OnumaDiagram:
    return lattice_strain(coefficients, coordination=coordination, temperature=temperature)


def strain_data(result: RunResult) -> list[dict[str, Any]]:
    """Return the curves of lattice strain as the summary tells them; see ``docs/summary.md``."""
    return [
        {
            "numerator": diagram.phases[0],
            "denominator": diagram.phases[1],
            "charge": curve.charge,
            "elements": list(curve.elements),
            "coordination": diagram.coordination,
            "strain_free_D": curve.strain_free,
            "best_radius_A": curve.best_radius,
            "stiffness_GPa_K": curve.stiffness,
            "young_modulus_GPa": curve.young_modulus,
            "intervals_95": curve.intervals_95,
            "not_enclosed": curve.at_bound,
        }
        for diagram in onuma_diagrams(result)
        for curve in diagram.curves
    ]
