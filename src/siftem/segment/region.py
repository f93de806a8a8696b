"""A named set of pixels, and distances from its border."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from siftem.errors import InputError
from siftem.outline import outline

#: Pixels of a strip in which borders are measured.
_STRIP = 250_000


@dataclass(frozen=True, eq=False)
class Region:
    """A named set of pixels; True = included.

    ``a & b``, ``a | b``, ``a - b``, ``a ^ b`` and ``~a`` are the set operations; regions are
    equal when their pixels are, whatever their names. ``np.asarray(region)`` is the mask.

    Parameters
    ----------
    name : str
        For messages, figures and tables.
    mask : ndarray of shape (ny, nx), bool
        True where the pixel belongs to the region. Kept as a read-only copy.
    advice : str
        What to do when the region turns out to be empty; part of the error's sentence.
    """

    name: str
    mask: np.ndarray
    advice: str = field(default="enlarge it or leave it out", repr=False)

    # So that "array & region" is refused instead of making an array of objects.
    __array_ufunc__ = None
    __repr__ = outline

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", frozen_mask(self.mask, f"region {self.name!r}"))

    @property
    def shape(self) -> tuple[int, int]:
        """Size of the map, ``(ny, nx)``."""
        return self.mask.shape[0], self.mask.shape[1]

    @property
    def n_pixels(self) -> int:
        """Number of pixels in the region."""
        return int(np.count_nonzero(self.mask))

    @property
    def fraction(self) -> float:
        """Share of the map that the region covers, 0 to 1."""
        return self.n_pixels / self.mask.size

    def __bool__(self) -> bool:
        """Whether the region holds any pixel."""
        return bool(self.mask.any())

    def required(self, at_least: int = 1) -> Region:
        """Return the region itself, for use in a sum.

        Raises
        ------
        InputError
            When it holds fewer than ``at_least`` pixels.
        """
        if self.n_pixels < at_least:
            held = "no pixels" if not self else f"{self.n_pixels} pixels, {at_least} are needed"
            raise InputError(f"region {self.name!r} holds {held}: {self.advice}")
        return self

    def renamed(self, name: str) -> Region:
        """Return the same pixels under another name."""
        return Region(name, self.mask, self.advice)

    def eroded(self, n: float) -> Region:
        """Return the pixels more than ``n`` pixels from any outside the region.

        Distances are Euclidean, between pixel centres: ``eroded(1)`` takes away the pixels
        with an outside neighbour above, below, left or right. Beyond the edge of the map
        nothing is outside.
        """
        return Region(f"{self.name} eroded by {n:g}", eroded_mask(self.mask, n), self.advice)

    def dilated(self, n: float) -> Region:
        """Return the pixels at most ``n`` pixels (Euclidean) from any in the region."""
        return Region(f"{self.name} dilated by {n:g}", dilated_mask(self.mask, n), self.advice)

    def __and__(self, other: Any) -> Region:
        return self._combined(other, "&", np.logical_and)

    def __or__(self, other: Any) -> Region:
        return self._combined(other, "|", np.logical_or)

    def __xor__(self, other: Any) -> Region:
        return self._combined(other, "^", np.logical_xor)

    def __sub__(self, other: Any) -> Region:
        return self._combined(other, "-", np.greater)

    def __invert__(self) -> Region:
        return Region(f"~{_bracketed(self.name)}", ~self.mask)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Region):
            return NotImplemented
        return np.array_equal(self.mask, other.mask)

    def __hash__(self) -> int:
        return hash((self.shape, self.mask.tobytes()))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.mask, dtype=dtype, copy=True if copy is None else copy)

    def _combined(self, other: Any, sign: str, operation: Any) -> Region:
        if not isinstance(other, Region):
            return NotImplemented
        if other.shape != self.shape:
            raise InputError(
                f"regions must be of one map, but {self.name!r} is {self.shape} and "
                f"{other.name!r} is {other.shape}"
            )
        name = f"{_bracketed(self.name)} {sign} {_bracketed(other.name)}"
        return Region(name, operation(self.mask, other.mask))


def frozen_mask(mask: Any, what: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Return a read-only copy of a mask of a map, of the shape if one is given; else refuse it."""
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise InputError(
            f"{what} must be boolean (True = included), got dtype {mask.dtype}: compare it with "
            "a label first"
        )
    if mask.ndim != 2 or mask.size == 0 or (shape is not None and mask.shape != tuple(shape)):
        expected = "(ny, nx)" if shape is None else str(tuple(shape))
        raise InputError(f"{what} must have shape {expected}, got {mask.shape}")
    mask = mask.copy()
    mask.flags.writeable = False
    return mask


def eroded_mask(mask: np.ndarray, n: float) -> np.ndarray:
    """Return the pixels more than ``n`` pixels (Euclidean) from any outside; bool (ny, nx)."""
    if not (np.isfinite(n) and n >= 0):
        raise InputError(f"a distance must be a number of pixels from 0 up, got {n!r}")
    # Without any pixel outside there is no border to keep away from (and no distance).
    if n == 0 or mask.all():
        return mask
    # Strips that overlap by more than the distance: the transform takes 32 bytes a pixel.
    ny, nx = mask.shape
    reach = int(np.ceil(n)) + 1
    lines = max(_STRIP // nx, reach)
    out = np.empty_like(mask)
    for first in range(0, ny, lines):
        top, last = max(first - reach, 0), min(first + lines, ny)
        seen = mask[top : last + reach]
        own = slice(first - top, last - top)
        out[first:last] = seen[own] if seen.all() else (distance_transform_edt(seen) > n)[own]
    return out


def dilated_mask(mask: np.ndarray, n: float) -> np.ndarray:
    """Return the pixels at most ``n`` pixels (Euclidean) from any inside; bool (ny, nx)."""
    return ~eroded_mask(~mask, n)


def _bracketed(name: str) -> str:
    return f"({name})" if " " in name else name
