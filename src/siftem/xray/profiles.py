"""What families of lines look like in the detector, and how its response changes their sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import xraylib

from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.xray.absorption import element_attenuation
from siftem.xray.detector import Detector
from siftem.xray.lines import LineFamily
from siftem.xray.response import add_gaussians, add_pieces, add_slopes, collected_lines

_SILICON = 14
SILICON_KA = 1.740  # keV
_K_EDGE = float(xraylib.EdgeEnergy(_SILICON, xraylib.K_SHELL))
_YIELD = float(xraylib.FluorYield(_SILICON, xraylib.K_SHELL))
_JUMP_RATIO = float(xraylib.JumpFactor(_SILICON, xraylib.K_SHELL))
# Lines with less than this share of their family's photons stay whole when charge is lost.
_WEAK = 0.01

# Counts of a line that shifts nothing which can be seen.
_FAINT = 0.1

# A line is evaluated this many standard deviations to each side at the most; 2e-9 of it lies
# beyond. Faint ones end where they fall below exp(-_FAINTEST / 2) of the tallest.
_REACH, _FAINTEST = 6.0, 40.0

#: Energy over which the scale of soft lines may leave the straight one, keV.
SOFT = 1.5


@dataclass(frozen=True, eq=False)
class DetectedLines:
    """Lines of some families as the detector gets them, before it blurs them.

    Parameters
    ----------
    energies : ndarray of shape (lines,)
        True energies in keV, escape peaks included.
    counts : ndarray of shape (lines,)
        Counts for one emitted photon of the family.
    family : ndarray of int64, shape (lines,)
        Position of the family that a line belongs to.
    n_families : int
        Number of families.
    weak : ndarray of bool, shape (lines,)
        Lines that hardly count in their family.
    escaped : ndarray of bool, shape (lines,)
        Escape peaks.
    """

    energies: np.ndarray
    counts: np.ndarray
    family: np.ndarray
    n_families: int
    weak: np.ndarray
    escaped: np.ndarray

    def weighted(self, amplitudes: np.ndarray) -> DetectedLines:
        """Return all families as one, with these photons of each; (families,).

        Lines of less than a tenth of a count are left out.
        """
        counts = self.counts * amplitudes[self.family]
        kept = counts > _FAINT
        return replace(
            self,
            energies=self.energies[kept],
            counts=counts[kept],
            family=np.zeros(int(kept.sum()), np.int64),
            n_families=1,
            weak=self.weak[kept],
            escaped=self.escaped[kept],
        )


def detected_lines(
    families: Sequence[LineFamily],
    detector: Detector,
    *,
    absorption: Callable[[np.ndarray], np.ndarray] | None = None,
    escape: bool = True,
) -> DetectedLines:
    """Return the lines of families as counted by a detector, before it blurs them.

    The efficiency, the absorption and the escape depend on the true energies alone, not on
    the energy scale or the resolution, so a fit of these needs the lines only once.

    Parameters
    ----------
    families : sequence of LineFamily
    detector : Detector
    absorption : callable, optional
        See `family_profile`.
    escape : bool
        Move the escape part of each line 1.740 keV down; the counts stay the same.

    Returns
    -------
    DetectedLines
    """
    if not families:
        nothing = np.zeros(0)
        none = np.zeros(0, bool)
        return DetectedLines(nothing, nothing, np.zeros(0, np.int64), 0, none, none)
    energies = np.concatenate([f.energies for f in families])
    weights = np.concatenate([f.weights for f in families])
    family = np.repeat(np.arange(len(families)), [len(f.lines) for f in families])
    counts = weights * detector.efficiency(energies)
    if absorption is not None:
        counts = counts * np.asarray(absorption(energies), dtype=np.float64)
    escaped = np.zeros(energies.size, bool)
    if escape:
        ratio = escape_fraction(energies)
        escaping = ratio > 0
        counts = counts / (1 + ratio)
        counts = np.concatenate([counts, (counts * ratio)[escaping]])
        energies = np.concatenate([energies, energies[escaping] - SILICON_KA])
        family = np.concatenate([family, family[escaping]])
        escaped = np.arange(energies.size) >= escaped.size
    strongest = np.zeros(len(families))
    np.maximum.at(strongest, family, counts)
    weak = counts < _WEAK * strongest[family]
    return DetectedLines(energies, counts, family, len(families), weak, escaped)


def line_profiles(
    lines: DetectedLines,
    axis: EnergyAxis,
    detector: Detector,
    *,
    energy_shift: float = 0.0,
    resolution_factor: float = 1.0,
    bend: float = 0.0,
    soft_shift: float = 0.0,
) -> np.ndarray:
    """Return the expected counts in each channel for one emitted photon of each family.

    Parameters
    ----------
    lines : DetectedLines
    axis : EnergyAxis
        Channels, in keV or eV. What falls outside is lost, not folded back.
    detector : Detector
        Resolution and charge collection; the efficiency is in ``lines`` already.
    energy_shift, resolution_factor : float
        See `family_profile`.
    bend, soft_shift : float
        How the scale is not straight: lines are moved by ``bend E^2`` and by
        ``soft_shift exp(-E / 1.5 keV)``, in keV.

    Returns
    -------
    ndarray of shape (channels, families)
        float64, not negative.
    """
    key = lines.energies.tobytes(), lines.weak.tobytes()
    kev = axis.to_kev()
    pieces = _pieces(*key, kev, detector, energy_shift, resolution_factor, bend, soft_shift)
    out = np.zeros((lines.n_families, kev.size))
    add_pieces(
        out, lines.family, lines.counts, pieces.first_value, pieces.low, pieces.high, pieces.values
    )
    return out.T


@dataclass(frozen=True, eq=False)
class LineParts:
    """Gaussians that lines are made of: one each, or several where charge is lost.

    Parameters
    ----------
    energies : ndarray of shape (parts,)
        keV, before the energy scale moves them.
    shares : ndarray of shape (parts,)
        Of the counts of their line.
    origin : ndarray of int, shape (parts,)
        Index of the line; parts of one line stand together.
    centres, sigmas : ndarray of shape (parts,)
        keV.
    """

    energies: np.ndarray
    shares: np.ndarray
    origin: np.ndarray
    centres: np.ndarray
    sigmas: np.ndarray

    def channels(
        self, heights: np.ndarray, tallest: np.ndarray, axis: EnergyAxis
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the first channel of each part and that after its last one; (parts,), int64.

        A part is evaluated as far as its tail can be seen beside the tallest one.

        Parameters
        ----------
        heights, tallest : ndarray of shape (parts,)
            Height of each part and of the tallest one that it is added to.
        axis : EnergyAxis
            In keV.
        """
        lower = 2.0 * np.log(np.maximum(heights, 1e-300) / np.maximum(tallest, 1e-300))
        reach = np.sqrt(np.clip(_FAINTEST + lower, 0.0, _REACH**2)) * self.sigmas
        low = np.floor((self.centres - reach - axis.first) / axis.scale)
        high = np.floor((self.centres + reach - axis.first) / axis.scale) + 1
        low, high = np.maximum(low, 0), np.where(reach > 0, np.minimum(high, axis.size), 0)
        return low.astype(np.int64), high.astype(np.int64)


