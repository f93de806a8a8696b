"""Which of many equally likely factorisations the map and the lines point to, and what stays open.

The likelihood leaves a factorisation open in two ways. Each pixel's own weights overfit its
noise, which drives the spectra apart; and any spectrum can be sheared along another one as
long as no weight and no channel turns negative. Four steps settle both:

1. The spectra are fitted to pooled pixels, where there is less noise to fit; they serve as
   the coordinates of a subspace, no more. All counts and smoothed maps refine it: each pixel's
   spectrum goes into a sum with the smoothed weights of its neighbours, the maps serving as
   instruments (Reiersol 1945). Whatever they are, as long as their noise is not that of the pixel
   itself, the spectra are unbiased.
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
from scipy.ndimage import gaussian_filter, maximum_filter1d, uniform_filter1d

from siftem.large.disk_images import image_beside, on_grid, reach, smoothed, strips
from siftem.large.rows_of_counts import rows_of
from siftem.robust import grid_step, half_sample_mode, lower_spread, most_common_ratio
from siftem.views import outline

#: Counts that the smoothing window of the maps holds.
_COUNTS_FOR_INSTRUMENTS = 1000.0
_ROUNDS = 2
#: Beyond this the maps are too much alike to tell the spectra apart.
_WORST_CONDITION = 1e6


def signed_weights(counts: sp.csr_array, spectra: np.ndarray) -> np.ndarray:
    """Weighted least-squares weights (k, n), of either sign: linear in the counts, hence unbiased.

    ``X D H' (H D H')^-1`` with ``D`` the inverse of the mean spectrum, the same in all
    pixels: the first step of the maximum likelihood, without its bound at zero.
    """
    mean = np.asarray(counts.sum(axis=0, dtype=np.float64)).ravel()
    mean = mean / max(mean.sum(), 1e-300)
    weighted = spectra / np.maximum(mean, 1e-3 * mean.mean())
    inverse = weighted.T @ np.linalg.pinv(weighted @ spectra.T)
    return rows_of(counts).images(inverse)


@dataclass(frozen=True, eq=False)
class SmoothedWeights:
    """Signed weights, smoothed, on a grid of pixels.

    Parameters
    ----------
    maps : ndarray of shape (k, lines, columns), float64
        Counts a pixel of each component.
    step : int
        Distance of the lines, and of the columns, in pixels.
    held : ndarray of shape (k,)
        Sum of the positive weights of all pixels before they were smoothed.
    """

    maps: np.ndarray
    step: int
    held: np.ndarray

    @classmethod
    def of(
        cls, counts: sp.csr_array, shape: tuple[int, int], spectra: np.ndarray, sigma: float
    ) -> SmoothedWeights:
        """Weigh the components in each pixel and smooth that by a Gaussian of ``sigma`` pixels.

        Up to half a million pixels the grid is the whole map. In larger ones the distance of its
        lines is two pixels or more.
        """
        step = grid_step(shape)
        maps, held = [], []
        for image in signed_weights(counts, spectra).reshape(-1, *shape):
            whole = strips(shape, of=(image,))
            held.append(sum(float(np.maximum(image[s.lines], 0).sum()) for s in whole))
            parts = smoothed(image.__getitem__, shape, sigma, of=(image,))
            maps.append(np.concatenate([on_grid(lines, p, step) for lines, p in parts]))
        return cls(np.stack(maps), step, np.array(held))


def refined_spectra(
    counts: sp.csr_array, shape: tuple[int, int], spectra: np.ndarray
) -> np.ndarray:
    """Improve the span of ``spectra`` by the maps of their neighbours.

    With the signed weights ``A`` (n, k) of `signed_weights` and ``Z`` (n, k), the weights
    smoothed over the neighbours of each pixel *without the pixel itself*, the spectra are
    ``(Z' A)^-1 Z' X``. Leaving the pixel out keeps its noise from being multiplied with itself;
    since ``A`` is linear in ``X``, no noise of the weights biases the result.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (ny * nx, m)
        Or `siftem.large.rows_of_counts.BlockedCounts`.
    shape : tuple of int
        (ny, nx).
    spectra : ndarray of shape (k, m)
        Each summing to one; of either sign.

    Returns
    -------
    ndarray of shape (k, m), float64
        Each summing to one, and of either sign: a channel without counts scatters around zero.
        The given spectra, where the maps don't tell them apart.

    References
    ----------
    O. Reiersol, Arkiv for Matematik, Astronomi och Fysik 32A (1945) 4.
    """
    typical = max(float(counts.sum(dtype=np.float64)) / counts.shape[0], 1e-12)
    sigma = float(np.clip(np.sqrt(_COUNTS_FOR_INSTRUMENTS / (4 * np.pi * typical)), 0.7, 3.0))
    for _ in range(_ROUNDS):
        weights = signed_weights(counts, spectra)
        smooth, products = _instruments(weights.reshape(-1, *shape), sigma)
        size = np.sqrt(np.maximum(np.abs(np.diag(products)), 1e-300))
        scaled = products / np.outer(size, size)
        if not np.isfinite(scaled).all() or np.linalg.cond(scaled) > _WORST_CONDITION:
            return spectra
        del weights  # as large as the map
        found = np.linalg.solve(
            products, rows_of(counts).weighted_sums(smooth.reshape(len(smooth), -1))
        )
        del smooth
        total = found.sum(axis=1, keepdims=True)
        if not (np.isfinite(found).all() and (total > 0.1).all()):
            return spectra
        spectra = found / total
    return spectra


def _instruments(weights: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Means over the neighbours of each pixel (k, ny, nx), and their products with the weights."""
    k, *shape = weights.shape
    smooth = image_beside(weights, weights.shape, np.float64)
    products = np.zeros((k, k))
    for strip in strips(tuple(shape), reach(sigma), of=(weights, smooth)):
        for c in range(k):
            smooth[c, strip.lines] = _of_neighbours(weights[c, strip.seen], sigma)[strip.own]
        own = weights[:, strip.lines].reshape(k, -1)
        products += smooth[:, strip.lines].reshape(k, -1) @ own.T
    return smooth, products


def _of_neighbours(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian mean over the neighbours of each pixel, without the pixel itself."""
    most = reach(sigma)
    profile = np.exp(-0.5 * (np.arange(-most, most + 1) / sigma) ** 2)
    own = (1 / profile.sum()) ** 2
    # Beyond the border the map is zero, not repeated: a pixel must not come back as its own
    # neighbour. That the sum is too low there does no harm to an instrument.
    smooth = gaussian_filter(image, sigma, mode="constant", radius=most)
    smooth -= own * image
    smooth /= 1 - own
    return np.asarray(smooth)


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


#: Standard deviations within which a weight or a window of channels may be negative.
_NOISE = 2.0
#: Channels in a window.
_WINDOW = 9


@dataclass(frozen=True, eq=False)
class Indeterminacy:
    """How far each spectrum can be sheared along each other one at no cost beyond noise.

    Spectrum c may become ``(S_c + g S_d) / (1 + g)`` for any ``g`` from ``low[c, d]`` to
    ``high[c, d]``: the weights of d take up the difference, the expected counts stay the same.

    Parameters
    ----------
    low : ndarray of shape (k, k)
        Not positive: how much of d can be taken out of c until channels turn negative.
    high : ndarray of shape (k, k)
        Not negative: how much of d can be put into c until weights of d turn negative.
    degrees_low, degrees_high : ndarray of shape (k, k)
        Angles between the spectra at both ends and the given one.
    """

    __repr__ = outline

    low: np.ndarray
    high: np.ndarray
    degrees_low: np.ndarray
    degrees_high: np.ndarray

    @property
    def degrees(self) -> np.ndarray:
        """The wider end of each shear, in degrees; (k, k), zero on the diagonal."""
        return np.maximum(self.degrees_low, self.degrees_high)

    def reordered(self, order: list[int]) -> Indeterminacy:
        """Return it for the components in another order."""
        index = np.ix_(order, order)
        return Indeterminacy(
            self.low[index],
            self.high[index],
            self.degrees_low[index],
            self.degrees_high[index],
        )


def shear_freedom(
    counts: sp.csr_array, shape: tuple[int, int], spectra: np.ndarray
) -> Indeterminacy:
    """Measure how far the likelihood leaves spectra open, one pair at a time.

    A first-order answer: signed least-squares weights, smoothed to about 4000 counts, tell
    how much of d goes with c everywhere; windows of nine channels tell how much of d fits
    into c. Both are allowed to turn negative by two standard deviations.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (ny * nx, m)
    shape : tuple of int
        (ny, nx).
    spectra : ndarray of shape (k, m)
        Each summing to one.

    Returns
    -------
    Indeterminacy
    """
    k = len(spectra)
    typical = max(float(counts.sum(dtype=np.float64)) / counts.shape[0], 1e-12)
    sigma = float(np.clip(np.sqrt(_COUNTS_IN_WINDOW / (4 * np.pi * typical)), 0.7, 4.0))
    weights = SmoothedWeights.of(counts, shape, spectra, sigma)
    smooth, held = weights.maps, weights.held
    # The covariance of the weights of the mean pixel, averaged over the smoothing window.
    mean = np.maximum(np.asarray(counts.mean(axis=0)).ravel(), 1e-6 * typical / counts.shape[1])
    information = (spectra / mean) @ spectra.T
    window = max(4 * np.pi * sigma**2, 1.0)
    noise = np.sqrt(np.diag(np.linalg.pinv(information)) / window)
    low, high = np.zeros((k, k)), np.zeros((k, k))
    binned = uniform_filter1d(spectra, _WINDOW, axis=1, mode="nearest")
    for c in range(k):
        spread = np.sqrt(np.maximum(binned[c], 0) / _WINDOW / max(held[c], 1.0))
        present = smooth[c] > 5 * noise[c]
        for d in range(k):
            if d == c:
                continue
            if present.any():
                most = (smooth[d][present] + _NOISE * noise[d]) / smooth[c][present]
                high[c, d] = max(float(np.quantile(most, 0.01)), 0.0)
            usable = binned[d] > 1e-2 * binned[d].max()
            room = (binned[c][usable] + _NOISE * spread[usable]) / binned[d][usable]
            low[c, d] = -min(max(float(room.min()), 0.0), 0.99)
    degrees = [
        np.array(
            [
                [_angle(spectra[c], spectra[c] + g[c, d] * spectra[d]) for d in range(k)]
                for c in range(k)
            ]
        )
        for g in (low, high)
    ]
    return Indeterminacy(low, high, degrees[0], degrees[1])


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    b = np.maximum(b, 0)
    size = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.degrees(np.arccos(np.clip(a @ b / size, -1, 1)))) if size > 0 else 0.0
