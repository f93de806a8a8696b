"""Run one recipe over many maps, each under its own name."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from siftem import __version__
from siftem.batch.folder import (
    BatchFolder,
    DiskFullError,
    Outcome,
    Overall,
    Record,
    Watcher,
    held,
    taking_part,
    told_in_one_sentence,
)
from siftem.batch.joint import JointJob, JointSpectra, find_shared_spectra
from siftem.batch.map_job import MapJob, batch_key, recipe_content, work_on_map
from siftem.batch.outputs import write_outputs
from siftem.errors import InputError, SiftemError
from siftem.machine import parse_memory
from siftem.old_names import takes_old_names
from siftem.pipeline.file_contents import file_content, file_name
from siftem.pipeline.recipe import Recipe, make_recipe
from siftem.progress import Progress, shows_progress, silent

#: Bytes of a name; drafts and locks add some twenty, and file systems take 255.
_LONGEST_NAME = 160
#: Formats of maps that are folders.
_FOLDER_FORMATS = (".zspy", ".zarr")


@dataclass(frozen=True)
class MapFile:
    """One map of a batch.

    Parameters
    ----------
    name : str
        Of its folder and in the tables: the file's name without its ending, with a few
        digits where files of two folders have the same one.
    file : Path
        Absolute.
    problem : str
        Why it cannot be a map, in one sentence, where its path tells.
    """

    name: str
    file: Path
    problem: str = ""


def named_maps(files: Sequence[str | Path], folder: BatchFolder) -> tuple[MapFile, ...]:
    """Give each file a name of its own; a file that is given twice counts once.

    A file keeps the name that it has in an earlier batch of the same folder.

    Parameters
    ----------
    files : sequence of path-like
    folder : BatchFolder

    Raises
    ------
    InputError
        When there are none.
    """
    # One file may be given in several ways: from another folder, by a link.
    paths = {os.path.realpath(file): Path(file).absolute() for file in reversed(list(files))}
    paths = dict(reversed(paths.items()))
    if not paths:
        raise InputError("a batch needs at least one map: give files")
    plain = {real: file_name(path.stem) for real, path in paths.items()}
    often = Counter(plain.values())
    known = folder.known_files()
    of_path = {os.path.realpath(path): name for name, path in known.items()}
    out = []
    for real, path in paths.items():
        name = plain[real]
        earlier = known.get(name)
        # Another file that still exists owns the name; one that was moved gives it up.
        taken = earlier is not None and os.path.realpath(earlier) != real and earlier.exists()
        if real in of_path:
            name = of_path[real]
        elif often[name] > 1 or taken or len(name.encode()) > _LONGEST_NAME:
            digits = hashlib.sha256(os.fsencode(path)).hexdigest()[:6]
            short = name.encode()[:_LONGEST_NAME].decode(errors="ignore")
            name = f"{short}-{digits}"
        out.append(MapFile(name, path, _problem(path)))
    return tuple(out)


def _problem(path: Path) -> str:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "the name of the file or of a folder above it is not UTF-8: rename it"
    if path.is_dir() and path.suffix.lower() not in _FOLDER_FORMATS:
        return f"{path} is a folder: give the files in it"
    return ""


#: Name under which the joint decomposition shows its progress.
JOINT = "joint decomposition"


@dataclass(frozen=True)
class BatchResult:
    """What a batch did.

    Parameters
    ----------
    folder : Path
    outcomes : tuple of Outcome
        One for each map, in the order given; "done", "kept" or "failed".
    """

    folder: Path
    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Maps that failed, each with its one-line error."""
        return tuple(o for o in self.outcomes if o.status == "failed")


