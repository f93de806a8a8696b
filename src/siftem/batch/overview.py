"""What the overview report of a batch shows: maps beside each other, and means over them.

Partition coefficients are drawn against ionic radii where the recipe asks for it.
"""

from __future__ import annotations

import base64
import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from siftem.batch.calibration import BatchCalibration
from siftem.batch.folder import BatchFolder, Record
from siftem.pipeline.recipe import Recipe
from siftem.printed_numbers import significant, whole_number
from siftem.quantification.partition import PartitionCoefficient
from siftem.report.minerals import strain_table
from siftem.report.pages import MapLine, Overview, PhaseTable, Thumbnail
from siftem.report.table import (
    Cell,
    Table,
    below_limit,
    error_cells,
    heading,
    name,
    range_cells,
    value_cells,
)

if TYPE_CHECKING:  # loading it takes long
    from siftem.minerals.lattice_strain import OnumaDiagram


@dataclass(frozen=True)
class Mean:
    """A weighted mean.

    Parameters
    ----------
    value, sigma : float
    reduced_chi_square : float
        Scatter over what the errors promise; NaN for a single value.
    n : int
        Values.
    """

    value: float
    sigma: float
    reduced_chi_square: float
    n: int


def weighted_mean(values: Sequence[float], sigmas: Sequence[float]) -> Mean | None:
    """Return the mean weighted by ``1 / sigma**2``, its error widened where values scatter.

    The error is ``sum(1 / sigma**2) ** -1/2``, times the square root of chi-square per
    degree of freedom where that exceeds one [1]_.

    Parameters
    ----------
    values, sigmas : sequence of float
        Pairs without a finite value and a positive sigma are left out.

    Returns
    -------
    Mean or None
        None when nothing is left.

    References
    ----------
    .. [1] R. T. Birge, The calculation of errors by the method of least squares, Phys. Rev.
       40, 207 (1932).
    """
    pairs = [
        (v, s)
        for v, s in zip(values, sigmas, strict=True)
        if math.isfinite(v) and math.isfinite(s) and s > 0
    ]
    if not pairs:
        return None
    weight = math.fsum(s**-2 for _, s in pairs)
    value = math.fsum(v * s**-2 for v, s in pairs) / weight
    sigma = weight**-0.5
    if len(pairs) == 1:
        return Mean(value, sigma, math.nan, 1)
    chi = math.fsum(((v - value) / s) ** 2 for v, s in pairs) / (len(pairs) - 1)
    return Mean(value, sigma * math.sqrt(max(chi, 1.0)), chi, len(pairs))


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
    means: Sequence[PartitionMean], coordination: int, temperature: float | None
) -> list[OnumaDiagram]:
    """Return the Onuma diagrams of the pairs of phases with three ions or more of known radii."""
    from siftem.minerals.lattice_strain import lattice_strain

    out = []
    for pair in dict.fromkeys(m.coefficient.phases for m in means):
        own = [m.coefficient for m in means if m.coefficient.phases == pair]
        diagram = lattice_strain(own, coordination=coordination, temperature=temperature)
        if len(diagram.points) >= 3:
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


#: Width of the small pictures, in pixels.
_THUMBNAIL = 420
#: More maps than this have no pictures in the overview.
_MOST_PICTURES = 200

Summary = Mapping[str, Any]


