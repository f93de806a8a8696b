"""The factorisation of counts that are larger than memory.

`BlockedRows` and `BlockWeights` take the places of `CountRows` and of the array of weights in the
solver: the same steps in the same order. The weights of a block of pixels live in a file beside
the counts, and each step over the map writes new files and leaves the old ones: a task that is
lost with its worker is simply done again, and gives the same. What travels is the spectra on the
way out and, on the way back, sums of the size of the spectra.
"""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from siftem.decomposition import count_sums, row_kernels
from siftem.decomposition.initialise import SquareShares, write_whole
from siftem.errors import InputError
from siftem.large.disk_images import is_large, let_go, new_image
from siftem.large.rows_of_counts import BlockedCounts, BlockReader, Sums
from siftem.machine import is_alive


class WeightFolder:
    """A folder with the weights of every block, removed when nothing refers to it any more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._end = weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)

    def leave(self) -> None:
        """Keep the files when nothing refers to them any more: a checkpoint needs them."""
        self._end.detach()

    def remove(self) -> None:
        """Remove files that were left."""
        shutil.rmtree(self.path, ignore_errors=True)


class BlockWeights:
    """Weights (n, k) of all pixels, in files; changed only as a whole.

    Parameters
    ----------
    rows : BlockedRows
    n_components : int
    folder : WeightFolder, optional
        None shares each pixel's counts equally among the components.
    sums : ndarray of shape (k,)
        Column sums of what is in the files.
    scale : ndarray of shape (k,), optional
        Factors on what is in the files.
    squares : SquareShares, optional
        Without a folder: share the counts of each pixel as in its square.
    """

    def __init__(
        self,
        rows: BlockedRows,
        n_components: int,
        folder: WeightFolder | None,
        sums: np.ndarray,
        scale: np.ndarray | None = None,
        squares: SquareShares | None = None,
    ) -> None:
        self.rows = rows
        self.squares = squares
        self.shape = (rows.shape[0], n_components)
        self.folder = folder
        self.file_sums = sums
        self.scale = np.ones(n_components) if scale is None else scale

    def found_in(self, folder: Path, sums: np.ndarray, scale: np.ndarray) -> BlockWeights | None:
        """Return weights that a checkpoint left in a folder; None when some are missing."""
        for first, last in self.rows.counts.blocks:
            try:
                # Mapped, not read: its header and its length are checked.
                kept = np.load(weight_path(folder, first), mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError):
                return None
            if kept.shape != (last - first, self.shape[1]):
                return None
        left = WeightFolder(folder)
        left.leave()
        return BlockWeights(self.rows, self.shape[1], left, sums, scale)

    @property
    def identity(self) -> str:
        """What tells the first weights of a fit, which are in no file yet, from others."""
        digest = hashlib.sha256(self.file_sums.tobytes() + self.scale.tobytes())
        if self.squares is not None and self.squares.shares is not None:
            digest.update(repr((self.squares.map_shape, self.squares.side)).encode())
            digest.update(self.squares.shares.tobytes())
        return digest.hexdigest()

    @property
    def files(self) -> WeightFiles:
        """What tasks take along to read the weights of a block."""
        folder = None if self.folder is None else self.folder.path
        return WeightFiles(folder, self.scale, self.squares)

    def copy(self) -> BlockWeights:
        """Return another handle on the same files."""
        return BlockWeights(
            self.rows,
            self.shape[1],
            self.folder,
            self.file_sums,
            self.scale.copy(),
            self.squares,
        )

    def sum(self, axis: int = 0, dtype: Any = None) -> np.ndarray:
        """Column sums, float64 (k,)."""
        return np.asarray(self.file_sums * self.scale)

    def __mul__(self, factors: np.ndarray) -> BlockWeights:
        out = self.copy()
        out.scale = out.scale * np.asarray(factors)
        return out

    def __imul__(self, factors: np.ndarray) -> BlockWeights:
        self.scale = self.scale * np.asarray(factors)
        return self

    def astype(self, dtype: Any) -> BlockWeights:
        """Return itself: files hold double precision."""
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read the weights of all pixels, float64 (n, k)."""
        out = np.empty(self.shape, dtype or np.float64)
        for first, last in self.rows.counts.blocks:
            out[first:last] = self.files.read(self.rows.counts.reader, first, last)
        return out


