"""Numbers of an X-ray map brought back to counts, where they are not.

What one count was written as is the step of which all values are whole multiples, or else the
scatter of the values compared with that of counts of the same mean.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from siftem.spectrum_image import ZERO_PEAK_END, SpectrumImage

#: Values that are looked at first; most maps are told by them.
_FIRST = 20_000
#: Fewer values than this tell nothing.
_FEWEST = 50
#: A multiple may miss a whole number by this much. By chance, n values all do so with a
#: probability of (2 * 0.02)^n.
_MISS = 0.02
#: Relative rounding of a stored value: float32, after a division or two.
_ROUNDING = 4e-7
#: The smallest distinct values, of which the step is made; larger ones bear more rounding.
_DISTINCT = 500
#: Rows that decide whether each row has a step of its own.
_ROWS = 400
#: Non-zero values of a row that let it speak.
_ROW_VALUES = 6
#: Of those rows, as many must have a step.
_MOST_ROWS = 0.99


def common_step(values: np.ndarray, *, fewest: int = _FEWEST) -> float:
    """Return the largest step of which all values are whole multiples.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Positive; integer or float. Rounding of single precision is allowed for.
    fewest : int
        Values that are needed.

    Returns
    -------
    float
        1 for plain counts; 100 for counts that were multiplied by it; 1/16 for the mean of 16
        frames. 0 when there is none (interpolated or smoothed values), or too few values.
    """
    if values.size < fewest:
        return 0.0
    first = values[:: max(1, values.size // _FIRST)]
    if values.dtype.kind in "iu":
        divisor = int(np.gcd.reduce(first))
        return float(divisor if divisor == 1 else np.gcd.reduce(values))
    step = _real_step(np.unique(first.astype(np.float64)))
    for _ in range(2):
        if step == 0.0:
            return 0.0
        # Small multiples hardly suffer from rounding: they tell the step of the large ones.
        multiples = np.rint(values / step)
        step = float(values @ multiples / (multiples @ multiples))
    multiples = values / step
    missed = np.abs(multiples - np.rint(multiples))
    return step if (missed <= _MISS + _ROUNDING * multiples).all() else 0.0


def row_steps(counts: sp.csr_array) -> np.ndarray | None:
    """Return the step of each row, when rows have steps of their own.

    So it is where each pixel was divided by its own sum, live time or current.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (pixels, channels)

    Returns
    -------
    ndarray of shape (pixels,) or None
        1 for empty rows; None when not nearly all rows have a step.
    """
    filled = np.flatnonzero(np.diff(counts.indptr) >= _ROW_VALUES)
    if filled.size < _FEWEST:
        return None
    some = filled[:: max(1, filled.size // _ROWS)]
    values = [_row(counts, int(i)) for i in some]
    # Rows whose values are all the same would fit any step: they say nothing.
    told = [v for v in values if v.max() > 1.5 * v.min()]
    steps = np.array([common_step(v, fewest=_ROW_VALUES) for v in told])
    if steps.size < _FEWEST or (steps > 0).mean() < _MOST_ROWS:
        return None
    out = np.ones(counts.shape[0])
    for i in np.flatnonzero(np.diff(counts.indptr)):
        row = _row(counts, int(i))
        out[i] = common_step(row, fewest=1) or row.min()
    return out


def _row(counts: sp.csr_array, i: int) -> np.ndarray:
    return np.asarray(counts.data[counts.indptr[i] : counts.indptr[i + 1]])


def _real_step(values: np.ndarray) -> float:
    """Greatest common divisor of sorted distinct reals; 0 when it drowns in rounding."""
    step = float(values[0])
    for value in values[1:_DISTINCT]:
        rounding = 4 * _ROUNDING * float(value)
        larger = float(value)
        while step > rounding:  # Euclid
            larger, step = step, abs(larger - step * round(larger / step))
        step = larger
        if step <= 50 * rounding:
            return 0.0
    return step


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


#: Variances over means between these are those of counts: components that don't follow the
#: data add to it, and correlated channels take some off. Within, errors are right to 25%.
_LOW, _HIGH = 0.6, 1.6
#: Standard deviations that a scale has to differ by.
_CLEAR = 5.0
#: No X-ray detector counts so many in a pixel: what scatters less was denoised.
_MOST_IN_A_PIXEL = 3e5
#: Share of the cells that hold the smallest value exactly: it then stands for no counts.
_OFFSET_SHARE = 0.05
#: Side of blocks that smoothing and interpolation hardly reach across, and how many there
#: should be.
_WIDE, _BLOCKS = 8, 40
#: Wider blocks scatter so much more where neighbours share noise.
_SHARED = 1.15
#: Where wider blocks still scatter so much more, noise reaches beyond any of them.
_REACHES_FAR = 1.3
#: Rounding of a file leaves whole numbers of counts within this.
_NEARLY = 0.25
#: Values that were due are missing from so many on, where so small a share of them is there; such
#: large ones are not looked at.
_DUE, _FELL, _LARGEST = 20.0, 0.2, 1e6
_CUT_OFF = (
    "far fewer values than counts would have lie beyond {last}: counts are cut off or wrapped "
    "round there. Spectra, compositions and errors are wrong: export the counts with more bits"
)
#: By this all notes of this module begin: what has one is not looked at again.
_NOTE = "counts: "


def as_counted(si: SpectrumImage, *, by_scatter: bool = True) -> SpectrumImage:
    """Bring an X-ray map to counts, with a note, when its numbers are something else.

    All errors rest on the counts: a map that was multiplied by 100 has errors that are ten
    times too small. Plain counts have the step 1 and, apart from a few components, a variance
    that is their mean. Numbers with another common step (counts times 100, means of 16 frames,
    a map scaled to a maximum of 1), or with a step of their own in each pixel (spectra scaled to
    a sum of 1, rates), are divided by it. Where there is no step (interpolated frames), the
    scatter of sums over blocks of pixels tells what one count was.

    Parameters
    ----------
    si : SpectrumImage
        As read. Other kinds of signal and maps on disk are returned unchanged.
    by_scatter : bool
        False looks for steps only, which costs next to nothing.

    Returns
    -------
    SpectrumImage
        The same object when it holds counts.
    """
    if not (si.signal_type.startswith("EDS") and sp.issparse(si.counts) and si.counts.nnz):
        return si
    if any(note.startswith(_NOTE) for note in si.notes):
        return si
    counts, offset = _without_offset(si.counts)
    # The zero peak is no Poisson noise, whatever its unit.
    beyond = si.axis.to_kev().centers >= ZERO_PEAK_END
    seen = sp.csr_array(counts[:, int(np.argmax(beyond)) :])
    if not (beyond.any() and seen.nnz):
        return si
    unit, scale, doubtful = _unit_of(seen, si.shape, by_scatter=False)
    last = 0 if np.ndim(unit) else _last_value(seen.data / unit)
    cut = _CUT_OFF.format(last=last) if last else ""
    if by_scatter and not cut:  # what is cut off scatters less
        unit, scale, doubtful = _unit_of(seen, si.shape, by_scatter)
    notes = [_NOTE + text for text in (offset, scale, cut) if text]
    if not notes:
        return si
    doubts = (*si.doubts, *(_NOTE + t for t in (scale, cut) if t and (doubtful or t is cut)))
    return replace(si, counts=_divided(counts, unit), notes=(*si.notes, *notes), doubts=doubts)


def _last_value(values: np.ndarray) -> int:
    """The value at which counts are cut off or wrapped round; 0 where they end as counts do.

    Of counts with any means, (k + 1) n(k + 1) / n(k) never falls with k, where n(k) values are k:
    by it those at k and k - 1 tell how many at least are k + 1.
    """
    whole = np.rint(values)
    if values.size < _FEWEST or np.abs(values - whole).max() > _MISS or whole.max() > _LARGEST:
        return 0
    seen = np.bincount(whole.astype(np.int64))
    k = np.arange(2, seen.size)
    beyond = seen.sum() - np.cumsum(seen)[2:]
    fewest = np.maximum(seen[2:] - 3 * np.sqrt(seen[2:]), 0.0)
    most = seen[1:-1] + 3 * np.sqrt(seen[1:-1]) + 3.0
    due = fewest**2 / most * k / (k + 1)
    # One pixel that was multiplied has values with gaps between them.
    short = np.flatnonzero((due > _DUE) & (beyond < _FELL * due) & (seen[1:-1] > 0))
    return int(k[short[0]]) if short.size else 0


def _unit_of(
    counts: sp.csr_array, shape: tuple[int, int], by_scatter: bool
) -> tuple[float | np.ndarray, str, bool]:
    """What one count was written as, in all or in each pixel; a note; whether it is a doubt."""
    whole = bool(counts.dtype.kind in "iu" or (counts.data == np.rint(counts.data)).all())
    step = common_step(counts.data)
    if step == 0.0 and whole:  # too few to tell
        step = 1.0
    unit: float | np.ndarray = step
    text = "" if step == 1.0 else f"all values are multiples of {step:.6g}: divided by it"
    if step == 0.0:
        steps = row_steps(counts)
        unit = 0.0 if steps is None else steps
        text = (
            "the values of each pixel are multiples of a number of its own (its sum, live time "
            "or current): divided by it"
        )
    if np.any(unit) and (not by_scatter or _plausible(_divided(counts, unit), shape)):
        return unit, text, False
    return _unit_by_scatter(counts, shape, whole) if by_scatter else (1.0, "", False)


def _plausible(counts: sp.csr_array, shape: tuple[int, int]) -> bool:
    """Whether values scatter like counts, or can't tell."""
    found = scatter_of(counts, shape)
    return found is None or _like_counts(found.gain, found.sigma)


