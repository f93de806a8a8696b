"""How much the values of a map scatter, compared with counts of the same mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

#: Counts in a cell (some pixels by some channels) at the least, if the values were counts.
_CELL_COUNTS = 10.0
#: Bins of channels with equal counts.
_BINS = 64
#: Blocks of pixels, at the least and at the most.
_FEWEST_BLOCKS, _MOST_BLOCKS = 40, 2500
#: Singular values beyond this polynomial of the aspect ratio, times their median, are signal
#: (Gavish & Donoho 2014, IEEE Trans. Inf. Theory 60, 5040).
_THRESHOLD = (0.56, -0.95, 1.82, 1.43)
#: Cells whose mean is below this share of the typical one are left out: their law is skew.
_WEAK = 0.2
#: Cells that are averaged before the median over the averages is taken.
_GROUP = 50


@dataclass(frozen=True)
class Scatter:
    """Variance over mean of sums over some pixels and channels.

    Parameters
    ----------
    gain : float
        1 for counts; g for counts that were multiplied by g; below 1 for means of frames.
    sigma : float
        Standard deviation, from the number of cells.
    side : int
        Pixels on a side of the blocks.
    """

    gain: float
    sigma: float
    side: int


def scatter_of(
    counts: sp.csr_array, shape: tuple[int, int], *, least_side: int = 1
) -> Scatter | None:
    """Compare the scatter of a map with that of counts.

    Pixels are summed in blocks and channels in bins, until a cell would hold ten counts. What
    a few components explain is taken off (scaled to even noise, Keenan & Kotula 2004, Surf.
    Interface Anal. 36, 203), and the squares of the rest are compared with the means. The
    median over groups of cells is taken, so that a bad pixel, or an edge that components
    don't follow, has no weight.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (ny * nx, channels)
        In what may be units of one count: a block then holds enough of them.
    shape : tuple of int
        (ny, nx).
    least_side : int
        Pixels on a side of a block at the least: more than smoothing or interpolation reaches.

    Returns
    -------
    Scatter or None
        None when the map is too small or too dark to tell.
    """
    total = float(counts.sum(dtype=np.float64))
    wanted = _BINS * _CELL_COUNTS * counts.shape[0] / max(total, 1e-300)
    side = max(least_side, int(np.ceil(np.sqrt(min(wanted, counts.shape[0])))))
    if (shape[0] // side) * (shape[1] // side) < _FEWEST_BLOCKS:
        side = least_side
    cells = _cells(counts, shape, side)
    if cells.shape[0] < _FEWEST_BLOCKS or cells.shape[1] < 8:
        return None
    if cells.shape[0] > _MOST_BLOCKS:
        cells = cells[:: -(-cells.shape[0] // _MOST_BLOCKS)]
    rows, columns = (_not_small(cells.mean(axis=i)) for i in (1, 0))
    scale = np.sqrt(np.outer(rows, columns) / rows.mean())
    u, s, v = np.linalg.svd(cells / scale, full_matrices=False)
    beta = min(cells.shape) / max(cells.shape)
    rank = int((s > np.polyval(_THRESHOLD, beta) * np.median(s)).sum())
    mean = (u[:, :rank] * s[:rank]) @ v[:rank] * scale
    # What the components take of the noise, row by row and bin by bin.
    kept = np.outer(1 - (u[:, :rank] ** 2).sum(axis=1), 1 - (v[:rank] ** 2).sum(axis=0))
    use = (kept > 0.25) & (mean > _WEAK * cells.mean())
    ratio = (cells - mean)[use] ** 2 / kept[use] / mean[use]
    groups = ratio.size // _GROUP
    if groups < 10:
        return None
    means = ratio[: groups * _GROUP].reshape(groups, _GROUP).mean(axis=1)
    # The squares of normal numbers have a variance of 2; a median has 1.57 times that of a mean.
    gain = float(np.median(means))
    return Scatter(gain, gain * float(np.sqrt(1.57 * 2 / ratio.size)), side)


def _cells(counts: sp.csr_array, shape: tuple[int, int], side: int) -> np.ndarray:
    """Sums over blocks of pixels and bins of channels, empty ones left out; (blocks, bins)."""
    ny, nx = shape
    by, bx = ny // side, nx // side
    y, x = np.divmod(np.arange(ny * nx), nx)
    inside = (y < by * side) & (x < bx * side)
    block = (y // side) * bx + x // side
    pixels = sp.csr_array(
        (np.ones(int(inside.sum())), (block[inside], np.flatnonzero(inside))),
        shape=(by * bx, ny * nx),
    )
    spectrum = np.asarray(counts.sum(axis=0, dtype=np.float64)).ravel()
    share = np.cumsum(spectrum) / max(spectrum.sum(), 1e-300)
    bins = np.minimum(share * _BINS * (1 - 1e-9), _BINS - 1).astype(int)
    channels = sp.csr_array(
        (np.ones(bins.size), (np.arange(bins.size), bins)), shape=(bins.size, _BINS)
    )
    cells = (pixels @ (counts.astype(np.float64) @ channels)).toarray()
    cells = cells[:, cells.any(axis=0)]
    return np.asarray(cells[cells.any(axis=1)])


def _not_small(means: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(means, 0.1 * np.median(means)))
