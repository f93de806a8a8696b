"""What a batch leaves for its reader: table, summary, recipe and overview report."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from siftem import __version__
from siftem.batch.folder import SCHEMA, BatchFolder, Record, write_whole
from siftem.batch.overview import overview_of, phase_means
from siftem.batch.partition import PartitionMean, diagrams_of, partition_means
from siftem.batch.results_table import rows_of, write_csv_table, write_parquet_table
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.summary import partition_data, rounded
from siftem.report.overview import render_overview

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
    rows = [row for record, summary in runs for row in rows_of(record, summary)]
    write_csv_table(folder.root / "results.csv", rows)
    write_parquet_table(folder.root / "results.parquet", rows)
    write_whole(folder.root / "recipe.yaml", recipe.to_yaml())
    partition = partition_means([summary for _, summary in runs if summary is not None])
    onuma = _onuma(recipe, partition)
    picture = folder.root / "figure_onuma.png"
    if onuma:
        picture.write_bytes(onuma)
    else:
        picture.unlink(missing_ok=True)
    html = render_overview(overview_of(folder, recipe, runs, notes, partition, onuma))
    write_whole(folder.root / "report.html", html)
    data = _summary(recipe, runs, notes, partition)
    text = json.dumps(data, indent=1, ensure_ascii=False)
    write_whole(folder.root / "summary.json", text + "\n")


def _onuma(recipe: Recipe, partition: Sequence[PartitionMean]) -> bytes:
    """The Onuma diagrams as a PNG; empty where too few ions have a radius."""
    if not partition:
        return b""
    from siftem.figures.onuma import onuma_figure
    from siftem.figures.style import drawn_once

    how = recipe.quantify.onuma
    diagrams = diagrams_of(partition, how.coordination, how.temperature)
    if not diagrams:
        return b""
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
