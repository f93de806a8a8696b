"""What a file holds, without reading its counts: which signal is the map, which image its own."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError, ReadError, SeveralMapsError, SiftemError
from siftem.io.signal_metadata import read_layout
from siftem.io.vendor_files import OpenedFile, StoredSignal, checked_path, opened, refuse_absurd
from siftem.large.sparse_file import is_sparse_file, open_sparse_file

#: Where a file is silent, an axis that reaches this energy (keV) is one of X-rays: energy
#: losses are seldom recorded so far out, and no X-ray detector's range ends before it.
_XRAY_END = 3.0
#: Scanning microscopes with bulk specimens do not go beyond this beam energy (keV).
_SCANNING_END = 30.0
_KNOWN = ("EDS_TEM", "EDS_SEM", "EELS")

#: Titles of one detector among several in a file; siftem adds these up.
_DETECTOR_TITLE = re.compile(
    r"(eds|edx|edxs|super-?x|dual-?x|sdd|spu|det(ector)?)[a-z]{0,2}[\s_.#-]*\d*", re.IGNORECASE
)
#: Titles of survey images, best first, and what to call them.
_SURVEYS = (
    (r"haadf", "HAADF"),
    (r"(maadf|laadf|adf|df\d?)", "ADF"),
    (r"(bf|abf)", "BF"),
    (r"bse", "BSE"),
    (r"se", "SE"),
    (r"s\(t\)em image", "STEM image"),
)


def choose_spectrum_images(file: OpenedFile, number: int | None) -> list[StoredSignal]:
    """Pick the map out of what a file holds: one signal, or one for each detector.

    Parameters
    ----------
    file : OpenedFile
    number : int, optional
        The user's choice.

    Returns
    -------
    list of StoredSignal
        Several only when they are detectors of one map, to be summed.

    Raises
    ------
    ReadError
        When there is no map, or several.
    InputError
        When ``number`` is not in the file.
    """
    where, signals = file.path.name, file.signals
    listing = "; ".join(f"{s.number}: {describe(s)}" for s in signals) or "nothing"
    if number is not None:
        if not 0 <= number < len(signals):
            raise InputError(f"{where} has no signal {number}; it holds {listing}")
        return [signals[number]]
    maps = [s for s in signals if is_map(s)]
    if not maps:
        pruned = any("prune" in text.lower() for text in file.complaints)
        hint = (
            ": its spectrum stream was pruned, save it again without pruning"
            if pruned
            else f"; it holds {listing}"
        )
        raise ReadError(f"{where} holds no spectrum image{hint}")
    if len(maps) == 1 or _are_detectors(maps):
        return maps
    listing = "; ".join(f"{s.number}: {describe(s)}" for s in maps)
    raise SeveralMapsError(
        f"{where} holds several spectrum images, choose with --signal N: {listing}"
    )


def describe(stored: StoredSignal) -> str:
    """Say in a few words what a signal is.

    Parameters
    ----------
    stored : StoredSignal

    Returns
    -------
    str
        For example ``EDS spectrum image 50 x 10 x 4096``.
    """
    shape = " x ".join(str(n) for n in stored.signal.data.shape)
    return " ".join(filter(None, (repr(stored.title), kind_of(stored), shape)))


def kind_of(stored: StoredSignal) -> str:
    """Name the kind of a signal by its numbers of axes.

    Parameters
    ----------
    stored : StoredSignal

    Returns
    -------
    str
        "spectrum image", "spectrum image series", "line scan", "spectrum", "image",
        "image stack" or "other".
    """
    kinds = {
        (2, 1): "spectrum image",
        (3, 1): "spectrum image series",
        (1, 1): "line scan",
        (0, 1): "spectrum",
        (0, 2): "image",
        (2, 0): "image",
        (1, 2): "image stack",
    }
    return kinds.get(stored.dimensions, "other")


def is_map(stored: StoredSignal) -> bool:
    """Whether a signal has the axes of a map, one of energy-filtered images included.

    Parameters
    ----------
    stored : StoredSignal

    Returns
    -------
    bool
    """
    if stored.dimensions[1] == 1:
        return stored.dimensions[0] in (2, 3)
    try:  # a stack of energy-filtered images
        read_layout(stored.signal, stored.signal_type)
    except InputError:
        return False
    return True


def _are_detectors(maps: list[StoredSignal]) -> bool:
    """Whether these are the same map, once for each X-ray detector."""
    if not all(s.signal_type.startswith("EDS") for s in maps):
        return False
    if not all(_DETECTOR_TITLE.fullmatch(s.title.strip()) for s in maps):
        return False
    try:
        layouts = [read_layout(s.signal, s.signal_type) for s in maps]
    except InputError:
        return False
    first = layouts[0]
    return all(
        one.shape == first.shape
        and one.axis.size == first.axis.size
        and np.allclose(one.axis.centers, first.axis.centers, atol=0.01 * first.axis.scale)
        for one in layouts
    )


def find_survey(
    signals: list[StoredSignal], shape: tuple[int, int]
) -> tuple[np.ndarray | None, str]:
    """Find the image that was taken with the map.

    Parameters
    ----------
    signals : list of StoredSignal
        All that the file holds.
    shape : tuple of int
        Scan size (ny, nx) of the map; images of another size are passed over.

    Returns
    -------
    image : ndarray of shape (ny, nx) or None
        By its title: HAADF first, then ADF, BF, BSE, SE, STEM.
    name : str
    """
    images = [s for s in signals if kind_of(s) == "image" and s.signal.data.shape == shape]
    for pattern, name in _SURVEYS:
        for image in images:
            if re.search(rf"(?<![a-z]){pattern}(?![a-z])", image.title, re.IGNORECASE):
                data = image.signal.data
                data = data.compute() if hasattr(data, "dask") else data
                if np.dtype(data.dtype).kind in "uif":
                    return np.asarray(data), name
    return None, "HAADF"


def signal_type_of(
    stated: str, axis: EnergyAxis, acquisition: Acquisition, metadata: Any, axis_name: str = ""
) -> tuple[str, tuple[str, ...]]:
    """Return the kind of signal in HyperSpy's words, and a note where it had to be assumed.

    Parameters
    ----------
    stated : str
        What the file says.
    axis : EnergyAxis
    acquisition : Acquisition
    metadata : hyperspy.misc.utils.DictionaryTreeBrowser
        Tells by which detectors it holds.
    axis_name : str
        Such as "Energy loss".

    Returns
    -------
    signal_type : str
        "EDS_TEM", "EDS_SEM" or "EELS"; "" when nothing tells.
    notes : tuple of str
    """
    if stated in _KNOWN:
        return stated, ()
    has = {
        kind: any(
            metadata.has_item(f"Acquisition_instrument.{mode}.Detector.{kind}")
            for mode in ("TEM", "SEM")
        )
        for kind in ("EDS", "EELS")
    }
    if stated.startswith("EDS"):
        kind = "EDS"
    elif "loss" in axis_name.lower() or (has["EELS"] and not has["EDS"]):
        kind = "EELS"
    elif stated == "" and (
        axis.unit == "keV" or (has["EDS"] and not has["EELS"]) or axis.to_kev().last > _XRAY_END
    ):
        kind = "EDS"
    else:
        return "", (
            "the file does not name the kind of signal, and its energies fit X-rays and losses: "
            "if it is one, say acquisition: {signal_type: EDS_TEM} (or EDS_SEM, EELS) in a recipe",
        )
    if kind == "EDS":
        beam = acquisition.beam_energy
        kind = "EDS_SEM" if beam is not None and beam <= _SCANNING_END else "EDS_TEM"
    return kind, (f"the file does not name the kind of signal: taken as {kind}",)


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
        return entries_of(file)


def entries_of(file: OpenedFile) -> list[SignalEntry]:
    """List what is in an open file: see `list_signals`."""
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
