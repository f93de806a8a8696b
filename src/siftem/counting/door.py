"""Numbers of an X-ray map brought back to counts, where they are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from siftem.counting.grid import common_step, row_steps
from siftem.counting.scatter import scatter_of
from siftem.spectrum_image import ZERO_PEAK_END, SpectrumImage

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
    unit, scale, doubtful = _unit_of(seen, si.shape, by_scatter)
    notes = [_NOTE + text for text in (offset, scale) if text]
    if not notes:
        return si
    doubts = (*si.doubts, _NOTE + scale) if doubtful else si.doubts
    return replace(si, counts=_divided(counts, unit), notes=(*si.notes, *notes), doubts=doubts)


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
