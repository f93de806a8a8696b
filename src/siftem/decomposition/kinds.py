"""How many kinds of spectra the pixels of a map show, by what neighbours have in common.

Neighbouring pixels share their phases but not their noise. How windows of the spectrum differ from
the mean of the map, multiplied between neighbours and summed over all pairs, is a matrix that
counting noise leaves at zero: each of its eigenvalues that stands out is one more way in which
spectra differ from place to place. Mixtures of k spectra differ in k - 1 ways. No pixel needs to
tell anything alone, so that phases show at a few counts a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter

from siftem.counting.outliers import checked_counts
from siftem.decomposition.initialise import pooled_squares
from siftem.decomposition.shared_work import share_out
from siftem.hyperspy_input import as_map
from siftem.machine import available
from siftem.spectrum_image import SpectrumImage

#: Windows of the spectrum, half of them of one width, the others where there are more counts, and
#: the fewest counts of one.
_WINDOWS, _COUNTS_IN_WINDOW = 80, 100.0
#: Distances of neighbours, in pixels: of fine grains and of large ones.
_NEAR = (1.2, 3.0)
#: Maps of noise, and the standard deviations of their largest eigenvalues by which one
#: must exceed these.
_NOISE_MAPS, _CLEAR = 10, 5.0
#: Differences below this part (root mean square) are absorption, drift or stray counts.
_SMALL = 0.025
#: Differences below this part that follow a thickness which varies much are absorption, too:
#: the factor between the thickest and the thinnest tenth, the part that thickness explains,
#: and the pixels by which it is smoothed.
_SOFT, _THICKER, _EXPLAINED, _SMOOTH = 0.1, 2.0, 0.9, 4.0
#: Larger maps are pooled to this many pixels.
_MOST_PIXELS = 30_000


@dataclass(frozen=True)
class Kinds:
    """Ways in which the spectra of a map differ.

    Parameters
    ----------
    differences : tuple of float
        Root mean square over the map of each way, relative to the mean spectrum; falling.
    by_thickness : tuple of float
        Those left out, which follow the thickness as absorption does.
    """

    differences: tuple[float, ...]
    by_thickness: tuple[float, ...] = ()

    @property
    def n_components(self) -> int:
        """Spectra whose mixtures differ like this."""
        return 1 + len(self.differences)

    @property
    def message(self) -> str:
        """What was found, for the reader."""
        n = self.n_components
        text = f"{n} component{'s' * (n > 1)}: "
        if n == 1:
            text += "spectra of neighbours have nothing in common but their mean"
        else:
            parts = ", ".join(f"{100 * d:.2g}%" for d in self.differences)
            ways = "1 way" if n == 2 else f"{n - 1} ways"
            text += f"spectra differ from place to place in {ways}, by {parts} (rms)"
        if self.by_thickness:
            parts = ", ".join(f"{100 * d:.2g}%" for d in self.by_thickness)
            text += f"; {parts} more follow the thickness, as absorption does"
        return text


def count_kinds(si: SpectrumImage, *, random_state: int = 0) -> Kinds:
    """Count the ways in which spectra differ from place to place.

    Parameters
    ----------
    si : SpectrumImage
        Counts. Beyond 30,000 pixels neighbours are pooled.
    random_state : int
        Seed of the maps of noise.

    Returns
    -------
    Kinds

    Examples
    --------
    >>> phantom = siftem.simulate_demo((48, 48), dose=300)
    >>> kinds = siftem.count_kinds(phantom.spectrum_image.without_zero_peak())
    >>> kinds.n_components == 1 + len(kinds.differences)
    True
    """
    si = checked_counts(as_map(si))
    counts, shape = si.counts, si.shape
    side = int(np.ceil(np.sqrt(si.n_pixels / _MOST_PIXELS)))
    counts = pooled_squares(counts, shape, side)
    shape = (-(-shape[0] // side), -(-shape[1] // side))
    windows = counts @ _windows(np.asarray(counts.sum(axis=0, dtype=np.float64)).ravel())
    rows = np.asarray(windows.todense(), dtype=np.float64)
    total = rows.sum(axis=1)
    if rows.shape[1] < 2 or not total.any():
        return Kinds(())
    mean = rows.sum(axis=0) / total.sum()
    scale = np.sqrt(np.maximum(mean, 1e-300))
    off = (rows - np.outer(total, mean)) / scale
    noise = [d / scale for d in _noise(rows, mean, random_state)]
    found = max((_directions(off, noise, total, shape, near) for near in _NEAR), key=_number)
    kept: list[float] = []
    absorbed: list[float] = []
    level = gaussian_filter(total.reshape(shape), _SMOOTH)
    for size, score in zip(*found, strict=True):
        image = gaussian_filter(score.reshape(shape), _SMOOTH)
        thickness = size < _SOFT and _follows(image, level)
        (absorbed if thickness else kept).append(float(size))
    return Kinds(tuple(kept), tuple(absorbed))


def _windows(whole: np.ndarray) -> sp.csr_array:
    """Matrix (channels, windows) that sums channels; no line takes most of the windows."""
    m = whole.size
    level = np.sqrt(np.maximum(whole, 0.0))
    level = np.cumsum(level + level.mean() + 1e-300)
    first = np.minimum((_WINDOWS * level / level[-1]).astype(int), _WINDOWS - 1)
    held = np.bincount(first, whole, _WINDOWS)
    into, last, sum_ = np.zeros(_WINDOWS, int), 0, 0.0
    for i in range(_WINDOWS):
        if sum_ >= _COUNTS_IN_WINDOW:
            last, sum_ = last + 1, 0.0
        into[i] = last
        sum_ += held[i]
    if sum_ < _COUNTS_IN_WINDOW and last > 0:
        into[into == last] = last - 1
    return sp.csr_array((np.ones(m), (np.arange(m), into[first])))


def _noise(rows: np.ndarray, mean: np.ndarray, random_state: int) -> list[np.ndarray]:
    """Draw maps of the counts' noise alone: each count with its sign by the toss of a coin.

    They have the mean 0, and in each pixel and window the variance of the counts.
    """
    rng = np.random.default_rng(random_state)
    whole = np.rint(rows).astype(np.int64)
    out = []
    for _ in range(_NOISE_MAPS):
        drawn = 2.0 * rng.binomial(whole, 0.5) - whole
        out.append(drawn - np.outer(drawn.sum(axis=1), mean))
    return out


def _number(found: tuple[np.ndarray, np.ndarray]) -> int:
    return found[0].size


def _directions(
    off: np.ndarray,
    noise: Sequence[np.ndarray],
    total: np.ndarray,
    shape: tuple[int, int],
    near: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Sizes (n,) of what neighbours have in common beyond noise, and its amounts (n, pixels)."""
    values, vectors = np.linalg.eigh(in_common(off, shape, near))
    values, vectors = values[::-1], vectors[:, ::-1]

    def largest_of(drawn: np.ndarray) -> float:
        return float(np.linalg.eigvalsh(in_common(drawn, shape, near))[-1])

    largest = share_out(largest_of, noise, available())
    pairs = float(in_common(total[:, None], shape, near)[0, 0])
    sizes = np.sqrt(np.maximum(values, 0.0) / max(pairs, 1e-300))
    clear = values > np.mean(largest) + _CLEAR * np.std(largest, ddof=1)
    clear &= sizes > _SMALL
    return sizes[clear], (off @ vectors[:, clear]).T


