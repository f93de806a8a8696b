"""The maps of a batch and their names."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from siftem.batch.folder import BatchFolder
from siftem.errors import InputError
from siftem.pipeline.file_names import file_name

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
