"""What families of lines look like in the detector, and how its response changes their sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.xray.detector import SILICON_KA, Detector, escape_fraction
from siftem.xray.lines import LineFamily
from siftem.xray.response import add_gaussians, add_pieces, add_slopes, collected_lines

# Lines with less than this share of their family's photons stay whole when charge is lost.
_WEAK = 0.01

# Counts of a line that shifts nothing which can be seen.
_FAINT = 0.1

# A Gaussian is evaluated this many standard deviations to each side at the most; 2e-9 of it lies
# beyond. Faint ones end where they fall below exp(-_FAINTEST / 2) of the tallest, and the wings
# of a natural width where they fall below _FAINT_WING of its height.
_REACH, _FAINTEST, _FAINT_WING = 6.0, 40.0, 3e-5

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
    halves : ndarray of shape (lines,)
        Halves of the natural widths in keV; zero for weak lines.
    """

    energies: np.ndarray
    counts: np.ndarray
    family: np.ndarray
    n_families: int
    weak: np.ndarray
    escaped: np.ndarray
    halves: np.ndarray

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
            halves=self.halves[kept],
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
        return DetectedLines(nothing, nothing, np.zeros(0, np.int64), 0, none, none, nothing)
    energies = np.concatenate([f.energies for f in families])
    weights = np.concatenate([f.weights for f in families])
    halves = 0.5 * np.concatenate([f.widths for f in families])
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
        halves = np.concatenate([halves, halves[escaping]])
        escaped = np.arange(energies.size) >= escaped.size
    strongest = np.zeros(len(families))
    np.maximum.at(strongest, family, counts)
    weak = counts < _WEAK * strongest[family]
    halves = np.where(weak, 0.0, halves)
    return DetectedLines(energies, counts, family, len(families), weak, escaped, halves)


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
    key = lines.energies.tobytes(), lines.halves.tobytes(), lines.weak.tobytes()
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
    centres, sigmas, halves : ndarray of shape (parts,)
        keV; of Gaussians, and halves of the natural widths.
    """

    energies: np.ndarray
    shares: np.ndarray
    origin: np.ndarray
    centres: np.ndarray
    sigmas: np.ndarray
    halves: np.ndarray

    def channels(
        self, heights: np.ndarray, tallest: np.ndarray, axis: EnergyAxis
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the first channel of each part, that after its last one, and what of it they hold.

        A part is evaluated as far as its tail can be seen beside the tallest one; channels are
        int64 (parts,), what they would hold on an endless axis is float64 (parts,).

        Parameters
        ----------
        heights, tallest : ndarray of shape (parts,)
            Height of each part and of the tallest one that it is added to.
        axis : EnergyAxis
            In keV.
        """
        lower = 2.0 * np.log(np.maximum(heights, 1e-300) / np.maximum(tallest, 1e-300))
        reach = np.sqrt(np.clip(_FAINTEST + lower, 0.0, _REACH**2)) * self.sigmas
        # Heights are those of densities times sqrt(2 pi), wings go as half / (pi x^2).
        area = heights * self.sigmas * np.sqrt(2.0 / np.pi)
        wings = np.sqrt(area * self.halves / (_FAINT_WING * np.maximum(tallest, 1e-300)))
        held = 1.0 - 2.0 * self.halves / (np.pi * np.maximum(wings, reach) + 1e-300)
        reach = np.where(self.halves > 0, np.maximum(reach, wings), reach)
        low = np.floor((self.centres - reach - axis.first) / axis.scale)
        high = np.floor((self.centres + reach - axis.first) / axis.scale) + 1
        low, high = np.maximum(low, 0), np.where(reach > 0, np.minimum(high, axis.size), 0)
        return low.astype(np.int64), high.astype(np.int64), np.where(reach > 0, held, 1.0)


