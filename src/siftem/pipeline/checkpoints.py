"""Results of slow steps on disk: arrays and JSON in one .npz, written whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from siftem.acquisition import Acquisition
from siftem.decompose.factors import Factors
from siftem.decompose.indeterminacy import Indeterminacy
from siftem.decompose.layout import Lies, PhaseLayout
from siftem.decompose.rank import RankChoice
from siftem.energy_axis import EnergyAxis
from siftem.errors import SiftemError
from siftem.fit.spectrum_model import Calibration
from siftem.io.atomic import replacing
from siftem.pipeline.results import Decomposed
from siftem.spectrum import Spectrum
from siftem.unmix.unmixed import Unmixed

#: What may be in a checkpoint: nothing else is ever made from a file.
_KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        Acquisition, Calibration, Decomposed, EnergyAxis, Factors, Indeterminacy, Lies,
        PhaseLayout, RankChoice, Spectrum, Unmixed,
    )
}  # fmt: skip
_FORMAT, _VERSION = "siftem checkpoint", 1


def write_checkpoint(
    folder: Path, step: str, key: str, result: Any, warnings: tuple[str, ...]
) -> None:
    """Write the result of a step to ``<folder>/<step>.npz``.

    Parameters
    ----------
    folder : Path
        Made when it is not there.
    step, key : str
    result : dataclass of arrays, numbers, text and the like
    warnings : tuple of str

    Raises
    ------
    SiftemError
        When it can't be written, such as on a full disk; what was there stays.
    """
    arrays: dict[str, np.ndarray] = {}
    about = {
        "format": _FORMAT,
        "version": _VERSION,
        "key": key,
        "warnings": list(warnings),
        "result": _plain(result, arrays),
    }
    path = folder / f"{step}.npz"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as draft, draft.open("wb") as file:
            np.savez(file, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise SiftemError(f"cannot write {path}: {error.strerror or error}") from None


def read_checkpoint(folder: Path, step: str, key: str) -> tuple[Any, tuple[str, ...]] | None:
    """Read the result of a step and its warnings; None when there is none with this key.

    A file that is damaged or of another version counts as none: the step is done again.
    """
    path = folder / f"{step}.npz"
    # zipfile, zlib, NumPy and JSON raise a dozen kinds on damage.
    with contextlib.suppress(Exception), np.load(path, allow_pickle=False) as file:
        about = json.loads(str(file["about"]))
        known = (about["format"], about["version"], about["key"])
        if known == (_FORMAT, _VERSION, key):
            return _rebuilt(about["result"], file), tuple(about["warnings"])
    return None


def _plain(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Turn a result into JSON, its arrays put aside under numbers."""
    if isinstance(value, np.ndarray):
        name = f"array{len(arrays)}"
        arrays[name] = value
        return {"array": name}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = type(value).__name__
        if _KINDS.get(kind) is not type(value):
            raise TypeError(f"a checkpoint can't hold a {kind}")
        fields = [f.name for f in dataclasses.fields(value) if f.init]
        return {"kind": kind, "fields": {f: _plain(getattr(value, f), arrays) for f in fields}}
    if isinstance(value, dict):
        return {"mapping": [[k, _plain(v, arrays)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_plain(v, arrays) for v in value]}
    if isinstance(value, np.generic):
        return value.item()
    return value


def _rebuilt(value: Any, arrays: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    if "mapping" in value:
        return {k: _rebuilt(v, arrays) for k, v in value["mapping"]}
    if "tuple" in value:
        return tuple(_rebuilt(v, arrays) for v in value["tuple"])
    fields = {k: _rebuilt(v, arrays) for k, v in value["fields"].items()}
    return _KINDS[value["kind"]](**fields)