def line_parts(
    energies: np.ndarray,
    weak: np.ndarray,
    detector: Detector,
    *,
    energy_shift: float = 0.0,
    resolution_factor: float = 1.0,
    bend: float = 0.0,
    soft_shift: float = 0.0,
) -> LineParts:
    """Return the Gaussians that lines are made of; parameters as for `line_profiles`."""
    sigma = detector.sigma(energies) * resolution_factor
    seen, shares, origin, widths = collected_lines(energies, detector.collection_depth, coarse=weak)
    centres = seen + energy_shift + bend * seen**2 + soft_shift * np.exp(-seen / SOFT)
    return LineParts(seen, shares, origin, centres, np.hypot(sigma[origin], widths))


@dataclass(frozen=True, eq=False)
class _Pieces:
    """Lines of one count each: channels ``low`` to ``high`` of each, one after the other."""

    first_value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    values: np.ndarray


# All spectra of a map are fitted with one detector: their lines look alike.
@lru_cache(maxsize=8)
def _pieces(
    energies: bytes,
    weak: bytes,
    axis: EnergyAxis,
    detector: Detector,
    energy_shift: float,
    resolution_factor: float,
    bend: float,
    soft_shift: float,
) -> _Pieces:
    """Return lines as the detector sees them; their energies and which are weak as bytes."""
    parts = line_parts(
        np.frombuffer(energies), np.frombuffer(weak, dtype=bool), detector,
        energy_shift=energy_shift, resolution_factor=resolution_factor,
        bend=bend, soft_shift=soft_shift,
    )  # fmt: skip
    n_lines = len(weak)
    heights = parts.shares / parts.sigmas
    tallest = np.zeros(n_lines)
    np.maximum.at(tallest, parts.origin, heights)
    low, high = parts.channels(heights, tallest[parts.origin], axis)
    seen = low < high
    line_low, line_high = np.full(n_lines, axis.size), np.zeros(n_lines, dtype=np.int64)
    np.minimum.at(line_low, parts.origin[seen], low[seen])
    np.maximum.at(line_high, parts.origin[seen], high[seen])
    sizes = np.maximum(line_high - line_low, 0)
    first_value = np.cumsum(sizes) - sizes - line_low
    values = np.zeros(int(sizes.sum()))
    add_gaussians(
        values, first_value[parts.origin], low, high, parts.centres, parts.sigmas, parts.shares,
        axis.first, axis.scale,
    )  # fmt: skip
    return _Pieces(first_value, line_low, line_high, values)


