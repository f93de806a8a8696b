"""Which pixels take part in unmixing, which phases each may hold, and the counts of these.

The counts are worked on part by part, by compiled kernels: in memory by threads, or from the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from siftem import machine
from siftem.compiling import kernel
from siftem.errors import InputError
from siftem.large.rows_of_counts import BlockedCounts, BlockReader, rows_of
from siftem.spectrum_image import SpectrumImage


@kernel(inline="always")
def begin_pixel(
    allowed: np.ndarray, maps: np.ndarray, p: int, total: float, n_allowed: int
) -> None:
    """Give what is allowed in a pixel some of its counts where it has none."""
    given = 0.0
    for c in range(maps.shape[1]):
        given += maps[p, c]
    for c in range(maps.shape[1]):
        # Nothing known yet, or a phase that had vanished: give it a chance.
        if allowed[p, c] and maps[p, c] < 1e-3 * total / n_allowed:
            maps[p, c] = total / n_allowed if given == 0.0 else 1e-3 * total / n_allowed


@kernel(inline="always")
def better_abundance(old: float, slope: float, curvature: float, total: float) -> float:
    """Where one abundance should go: Newton's step upwards, that of a bound downwards."""
    new = 0.0
    if curvature > 0.0:
        if slope <= 0.0:
            new = old - slope / curvature
        elif old > 1e-9 * total:
            new = old / (1.0 + slope / (curvature * old))
    return new


@kernel(makes_arrays=True)
def solve_abundances(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    spectra: np.ndarray,
    allowed: np.ndarray,
    maps: np.ndarray,
    passes: int,
    tolerance: float,
) -> float:
    """Maximise each pixel's Poisson likelihood over its non-negative abundances, in place.

    One coordinate after the other: where the slope asks for more, Newton's step, which a
    concave derivative keeps from overshooting; where it asks for less, the step of a bound
    on the curvature, which never raises the objective.

    Parameters
    ----------
    indptr, indices, data : ndarray
        Sparse counts, pixels x channels.
    spectra : ndarray of shape (channels, k)
        Each column sums to one.
    allowed : ndarray of shape (pixels, k), uint8
        0 where a phase can't be.
    maps : ndarray of shape (pixels, k)
        Abundances, changed in place.
    passes : int
        Passes over the coordinates at the most.
    tolerance : float
        Relative change of a pixel's abundances below which it has settled.

    Returns
    -------
    float
        ``sum(y ln mean) - sum(mean)`` over the pixels.
    """
    k = spectra.shape[1]
    likelihood = 0.0
    for p in range(maps.shape[0]):
        start, stop = indptr[p], indptr[p + 1]
        n = stop - start
        total = 0.0
        for t in range(start, stop):
            total += data[t]
        n_allowed = 0
        for c in range(k):
            if not allowed[p, c]:
                maps[p, c] = 0.0
            else:
                n_allowed += 1
        if total == 0.0 or n_allowed == 0:
            for c in range(k):
                maps[p, c] = 0.0
            continue
        local = np.empty((n, k))
        for t in range(n):
            for c in range(k):
                local[t, c] = spectra[indices[start + t], c]
        begin_pixel(allowed, maps, p, total, n_allowed)
        mean = np.zeros(n)
        for t in range(n):
            for c in range(k):
                mean[t] += local[t, c] * maps[p, c]
        for _ in range(passes):
            moved = 0.0
            for c in range(k):
                if not allowed[p, c]:
                    continue
                slope = 1.0
                curvature = 0.0
                for t in range(n):
                    ratio = local[t, c] / mean[t]
                    slope -= data[start + t] * ratio
                    curvature += data[start + t] * ratio * ratio
                old = maps[p, c]
                new = better_abundance(old, slope, curvature, total)
                step = new - old
                if step != 0.0:
                    maps[p, c] = new
                    moved = max(moved, abs(step))
                    for t in range(n):
                        mean[t] = max(mean[t] + step * local[t, c], 1e-300)
            if moved < tolerance * total:
                break
        for t in range(n):
            likelihood += data[start + t] * np.log(mean[t])
        for c in range(k):
            likelihood -= maps[p, c]
    return likelihood


