"""Traces without a brush: the most certain pixels of each map.

NMF may share the matrix' spectrum out among its components, so that a grain's map is far
from zero where the grain is not. The pixels themselves tell: the matrix is everywhere, so
the most common mixing ratio of the components is that of pure matrix. Writing each pixel
as matrix plus grains makes the grain maps scatter around zero in the pure matrix, with
the noise seen below zero, where no grain can be.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from siftem.errors import InputError, SiftemWarning

#: A smoothing window holds about this many counts: shares then scatter by a few percent.
_COUNTS_IN_WINDOW = 4000.0
#: Pixels with fewer counts than this share of the typical one are vacuum or holes.
_VACUUM_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class GrainShares:
    """How much of each grain phase a pixel holds, with the matrix as reference.

    Parameters
    ----------
    shares : ndarray of shape (grains, ny, nx)
        Fraction of the pixel's counts, smoothed; scatters around zero in the pure matrix.
    noise : ndarray of shape (grains,)
        Standard deviation of a share in the pure matrix.
    vacuum : ndarray of bool, shape (ny, nx)
        Pixels with too few counts to say anything.
    matrix_ratio : ndarray of shape (k,)
        Mixing ratio of the components in the pure matrix.
    sigma : float
        Smoothing in pixels.
    """

    shares: np.ndarray
    noise: np.ndarray
    vacuum: np.ndarray
    matrix_ratio: np.ndarray
    sigma: float

    @property
    def significance(self) -> np.ndarray:
        """Shares over their noise; (grains, ny, nx)."""
        return self.shares / self.noise[:, None, None]


def grain_shares(maps: np.ndarray, matrix: int, *, sigma: float | None = None) -> GrainShares:
    """Express maps as matrix plus grains.

    With ``u`` the mixing ratio of pure matrix, a pixel's weights ``w`` become
    ``w_c - w_matrix u_c / u_matrix`` for each grain component ``c``.

    Parameters
    ----------
    maps : ndarray of shape (k, ny, nx)
        Counts of each component in each pixel.
    matrix : int
        Which component is the matrix.
    sigma : float, optional
        Gaussian smoothing in pixels; by default what gathers some 4000 counts, 0.7 to 4.

    Returns
    -------
    GrainShares
        Grains in the order of ``maps`` without the matrix.

    Raises
    ------
    InputError
        When the matrix component hardly takes part in the most common pixels.
    """
    maps = np.asarray(maps, float)
    k = maps.shape[0]
    total = maps.sum(axis=0)
    if not total.max() > 0:
        raise InputError("the maps hold no counts: nothing to trace")
    typical = float(np.median(total[total > 0]))
    if sigma is None:
        sigma = float(np.clip(np.sqrt(_COUNTS_IN_WINDOW / (4 * np.pi * typical)), 0.7, 4.0))
    smooth = np.array([gaussian_filter(m, sigma, mode="nearest") for m in maps])
    level = smooth.sum(axis=0)
    vacuum = level < _VACUUM_SHARE * np.quantile(level, 0.75)
    ratios = (smooth / np.maximum(level, 1e-12))[:, ~vacuum]
    grains = [c for c in range(k) if c != matrix]
    point = _most_common(ratios, grains)
    if point[matrix] < 0.05:
        raise InputError(
            "the component taken for the matrix is not what most pixels hold: name another "
            "phase as the matrix, mark it by other elements, or paint traces"
        )
    slope = point / point[matrix]
    shares = np.zeros((len(grains), *total.shape))
    for g, c in enumerate(grains):
        shares[g] = (smooth[c] - slope[c] * smooth[matrix]) / np.maximum(level, 1e-12)
    shares[:, vacuum] = 0.0
    noise = np.array([_lower_spread(s[~vacuum]) for s in shares])
    return GrainShares(shares, noise, vacuum, point, sigma)


def certain_pixels(
    grains: GrainShares,
    *,
    present: float = 5.0,
    absent: float = 2.0,
    at_most: int = 3000,
    seed: int = 0,
) -> np.ndarray:
    """Choose pixels that surely hold a grain phase, and pixels that surely don't.

    Parameters
    ----------
    grains : GrainShares
    present : float
        A grain is present where its share exceeds this many standard deviations.
    absent : float
        It is absent where its share is below this many.
    at_most : int
        Pixels of each class at the most, drawn at random.
    seed : int
        Seed of the draw.

    Returns
    -------
    ndarray of int8, shape (grains, ny, nx)
        For each grain phase: 2 where present, 1 where absent, 0 where not used.

    Warns
    -----
    SiftemWarning
        When a grain phase is present nowhere with that certainty; its best pixels are used.
    """
    rng = np.random.default_rng(seed)
    out = np.zeros(grains.shares.shape, np.int8)
    valid = ~grains.vacuum
    for g, z in enumerate(grains.significance):
        yes = (z > present) & valid
        no = (z < absent) & valid
        if yes.sum() < 10:
            warnings.warn(
                f"grain phase {g + 1} exceeds the noise hardly anywhere (most: "
                f"{z[valid].max():.1f} sigma): its best pixels serve as traces",
                SiftemWarning,
                stacklevel=2,
            )
            few = min(valid.sum(), max(10, int(0.002 * valid.sum())))
            yes = valid & (z >= np.sort(z[valid])[-few])
            no &= ~yes
        if no.sum() < 10:
            raise InputError(
                f"grain phase {g + 1} seems to be everywhere: no pixel is surely free of it; "
                f"paint traces or choose another matrix"
            )
        for mask, label in ((no, 1), (yes, 2)):
            where = np.flatnonzero(mask)
            if where.size > at_most:
                where = rng.choice(where, at_most, replace=False)
            out[g].ravel()[where] = label
    return out


def _most_common(ratios: np.ndarray, grains: list[int]) -> np.ndarray:
    """Most common mixing ratio (k,) of the columns of ``ratios`` (k, pixels).

    Starts from the mode of each component's share and moves to the mean of the pixels
    within two standard deviations of it in all grain components, until it stands still.
    """
    point = np.array([_half_sample_mode(r) for r in ratios])
    for _ in range(30):
        near = np.ones(ratios.shape[1], bool)
        for c in grains:
            spread = _lower_spread(ratios[c] - point[c])
            near &= np.abs(ratios[c] - point[c]) <= 2 * spread
        if near.sum() < 10:
            break
        new = ratios[:, near].mean(axis=1)
        if np.abs(new - point).max() < 1e-6:
            break
        point = new
    return point / point.sum()


def _lower_spread(values: np.ndarray) -> float:
    """Standard deviation of noise around zero, from the values below it alone."""
    low = -values[values < 0]
    if low.size < 10:
        return float(max(values.std(), 1e-9))
    return float(max(1.4826 * np.median(low), 1e-9))


def _half_sample_mode(values: np.ndarray) -> float:
    """Mode of a sample: keep the densest half again and again (Robertson & Cryer 1974)."""
    x = np.sort(values)
    while x.size > 50:
        half = x.size // 2
        start = int((x[half:] - x[: x.size - half]).argmin())
        x = x[start : start + half]
    return float(x.mean())
