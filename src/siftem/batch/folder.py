"""The folder of a batch: where things are, and what is known of each map."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siftem.errors import InputError
from siftem.io.atomic import replacing

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
        found = (_read(path) for path in (self.private / "records").glob("*.json"))
        return sorted((r for r in found if r is not None), key=lambda r: natural_order(r.map))

    def write_record(self, record: Record) -> None:
        """Replace what is known of a map."""
        data = {"schema": SCHEMA, **dataclasses.asdict(record)}
        write_whole(self.record(record.map), json.dumps(data, indent=1, ensure_ascii=False) + "\n")

    def up_to_date(self, name: str, key: str) -> bool:
        """Whether the run of a map is there, whole, and made under this key."""
        record = self.read_record(name)
        if record is None or record.status != "done" or not key or record.key != key:
            return False
        return files_in(self.results(name)) == record.files

    def tidy(self, name: str) -> None:
        """Clear away what a killed run of a map left: half-written folders of it.

        To be called by the owner of the map's lock. If it was killed between setting the
        earlier run aside and putting the new one in its place, the earlier one is put back.
        """
        target = self.results(name)
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
    with contextlib.suppress(OSError, ValueError, TypeError):
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("schema") == SCHEMA:
            return Record(**data)
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
    with replacing(path) as draft, draft.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def natural_order(name: str) -> list[tuple[int, int, str]]:
    """Key that sorts map2 before map10."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(p), "") if p.isdigit() else (0, 0, p.lower()) for p in parts] + [(0, 0, name)]
