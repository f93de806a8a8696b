"""Images as large as the map that stay on disk, as the counts do that they are made of.

They are ordinary arrays, mapped from files in the scratch folder of the map. What is made of an
image on disk goes beside it; what is made of one in memory stays in memory. Work goes over them a
strip of lines at a time, gives the numbers of the whole image, and lets go of each strip, so that
few pages are ever resident; the operating system keeps the rest for as long as it has memory.
"""

from __future__ import annotations

import mmap
import os
import platform
import secrets
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from siftem.errors import SiftemError
from siftem.robust import grid_step

#: Pixels up to which an image is kept in memory in any case.
PIXELS_IN_MEMORY = 2**19
_ZEROS = bytes(2**20)


def is_large(number: int) -> bool:
    """Whether an image of so many pixels may go to the disk."""
    return number > PIXELS_IN_MEMORY


class _Mapped(mmap.mmap):
    """A mapped file that knows its path."""

    path: Path


def new_image(shape: tuple[int, ...], dtype: Any, folder: Path | None) -> np.ndarray:
    """Return an array of zeros, in a file of its own where a folder is given and it is large.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    folder : Path or None
        Scratch folder; None keeps it in memory.

    Returns
    -------
    ndarray
        The file is removed with the last array that refers to it.

    Raises
    ------
    SiftemError
        When the disk is full or can't be written.
    """
    dtype = np.dtype(dtype)
    number = int(np.prod(shape, dtype=np.int64))
    if folder is None or not is_large(number):
        return np.zeros(shape, dtype)
    size = number * dtype.itemsize
    name = f"image-{platform.node()}-{os.getpid()}-{secrets.token_hex(6)}.raw"
    path = folder / name
    try:
        with path.open("w+b") as file:
            _reserve(file.fileno(), size)
            mapped = _Mapped(file.fileno(), size)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise SiftemError(
            f"cannot keep an image of {size / 1e6:.0f} MB in {folder}: {error.strerror or error}"
        ) from None
    mapped.path = path
    weakref.finalize(mapped, _remove, path)
    return np.ndarray(shape, dtype, buffer=mapped)


def image_beside(source: np.ndarray, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return zeros where ``source`` is: in a file beside it, or in memory."""
    mapped = _mapped(source)
    return new_image(shape, dtype, None if mapped is None else mapped.path.parent)


def copied_beside(source: np.ndarray, index: list[int]) -> np.ndarray:
    """Return some of the images (k, ...) in another order, where the source is."""
    out = image_beside(source, (len(index), *source.shape[1:]), source.dtype)
    for image, i in zip(out, index, strict=True):
        image[...] = source[i]
        let_go(out, source)
    return out


def let_go(*arrays: np.ndarray | None) -> None:
    """Take the pages of images on disk out of this process; nothing of them is lost.

    Arrays in memory are left as they are, and so is everything where the system can't do it.
    """
    if not hasattr(mmap, "MADV_DONTNEED"):
        return
    for array in arrays:
        mapped = None if array is None else _mapped(array)
        if mapped is not None:
            mapped.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class StoredImages:
    """Images (k, pixels) on disk, as tasks on other machines find them.

    Parameters
    ----------
    path : Path
    offset : int
        Where in the file they begin, in bytes.
    shape : tuple of int
        (k, pixels).
    dtype : str
    """

    path: Path
    offset: int
    shape: tuple[int, int]
    dtype: str

    @classmethod
    def of(cls, images: np.ndarray) -> StoredImages | None:
        """Write out images on disk, and tell where they are; None for those in memory."""
        mapped = _mapped(images)
        if mapped is None or not images.flags.c_contiguous:
            return None
        mapped.flush()
        begin = np.frombuffer(mapped, np.uint8).__array_interface__["data"][0]
        offset = images.__array_interface__["data"][0] - begin
        return cls(mapped.path, offset, (images.shape[0], images.shape[1]), images.dtype.str)

    def read(self, first: int, last: int) -> np.ndarray:
        """Pixels ``first`` to ``last`` (not included) of all images; (k, pixels)."""
        whole = np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        return np.array(whole[:, first:last])


def _mapped(array: np.ndarray) -> _Mapped | None:
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, _Mapped) else None


def _reserve(file: int, size: int) -> None:
    """Take the room on the disk now: a mapped file that finds none later ends the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
        return
    for start in range(0, size, len(_ZEROS)):
        os.write(file, _ZEROS[: size - start])


def _remove(path: Path) -> None:
    # Where open files can't be removed it goes with the scratch folder.
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


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
