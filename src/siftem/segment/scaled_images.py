"""Images on a common scale, so that dose and unit do not matter to what is learnt from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from siftem.errors import InputError
from siftem.large.disk_images import let_go, sampled, strips

Images = Mapping[str, np.ndarray] | np.ndarray


def anscombe(counts: np.ndarray) -> np.ndarray:
    """Make the variance of Poisson counts nearly one: ``2 sqrt(x + 3/8)``.

    Parameters
    ----------
    counts : ndarray
        Counts, not negative; any shape.

    Returns
    -------
    ndarray of float64
        Same shape. The variance is within 10% of one for means of two counts and more.

    References
    ----------
    F. J. Anscombe, Biometrika 35 (1948) 246.
    """
    counts = np.asarray(counts, dtype=np.float64)
    if counts.size and counts.min() < 0:
        raise InputError(
            f"counts must not be negative for the Anscombe transform, got {counts.min():g}: "
            "leave this image out of 'poisson'"
        )
    return 2.0 * np.sqrt(counts + 0.375)


def checked_images(images: Images) -> dict[str, np.ndarray]:
    """Check that images can be looked at together.

    Parameters
    ----------
    images : mapping of str to ndarray of shape (ny, nx), or ndarray of shape (n, ny, nx)
        Real numbers, finite.

    Returns
    -------
    dict of str to ndarray of shape (ny, nx)
        The images as they are, by name.
    """
    if isinstance(images, Mapping):
        named = {str(name): np.asarray(image) for name, image in images.items()}
    else:
        array = np.asarray(images)
        if array.ndim != 3:
            raise InputError(
                f"images must be a mapping of names to (ny, nx) arrays or one array of shape "
                f"(images, ny, nx), got an array of shape {array.shape}"
            )
        named = {str(i): image for i, image in enumerate(array)}
    if not named:
        raise InputError("images is empty: give at least one image")
    first = next(iter(named))
    for name, image in named.items():
        if image.ndim != 2 or image.size == 0:
            raise InputError(f"image {name!r} must have shape (ny, nx), got {image.shape}")
        if image.shape != named[first].shape:
            raise InputError(
                f"images must have one shape, but {first!r} is {named[first].shape} and "
                f"{name!r} is {image.shape}"
            )
        if image.dtype.kind not in "buif":
            raise InputError(f"image {name!r} must hold real numbers, got dtype {image.dtype}")
        if not all(np.isfinite(image[s.lines]).all() for s in strips(image.shape, of=(image,))):
            raise InputError(
                f"image {name!r} holds NaN or infinity: replace those pixels or leave it out"
            )
    return named


def stack_images(images: Images) -> tuple[tuple[str, ...], np.ndarray]:
    """Check images and stack them.

    Parameters
    ----------
    images
        As in `checked_images`.

    Returns
    -------
    names : tuple of str
        Of each channel.
    stack : ndarray of shape (n, ny, nx), float64
    """
    named = checked_images(images)
    stack = np.empty((len(named), *next(iter(named.values())).shape))
    for out, image in zip(stack, named.values(), strict=True):
        out[...] = image
    return tuple(named), stack


@dataclass(frozen=True, eq=False)
class ScaledImages:
    """Images with the scale that each is seen on; only parts of them are scaled at a time.

    Parameters
    ----------
    images : dict of str to ndarray of shape (ny, nx)
        As given.
    counts : frozenset of str
        Images of counts, which go through `anscombe` first.
    scales : tuple of (float, float)
        Of each image what is taken away, and what the rest is divided by.
    """

    images: dict[str, np.ndarray]
    counts: frozenset[str]
    scales: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, images: Images, poisson: bool | Collection[str]) -> ScaledImages:
        """Measure the scale of each image: its median, and its percentiles 1 to 99.

        Large images are looked at on a grid of half a million pixels.

        Parameters
        ----------
        images, poisson
            As in `siftem.segment.features.pixel_features`.

        Raises
        ------
        InputError
            When the images do not go together, or ``poisson`` names none of them.
        """
        named = checked_images(images)
        if isinstance(poisson, bool):
            counts = set(named) if poisson else set()
        else:
            counts = {poisson} if isinstance(poisson, str) else {str(name) for name in poisson}
            unknown = sorted(counts - set(named))
            if unknown:
                raise InputError(
                    f"poisson names {', '.join(unknown)}, but the images are {', '.join(named)}"
                )
        scales = []
        for name, image in named.items():
            if name in counts and _least(image) < 0:
                raise InputError(
                    f"image {name!r} holds negative values, so it is no count map: "
                    "leave it out of 'poisson'"
                )
            seen = sampled(image)
            seen = anscombe(seen) if name in counts else seen.astype(np.float64, copy=False)
            low, middle, high = np.percentile(seen, (1, 50, 99))
            scales.append((float(middle), float(high - low or np.ptp(seen) or 1.0)))
        return cls(named, frozenset(counts), tuple(scales))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the images, in order."""
        return tuple(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of images, lines and columns."""
        ny, nx = next(iter(self.images.values())).shape
        return len(self.images), ny, nx

    def part(self, lines: slice = slice(None), columns: slice = slice(None)) -> np.ndarray:
        """Scale some lines and columns; (images, lines, columns) float32."""
        seen = {name: image[lines, columns] for name, image in self.images.items()}
        out = np.empty((len(seen), *next(iter(seen.values())).shape), np.float32)
        for part, name, (middle, spread) in zip(out, seen, self.scales, strict=True):
            image = seen[name]
            values = anscombe(image) if name in self.counts else image.astype(np.float64)
            part[...] = (values - middle) / spread
            let_go(image)
        return out


def _least(image: np.ndarray) -> float:
    return min(float(image[s.lines].min()) for s in strips(image.shape, of=(image,)))
