"""The images of a map that a user can look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from siftem.decompose.factors import Factors
from siftem.errors import SiftemError
from siftem.figures.line_labels import line_text
from siftem.spectrum_image import SpectrumImage
from siftem.xray.detector import Detector
from siftem.xray.lines import Line, visible_lines

#: Weakest line to map, as a share of the element's strongest one.
_FAINTEST = 0.02


@dataclass(frozen=True)
class MapImage:
    """An image by name, made when it is asked for.

    Parameters
    ----------
    name : str
    unit : str
        Of its colour bar.
    pixels : callable
        Returns the (ny, nx) array.
    """

    name: str
    unit: str
    pixels: Callable[[], np.ndarray]


def element_lines(si: SpectrumImage, element: str, *, min_weight: float = 0.05) -> tuple[Line, ...]:
    """Return an element's lines on the axis of a map, strongest first; none for other signals."""
    if not si.signal_type.startswith("EDS"):
        return ()
    kev = si.axis.to_kev()
    beam = si.acquisition.beam_energy or 200.0
    try:
        return visible_lines(
            element,
            beam_energy=beam,
            low=max(kev.first, 0.05),
            high=min(kev.last, beam),
            min_weight=min_weight,
        )
    except SiftemError:
        return ()


def mapped_line(si: SpectrumImage, element: str) -> tuple[Line, tuple[float, float]] | None:
    """Return the line by which an element is mapped, and its window in keV; None without one.

    K lines go before L lines and those before M lines, as in quantification.
    """
    lines = element_lines(si, element, min_weight=_FAINTEST)
    if not lines:
        return None
    line = min(lines, key=lambda one: (one.subshell[:1], -one.weight))
    width = float(Detector(resolution=si.acquisition.resolution or 130.0).fwhm(line.energy))
    return line, (line.energy - width / 2e3, line.energy + width / 2e3)


def net_window_map(si: SpectrumImage, low: float, high: float) -> np.ndarray:
    """Counts of each pixel between two energies, the line through both sides taken off.

    Parameters
    ----------
    si : SpectrumImage
    low, high : float
        Axis unit. The sides are half as wide each; beyond an end of the axis there is none.

    Returns
    -------
    ndarray of shape (ny, nx)
        May be negative.
    """
    channels, half = si.axis.window(low, high), (high - low) / 2
    inside = si.window_map(low, high)
    sides, n = np.zeros(si.shape), 0
    for first, last in ((low - half, low), (high, high + half)):
        if first >= si.axis.first and last <= si.axis.last:
            beside = si.axis.window(first, last)
            sides, n = sides + si.window_map(first, last), n + beside.stop - beside.start
    return inside - sides * ((channels.stop - channels.start) / n if n else 0.0)


def line_marks(si: SpectrumImage, elements: tuple[str, ...]) -> list[tuple[str, float]]:
    """Return the text and energy in keV of the line by which each element is mapped."""
    found = ((e, mapped_line(si, e)) for e in elements)
    return [(line_text(e, f[0].name), f[0].energy) for e, f in found if f is not None]


def map_images(
    si: SpectrumImage, factors: Factors | None, elements: tuple[str, ...]
) -> dict[str, MapImage]:
    """Return what can be looked at, by name: components, counts, survey, elements.

    Parameters
    ----------
    si : SpectrumImage
    factors : Factors or None
        Matched components.
    elements : tuple of str
    """
    out = [MapImage("Total counts", "counts", si.total_map)]
    if factors is not None:
        out += [
            MapImage(f"Component {name}", "counts", lambda m=image: m)  # type: ignore[misc]
            for name, image in zip(factors.names, factors.maps, strict=True)
        ]
    if si.survey is not None:
        survey = si.survey
        out.append(MapImage(si.survey_name, "intensity", lambda: survey))
    factor = 1e3 if si.axis.unit == "eV" else 1.0
    for element in elements:
        found = mapped_line(si, element)
        if found is not None:
            line, (low, high) = found
            name = line_text(element, line.name)
            window = (low * factor, high * factor)
            out.append(
                MapImage(name, "counts", lambda w=window: si.window_map(*w))  # type: ignore[misc]
            )
    return {image.name: image for image in out}
