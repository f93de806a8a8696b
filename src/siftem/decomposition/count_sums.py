"""Compiled sums over sparse counts and weights, and work that threads share out among themselves.

One pass, no copy; the gradient by weights, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import scipy.sparse as sp

from siftem.compiling import kernel

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def helpers(n_jobs: int) -> Iterator[ThreadPoolExecutor | None]:
    """Threads beside the caller, for several rounds of `share_out`; None where he is alone."""
    if n_jobs == 1:
        yield None
        return
    with ThreadPoolExecutor(n_jobs - 1) as pool:
        yield pool


def share_out(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    n_jobs: int,
    pool: ThreadPoolExecutor | None = None,
) -> list[Result]:
    """Return ``work`` of each item, in their order.

    Each thread takes the next item when it is done with one. The caller works too: short work
    is not held up by waking threads for every item.

    Parameters
    ----------
    work : callable
        Should give up Python's lock for most of its time.
    items : sequence
    n_jobs : int
        Threads, the caller included.
    pool : ThreadPoolExecutor, optional
        Of `helpers`; without one, threads are made for this call.
    """
    if n_jobs == 1 or len(items) < 2:
        return [work(item) for item in items]
    results: dict[int, Result] = {}
    following = itertools.count()
    stopped = False

    def take_turns() -> None:
        while not stopped and (at := next(following)) < len(items):
            results[at] = work(items[at])

    def run(pool: ThreadPoolExecutor) -> None:
        nonlocal stopped
        futures = [pool.submit(take_turns) for _ in range(min(n_jobs, len(items)) - 1)]
        try:
            take_turns()
        finally:
            # Done, or an error or an interrupt in this thread: the others stop after their item.
            stopped = True
            for future in futures:
                future.cancel() or future.exception()
        for future in futures:
            if not future.cancelled():
                future.result()

    if pool is not None:
        run(pool)
    else:
        with helpers(n_jobs) as own:
            assert own is not None
            run(own)
    return [results[at] for at in range(len(items))]


#: Stored entries that are worth a turn of their own.
_ENTRIES = 50_000


def pool_rows(
    pooling: sp.csr_array, x: sp.csr_array, dtype: type[np.floating], *, n_jobs: int = 1
) -> sp.csr_array:
    """Sum rows of counts: ``pooling @ x``, with sorted channels.

    Parameters
    ----------
    pooling : csr_array of shape (groups, n)
        Non-zero where a row belongs to a group; a row belongs to one group.
    x : csr_array of shape (n, m)
        Counts.
    dtype : type
        Of the sums.
    n_jobs : int
        Threads; the answer does not depend on their number.

    Returns
    -------
    csr_array of shape (groups, m)
    """
    n_groups, m = pooling.shape[0], x.shape[1]
    ends = np.linspace(0, n_groups, 1 + max(1, min(n_groups, x.nnz // _ENTRIES)))
    edges = np.unique(ends.astype(int)).tolist()

    def one(chunk: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        room = _entries(pooling.indptr, pooling.indices, *chunk, x.indptr)
        channels, sums = np.empty(room, np.int32), np.empty(room, dtype)
        lengths = np.empty(chunk[1] - chunk[0], np.int64)
        used = _pool(
            pooling.indptr,
            pooling.indices,
            *chunk,
            x.indptr,
            x.indices,
            x.data,
            np.zeros(m),
            lengths,
            channels,
            sums,
        )
        return lengths, channels[:used], sums[:used]

    parts = share_out(one, list(itertools.pairwise(edges)), n_jobs)
    starts = np.concatenate([[0], np.cumsum(np.concatenate([p[0] for p in parts]))])
    index = np.int32 if starts[-1] < 2**31 else np.int64
    channels = np.concatenate([p[1] for p in parts])
    data = np.concatenate([p[2] for p in parts])
    pooled = sp.csr_array((data, channels, starts.astype(index)), shape=(n_groups, m))
    pooled.has_canonical_format = True
    return pooled


def row_totals(indptr: np.ndarray, data: np.ndarray) -> np.ndarray:
    """Counts of each row, float64 (n,)."""
    out = np.empty(indptr.size - 1)
    _row_totals(indptr, data, out)
    return out


def column_sums(weights: np.ndarray) -> np.ndarray:
    """Sums of the weights (n, k) by component, float64 (k,); several times faster than NumPy."""
    out = np.zeros(weights.shape[1])
    _column_sums(weights, out)
    return out


def saturated_objective(data: np.ndarray, *, n_jobs: int = 1) -> float:
    """Objective when every mean equals its count: ``sum(y - y ln y)`` over positive counts."""
    edges = [*range(0, data.size, _ENTRIES), data.size]
    chunks = [data[a:b] for a, b in itertools.pairwise(edges)]
    return float(sum(share_out(_saturated, chunks, n_jobs)))


@kernel()
def _entries(
    group_starts: np.ndarray, members: np.ndarray, first: int, last: int, indptr: np.ndarray
) -> int:
    """Stored entries of all rows of some groups."""
    total = 0
    for p in range(group_starts[first], group_starts[last]):
        total += indptr[members[p] + 1] - indptr[members[p]]
    return total


@kernel()
def _pool(
    group_starts: np.ndarray,
    members: np.ndarray,
    first: int,
    last: int,
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    level: np.ndarray,
    lengths: np.ndarray,
    channels: np.ndarray,
    sums: np.ndarray,
) -> int:
    """Lengths, channels and sums of some groups; ``level`` (m,) is scratch, zero."""
    done = 0
    for g in range(first, last):
        before = done
        for p in range(group_starts[g], group_starts[g + 1]):
            i = members[p]
            for t in range(indptr[i], indptr[i + 1]):
                level[indices[t]] += data[t]
        for j in range(level.size):
            if level[j] != 0:
                channels[done] = j
                sums[done] = level[j]
                level[j] = 0
                done += 1
        lengths[g - first] = done - before
    return done


@kernel()
def _row_totals(indptr: np.ndarray, data: np.ndarray, out: np.ndarray) -> None:
    for i in range(out.size):
        total = 0.0
        for t in range(indptr[i], indptr[i + 1]):
            total += data[t]
        out[i] = total


@kernel()
def _column_sums(weights: np.ndarray, out: np.ndarray) -> None:
    for i in range(weights.shape[0]):
        for c in range(weights.shape[1]):
            out[c] += weights[i, c]


@kernel()
def _saturated(data: np.ndarray) -> float:
    total = 0.0
    for t in range(data.size):
        y = float(data[t])
        total += y
        if y != 1.0:  # most counts are ones, which cost no logarithm
            total -= y * np.log(y)
    return total


@kernel()
def row_gradients(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    first: int,
    last: int,
    spectra: np.ndarray,
    sums: np.ndarray,
    weights: np.ndarray,
    out: np.ndarray,
) -> None:
    """Gradient of the Poisson objective by the weights into ``out`` (n, k), float64."""
    k = spectra.shape[0]
    for i in range(first, last):
        for c in range(k):
            out[i, c] = sums[c]
        for t in range(indptr[i], indptr[i + 1]):
            j = indices[t]
            mean = 0.0
            for c in range(k):
                mean += float(weights[i, c]) * float(spectra[c, j])
            if mean > 0:
                for c in range(k):
                    out[i, c] -= data[t] * float(spectra[c, j]) / mean
