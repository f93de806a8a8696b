"""What a HyperSpy signal says beside its numbers: axes, and how the map was taken."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from siftem.acquisition import Acquisition, plain_texts
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.xray.elements import atomic_number

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
        raise InputError(
            f"the signal axis is in {unit!r}, not in keV or eV: bring it to even steps of energy "
            f"in HyperSpy first (interpolate_on_axis) and name the unit, axes_manager[-1].units"
        )
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


#: Where our own signals say that their live time is that of a pixel.
LIVE_TIME_NODE = "Siftem.live_time_of"
#: Counts per second of silicon drift detectors in electron microscopes, about.
_USUAL_RATE = 5e3
#: How much better the other reading of a live time must fit to be preferred.
_STATED_WELL = 3.0
#: What eXSpy fills in when a file says nothing; Velox files never state it themselves.
_EXSPY_DEFAULT_ELEVATION = 35.0


def read_acquisition(
    metadata: Any, original_metadata: Any = None
) -> tuple[Acquisition, tuple[str, ...]]:
    """Collect what the file says about microscope, detector and specimen.

    Parameters
    ----------
    metadata : hyperspy.misc.utils.DictionaryTreeBrowser
        ``signal.metadata``. eXSpy signals carry an elevation of 35 degrees and a
        resolution of 130 eV when the file gave none; they cannot be told from real
        ones, so read files with ``siftem.load``, which bypasses these defaults.
    original_metadata : DictionaryTreeBrowser, optional
        ``signal.original_metadata``: Velox keeps the place of each detector there.

    Returns
    -------
    acquisition : Acquisition
        With None for what is not said, or is zero where it cannot be.
    notes : tuple of str
    """
    instrument = next(
        (
            metadata.get_item(f"Acquisition_instrument.{mode}")
            for mode in ("TEM", "SEM")
            if metadata.has_item(f"Acquisition_instrument.{mode}")
        ),
        None,
    )
    elements, notes = _elements_of(metadata.get_item("Sample.elements"))
    if instrument is None or not hasattr(instrument, "get_item"):
        return Acquisition(elements=elements), notes
    angle, angle_notes = _take_off_angle_of(instrument, original_metadata)
    acquisition = Acquisition(
        beam_energy=_positive(instrument.get_item("beam_energy")),
        take_off_angle=angle,
        resolution=_positive(instrument.get_item("Detector.EDS.energy_resolution_MnKa")),
        live_time=_positive(instrument.get_item("Detector.EDS.live_time")),
        beam_current=_positive(instrument.get_item("beam_current")),
        elements=elements,
        convergence_angle=_positive(instrument.get_item("convergence_angle")),
        collection_angle=_positive(instrument.get_item("Detector.EELS.collection_angle")),
    )
    return acquisition, (*notes, *angle_notes)


def text_in(metadata: Any, key: str) -> str:
    """Return a text out of metadata, however the file keeps it; empty when there is none.

    Parameters
    ----------
    metadata : hyperspy.misc.utils.DictionaryTreeBrowser
    key : str
        Such as "General.title".

    Returns
    -------
    str
    """
    return " ".join(plain_texts(metadata.get_item(key)))


def number_in(metadata: Any, key: str) -> float | None:
    """Return a finite number out of metadata, however the file keeps it; None without one."""
    return _number(metadata.get_item(key))


def _elements_of(stated: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the elements that a file lists, and a note on what is no element there."""
    words = [word for text in plain_texts(stated) for word in re.split(r"[\s,;]+", text) if word]
    known, unknown = [], []
    for word in dict.fromkeys(words):
        try:
            atomic_number(word)
            known.append(word)
        except InputError:
            unknown.append(word)
    if not unknown:
        return tuple(known), ()
    return tuple(known), (f"the file lists {', '.join(unknown)}, no chemical symbol: left out",)


def with_whole_live_time(
    acquisition: Acquisition, n_pixels: int, counts: float, metadata: Any = None
) -> tuple[Acquisition, tuple[str, ...]]:
    """Return the acquisition with the live time of the whole map.

    HyperSpy's metadata mean by it that of one spectrum, so of each pixel: eXSpy multiplies it
    by the pixels that are summed. Vendors' files often hold that of the whole map instead.
    The rate of the counts tells which: that of the map and that of a pixel differ by the
    number of pixels, and detectors count some thousand a second.

    Parameters
    ----------
    acquisition : Acquisition
        With ``live_time`` as the metadata have it.
    n_pixels : int
    counts : float
        Of the whole map.
    metadata : hyperspy.misc.utils.DictionaryTreeBrowser, optional
        Our own signals say in theirs that it is that of a pixel.

    Returns
    -------
    acquisition : Acquisition
    notes : tuple of str
    """
    time = acquisition.live_time
    if time is None or n_pixels < 2 or not counts > 0:
        return acquisition, ()
    if metadata is not None and metadata.get_item(LIVE_TIME_NODE) == "pixel":
        return replace(acquisition, live_time=time * n_pixels), ()
    per_pixel = abs(math.log(counts / (n_pixels * time) / _USUAL_RATE))
    per_map = abs(math.log(counts / time / _USUAL_RATE))
    if per_pixel <= per_map + math.log(_STATED_WELL):
        total = time * n_pixels
        note = f"live time of {time:g} s taken as that of each pixel: {total:.4g} s for the map"
        return replace(acquisition, live_time=total), (note,)
    return acquisition, (f"live time of {time:g} s taken as that of the whole map",)


