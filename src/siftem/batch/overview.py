"""What the overview report of a batch shows."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from siftem.batch.folder import BatchFolder, Record
from siftem.batch.means import weighted_mean
from siftem.batch.partition import PartitionMean
from siftem.pipeline.recipe import Recipe
from siftem.printed_numbers import significant, whole_number
from siftem.report.overview import MapLine, Overview, PhaseTable, Thumbnail
from siftem.report.table import (
    Cell,
    Table,
    below_limit,
    error_cells,
    heading,
    name,
    range_cells,
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
    onuma: bytes = b"",
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
    onuma : bytes
        Their diagram as a PNG; empty when there is none.
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
                elif not e["found"]:
                    cells += below_limit(2)
                else:
                    cells += error_cells(e["at_percent"], e["at_sigma"])
            rows.append(tuple(cells))
        cells = [name("mean")]
        for element in elements:
            mean = means[phase][element]
            if mean["found_in_maps"]:
                cells += error_cells(mean["at_percent"], mean["at_sigma"])
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
