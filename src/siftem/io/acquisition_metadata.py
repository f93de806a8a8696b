"""How a map was taken, out of HyperSpy metadata."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np

from siftem.acquisition import Acquisition, plain_texts
from siftem.errors import InputError
from siftem.xray.elements import atomic_number

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