def take_off_angle(
    elevation: float, *, azimuth: float = 0.0, tilt_alpha: float = 0.0, tilt_beta: float = 0.0
) -> float:
    """Angle between a tilted specimen plane and the direction of a detector.

    With elevation e, azimuth p and tilts a and b,

        sin(angle) = cos(e) (sin(a) cos(b) cos(p) + sin(b) sin(p)) + sin(e) cos(a) cos(b)

    which is the scalar product of the detector's direction and the specimen's normal.
    It is elevation + tilt_alpha for a detector at azimuth 0 (perpendicular to the
    alpha axis), and the convention of eXSpy.

    Parameters
    ----------
    elevation, azimuth, tilt_alpha, tilt_beta : float
        Degrees.

    Returns
    -------
    float
        Degrees; negative when the detector is below the specimen plane.
    """
    e, p, a, b = (math.radians(v) for v in (elevation, azimuth, tilt_alpha, tilt_beta))
    across = math.sin(a) * math.cos(b) * math.cos(p) + math.sin(b) * math.sin(p)
    sine = math.cos(e) * across + math.sin(e) * math.cos(a) * math.cos(b)
    return math.degrees(math.asin(max(-1.0, min(1.0, sine))))


def _take_off_angle_of(
    instrument: Any, original_metadata: Any
) -> tuple[float | None, tuple[str, ...]]:
    alpha = _number(instrument.get_item("Stage.tilt_alpha")) or 0.0
    beta = _number(instrument.get_item("Stage.tilt_beta")) or 0.0
    elevation = _number(instrument.get_item("Detector.EDS.elevation_angle"))
    azimuth = _number(instrument.get_item("Detector.EDS.azimuth_angle"))
    several = _velox_detectors(original_metadata)
    # RosettaSciIO hands on the elevation of Velox in radians, or not at all.
    unsure = elevation is None or elevation == _EXSPY_DEFAULT_ELEVATION or elevation < math.pi / 2
    if several and unsure:
        sines = [
            math.sin(math.radians(take_off_angle(e, azimuth=p, tilt_alpha=alpha, tilt_beta=beta)))
            for e, p in several
        ]
        angle = math.degrees(math.asin(sum(sines) / len(sines)))
        notes: tuple[str, ...] = ()
        if len(several) > 1:
            notes = (
                f"take-off angle {angle:.1f} degrees is the mean over {len(several)} detectors",
            )
    elif elevation is None:
        return None, ()
    elif azimuth is None and (alpha or beta):
        angle, notes = (
            elevation,
            (
                "take-off angle taken as the detector's elevation: the file tilts the stage "
                "but does not say where the detector is",
            ),
        )
    else:
        angle, notes = (
            take_off_angle(elevation, azimuth=azimuth or 0.0, tilt_alpha=alpha, tilt_beta=beta),
            (),
        )
    if angle <= 0:
        return None, (
            f"take-off angle left open: a stage tilt of {alpha:g} degrees puts the detector "
            "below the specimen plane",
        )
    return angle, notes


def _velox_detectors(original_metadata: Any) -> list[tuple[float, float]]:
    """Elevation and azimuth, in degrees, of the X-ray detectors of a Velox file."""
    detectors = getattr(original_metadata, "Detectors", None)
    found = []
    for detector in (detectors.as_dictionary() if detectors is not None else {}).values():
        if not isinstance(detector, dict) or detector.get("DetectorType") != "AnalyticalDetector":
            continue
        elevation = _number(detector.get("ElevationAngle"))
        azimuth = _number(detector.get("AzimuthAngle"))
        inserted = str(detector.get("Inserted", "true")).lower() == "true"
        if inserted and elevation is not None and azimuth is not None:
            found.append((math.degrees(elevation), math.degrees(azimuth)))
    return found


def _number(value: Any) -> float | None:
    if isinstance(value, np.ndarray):  # one number, as some files keep it
        value = value.item() if value.size == 1 else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _positive(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and number > 0 else None
