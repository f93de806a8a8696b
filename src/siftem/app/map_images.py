"""The images of a map that a user can look at, with compiled sums over windows of channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from siftem.app.map_figure import Overlay
from siftem.compiling import kernel
from siftem.decomposition.factors import Factors
from siftem.eels.edges import Edge, edge_signal, edges_in_windows
from siftem.element_mapping import ElementMaps
from siftem.energy_axis import EnergyAxis
from siftem.errors import SiftemError
from siftem.figures.line_labels import line_text
from siftem.figures.maps import image_limits
from siftem.large.rows_of_counts import rows_of
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.xray.detector import Detector
from siftem.xray.lines import Line, visible_lines


@kernel()
def window_sums(
    starts: np.ndarray,
    channels: np.ndarray,
    values: np.ndarray,
    first: int,
    weights: np.ndarray,
    out: np.ndarray,
) -> None:
    """Sum weighted counts of each pixel, looking at the channels of the window only.

    Parameters
    ----------
    starts, channels, values : ndarray
        CSR counts; the channels of each pixel rise.
    first : int
        First channel of the window.
    weights : ndarray of float64, shape (window,)
    out : ndarray of float64, shape (pixels,)
        Receives the sums.
    """
    behind = first + weights.size
    for i in range(out.size):
        low, high = starts[i], starts[i + 1]
        end = high
        while low < high:
            middle = (low + high) // 2
            if channels[middle] < first:
                low = middle + 1
            else:
                high = middle
        total = 0.0
        while low < end and channels[low] < behind:
            total += values[low] * weights[channels[low] - first]
            low += 1
        out[i] = total


#: Weakest line to map, as a share of the element's strongest one.
_FAINTEST = 0.02
#: Name of the map of all counts.
TOTAL = "Total counts"
#: What lies under colours of phases.
UNDER_COLOURS = f"{TOTAL} beneath"
#: Before the name of a phase, the map of its component.
COMPONENT = "Component "
#: Unit of maps without their background.
NET = "net counts"
_SURVEY = "intensity"


@dataclass(frozen=True)
class MapImage:
    """An image by name, made when it is asked for.

    Parameters
    ----------
    name : str
    unit : str
        Of its colour bar; `NET` where a background is taken off.
    pixels : callable
        Returns the (ny, nx) array.
    over : callable, optional
        Returns colours that lie over it: of phases, not of values.
    words : callable, optional
        Says what a pixel (y, x) is, in place of its value.
    """

    name: str
    unit: str
    pixels: Callable[[], np.ndarray]
    over: Callable[[], Overlay] | None = None
    words: Callable[[int, int], str] | None = None


def element_lines(si: SpectrumImage, element: str, *, min_weight: float = 0.05) -> tuple[Line, ...]:
    """Return an element's lines on the axis of a map, strongest first; none for other signals."""
    if not si.signal_type.startswith("EDS"):
        return ()
    kev = si.axis.to_kev()
    beam = si.acquisition.beam
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
    width = float(Detector.of(si.acquisition).fwhm(line.energy))
    return line, (line.energy - width / 2e3, line.energy + width / 2e3)


def clicked_window(
    si: SpectrumImage, elements: Sequence[str], energy: float
) -> tuple[str, tuple[float, float]]:
    """Return name and window (axis unit) of the line at an energy that was clicked.

    The nearest line of the elements within a width, else the energy itself with a window as wide
    as a line; energy losses have windows of a hundredth of the axis.

    Parameters
    ----------
    si : SpectrumImage
    elements : sequence of str
    energy : float
        Axis unit.
    """
    if not takes_background(si):
        half = 0.005 * (si.axis.last - si.axis.first)
        low, high = energy - half, energy + half
        return f"{low:.5g}–{high:.5g} {si.axis.unit}", (low, high)
    factor = 1e3 if si.axis.unit == "eV" else 1.0
    energy = max(energy / factor, 1e-3)
    detector = Detector.of(si.acquisition)
    lines = ((e, line) for e in elements for line in element_lines(si, e, min_weight=_FAINTEST))
    near = [(abs(line.energy - energy), e, line) for e, line in lines]
    width = float(detector.fwhm(energy)) / 1e3
    name, middle = f"{energy:.3f} keV", energy
    if near:
        off, element, line = min(near, key=lambda n: n[0])
        if off < width:
            name, middle = line_text(element, line.name), line.energy
    half = float(detector.fwhm(middle)) / 2e3
    return name, ((middle - half) * factor, (middle + half) * factor)


def window_weights(axis: EnergyAxis, low: float, high: float, *, net: bool) -> np.ndarray:
    """Return the weight of each channel in the map of an energy window; float64 (channels,).

    Parameters
    ----------
    axis : EnergyAxis
    low, high : float
        Axis unit.
    net : bool
        Take the line through both sides off. They are half as wide each; one beyond an end of
        the axis counts for nothing.
    """
    channels, half = axis.window(low, high), (high - low) / 2
    weights, sides = np.zeros(axis.size), np.zeros(axis.size)
    for first, last in ((low - half, low), (high, high + half)):
        if net and first >= axis.first and last <= axis.last:
            sides[axis.window(first, last)] = 1.0
    weights[channels] = 1.0
    sides[channels] = 0.0  # a channel on the border is counted once
    if sides.any():
        weights -= sides * ((channels.stop - channels.start) / sides.sum())
    return weights


