"""Starting points for the factorisation: vertices of the pooled data, then random draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from siftem.decomposition.count_sums import pool_rows
from siftem.decomposition.pooled_blocks import SquareShares, pooled_in_memory, pooled_on_disk
from siftem.large.rows_of_counts import BlockedCounts

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
