"""What the detector does to a peak: its shape, tails, shelf, events that arrive together.

Charge that is not all collected gives soft lines a tail and brings them a little low. Pulses that
arrive so close together that they are taken for one make sum peaks. The compiled kernels assume
clean input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import partial

import numpy as np
from scipy.special import dawsn

from siftem.compiling import kernel
from siftem.energy_axis import EnergyAxis
from siftem.xray.absorption import element_attenuation

# The normal distribution between its nodes by cubic interpolation with exact slopes: the
# error is below 2e-11, a tenth of the time of the error function.
_NODES_PER_SIGMA = 128
_LAST_NODE = 8
_NODES = np.linspace(-_LAST_NODE, _LAST_NODE, 2 * _LAST_NODE * _NODES_PER_SIGMA + 1)
_BELOW = np.array([0.5 * math.erfc(-x / math.sqrt(2.0)) for x in _NODES])
_SLOPE = np.exp(-0.5 * _NODES**2) / math.sqrt(2.0 * math.pi) / _NODES_PER_SIGMA

# Of natural widths, by which sums of Gaussians have wings; beyond the last node by its series.
_WINGS = math.sqrt(2.0) / math.pi * dawsn(_NODES / math.sqrt(2.0))
_WING_SLOPE = (
    (1.0 - math.sqrt(2.0) * _NODES * dawsn(_NODES / math.sqrt(2.0))) / math.pi / _NODES_PER_SIGMA
)


# Both cubics are written out: handed to a kernel of their own, these tables, which are constants of
# the compiled code, end the process.
@kernel()
def normal_below(x: float) -> float:
    """Share of a normal distribution below ``x`` standard deviations; error < 2e-11."""
    place = (x + _LAST_NODE) * _NODES_PER_SIGMA
    if place <= 0.0:
        return 0.0
    node = int(place)
    if node >= _BELOW.shape[0] - 1:
        return 1.0
    t = place - node
    u = 1.0 - t
    rise = t * t * (3.0 - 2.0 * t)
    return (
        _BELOW[node] * (1.0 - rise)
        + _BELOW[node + 1] * rise
        + t * u * (u * _SLOPE[node] - t * _SLOPE[node + 1])
    )


@kernel()
def wings_below(x: float) -> float:
    """By how much of its natural half width a line has less below ``x`` standard deviations.

    All in standard deviations of the Gaussian: a Lorentzian of the half width g, blurred by a
    Gaussian of one, has ``normal_below(x) - g wings_below(x)`` below x, for small g. Far out this
    is ``g / (pi x)``, the wing of a Lorentzian.
    """
    place = (x + _LAST_NODE) * _NODES_PER_SIGMA
    node = int(place)
    if place <= 0.0 or node >= _WINGS.shape[0] - 1:
        s = 1.0 / (x * x)
        return (1.0 + s * (1.0 + s * (3.0 + 15.0 * s))) / (math.pi * x)
    t = place - node
    u = 1.0 - t
    rise = t * t * (3.0 - 2.0 * t)
    return (
        _WINGS[node] * (1.0 - rise)
        + _WINGS[node + 1] * rise
        + t * u * (u * _WING_SLOPE[node] - t * _WING_SLOPE[node + 1])
    )


@kernel()
def add_gaussians(
    out: np.ndarray,
    first_value: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    centres: np.ndarray,
    sigmas: np.ndarray,
    halves: np.ndarray,
    areas: np.ndarray,
    first: float,
    scale: float,
) -> None:
    """Add blurred lines, each integrated over the channels, to pieces of ``out`` in place.

    Parameters
    ----------
    out : ndarray of shape (values,)
        Pieces of spectra one after the other; changed in place.
    first_value : ndarray of int64, shape (lines,)
        Where in ``out`` channel 0 of each Gaussian's piece would be.
    low, high : ndarray of int64, shape (lines,)
        First channel of each Gaussian, and that after its last one.
    centres, sigmas, halves : ndarray of shape (lines,)
        In the unit of the axis; sigmas positive, halves of natural widths small beside them.
    areas : ndarray of shape (lines,)
    first, scale : float
        Lower edge of channel 0 and channel width.
    """
    for i in range(centres.shape[0]):
        if low[i] >= high[i]:
            continue
        start = first_value[i]
        per_sigma = 1.0 / sigmas[i]
        half = halves[i] * per_sigma
        place = (first + low[i] * scale - centres[i]) * per_sigma
        below = normal_below(place)
        if half > 0.0:
            below -= half * wings_below(place)
        for channel in range(low[i], high[i]):
            place = (first + (channel + 1) * scale - centres[i]) * per_sigma
            above = normal_below(place)
            if half > 0.0:
                above -= half * wings_below(place)
            out[start + channel] += areas[i] * (above - below)
            below = above


#: Height of a Gaussian of one, inverted, over pi.
_HEIGHT = math.sqrt(2.0 / math.pi)


@kernel()
def add_pieces(
    out: np.ndarray,
    row: np.ndarray,
    counts: np.ndarray,
    first_value: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    values: np.ndarray,
) -> None:
    """Add multiples of pieces of spectra to the rows of ``out`` in place.

    Parameters
    ----------
    out : ndarray of shape (rows, channels)
        Changed in place.
    row : ndarray of int64, shape (pieces,)
        Row of each piece.
    counts : ndarray of shape (pieces,)
        Factors.
    first_value, low, high : ndarray of int64, shape (pieces,)
        Where each piece is and which channels it covers, as for `add_gaussians`.
    values : ndarray of shape (values,)
    """
    for i in range(row.shape[0]):
        for channel in range(low[i], high[i]):
            out[row[i], channel] += counts[i] * values[first_value[i] + channel]


@kernel()
def add_slopes(
    out: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    centres: np.ndarray,
    sigmas: np.ndarray,
    halves: np.ndarray,
    areas: np.ndarray,
    by_centre: np.ndarray,
    by_sigma: np.ndarray,
    by_area: np.ndarray,
    first: float,
    scale: float,
) -> None:
    """Add what Gaussians integrated over the channels change by with some parameters.

    Parameters
    ----------
    out : ndarray of shape (channels, parameters)
        Changed in place.
    low, high : ndarray of int64, shape (lines,)
        As for `add_gaussians`.
    centres, sigmas, halves, areas : ndarray of shape (lines,)
    by_centre, by_sigma, by_area : ndarray of shape (lines, parameters)
        Change of centre, sigma and area with each parameter.
    first, scale : float
    """
    for i in range(centres.shape[0]):
        if low[i] >= high[i]:
            continue
        per_sigma = 1.0 / sigmas[i]
        density = areas[i] * per_sigma / math.sqrt(2.0 * math.pi)
        place = (first + low[i] * scale - centres[i]) * per_sigma
        half = halves[i] * per_sigma
        height = math.exp(-0.5 * place * place)
        below = normal_below(place)
        wing = 0.0
        if half > 0.0:
            wing = wings_below(place)
            height -= half * _HEIGHT * (1.0 - math.pi * place * wing)
            below -= half * wing
        for channel in range(low[i], high[i]):
            next_place = (first + (channel + 1) * scale - centres[i]) * per_sigma
            next_height = math.exp(-0.5 * next_place * next_place)
            above = normal_below(next_place)
            next_wing = 0.0
            if half > 0.0:
                next_wing = wings_below(next_place)
                next_height -= half * _HEIGHT * (1.0 - math.pi * next_place * next_wing)
                above -= half * next_wing
            moved = density * (height - next_height)
            widened = density * (place * height - next_place * next_height)
            widened += areas[i] * half * per_sigma * (next_wing - wing)
            share = above - below
            for k in range(out.shape[1]):
                out[channel, k] += (
                    by_centre[i, k] * moved + by_sigma[i, k] * widened + by_area[i, k] * share
                )
            place, height, below, wing = next_place, next_height, above, next_wing


@kernel(makes_arrays=True)
def decay(peaks: np.ndarray, kept: float, up: bool) -> np.ndarray:
    """Convolve each column with an exponential of sum one; (channels, n).

    Parameters
    ----------
    peaks : ndarray of shape (channels, n)
        C-contiguous.
    kept : float
        What a channel keeps of the one before it, between 0 and 1.
    up : bool
        Whether the exponential runs up the channels, else down.
    """
    n_channels, n = peaks.shape
    out = np.empty_like(peaks)
    run = np.zeros(n)
    for i in range(n_channels):
        channel = i if up else n_channels - 1 - i
        for j in range(n):
            run[j] = (1.0 - kept) * peaks[channel, j] + kept * run[j]
            out[channel, j] = run[j]
    return out


#: Decay lengths of the exponential tails, keV: charge lost at the borders of the active
#: volume, charge lost deep in it, and small pulses that add to a large one.
NEAR, FAR, ABOVE = 0.06, 0.4, 0.15
#: Energy over which the further near tail of soft lines falls off, keV. Of nine real maps eight are
#: fitted better with it; half of this does as well, twice this does not.
SOFT_LOSS = 0.6


@dataclass(frozen=True)
class PeakTails:
    """Shares of a peak's counts that are found away from it.

    Parameters
    ----------
    near, far : float
        In exponential tails towards low energies that decay within 0.06 and 0.4 keV.
    shelf : float
        In a flat shelf from zero energy to the peak.
    above : float
        In an exponential tail towards high energies that decays within 0.15 keV.
    near_soft : float
        In the near tail beyond ``near``, times ``exp(-E / 0.6 keV)``: soft photons stop where
        charge is lost into the contact.
    """

    near: float = 0.0
    far: float = 0.0
    shelf: float = 0.0
    above: float = 0.0
    near_soft: float = 0.0

    def __bool__(self) -> bool:
        return any(astuple(self))


def with_tails(peaks: np.ndarray, axis: EnergyAxis, tails: PeakTails) -> np.ndarray:
    """Return peaks with shares of their counts moved into tails and shelf.

    Each tail is the peak convolved with an exponential, and the shelf its share spread evenly
    over all energies below, so that counts only leave through the ends of the axis.

    Parameters
    ----------
    peaks : ndarray of shape (channels, n)
        Gaussian peaks.
    axis : EnergyAxis
    tails : PeakTails

    Returns
    -------
    ndarray of shape (channels, n)

    References
    ----------
    The sum of Gaussian, exponential tail and shelf: Phillips & Marlow 1976, Nucl. Instrum.
    Methods 137, 525.
    """
    if not tails:
        return peaks
    kev = axis.to_kev()
    out = (1.0 - tails.far - tails.shelf - tails.above) * peaks
    if tails.near or tails.near_soft:
        near = (tails.near + tails.near_soft * _softness(kev)) * peaks
        out += spread_exponentially(near, kev, NEAR) - near
    for share, moved in zip((tails.far, tails.shelf, tails.above), _MOVED, strict=True):
        if share:
            out += share * moved(peaks, kev)
    return out


def tail_slopes(peaks: np.ndarray, axis: EnergyAxis) -> np.ndarray:
    """Return how peaks (channels,) change with the shares of `PeakTails`; (channels, 5)."""
    kev, own = axis.to_kev(), peaks[:, None]
    near = np.hstack([own, _softness(kev) * own])
    by_near = spread_exponentially(near, kev, NEAR) - near
    others = [moved(own, kev) - own for moved in _MOVED]
    return np.hstack([by_near[:, :1], *others, by_near[:, 1:]])


def spread_exponentially(peaks: np.ndarray, axis: EnergyAxis, length: float) -> np.ndarray:
    """Return each column convolved with an exponential of sum one.

    Parameters
    ----------
    peaks : ndarray of shape (channels, n)
    axis : EnergyAxis
        In keV.
    length : float
        keV over which it decays; negative towards high energies.
    """
    kept = float(np.exp(-axis.scale / abs(length)))
    return np.asarray(decay(np.ascontiguousarray(peaks), kept, length < 0))


def _spread(peaks: np.ndarray, kev: EnergyAxis) -> np.ndarray:
    width = np.maximum(kev.centers, kev.scale) / kev.scale
    shelf = np.cumsum((peaks / width[:, None])[::-1], axis=0)[::-1]
    return np.where(kev.centers[:, None] > 0, shelf, 0.0)


def _softness(kev: EnergyAxis) -> np.ndarray:
    return np.asarray(np.exp(-np.maximum(kev.centers, 0.0) / SOFT_LOSS))[:, None]


#: Where the counts go, in the order of `PeakTails`, but for the near tail.
_MOVED: tuple[Callable[[np.ndarray, EnergyAxis], np.ndarray], ...] = (
    partial(spread_exponentially, length=FAR),
    _spread,
    partial(spread_exponentially, length=-ABOVE),
)


_SILICON_DENSITY = 2.33  # g/cm3
_CM_PER_NM = 1e-7
#: Share of the charge that is still collected from the very surface.
SURFACE_COLLECTION = 0.5
#: Slices of a tail, finer where the loss is small and most photons are.
_SLICES = 16
_EDGES = (np.arange(_SLICES + 1) / _SLICES) ** 2
#: Standard deviation of a slice as a share of its width: neighbours then make a smooth tail.
_BLUR = 0.6
#: Lines that lose less than this share of their energy on average are left as they are.
_NEGLIGIBLE = 1e-4


def collected_lines(
    energies: np.ndarray,
    depth: float,
    *,
    coarse: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Split each line by how much of its charge is collected.

    A photon that is absorbed in the depth z of the crystal yields the share
    ``1 - (1 - SURFACE_COLLECTION) exp(-z / depth)`` of its charge, and z is distributed as
    ``mu exp(-mu z)``. Each line becomes a few lines at the mean energies of slices of the
    loss, with the probabilities of the slices: a peak that is a little low and a tail below.
    It matters where silicon absorbs strongly: below 1 keV, and just above the Si K edge.

    Parameters
    ----------
    energies : ndarray of shape (lines,)
        True energies in keV.
    depth : float
        Depth scale of the loss in nm; 0 means that all charge is collected. Typical
        silicon drift detectors have some 50 to 150 nm.
    coarse : ndarray of bool, shape (lines,), optional
        Lines, too weak for their shape to matter, that are only moved to their mean energy.

    Returns
    -------
    energies : ndarray of shape (parts,)
        In keV.
    shares : ndarray of shape (parts,)
        Probability of each part; they sum to 1 for each line.
    origin : ndarray of int, shape (parts,)
        Index of the line that a part belongs to.
    widths : ndarray of shape (parts,)
        Standard deviation of the energies within a part in keV, a little widened: slices of
        a hard line's tail lie hundreds of eV apart and would stand out as peaks.

    References
    ----------
    The exponential collection profile: Goto 1993, Nucl. Instrum. Methods A 333, 452;
    Scholze & Procop 2009, X-Ray Spectrometry 38, 312.
    """
    energies = np.asarray(energies, dtype=np.float64)
    lines = np.arange(energies.size)
    if depth <= 0:
        return energies, np.ones(energies.size), lines, np.zeros(energies.size)
    silicon = element_attenuation("Si", energies) * _SILICON_DENSITY * _CM_PER_NM  # 1/nm
    # exp(-z/depth), the loss over that at the surface, is x = u**power with u = exp(-mu z)
    # uniform on (0, 1), so P(x < a) = a**(1/power).
    power = 1.0 / (silicon * depth)
    mean_loss = (1 - SURFACE_COLLECTION) / (power + 1)
    split = mean_loss > _NEGLIGIBLE
    if coarse is not None:
        energies = np.where(coarse & split, energies * (1 - mean_loss), energies)
        split &= ~coarse
    p = power[split][:, None]
    below = _EDGES[None, :] ** (1 / p)
    share = np.diff(below, axis=1)
    mean = np.diff(below ** (p + 1), axis=1) / ((p + 1) * share)
    tall = energies[split][:, None]
    parts = tall * (1 - (1 - SURFACE_COLLECTION) * mean)
    widths = tall * (1 - SURFACE_COLLECTION) * _BLUR * np.diff(_EDGES)[None, :]
    whole = int((~split).sum())
    return (
        np.concatenate([energies[~split], parts.ravel()]),
        np.concatenate([np.ones(whole), share.ravel()]),
        np.concatenate([lines[~split], np.repeat(lines[split], _SLICES)]),
        np.concatenate([np.zeros(whole), widths.ravel()]),
    )


