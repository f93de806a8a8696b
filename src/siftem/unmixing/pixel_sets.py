"""Which pixels of a map take part in unmixing, and which phases each may hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from siftem.errors import InputError
from siftem.large.rows_of_counts import rows_of
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.mixed_rows import MixedRows

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