@dataclass(frozen=True)
class WeightFiles:
    """Where the weights of a block are read; without a folder, its counts are shared out."""

    folder: Path | None
    scale: np.ndarray
    squares: SquareShares | None = None

    def read(
        self, reader: BlockReader, first: int, last: int, x: sp.csr_array | None = None
    ) -> np.ndarray:
        """Weights of the pixels of a block, float64; ``x`` are its counts, if read already."""
        if self.folder is None:
            x = reader.read(first, last) if x is None else x
            totals = np.asarray(x.sum(axis=1, dtype=np.float64)).reshape(-1, 1)
            if self.squares is not None:
                return self.squares.of_pixels(first, last) * totals * self.scale
            return totals / self.scale.size * self.scale
        return np.load(weight_path(self.folder, first), allow_pickle=False) * self.scale


def remove_orphans(scratch: Path, keep: Path | None) -> None:
    """Remove what killed processes of this machine have left: weights, but one folder, and images.

    Parameters
    ----------
    scratch : Path
    keep : Path or None
        Folder of weights from which a fit goes on.
    """
    for kind in ("weights", "image"):
        for path in scratch.glob(f"{kind}-{platform.node()}-*"):
            pid = path.name.rsplit("-", 2)[-2]
            if path == keep or not pid.isdigit() or is_alive(int(pid)):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def weight_path(folder: Path, first: int) -> Path:
    """File with the weights of the block that begins at a pixel."""
    return folder / f"pixels-{first:012d}.npy"


