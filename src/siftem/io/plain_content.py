"""Only numbers and words of a file: what would run code in HyperSpy is left out."""

from __future__ import annotations

from typing import Any

from siftem.errors import ReadError

#: Keys under which HyperSpy finds objects to make, by their beginning.
_OBJECTS = ("_sig_", "_hspy_AxesManager_", "_hspy_Axis_")
#: Parts of a signal that siftem has no use for; functions of models are stored as pickles.
_UNUSED = ("models", "learning_results")


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
