"""What each step of a run depends on, as a hash of its contents."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from siftem.blocked_counts import BlockedCounts
from siftem.errors import ReadError, SiftemError
from siftem.io.vendor_files import checked_path
from siftem.pipeline.preparation import input_file
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.recipe_paths import PATHS
from siftem.spectrum_image import SpectrumImage

#: The steps of a run in their order.
STEPS = (
    "load",
    "prepare",
    "decompose",
    "match",
    "features",
    "segment",
    "regions",
    "spectra",
    "unmix",
    "composition",
)

#: Results that each step is made of.
PARENTS: dict[str, tuple[str, ...]] = {
    "load": (),
    "prepare": ("load",),
    "decompose": ("prepare",),
    "match": ("prepare", "decompose"),
    "features": ("prepare", "match"),
    "segment": ("match", "features"),
    "regions": ("match", "features", "segment"),
    "spectra": ("prepare", "match", "regions"),
    "unmix": ("prepare", "regions", "spectra"),
    "composition": ("prepare", "regions", "spectra", "unmix"),
}

#: Fields of the figures that change no number.
_LOOKS = ("formats", "energy_range", "colour_map")
#: Formats whose counts are in other files: of the same name, or in folders below (JEOL).
_INDEX_FILES = {".rpl", ".emi", ".spd", ".hdr"}
_JEOL_FILES = {".pts", ".img", ".map", ".eds"}
_BLOCK = 1 << 20
_PACKAGE = Path(__file__).parents[1]
_lock = threading.Lock()
_known_files: dict[str, tuple[tuple[int, int], str]] = {}
_known_images: WeakKeyDictionary[SpectrumImage, str] = WeakKeyDictionary()


@cache
def code_state(package: Path) -> str:
    """SHA-256 of a package's modules: results of other code are not taken for those of this one.

    A version is not enough: between two releases, and in a working copy, code changes under it.

    Parameters
    ----------
    package : Path
        Its folder.
    """
    digest = hashlib.sha256()
    for module in sorted(package.rglob("*.py")):
        content = module.read_bytes()
        digest.update(f"{module.relative_to(package).as_posix()} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()


def step_key(step: str, recipe: Recipe, given: SpectrumImage | None = None) -> str:
    """Return the SHA-256 of all that a step depends on: fields of the recipe, files, siftem.

    Parameters
    ----------
    step : str
        One of `STEPS`.
    recipe : Recipe
    given : SpectrumImage, optional
        Takes the place of the recipe's input.

    Returns
    -------
    str
        64 hexadecimal digits. Files count by their content and not by their place.

    Raises
    ------
    ReadError
        When a file that the recipe names is not there.
    """
    return _keys(recipe, given, step)[step]


def step_keys(recipe: Recipe, given: SpectrumImage | None = None) -> dict[str, str]:
    """Return the keys of all steps, and under "export" that of all that is written of a run.

    Parameters
    ----------
    recipe : Recipe
    given : SpectrumImage, optional
        Takes the place of the recipe's input.
    """
    keys = _keys(recipe, given, STEPS[-1])
    shown = {
        "title": recipe.title,
        "ratios": recipe.quantify.ratios,
        "onuma": _plain(recipe.quantify.onuma),
        "wanted_limits": recipe.quantify.wanted_limits,
        "oxygens": {n: p.oxygens for n, p in recipe.phases.items()},
        "groups": {n: p.group for n, p in recipe.phases.items()},
        "calibrate": _plain(recipe.calibrate),
        "identify": with_contents({"identify": _plain(recipe.identify)}, recipe),
        "figures": {k: v for k, v in _plain(recipe.figures).items() if k in _LOOKS},
    }
    data = {"shown": shown, "parents": list(keys.values())}
    keys["export"] = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    return keys


def present_keys(recipe: Recipe, given: SpectrumImage | None = None) -> dict[str, str]:
    """Return the keys of all steps up to the first one whose files are not there.

    Parameters
    ----------
    recipe : Recipe
    given : SpectrumImage, optional
        Takes the place of the recipe's input.
    """
    return _keys(recipe, given, STEPS[-1], tolerant=True)


def _keys(
    recipe: Recipe, given: SpectrumImage | None, until: str, *, tolerant: bool = False
) -> dict[str, str]:
    keys: dict[str, str] = {}
    for step in STEPS[: STEPS.index(until) + 1]:
        try:
            own = _OWN[step](recipe)
            if step == "load":
                own = _input_content(recipe) if given is None else {"given": _image_content(given)}
        except SiftemError:
            if tolerant:
                return keys
            raise
        data = {
            "siftem": code_state(_PACKAGE),
            "step": step,
            "own": own,
            "parents": [keys[parent] for parent in PARENTS[step]],
        }
        keys[step] = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    return keys


def _input_content(recipe: Recipe) -> dict[str, Any]:
    if recipe.input.demo is not None:
        return {"demo": recipe.input.demo.model_dump(mode="json")}
    path = checked_path(input_file(recipe))
    content: dict[str, Any] = {"file": file_content(path), "signal": recipe.input.signal}
    beside = _files_beside(path)
    if beside:
        content["beside"] = [(p.name, file_content(p)) for p in beside]
    return content


def _files_beside(path: Path) -> list[Path]:
    """Files that hold the counts, where the input is only an index to them."""
    kind = path.suffix.lower()
    if kind == ".asw":
        found = [p for p in path.parent.rglob("*") if p.suffix.lower() in _JEOL_FILES]
    elif kind in _INDEX_FILES:
        found = [
            p
            for p in path.parent.glob("*")
            if p != path and (p.stem == path.stem or p.stem.startswith(f"{path.stem}_"))
        ]
    else:
        return []
    return sorted(p for p in found if p.is_file())


def _image_content(si: SpectrumImage) -> str:
    # A spectrum image does not change, and hashing its counts takes a while.
    with _lock:
        known = _known_images.get(si)
    if known is not None:
        return known
    digest = hashlib.sha256()
    if isinstance(si.counts, BlockedCounts):
        digest.update(si.counts.identity.encode())
    else:
        for array in (si.counts.data, si.counts.indices, si.counts.indptr):
            digest.update(np.ascontiguousarray(array).data)
    if si.survey is not None:
        digest.update(np.ascontiguousarray(si.survey).data)
    arrays = {"counts", "survey"}
    about = {f.name: getattr(si, f.name) for f in fields(si) if f.name not in arrays}
    digest.update(repr(about).encode())
    with _lock:
        _known_images[si] = digest.hexdigest()
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


def _plain(section: Any, *left_out: str) -> dict[str, Any]:
    return dict(section.model_dump(mode="json", exclude=set(left_out)))


def _decompose(recipe: Recipe) -> dict[str, Any]:
    n = recipe.n_components
    if recipe.decompose.spectra is not None:
        return {"spectra": file_content(recipe.decompose.spectra)}
    own = {**_plain(recipe.decompose), "components": n, "layout": recipe.known_layout}
    if n == "auto":
        own["at_least"] = len(recipe.phases)
    return own


def _match(recipe: Recipe) -> dict[str, Any]:
    marks = {
        n: p.model_dump(mode="json", include={"high", "absent", "component", "lies"})
        for n, p in recipe.phases.items()
    }
    return {
        "elements": recipe.elements,
        "support": [] if recipe.elements else recipe.support,
        "layout": recipe.known_layout,
        "matrix": recipe.matrix,
        # A list: their order matters.
        "phases": list(marks.items()),
    }


def _segment(recipe: Recipe) -> dict[str, Any]:
    s = recipe.segment
    if s.classifier is not None:
        return {"classifier": file_content(s.classifier)}
    own = _plain(s, "smoothness", "margin", "classifier")
    if isinstance(s.traces, str):
        own["traces"] = file_content(s.traces)
    return own


def _quantify(recipe: Recipe) -> dict[str, Any]:
    q = recipe.quantify
    own = _plain(q, "ratios", "partition", "wanted_limits", "onuma")
    if q.cross_sections is not None:
        own["cross_sections"] = file_content(q.cross_sections)
    for name in ("k_factors", "zeta_factors", "standard"):
        section = getattr(q, name)
        if section is not None and section.file is not None:
            own[name]["file"] = file_content(section.file)
    return own


def _spectra(recipe: Recipe) -> dict[str, Any]:
    known = {
        n: p.model_dump(mode="json", include={"anchor", "contaminants", "density"})
        for n, p in recipe.phases.items()
    }
    return {"support": recipe.support, "phases": known, "quantify": _quantify(recipe)}


def _composition(recipe: Recipe) -> dict[str, Any]:
    q = recipe.quantify
    drawn = {k: v for k, v in _plain(recipe.figures).items() if k not in _LOOKS}
    return {"partition": q.partition, "figures": drawn}


#: What the classifier looks at.
_FEATURES = {"images", "features", "sigmas"}

_OWN: dict[str, Callable[[Recipe], dict[str, Any]]] = {
    "load": lambda recipe: {},
    "prepare": lambda recipe: {
        "energy_range": recipe.energy_range,
        "acquisition": _plain(recipe.acquisition),
    },
    "decompose": _decompose,
    "match": _match,
    "features": lambda recipe: recipe.segment.model_dump(mode="json", include=_FEATURES),
    "segment": _segment,
    "regions": lambda recipe: _plain(recipe.segment, "traces", "classifier", "trees", "seed"),
    "spectra": _spectra,
    "unmix": lambda recipe: _plain(recipe.unmix),
    "composition": _composition,
}
