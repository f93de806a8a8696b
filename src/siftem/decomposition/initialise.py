"""Pooled pixels, in memory or on disk, and starting points for the factorisation.

These are vertices of the pooled data, then random draws.
"""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from siftem.decomposition.count_sums import pool_rows
from siftem.large.rows_of_counts import BlockedCounts, BlockReader
from siftem.sparse_rows import checked_rows

#: Entries of the full map that are pooled at a time.
_ENTRIES = 1_000_000


@dataclass(frozen=True)
class PartFiles:
    """Counts in one file for each block of pixels: what a step of the work leaves for the next.

    A file holds three arrays in NumPy's format, one after the other: row starts, channels,
    counts.
    """

    folder: Path
    edges: Sequence[int]
    n_channels: int

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels and channels."""
        return self.edges[-1], self.n_channels

    @property
    def identity(self) -> str:
        """Name of the folder, which names what it was made of."""
        return self.folder.name

    def read(self, first: int, last: int, window: tuple[int, int] | None = None) -> sp.csr_array:
        """Pixels ``first`` to ``last`` (not included), channels likewise."""
        x = self._read(first, last)
        return x if window is None else sp.csr_array(x[:, slice(*window)])

    def _read(self, first: int, last: int) -> sp.csr_array:
        parts = []
        for a, b in itertools.pairwise(self.edges):
            if b > first and a < last:
                x = _read_part(part_path(self.folder, a), (b - a, self.n_channels))
                whole = a >= first and b <= last
                parts.append(x if whole else x[max(first - a, 0) : last - a])
        if not parts:
            return sp.csr_array((0, self.n_channels))
        return parts[0] if len(parts) == 1 else sp.csr_array(sp.vstack(parts, format="csr"))


@dataclass(frozen=True, eq=False)
class SquareShares:
    """Shares of the components in square blocks of pixels, looked up by pixel.

    Parameters
    ----------
    map_shape : tuple of int
        (ny, nx).
    side : int
        Side of the squares in pixels.
    shares : ndarray of shape (squares, k), optional
        None for the squares alone.
    """

    map_shape: tuple[int, int]
    side: int
    shares: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Squares and pixels, as of a pooling matrix."""
        ny, nx = self.map_shape
        return -(-ny // self.side) * -(-nx // self.side), ny * nx

    def of_pixels(self, first: int, last: int) -> np.ndarray:
        """Shares in the pixels ``first`` to ``last`` (not included); (pixels, k)."""
        assert self.shares is not None
        y, x = np.divmod(np.arange(first, last), self.map_shape[1])
        per_line = -(-self.map_shape[1] // self.side)
        return np.asarray(self.shares[y // self.side * per_line + x // self.side])


def part_path(folder: Path, first: int) -> Path:
    """File of the block that begins at a pixel."""
    return folder / f"pixels-{first:012d}.npy"


def write_part(folder: Path, first: int, x: sp.csr_array) -> None:
    """Write a block whole or not at all; the same block written twice does no harm."""
    write_whole(
        part_path(folder, first),
        x.indptr,
        x.indices.astype(np.min_scalar_type(x.shape[1] - 1)),
        x.data.astype(np.float32) if exact(x.data) else x.data,
    )


def write_whole(target: Path, *arrays: np.ndarray) -> None:
    """Write arrays under a draft name and rename, so that a lost worker leaves no half file."""
    draft = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.part")
    try:
        with draft.open("wb") as stream:
            for array in arrays:
                np.save(stream, array)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def exact(data: np.ndarray) -> bool:
    """Whether single precision holds the counts exactly."""
    return bool(np.array_equal(data.astype(np.float32), data))


def _read_part(path: Path, shape: tuple[int, int]) -> sp.csr_array:
    with path.open("rb") as stream:
        indptr = np.load(stream, allow_pickle=False)
        indices = np.load(stream, allow_pickle=False).astype(np.int32)
        data = np.load(stream, allow_pickle=False)
    return checked_rows(sp.csr_array((data, indices, indptr), shape=shape))


def pooled_in_memory(counts: BlockedCounts, shape: tuple[int, int], side: int) -> sp.csr_array:
    """Sum square blocks of pixels; for few and large ones, whose sums fit in memory.

    Parameters
    ----------
    counts : BlockedCounts
        (ny * nx, m).
    shape : tuple of int
        (ny, nx).
    side : int
        Side of the squares in pixels.

    Returns
    -------
    scipy.sparse.csr_array of shape (squares, m), float32 where that is exact, else float64
    """
    items = _bands(counts, shape, side)
    task = partial(_small_pool_task, counts.reader, shape, side, _lines_at_a_time(counts, shape))
    return _stacked(list(counts.work.each(task, items)))


def _small_pool_task(
    reader: BlockReader, shape: tuple[int, int], side: int, lines: int, band: tuple[int, int]
) -> sp.csr_array:
    x = _pool_task(reader, shape, side, lines, band)
    return x.astype(np.float32) if exact(x.data) else x


def _stacked(parts: list[sp.csr_array]) -> sp.csr_array:
    """Put parts below each other, and let go of each as soon as it is copied."""
    n_channels = parts[0].shape[1]
    dtype = np.result_type(*(part.dtype for part in parts))
    starts = np.concatenate([[0], *(np.diff(part.indptr) for part in parts)]).cumsum()
    indices, data = np.empty(starts[-1], np.int32), np.empty(starts[-1], dtype)
    end = starts[-1]
    while parts:
        part = parts.pop()
        indices[end - part.nnz : end], data[end - part.nnz : end] = part.indices, part.data
        end -= part.nnz
        del part
    small = starts[-1] < np.iinfo(np.int32).max
    indptr = starts.astype(np.int32) if small else starts
    return sp.csr_array((data, indices, indptr), shape=(starts.size - 1, n_channels))


def pooled_on_disk(counts: BlockedCounts, shape: tuple[int, int], side: int) -> BlockedCounts:
    """Sum square blocks of pixels into files in the scratch folder; those already there stay.

    Parameters and result as for `pooled_in_memory`, but blocked.
    """
    text = f"{counts.source.identity} {counts.window} {shape} {side}"
    folder = counts.scratch / f"pooled-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    items = _bands(counts, shape, side)
    lines = _lines_at_a_time(counts, shape)
    task = partial(_pool_to_file_task, counts.reader, shape, side, lines, folder)
    counts.work.total(task, items)
    per_line = -(-shape[1] // side)
    edges = (*(first * per_line for first, _ in items), -(-shape[0] // side) * per_line)
    return BlockedCounts(PartFiles(folder, edges, counts.shape[1]), counts.work, counts.scratch)


def _bands(counts: BlockedCounts, shape: tuple[int, int], side: int) -> list[tuple[int, int]]:
    """Cut the lines of squares into bands of about a million entries of the map."""
    lines = -(-shape[0] // side)
    per_line = max(counts.nnz / lines, 1.0)
    number = int(np.clip(round(lines * per_line / _ENTRIES), 1, lines))
    cuts = np.unique(np.linspace(0, lines, number + 1).round().astype(int)).tolist()
    return list(itertools.pairwise(cuts))


def _lines_at_a_time(counts: BlockedCounts, shape: tuple[int, int]) -> int:
    """Lines of pixels that hold about a million entries."""
    return max(1, int(_ENTRIES * shape[0] / max(counts.nnz, 1)))


def _pool_task(
    reader: BlockReader, shape: tuple[int, int], side: int, lines: int, band: tuple[int, int]
) -> sp.csr_array:
    """Lines of squares ``band[0]`` to ``band[1]`` (not included), pooled."""
    ny, nx = shape
    first, last = band[0] * side, min(band[1] * side, ny)
    per_line = -(-nx // side)
    total: sp.csr_array | None = None
    squares = (band[1] - band[0]) * per_line
    # A few lines of pixels at a time bound the memory, also when the squares are large.
    for y in range(first, last, lines):
        stop = min(y + lines, last)
        x = reader.read(y * nx, stop * nx)
        rows = ((np.arange(y, stop) // side - band[0]) * per_line)[:, None] + np.arange(nx) // side
        # Indices of four bytes: the product keeps their type.
        ends = (rows.ravel().astype(np.int32), np.arange(rows.size, dtype=np.int32))
        pooling = sp.csr_array((np.ones(rows.size), ends), shape=(squares, rows.size))
        part = sp.csr_array(pooling @ x)
        total = part if total is None else sp.csr_array(total + part)
    assert total is not None
    total.sort_indices()
    return total


def _pool_to_file_task(
    reader: BlockReader,
    shape: tuple[int, int],
    side: int,
    lines: int,
    folder: Path,
    band: tuple[int, int],
) -> tuple[int]:
    first = band[0] * -(-shape[1] // side)
    if not part_path(folder, first).exists():
        write_part(folder, first, _pool_task(reader, shape, side, lines, band))
    return (1,)


#: Neighbours that are averaged into one vertex, against outliers.
_NEIGHBOURS = 8
#: Rounds of the subspace iteration.
_POWERS = 4
#: Pixels are pooled to about this many counts where their own weights would overfit.
COUNTS_IN_BLOCK = 1500.0


def pooling_matrix(shape: tuple[int, int], block: int) -> sp.csr_array:
    """Return the 0/1 matrix that sums square blocks of pixels.

    Parameters
    ----------
    shape : tuple of int
        Map size (ny, nx).
    block : int
        Side of the square blocks in pixels; the last ones may be smaller.

    Returns
    -------
    scipy.sparse.csr_array of shape (blocks, ny * nx)
    """
    ny, nx = shape
    by, bx = -(-ny // block), -(-nx // block)
    y, x = np.arange(ny, dtype=np.int32) // block, np.arange(nx, dtype=np.int32) // block
    rows = (y[:, None] * np.int32(bx) + x[None, :]).ravel()
    # Narrow types: scipy widens a copy of the counts to whatever is wider here.
    columns, ones = np.arange(ny * nx, dtype=np.int32), np.ones(ny * nx, np.float32)
    return sp.csr_array((ones, (rows, columns)), shape=(by * bx, ny * nx))


def pooled_level(
    counts: sp.csr_array, shape: tuple[int, int], side: int, *, n_jobs: int
) -> tuple[Any, sp.csr_array]:
    """Sum square blocks of pixels, from memory or from the disk, in memory.

    Returns
    -------
    csr_array or SquareShares
        How pixels belong to squares, as the ``spread`` of the solver's rows takes it.
    csr_array of shape (squares, m)
    """
    if isinstance(counts, BlockedCounts):
        return SquareShares(shape, side), pooled_in_memory(counts, shape, side)
    pooling = pooling_matrix(shape, side)
    return pooling, pool_rows(pooling, counts, np.float32, n_jobs=n_jobs)


def pooled_squares(counts: sp.csr_array, shape: tuple[int, int], side: int) -> sp.csr_array:
    """Sum square blocks of pixels, from memory or from the disk (`BlockedCounts`), into memory."""
    if isinstance(counts, BlockedCounts):
        return pooled_in_memory(counts, shape, side)
    return counts if side == 1 else sp.csr_array(pooling_matrix(shape, side) @ counts)


def pooling_block(n_pixels: int, n_components: int, most: int = 2500) -> int:
    """Side of the blocks that leaves at most ``most`` of them, yet 20 for each component."""
    block = 1
    while n_pixels / (block + 1) ** 2 >= 20 * n_components and n_pixels / block**2 > most:
        block += 1
    return block


def pooled_counts(
    counts: sp.csr_array, shape: tuple[int, int], n_components: int
) -> tuple[sp.csr_array, tuple[int, int]]:
    """Sum square blocks of pixels to about 1500 counts, but keep a tenth of the map's side.

    Returns
    -------
    counts : scipy.sparse.csr_array of shape (blocks, m)
    shape : tuple of int
        Blocks along y and x.
    """
    typical = max(float(counts.sum(dtype=np.float64)) / counts.shape[0], 1e-12)
    enough = int(np.sqrt(shape[0] * shape[1] / (20 * n_components)))
    widest = max(min(min(shape) // 10, enough), 1)
    block = int(np.clip(round(np.sqrt(COUNTS_IN_BLOCK / typical)), 1, widest))
    if block == 1:
        return counts, shape
    if isinstance(counts, BlockedCounts):
        pooled = pooled_on_disk(counts, shape, block)
    else:
        pooled = pool_rows(pooling_matrix(shape, block), counts, np.float64)
    return pooled, (-(-shape[0] // block), -(-shape[1] // block))


def vertex_spectra(
    pooled: sp.csr_array, n_components: int, rng: np.random.Generator, *, draw: bool = False
) -> np.ndarray:
    """Pick the spectra of the most extreme blocks.

    The pooled counts are scaled by the square roots of their row and column means (Keenan
    & Kotula 2004), which makes their noise even, projected on their leading singular
    vectors, and divided by the blocks' totals; mixtures then lie in a simplex whose
    corners successive projection (Araujo et al. 2001) finds one by one.

    Parameters
    ----------
    pooled : scipy.sparse.csr_array of shape (blocks, channels)
        Counts.
    n_components : int
        Number of corners.
    rng : numpy.random.Generator
        Seeds the singular vectors and, with ``draw``, the choice of corners.
    draw : bool
        Draw each corner with a probability that grows with its distance from the span of
        the earlier ones, instead of taking the farthest: a random restart.

    Returns
    -------
    ndarray of shape (channels, n_components), float64
        Positive, each column summing to one.
    """
    n_channels = pooled.shape[1]
    totals = np.asarray(pooled.sum(axis=1, dtype=np.float64)).ravel()
    mean = np.asarray(pooled.sum(axis=0, dtype=np.float64)).ravel()
    mean = (mean + 1e-9 * mean.sum() / n_channels) / mean.sum()
    # Blocks with few counts (vacuum, holes) have wild directions and say little.
    usable = np.flatnonzero((totals > 0) & (totals >= 0.25 * np.quantile(totals, 0.75)))
    rank = min(n_components, n_channels - 1, usable.size - 1)
    chosen: list[int] = []
    if rank >= 1:
        scaled = (
            sp.diags_array(1 / np.sqrt(totals[usable]))
            @ pooled[usable].astype(np.float64)
            @ sp.diags_array(1 / np.sqrt(mean))
        )
        u, s = _leading(sp.csr_array(scaled), rank, rng)
        points = (u * s) * (1 / np.sqrt(totals[usable]))[:, None]
        chosen = _corners(points, min(n_components, usable.size), rng, draw)
    spectra = np.empty((n_channels, n_components))
    for c in range(n_components):
        if c < len(chosen):
            near = np.argsort(((points - points[chosen[c]]) ** 2).sum(axis=1), kind="stable")
            group = usable[near[: max(1, min(_NEIGHBOURS, usable.size // (2 * n_components)))]]
            counts = np.asarray(pooled[group].sum(axis=0, dtype=np.float64)).ravel()
        else:
            counts = mean * rng.uniform(0.5, 1.5, n_channels)
        # A floor lets every channel grow: coordinate descent never leaves an exact zero
        # that no entry pulls on, and a corner with few counts has many.
        counts = counts / max(counts.sum(), 1e-300) + 0.02 * mean
        spectra[:, c] = counts / counts.sum()
    return spectra


def _leading(x: sp.csr_array, rank: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Leading left singular vectors (n, rank) and values, by subspace iteration.

    A few digits are enough here; unlike Lanczos iteration it can't fail.
    """
    size = min(rank + 6, min(x.shape))
    transposed = sp.csr_array(x.T)
    basis = np.linalg.qr(rng.standard_normal((x.shape[1], size)))[0]
    for _ in range(_POWERS):
        basis = np.linalg.qr(transposed @ (x @ basis))[0]
    u, s, _ = np.linalg.svd(x @ basis, full_matrices=False)
    return u[:, :rank], s[:rank]


def _corners(points: np.ndarray, number: int, rng: np.random.Generator, draw: bool) -> list[int]:
    """Successive projection: take the farthest point, remove its direction, repeat."""
    residual = points.copy()
    chosen: list[int] = []
    for _ in range(number):
        norms = (residual**2).sum(axis=1)
        if not norms.max() > 0:
            break
        index = int(rng.choice(norms.size, p=norms / norms.sum())) if draw else int(norms.argmax())
        chosen.append(index)
        direction = residual[index] / np.sqrt(norms[index])
        residual = residual - np.outer(residual @ direction, direction)
    return chosen