def family_profile(
    family: LineFamily,
    axis: EnergyAxis,
    detector: Detector,
    *,
    absorption: Callable[[np.ndarray], np.ndarray] | None = None,
    escape: bool = True,
    energy_shift: float = 0.0,
    resolution_factor: float = 1.0,
) -> np.ndarray:
    """Return the expected counts in each channel for one emitted photon of a family.

    Every line is a Gaussian of the detector's width, integrated over each channel, times
    the line's weight, the detector's efficiency and the absorption at the line's energy.
    The natural width is ignored: below 10 keV it is at most some eV.

    Parameters
    ----------
    family : LineFamily
        Lines whose weights sum to 1.
    axis : EnergyAxis
        Channels, in keV or eV. What falls outside is lost, not folded back.
    detector : Detector
        Efficiency and resolution.
    absorption : callable, optional
        Energies in keV (lines,) -> share of the photons that leave the film (lines,);
        see `siftem.xray.absorption.thin_film_absorption`. None means no absorption.
    escape : bool
        Move the escape part of each line 1.740 keV down; the counts stay the same.
    energy_shift : float
        keV by which all peaks lie above their true energy. An error of the channel width
        is expressed by another axis.
    resolution_factor : float
        Factor on the width of all lines.

    Returns
    -------
    ndarray of shape (channels,)
        float64, not negative; the sum is the share of the emitted photons (into the
        solid angle of the detector) that are counted on the axis.
    """
    if not (np.isfinite(resolution_factor) and resolution_factor > 0):
        raise InputError(f"resolution_factor must be positive, got {resolution_factor}")
    if not np.isfinite(energy_shift):
        raise InputError(f"energy_shift must be a finite number of keV, got {energy_shift}")
    lines = detected_lines([family], detector, absorption=absorption, escape=escape)
    profile = line_profiles(
        lines, axis, detector, energy_shift=energy_shift, resolution_factor=resolution_factor
    )
    return profile[:, 0]


def escape_fraction(energy: float | np.ndarray) -> np.ndarray:
    """Return the escape peak of a line as a share of its parent peak.

    A photon that ionises the K shell of the detector's silicon near its surface can lose
    a Si K photon through it; the count is then found 1.740 keV lower. The share of the
    absorbed photons is::

        f = 0.5 omega (1 - 1/r) [1 - (mu_Ka / mu) ln(1 + mu / mu_Ka)]

    with the K yield omega and the K jump ratio r of Si, and the attenuation of Si at the
    line and at Si Ka. Returned is ``f / (1 - f)``, escape over parent.

    Parameters
    ----------
    energy : float or ndarray
        Energy of the parent line in keV.

    Returns
    -------
    ndarray
        float64, in the shape of ``energy``; zero below the K edge of Si (1.839 keV).

    Notes
    -----
    For light that enters along the normal; the angle of entry changes it little.

    References
    ----------
    Reed & Ware 1972, J. Phys. E 5, 582.
    """
    energies = np.asarray(energy, dtype=np.float64)
    attenuation = element_attenuation("Si", energies)
    at_silicon = element_attenuation("Si", np.array(SILICON_KA))
    ratio = at_silicon / attenuation
    lost = 0.5 * _YIELD * (1 - 1 / _JUMP_RATIO) * (1 - ratio * np.log1p(1 / ratio))
    return np.where(energies > _K_EDGE, lost / (1 - lost), 0.0)


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