class BlockedRows:
    """Counts that stay on disk as `siftem.decomposition.solver_rows.SolverRows`, over blocks.

    Parameters
    ----------
    counts : BlockedCounts
    """

    n_jobs = 1

    def __init__(self, counts: BlockedCounts) -> None:
        self.counts = counts
        self.shape = counts.shape

    @property
    def nnz(self) -> int:
        """Stored entries."""
        return self.counts.nnz

    @property
    def saturated(self) -> float:
        """Objective when every mean equals its count."""
        return self.counts.saturated

    @property
    def identity(self) -> str:
        """A text that differs when the counts differ."""
        return self.counts.identity

    @property
    def total(self) -> float:
        """All counts."""
        return float(self.counts.sum())

    def in_one_thread(self) -> BlockedRows:
        """Return itself: the blocks have workers of their own."""
        return self

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Who does the work is ready already."""
        yield

    def even_weights(self, k: int, dtype: np.dtype) -> BlockWeights:
        """Share the counts of each row equally among the components."""
        if np.dtype(dtype) != np.float64:
            raise InputError(f"out of memory the factors are float64, got dtype {dtype}")
        return BlockWeights(self, k, None, np.full(k, self.total / k))

    def spread(
        self, pooling: SquareShares, shares: np.ndarray, pooled: sp.csr_array
    ) -> BlockWeights:
        """Give each pixel the shares (squares, k) of its square."""
        sums = np.asarray(pooled.sum(axis=1, dtype=np.float64)).ravel() @ shares
        squares = replace(pooling, shares=shares)
        return BlockWeights(self, shares.shape[1], None, sums, squares=squares)

    def maps(self, weights: BlockWeights, order: np.ndarray) -> np.ndarray:
        """Columns of ``weights`` in some order, on disk where they are large; (k, n)."""
        dtype = np.float32 if is_large(self.shape[0]) else np.float64
        maps = new_image((len(order), self.shape[0]), dtype, self.counts.scratch)
        for first, last in self.counts.blocks:
            maps[:, first:last] = weights.files.read(self.counts.reader, first, last).T[order]
            let_go(maps)
        return maps

    def improve(
        self,
        spectra: np.ndarray,
        weights: BlockWeights,
        *,
        free: np.ndarray | None = None,
        n_passes: int = 1,
        tol: float = 1e-8,
        gather: bool = True,
    ) -> tuple[float, np.ndarray]:
        """Improve ``weights`` for fixed ``spectra``: see `CountRows.improve`."""
        assert free is None, "PoissonNMF takes supports for maps in memory alone"
        new = self._new_folder() if n_passes > 0 else None
        task = partial(
            _improve_task,
            self.counts.reader,
            np.ascontiguousarray(spectra, np.float64),
            weights.files,
            None if new is None else new.path,
            n_passes,
            tol,
            gather,
        )
        found, statistics, sums = self.counts.work.total(task, self.counts.blocks)
        if new is not None:
            weights.folder, weights.file_sums = new, sums
            weights.scale = np.ones(spectra.shape[0])
        return float(found), statistics

    def within(self, weights: BlockWeights, support: np.ndarray | None) -> BlockWeights:
        """Return a copy of ``weights``."""
        assert support is None, "PoissonNMF takes supports for maps in memory alone"
        return weights.copy()

    def sums(self, weights: BlockWeights) -> np.ndarray:
        """Column sums of ``weights``, float64 (k,)."""
        return weights.sum()

    def weight_residual(
        self, spectra: np.ndarray, weights: BlockWeights, support: np.ndarray | None = None
    ) -> float:
        """Root mean square of ``min(w / mean(w), gradient / sum)`` over all weights."""
        level = weights.sum() / self.shape[0]
        task = partial(_residual_task, self.counts.reader, spectra, weights.files, level)
        squares, number = self.counts.work.total(task, self.counts.blocks)
        return float(np.sqrt(squares / number)) if number else 0.0

    def _new_folder(self) -> WeightFolder:
        name = f"weights-{platform.node()}-{os.getpid()}-{secrets.token_hex(6)}"
        return WeightFolder(self.counts.scratch / name)


def _improve_task(
    reader: BlockReader,
    spectra: np.ndarray,
    old: WeightFiles,
    new: Path | None,
    n_passes: int,
    tol: float,
    gather: bool,
    block: tuple[int, int],
) -> Sums:
    first, last = block
    x = reader.read(first, last)
    w = np.ascontiguousarray(old.read(reader, first, last, x))
    found, statistics = row_kernels.pass_over_rows(
        *row_arrays(x),
        (0, last - first),
        np.ascontiguousarray(spectra.T, dtype=np.float64),
        w,
        n_passes=n_passes,
        tol=tol,
        gather=gather,
    )
    if new is not None:
        write_whole(weight_path(new, first), w)
    return found, statistics, w.sum(axis=0)


def _residual_task(
    reader: BlockReader,
    spectra: np.ndarray,
    files: WeightFiles,
    level: np.ndarray,
    block: tuple[int, int],
) -> Sums:
    x = reader.read(*block)
    w = files.read(reader, *block, x)
    indptr, indices, data = row_arrays(x)
    gradient = np.empty(w.shape)
    scale = spectra.sum(axis=1, dtype=np.float64)
    count_sums.row_gradients(
        indptr, indices, data, 0, len(w), spectra, scale, np.ascontiguousarray(w), gradient
    )
    used = (level > 0) & (scale > 0)
    residual = np.minimum(w[:, used] / level[used], gradient[:, used] / scale[used])
    return float((residual**2).sum()), float(residual.size)


def row_arrays(x: sp.csr_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row starts, channels and counts of a block as the kernels take them."""
    data = x.data
    if data.dtype != np.float32:
        single = data.astype(np.float32)
        data = single if np.array_equal(single, data) else data.astype(np.float64)
    return (
        x.indptr.astype(np.int64, copy=False),
        x.indices.astype(np.int32, copy=False).view(np.uint32),
        data,
    )