def window_maps(si: SpectrumImage, windows: Sequence[tuple[float, float]]) -> np.ndarray:
    """Counts of each pixel in energy windows, of X-ray maps without their background.

    Energy losses keep theirs: before an edge it falls by a power law, not along a line.

    Parameters
    ----------
    si : SpectrumImage
    windows : sequence of tuple
        Low and high, axis unit.

    Returns
    -------
    ndarray of shape (windows, ny, nx)
        May be negative where a background is taken off.
    """
    net = takes_background(si)
    return weighted_maps(si, [window_weights(si.axis, *window, net=net) for window in windows])


def weighted_maps(si: SpectrumImage, weighted: Sequence[np.ndarray]) -> np.ndarray:
    """Sum the counts of each pixel, each channel by its weight.

    Parameters
    ----------
    si : SpectrumImage
    weighted : sequence of ndarray, shape (channels,)
        The weights of each map.

    Returns
    -------
    ndarray of shape (maps, ny, nx)
    """
    weights = np.array(weighted, float).reshape(-1, si.n_channels)
    counts = si.counts
    if si.on_disk or not counts.has_sorted_indices:
        return rows_of(counts).images(weights.T).reshape(-1, *si.shape)
    maps = np.zeros((len(weights), si.n_pixels))
    for own, sums in zip(weights, maps, strict=True):
        used = np.flatnonzero(own)
        if used.size:
            first, behind = int(used[0]), int(used[-1]) + 1
            window_sums(counts.indptr, counts.indices, counts.data, first, own[first:behind], sums)
    return maps.reshape(-1, *si.shape)


def takes_background(si: SpectrumImage) -> bool:
    """Whether maps of windows are without their background."""
    return si.signal_type.startswith("EDS") or not si.signal_type


def window_image(si: SpectrumImage, name: str, window: tuple[float, float]) -> MapImage:
    """Return the image of one energy window (axis unit)."""
    return MapImage(name, _unit(si), cache(lambda: window_maps(si, [window])[0]))


def _unit(si: SpectrumImage) -> str:
    return NET if takes_background(si) else "counts"


def limits_of(image: MapImage) -> tuple[float, float]:
    """Return the limits of the colours of an image.

    What lies below zero in a map of lines is noise about none. Of all counts and of a survey
    image it matters where they differ, not how much of them is everywhere.
    """
    low, high = image_limits(
        np.asarray(image.pixels()), from_zero=image.name != TOTAL and image.unit != _SURVEY
    )
    return (0.0, high if high > 0 else 1.0) if image.unit == NET else (low, high)


def edge_image(si: SpectrumImage, edge: Edge) -> MapImage | None:
    """Return the map of an edge above its background; None where its windows are not on the axis.

    How the power law of the sum follows its counts is taken for each pixel: a law for every pixel
    of its own would be lost where counts are few, and the pixels add up to what the sum holds.
    """
    try:
        response = edge_signal(Spectrum(si.sum_spectrum(), axis=si.axis), edge).response
    except SiftemError:
        return None
    return MapImage(edge_text(edge), NET, cache(lambda: weighted_maps(si, [response])[0]))


def edge_text(edge: Edge) -> str:
    """Return an edge as it is printed, such as "Cu L3"."""
    return f"{edge.element} {edge.shell}"


def line_marks(
    si: SpectrumImage, elements: tuple[str, ...], edges: Sequence[Edge] = ()
) -> list[tuple[str, float]]:
    """Return the text and energy of the line by which each element is mapped, and of edges.

    In keV; on an axis in eV in eV.
    """
    found = ((e, mapped_line(si, e)) for e in elements)
    lines = [(line_text(e, f[0].name), f[0].energy) for e, f in found if f is not None]
    unit = 1.0 if si.axis.unit == "eV" else 1e3
    return lines + [(edge_text(edge), edge.onset / unit) for edge in edges]


def map_images(
    si: SpectrumImage,
    factors: Factors | None,
    elements: tuple[str, ...],
    edges: Sequence[Edge] = (),
) -> dict[str, MapImage]:
    """Return what can be looked at, by name: components, counts, survey, elements, edges.

    Parameters
    ----------
    si : SpectrumImage
    factors : Factors or None
        Matched components.
    elements : tuple of str
    edges : sequence of Edge
    """
    out = [MapImage(TOTAL, "counts", si.total_map)]
    if factors is not None:
        out += [
            MapImage(f"{COMPONENT}{name}", "counts", partial(np.asarray, image))
            for name, image in zip(factors.names, factors.maps, strict=True)
        ]
    if si.survey is not None:
        survey = si.survey
        out.append(MapImage(si.survey_name, _SURVEY, lambda: survey))
    factor = 1e3 if si.axis.unit == "eV" else 1.0
    for element in elements:
        found = mapped_line(si, element)
        if found is not None:
            line, (low, high) = found
            name = line_text(element, line.name)
            out.append(window_image(si, name, (low * factor, high * factor)))
    # What holds another edge would be a map of both, or of neither.
    own = [edge for edge in edges if edge.name not in edges_in_windows(edges)]
    out += [image for edge in own if (image := edge_image(si, edge)) is not None]
    return {image.name: image for image in out}


def fitted_images(maps: ElementMaps) -> dict[str, MapImage]:
    """Return maps of line families that were fitted to each pixel, by name."""
    images = [
        MapImage(f"{name} by fit", NET, partial(np.asarray, image))
        for name, image in zip(maps.names, maps.counts, strict=True)
    ]
    return {image.name: image for image in images}