@kernel()
def accumulate_ratios(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    spectra: np.ndarray,
    maps: np.ndarray,
    out: np.ndarray,
) -> None:
    """Add ``sum_p a_pk y_pj / mean_pj`` to ``out`` (channels, k) in place."""
    k = spectra.shape[1]
    for p in range(maps.shape[0]):
        for t in range(indptr[p], indptr[p + 1]):
            j = indices[t]
            mean = 0.0
            for c in range(k):
                mean += maps[p, c] * spectra[j, c]
            if mean > 0.0:
                ratio = data[t] / mean
                for c in range(k):
                    out[j, c] += maps[p, c] * ratio


#: Entries of a part in memory.
_ENTRIES = 500_000
#: A pixel's abundances are sought in this many passes at the most, and to this relative change.
_PASSES = 60
_SETTLED = 1e-6

#: Row starts (int64), channels (int32) and counts (float64) as the kernels take them.
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class _Held:
    """Rows that are in memory."""

    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray

    def arrays(self) -> Arrays:
        return (
            self.indptr.astype(np.int64, copy=False),
            self.indices.astype(np.int32, copy=False),
            self.data.astype(np.float64, copy=False),
        )


@dataclass(frozen=True, eq=False)
class _Stored:
    """Rows of a block on disk."""

    reader: BlockReader
    first: int
    last: int
    rows: np.ndarray

    def arrays(self) -> Arrays:
        x = self.reader.read(self.first, self.last)[self.rows]
        return _Held(x.indptr, x.indices, x.data).arrays()


