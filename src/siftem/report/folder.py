"""Everything a run leaves behind, in one folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from siftem.errors import SiftemError
from siftem.pipeline.parts import attempted, recorded_warnings
from siftem.pipeline.results import RunResult
from siftem.pipeline.side_processes import SideProcesses
from siftem.pipeline.store import KEYS, MARK, RESULTS, open_run, whole_folder, write_data, write_run
from siftem.pipeline.summary import summary_text
from siftem.pipeline.workflow import Workflow
from siftem.progress import Progress, shows_progress, silent
from siftem.report.html import render_report, report_tables
from siftem.report.minerals import oxide_csv, partition_csv
from siftem.report.pictures import figure_jobs

#: The page that a reader opens.
REPORT = "report.html"


@shows_progress
def write_results(
    result: RunResult,
    folder: str | Path,
    *,
    resources: Mapping[str, float] | None = None,
    keys: Mapping[str, str] | None = None,
    reopen: bool = True,
    processes: int = 1,
    progress: Progress = silent,
) -> Path:
    """Write report, figures, summary, recipe, spectra, maps and regions of a run.

    The folder appears whole or not at all; an earlier run in it is replaced.

    Parameters
    ----------
    result : RunResult
    folder : path-like
        New, empty, or of an earlier run.
    resources : mapping of str to float, optional
        What the run took ("seconds", "peak_memory_MB"); written to ``resources.json`` and
        into the report.
    keys : mapping of str to str, optional
        What the run depends on; written to ``keys.json``, see `is_exported`.
    reopen : bool
        Write ``results.npz``, all results for `siftem.open_run`: some 30 MB.
    processes : int
        In which figures are drawn at a time, on Linux. Leave it at 1 in a program whose other
        threads work at the same time: copies of a process have none of them.
    progress : Progress
        Called with "report".

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    SiftemError
        When it cannot be written.

    Examples
    --------
    >>> siftem.write_results(result, "out")  # doctest: +SKIP
    """
    with whole_folder(folder) as draft:
        progress("report", 0.0)
        jobs: dict[str, Callable[[], bytes | None]] = {"": partial(write_data, result, draft)}
        jobs |= {
            f"{name}.{kind}": job
            for kind in dict.fromkeys(("png", *result.recipe.figures.formats))  # those of the page
            for name, job in figure_jobs(result, kind).items()
        }
        with recorded_warnings() as told, SideProcesses(jobs, processes) as drawing:
            tables = report_tables(result)
            progress("report", 0.2)
            for file, table in (("oxides", oxide_csv), ("partition", partition_csv)):
                text = attempted(f"{file}.csv", partial(table, result), "")
                if text:
                    (draft / f"{file}.csv").write_text(text, encoding="utf-8")
            progress("report", 0.4)
            pictures = {n: drawn for n, drawn in drawing.results().items() if drawn is not None}
        for file, picture in pictures.items():
            (draft / file).write_bytes(picture)
        figures = {Path(f).stem: p for f, p in pictures.items() if f.endswith(".png")}
        # What is missing here is told with the rest.
        notes = tuple(dict.fromkeys((*result.warnings, *told)))
        doubts = tuple(dict.fromkeys((*result.doubts, *told.doubts)))
        result = replace(result, warnings=notes, doubts=doubts)
        progress("report", 0.8)
        if reopen:
            write_run(result, draft)
        (draft / MARK).write_text(summary_text(result), encoding="utf-8")
        html = render_report(result, figures=figures, resources=resources, tables=tables)
        (draft / REPORT).write_text(html, encoding="utf-8")
        if resources is not None:
            text = json.dumps(dict(resources), indent=1) + "\n"
            (draft / "resources.json").write_text(text, encoding="utf-8")
        if keys is not None:
            text = json.dumps(dict(keys), indent=1) + "\n"
            (draft / KEYS).write_text(text, encoding="utf-8")
        progress("report", 1.0)
    return Path(folder)


@shows_progress
def export(
    workflow: Workflow,
    folder: str | Path,
    *,
    progress: Progress = silent,
) -> Path:
    """Do what is missing of a workflow, and write all its results to a folder.

    Parameters
    ----------
    workflow : Workflow
    folder : path-like
        New, empty, or of an earlier run.
    progress : Progress

    Returns
    -------
    Path
        The folder.
    """
    result, keys = workflow.outcome(progress=progress)
    return write_results(result, folder, keys=keys, progress=progress)


def exported_result(workflow: Workflow, folder: str | Path) -> RunResult | None:
    """Return the results in a folder if they are those of this very workflow, else None."""
    there = all((Path(folder) / name).is_file() for name in (RESULTS, MARK, REPORT))
    if not there or not is_exported(workflow, folder):
        return None
    try:
        return open_run(folder)
    except SiftemError:  # damaged: it is made again
        return None


def is_exported(workflow: Workflow, folder: str | Path) -> bool:
    """Whether a folder holds all results of this very workflow: same contents, same siftem."""
    try:
        known = json.loads((Path(folder) / KEYS).read_text(encoding="utf-8"))
        return bool(known["export"] == workflow.keys()["export"])
    except (OSError, ValueError, KeyError, TypeError, SiftemError):
        return False
