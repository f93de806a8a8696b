"""Readers kept from what a file may make them do: claim all memory, or run what it holds."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from siftem.errors import ReadError

#: Keys under which HyperSpy finds objects to make, by their beginning.
_OBJECTS = ("_sig_", "_hspy_AxesManager_", "_hspy_Axis_")
#: Parts of a signal that siftem has no use for; functions of models are stored as pickles.
_UNUSED = ("models", "learning_results")

#: So many bytes are let through: the damage is met, and told, when they are read.
_BELIEVED_BYTES = 2**31
_NAME = "memmap_distributed"
#: Two threads that open files must not put back each other's replacement.
_ONE_AT_A_TIME = threading.RLock()


@contextlib.contextmanager
def claims_checked(file_reader: Callable[..., Any], path: str) -> Iterator[None]:
    """Let a reader of RosettaSciIO map no more of a file into memory than there is.

    Dask draws up a list of blocks for whatever a header claims, which takes minutes or all
    memory for an absurd one, long before the file is found to be too short.

    Parameters
    ----------
    file_reader : callable
        The ``memmap_distributed`` of its module, or of the module ``file`` in it, is replaced
        while the block runs.
    path : str
        For the message.
    """
    module = sys.modules.get(file_reader.__module__)
    with _ONE_AT_A_TIME, contextlib.ExitStack() as stack:
        for place in (module, getattr(module, "file", None)):
            original = getattr(place, _NAME, None)
            if callable(original):
                setattr(place, _NAME, _checked(original, path))
                stack.callback(setattr, place, _NAME, original)
        yield


def _checked(original: Callable[..., Any], path: str) -> Callable[..., Any]:
    def memmap(filename: Any, dtype: Any, *rest: Any, **options: Any) -> Any:
        shape = options.get("shape")
        if shape is not None:
            sizes = [int(n) for n in (shape if isinstance(shape, tuple) else (shape,))]
            claimed = math.prod(sizes) * np.dtype(dtype).itemsize
            stored = Path(filename).stat().st_size
            if claimed > max(_BELIEVED_BYTES, 2 * stored):
                raise ReadError(
                    f"cannot read {path}: its header claims {' x '.join(map(str, sizes))} values "
                    f"where {stored / 1e6:.3g} MB are stored, so it is damaged"
                )
        return original(filename, dtype, *rest, **options)

    return memmap


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