@shows_progress
@takes_old_names(workers="n_jobs")
def run_batch(
    recipe: Recipe,
    files: Sequence[str | Path],
    folder: str | Path,
    *,
    joint: bool = False,
    spectra: str | Path | None = None,
    n_jobs: int | None = None,
    threads: int | None = None,
    scheduler: str | Any | None = None,
    memory: str | None = None,
    processes: int = 1,
    watcher: Watcher | None = None,
    progress: Progress = silent,
) -> BatchResult:
    """Run one recipe over many maps, and put all results into one table and one report.

    A map that fails does not stop the others. Run again, only what is missing or changed
    (by content: maps, recipe, files it names) is done. Several batches of the same recipe
    may work on one folder at once; they share the maps.

    Parameters
    ----------
    recipe : Recipe
        Its ``input`` is replaced by each of the files, but for ``input.signal``.
    files : sequence of path-like
        Maps.
    folder : path-like
        New, empty, or of an earlier batch.
    joint : bool
        Factorise all maps together: common spectra, maps of their own.
    spectra : path-like, optional
        Spectra that all maps share: a CSV table, or the maps.hspy of a run.
    n_jobs : int, optional
        Processes on this machine; by default the maps are done in this one.
    threads : int, optional
        Of each process; by default cores divided by processes.
    scheduler : str or dask.distributed.Client, optional
        A cluster to do the work instead; its workers must see the same files.
    memory : str, optional
        Budget of each map, such as "2GB": maps then stay on disk and are worked on block by
        block, for maps that are larger than memory.
    processes : int
        In which figures are drawn at a time where the maps are done in this process and in
        memory; see `siftem.write_results`.
    watcher : Watcher, optional
        Told of each map by itself.
    progress : Progress
        Told of the maps together, where there is no watcher.

    Returns
    -------
    BatchResult

    Raises
    ------
    SiftemError
        When the batch as a whole cannot go on: nothing can be written, another recipe is at
        work in the folder, or no scheduler answers.

    Examples
    --------
    >>> from siftem.pipeline.recipe import read_recipe
    >>> recipe = read_recipe("recipe.yaml", for_many=True)  # doctest: +SKIP
    >>> siftem.run_batch(recipe, ["a.emd", "b.emd"], "out")  # doctest: +SKIP
    """
    _check(recipe, joint, spectra, n_jobs, threads, scheduler)
    if memory is not None:
        parse_memory(memory)
    place = BatchFolder(Path(folder).absolute())
    watcher = watcher or Overall(progress)
    if spectra is not None:
        recipe = _with(recipe, decompose={"spectra": str(Path(spectra).absolute())})
    with told_in_one_sentence(place.root):
        place.make()
        with held(place.private / "folder.lock", wait=-1):
            # Under the lock: of two batches that begin at once the second sees the first's names.
            maps = named_maps(files, place)
            place.keep_names({m.name: m.file for m in maps})
    with taking_part(place, _taking_part_key(recipe, maps, joint)):
        alone = n_jobs is None and scheduler is None and memory is None
        work = _Work(
            place,
            recipe,
            watcher,
            n_jobs,
            threads,
            scheduler,
            memory or "",
            processes if alone else 1,
        )
        return work.all_of(maps, joint)


