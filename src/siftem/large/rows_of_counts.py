"""What is asked of the counts of all pixels, whether they are in memory or stay on disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from siftem.large.blocked_counts import BlockedCounts


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
