"""Features of a map so large that they are computed a strip of lines at a time.

Some seventy features of four bytes make 300 MB for each million pixels. Strips with a margin as
wide as the widest filter have the same features as the whole map has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

#: Bytes of features beyond which a map is cut into strips, and of one strip with its margins.
LARGEST_WHOLE = 512 * 2**20
_STRIP = 64 * 2**20


class FeatureStrips:
    """Stands for the features of a map, and computes them when they are needed.

    Parameters
    ----------
    scaled : ndarray of shape (channels, ny, nx), float32
        Images on their common scale.
    names : tuple of str
        Of the features.
    margin : int
        Lines that a feature sees to each side.
    compute : callable
        ``compute(scaled)`` gives the features (lines, nx, features) of some lines.
    """

    def __init__(
        self,
        scaled: np.ndarray,
        names: tuple[str, ...],
        margin: int,
        compute: Callable[[np.ndarray], np.ndarray],
    ) -> None:
        self.scaled = scaled
        self.names = names
        self.margin = margin
        self.compute = compute

    @property
    def shape(self) -> tuple[int, int, int]:
        """Lines, columns and features."""
        _, ny, nx = self.scaled.shape
        return ny, nx, len(self.names)

    def strips(self, wanted: np.ndarray | None = None) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yield first and last + 1 line, and the features (lines, nx, features).

        Parameters
        ----------
        wanted : ndarray of bool, shape (ny, nx), optional
            Strips without a wanted pixel are passed over.
        """
        ny, nx, n_features = self.shape
        lines = max(_STRIP // (4 * nx * n_features) - 2 * self.margin, self.margin)
        for first in range(0, ny, lines):
            last = min(first + lines, ny)
            if wanted is not None and not wanted[first:last].any():
                continue
            top, bottom = max(first - self.margin, 0), min(last + self.margin, ny)
            values = self.compute(self.scaled[:, top:bottom])
            values = values[first - top : last - top]
            yield first, last, values
            del values  # before the next strip is made

    def at(self, where: np.ndarray) -> np.ndarray:
        """Features of some pixels, (pixels, features), in scan order."""
        parts = []
        for first, last, values in self.strips(where):
            parts.append(values[where[first:last]])
            del values
        return np.concatenate([*parts, np.empty((0, self.shape[2]), np.float32)])
