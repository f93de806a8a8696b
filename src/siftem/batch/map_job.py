"""The work on one map of a batch: wherever it is done, and however often it is begun.

Maps that are too large for memory stay on disk meanwhile.
"""

from __future__ import annotations

import contextlib
import shutil
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from siftem import machine
from siftem.batch.calibration import keep_phases
from siftem.batch.folder import (
    BatchFolder,
    Outcome,
    Record,
    disk_full_message,
    files_in,
    held,
    is_disk_full,
    told_in_one_sentence,
)
from siftem.errors import Cancelled, SiftemError
from siftem.io.convert import convert
from siftem.large.open_map import open_map
from siftem.large.sparse_file import is_sparse_file
from siftem.pipeline.file_contents import code_state, with_contents
from siftem.pipeline.input_file import input_file
from siftem.pipeline.recipe import Recipe, make_recipe
from siftem.pipeline.step_keys import hash_of, step_key
from siftem.pipeline.workflow import Workflow
from siftem.progress import Progress
from siftem.report.folder import write_results
from siftem.spectrum_image import SpectrumImage


@dataclass(frozen=True)
class MapJob:
    """What a worker needs to know to work on a map; plain data, to be sent over a network.

    Parameters
    ----------
    name : str
    file : str
        Absolute path, the same on every machine.
    recipe : dict
        The complete recipe of this map.
    folder : str
        Of the batch.
    batch : str
        Key of what all maps share.
    wait : bool
        Wait when another batch works on the map; otherwise come back as "busy".
    failed_before : str
        Why the map cannot be used, where that is known already.
    memory : str
        Budget with which the map stays on disk; empty to load it whole.
    processes : int
        In which figures are drawn at a time; see `siftem.write_results`.
    """

    name: str
    file: str
    recipe: dict[str, Any]
    folder: str
    batch: str
    wait: bool = False
    failed_before: str = ""
    memory: str = ""
    processes: int = 1


def job_key(recipe: Recipe) -> str:
    """Return the hash of all that a map's results depend on.

    The contents of the map and of all files that the recipe names, the recipe, and the
    code of siftem; not the place of the map.

    Raises
    ------
    ReadError
        When a file is not there.
    """
    return hash_of([step_key("composition", recipe), recipe.title, recipe_content(recipe)])