def overview_of(
    folder: BatchFolder,
    recipe: Recipe,
    runs: Sequence[tuple[Record, Summary | None]],
    warnings: Sequence[str],
    partition: Sequence[PartitionMean] = (),
    diagrams: Sequence[OnumaDiagram] = (),
    onuma: bytes = b"",
    together: BatchCalibration | None = None,
) -> Overview:
    """Put together the overview.

    Parameters
    ----------
    folder : BatchFolder
    recipe : Recipe
    runs : sequence of (Record, summary)
        In the order in which they are shown; the summary is None for a map that failed.
    warnings : sequence of str
        Of the batch as a whole.
    partition : sequence of PartitionMean
    diagrams : sequence of OnumaDiagram
        Of these.
    onuma : bytes
        As a PNG; empty when there is none.
    together : BatchCalibration, optional
        Of all maps.
    """
    done = [(record, summary) for record, summary in runs if summary is not None]
    failed = [record for record, summary in runs if summary is None]
    told = [f"{r.map} failed: {r.error}" for r in failed]
    regions = list(dict.fromkeys(region for _, s in done for region in s["regions"]))
    columns = ["pixels", "counts", "counts a pixel", *(f"{r}, %" for r in regions)]
    return Overview(
        title=recipe.title or folder.root.name,
        warnings=[*told, *warnings],
        columns=columns,
        maps=[_line(folder, record, summary, regions) for record, summary in runs],
        phases=_phase_tables(done),
        ratios=_ratio_tables(done),
        partition=_partition_tables(partition),
        strain=strain_table(diagrams),
        calibration=[] if together is None else together.tables(),
        onuma=base64.b64encode(onuma).decode("ascii"),
        pictures=_thumbnails(folder, [record for record, _ in done]),
        recipe=recipe.to_yaml(),
    )


def _link(record: Record) -> str:
    return f"maps/{quote(record.map)}/report.html"


def _line(
    folder: BatchFolder, record: Record, summary: Summary | None, regions: Sequence[str]
) -> MapLine:
    if summary is None:
        return MapLine(record.map, "", error=record.error)
    about = summary["input"]
    shares = [summary["regions"].get(r, {}).get("percent_of_map") for r in regions]
    cells = (
        " × ".join(str(n) for n in about["shape_pixels"]),
        whole_number(about["counts"]),
        significant(about["counts_per_pixel"], 3),
        *("–" if share is None else f"{share:.1f}" for share in shares),
    )
    n = len(summary["warnings"])
    notes = f"{n} note{'s' if n != 1 else ''} in its report" if n else ""
    return MapLine(record.map, _link(record), cells, notes)


def phase_means(done: Sequence[tuple[Record, Summary]]) -> dict[str, dict[str, Any]]:
    """Return, for each phase and element, the weighted mean of at% over the maps."""
    out: dict[str, dict[str, Any]] = {}
    for phase in _phases(done):
        found = [s["phases"][phase]["elements"] for _, s in done if _has(s, phase)]
        out[phase] = {}
        for element in dict.fromkeys(e for elements in found for e in elements):
            own = [elements[element] for elements in found if element in elements]
            mean = weighted_mean([e["at_percent"] for e in own], [e["at_sigma"] for e in own])
            if mean is not None:
                out[phase][element] = {
                    "at_percent": mean.value,
                    "at_sigma": mean.sigma,
                    "reduced_chi_square": mean.reduced_chi_square,
                    "maps": mean.n,
                    "found_in_maps": sum(bool(e["found"]) for e in own),
                }
    return out


def _phases(done: Sequence[tuple[Record, Summary]]) -> list[str]:
    return list(dict.fromkeys(p for _, s in done for p in s["phases"] if _has(s, p)))


def _has(summary: Summary, phase: str) -> bool:
    return bool(summary["phases"].get(phase, {}).get("elements"))


def _mean_cells(mean: Mapping[str, Any], own: Sequence[Mapping[str, Any] | None]) -> Sequence[Cell]:
    """Return a mean with its error, or what errors that maps have in common leave open about it."""
    held = [e for e in own if e is not None and "at_interval_95" in e]
    value, sigma = mean["at_percent"], mean["at_sigma"]
    if not held:
        return error_cells(value, sigma)
    off = np.mean([np.subtract(e["at_interval_95"], e["at_percent"]) for e in held], axis=0)
    low, high = np.clip(value + off, 0.0, 100.0)
    return value_cells(value, sigma, float(low), float(high))


