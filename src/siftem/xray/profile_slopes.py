"""How a sum of lines changes with the detector's response."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from siftem.energy_axis import EnergyAxis
from siftem.xray.detector import Detector
from siftem.xray.kernels import add_gaussians, add_slopes
from siftem.xray.profiles import SOFT, DetectedLines, LineParts, line_parts

#: What `profile_slopes` returns the slopes with, in this order.
RESPONSE = (
    "shift",
    "gain",
    "bend",
    "soft",
    "collection_depth",
    "resolution",
    "broadening",
    "escape",
)
_AT = {name: i for i, name in enumerate(RESPONSE)}
# Step of the numerical slope with the depth (nm): the parts of a line come and go with it.
_DEPTH_STEP = 1.0


def profile_slopes(
    lines: DetectedLines,
    axis: EnergyAxis,
    detector: Detector,
    *,
    escape: float,
    stretch: float,
    bend: float,
    soft_shift: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return a sum of lines and its changes with shift, gain and the other parameters.

    All Gaussians are gone through once: each moves by its centre and by its width, of which
    the parameters are functions. The exception is the depth of charge collection.

    Parameters
    ----------
    lines : DetectedLines
        Of one family, see `DetectedLines.weighted`.
    axis : EnergyAxis
        Channels at their true energies ``(E - shift) / stretch``.
    detector : Detector
        Resolution and charge collection.
    escape : float
        Factor on the escape peaks.
    stretch : float
        ``1 + gain`` of the energy scale.
    bend, soft_shift : float
        See `siftem.xray.profiles.line_profiles`.

    Returns
    -------
    peaks : ndarray of shape (channels,)
        Expected counts.
    slopes : ndarray of shape (channels, 8)
        Their derivatives, in the order of `RESPONSE`: with energies in keV, the depth in nm,
        the resolution in eV.
    """
    kev = axis.to_kev()
    counts = np.where(lines.escaped, lines.counts * escape, lines.counts)
    parts = line_parts(lines.energies, lines.weak, detector, bend=bend, soft_shift=soft_shift)
    origin = parts.origin
    by_centre, by_sigma, by_area = np.zeros((3, origin.size, len(RESPONSE)))
    # Moving the channels down is moving the lines up; stretching them also makes lines wider.
    by_centre[:, _AT["shift"]] = 1.0 / stretch
    by_centre[:, _AT["gain"]] = parts.centres / stretch
    by_sigma[:, _AT["gain"]] = parts.sigmas / stretch
    by_centre[:, _AT["bend"]] = parts.energies**2
    by_centre[:, _AT["soft"]] = np.exp(-parts.energies / SOFT)
    # Widths add in squares: d sigma = sigma_line / sigma d sigma_line.
    of_width = (detector.sigma(lines.energies)[origin] / parts.sigmas)[:, None]
    widths = [_AT["resolution"], _AT["broadening"]]
    by_sigma[:, widths] = detector.sigma_slopes(lines.energies)[origin] * of_width
    by_area[:, _AT["escape"]] = np.where(lines.escaped, lines.counts, 0.0)[origin] * parts.shares
    slopes = np.zeros((kev.size, len(RESPONSE)))
    areas = counts[origin] * parts.shares
    low, high = _channels(parts, areas, kev)
    add_slopes(
        slopes, low, high, parts.centres, parts.sigmas, areas, by_centre, by_sigma, by_area,
        kev.first, kev.scale,
    )  # fmt: skip
    peaks = _sum(parts, counts, kev)
    deeper = replace(detector, collection_depth=detector.collection_depth + _DEPTH_STEP)
    parts = line_parts(lines.energies, lines.weak, deeper, bend=bend, soft_shift=soft_shift)
    slopes[:, _AT["collection_depth"]] = (_sum(parts, counts, kev) - peaks) / _DEPTH_STEP
    return peaks, slopes


def _sum(parts: LineParts, counts: np.ndarray, kev: EnergyAxis) -> np.ndarray:
    """Sum of the parts of lines with these counts (lines,); (channels,)."""
    areas = counts[parts.origin] * parts.shares
    low, high = _channels(parts, areas, kev)
    out, start = np.zeros(kev.size), np.zeros(areas.size, dtype=np.int64)
    add_gaussians(out, start, low, high, parts.centres, parts.sigmas, areas, kev.first, kev.scale)
    return out


def _channels(
    parts: LineParts, areas: np.ndarray, kev: EnergyAxis
) -> tuple[np.ndarray, np.ndarray]:
    heights = areas / parts.sigmas
    return parts.channels(heights, np.full(heights.size, heights.max(initial=0.0)), kev)