@dataclass(frozen=True, eq=False)
class MixedRows:
    """Counts of some pixels, and the sums over them that unmixing needs.

    Results are added part by part in one order, so they don't depend on who does the work.

    Parameters
    ----------
    shape : tuple of int
        Rows and channels.
    parts : list of (slice, rows)
        Which rows a part holds, and where they are.
    each : callable
        ``each(task, items)`` yields what the task returns for each item, in order.
    """

    shape: tuple[int, int]
    parts: list[tuple[slice, Any]]
    each: Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]

    @classmethod
    def of(cls, counts: Any, rows: np.ndarray, last: np.ndarray) -> MixedRows:
        """Take some pixels of a map, and one more spectrum as the last row.

        Parameters
        ----------
        counts : scipy.sparse.csr_array or BlockedCounts, (pixels, m)
        rows : ndarray of int64
            Pixels, in rising order.
        last : ndarray of shape (m,)
        """
        parts: list[tuple[slice, Any]] = []
        if isinstance(counts, BlockedCounts):
            for first, end in counts.blocks:
                a, b = np.searchsorted(rows, [first, end])
                if b > a:
                    stored = _Stored(counts.reader, first, end, rows[a:b] - first)
                    parts.append((slice(int(a), int(b)), stored))
            each = counts.work.each
        else:
            parts = _cut(sp.csr_array(counts[rows]))
            each = _by_threads
        channels = np.flatnonzero(last)
        own = _Held(np.array([0, channels.size]), channels, last[channels])
        parts.append((slice(rows.size, rows.size + 1), own))
        return cls((rows.size + 1, last.size), parts, each)

    def solve(self, spectra: np.ndarray, allowed: np.ndarray, maps: np.ndarray) -> float:
        """Find the most likely abundances (rows, k), in place.

        Parameters
        ----------
        spectra : ndarray of shape (m, k)
        allowed : ndarray of uint8, shape (rows, k)
            0 where a phase can't be.
        maps : ndarray of shape (rows, k)

        Returns
        -------
        float
            ``sum(y ln mean) - sum(mean)`` over all rows.
        """
        total = 0.0
        items = [(part, allowed[where], maps[where]) for where, part in self.parts]
        found = self.each(partial(_solve_task, spectra), items)
        for (where, _), (likelihood, abundances) in zip(self.parts, found, strict=True):
            total += likelihood
            maps[where] = abundances
        return total

    def ratios(self, spectra: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Sum abundance times count over mean in each channel; float64 (m, k)."""
        out = np.zeros(spectra.shape)
        items = [(part, maps[where]) for where, part in self.parts]
        for part in self.each(partial(_ratios_task, spectra), items):
            out += part
        return out

    def summed(self, group: np.ndarray, number: int) -> np.ndarray:
        """Sum rows by group, those of group -1 left out; float64 (number, m)."""
        out = np.zeros((number, self.shape[1]))
        items = [(part, group[where]) for where, part in self.parts]
        for groups, part in self.each(partial(_sum_task, self.shape[1]), items):
            out[groups] += part.toarray()
        return out

    def pooled(self, group: np.ndarray, number: int) -> MixedRows:
        """Rows summed by group, in memory; every row has one."""
        whole = sp.csr_array((number, self.shape[1]))
        items = [(part, group[where]) for where, part in self.parts]
        for groups, part in self.each(partial(_sum_task, self.shape[1]), items):
            place = (np.ones(groups.size), (groups, np.arange(groups.size)))
            whole = sp.csr_array(whole + sp.csr_array(place, (number, groups.size)) @ part)
        whole.sort_indices()
        return MixedRows(whole.shape, _cut(whole), _by_threads)


def _cut(x: sp.csr_array) -> list[tuple[slice, Any]]:
    """Cut rows in memory into parts of about half a million entries, without copies."""
    number = max(1, round(x.nnz / _ENTRIES))
    wanted = np.linspace(0, x.nnz, number + 1)[1:-1]
    edges = np.unique([0, *np.searchsorted(x.indptr, wanted), x.shape[0]])
    parts: list[tuple[slice, Any]] = []
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        a, b = x.indptr[first], x.indptr[last]
        held = _Held(x.indptr[first : last + 1] - a, x.indices[a:b], x.data[a:b])
        parts.append((slice(first, last), held))
    return parts


def _by_threads(task: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    with ThreadPoolExecutor(machine.available()) as pool:
        yield from pool.map(task, items)


def _solve_task(spectra: np.ndarray, item: tuple[Any, np.ndarray, np.ndarray]) -> Any:
    part, allowed, maps = item
    maps = maps.copy()
    return solve_abundances(*part.arrays(), spectra, allowed, maps, _PASSES, _SETTLED), maps


def _ratios_task(spectra: np.ndarray, item: tuple[Any, np.ndarray]) -> np.ndarray:
    part, maps = item
    out = np.zeros(spectra.shape)
    accumulate_ratios(*part.arrays(), spectra, np.ascontiguousarray(maps), out)
    return out


def _sum_task(n_channels: int, item: tuple[Any, np.ndarray]) -> tuple[np.ndarray, sp.csr_array]:
    """Groups that occur, and their sums."""
    part, group = item
    indptr, indices, data = part.arrays()
    rows = np.flatnonzero(group >= 0)
    groups, own = np.unique(group[rows], return_inverse=True)
    pooling = sp.csr_array((np.ones(rows.size), (own.ravel(), rows)), (groups.size, group.size))
    x = sp.csr_array((data, indices, indptr), shape=(group.size, n_channels))
    return groups, sp.csr_array(pooling @ x)


#: Counts of a row from which on its abundances hardly follow the noise.
_ENOUGH = 300.0
#: Rows at the most, if neighbours are put together: they lie in memory.
_MOST_ROWS = 30_000


class PhaseRegions(Protocol):
    """What unmixing needs to know of the regions; `siftem.Regions` is one."""

    @property
    def matrix(self) -> str:
        """Name of the phase that is everywhere."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the grain phases."""

    @property
    def pure(self) -> Any:
        """Mask of the pure matrix, True = included."""

    @property
    def intersection(self) -> Any:
        """Mask of the pixels with two grains or more."""

    def mask(self, name: str) -> Any:
        """Mask of a grain."""

    def mixture(self, name: str) -> Any:
        """Mask of a grain with matrix and nothing else."""


@dataclass(frozen=True, eq=False)
class PixelSets:
    """Counts of the pixels that take part.

    Parameters
    ----------
    names : tuple of str
        Phases, the matrix first.
    counts : MixedRows of shape (pixels, channels)
        Of the mixed pixels; the last row is the sum of all pixels of pure matrix, which is
        all that can be known from them.
    allowed : ndarray of shape (pixels, k), uint8
        Phases that each row may hold.
    rows : ndarray of shape (pixels - 1,)
        Pixel of each row but the last.
    pure_rows : ndarray
        Pixels of pure matrix.
    pure_counts : ndarray
        Counts of each of these.
    """

    names: tuple[str, ...]
    counts: MixedRows
    allowed: np.ndarray
    rows: np.ndarray
    pure_rows: np.ndarray
    pure_counts: np.ndarray

    def sums(self) -> list[np.ndarray]:
        """Spectra of the pure matrix and of each grain's mixture with it; each (channels,)."""
        grains = self.allowed[:, 1:].astype(bool)
        lone = grains.sum(axis=1) == 1
        group = np.where(lone, 1 + grains.argmax(axis=1), -1)
        group[-1] = 0
        return list(self.counts.summed(group, len(self.names)))

    def pooled(self, shape: tuple[int, int]) -> PixelSets:
        """Return them with neighbours put together, so that each row holds enough counts.

        Abundances are fitted for every row beside the spectra, and can't be negative. In rows of
        few counts they follow the noise, and draw the spectra along.

        Parameters
        ----------
        shape : tuple of int
            Of the map.
        """
        mixed = np.where(np.arange(self.rows.size + 1) < self.rows.size, 0, -1)
        total = float(self.counts.summed(mixed, 1).sum())
        if total >= _ENOUGH * self.rows.size:
            return self
        enough = max(_ENOUGH, total / _MOST_ROWS)
        side = int(np.ceil(np.sqrt(enough * self.rows.size / max(total, 1.0))))
        y, x = np.divmod(self.rows, shape[1])
        where = np.column_stack([y // side, x // side, self.allowed[:-1]])
        blocks, first, group = np.unique(where, axis=0, return_index=True, return_inverse=True)
        number = len(blocks)
        return replace(
            self,
            counts=self.counts.pooled(np.append(group.ravel(), number), number + 1),
            allowed=np.vstack([self.allowed[:-1][first], self.allowed[-1:]]),
            rows=self.rows[first],
        )


def pixel_sets(si: SpectrumImage, regions: PhaseRegions, window: slice) -> PixelSets:
    """Sort the pixels of a map by the phases that they may hold.

    Parameters
    ----------
    si : SpectrumImage
    regions : Regions
        Pixels in none of pure matrix, mixtures and intersection (the rims of grains) are
        left out.
    window : slice
        Channels.

    Returns
    -------
    PixelSets

    Raises
    ------
    InputError
        When the regions are of another map, or one of them is empty.
    """
    names = (regions.matrix, *regions.names)
    pure = _mask(regions.pure, si, "the pure matrix")
    crossed = np.asarray(regions.intersection)
    mixed = np.zeros(si.shape, bool)
    allowed = np.zeros((*si.shape, len(names)), np.uint8)
    allowed[..., 0] = 1
    for i, name in enumerate(regions.names, start=1):
        mixed |= _mask(regions.mixture(name), si, f"the mixture of {name}")
        allowed[..., i] = np.asarray(regions.mask(name))
    if crossed.shape == si.shape:
        mixed |= crossed
    mixed &= ~pure
    rows = np.flatnonzero(mixed.ravel())
    counts = si.counts[:, window]
    pure_rows = np.flatnonzero(pure.ravel())
    whole = rows_of(counts).sum_of_rows(pure_rows)
    pure_counts = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()[pure_rows]
    only_matrix = np.zeros((1, len(names)), np.uint8)
    only_matrix[0, 0] = 1
    flat = allowed.reshape(-1, len(names))[rows]
    mixed_rows = MixedRows.of(counts, rows, whole)
    allowed = np.vstack([flat, only_matrix])
    return PixelSets(names, mixed_rows, allowed, rows, pure_rows, pure_counts)


def _mask(region: Any, si: SpectrumImage, what: str) -> np.ndarray:
    mask = np.asarray(region)
    if mask.shape != si.shape:
        raise InputError(f"{what} has shape {mask.shape}, the map has {si.shape}")
    if not mask.any():
        raise InputError(
            f"{what} holds no pixels: paint more traces, lower the smoothness or the margin"
        )
    return mask.astype(bool)
