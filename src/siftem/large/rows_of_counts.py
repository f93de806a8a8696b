"""What is asked of the counts of all pixels, whether they are in memory or stay on disk.

Of a map whose counts are elsewhere the sums are known still.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from siftem.errors import InputError
from siftem.large.blocked_counts import BlockedCounts, InTurn, Sums


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