def recipe_content(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as plain data without title, map and shared spectra.

    Files that it names stand as the hash of their content, wherever they are.
    """
    data = with_contents(recipe.model_dump(mode="json", exclude={"title"}), recipe)
    data["input"] = {"signal": recipe.input.signal}
    data["decompose"]["spectra"] = None
    return data


def batch_key(recipe: Recipe, shared: Any) -> str:
    """Return the hash of what all maps of a batch share, siftem's code included."""
    return hash_of([code_state(), recipe.title, recipe_content(recipe), shared])


def work_on_map(job: MapJob, progress: Progress) -> Outcome:
    """Run the recipe on a map and write its folder, unless that is there and up to date.

    Only one process at a time works on a map. Whatever goes wrong with the map is written
    down in one sentence; only a full disk and a stop from outside end the batch.

    Parameters
    ----------
    job : MapJob
    progress : Progress

    Returns
    -------
    Outcome
    """
    folder = BatchFolder(Path(job.folder))
    start = time.perf_counter()
    try:
        with (
            told_in_one_sentence(folder.root),
            held(folder.lock(job.name), wait=-1 if job.wait else 0) as owner,
        ):
            if not owner:
                return Outcome(job.name, "busy")
            outcome = _owned(job, folder, progress)
    except Exception as error:
        if isinstance(error, Cancelled) or not is_disk_full(error):
            raise
        return Outcome(job.name, "disk full", disk_full_message(folder.root))
    return replace(outcome, seconds=time.perf_counter() - start)


def _owned(job: MapJob, folder: BatchFolder, progress: Progress) -> Outcome:
    record = Record(job.name, job.file, job.batch, "", "failed")
    try:
        if job.failed_before:
            raise SiftemError(job.failed_before)
        recipe = make_recipe(job.recipe)
        progress("check", 0.0)
        record = replace(record, key=job_key(recipe))
        progress("check", 1.0)
        there = folder.up_to_date(job.name, record.key)
        if there is not None:
            # The same result may now belong to another batch key or stand at another place.
            folder.write_record(replace(record, status="done", files=there.files))
            return Outcome(job.name, "kept")
        folder.tidy(job.name)
        if job.memory:
            blocks = folder.checkpoints(job.name) / "blocks"
            with kept_on_disk(recipe, job.memory, blocks, progress) as image:
                _run(job, recipe, record, folder, progress, image)
        else:
            _run(job, recipe, record, folder, progress)
        record = replace(record, status="done", files=files_in(folder.results(job.name)))
    except Exception as error:
        if isinstance(error, Cancelled) or is_disk_full(error):
            raise
        record = replace(record, error=one_sentence(error))
        if not isinstance(error, SiftemError):
            keep_trace(folder, job.name, error)
    folder.write_record(record)
    return Outcome(job.name, record.status, record.error)


def _run(
    job: MapJob,
    recipe: Recipe,
    begun_with: Record,
    folder: BatchFolder,
    progress: Progress,
    image: SpectrumImage | None = None,
) -> None:
    begun, name = time.perf_counter(), begun_with.map
    workflow = Workflow(recipe, checkpoints=folder.checkpoints(name), spectrum_image=image)
    result = workflow.result(progress=progress)
    seconds = {"seconds": time.perf_counter() - begun}
    if job_key(recipe) != begun_with.key:  # a map that is still being recorded, say
        raise SiftemError(
            "the map, or a file that the recipe names, changed during the work on it: "
            "run the batch again once it is complete"
        )
    # A thousand maps would take 30 GB to be opened again; their recipes give the same numbers.
    write_results(
        result,
        folder.results(name),
        resources=seconds,
        reopen=False,
        processes=job.processes,
        progress=progress,
    )
    keep_phases(result, folder, name)


def one_sentence(error: Exception) -> str:
    """What went wrong with a map, as its line in the table says it."""
    if isinstance(error, SiftemError):
        text = str(error)
    elif isinstance(error, MemoryError):
        text = "out of memory: crop the map or its energy range, or use fewer workers"
    else:
        text = (
            f"unexpected {type(error).__name__}: {error} (please report this with its "
            f"trace in .siftem/traces)"
        )
    return " ".join(text.split())


def keep_trace(folder: BatchFolder, name: str, error: Exception) -> None:
    """Write down where an error came from that nobody foresaw."""
    traces = folder.private / "traces"
    traces.mkdir(exist_ok=True)
    text = "".join(traceback.format_exception(error))
    (traces / f"{name}.txt").write_text(text, encoding="utf-8")


@contextlib.contextmanager
def kept_on_disk(
    recipe: Recipe, memory: str, scratch: Path, progress: Progress
) -> Iterator[SpectrumImage]:
    """Open the map of a recipe on disk; a file in another format is converted first.

    Parameters
    ----------
    recipe : Recipe
    memory : str
        Budget such as "2GB".
    scratch : Path
        Folder for intermediate files. It is removed when all went well, and kept after an
        error or a kill, to go on from.
    progress : Progress

    Yields
    ------
    SpectrumImage
        Its ``counts`` are blocks on disk.
    """
    path = Path(input_file(recipe))
    scratch.mkdir(parents=True, exist_ok=True)
    if not is_sparse_file(path):
        path = convert(
            path,
            scratch / "map.sift",
            signal=recipe.input.signal,
            memory=memory,
            progress=progress,
        )
    with open_map(path, memory=memory, n_jobs=machine.available(), scratch=scratch) as image:
        yield image
    shutil.rmtree(scratch, ignore_errors=True)
