"""Features of a map so large that they are computed a tile at a time.

Some seventy features of four bytes make 300 MB for each million pixels. Tiles with a margin as
wide as the widest filter have the same features as the whole map has.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from siftem.segment.scaled_images import ScaledImages

#: Bytes of features beyond which a map is cut into tiles, and of one tile with its margins.
LARGEST_WHOLE = 512 * 2**20
_TILE = 64 * 2**20


class FeatureTiles:
    """Stands for the features of a map, and computes them when they are needed.

    Parameters
    ----------
    images : ScaledImages
    names : tuple of str
        Of the features.
    margin : int
        Pixels that a feature sees to each side.
    compute : callable
        ``compute(scaled)`` gives the features (lines, columns, features) of a part of the images.
    """

    def __init__(
        self,
        images: ScaledImages,
        names: tuple[str, ...],
        margin: int,
        compute: Callable[[np.ndarray], np.ndarray],
    ) -> None:
        self.images = images
        self.names = names
        self.margin = margin
        self.compute = compute

    @property
    def shape(self) -> tuple[int, int, int]:
        """Lines, columns and features."""
        _, ny, nx = self.images.shape
        return ny, nx, len(self.names)

    def tiles(self, wanted: np.ndarray | None = None) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Yield lines, columns and features (lines, columns, features) of each tile.

        Parameters
        ----------
        wanted : ndarray of bool, shape (ny, nx), optional
            Tiles without a wanted pixel are passed over.
        """
        ny, nx, n_features = self.shape
        pixels = _TILE / (4 * n_features)
        # Whole lines as long as their margins are the smaller part of a tile.
        columns = _parts(nx, nx if pixels >= 4 * self.margin * nx else self._side(pixels))
        wide = max(last - first for first, last in columns) + 2 * self.margin
        lines = _parts(ny, max(int(pixels / min(wide, nx)) - 2 * self.margin, self.margin))
        for top, bottom in lines:
            for left, right in columns:
                if wanted is not None and not wanted[top:bottom, left:right].any():
                    continue
                seen_lines, own_lines = self._with_margin(top, bottom, ny)
                seen_columns, own_columns = self._with_margin(left, right, nx)
                values = self.compute(self.images.part(seen_lines, seen_columns))
                yield slice(top, bottom), slice(left, right), values[own_lines, own_columns]
                del values  # before the next tile is made

    def at(self, where: np.ndarray) -> np.ndarray:
        """Features of some pixels, (pixels, features), in scan order."""
        found = np.empty((int(np.count_nonzero(where)), self.shape[2]), np.float32)
        wanted = np.flatnonzero(where)
        for lines, columns, values in self.tiles(where):
            y, x = np.nonzero(where[lines, columns])
            pixels = (y + lines.start) * where.shape[1] + x + columns.start
            found[np.searchsorted(wanted, pixels)] = values[y, x]
            del values
        return found

    def _side(self, pixels: float) -> int:
        return max(int(np.sqrt(pixels)) - 2 * self.margin, self.margin)

    def _with_margin(self, first: int, last: int, end: int) -> tuple[slice, slice]:
        """Return what a tile sees, and which part of that is its own."""
        seen = slice(max(first - self.margin, 0), min(last + self.margin, end))
        return seen, slice(first - seen.start, last - seen.start)


def _parts(size: int, most: int) -> list[tuple[int, int]]:
    """Cut a length into equal parts of at most some size."""
    number = max(-(-size // most), 1)
    edges = np.linspace(0, size, number + 1).round().astype(int).tolist()
    return list(itertools.pairwise(edges))
