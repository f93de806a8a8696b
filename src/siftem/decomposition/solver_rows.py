"""What the solver needs of the counts and of the weights, in memory or on disk."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import numpy as np

from siftem.decomposition.blockwise import BlockedRows
from siftem.decomposition.row_blocks import CountRows
from siftem.large.blocked_counts import BlockedCounts

#: Weights (n, k): an array, or `siftem.decomposition.blockwise.BlockWeights`.
W = TypeVar("W")


class SolverRows(Protocol[W]):
    """Counts (n, m) by rows: `CountRows` in memory, `BlockedRows` on disk."""

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels and channels."""

    @property
    def n_jobs(self) -> int:
        """Threads."""

    @property
    def saturated(self) -> float:
        """Objective when every mean equals its count."""

    def in_one_thread(self) -> SolverRows[W]:
        """Return the same rows, worked on by one thread."""

    def threads(self) -> AbstractContextManager[None]:
        """Keep the threads for several passes."""

    def even_weights(self, k: int, dtype: Any) -> W:
        """Share the counts of each row equally among the components."""

    def spread(self, pooling: Any, shares: np.ndarray, pooled: Any) -> W:
        """Give each row the shares (blocks, k) of its block; ``pooled`` are the blocks' counts."""

    def within(self, weights: W, support: np.ndarray | None) -> W:
        """Return a copy of ``weights``, zero outside a support (n, k)."""

    def sums(self, weights: W) -> np.ndarray:
        """Column sums of ``weights``, float64 (k,)."""

    def improve(
        self,
        spectra: np.ndarray,
        weights: W,
        *,
        free: np.ndarray | None = None,
        n_passes: int = 1,
        tol: float = 1e-8,
        gather: bool = True,
    ) -> tuple[float, np.ndarray]:
        """Improve ``weights`` in place: see `CountRows.improve`."""

    def weight_residual(
        self, spectra: np.ndarray, weights: W, support: np.ndarray | None = None
    ) -> float:
        """Root mean square of ``min(w / mean(w), gradient / sum)`` over a support."""

    def maps(self, weights: W, order: np.ndarray) -> np.ndarray:
        """Columns of ``weights`` in some order, each in one piece; (k, n)."""


def solver_rows(x: Any, *, n_jobs: int | None = None) -> SolverRows[Any]:
    """Take over counts (n, m): a csr_array, or `BlockedCounts`, whose rows stay on disk."""
    return BlockedRows(x) if isinstance(x, BlockedCounts) else CountRows.of(x, n_jobs=n_jobs)
