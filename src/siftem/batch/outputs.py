"""What a batch leaves for its reader: one table (CSV, Parquet), summary, recipe and report."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from siftem import __version__
from siftem.batch.calibration import BatchCalibration, calibrated_together
from siftem.batch.folder import SCHEMA, BatchFolder, Record, write_whole
from siftem.batch.overview import (
    PartitionMean,
    diagrams_of,
    overview_of,
    partition_means,
    phase_means,
)
from siftem.files.atomic import replacing
from siftem.minerals.lattice_strain import OnumaDiagram
from siftem.pipeline.minerals import strain_data
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.summary import partition_data, rounded
from siftem.report.pages import render_overview


@dataclass(frozen=True)
class Row:
    """One quantity of one phase of one map; for a map that failed, its error alone.

    Parameters
    ----------
    map, file, status, error : str
    phase, role : str
        ``role`` is "matrix" or "grain".
    quantity : str
        "pixels", "counts", "weight", "atoms", "oxide", "ratio", "name" (of its probability),
        "formula", "calibrated atoms" (by the map alone), "atoms calibrated together" (by all maps)
        or "partition" (``phase`` is then a pair).
    of : str
        The element, oxide, ratio, proposed name or number of the structural formula.
    unit : str
    value, sigma, systematic : float, optional
        Value, its statistical and its systematic error (standard deviations).
    found : bool, optional
        Whether an element exceeds its critical level.
    detection_limit : float, optional
        In the unit of the value.
    assumed_absent : bool, optional
        Whether the anchor takes the element for absent: then it has no number.
    """

    map: str
    file: str
    status: str
    error: str = ""
    phase: str = ""
    role: str = ""
    quantity: str = ""
    of: str = ""
    unit: str = ""
    value: float | None = None
    sigma: float | None = None
    systematic: float | None = None
    found: bool | None = None
    detection_limit: float | None = None
    assumed_absent: bool | None = None


_NUMBERS = ("value", "sigma", "systematic", "detection_limit")
_TRUTHS = ("found", "assumed_absent")
COLUMNS = tuple(Row.__dataclass_fields__)


def rows_of(
    record: Record, summary: Mapping[str, Any] | None, together: BatchCalibration | None = None
) -> list[Row]:
    """Return the rows of a map.

    Parameters
    ----------
    record : Record
    summary : mapping, optional
        ``summary.json`` of its run; None for a map that failed.
    together : BatchCalibration, optional
        Of all maps.
    """
    head: dict[str, Any] = {"map": record.map, "file": record.file, "status": record.status}
    if summary is None:
        return [Row(**head, error=record.error)]
    rows = []
    for phase, data in summary["phases"].items():
        own = {**head, "phase": phase, "role": data["role"]}
        rows.append(Row(**own, quantity="pixels", unit="1", value=data["pixels"]))
        rows.append(Row(**own, quantity="counts", unit="1", value=data["counts"]))
        elements = data.get("elements", {})
        for quantity, short, unit in (("weight", "wt", "wt%"), ("atoms", "at", "at%")):
            for element, e in elements.items():
                this = {**own, "quantity": quantity, "of": element, "unit": unit}
                if e.get("assumed_absent"):  # not measured: no number
                    rows.append(Row(**this, assumed_absent=True))
                    continue
                rows.append(
                    Row(
                        **this,
                        value=e[f"{short}_percent"],
                        sigma=e[f"{short}_sigma"],
                        systematic=e[f"{short}_systematic"],
                        found=e["found"],
                        detection_limit=e.get(f"detection_limit_{short}_percent"),
                        assumed_absent=False,
                    )
                )
        for oxide, o in data.get("oxides_wt_percent", {}).items():
            rows.append(Row(**own, quantity="oxide", of=oxide, unit="wt%", **_value(o)))
        # Atoms of a composition, atoms from edges, net lines of a bulk specimen.
        for kind in ("atomic_ratios", "elemental_ratios", "line_ratios"):
            for ratio, r in data.get(kind, {}).items():
                found = r.get("found")
                value = _value(r)
                rows.append(Row(**own, quantity="ratio", of=ratio, unit="1", found=found, **value))
        rows += [Row(**own, **fields) for fields in _mineral_fields(data)]
    joint = summary.get("joint_calibration") or {}
    for phase, data in joint.get("phases", {}).items():
        own = {**head, "phase": phase, "role": summary["phases"][phase]["role"]}
        for element, e in data["elements"].items():
            value = {"value": e["at_percent"], "sigma": e["at_sigma"]}
            systematic = e["at_systematic"]
            rows.append(
                Row(
                    **own, quantity="calibrated atoms", of=element, unit="at%", **value,
                    systematic=systematic,
                )
            )  # fmt: skip
    for phase, found in ({} if together is None else together.atoms.get(record.map, {})).items():
        own = {**head, "phase": phase, "role": summary["phases"][phase]["role"]}
        own |= {"quantity": "atoms calibrated together", "unit": "at%"}
        rows += [
            Row(**own, of=e, value=value, sigma=noise, systematic=rest)
            for e, (value, noise, rest) in found.items()
        ]
    for d in summary.get("partition", {}).get("subtract", ()):
        pair = {**head, "phase": f"{d['numerator']} / {d['denominator']}"}
        # A limit, or what is known as a range only, is no value.
        value = {
            "value": d["value_by_weight"], "sigma": d["sigma"], "systematic": d["systematic"]
        }  # fmt: skip
        if d["is_range"] or d["limit"] == "above":
            value = {}
        elif d["limit"]:
            value = {"found": False, "detection_limit": d["value_by_weight"]}
        rows.append(Row(**pair, quantity="partition", of=d["element"], unit="1", **value))
    return rows


def _mineral_fields(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a phase may be, and the numbers of its structural formula."""
    out: list[dict[str, Any]] = []
    named = data.get("identified")
    if named is not None:
        best = named["best"]
        value = named["none_probability"]
        if best is not None:
            value = named["candidates"][0]["probability"]
        out.append({"quantity": "name", "of": best or "none of these", "unit": "1", "value": value})
    formula = data.get("structural_formula") or {"numbers": {}}
    for key, number in formula["numbers"].items():
        value = {} if number["assumed_absent"] else _value(number)
        out.append({"quantity": "formula", "of": key, "unit": "1", **value})
    return out