def in_common(images: np.ndarray, shape: tuple[int, int], near: float) -> np.ndarray:
    """Sum products of images between neighbouring pixels, a pixel with itself left out.

    Parameters
    ----------
    images : ndarray of shape (ny * nx, k)
        Whose noise is independent from pixel to pixel.
    shape : tuple of int
        (ny, nx).
    near : float
        Standard deviation of the distance of neighbours, in pixels.

    Returns
    -------
    ndarray of shape (k, k)
        Symmetric; noise alone has the mean 0.
    """
    reach = int(4 * near + 1)
    alone = np.zeros((2 * reach + 1,) * 2)
    alone[reach, reach] = 1.0
    itself = gaussian_filter(alone, near, mode="constant")[reach, reach]
    around = np.empty_like(images)
    for j in range(images.shape[1]):
        image = images[:, j].reshape(shape)
        smooth = gaussian_filter(image, near, mode="constant")
        around[:, j] = (smooth - itself * image).ravel()
    both = images.T @ around
    return np.asarray(0.5 * (both + both.T))


def _follows(image: np.ndarray, level: np.ndarray) -> bool:
    """Whether a difference is a function of a thickness that varies much."""
    there = level > 0.02 * level.max()
    thin, thick = np.quantile(level[there], [0.1, 0.9])
    if thick < _THICKER * thin:
        return False
    x = level[there] / level.max()
    share = image[there] / level[there]
    weight = np.sqrt(level[there])
    powers = np.stack([np.ones_like(x), x, x**2], axis=1)
    fit = np.linalg.lstsq(powers * weight[:, None], share * weight, rcond=None)[0]
    left = (weight * (share - powers @ fit)) ** 2
    whole = (weight * (share - np.average(share, weights=weight**2))) ** 2
    return bool(left.sum() < (1 - _EXPLAINED) * whole.sum())
