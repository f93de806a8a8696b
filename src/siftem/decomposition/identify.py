"""Which of the many equally likely factorisations: the one that the map and the lines point to.

The likelihood leaves a factorisation open in two ways. Each pixel's own weights overfit its
noise, which drives the spectra apart; and any spectrum can be sheared along another one as
long as no weight and no channel turns negative. Four steps settle both:

1. The spectra are fitted to pooled pixels, where there is less noise to fit; they serve as
   the coordinates of a subspace, no more.
2. Signed (unconstrained, hence unbiased) weights are smoothed. The most common mixing ratio
   among the pixels is that of the pure matrix, the phase that is everywhere.
3. Away from the matrix, the most common direction among the pixels that a component
   dominates is that of one grain phase alone.
4. How much matrix is left in a grain's direction is read from the lines: matrix is taken
   away until its first strong line vanishes from the grain, measured above the local
   background and weighed against noise. A grain phase that holds all elements of the matrix
   in similar ratios can't be told from a mixture in this way, nor in any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from siftem.decomposition.smooth_maps import SmoothedWeights
from siftem.robust import half_sample_mode, lower_spread, most_common_ratio

#: Counts that the smoothing window of the weights holds: shares then scatter by a few percent.
_COUNTS_IN_WINDOW = 4000.0
#: Pixels with fewer counts than this share of the typical one are vacuum or holes.
_VACUUM_SHARE = 0.2
#: A pixel holds a grain for sure beyond this many standard deviations.
_SURE = 6.0
#: Directions this near (in shares) belong to the most common one.
_NEAR = 0.1
#: Lines count that reach this share of the matrix' strongest.
_STRONG_LINE = 0.15
_FEWEST_PIXELS = 20


@dataclass(frozen=True, eq=False)
class Identified:
    """Spectra that were chosen among equally likely ones.

    Parameters
    ----------
    spectra : ndarray of shape (k, m)
        Each summing to one, in the order of the components that they replace. Of either
        sign: where there is nothing they scatter around zero.
    counts : ndarray of shape (k,)
        About how many counts each of them holds.
    matrix : int
        Which of them is the matrix.
    matrix_taken : ndarray of shape (k,)
        Share of the matrix that was taken away from each grain's direction.
    noise : ndarray of shape (k,)
        Standard deviation of that share by counting.
    """

    spectra: np.ndarray
    counts: np.ndarray
    matrix: int
    matrix_taken: np.ndarray
    noise: np.ndarray


def identify(
    counts: sp.csr_array,
    shape: tuple[int, int],
    spectra: np.ndarray,
    *,
    line_width: int | None,
) -> Identified | None:
    """Choose spectra in the span of ``spectra``.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (ny * nx, m)
    shape : tuple of int
        (ny, nx).
    spectra : ndarray of shape (k, m)
        From a pooled fit; k at least 2.
    line_width : int, optional
        Width of a line in channels. None when the spectra have no lines (energy loss):
        whole counts then take the place of lines above background.

    Returns
    -------
    Identified or None
        None when no mixing ratio is common enough to be a matrix.
    """
    k = len(spectra)
    typical = counts.sum(dtype=np.float64) / counts.shape[0]
    sigma = float(np.clip(np.sqrt(_COUNTS_IN_WINDOW / (4 * np.pi * typical)), 0.7, 4.0))
    weights = SmoothedWeights.of(counts, shape, spectra, sigma)
    smooth = weights.maps.reshape(k, -1)
    level = smooth.sum(axis=0)
    film = level > _VACUUM_SHARE * np.quantile(level, 0.75)
    if film.sum() < 10 * _FEWEST_PIXELS:
        return None
    shares = smooth[:, film] / level[film]
    matrix = int(np.argmax(np.median(shares, axis=1)))
    grains = [c for c in range(k) if c != matrix]
    ratio, common = most_common_ratio(shares, grains, fewest=_FEWEST_PIXELS)
    if common < 0.02:
        return None
    ratio = ratio / ratio.sum()
    if ratio[matrix] < 0.05:
        return None
    pure = ratio @ spectra
    rest = shares[grains] - np.outer(ratio[grains] / ratio[matrix], shares[matrix])
    directions = _grain_directions(rest)
    out = np.empty_like(spectra, dtype=np.float64)
    out[matrix] = pure
    taken, noise, held = np.zeros(k), np.zeros(k), np.zeros(k)
    for direction, c, amount in zip(directions, grains, rest, strict=True):
        grain = direction @ spectra[grains]
        held[c] = (np.maximum(amount, 0) * level[film]).sum() * weights.step**2
        taken[c], noise[c] = matrix_share(grain, pure, line_width=line_width, counts=held[c])
        out[c] = grain - taken[c] * pure
    total = np.maximum(out, 0).sum(axis=1, keepdims=True)
    if not (np.isfinite(out).all() and (total > 1e-3).all()):
        return None
    held[matrix] = max(level.sum() * weights.step**2 - held.sum(), 0)
    return Identified(out / total, held, matrix, taken, noise)


def matrix_share(
    grain: np.ndarray, pure: np.ndarray, *, line_width: int | None, counts: float
) -> tuple[float, float]:
    """Share of the matrix at which its first strong line vanishes from a grain's spectrum.

    With a top-hat filter (centre minus sides, one line wide each), a line's strength above
    its local background in either spectrum; the smallest ratio, plus its noise, wins.

    Parameters
    ----------
    grain, pure : ndarray of shape (m,)
        Each summing to one.
    line_width : int or None
        In channels; None compares whole counts in windows of five channels.
    counts : float
        Counts behind ``grain``.

    Returns
    -------
    share : float
        Negative when a line is negative in the grain already.
    noise : float
        Its standard deviation.
    """
    width = line_width or 5
    inside = uniform_filter1d(pure, width, mode="nearest")
    own = uniform_filter1d(grain, width, mode="nearest")
    variance = uniform_filter1d(np.maximum(grain, 0), width, mode="nearest")
    if line_width is not None:
        inside, own = _top_hat(pure, width), _top_hat(grain, width)
        variance = variance + 0.5 * uniform_filter1d(
            np.maximum(grain, 0), 3 * width, mode="nearest"
        )
    noise = np.sqrt(np.maximum(variance, 0) / width / max(counts, 1.0))
    peaks = (inside > _STRONG_LINE * inside.max()) & (
        inside == maximum_filter1d(inside, 2 * width + 1, mode="nearest")
    )
    ratios = own[peaks] / inside[peaks]
    errors = noise[peaks] / inside[peaks]
    best = int(np.argmin(ratios + errors))
    return float(ratios[best]), float(errors[best])


def _top_hat(spectrum: np.ndarray, width: int) -> np.ndarray:
    """Mean over a line's width less the mean of the windows to each side."""
    padded = np.pad(spectrum, 2 * width, mode="edge")
    mean = uniform_filter1d(padded, width, mode="nearest")
    sides = 0.5 * (np.roll(mean, width) + np.roll(mean, -width))
    return (mean - sides)[2 * width : -2 * width]


