"""What a run depends on, as a hash of contents: files, folders, spectrum images, the code.

Phases give names to files, too: without what a file's name can't hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from siftem.errors import ReadError
from siftem.large.rows_of_counts import rows_of
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.recipe_parts import PATHS
from siftem.spectrum_image import SpectrumImage

_BLOCK = 1 << 20
_lock = threading.Lock()
_known_files: dict[str, tuple[tuple[int, int], str]] = {}
_known_images: WeakKeyDictionary[SpectrumImage, str] = WeakKeyDictionary()
_PACKAGE = Path(__file__).parents[1]


@cache
def code_state(package: Path = _PACKAGE) -> str:
    """SHA-256 of a package's modules: results of other code are not taken for those of this one.

    A version is not enough: between two releases, and in a working copy, code changes under it.

    Parameters
    ----------
    package : Path
        Its folder; this one's by default.
    """
    digest = hashlib.sha256()
    for module in sorted(package.rglob("*.py")):
        content = module.read_bytes()
        digest.update(f"{module.relative_to(package).as_posix()} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()


def file_content(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, or of all files in a folder with their names.

    A file is read once as long as its size and time stay the same.
    """
    path = Path(path)
    try:
        stat = path.stat()
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file())
            listed = [(p.relative_to(path).as_posix(), file_content(p)) for p in inside]
            return hashlib.sha256(json.dumps(listed).encode()).hexdigest()
        if not path.is_file():  # a pipe might never answer, a device never end
            raise ReadError(f"cannot read {path}: it is a device or a pipe, no file")
        state = (stat.st_size, stat.st_mtime_ns)
        place = str(path.resolve())
        with _lock:
            known = _known_files.get(place)
        if known is not None and known[0] == state:
            return known[1]
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise ReadError(f"cannot read {path}: {error.strerror or error}") from None
    with _lock:
        _known_files[place] = (state, digest.hexdigest())
    return digest.hexdigest()


def image_content(si: SpectrumImage) -> str:
    """Return the SHA-256 of a map: of its counts, its survey image and what is known of it."""
    # A spectrum image does not change, and hashing its counts takes a while.
    with _lock:
        known = _known_images.get(si)
    if known is not None:
        return known
    digest = hashlib.sha256(rows_of(si.counts).identity.encode())
    if si.survey is not None:
        digest.update(np.ascontiguousarray(si.survey).data)
    arrays = {"counts", "survey"}
    about = {f.name: getattr(si, f.name) for f in fields(si) if f.name not in arrays}
    digest.update(repr(about).encode())
    with _lock:
        _known_images[si] = digest.hexdigest()
    return digest.hexdigest()


def with_contents(data: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Return a recipe's plain data with each file that it names as the hash of its content.

    The map itself and shared spectra stay as they are. A file that is not there counts
    by its name.

    Parameters
    ----------
    data : dict
        ``recipe.model_dump(mode="json")``, or a part of it.
    recipe : Recipe
    """
    out = json.loads(json.dumps(data))
    for keys in PATHS:
        if keys[0] in ("input", "decompose"):
            continue
        section: Any = out
        for key in keys[:-1]:
            section = section.get(key) if isinstance(section, dict) else None
        place = section.get(keys[-1]) if isinstance(section, dict) else None
        if isinstance(place, str):
            with contextlib.suppress(ReadError):
                section[keys[-1]] = {"content": file_content(place)}
    return dict(out)


#: Bytes of a name; file systems take 255, and endings are added.
_LONGEST = 120


def file_name(name: str) -> str:
    """Turn the name of a phase into a file name: letters, digits, ``-``, ``_`` and ``.``.

    Different phases may get the same one: `file_names` keeps those of a run apart.
    """
    safe = re.sub(r"[^\w.-]+", "_", name).strip("._")
    safe = safe.encode()[:_LONGEST].decode(errors="ignore")
    return safe or "spectrum"


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Give each name a file name of its own, also where capitals don't count.

    Parameters
    ----------
    names : iterable of str
        Of all that lies in one folder.

    Returns
    -------
    dict of str to str
        `file_name` of each; those that would meet get digits of a hash of their name, so
        that they are the same in whatever order the names come.
    """
    every = list(dict.fromkeys(names))
    plain = {name: file_name(name) for name in every}
    often = Counter(safe.casefold() for safe in plain.values())
    out = {}
    for name, safe in plain.items():
        # One whose name needed no change may keep it.
        alike = [n for n in every if plain[n].casefold() == safe.casefold()]
        keeps = [n for n in alike if plain[n] == n]
        if often[safe.casefold()] == 1 or keeps == [name]:
            out[name] = safe
        else:
            out[name] = f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return out
