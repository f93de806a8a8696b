"""Counts on their way from blocks of a cube to compressed sparse rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from siftem.counting.outliers import FullScale
from siftem.errors import InputError, ReadError
from siftem.machine import available_memory

_LARGEST_INT32 = np.iinfo(np.int32).max
#: Above this, neighbouring whole numbers are no longer distinct in float64.
_LARGEST_EXACT_FLOAT = 2.0**53
#: Channel and value of an entry, while blocks become one array.
_BYTES_PER_ENTRY = 16


class CountsBuilder:
    """Collects blocks of pixels and turns them into one sparse array.

    Blocks may come in any order, each pixel exactly once; those in scan order cost
    the least. Only non-zero counts are kept, so the memory needed is that of the
    sparse result plus one block.

    Parameters
    ----------
    n_pixels : int
        Rows of the result.
    n_channels : int
        Columns of the result.
    reverse : bool
        Whether the channels come from high to low energy and have to be turned round.
    most : int, optional
        More values than this that are not zero can't be in the file.
    """

    def __init__(
        self, n_pixels: int, n_channels: int, *, reverse: bool = False, most: int | None = None
    ) -> None:
        self.n_pixels = n_pixels
        self.n_channels = n_channels
        self._reverse = reverse
        self._most = most
        self._entries = 0
        self._room = available_memory()
        self._pixels: list[np.ndarray] = []
        self._per_pixel: list[np.ndarray] = []
        self._columns: list[np.ndarray] = []
        self._values: list[np.ndarray] = []
        self._whole = True
        self._largest = 0.0
        self._not_finite = 0
        self._negative = 0
        self._lowest = 0.0
        self._full_scale = FullScale()

    def add(self, pixels: np.ndarray, block: Any) -> None:
        """Add the spectra of some pixels.

        Parameters
        ----------
        pixels : ndarray of int, shape (p,)
            Row of each pixel in the result.
        block : ndarray or sparse.COO of shape (p, channels)
            Their counts; integer, boolean or float.

        Raises
        ------
        InputError
            When the data are complex, text or objects.
        ReadError
            When there are more values than can be, or than fit into memory.
        """
        if np.dtype(block.dtype).kind not in "uibf":
            raise InputError(
                f"the counts must be real numbers, got dtype {block.dtype}"
                + (": take their magnitude first" if np.dtype(block.dtype).kind == "c" else "")
            )
        if hasattr(block, "coords"):  # sparse.COO; its coordinates come sorted by row
            rows, columns = block.coords
            values = np.asarray(block.data)
            if self._reverse:
                columns = self.n_channels - 1 - columns
                order = np.lexsort((columns, rows))
                rows, columns, values = rows[order], columns[order], values[order]
        else:
            if self._reverse:
                block = block[:, ::-1]
            flat = np.flatnonzero(block != 0)  # of truth values: several times sooner
            values = block.reshape(-1)[flat]
            rows, columns = np.divmod(flat, self.n_channels)
        rows, columns, values = self._without_bad(rows, columns, values)
        self._full_scale.add(rows, columns, values, len(pixels) * self.n_channels)
        if values.size:
            self._largest = max(self._largest, float(values.max()))
            if values.dtype.kind == "f" and self._whole:
                self._whole = bool((values == np.rint(values)).all())
        self._entries += values.size
        self._refuse_too_many()
        self._pixels.append(np.asarray(pixels))
        self._per_pixel.append(np.bincount(rows, minlength=len(pixels)))
        self._columns.append(columns.astype(np.int32))
        self._values.append(values)

    def result(self) -> tuple[sp.csr_array, tuple[str, ...]]:
        """Return the sparse counts and what should be noted about them.

        Whole numbers become int32, or int64 when one exceeds the range of int32,
        whatever type they were stored in; anything else becomes float64.

        Returns
        -------
        counts : scipy.sparse.csr_array of shape (n_pixels, n_channels)
            With sorted column indices and no stored zeros.
        doubts : tuple of str
            What puts them in doubt: values cut off or wrapped round at the top of their type.

        Raises
        ------
        InputError
            When some counts are negative, NaN or infinite; it says how many.
        """
        self._refuse_bad()
        whole = self._whole and self._largest <= _LARGEST_EXACT_FLOAT
        dtype: type[np.generic] = np.float64
        if whole:
            dtype = np.int32 if self._largest <= _LARGEST_INT32 else np.int64
        doubts = self._full_scale.doubts()
        pixels = _joined(self._pixels, np.int64)
        per_pixel = _joined(self._per_pixel, np.int64)
        if not np.array_equal(np.sort(pixels), np.arange(self.n_pixels)):
            raise AssertionError("every pixel must be added exactly once")
        row_ends = np.zeros(self.n_pixels + 1, dtype=np.int64)
        np.cumsum(per_pixel, out=row_ends[1:])
        if row_ends[-1] <= _LARGEST_INT32:
            row_ends = row_ends.astype(np.int32)
        columns, values = _joined(self._columns, np.int32), _joined(self._values, dtype)
        if row_ends.dtype == np.int64:  # scipy wants one index type
            columns = columns.astype(np.int64)
        counts = sp.csr_array((values, columns, row_ends), shape=(self.n_pixels, self.n_channels))
        if not np.array_equal(pixels, np.arange(self.n_pixels)):
            counts = counts[np.argsort(pixels)]
        return counts, doubts

    def _without_bad(
        self, rows: np.ndarray, columns: np.ndarray, values: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Count and drop what is not a count; ``result`` refuses the whole afterwards."""
        bad = np.zeros(values.shape, dtype=bool)
        if values.dtype.kind == "f":
            bad = ~np.isfinite(values)
            self._not_finite += int(bad.sum())
        if values.dtype.kind in "if" and values.size:
            negative = values < 0
            if negative.any():
                finite = values[negative & ~bad]
                if finite.size:
                    self._negative += int(finite.size)
                    self._lowest = min(self._lowest, float(finite.min()))
                bad |= negative
        if bad.any():
            rows, columns, values = rows[~bad], columns[~bad], values[~bad]
        return rows, columns, values

    def _refuse_too_many(self) -> None:
        refuse_bloated(self._entries, self._most)
        needed = _BYTES_PER_ENTRY * self._entries
        if self._room is not None and needed > self._room:
            raise ReadError(
                f"its counts take more than the {self._room / 1e9:.2g} GB of memory that are free: "
                "make a sparse map file of it with siftem convert, and give a budget (--memory)"
            )

    def _refuse_bad(self) -> None:
        found = []
        if self._not_finite:
            found.append(f"{self._not_finite} NaN or infinite")
        if self._negative:
            found.append(f"{self._negative} negative (lowest {self._lowest:g})")
        if found:
            raise InputError(
                f"the spectrum image holds {' and '.join(found)} values, but counts are zero or "
                "more: use the raw counts, or mend or crop those pixels in HyperSpy first"
            )


def refuse_bloated(entries: int, most: int | None) -> None:
    """Refuse more values than a measured map can have in a file of its size.

    Parameters
    ----------
    entries : int
        Values that are not zero.
    most : int, optional
        See `siftem.io.vendor_files.most_entries`.

    Raises
    ------
    ReadError
    """
    if most is not None and entries > most:
        raise ReadError(
            f"more than {most:.2g} values are not zero, which no measured map of this size on "
            "disk can have: the file is damaged"
        )


def _joined(parts: list[np.ndarray], dtype: Any) -> np.ndarray:
    """Concatenate and empty ``parts``, so that both never sit in memory in full."""
    total = np.empty(sum(p.size for p in parts), dtype=dtype)
    start = 0
    parts.reverse()
    while parts:
        part = parts.pop()
        total[start : start + part.size] = part
        start += part.size
    return total
