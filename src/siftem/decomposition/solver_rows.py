"""What the solver needs of counts and weights: blocks of pixels, in memory or on disk."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import scipy.sparse as sp

from siftem import machine
from siftem.decomposition import count_sums, row_kernels
from siftem.decomposition.blockwise import BlockedRows
from siftem.decomposition.count_sums import (
    column_sums,
    helpers,
    row_totals,
    saturated_objective,
    share_out,
)
from siftem.large.disk_images import is_large
from siftem.large.rows_of_counts import BlockedCounts

#: Work (see `CountRows.blocks`) that makes a block worth its own turn.
_WORK_IN_BLOCK = 60_000
#: Blocks come in multiples of this, so that 2 or 4 threads get the same share.
_BLOCKS = 4
_MOST_BLOCKS = 64
#: A row costs as much as this many of its stored entries.
_WORK_OF_ROW = 8
#: Numbers that the statistics of all blocks may hold together: 64 MB.
_MOST_STATISTICS = 8_000_000


@dataclass(eq=False)
class CountRows:
    """One copy of the counts, by rows.

    The blocks depend on the data alone, and their sums are added in a fixed order: the
    answer doesn't depend on the number of threads.

    Parameters
    ----------
    indptr : ndarray of int64, shape (n + 1,)
    indices : ndarray of uint32, shape (nnz,)
    data : ndarray of float32 or float64, shape (nnz,)
        Positive counts.
    shape : tuple of int
        (n, m).
    n_jobs : int
        Threads.
    """

    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    shape: tuple[int, int]
    n_jobs: int = 1
    saturated: float = field(init=False)
    _pool: ThreadPoolExecutor | None = field(init=False, default=None)
    _blocks: dict[int, list[tuple[int, int]]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.saturated = saturated_objective(self.data, n_jobs=self.n_jobs)

    @classmethod
    def of(cls, x: sp.csr_array, *, n_jobs: int | None = None) -> CountRows:
        """Take over ``x`` (n, m); counts are kept in single precision where that is exact."""
        x = sp.csr_array(x)
        if not x.has_canonical_format:
            x = x.copy()
            x.sum_duplicates()
        if x.nnz and x.data.min() <= 0:
            x = x.copy()
            x.eliminate_zeros()
        data = x.data.astype(np.float32, copy=False)
        if data.dtype != x.data.dtype and not np.array_equal(data, x.data):
            data = x.data.astype(np.float64, copy=False)
        return cls(
            indptr=x.indptr.astype(np.int64, copy=False),
            # Unsigned: the kernels need no test for indices that count from the end.
            indices=x.indices.astype(np.int32, copy=False).view(np.uint32),
            data=data,
            shape=x.shape,
            n_jobs=n_threads(n_jobs),
        )

    @property
    def nnz(self) -> int:
        """Stored entries."""
        return int(self.data.size)

    @property
    def identity(self) -> str:
        """Hash of the counts."""
        digest = hashlib.sha256(repr(self.shape).encode())
        for array in (self.indptr, self.indices, self.data):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    @property
    def total(self) -> float:
        """All counts."""
        return float(self.data.sum(dtype=np.float64))

    def even_weights(self, k: int, dtype: np.dtype) -> np.ndarray:
        """Share the counts of each row equally among the components; (n, k)."""
        return np.repeat((self.row_totals() / k)[:, None], k, axis=1).astype(dtype)

    def in_one_thread(self) -> CountRows:
        """Return the same rows, worked on by one thread."""
        return replace(self, n_jobs=1)

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Keep the threads for several passes."""
        if self._pool is not None:
            yield
            return
        with helpers(self.n_jobs) as self._pool:
            try:
                yield
            finally:
                self._pool = None

    def row_totals(self) -> np.ndarray:
        """Counts of each row, float64 (n,)."""
        return row_totals(self.indptr, self.data)

    def spread(self, pooling: sp.csr_array, shares: np.ndarray, pooled: sp.csr_array) -> np.ndarray:
        """Give each row the shares (blocks, k) of its block; float64 (n, k)."""
        return np.asarray((pooling.T @ shares) * self.row_totals()[:, None])

    def maps(self, weights: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Columns of ``weights`` (n, k) in some order, each in one piece; (k, n).

        In single precision beyond half a million pixels, whether they come from memory or from
        the disk: that is finer than the noise of any count, and these are the largest arrays.
        """
        dtype = np.float32 if is_large(weights.shape[0]) else np.float64
        return np.stack([weights[:, c].astype(dtype) for c in order])

    def within(self, weights: np.ndarray, support: np.ndarray | None) -> np.ndarray:
        """Return a copy of ``weights`` (n, k), zero outside a ``support`` (n, k)."""
        return weights.copy() if support is None else np.where(support, weights, 0)

    def sums(self, weights: np.ndarray) -> np.ndarray:
        """Column sums of ``weights`` (n, k), float64 (k,)."""
        return column_sums(weights)

    def improve(
        self,
        spectra: np.ndarray,
        weights: np.ndarray,
        *,
        free: np.ndarray | None = None,
        n_passes: int = 1,
        tol: float = 1e-8,
        gather: bool = True,
    ) -> tuple[float, np.ndarray]:
        """Improve ``weights`` in place for fixed ``spectra``.

        Parameters
        ----------
        spectra : ndarray of shape (k, m)
        weights : ndarray of shape (n, k)
        free : ndarray of bool, shape (1, k) or (n, k), optional
            Where weights may change.
        n_passes : int
            Newton steps on each row at the most; 0 only evaluates.
        tol : float
            A row is done when a step is expected to gain less than this much.
        gather : bool
            Gather the statistics for a step of the spectra.

        Returns
        -------
        log_likelihood : float
            ``sum(y ln mean)`` for the new weights.
        statistics : ndarray of shape (k + k (k + 1) / 2, m)
            See `siftem.decomposition.row_kernels.pass_over_rows`; empty without ``gather``.
        """
        k, m = spectra.shape
        size = k + k * (k + 1) // 2 if gather else 0
        mask = None if free is None else free.astype(np.uint8, copy=False)

        by_channel = np.ascontiguousarray(spectra.T, dtype=np.float64)

        def one(block: tuple[int, int]) -> tuple[float, np.ndarray]:
            return row_kernels.pass_over_rows(
                self.indptr,
                self.indices,
                self.data,
                block,
                by_channel,
                weights,
                free=mask,
                n_passes=n_passes,
                tol=tol,
                gather=gather,
            )

        log_likelihood = 0.0
        total = np.zeros((m, size)).T
        results = share_out(one, self.blocks(size), self.n_jobs, self._pool)
        for found, statistics in results:
            log_likelihood += found
            total += statistics
        return log_likelihood, total

    def weight_gradients(self, spectra: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Gradient of the Poisson objective by the weights, float64 (n, k)."""
        out = np.empty(weights.shape)
        sums = spectra.sum(axis=1, dtype=np.float64)

        def one(block: tuple[int, int]) -> None:
            count_sums.row_gradients(
                self.indptr, self.indices, self.data, *block, spectra, sums, weights, out
            )

        share_out(one, self.blocks(0), self.n_jobs, self._pool)
        return out

    def weight_residual(
        self, spectra: np.ndarray, weights: np.ndarray, support: np.ndarray | None = None
    ) -> float:
        """Root mean square of ``min(w / mean(w), gradient / sum)`` over a support."""
        free = np.ones(weights.shape, bool) if support is None else support
        by_weight = self.weight_gradients(spectra, weights)
        return residual(weights.T, by_weight.T, spectra.sum(axis=1)[:, None], free.T)

    def blocks(self, size: int) -> list[tuple[int, int]]:
        """First and last row of the blocks, each with about as much work."""
        if size in self._blocks:
            return self._blocks[size]
        most = max(_MOST_STATISTICS // max(size * self.shape[1], 1), 1)
        work = self.nnz + _WORK_OF_ROW * self.shape[0]
        number = _BLOCKS * -(-work // (_BLOCKS * _WORK_IN_BLOCK))
        number = min(number, _MOST_BLOCKS, most, 1 + work // (_WORK_IN_BLOCK // _BLOCKS))
        done = self.indptr + _WORK_OF_ROW * np.arange(self.shape[0] + 1)
        cuts = np.searchsorted(done, np.linspace(0, work, number + 1)[1:-1])
        edges = np.unique(np.concatenate([[0], cuts, [self.shape[0]]])).tolist()
        self._blocks[size] = list(itertools.pairwise(edges))
        return self._blocks[size]


def residual(
    values: np.ndarray, gradient: np.ndarray, scale: np.ndarray, free: np.ndarray
) -> float:
    """Return the root mean square of ``min(value / mean, gradient / scale)``, one mean a row.

    Parameters
    ----------
    values, gradient : ndarray of shape (k, n)
    scale : ndarray of shape (k, 1)
    free : ndarray of bool, shape (k, n)
        What counts.
    """
    level = values.mean(axis=1, dtype=np.float64, keepdims=True)
    used = np.broadcast_to((level > 0) & (scale > 0), values.shape) & free
    if not used.any():
        return 0.0
    found = np.minimum(
        values / np.where(level > 0, level, 1), gradient / np.where(scale > 0, scale, 1)
    )
    return float(np.sqrt((found[used] ** 2).mean()))


def n_threads(n_jobs: int | None) -> int:
    """Number of threads for scikit-learn's ``n_jobs``; None and -1 mean all processors."""
    most = machine.available()
    if n_jobs is None or n_jobs == -1:
        return most
    return max(n_jobs if n_jobs > 0 else most + 1 + n_jobs, 1)


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
