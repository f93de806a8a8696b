"""Work on images a strip of lines at a time, with the numbers that the whole image gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from siftem.large.disk_images import image_beside, is_large, let_go
from siftem.robust import grid_step

#: Pixels of a strip, its margins not counted, where an image is cut into several.
_PIXELS = 2**18


class Strip(NamedTuple):
    """Some lines of an image, and more of them to either side where they are needed."""

    #: The lines that the strip stands for.
    lines: slice
    #: Those with the margins.
    seen: slice
    #: The strip's own lines among those seen.
    own: slice


def strips(
    shape: tuple[int, ...], margin: int = 0, of: Iterable[np.ndarray] = ()
) -> Iterator[Strip]:
    """Cut an image into strips; one strip up to half a million pixels.

    Parameters
    ----------
    shape : tuple of int
        (ny, nx).
    margin : int
        Lines that are seen beyond each end of a strip.
    of : iterable of ndarray
        Images that are gone over: those on disk are let go after each strip.

    Yields
    ------
    Strip
    """
    ny, nx = shape
    of = tuple(of)
    lines = max(_PIXELS // nx, 2 * margin, 1) if is_large(ny * nx) else ny
    for first in range(0, ny, lines):
        last = min(first + lines, ny)
        seen = slice(max(first - margin, 0), min(last + margin, ny))
        yield Strip(slice(first, last), seen, slice(first - seen.start, last - seen.start))
        let_go(*of)


def reach(sigma: float) -> int:
    """Pixels that a Gaussian sees to each side when it ends at four standard deviations."""
    return int(4 * sigma + 0.5)


def smoothed(
    part: Callable[[slice], np.ndarray],
    shape: tuple[int, ...],
    sigma: float,
    of: Iterable[np.ndarray] = (),
) -> Iterator[tuple[slice, np.ndarray]]:
    """Smooth an image by a Gaussian that ends at four ``sigma``, borders repeated.

    Parameters
    ----------
    part : callable
        ``part(lines)`` gives some lines of the image, float64.
    shape : tuple of int
        (ny, nx).
    sigma : float
        In pixels.
    of : iterable of ndarray
        As for `strips`.

    Yields
    ------
    lines : slice
    smooth : ndarray of shape (lines, nx), float64
    """
    for strip in strips(shape, reach(sigma), of):
        yield strip.lines, gaussian_filter(part(strip.seen), sigma, mode="nearest")[strip.own]


def on_grid(lines: slice, part: np.ndarray, step: int) -> np.ndarray:
    """Every ``step``-th pixel of every ``step``-th line of the image, those in a strip of it."""
    # A copy: a view would keep the whole strip in memory.
    return part[-lines.start % step :: step, ::step].copy()


def sampled(image: np.ndarray) -> np.ndarray:
    """Look at an image in about half a million of its pixels at the most, on a grid."""
    step = grid_step(image.shape)
    return np.concatenate(
        [on_grid(s.lines, image[s.lines], step) for s in strips(image.shape, of=(image,))]
    )


def converted(image: np.ndarray, dtype: Any) -> np.ndarray:
    """Return a copy of another type, beside the image."""
    out = image_beside(image, image.shape, dtype)
    for strip in strips(image.shape, of=(image, out)):
        out[strip.lines] = image[strip.lines]
    return out