def _value(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data.get(name) for name in ("value", "sigma", "systematic")}


def write_csv_table(path: Path, rows: Sequence[Row]) -> None:
    """Write the table as CSV (UTF-8, comma, one row of titles); what is not known stays empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        data = asdict(row)
        for name in _NUMBERS:
            if data[name] is not None:
                data[name] = _in_digits(float(data[name]))
        for name in _TRUTHS:
            if data[name] is not None:
                data[name] = "true" if data[name] else "false"
        writer.writerow(data)
    write_whole(path, text.getvalue())


def _in_digits(value: float) -> str:
    """Whole numbers (pixels, counts) whole, others with six digits."""
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"


def write_parquet_table(path: Path, rows: Sequence[Row]) -> None:
    """Write the table as Parquet: text, doubles and truth values."""
    import pyarrow
    from pyarrow import parquet

    kinds = dict.fromkeys(COLUMNS, pyarrow.string())
    kinds.update(dict.fromkeys(_NUMBERS, pyarrow.float64()))
    kinds.update(dict.fromkeys(_TRUTHS, pyarrow.bool_()))
    columns = {
        name: pyarrow.array([_number(name, getattr(row, name)) for row in rows], kind)
        for name, kind in kinds.items()
    }
    with replacing(path) as draft:
        parquet.write_table(pyarrow.table(columns), draft)


def _number(name: str, value: Any) -> Any:
    if isinstance(value, str):  # names of files need not be text
        return value.encode(errors="backslashreplace").decode()
    return float(value) if name in _NUMBERS and value is not None else value


#: What a batch leaves besides the maps, without the endings.
_OUTPUTS = {"results", "recipe", "report", "summary"}
#: Sections of a run's summary that the overview is made of.
_SECTIONS = ("input", "regions", "phases")


def write_outputs(
    folder: BatchFolder,
    recipe: Recipe,
    batch: str,
    notes: Sequence[str],
    *,
    given: Collection[str] = (),
) -> None:
    """Write table, summary, recipe and report from the records of all maps of this batch.

    Maps of earlier calls in the same folder count too, if the recipe is the same; others
    are named in the report. To be called by the owner of the folder's lock.

    Parameters
    ----------
    folder : BatchFolder
    recipe : Recipe
        Of the batch.
    batch : str
        Key that its records have.
    notes : sequence of str
        Of the batch as a whole.
    given : collection of str
        Names of the maps of this call. Others that failed because there is no such file are
        left out: their names were mistyped.

    Raises
    ------
    OSError
        When something cannot be written; what was there before stays.
    """
    for draft in folder.root.glob(".*.part.*"):  # of a batch that was killed
        if draft.name.split(".")[1] in _OUTPUTS:
            draft.unlink(missing_ok=True)
    every = [r for r in folder.records() if r.map in given or not _mistyped(r)]
    runs = [_with_summary(folder, record) for record in every if record.batch == batch]
    others = [record.map for record in every if record.batch != batch]
    notes = list(notes)
    if others:
        notes.append(
            f"left out, because they were made with another recipe: {', '.join(others)}; give "
            f"their files once more to bring them up to date"
        )
    together = calibrated_together(folder, recipe, [r for r, s in runs if s is not None])
    if isinstance(together, BatchCalibration):
        notes += together.notes()
    elif together is not None:
        notes.append(together)
        together = None
    rows = [row for record, summary in runs for row in rows_of(record, summary, together)]
    write_csv_table(folder.root / "results.csv", rows)
    write_parquet_table(folder.root / "results.parquet", rows)
    write_whole(folder.root / "recipe.yaml", recipe.to_yaml())
    partition = partition_means([summary for _, summary in runs if summary is not None])
    diagrams = diagrams_of(
        partition, recipe.quantify.onuma.coordination, recipe.quantify.onuma.temperature
    )
    onuma = _onuma(recipe, diagrams)
    picture = folder.root / "figure_onuma.png"
    if onuma:
        picture.write_bytes(onuma)
    else:
        picture.unlink(missing_ok=True)
    html = render_overview(
        overview_of(folder, recipe, runs, notes, partition, diagrams, onuma, together)
    )
    write_whole(folder.root / "report.html", html)
    data = _summary(recipe, runs, notes, partition)
    data["lattice_strain"] = rounded(strain_data(diagrams))
    data["joint_calibration"] = None if together is None else rounded(together.data())
    text = json.dumps(data, indent=1, ensure_ascii=False)
    write_whole(folder.root / "summary.json", text + "\n")


def _onuma(recipe: Recipe, diagrams: Sequence[OnumaDiagram]) -> bytes:
    """The Onuma diagrams as a PNG; empty where too few ions have a radius."""
    if not diagrams:
        return b""
    from siftem.figures.curves import onuma_figure
    from siftem.figures.style import drawn_once

    return drawn_once(onuma_figure(diagrams, width=recipe.figures.width_mm))


def _mistyped(record: Record) -> bool:
    return record.status == "failed" and not Path(record.file).exists()


def _with_summary(folder: BatchFolder, record: Record) -> tuple[Record, Any]:
    if record.status != "done":
        return record, None
    try:
        path = folder.results(record.map) / "summary.json"
        summary = json.loads(path.read_text(encoding="utf-8"))
        rows_of(record, summary)
        if all(isinstance(summary[section], dict) for section in _SECTIONS):
            return record, summary
        raise TypeError(_SECTIONS)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        error = "its results were removed or damaged meanwhile: run the batch again"
        return replace(record, status="failed", error=error), None


def _summary(
    recipe: Recipe,
    runs: Sequence[tuple[Record, Any]],
    notes: Sequence[str],
    partition: Sequence[PartitionMean],
) -> dict[str, Any]:
    done = [(record, summary) for record, summary in runs if summary is not None]
    data = {
        "schema": SCHEMA,
        "siftem": __version__,
        "title": recipe.title,
        "maps": {
            record.map: {
                "file": record.file,
                "status": record.status,
                "error": record.error or None,
                "key": record.key or None,
                "phases": [] if summary is None else list(summary["phases"]),
            }
            for record, summary in runs
        },
        "means": phase_means(done),
        "partition_means": [
            {
                **partition_data(m.coefficient),
                "maps": m.maps,
                "reduced_chi_square": m.reduced_chi_square,
            }
            for m in partition
        ],
        "warnings": list(notes),
    }
    return dict(rounded(data))