def line_parts(
    energies: np.ndarray,
    halves: np.ndarray,
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
    # A Gaussian and its wings to first order are a Voigt profile to third order if it is narrower
    # by this much.
    halves = halves[origin]
    squares = sigma[origin] ** 2 + widths**2
    narrowed = np.sqrt(np.maximum(squares - halves**2, 0.25 * squares))
    return LineParts(seen, shares, origin, centres, narrowed, halves)


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
    halves: bytes,
    weak: bytes,
    axis: EnergyAxis,
    detector: Detector,
    energy_shift: float,
    resolution_factor: float,
    bend: float,
    soft_shift: float,
) -> _Pieces:
    """Return lines as the detector sees them; what `DetectedLines` has of them as bytes."""
    parts = line_parts(
        np.frombuffer(energies), np.frombuffer(halves), np.frombuffer(weak, dtype=bool), detector,
        energy_shift=energy_shift, resolution_factor=resolution_factor,
        bend=bend, soft_shift=soft_shift,
    )  # fmt: skip
    n_lines = len(weak)
    heights = parts.shares / parts.sigmas
    tallest = np.zeros(n_lines)
    np.maximum.at(tallest, parts.origin, heights)
    low, high, held = parts.channels(heights, tallest[parts.origin], axis)
    seen = low < high
    line_low, line_high = np.full(n_lines, axis.size), np.zeros(n_lines, dtype=np.int64)
    np.minimum.at(line_low, parts.origin[seen], low[seen])
    np.maximum.at(line_high, parts.origin[seen], high[seen])
    sizes = np.maximum(line_high - line_low, 0)
    first_value = np.cumsum(sizes) - sizes - line_low
    values = np.zeros(int(sizes.sum()))
    add_gaussians(
        values, first_value[parts.origin], low, high, parts.centres, parts.sigmas, parts.halves,
        parts.shares / held, axis.first, axis.scale,
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

    Every line is a Lorentzian of its natural width blurred by a Gaussian of the detector's,
    integrated over each channel, times the line's weight, the detector's efficiency and the
    absorption at the line's energy. Natural widths are some eV, of which the peak itself shows
    nothing; but a percent of heavy elements' L lines is in the wings.

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
    parts = line_parts(
        lines.energies, lines.halves, lines.weak, detector, bend=bend, soft_shift=soft_shift
    )
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
    low, high, areas = _channels(parts, counts, kev)
    add_slopes(
        slopes, low, high, parts.centres, parts.sigmas, parts.halves, areas, by_centre, by_sigma,
        by_area, kev.first, kev.scale,
    )  # fmt: skip
    peaks = _sum(parts, counts, kev)
    # Wings end where they are faint, which would move with the depth; they hardly feel it.
    none = np.zeros_like(lines.halves)
    deeper = replace(detector, collection_depth=detector.collection_depth + _DEPTH_STEP)
    plain, further = (
        _sum(
            line_parts(lines.energies, none, lines.weak, d, bend=bend, soft_shift=soft_shift),
            counts,
            kev,
        )
        for d in (detector, deeper)
    )
    slopes[:, _AT["collection_depth"]] = (further - plain) / _DEPTH_STEP
    return peaks, slopes


def _sum(parts: LineParts, counts: np.ndarray, kev: EnergyAxis) -> np.ndarray:
    """Sum of the parts of lines with these counts (lines,); (channels,)."""
    low, high, areas = _channels(parts, counts, kev)
    out, start = np.zeros(kev.size), np.zeros(areas.size, dtype=np.int64)
    add_gaussians(
        out, start, low, high, parts.centres, parts.sigmas, parts.halves, areas,
        kev.first, kev.scale,
    )  # fmt: skip
    return out


def _channels(
    parts: LineParts, counts: np.ndarray, kev: EnergyAxis
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Channels of the parts of lines with these counts, and areas that these hold; (parts,)."""
    areas = counts[parts.origin] * parts.shares
    heights = areas / parts.sigmas
    highest = np.full(heights.size, heights.max(initial=0.0))
    low, high, held = parts.channels(heights, highest, kev)
    return low, high, areas / held