def _like_counts(gain: float, sigma: float) -> bool:
    return _LOW < gain < _HIGH or abs(gain - 1) < _CLEAR * sigma


def _unit_by_scatter(
    counts: sp.csr_array, shape: tuple[int, int], whole: bool
) -> tuple[float, str, bool]:
    """Gain of sums over blocks so large that noise shared by neighbours lies within them."""
    kind = "the values" if whole else "the values are no whole numbers and"
    sides = range(2, _WIDE + 1)
    widest = max((s for s in sides if (shape[0] // s) * (shape[1] // s) >= _BLOCKS), default=1)
    tries = [scatter_of(counts, shape, least_side=s) for s in (1, widest // 2, widest) if s]
    found = [scatter for scatter in tries if scatter is not None]
    if not found:
        if whole:
            return 1.0, "", False
        told = (
            "the values are no whole numbers, and the map is too small to tell what one count is: "
            "error bars hold only if it is 1; use the raw counts"
        )
        return 1.0, told, True
    gain, sigma, far = found[0].gain, found[0].sigma, False
    wide, narrow = found[-1], found[-2] if len(found) > 1 else found[-1]
    if wide.gain > _SHARED * gain and wide.side > narrow.side:
        # Neighbours share noise. What is cut at the rims of blocks falls with their side.
        apart = wide.side - narrow.side
        gain = (wide.side * wide.gain - narrow.side * narrow.gain) / apart
        sigma = 2 * wide.side / apart * wide.sigma
        far = gain > _REACHES_FAR * wide.gain
    total = float(counts.sum(dtype=np.float64)) / counts.shape[0]
    if not gain * _MOST_IN_A_PIXEL > total:
        told = (
            f"{kind} scatter far less than counts do (denoised, reconstructed or simulated without "
            f"noise): error bars mean nothing; use the raw counts"
        )
        return 1.0, told, True
    if far:
        told = (
            f"{kind} share noise over many pixels (smoothed): error bars can't be known; use the "
            f"raw counts"
        )
        return 1.0, told, True
    if _like_counts(gain, sigma):
        told = (
            f"{kind} share noise with their neighbours (interpolated, drift-corrected or "
            f"smoothed): sums over regions have the errors of counts, single pixels smaller ones, "
            f"and too many components may be found; the raw counts are better"
        )
        return 1.0, told, False
    told = (
        f"{kind} scatter like counts times {gain:.3g} +- {sigma:.1g} (scaled, or a mean of "
        f"frames): divided by it, so that error bars hold; the raw counts are better"
    )
    return gain, told, False


def _without_offset(counts: sp.csr_array) -> tuple[sp.csr_array, str]:
    """Take off a constant that all cells hold, and say so."""
    if counts.nnz < counts.shape[0] * counts.shape[1] or counts.nnz == 0:
        return counts, ""
    lowest = counts.data.min()
    # Counts that are never 0 are hardly ever as low as their lowest value.
    if (counts.data == lowest).mean() < _OFFSET_SHARE or lowest == counts.data.max():
        return counts, ""
    out = sp.csr_array(counts, copy=True)
    out.data -= lowest
    out.eliminate_zeros()
    return out, f"an offset of {lowest:g} in each channel of each pixel was taken off"


def _divided(counts: sp.csr_array, unit: float | np.ndarray) -> sp.csr_array:
    """Counts in another unit, as whole numbers where they are."""
    if np.ndim(unit) == 0 and unit == 1.0:
        return counts
    by = np.repeat(unit, np.diff(counts.indptr)) if np.ndim(unit) else unit
    data = counts.data / by
    whole = np.rint(data)
    if np.abs(data - whole).max(initial=0.0) < _NEARLY and whole.max(initial=0.0) < 2**31:
        data = whole.astype(np.int32)
    out = sp.csr_array((data, counts.indices, counts.indptr), shape=counts.shape)
    out.eliminate_zeros()
    return out
