"""Faint lines and the windows of energies in which they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siftem.energy_axis import EnergyAxis
from siftem.xray.detector import Detector

#: Energies shown on each side of a line, and bins, in widths (FWHM) of the line.
_SIDE = 3.6
BINS_PER_WIDTH = 3.0


@dataclass(frozen=True)
class TraceLine:
    """A faint line and how well it is seen.

    Parameters
    ----------
    text : str
        Such as "Nd Lα".
    energy : float
        keV, on the axis as measured.
    whole, rectangle : float
        Signal to noise over the whole region and over the confined rectangle.
    """

    text: str
    energy: float
    whole: float
    rectangle: float | None = None


@dataclass(frozen=True)
class Window:
    """A range of energies around lines that lie close to each other.

    Parameters
    ----------
    low, high : float
        keV.
    bin_width : float
        keV, about a third of the detector's width there.
    lines : tuple of TraceLine
    """

    low: float
    high: float
    bin_width: float
    lines: tuple[TraceLine, ...]


def line_windows(
    lines: Sequence[TraceLine], axis: EnergyAxis, *, resolution: float = 130.0
) -> list[Window]:
    """Group lines into windows; those that would overlap become one.

    Parameters
    ----------
    lines : sequence of TraceLine
    axis : EnergyAxis
    resolution : float
        Full width at half maximum at Mn Ka, eV.

    Returns
    -------
    list of Window
        By energy. Lines outside the axis are left out.
    """
    kev = axis.to_kev()
    detector = Detector(resolution=resolution)
    windows: list[Window] = []
    for line in sorted(lines, key=lambda item: item.energy):
        if not kev.contains(line.energy):
            continue
        fwhm = 1e-3 * float(detector.fwhm(line.energy))
        low = max(kev.first, line.energy - _SIDE * fwhm)
        high = min(kev.last, line.energy + _SIDE * fwhm)
        bin_width = max(1, round(fwhm / BINS_PER_WIDTH / kev.scale)) * kev.scale
        last = windows[-1] if windows else None
        if last is not None and low < last.high:
            windows[-1] = Window(last.low, high, last.bin_width, (*last.lines, line))
        else:
            windows.append(Window(low, high, bin_width, (line,)))
    return windows


def binned_per_pixel(
    values: np.ndarray, variance: np.ndarray, axis: EnergyAxis, window: Window, n_pixels: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum channels to bins, for one pixel and keV.

    Parameters
    ----------
    values, variance : ndarray of shape (channels,)
    axis : EnergyAxis
    window : Window
    n_pixels : int
        Pixels that were summed.

    Returns
    -------
    edges : ndarray of shape (bins + 1,)
        keV.
    density : ndarray of shape (bins,)
        Counts per pixel and keV.
    sigma : ndarray of shape (bins,)
        One standard deviation of it.
    """
    kev = axis.to_kev()
    channels = kev.window(window.low, window.high)
    per_bin = max(1, round(window.bin_width / kev.scale))
    n_bins = (channels.stop - channels.start) // per_bin
    used = slice(channels.start, channels.start + n_bins * per_bin)
    edges = kev.edges[used.start : used.stop + 1 : per_bin]
    unit = n_pixels * per_bin * kev.scale
    density = values[used].reshape(n_bins, per_bin).sum(axis=1) / unit
    sigma = np.sqrt(variance[used].reshape(n_bins, per_bin).sum(axis=1)) / unit
    return edges, density, sigma