def _grain_directions(rest: np.ndarray) -> np.ndarray:
    """Direction of each grain phase (grains, grains) from what pixels hold besides matrix.

    ``rest`` (grains, pixels) scatters around zero in the pure matrix. Row i of the result
    is the most common direction among the sure pixels in which component i dominates,
    summing to one.
    """
    number = len(rest)
    out = np.eye(number)
    if number == 1:
        return out
    spread = np.array([lower_spread(r) for r in rest])
    quiet = rest[:, (np.abs(rest) < 2.5 * spread[:, None]).all(axis=0)]
    if quiet.shape[1] < _FEWEST_PIXELS:
        return out
    covariance = np.cov(quiet) + 1e-12 * np.eye(number)
    distance = np.sqrt(np.maximum((rest * np.linalg.solve(covariance, rest)).sum(axis=0), 0))
    sure = distance > _SURE
    direction = rest[:, sure] / np.maximum(np.abs(rest[:, sure]).sum(axis=0), 1e-300)
    weight = distance[sure] ** 2
    for i in range(number):
        own = direction[i] > 0.5
        if own.sum() < _FEWEST_PIXELS:
            continue
        others = [j for j in range(number) if j != i]
        candidates = direction[:, own]
        point = np.array([half_sample_mode(d) for d in candidates])
        for _ in range(30):
            near = (np.abs(candidates[others] - point[others, None]) <= _NEAR).all(axis=0)
            if near.sum() < 10:
                break
            new = np.average(candidates[:, near], axis=1, weights=weight[own][near])
            if np.abs(new - point).max() < 1e-6:
                break
            point = new
        if point.sum() > 0.2:
            out[i] = point / point.sum()
    return out