def _phase_tables(done: Sequence[tuple[Record, Summary]]) -> list[PhaseTable]:
    means = phase_means(done)
    tables = []
    for phase in _phases(done):
        elements = list(means[phase])
        rows = []
        for record, summary in done:
            if not _has(summary, phase):
                continue
            cells: list[Cell] = [name(record.map)]
            for element in elements:
                e = summary["phases"][phase]["elements"].get(element)
                if e is None:
                    cells += [Cell("–"), Cell("", "error")]
                elif summary["phases"][phase].get("is_range"):
                    low, high = e["at_interval_95"]
                    cells += range_cells(low, high, 2)
                elif not e["found"]:
                    cells += below_limit(2)
                else:
                    interval = e.get("at_interval_95", (e["at_percent"],) * 2)
                    cells += value_cells(e["at_percent"], e["at_sigma"], *interval)
            rows.append(tuple(cells))
        cells = [name("mean")]
        for element in elements:
            mean = means[phase][element]
            own = [s["phases"][phase] for _, s in done if _has(s, phase)]
            if any(p.get("is_range") for p in own):  # the mean of what was assumed is none
                cells.append(Cell("", "value", 2))
            elif mean["found_in_maps"]:
                cells += _mean_cells(mean, [p["elements"].get(element) for p in own])
            else:
                cells += below_limit(2)
        rows.append(tuple(cells))
        head = (name("map"), *(heading(element, 2) for element in elements))
        tables.append(PhaseTable(phase, Table("", head, tuple(rows))))
    return tables


def _ratio_tables(done: Sequence[tuple[Record, Summary]]) -> list[Table]:
    tables = []
    for ratio in dict.fromkeys(
        r for _, s in done for p in s["phases"].values() for r in p.get("atomic_ratios", {})
    ):
        phases = [
            p
            for p in _phases(done)
            if any(ratio in s["phases"].get(p, {}).get("atomic_ratios", {}) for _, s in done)
        ]
        rows = []
        for record, summary in done:
            cells: list[Cell] = [name(record.map)]
            for phase in phases:
                found = summary["phases"].get(phase, {}).get("atomic_ratios", {}).get(ratio)
                usable = found and found["value"] is not None and found["sigma"] is not None
                # A ratio of what was not found says nothing.
                if usable and found["sigma"] < abs(found["value"]):
                    cells += error_cells(found["value"], found["sigma"])
                else:
                    cells += [Cell("–"), Cell("", "error")]
            rows.append(tuple(cells))
        head = (name("map"), *(heading(phase, 2) for phase in phases))
        tables.append(Table(f"{ratio} (atoms)", head, tuple(rows)))
    return tables


def _partition_tables(means: Sequence[PartitionMean]) -> list[Table]:
    tables = []
    for pair in dict.fromkeys(m.coefficient.phases for m in means):
        rows = []
        for mean in means:
            d = mean.coefficient
            if d.phases != pair:
                continue
            if d.is_range:
                cells = range_cells(*d.interval_95, 3)
            elif d.limit:
                sign = "<" if d.limit == "below" else ">"
                cells = (Cell(f"{sign} {significant(d.value, 2)}", "below", 3),)
            else:
                cells = error_cells(d.value, d.sigma, d.systematic)
            chi = significant(mean.reduced_chi_square, 2) if mean.maps > 1 else ""
            scatter = Cell("" if d.limit or d.is_range else chi)
            rows.append((name(d.element), *cells, Cell(str(mean.maps)), scatter))
        head = (name(" / ".join(pair)), heading("D", 3), heading("maps"), heading("χ²/ν"))
        tables.append(Table(" / ".join(pair), head, tuple(rows)))
    return tables


def _thumbnails(folder: BatchFolder, records: Sequence[Record]) -> list[Thumbnail]:
    if len(records) > _MOST_PICTURES:
        return []
    out = []
    for record in records:
        picture = folder.results(record.map) / "figure1.png"
        with contextlib.suppress(OSError, ValueError):  # gone or damaged: then without it
            out.append(Thumbnail(record.map, _link(record), _small(picture)))
    return out


def _small(path: Path) -> str:
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB")
        small.thumbnail((_THUMBNAIL, 3 * _THUMBNAIL), reducing_gap=3.0)
        out = io.BytesIO()
        small.save(out, "JPEG", quality=82)
    return base64.b64encode(out.getvalue()).decode("ascii")
