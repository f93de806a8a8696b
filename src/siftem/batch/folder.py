"""The folder of a batch: where things are, what is known of each map, and who looks on.

Locks are those of the operating system, which frees them however their owner dies. A full disk is
told apart from other errors, because it stops everything.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from siftem.errors import InputError, SiftemError
from siftem.files.atomic import replacing
from siftem.progress import Progress

#: Version of the records and of the batch's summary.
SCHEMA = 1


@dataclass(frozen=True)
class Record:
    """What became of one map.

    Parameters
    ----------
    map : str
        Its name in the batch.
    file : str
        Where its counts came from.
    batch : str
        Key of the recipe and of what all maps share: records of another recipe have another.
    key : str
        Hash of all that the result depends on; empty when the input could not be read.
    status : {"done", "failed"}
    error : str
        One sentence, for a map that failed.
    files : mapping of str to int
        Files of its folder and their bytes.
    """

    map: str
    file: str
    batch: str
    key: str
    status: str
    error: str = ""
    files: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class BatchFolder:
    """Places in the folder of a batch.

    Parameters
    ----------
    root : Path
    """

    root: Path

    @property
    def private(self) -> Path:
        """Records, locks and checkpoints; by this folder a batch is known."""
        return self.root / ".siftem"

    def results(self, name: str) -> Path:
        """Folder with the run of a map."""
        return self.root / "maps" / name

    def checkpoints(self, name: str) -> Path:
        """Folder where the slow steps of a map leave their results."""
        return self.private / "checkpoints" / name

    def lock(self, name: str) -> Path:
        """Lock file of a map."""
        return self.private / "locks" / f"{name}.lock"

    def record(self, name: str) -> Path:
        """File that says what became of a map."""
        return self.private / "records" / f"{name}.json"

    def shared_spectra(self) -> Path:
        """Spectra of a joint decomposition."""
        return self.root / "shared_spectra.csv"

    def make(self) -> None:
        """Make the folder, or check that it may be used.

        Raises
        ------
        InputError
            When it is a file, or holds things that are not a batch's.
        OSError
            When it cannot be made.
        """
        if self.root.exists() and not self.root.is_dir():
            raise InputError(f"{self.root} is a file: choose another output folder")
        if not self.private.is_dir() and self.root.is_dir() and any(self.root.iterdir()):
            raise InputError(
                f"{self.root} holds files that are not a batch of siftem: "
                f"choose another output folder"
            )
        for folder in ("records", "locks", "checkpoints"):
            (self.private / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "maps").mkdir(exist_ok=True)

    def read_record(self, name: str) -> Record | None:
        """Return what is known of a map; None when there is nothing, or nothing readable."""
        return _read(self.record(name))

    def records(self) -> list[Record]:
        """Return all records, in natural order of the maps' names."""
        # Names that begin with a point are drafts, of this moment or of a batch that was killed.
        paths = [p for p in (self.private / "records").glob("*.json") if p.name[0] != "."]
        found = (_read(path) for path in paths)
        return sorted((r for r in found if r is not None), key=lambda r: natural_order(r.map))

    def write_record(self, record: Record) -> None:
        """Replace what is known of a map."""
        data = {"schema": SCHEMA, **dataclasses.asdict(record)}
        write_whole(self.record(record.map), json.dumps(data, indent=1, ensure_ascii=False) + "\n")

    def known_files(self) -> dict[str, Path]:
        """Which file each map's name stands for, as far as batches have said so."""
        known = {record.map: Path(record.file) for record in self.records()}
        with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
            said = json.loads(self._names.read_text(encoding="utf-8"))
            known = {str(name): Path(file) for name, file in said.items()} | known
        return known

    def keep_names(self, names: Mapping[str, Path]) -> None:
        """Write down which file each map's name stands for; by the owner of the folder's lock."""
        data = {name: str(file) for name, file in sorted((self.known_files() | {**names}).items())}
        write_whole(self._names, json.dumps(data, indent=1, ensure_ascii=False) + "\n")

    @property
    def _names(self) -> Path:
        return self.private / "names.json"

    def up_to_date(self, name: str, key: str) -> Record | None:
        """Return the record of a map whose run is there, whole, and made under this key.

        Files that others have put beside it do not matter.
        """
        record = self.read_record(name)
        if record is None or record.status != "done" or not key or record.key != key:
            return None
        found = files_in(self.results(name))
        whole = bool(record.files) and record.files.items() <= found.items()
        return record if whole else None

    def tidy(self, name: str) -> None:
        """Clear away what a killed run of a map left: half-written folders of it.

        To be called by the owner of the map's lock. If it was killed between setting the
        earlier run aside and putting the new one in its place, the earlier one is put back.
        """
        target = self.results(name)
        draft = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{8}}\.part\.json")
        for path in (self.private / "records").iterdir():
            if draft.fullmatch(path.name):
                path.unlink(missing_ok=True)
        pattern = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{8}}\.(draft|old)")
        for path in sorted(target.parent.iterdir()):
            if pattern.fullmatch(path.name):
                if path.suffix == ".old" and not target.exists():
                    path.replace(target)
                else:
                    shutil.rmtree(path, ignore_errors=True)
        checkpoints = self.checkpoints(name)
        if checkpoints.is_dir():
            for part in checkpoints.glob(".*.part*"):
                part.unlink(missing_ok=True)