#: Pulses softer than this (keV) hardly trigger the fast channel that rejects pile-up: they add
#: to others over the whole shaping time.
_UNSEEN = 0.75
_STEEP = 6


def pile_up(
    counts: np.ndarray, axis: EnergyAxis, *, energies: np.ndarray | None = None
) -> np.ndarray:
    """Shapes of the sum peaks; each sums to one, or to zero when there are none.

    The spectrum folded with itself, as far as the axis knows it: soft pulses with any other,
    and hard ones with each other. Which of them pile up more depends on the pulse processor.

    Parameters
    ----------
    counts : ndarray of shape (channels,)
        Measured counts, nothing subtracted.
    axis : EnergyAxis
    energies : ndarray of shape (channels,), optional
        True energies of the channels in keV, rising; by default those of the axis. It is these
        that add up.

    Returns
    -------
    ndarray of shape (channels, 2)
    """
    nominal = axis.to_kev().centers
    true = nominal if energies is None else energies
    even = np.linspace(true[0], true[-1], true.size)
    counts = np.interp(even, true, counts)
    soft = counts / (1.0 + (np.maximum(even, 0.0) / _UNSEEN) ** _STEEP)
    hard = counts - soft
    out = np.empty((true.size, 2))
    # A soft pulse before a hard one and after it make the same sum.
    for i, (one, other) in enumerate(((soft, counts + hard), (hard, hard))):
        folded = np.convolve(one, other)
        sums = np.linspace(2 * even[0], 2 * even[-1], folded.size)
        shape = np.interp(true, sums, folded, left=0.0, right=0.0)
        total = float(shape.sum())
        out[:, i] = shape / total if total > 0 else 0.0
    return out