@dataclass(frozen=True)
class _Work:
    place: BatchFolder
    recipe: Recipe
    watcher: Watcher
    n_jobs: int | None
    threads: int | None
    scheduler: Any
    memory: str
    processes: int

    def all_of(self, maps: tuple[MapFile, ...], joint: bool) -> BatchResult:
        recipes = {m.name: map_recipe(self.recipe, m) for m in maps if not m.problem}
        shared: JointSpectra | None = None
        self.watcher.begin((JOINT,) * joint + tuple(m.name for m in maps))
        if joint and recipes:
            shared = self._joint(recipes)
            for name, recipe in recipes.items():
                data = recipe.model_dump(mode="json")
                data["decompose"]["spectra"] = str(self.place.shared_spectra())
                if name in shared.windows:
                    data["energy_range"] = shared.windows[name]
                recipes[name] = make_recipe(data)
        key = batch_key(self.recipe, _shared_content(self.recipe, shared))
        failed = {m.name: m.problem for m in maps if m.problem}
        if shared is not None:
            failed |= shared.failed
        jobs = {
            m.name: MapJob(
                name=m.name,
                file=str(m.file),
                recipe={} if m.problem else recipes[m.name].model_dump(mode="json"),
                folder=str(self.place.root),
                batch=key,
                failed_before=failed.get(m.name, ""),
                memory=self.memory,
                processes=self.processes,
            )
            for m in maps
        }
        found = self._work_on(jobs)
        notes = () if shared is None else shared.notes
        with (
            told_in_one_sentence(self.place.root),
            held(self.place.private / "folder.lock", wait=-1),
        ):
            write_outputs(self.place, self.recipe, key, notes, given=jobs)
        return BatchResult(self.place.root, tuple(found[m.name] for m in maps))

    def _joint(self, recipes: dict[str, Recipe]) -> JointSpectra:
        plain = {n: r.model_dump(mode="json") for n, r in sorted(recipes.items())}
        found: list[JointSpectra] = []

        def finished(name: str, result: Any, error: str) -> None:
            if error:
                raise SiftemError(error)
            found.append(result)

        start = time.perf_counter()
        job = JointJob(plain, str(self.place.root), self.memory)
        self._do(find_shared_spectra, {JOINT: job}, finished)
        self.watcher.finished(Outcome(JOINT, "done", seconds=time.perf_counter() - start))
        return found[0]

    def _work_on(self, jobs: dict[str, MapJob]) -> dict[str, Outcome]:
        found: dict[str, Outcome] = {}

        def finished(name: str, result: Any, error: str) -> MapJob | None:
            outcome: Outcome = Outcome(name, "failed", error) if error else result
            if outcome.status == "busy":
                return replace(jobs[name], wait=True)
            if outcome.status == "disk full":
                raise DiskFullError(outcome.error)
            job = jobs[name]
            if error:
                lost = Record(name, job.file, job.batch, "", "failed", error)
                with (
                    told_in_one_sentence(self.place.root),
                    held(self.place.lock(name), wait=0) as free,
                ):
                    # Another batch that works on the map now will say what became of it.
                    if free:
                        self.place.write_record(lost)
            elif self.place.read_record(name) is None:
                raise SiftemError(
                    f"the workers do not write into {self.place.root} as seen from here: "
                    f"choose a folder that all machines share under the same path"
                )
            found[name] = outcome
            self.watcher.finished(outcome)
            return None

        self._do(work_on_map, jobs, finished)
        return found

    def _do(
        self,
        function: Callable[[Any, Any], Any],
        jobs: dict[str, Any],
        finished: Callable[[str, Any, str], Any],
    ) -> None:
        """Do jobs in this process, or on workers."""
        if self.n_jobs is not None or self.scheduler is not None:
            from siftem.large.batch_workers import run_jobs

            run_jobs(
                function,
                jobs,
                finished=finished,
                report=self.watcher.step,
                dashboard=self.watcher.dashboard,
                workers=self.n_jobs,
                threads=self.threads,
                scheduler=self.scheduler,
            )
            return
        waiting = list(jobs.items())
        while waiting:
            name, job = waiting.pop(0)

            def progress(step: str, fraction: float, name: str = name) -> None:
                self.watcher.step(name, step, fraction)

            again = finished(name, function(job, progress), "")
            if again is not None:
                waiting.append((name, again))


def map_recipe(recipe: Recipe, of: MapFile) -> Recipe:
    """Return the recipe with a map as its input and in its title."""
    title = f"{recipe.title}: {of.name}" if recipe.title else of.name
    data = recipe.model_dump(mode="json")
    data["title"] = title
    data["input"] = {"file": str(of.file), "signal": recipe.input.signal}
    return make_recipe(data)


def _with(recipe: Recipe, **sections: dict[str, Any]) -> Recipe:
    data = recipe.model_dump(mode="json")
    for name, entries in sections.items():
        data[name] = {**data[name], **entries}
    return make_recipe(data)


def _shared_content(recipe: Recipe, shared: JointSpectra | None) -> str | None:
    if shared is not None:
        return shared.content
    given = recipe.decompose.spectra
    return None if given is None else file_content(given)


def _taking_part_key(recipe: Recipe, maps: tuple[MapFile, ...], joint: bool) -> str:
    together = sorted(str(m.file) for m in maps) if joint else []
    data = [
        __version__,
        recipe.title,
        recipe_content(recipe),
        _shared_content(recipe, None),
        together,
    ]
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def _check(
    recipe: Recipe,
    joint: bool,
    spectra: str | Path | None,
    n_jobs: int | None,
    threads: int | None,
    scheduler: Any,
) -> None:
    if joint and (spectra is not None or recipe.decompose.spectra is not None):
        raise InputError("spectra are either given or found by a joint decomposition: not both")
    if n_jobs is not None and scheduler is not None:
        raise InputError("the workers are those of this machine or of a scheduler: give one")
    for name, value in (("n_jobs", n_jobs), ("threads", threads)):
        if value is not None and value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
