"""Only numbers and words of a file: what would run code in HyperSpy or Zarr is left out."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from siftem.errors import ReadError

#: Keys under which HyperSpy finds objects to make, by their beginning.
_OBJECTS = ("_sig_", "_hspy_AxesManager_", "_hspy_Axis_")
#: Parts of a signal that siftem has no use for; functions of models are stored as pickles.
_UNUSED = ("models", "learning_results")
#: Where Zarr says how its chunks are packed; longer ones are no such files.
_ZARR_NOTES, _LONGEST_NOTE = (".zarray", ".zmetadata", "zarr.json"), 2**26


def plain_signals(signals: list[dict[str, Any]], path: str) -> list[dict[str, Any]]:
    """Take the objects out of what a reader found, before HyperSpy makes signals of it.

    HyperSpy lets SymPy evaluate the formula of an axis, which may be any Python expression, and
    makes signals, axes and markers of what it finds in the metadata.

    Parameters
    ----------
    signals : list of dict
        As the readers of RosettaSciIO return them.
    path : str
        For the message.

    Returns
    -------
    list of dict

    Raises
    ------
    ReadError
        When an axis is given by a formula.
    """
    for signal in signals:
        axes = signal.get("axes") or []
        if any("expression" in axis for axis in axes if isinstance(axis, dict)):
            raise ReadError(
                f"cannot read {path}: one of its axes is a formula, which siftem doesn't evaluate: "
                "convert it to numbers in HyperSpy (convert_to_uniform_axis) and save it again"
            )
        for name in _UNUSED:
            signal.pop(name, None)
        for name in ("metadata", "original_metadata", "attributes"):
            if name in signal:
                signal[name] = _without_objects(signal[name])
        if isinstance(signal.get("metadata"), dict):
            signal["metadata"].pop("Markers", None)
    return signals


def _without_objects(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_objects(part)
            for key, part in value.items()
            if not str(key).startswith(_OBJECTS)
        }
    if isinstance(value, (list, tuple)) and any(isinstance(part, (dict, list)) for part in value):
        return type(value)(_without_objects(part) for part in value)
    return value


def refuse_pickles(path: Path) -> None:
    """Refuse Zarr stores whose chunks are pickles, which run code as they are read.

    Parameters
    ----------
    path : Path
        A folder, or a zip file.

    Raises
    ------
    ReadError
    """
    for name, note in _zarr_notes(path):
        try:
            packed = _is_pickled(json.loads(note))
        except (ValueError, RecursionError):
            raise ReadError(f"cannot read {path}: its {name} is damaged") from None
        if packed:
            raise ReadError(
                f"cannot read {path}: {name} says that its data are pickles, which can run any "
                "code: siftem doesn't read them"
            )


def _zarr_notes(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.name not in _ZARR_NOTES:
                continue
            if not file.is_file() or file.stat().st_size > _LONGEST_NOTE:
                raise ReadError(f"cannot read {path}: its {file.name} is damaged")
            yield file.relative_to(path).as_posix(), file.read_bytes()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            for item in packed.infolist():
                if item.filename.rpartition("/")[2] not in _ZARR_NOTES:
                    continue
                if item.file_size > _LONGEST_NOTE:
                    raise ReadError(f"cannot read {path}: its {item.filename} is damaged")
                yield item.filename, packed.read(item)


def _is_pickled(value: Any) -> bool:
    if isinstance(value, dict):
        named = str(value.get("id", "")), str(value.get("name", ""))
        return any("pickle" in name.lower() for name in named) or any(
            _is_pickled(part) for part in value.values()
        )
    return isinstance(value, list) and any(_is_pickled(part) for part in value)
