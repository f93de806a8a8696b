"""The maps of a batch and their names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from siftem.batch.folder import BatchFolder
from siftem.errors import InputError
from siftem.pipeline.file_names import file_name


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
    """

    name: str
    file: Path


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
    paths = list(dict.fromkeys(Path(file).absolute() for file in files))
    if not paths:
        raise InputError("a batch needs at least one map: give files")
    plain = [file_name(path.stem) for path in paths]
    known = {record.map: Path(record.file) for record in folder.records()}
    of_path = {path: name for name, path in known.items()}
    out = []
    for path, name in zip(paths, plain, strict=True):
        earlier = known.get(name)
        # Another file that still exists owns the name; one that was moved gives it up.
        taken = earlier is not None and earlier != path and earlier.exists()
        if path in of_path:
            name = of_path[path]
        elif plain.count(name) > 1 or taken:
            name = f"{name}-{hashlib.sha256(str(path).encode()).hexdigest()[:6]}"
        out.append(MapFile(name, path))
    return tuple(out)
