"""Partition coefficients over the maps of a batch: means, and their Onuma diagrams."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from siftem.batch.means import weighted_mean
from siftem.quantification.partition import PartitionCoefficient

if TYPE_CHECKING:  # loading it takes long
    from siftem.minerals.lattice_strain import OnumaDiagram

Summary = Mapping[str, Any]

_QUANTILE = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class PartitionMean:
    """A partition coefficient over the maps.

    Parameters
    ----------
    coefficient : PartitionCoefficient
        Mean of ln D over the maps that measured it, weighted with their errors from counting
        and widened where they scatter by more; its systematic error is the same in every map.
        Where no map measured it, the tightest limit or range.
    maps : int
        That it rests on.
    reduced_chi_square : float
        Scatter of the maps over what their errors promise; NaN for a single map or a limit.
    """

    coefficient: PartitionCoefficient
    maps: int
    reduced_chi_square: float = math.nan


def partition_means(summaries: Sequence[Summary]) -> tuple[PartitionMean, ...]:
    """Return the partition coefficients of each pair of phases and element over the maps.

    Parameters
    ----------
    summaries : sequence of mapping
        Of the runs, as in ``summary.json``.
    """
    found: dict[tuple[str, str, str], list[PartitionCoefficient]] = {}
    for summary in summaries:
        for d in summary.get("partition", {}).get("subtract", ()):
            own = _coefficient(d)
            found.setdefault((*own.phases, own.element), []).append(own)
    means = (_mean(own) for own in found.values())
    return tuple(mean for mean in means if mean is not None)


def diagrams_of(
    means: Sequence[PartitionMean], coordination: int, temperature: float | None, *, fewest: int = 3
) -> list[OnumaDiagram]:
    """Return the Onuma diagrams of the pairs of phases with so many ions of known radii."""
    from siftem.minerals.lattice_strain import lattice_strain

    out = []
    for pair in dict.fromkeys(m.coefficient.phases for m in means):
        own = [m.coefficient for m in means if m.coefficient.phases == pair]
        diagram = lattice_strain(own, coordination=coordination, temperature=temperature)
        if len(diagram.points) >= fewest:
            out.append(diagram)
    return out


def _coefficient(d: Summary) -> PartitionCoefficient:
    """A coefficient as a summary holds it, where null is no number, or no upper end."""
    low, high = d.get("interval_95") or (None, None)
    value, sigma, systematic = (
        math.nan if d[key] is None else float(d[key])
        for key in ("value_by_weight", "sigma", "systematic")
    )
    return PartitionCoefficient(
        d["element"], (d["numerator"], d["denominator"]), value, sigma, systematic,
        d["limit"] or "", (low or 0.0, math.inf if high is None else high), bool(d["is_range"]),
    )  # fmt: skip


def _mean(own: Sequence[PartitionCoefficient]) -> PartitionMean | None:
    measured = [d for d in own if not d.limit and not d.is_range and d.value > 0 and d.sigma > 0]
    mean = weighted_mean(
        [math.log(d.value) for d in measured], [d.sigma / d.value for d in measured]
    )
    if mean is None:
        return _tightest(own)
    value = math.exp(mean.value)
    systematic = math.fsum(d.systematic / d.value for d in measured) / len(measured)
    reach = math.exp(_QUANTILE * math.hypot(mean.sigma, systematic))
    coefficient = replace(
        measured[0],
        value=value,
        sigma=value * mean.sigma,
        systematic=value * systematic,
        interval_95=(value / reach, value * reach),
    )
    return PartitionMean(coefficient, mean.n, mean.reduced_chi_square)


def _tightest(own: Sequence[PartitionCoefficient]) -> PartitionMean | None:
    """The limit, or else the range, that says most; None where limits lie on both sides."""
    limits = [d for d in own if d.limit and not d.is_range and math.isfinite(d.value)]
    if len({d.limit for d in limits}) == 1:
        most = min if limits[0].limit == "below" else max
        return PartitionMean(most(limits, key=lambda d: d.value), len(limits))
    ranges = [d for d in own if d.is_range and d.interval_95[1] > d.interval_95[0] > 0]
    if limits or not ranges:
        return None
    return PartitionMean(
        min(ranges, key=lambda d: d.interval_95[1] / d.interval_95[0]), len(ranges)
    )
