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
from scipy.ndimage import gaussian_filter, maximum_filter

from siftem.errors import InputError, SiftemWarning
from siftem.robust import grid_step, lower_spread, most_common_ratio

#: A first smoothing window holds about this many counts.
_COUNTS_IN_WINDOW = 4000.0
#: Noise of a share that smoothing aims at: enough to see a grain of a fifth of the
#: thickness, and no more blur of its border than that.
_NOISE = 0.04
#: Smoothing in pixels, at least and at most.
_SIGMAS = (0.6, 4.0)
#: A rim shows from this many standard deviations on, with twice the smoothing.
_RIM, _RIM_SMOOTHING = 3.0, 2.0
#: ... but no less than this part of the share inside the grain: when millions of counts make
#: the noise vanish, wings of the smoothing and leaks between components would show everywhere.
_RIM_PART = 0.03
#: The matrix component's share of the most common pixels must be at least this.
_LEAST_MATRIX = 0.1
#: Share relative to the largest nearby: at least this inside a grain, at most that outside.
_INSIDE, _OUTSIDE = 0.5, 0.3
#: Pixels with fewer counts than this share of the typical one are vacuum or holes.
_VACUUM_SHARE = 0.2
#: The pure matrix fills this many pixels at the least.
_FEWEST_PIXELS = 10


