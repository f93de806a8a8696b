"""Pixels, channels and single values that no specimen and no counting can give.

Among them are counts that reached the largest number that their type can hold.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from scipy.ndimage import maximum_filter

from siftem.counting.door import as_counted
from siftem.energy_axis import EnergyAxis
from siftem.errors import DoubtWarning, SiftemWarning
from siftem.spectrum_image import SpectrumImage

#: What is so much larger than all that it is compared with ...
_TIMES = 4.0
#: ... and larger by so many counts besides, is none of them.
_MORE = 20.0
#: Pixels with as much, anywhere in the map, that make it part of the specimen.
_ALIKE = 3
#: Spikes that one pixel may have.
_SPIKES = 2
#: Share of the pixels that may be outliers.
_RARE = 1e-3
#: Channels in the width of a line from which on its neighbours must show it, too: two
#: neighbours of the peak of a Gaussian hold half of it then, or 84% with four.
_BROAD, _WELL_SAMPLED = 2.0, 4.0
#: A dead channel has less than this share of its neighbours, which hold at least so much.
_DEAD, _FILLED = 0.2, 200.0
#: FWHM^2 = (130 eV)^2 + 2.33 eV^2/eV (E - 5.895 keV), in keV (Fiori & Newbury 1978).
_FWHM_MN, _SLOPE, _MN = 0.130, 2.33e-3, 5.895
_RING = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)


@dataclass(frozen=True)
class Outliers:
    """What stands out of an X-ray map.

    Parameters
    ----------
    pixels : ndarray of int, shape (n,)
        Rows of pixels that are far brighter than all others.
    channels : ndarray of int, shape (n,)
        Channels that are far above or below both neighbours in the spectrum of all pixels.
    cells : ndarray of int, shape (n,)
        Positions in ``counts.data`` of single values.
    """

    pixels: np.ndarray
    channels: np.ndarray
    cells: np.ndarray

    def __bool__(self) -> bool:
        return bool(self.pixels.size or self.channels.size or self.cells.size)


def find_outliers(si: SpectrumImage) -> Outliers:
    """Look for bright pixels, bad channels and spikes (cosmic rays, readout) in an X-ray map.

    A pixel is one when it has four times the counts of its eight neighbours, and hardly any
    pixel of the map has as many. A single value is one when neither the channels beside it
    (lines are broader) nor the pixels beside it nor those elsewhere come near it. A channel
    is one when both its neighbours tell otherwise. Poisson counts are none of this at any dose.

    Parameters
    ----------
    si : SpectrumImage
        Counts in memory, without the zero peak.
    """
    counts = si.counts
    rows = np.repeat(np.arange(si.n_pixels), np.diff(counts.indptr))
    cells = _spikes(counts, rows, si.shape, si.axis)
    # A bright pixel has many; one with a spike or two is not bright for that.
    cells = cells[np.bincount(rows[cells], minlength=si.n_pixels)[rows[cells]] <= _SPIKES]
    totals = si.total_map().ravel()
    np.subtract.at(totals, rows[cells], counts.data[cells])
    pixels = _bright_pixels(totals.reshape(si.shape))
    cells = cells[~np.isin(rows[cells], pixels)]
    spectrum = si.sum_spectrum()
    if pixels.size:
        spectrum -= si.sum_spectrum(pixels)
    np.subtract.at(spectrum, counts.indices[cells], counts.data[cells])
    channels = _bad_channels(spectrum, si.axis)
    return Outliers(pixels, channels, cells[~np.isin(counts.indices[cells], channels)])


def without_outliers(si: SpectrumImage) -> SpectrumImage:
    """Leave out what stands out of an X-ray map, with a note of what and where.

    Parameters
    ----------
    si : SpectrumImage
        Counts without the zero peak. Other signals, and maps on disk, are returned unchanged.

    Returns
    -------
    SpectrumImage
        Bright pixels are empty; spikes and bad channels have the counts of the channels beside.
    """
    if not (si.signal_type.startswith("EDS") and sp.issparse(si.counts)):
        return si
    found = find_outliers(si)
    if not found:
        return si
    counts = sp.csr_array(si.counts, copy=True)
    notes = []
    rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    if found.cells.size:
        where = [(rows[i], counts.indices[i], counts.data[i]) for i in found.cells]
        told = ", ".join(
            f"{value:g} at {si.axis.centers[c]:.4g} {si.axis.unit} in pixel {_place(p, si.shape)}"
            for p, c, value in where[:3]
        )
        notes.append(
            f"{_number(len(where), 'single value')} far above all around (cosmic ray or readout) "
            f"left out: {told}{', ...' if len(where) > 3 else ''}"
        )
        for i, (p, c, _) in zip(found.cells, where, strict=True):
            beside = [counts[p, k] for k in (c - 1, c + 1) if 0 <= k < si.n_channels]
            counts.data[i] = np.rint(np.mean(beside))
    if found.pixels.size:
        totals = si.total_map().ravel()
        told = ", ".join(
            f"{_place(p, si.shape)} with {totals[p]:.3g} counts" for p in found.pixels[:3]
        )
        notes.append(
            f"{_number(found.pixels.size, 'pixel')} far brighter than all others left out (y, x): "
            f"{told}{', ...' if found.pixels.size > 3 else ''}"
        )
        counts.data[np.isin(rows, found.pixels)] = 0
    if found.channels.size:
        told = ", ".join(f"{si.axis.centers[c]:.4g}" for c in found.channels[:3])
        notes.append(
            f"{_number(found.channels.size, 'channel')} at {told} {si.axis.unit} far from both "
            f"neighbours: filled with their counts"
        )
        counts = _channels_filled(counts, found.channels)
    counts.eliminate_zeros()
    return replace(si, counts=counts, notes=(*si.notes, *notes))


def emptied(si: SpectrumImage, pixels: np.ndarray, note: str) -> SpectrumImage:
    """Return the map without the counts of some pixels (rows), and with a note."""
    counts = _without_rows(si.counts, pixels)
    return replace(si, counts=counts, notes=(*si.notes, note))


def _bright_pixels(totals: np.ndarray) -> np.ndarray:
    if min(totals.shape) < 3:
        return np.zeros(0, int)
    around = maximum_filter(totals, footprint=_RING, mode="reflect")
    alike = min(max(_ALIKE, int(_RARE * totals.size)), totals.size - 1)
    usual = np.partition(totals.ravel(), -1 - alike)[-1 - alike]
    bright = totals > _TIMES * np.maximum(around, usual) + _MORE
    return np.flatnonzero(bright)


def _bad_channels(spectrum: np.ndarray, axis: EnergyAxis) -> np.ndarray:
    """Channels of the spectrum of all pixels that differ from both neighbours."""
    kev = axis.to_kev()
    lower, upper = spectrum[:-2], spectrum[2:]
    higher, least = np.maximum(lower, upper), np.minimum(lower, upper)
    middle = spectrum[1:-1]
    hot = middle > _TIMES * higher + _MORE
    # Beside a hot channel any other looks low.
    dead = (middle < _DEAD * least) & (least > _FILLED) & (higher < _TIMES * least)
    sampled = _width(kev.centers[1:-1]) > _WELL_SAMPLED * kev.scale
    return 1 + np.flatnonzero((hot | dead) & sampled)


def _spikes(
    counts: sp.csr_array, rows: np.ndarray, shape: tuple[int, int], axis: EnergyAxis
) -> np.ndarray:
    """Positions in ``counts.data`` of values far above those around."""
    data, columns = counts.data, counts.indices
    if not data.size:
        return np.zeros(0, int)
    kev = axis.to_kev()
    broad = _width(kev.centers) > _BROAD * kev.scale
    key = rows * np.int64(counts.shape[1]) + columns
    follows = np.zeros(data.size, bool)
    follows[1:] = (key[1:] == key[:-1] + 1) & (columns[1:] > 0)
    beside = np.zeros(data.size)
    beside[1:] = np.where(follows[1:], data[:-1], 0)
    beside[:-1] = np.maximum(beside[:-1], np.where(follows[1:], data[1:], 0))
    beside[~broad[columns]] = 0
    doubtful = np.flatnonzero(data > _TIMES * beside + _MORE)
    by_channel = counts.tocsc() if doubtful.size else None
    nx = shape[1]
    found = []
    for i in doubtful:
        assert by_channel is not None
        own = slice(by_channel.indptr[columns[i]], by_channel.indptr[columns[i] + 1])
        y, x = divmod(int(rows[i]), nx)
        there, values = by_channel.indices[own], by_channel.data[own]
        near = (abs(there // nx - y) <= 1) & (abs(there % nx - x) <= 1) & (there != rows[i])
        elsewhere = np.sort(values)[-1 - _ALIKE] if values.size > _ALIKE else 0
        reference = max(float(values[near].max(initial=0)), float(elsewhere))
        if data[i] > _TIMES * reference + _MORE:
            found.append(int(i))
    return np.array(found, int)


def _channels_filled(counts: sp.csr_array, channels: np.ndarray) -> sp.csr_array:
    """Give bad channels the counts of one neighbour in even pixels, of the other in odd ones."""
    columns = sp.lil_array(counts.T)
    odd = np.arange(counts.shape[0]) % 2 == 1
    for c in channels:
        lower = columns[[c - 1]].toarray().ravel()
        upper = columns[[c + 1]].toarray().ravel()
        columns[[c]] = np.where(odd, upper, lower)
    return sp.csr_array(columns.T.tocsr(), dtype=counts.dtype)


def _without_rows(counts: sp.csr_array, rows: np.ndarray) -> sp.csr_array:
    """Counts with some rows empty; entries of the others keep their order."""
    lengths = np.diff(counts.indptr)
    keep = np.ones(counts.shape[0], bool)
    keep[rows] = False
    entries = np.repeat(keep, lengths)
    ends = np.concatenate([[0], np.cumsum(np.where(keep, lengths, 0))])
    return sp.csr_array((counts.data[entries], counts.indices[entries], ends), shape=counts.shape)


def _width(energies: np.ndarray) -> np.ndarray:
    """FWHM of a line at some energies, keV; that of 0.1 keV below."""
    return np.sqrt(_FWHM_MN**2 + _SLOPE * (np.maximum(energies, 0.1) - _MN))


def _place(pixel: int, shape: tuple[int, int]) -> str:
    y, x = divmod(int(pixel), shape[1])
    return f"({y}, {x})"


def _number(n: int, what: str) -> str:
    return f"{n} {what}{'s' if n > 1 else ''}"


def checked_counts(si: SpectrumImage) -> SpectrumImage:
    """Return an X-ray map as counts without outliers, and warn of what was changed.

    What `siftem.load` and a run checked already is not changed again.

    Parameters
    ----------
    si : SpectrumImage
        Without the zero peak.

    Warns
    -----
    SiftemWarning
        One for each thing that was found.
    """
    found = without_outliers(as_counted(si, by_scatter=False))
    for note in found.notes[len(si.notes) :]:
        kind = DoubtWarning if note in found.doubts else SiftemWarning
        warnings.warn(note, kind, stacklevel=3)
    return found


#: Values at the top, and how many times the number of each value just below, make a pile.
_FEWEST, _PILE = 3, 5.0
#: Below the top, so wide a band is compared with it.
_BAND = 0.05
#: A type with fewer values than this is no detector's.
_SMALLEST = 63
#: Cells near the top whose neighbour lies near zero: lines are broader than that.
_NEAR_TOP, _NEAR_ZERO = 0.9, 0.15
#: Share of the cells near the top that does so in wrapped data.
_WRAPPED = 0.03


class FullScale:
    """Collects what lies at the top of the range, block by block.

    Small integers are cut off at their top (255, 4095, 65535) or wrapped round to zero, in the
    detector's electronics or by a program that exported them.
    """

    def __init__(self) -> None:
        self._top = 0
        self._largest = 0.0
        self._at_top = 0
        self._below = np.zeros(0)
        self._near_top = 0
        self._jumps = 0
        self._cells = 0

    def add(self, rows: np.ndarray, columns: np.ndarray, values: np.ndarray, cells: int) -> None:
        """Look at the non-zero values of a block, sorted by row and channel.

        Parameters
        ----------
        rows, columns, values : ndarray of shape (n,)
        cells : int
            Of the block, with those that are zero.
        """
        self._cells += cells
        if not values.size:
            return
        largest = float(values.max())
        self._largest = max(self._largest, largest)
        top = _top_of(values.dtype, largest)
        if top == 0 or top < self._top:
            return
        if top > self._top:
            self._top, self._at_top, self._near_top, self._jumps = top, 0, 0, 0
            self._below = np.zeros(max(int(_BAND * top), 1))
        self._at_top += int((values == top).sum())
        depth = top - values[(values < top) & (values >= top - self._below.size)].astype(np.int64)
        self._below += np.bincount(depth - 1, minlength=self._below.size)
        high = np.flatnonzero(values >= _NEAR_TOP * top)
        self._near_top += high.size
        self._jumps += int(_beside_zero(high, rows, columns, values, _NEAR_ZERO * top).sum())

    def doubts(self) -> tuple[str, ...]:
        """Say what was found; empty for counts that stay below their top."""
        if not self._top or self._largest > self._top:
            return ()
        bits = int(self._top + 1).bit_length() - 1
        what = f"{self._top}, the largest number of {bits} bits"
        share = 100 * self._at_top / max(self._cells, 1)
        remedy = "spectra, compositions and errors are wrong: export the counts with more bits"
        if self._at_top >= _FEWEST and self._at_top > _PILE * (self._below.mean() + 1):
            return (
                f"{share:.2g}% of the values stand at {what}: counts are cut off there, {remedy}",
            )
        if self._near_top >= 20 and self._jumps > _WRAPPED * self._near_top:
            return (
                f"values near {what}, stand beside values near zero: counts beyond it were wrapped "
                f"round, {remedy}",
            )
        return ()


def _top_of(dtype: np.dtype, largest: float) -> int:
    """The largest number that the type, or the converter before it, can hold; 0 for none."""
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        top = int(np.iinfo(dtype).max)
        if largest >= _NEAR_TOP * top:
            return top
    # Stored in a wider type later: the top shows in the values alone.
    whole = int(largest)
    return whole if largest >= _SMALLEST and whole == largest and not whole & (whole + 1) else 0


def _beside_zero(
    high: np.ndarray, rows: np.ndarray, columns: np.ndarray, values: np.ndarray, low: float
) -> np.ndarray:
    """Whether a channel beside each of some values is low (or holds nothing at all)."""
    out = np.zeros(high.size, bool)
    for step in (-1, 1):
        beside = np.clip(high + step, 0, values.size - 1)
        stored = (rows[beside] == rows[high]) & (columns[beside] == columns[high] + step)
        inner = (columns[high] + step >= 0) & (columns[high] < columns.max())
        out |= np.where(stored, values[beside] <= low, inner)
    return out
