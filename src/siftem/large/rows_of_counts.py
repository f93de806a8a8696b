"""What is asked of the counts of all pixels, in memory or where they are stored, block by block.

What `siftem.SpectrumImage` holds when a map is larger than memory are counts that stay where they
are stored. The blocks are pixels in scan order; what is done to all of them is a task for some
`BlockWork`, which may run it in turn, in threads, in processes or on other machines. Results are
added in one fixed order, so that they don't depend on who does the work. Of a map whose counts are
elsewhere the sums are known still.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from siftem.errors import InputError
from siftem.large.disk_images import StoredImages, let_go, new_image

#: Sums that are added at a time; the same on every executor.
FAN_IN = 8

#: What a task returns: numbers and arrays that are added up over the blocks.
Sums = tuple[Any, ...]


class RowSource(Protocol):
    """Where the counts are stored. It is sent along with tasks: small, and can be pickled."""

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels and channels."""

    @property
    def identity(self) -> str:
        """A text that differs when the counts differ: names what is kept between runs."""

    @property
    def edges(self) -> Sequence[int]:
        """First pixel of each block, and the number of pixels."""

    def read(self, first: int, last: int, window: tuple[int, int] | None = None) -> sp.csr_array:
        """Pixels ``first`` to ``last`` (not included), channels likewise.

        Sorted, without stored zeros.
        """


