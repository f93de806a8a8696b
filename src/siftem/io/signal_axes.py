"""What the axes of a HyperSpy signal mean: scan, energy, frames, pixel size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError

_NM_PER_UNIT = {
    "pm": 1e-3, "å": 0.1, "a": 0.1, "angstrom": 0.1, "ångström": 0.1,
    "nm": 1.0, "nanometer": 1.0, "nanometre": 1.0,
    "\u00b5m": 1e3, "um": 1e3, "micron": 1e3, "micrometer": 1e3, "micrometre": 1e3,
    "mm": 1e6, "cm": 1e7, "m": 1e9,
}  # fmt: skip
#: Name of the unit, and what one of the file's units is in it.
_ENERGY_UNITS = {"kev": ("keV", 1.0), "kv": ("keV", 1.0), "ev": ("eV", 1.0)}
_FRAME_NAMES = re.compile(r"\b(frames?|time|sweeps?|passe?s?|cycles?|repeats?)\b", re.IGNORECASE)
_DETECTOR_NAMES = re.compile(r"\b(detectors?|sdds?|segments?)\b", re.IGNORECASE)
_TIME_UNITS = {"s", "ms", "\u00b5s", "us", "min", "h"}
#: An axis that counts in more than this is in eV: no electron microscope reaches 1000 keV
#: X-rays or losses.
_LAST_KEV = 1000.0


@dataclass(frozen=True)
class Layout:
    """How the data of a signal are to be read as a spectrum image.

    Parameters
    ----------
    order : tuple of int
        Axes of the data array that are (y, x, energy) or (frame, y, x, energy).
    shape : tuple of int
        Scan size (ny, nx).
    axis : EnergyAxis
        Energies from low to high.
    reverse : bool
        Whether the file keeps them from high to low.
    pixel_size : tuple of float, optional
        Height and width of a pixel, nm.
    notes : tuple of str
        What was assumed.
    axis_name : str
        What the file calls the energy axis.
    """

    order: tuple[int, ...]
    shape: tuple[int, int]
    axis: EnergyAxis
    reverse: bool
    pixel_size: tuple[float, float] | None
    notes: tuple[str, ...]
    axis_name: str = ""


def read_layout(signal: Any, signal_type: str) -> Layout:
    """Find the scan axes and the energy axis of a HyperSpy signal.

    A signal with one signal axis and two navigation axes is a map. A third navigation
    axis that clearly counts frames or detectors is to be summed. A stack of
    energy-filtered images (one navigation axis in eV or keV, two signal axes) is the
    same thing turned round.

    Parameters
    ----------
    signal : hyperspy.signals.BaseSignal
    signal_type : str
        As HyperSpy names it: decides the energy unit when the axis has none.

    Returns
    -------
    Layout

    Raises
    ------
    InputError
        When this is not a map, or its energy axis cannot be used.
    """
    navigation = list(reversed(signal.axes_manager.navigation_axes))  # slowest first
    spectral = list(reversed(signal.axes_manager.signal_axes))
    if len(spectral) == 2 and len(navigation) == 1 and _energy_unit(navigation[0]):
        energy, scan = navigation[0], spectral
    elif len(spectral) == 1:
        energy, scan = spectral[0], navigation
    else:
        raise InputError(
            f"a map has two scan axes and one energy axis, but this signal has "
            f"{len(navigation)} navigation and {len(spectral)} signal axes"
        )
    if len(scan) == 1:
        raise InputError(
            f"this is a line scan of {scan[0].size} points, not a map: siftem segments regions "
            "of an image and needs two scan axes"
        )
    if len(scan) == 0:
        raise InputError("this is a single spectrum, not a map with two scan axes")
    notes: list[str] = []
    if len(scan) == 3:
        notes.append(_meaning_of_extra_axis(scan[0]))
    elif len(scan) > 3:
        raise InputError(f"a map has two scan axes, but this signal has {len(scan)}")
    if 0 in signal.data.shape:
        raise InputError("the map is empty: it has no pixels or no channels")
    axis, reverse, energy_notes = energy_axis_of(energy, signal_type)
    y, x = scan[-2:]
    return Layout(
        order=tuple(a.index_in_array for a in (*scan, energy)),
        shape=(int(y.size), int(x.size)),
        axis=axis,
        reverse=reverse,
        pixel_size=pixel_size_of(y, x),
        notes=(*notes, *energy_notes),
        axis_name=energy.name if isinstance(energy.name, str) else "",
    )


def energy_axis_of(axis: Any, signal_type: str) -> tuple[EnergyAxis, bool, tuple[str, ...]]:
    """Turn a HyperSpy axis into an energy axis.

    Parameters
    ----------
    axis : hyperspy.axes.BaseDataAxis
        Must be uniform. A negative channel width is turned round.
    signal_type : str
        Without a unit, EDS axes are in keV (eV when they run beyond 1000) and EELS
        axes in eV.

    Returns
    -------
    axis : EnergyAxis
        From low to high.
    reverse : bool
        Whether the data run the other way.
    notes : tuple of str

    Raises
    ------
    InputError
        When the axis is not uniform, not calibrated, or not an energy.
    """
    size = int(axis.size)
    offset, scale = _uniform_steps(axis)
    notes: list[str] = []
    found = _energy_unit(axis)
    if found is None:
        unit, factor = _assumed_unit(axis, signal_type, offset, scale), 1.0
        notes.append(f"the energy axis has no unit: taken as {unit}")
    else:
        unit, factor = found
    offset, scale = offset * factor, scale * factor
    if scale < 0:
        offset, scale = offset + scale * (size - 1), -scale
        notes.append("the energy axis ran from high to low: turned round")
        return EnergyAxis(offset, scale, size, unit), True, tuple(notes)
    return EnergyAxis(offset, scale, size, unit), False, tuple(notes)


def pixel_size_of(y: Any, x: Any) -> tuple[float, float] | None:
    """Height and width of a pixel in nm, or None when an axis is not calibrated.

    Parameters
    ----------
    y, x : hyperspy.axes.BaseDataAxis

    Returns
    -------
    tuple of float or None
    """
    sides = []
    for axis in (y, x):
        factor = _NM_PER_UNIT.get(_unit_of(axis).lower())
        side = abs(float(getattr(axis, "scale", np.nan)))
        if factor is None or not (np.isfinite(side) and side > 0):
            return None
        sides.append(side * factor)
    return sides[0], sides[1]


def _uniform_steps(axis: Any) -> tuple[float, float]:
    if getattr(axis, "is_uniform", hasattr(axis, "scale")):
        offset, scale = float(axis.offset), float(axis.scale)
    else:
        values = np.asarray(axis.axis, dtype=np.float64)
        steps = np.diff(values)
        if values.size < 2 or np.abs(steps - steps.mean()).max() > 1e-4 * abs(steps.mean()):
            raise InputError(
                "the energy axis is not uniform: resample it to channels of equal width "
                "in HyperSpy first (interpolate_on_axis)"
            )
        offset, scale = float(values[0]), float(steps.mean())
    if not (np.isfinite(offset) and np.isfinite(scale)) or scale == 0:
        raise InputError(
            f"the energy axis has an offset of {offset:g} and a channel width of {scale:g}: "
            "calibrate it first"
        )
    return offset, scale


def _assumed_unit(axis: Any, signal_type: str, offset: float, scale: float) -> str:
    unit = _unit_of(axis)
    if unit:
        raise InputError(f"the signal axis is in {unit!r}, not in keV or eV")
    if scale == 1 and offset == 0:
        raise InputError(
            "the energy axis is not calibrated (channel numbers without a unit): "
            "set its offset, scale and unit in HyperSpy first"
        )
    last = abs(offset + scale * (axis.size - 1))
    if signal_type.startswith("EDS"):
        return "eV" if last > _LAST_KEV else "keV"
    if signal_type == "EELS" or "loss" in str(axis.name).lower():
        return "eV"
    raise InputError(
        "the energy axis has no unit and the signal no type: set the unit to keV or eV, "
        "or the signal type to EDS_TEM, EDS_SEM or EELS, in HyperSpy first"
    )


def _meaning_of_extra_axis(axis: Any) -> str:
    name = str(axis.name)
    if _DETECTOR_NAMES.search(name):
        return f"summed {axis.size} detectors"
    if _FRAME_NAMES.search(name) or _unit_of(axis) in _TIME_UNITS:
        return f"summed {axis.size} frames"
    raise InputError(
        f"the signal has a third navigation axis {name!r} of {axis.size} steps: when these are "
        "frames, name the axis 'frame'; otherwise choose one step in HyperSpy with signal.inav"
    )


def _energy_unit(axis: Any) -> tuple[str, float] | None:
    unit = _unit_of(axis)
    return ("eV", 1e-3) if unit == "meV" else _ENERGY_UNITS.get(unit.lower())


def _unit_of(axis: Any) -> str:
    """Return the unit as plain text, with one kind of micro sign; empty when there is none."""
    unit = getattr(axis, "units", None)
    text = unit.strip().replace("\u03bc", "\u00b5") if isinstance(unit, str) else ""
    return "" if text.lower() in ("none", "<undefined>", "undefined", "px", "pixel") else text