def _read(path: Path) -> Record | None:
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, KeyError):
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files = data.pop("files")
        if data.pop("schema") == SCHEMA and all(isinstance(v, str) for v in data.values()):
            return Record(**data, files=dict(files))
    return None


def files_in(folder: Path) -> dict[str, int]:
    """Return all files in a folder with their sizes; none when it is not there."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write_whole(path: Path, text: str) -> None:
    """Write a text file that is there whole or not at all, also after a power cut."""
    # Names of files need not be text: what is none is written as its escape.
    how: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": "\n"}
    with replacing(path) as draft, draft.open("w", **how) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def natural_order(name: str) -> list[tuple[int, int, str]]:
    """Key that sorts map2 before map10."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(p), "") if p.isdigit() else (0, 0, p.lower()) for p in parts] + [(0, 0, name)]


_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
#: What libraries that keep no error number write (HDF5 among them).
_WORDS = ("no space left on device", "disk quota exceeded", "file too large")


class DiskFullError(SiftemError):
    """Nothing more can be written where the results go."""


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that the disk or the quota is full."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in _ERRORS:
            return True
        if any(words in str(error).lower() for words in _WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def disk_full_message(folder: Path) -> str:
    """Say what happened and what to do, in one sentence."""
    return (
        f"no space is left for the results in {folder}: free some and run the same command "
        f"again, all maps that were finished are kept"
    )


@contextlib.contextmanager
def told_in_one_sentence(folder: Path) -> Iterator[None]:
    """Turn errors of writing into one sentence.

    Raises
    ------
    DiskFullError
        When the disk is full.
    SiftemError
        When it cannot be written for another reason.
    """
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        if is_disk_full(error):
            raise DiskFullError(disk_full_message(folder)) from error
        if isinstance(error, OSError):
            raise SiftemError(f"cannot write in {folder}: {error.strerror or error}") from error
        raise


#: What systems answer whose file systems know no locks.
_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK}


@contextlib.contextmanager
def held(path: Path, *, wait: float) -> Iterator[bool]:
    """Hold the lock of a file; give False when another process has it.

    Parameters
    ----------
    path : Path
        Its folder exists.
    wait : float
        Seconds to wait for it; negative waits for ever.

    Raises
    ------
    SiftemError
        When the file system knows no locks.
    """
    # Without this, a file system without locks would be given marker files instead, which stay
    # when their owner is killed, and everyone would wait for them for ever.
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=wait, poll_interval=0.1)
    except Timeout:
        yield False
        return
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise SiftemError(
            f"the file system of {path.parent} knows no file locks, which keep two batches from "
            f"spoiling each other: choose an output folder on another one"
        ) from None
    try:
        yield True
    finally:
        lock.release()


@contextlib.contextmanager
def taking_part(folder: BatchFolder, batch: str) -> Iterator[None]:
    """Take part in the work on a folder; several batches may, if they do the same.

    Each takes a lock on a file of its own, which ends with its process. Files whose lock
    is free are of batches that were killed.

    Parameters
    ----------
    folder : BatchFolder
    batch : str
        Key of recipe and options.

    Raises
    ------
    SiftemError
        When a batch with another recipe is at work in the folder.
    """
    users = folder.private / "running"
    own = users / f"{batch}.{uuid.uuid4().hex[:8]}.lock"
    with contextlib.ExitStack() as stack:
        with (
            told_in_one_sentence(folder.root),
            held(folder.private / "folder.lock", wait=-1),
        ):
            users.mkdir(parents=True, exist_ok=True)
            for other in users.glob("*.lock"):
                with held(other, wait=0) as free:
                    if not free and not other.name.startswith(f"{batch}."):
                        raise SiftemError(
                            f"a batch with another recipe is at work in {folder.root}: "
                            f"wait until it is done, or choose another output folder"
                        )
                if free:
                    other.unlink(missing_ok=True)
            stack.enter_context(held(own, wait=-1))
            stack.callback(own.unlink, missing_ok=True)
        yield


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Parameters
    ----------
    name : str
    status : {"done", "kept", "failed", "busy", "disk full"}
        "kept" means that an earlier result is up to date.
    error : str
        One sentence.
    seconds : float
    """

    name: str
    status: str
    error: str = ""
    seconds: float = 0.0


class Watcher:
    """Told what happens in a batch; this one does nothing, others override what they need.

    The methods may be called from several threads.
    """

    def begin(self, names: tuple[str, ...]) -> None:
        """Work on these maps begins."""

    def dashboard(self, address: str) -> None:
        """Dask shows its dashboard at this address."""

    def step(self, name: str, step: str, fraction: float) -> None:
        """A share (0 to 1) of a step is done for a map."""

    def finished(self, outcome: Outcome) -> None:
        """A map is done with, well or not."""


class Overall(Watcher):
    """Tells one callback which share of all maps is done.

    Parameters
    ----------
    progress : Progress
    """

    def __init__(self, progress: Progress) -> None:
        self._progress, self._jobs, self._finished = progress, 1, 0

    def begin(self, names: tuple[str, ...]) -> None:
        """Work on these maps begins."""
        self._jobs = max(len(names), 1)

    def step(self, name: str, step: str, fraction: float) -> None:
        """A step of a map moves on; what counts is the maps that are finished."""
        self._progress(f"{name}: {step}", self._finished / self._jobs)

    def finished(self, outcome: Outcome) -> None:
        """A map is done with, well or not."""
        self._finished += 1
        self._progress(outcome.name, self._finished / self._jobs)