@dataclass(frozen=True, eq=False)
class GrainShares:
    """How much of each grain phase a pixel holds, with the matrix as reference.

    Parameters
    ----------
    shares : ndarray of shape (grains, ny, nx), float32
        Fraction of the pixel's counts, smoothed; scatters around zero in the pure matrix.
    noise : ndarray of shape (grains,)
        Standard deviation of a share in the pure matrix.
    vacuum : ndarray of bool, shape (ny, nx)
        Pixels with too few counts to say anything.
    matrix_ratio : ndarray of shape (k,)
        Mixing ratio of the components in the pure matrix.
    sigmas : ndarray of shape (grains,)
        Smoothing of each grain's share in pixels.
    touched : ndarray of bool, shape (grains, ny, nx)
        Where a grain shows at all (three standard deviations) after stronger smoothing:
        its faint rims, which are in no mask but not pure matrix either.
    """

    shares: np.ndarray
    noise: np.ndarray
    vacuum: np.ndarray
    matrix_ratio: np.ndarray
    sigmas: np.ndarray
    touched: np.ndarray

    @property
    def significance(self) -> np.ndarray:
        """Shares over their noise; (grains, ny, nx)."""
        return self.shares / self.noise[:, None, None]

    @property
    def relative(self) -> np.ndarray:
        """Shares over the largest one nearby (within two smoothings); (grains, ny, nx).

        About one inside a grain and a half at its border, whether it is thick or thin.
        """
        return np.stack([self.relative_of(g) for g in range(len(self.shares))])

    def significance_of(self, grain: int) -> np.ndarray:
        """Share of one grain over its noise; (ny, nx)."""
        return self.shares[grain] / self.noise[grain]

    def relative_of(self, grain: int) -> np.ndarray:
        """Share of one grain over the largest one nearby; (ny, nx)."""
        size = 2 * int(np.ceil(2 * self.sigmas[grain] + 1)) + 1
        nearby = maximum_filter(self.shares[grain], size=size)
        np.maximum(nearby, 1e-12, out=nearby)
        return np.divide(self.shares[grain], nearby, out=nearby)


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
        Gaussian smoothing in pixels. By default each grain's share gets what brings its
        noise in the pure matrix to 0.04, between 0.6 and 4 pixels.

    Returns
    -------
    GrainShares
        Grains in the order of ``maps`` without the matrix.

    Raises
    ------
    InputError
        When the matrix component hardly takes part in the most common pixels.
    """
    maps = np.asarray(maps)
    k = maps.shape[0]
    total = maps.sum(axis=0, dtype=np.float64)
    if not total.max() > 0:
        raise InputError("the maps hold no counts: nothing to trace")
    typical = float(np.median(total[total > 0]))
    window = float(np.clip(np.sqrt(_COUNTS_IN_WINDOW / (4 * np.pi * typical)), *_SIGMAS))
    first = window if sigma is None else sigma
    level = gaussian_filter(total, first, mode="nearest")
    vacuum = level < _VACUUM_SHARE * np.quantile(level, 0.75)
    np.maximum(level, 1e-12, out=level)
    step = grid_step(total.shape)
    seen = (slice(None, None, step),) * 2
    film = ~vacuum[seen]
    ratios = np.empty((k, int(film.sum())))
    for row, one in zip(ratios, maps, strict=True):
        smooth = gaussian_filter(one.astype(np.float64), first, mode="nearest")
        row[:] = (smooth[seen] / level[seen])[film]
    del level, smooth
    grains = [c for c in range(k) if c != matrix]
    point = most_common_ratio(ratios, grains, fewest=_FEWEST_PIXELS)[0]
    del ratios
    point = point / point.sum()
    if point[matrix] < _LEAST_MATRIX:
        raise InputError(
            "the component taken for the matrix is not what most pixels hold: name another "
            "phase as the matrix, mark it by other elements, or paint traces"
        )
    shares = np.zeros((len(grains), *total.shape), np.float32)
    noise = np.zeros(len(grains))
    sigmas = np.full(len(grains), first)
    touched = np.zeros(shares.shape, bool)
    for g, c in enumerate(grains):
        raw = maps[c] - float(point[c] / point[matrix]) * maps[matrix].astype(np.float64)
        share = _smoothed_share(raw, total, first)
        if sigma is None:
            # White noise falls as 1 / sigma.
            before = max(lower_spread(share[~vacuum]), _one_count(typical, first))
            sigmas[g] = np.clip(first * before / _NOISE, *_SIGMAS)
            share = _smoothed_share(raw, total, sigmas[g])
        share[vacuum] = 0.0
        shares[g] = share
        noise[g] = max(lower_spread(share[~vacuum]), _one_count(typical, sigmas[g]))
        del share  # as large as the map in double precision
        strong = _smoothed_share(raw, total, _RIM_SMOOTHING * sigmas[g])
        spread = max(lower_spread(strong[~vacuum]), _one_count(typical, _RIM_SMOOTHING * sigmas[g]))
        inside = float(np.quantile(strong[~vacuum], 0.995))
        touched[g] = (strong > max(_RIM * spread, _RIM_PART * inside)) & ~vacuum
        del raw, strong
    return GrainShares(shares, noise, vacuum, point, sigmas, touched)


def _one_count(counts: float, sigma: float) -> float:
    """Share that one count makes in a smoothing window: no noise is less.

    A factorisation sets a grain's map to exactly zero where the grain is not; the spread
    below zero then says nothing.
    """
    return 1.0 / (4 * np.pi * sigma**2 * counts)


def _smoothed_share(part: np.ndarray, total: np.ndarray, sigma: float) -> np.ndarray:
    level = gaussian_filter(total, sigma, mode="nearest")
    np.maximum(level, 1e-12, out=level)
    return np.divide(gaussian_filter(part, sigma, mode="nearest"), level, out=level)


def certain_pixels(
    grains: GrainShares,
    *,
    present: float = 5.0,
    absent: float = 2.0,
    at_most: int = 3000,
    seed: int = 0,
) -> np.ndarray:
    """Choose pixels that surely hold a grain phase, and pixels that surely don't.

    A border pixel is neither: what is left between the two sets is for the classifier.

    Parameters
    ----------
    grains : GrainShares
    present : float
        A grain is present where its share exceeds this many standard deviations, and is at
        least half the largest share nearby.
    absent : float
        It is absent where its share is below this many, or below 0.3 of the largest nearby:
        on the outer slope of a blurred border.
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
    for g in range(len(grains.shares)):
        z, relative = grains.significance_of(g), grains.relative_of(g)
        yes = (z > present) & (relative > _INSIDE) & valid
        no = ((z < absent) | (relative < _OUTSIDE)) & valid
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