class BlockWork(Protocol):
    """Who does the work on the blocks."""

    def total(self, task: Callable[[Any], Sums], items: Sequence[Any]) -> Sums:
        """Add up what ``task`` returns for each item, in the order of `add_in_order`."""

    def each(self, task: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        """Yield what ``task`` returns for each item, in order; few are held at a time."""


class InTurn:
    """One block after the other, in the calling thread."""

    def total(self, task: Callable[[Any], Sums], items: Sequence[Any]) -> Sums:
        """Add up what ``task`` returns for each item."""
        return add_in_order(map(task, items), len(items))

    def each(self, task: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        """Yield what ``task`` returns for each item."""
        return map(task, items)


def add_in_order(
    results: Iterator[Any], number: int, add: Callable[[Sequence[Any]], Any] | None = None
) -> Any:
    """Add results of ``number`` blocks: eight neighbours at a time, then eight of these sums, ...

    Holds only a few partial sums at a time. ``add`` may make a plan of it instead of adding.
    """
    add = add or added
    if number <= FAN_IN:
        return add(list(itertools.islice(results, number)))
    reach = FAN_IN
    while reach * FAN_IN < number:
        reach *= FAN_IN
    parts = [
        add_in_order(results, min(reach, number - start), add) for start in range(0, number, reach)
    ]
    return add(parts)


def added(parts: Sequence[Sums]) -> Sums:
    """Add tuples of numbers and arrays, item by item, from first to last."""
    total = list(parts[0])
    for part in parts[1:]:
        total = [a + b for a, b in zip(total, part, strict=True)]
    return tuple(total)


@dataclass(frozen=True, eq=False)
class BlockedCounts:
    """Counts (pixels, channels) in blocks, with the few operations that siftem needs of them.

    Parameters
    ----------
    source : RowSource
    work : BlockWork
    scratch : Path
        Folder for what does not fit in memory; all who do the work must reach it.
    window : tuple of int, optional
        First and last + 1 of the channels that are seen; all by default.
    """

    source: RowSource
    work: BlockWork
    scratch: Path
    window: tuple[int, int] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels and channels."""
        n, m = self.source.shape
        return (n, m) if self.window is None else (n, self.window[1] - self.window[0])

    @property
    def blocks(self) -> list[tuple[int, int]]:
        """First and last + 1 pixel of each block."""
        return list(itertools.pairwise(int(e) for e in self.source.edges))

    @property
    def reader(self) -> BlockReader:
        """What tasks take along to read a block."""
        return BlockReader(self.source, self.window)

    @cached_property
    def nnz(self) -> int:
        """Stored entries in the window."""
        return int(self._sums[1])

    @cached_property
    def _sums(self) -> Sums:
        """Sum spectrum, entries, entropy-like objective of a perfect model."""
        return self.work.total(partial(_sum_task, self.reader), self.blocks)

    @property
    def saturated(self) -> float:
        """Poisson objective when every mean equals its count: ``sum(y - y ln y)``."""
        return float(self._sums[2])

    def sum(self, axis: int | None = None, dtype: Any = None) -> Any:
        """All counts, those of each channel (axis 0) or of each pixel (axis 1), in float64."""
        if axis is None:
            return float(self._sums[0].sum())
        if axis == 0:
            return self._sums[0].copy()
        # A copy: who asks may change it.
        out = new_image((self.shape[0],), np.float64, self.scratch)
        for first, last in self.blocks:
            out[first:last] = self._row_sums[first:last]
            let_go(out, self._row_sums)
        return out

    @cached_property
    def _row_sums(self) -> np.ndarray:
        """Counts of each pixel, which half a dozen parts of a run ask for."""
        task = partial(_row_sum_task, self.reader)
        out = new_image((self.shape[0],), np.float64, self.scratch)
        for (first, last), part in zip(self.blocks, self.work.each(task, self.blocks), strict=True):
            out[first:last] = part
            let_go(out)
        return out

    def mean(self, axis: int = 0) -> np.ndarray:
        """Mean spectrum of all pixels (axis 0 only)."""
        if axis != 0:
            raise InputError(f"the mean of blocked counts goes over axis 0, got {axis}")
        return np.asarray(self.sum(axis=0) / self.shape[0])

    def __matmul__(self, other: np.ndarray) -> np.ndarray:
        """Multiply with a matrix (channels, q): an array (pixels, q)."""
        return self.images(np.asarray(other)).T

    def images(self, other: np.ndarray) -> np.ndarray:
        """Multiply with a matrix (channels, q), for images of the pixels; float64 (q, pixels)."""
        task = partial(_product_task, self.reader, other)
        out = new_image((other.shape[1], self.shape[0]), np.float64, self.scratch)
        for (first, last), part in zip(self.blocks, self.work.each(task, self.blocks), strict=True):
            out[:, first:last] = part.T
            let_go(out)
        return out

    def __getitem__(self, key: Any) -> Any:
        """``[:, a:b]`` sees some channels only; ``[rows]`` reads some pixels into memory."""
        if isinstance(key, tuple) and len(key) == 2 and key[0] == slice(None):
            if isinstance(key[1], slice) and key[1].step in (None, 1):
                return self.columns(key[1])
        elif isinstance(key, np.ndarray) and key.ndim == 1:
            rows = np.flatnonzero(key) if key.dtype == bool else key
            order = np.argsort(rows, kind="stable")
            if np.array_equal(order, np.arange(order.size)):
                return self.rows(rows)
            return self.rows(rows[order])[np.argsort(order)]
        raise InputError(
            f"counts that stay on disk take [:, a:b] or [array of pixels], got {key!r}"
        )

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored counts."""
        first, last = self.blocks[0]
        return np.dtype(self.reader.read(first, last).dtype)

    @property
    def identity(self) -> str:
        """A text that differs when the counts differ."""
        return f"{self.source.identity} {self.window}"

    def columns(self, window: slice) -> BlockedCounts:
        """Return the channels in a window, without reading anything."""
        start, stop, _ = window.indices(self.shape[1])
        first = 0 if self.window is None else self.window[0]
        return replace(self, window=(first + start, first + stop))

    def sum_of_rows(self, rows: np.ndarray) -> np.ndarray:
        """Sum spectrum of some pixels, rising indices or True for each; float64 (channels,)."""
        task = partial(_sum_rows_task, self.reader)
        return np.asarray(self.work.total(task, self._parts(rows))[0])

    def weighted_sums(self, weights: np.ndarray) -> np.ndarray:
        """Sum spectra of all pixels by weights (k, pixels); float64 (k, channels)."""
        stored = StoredImages.of(weights)
        # Large weights are read where they are; they don't travel.
        items = [(a, b, weights[:, a:b] if stored is None else stored) for a, b in self.blocks]
        return np.asarray(self.work.total(partial(_weighted_task, self.reader), items)[0])

    def stored_in(self, rows: np.ndarray) -> float:
        """Entries of the pixels that are True, as if all pixels had equally many."""
        return float(self.nnz * rows.mean())

    def rows(self, rows: np.ndarray) -> sp.csr_array:
        """Read some pixels, in rising order, into memory."""
        parts = list(self.work.each(partial(_take_task, self.reader), self._parts(rows)))
        return sp.csr_array(sp.vstack(parts, format="csr"))

    def _parts(self, rows: np.ndarray) -> list[tuple[int, int, np.ndarray]]:
        rows = np.asarray(rows)
        found = []
        if rows.dtype == bool:
            parts = [(a, b, rows[a:b]) for a, b in self.blocks if rows[a:b].any()]
            return parts or [(0, 0, rows[:0])]
        for first, last in self.blocks:
            a, b = np.searchsorted(rows, [first, last])
            if b > a:
                # Small numbers: together they are as many as the pixels.
                found.append((first, last, (rows[a:b] - first).astype(np.int32)))
        return found or [(0, 0, rows[:0])]

    def in_memory(self) -> sp.csr_array:
        """Read everything."""
        task = partial(_take_task, self.reader)
        items = [(a, b, np.arange(b - a)) for a, b in self.blocks]
        return sp.csr_array(sp.vstack(list(self.work.each(task, items)), format="csr"))


@dataclass(frozen=True)
class BlockReader:
    """Reads blocks of a source through a window of channels."""

    source: RowSource
    window: tuple[int, int] | None

    @property
    def n_channels(self) -> int:
        """Channels that are seen."""
        if self.window is None:
            return int(self.source.shape[1])
        return self.window[1] - self.window[0]

    def read(self, first: int, last: int) -> sp.csr_array:
        """Pixels ``first`` to ``last`` (not included)."""
        return self.source.read(first, last, self.window)


def _sum_task(reader: BlockReader, block: tuple[int, int]) -> Sums:
    x = reader.read(*block)
    y = x.data.astype(np.float64)
    spectrum = np.bincount(x.indices, weights=y, minlength=x.shape[1])
    return spectrum, float(x.nnz), float((y - y * np.log(y)).sum())


def _row_sum_task(reader: BlockReader, block: tuple[int, int]) -> np.ndarray:
    return np.asarray(reader.read(*block).sum(axis=1, dtype=np.float64)).ravel()


def _product_task(reader: BlockReader, other: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    return np.asarray(reader.read(*block) @ other)


def _weighted_task(reader: BlockReader, item: tuple[int, int, np.ndarray | StoredImages]) -> Sums:
    first, last, weights = item
    if isinstance(weights, StoredImages):
        weights = weights.read(first, last)
    return (np.asarray((reader.read(first, last).T @ weights.T).T),)


def _take_task(reader: BlockReader, item: tuple[int, int, np.ndarray]) -> sp.csr_array:
    first, last, rows = item
    x = reader.read(first, last)
    whole = rows.all() if rows.dtype == bool else rows.size == last - first
    return x if whole else sp.csr_array(x[rows])


def _sum_rows_task(reader: BlockReader, item: tuple[int, int, np.ndarray]) -> Sums:
    x = _take_task(reader, item)
    return (np.bincount(x.indices, weights=x.data, minlength=x.shape[1]).astype(np.float64),)


class RowsOfCounts(Protocol):
    """Counts (pixels, channels), a pixel a row."""

    @property
    def identity(self) -> str:
        """A text that differs when the counts differ."""

    def images(self, other: np.ndarray) -> np.ndarray:
        """Multiply with a matrix (channels, q), for images of the pixels; float64 (q, pixels)."""

    def sum_of_rows(self, rows: np.ndarray) -> np.ndarray:
        """Sum spectrum of some pixels, rising indices or True for each; float64 (channels,)."""

    def weighted_sums(self, weights: np.ndarray) -> np.ndarray:
        """Sum spectra of all pixels by weights (k, pixels); float64 (k, channels)."""

    def in_memory(self) -> sp.csr_array:
        """Read everything."""

    def stored_in(self, rows: np.ndarray) -> float:
        """Entries of the pixels that are True; on disk, as many as pixels have on average."""


def rows_of(counts: Any) -> RowsOfCounts:
    """Return what `RowsOfCounts` asks, of counts in memory (csr_array) or in blocks on disk."""
    return counts if isinstance(counts, BlockedCounts) else RowsInMemory(counts)


@dataclass(frozen=True, eq=False)
class RowsInMemory:
    """Counts in memory; the methods are those of `RowsOfCounts`."""

    counts: sp.csr_array

    @property
    def identity(self) -> str:
        """Hash of the counts."""
        digest = hashlib.sha256()
        for array in (self.counts.data, self.counts.indices, self.counts.indptr):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def images(self, other: np.ndarray) -> np.ndarray:
        """Multiply with a matrix (channels, q)."""
        return np.ascontiguousarray((self.counts @ other).T)

    def sum_of_rows(self, rows: np.ndarray) -> np.ndarray:
        """Sum spectrum of some pixels."""
        return np.asarray(self.counts[rows].sum(axis=0, dtype=np.float64)).ravel()

    def weighted_sums(self, weights: np.ndarray) -> np.ndarray:
        """Sum spectra of all pixels by weights."""
        return np.asarray((self.counts.T @ weights.T).T)

    def in_memory(self) -> sp.csr_array:
        """Return the counts."""
        return self.counts

    def stored_in(self, rows: np.ndarray) -> float:
        """Entries of the pixels that are True."""
        return float(np.diff(self.counts.indptr)[rows].sum())


@dataclass(frozen=True, eq=False)
class CountSums:
    """Sums of counts in blocks, as a source of rows that gives none.

    Parameters
    ----------
    spectrum : ndarray of shape (channels,)
        Of all pixels.
    per_pixel : ndarray of shape (pixels,)
        Of all channels.
    nonzero : int
        Entries that are not zero.
    saturated : float
        As `BlockedCounts.saturated`.
    identity : str
        That of the counts.
    """

    spectrum: np.ndarray
    per_pixel: np.ndarray
    nonzero: int
    saturated: float
    identity: str

    @classmethod
    def of(cls, counts: BlockedCounts) -> CountSums:
        """Sum up counts, which are read twice for it."""
        each, spectrum = counts.sum(axis=1), counts.sum(axis=0)
        return cls(spectrum, each, counts.nnz, counts.saturated, counts.identity)

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels and channels."""
        return (self.per_pixel.size, self.spectrum.size)

    @property
    def edges(self) -> tuple[int, int]:
        """First pixel of the only block, and the number of pixels."""
        return (0, self.per_pixel.size)

    def read(self, first: int, last: int, window: tuple[int, int] | None = None) -> sp.csr_array:
        """Refuse: the counts are elsewhere.

        Raises
        ------
        InputError
        """
        raise InputError(
            "a run on a map that stayed on disk keeps the sums of its counts alone, over all "
            "pixels and over all channels: open the map itself for this, with siftem.open_map"
        )


class LeftCounts(BlockedCounts):
    """Counts of which the sums are known; all else that is asked of them is refused.

    Parameters
    ----------
    source : CountSums
    """

    source: CountSums

    def __init__(
        self, source: CountSums, window: tuple[int, int] | None = None, **_given: Any
    ) -> None:
        super().__init__(source, InTurn(), Path(), window)

    @cached_property
    def _sums(self) -> Sums:
        if self.window is not None:
            self.source.read(0, 0)
        return self.source.spectrum, float(self.source.nonzero), self.source.saturated

    def sum(self, axis: int | None = None, dtype: Any = None) -> Any:
        """All counts, those of each channel (axis 0) or of each pixel (axis 1), in float64."""
        if axis == 1 and self.window is None:
            return self.source.per_pixel.copy()
        return super().sum(axis, dtype)
