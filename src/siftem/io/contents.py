"""What a file holds, without reading its counts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from siftem.errors import SiftemError
from siftem.io.damaged_files import refuse_absurd
from siftem.io.signal_axes import read_layout
from siftem.io.signal_choice import kind_of
from siftem.io.sparse_file import is_sparse_file, open_sparse_file
from siftem.io.vendor_files import OpenedFile, StoredSignal, checked_path, opened


@dataclass(frozen=True)
class SignalEntry:
    """One signal of a file.

    Parameters
    ----------
    index : int
        Its number, from 0, for ``load(..., signal=index)`` and ``--signal``.
    title : str
        Its title in the file.
    kind : str
        "spectrum image", "spectrum image series", "line scan", "spectrum", "image",
        "image stack" or "other".
    signal_type : str
        As the file has it: "EDS_TEM", "EELS", "" ...
    shape : tuple of int
        Shape of the data, slowest axis first.
    axes : tuple of str
        One description for each axis of the data, such as
        ``"Energy: 2048 steps of 0.01 keV from -0.472"``.
    dtype : str
        Type of the stored numbers.
    usable : bool
        Whether siftem can read it as a map.
    reason : str
        Why not; empty when it can.
    """

    index: int
    title: str
    kind: str
    signal_type: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    dtype: str
    usable: bool
    reason: str = ""


def list_signals(path: str | os.PathLike[str]) -> list[SignalEntry]:
    """List what is in a file.

    Parameters
    ----------
    path : str or path-like
        A file; a folder for .zspy.

    Returns
    -------
    list of SignalEntry

    Raises
    ------
    ReadError
        When the file is missing, damaged or of no known format.

    Examples
    --------
    >>> for signal in siftem.list_signals("map.hspy"):
    ...     print(signal.index, signal.kind, signal.shape[:2])
    0 spectrum image (32, 32)
    """
    if is_sparse_file(checked_path(path)):
        return [_sparse_entry(path)]
    with opened(path) as file:
        return [_entry(stored, file) for stored in file.signals]


def _entry(stored: StoredSignal, file: OpenedFile) -> SignalEntry:
    signal, reason = stored.signal, ""
    try:
        refuse_absurd(stored, read_layout(signal, stored.signal_type), file.path)
    except SiftemError as error:
        reason = str(error)
    axes = sorted(signal.axes_manager._axes, key=lambda axis: axis.index_in_array)
    return SignalEntry(
        index=stored.number,
        title=stored.title,
        kind=kind_of(stored),
        signal_type=stored.signal_type,
        shape=tuple(int(n) for n in signal.data.shape),
        axes=tuple(_describe_axis(axis) for axis in axes),
        dtype=str(signal.data.dtype),
        usable=not reason,
        reason=reason,
    )


def _sparse_entry(path: str | os.PathLike[str]) -> SignalEntry:
    header, source, _ = open_sparse_file(path)
    axis = header.axis
    ny, nx = header.shape
    return SignalEntry(
        index=0,
        title=header.title,
        kind="spectrum image",
        signal_type=header.signal_type,
        shape=(ny, nx, axis.size),
        axes=(
            f"y: {ny} steps",
            f"x: {nx} steps",
            f"Energy: {axis.size} steps of {axis.scale:.4g} {axis.unit} from {axis.offset:.4g}",
        ),
        dtype=f"sparse, {len(source.edges) - 1} blocks",
        usable=True,
    )


def _describe_axis(axis: Any) -> str:
    name = axis.name if isinstance(axis.name, str) and axis.name else "axis"
    unit = axis.units if isinstance(axis.units, str) else ""
    if not getattr(axis, "is_uniform", True):
        return f"{name}: {axis.size} uneven steps {unit}".rstrip()
    steps = f"{name}: {axis.size} steps of {axis.scale:.4g} {unit}".rstrip()
    return f"{steps} from {axis.offset:.4g}"
