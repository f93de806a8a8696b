"""Counts that reached the largest number their type can hold."""

from __future__ import annotations

import numpy as np

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
