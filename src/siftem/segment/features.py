"""Filtered versions of the chosen images: what the pixel classifier looks at.

Every image is put on a common scale and then filtered at several widths. The set is the usual one
of trainable segmentation: the image itself, Gaussian, gradient magnitude, Hessian eigenvalues,
differences of Gaussians, and line filters that answer to needles and grain boundaries. Some seventy
features of four bytes make 300 MB for each million pixels: on large maps they are computed in
tiles, whose margin is as wide as the widest filter, so that they are those of the whole map.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.fft
from scipy import ndimage

from siftem import machine
from siftem.errors import InputError
from siftem.segment.images import Images, ScaledImages

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


#: Every kind of feature, in the order in which they are stacked.
FEATURES = ("original", "gaussian", "gradient", "hessian", "difference", "membrane")
#: Widths of the Gaussian in pixels.
SIGMAS = (1.0, 2.0, 4.0, 8.0, 16.0)

#: Half the length of the line of the membrane filter, in pixels, and its orientations. At
#: 15 degrees from one to the next, the tips of neighbouring lines lie 2.4 pixels apart.
LINE_HALF_LENGTH = 9
LINE_ORIENTATIONS = 12
LINE_STATISTICS = ("mean", "max", "min", "std")


class PixelFeatures(NamedTuple):
    """Features of each pixel with their names.

    Attributes
    ----------
    values : ndarray of shape (ny, nx, n_features), float32
        A view whose memory runs feature by feature.
    names : tuple of str
        ``"channel: feature"``, for example ``"Fp: gaussian 4"`` for sigma = 4 pixels.
    """

    values: np.ndarray
    names: tuple[str, ...]

    def at(self, where: np.ndarray) -> np.ndarray:
        """Features of some pixels, (pixels, features), in scan order."""
        return self.values[where]

    def tiles(self) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Yield lines, columns and features: of all pixels in one, as `FeatureTiles` in several."""
        yield slice(None), slice(None), self.values

    @property
    def shape(self) -> tuple[int, ...]:
        """Lines, columns and features."""
        return self.values.shape


def pixel_features(
    images: Images,
    *,
    features: Sequence[str] = FEATURES,
    sigmas: Sequence[float] = SIGMAS,
    poisson: bool | Collection[str] = False,
    n_jobs: int | None = None,
) -> PixelFeatures:
    """Filter each image at several widths.

    Each image is first brought to ``(x - median) / (q99 - q1)`` with q the percentiles of
    its own pixels, so that dose and unit do not matter (where the percentiles agree, the
    full range is used; a constant image becomes zero). With g the image after a Gaussian
    of standard deviation sigma, the features are

    - ``original``: the scaled image;
    - ``gaussian``: g;
    - ``gradient``: sigma |grad g|;
    - ``hessian``: the larger and the smaller eigenvalue of sigma^2 times the Hessian of g;
    - ``difference``: g of one sigma minus g of the next one;
    - ``membrane``: mean, max, min and standard deviation, over 12 orientations, of the mean
      along a line of 19 pixels through the pixel.

    Derivatives are central differences. The image is mirrored at its borders, so it may be
    smaller than any kernel.

    Parameters
    ----------
    images : mapping of str to ndarray of shape (ny, nx), or ndarray of shape (n, ny, nx)
        The channels; those of an array are called "0", "1", ...
    features : sequence of str
        Which features, any of ``FEATURES``.
    sigmas : sequence of float
        Widths of the Gaussian in pixels, positive.
    poisson : bool or collection of str
        Which channels are counts (True: all); they go through `anscombe` first.
    n_jobs : int, optional
        Threads; by default one for each core. The result does not depend on it.

    Returns
    -------
    PixelFeatures
        ``values`` (ny, nx, n_features) float32 and ``names``.
    """
    scaled = ScaledImages.of(images, poisson)
    kinds, widths = _check_choice(features, sigmas)
    names = tuple(f"{c}: {feature}" for c in scaled.names for feature in _layout(kinds, widths))
    return PixelFeatures(_of_scaled(scaled.part(), kinds, widths, n_jobs), names)


def feature_tiles(
    images: Images,
    *,
    features: Sequence[str] = FEATURES,
    sigmas: Sequence[float] = SIGMAS,
    poisson: bool | Collection[str] = False,
    n_jobs: int | None = None,
) -> FeatureTiles:
    """Prepare the same features for a map of any size, to be computed tile by tile.

    Parameters are those of `pixel_features`.

    Returns
    -------
    FeatureTiles
    """
    scaled = ScaledImages.of(images, poisson)
    kinds, widths = _check_choice(features, sigmas)
    names = tuple(f"{c}: {feature}" for c in scaled.names for feature in _layout(kinds, widths))
    # Gaussians end at four standard deviations; derivatives reach two pixels further.
    margin = max(int(4 * widths[-1] + 0.5) + 2, LINE_HALF_LENGTH + 1)
    return FeatureTiles(
        scaled, names, margin, partial(_of_scaled, kinds=kinds, widths=widths, n_jobs=n_jobs)
    )


def _of_scaled(
    scaled: np.ndarray, kinds: tuple[str, ...], widths: tuple[float, ...], n_jobs: int | None
) -> np.ndarray:
    """Return the features (ny, nx, features) of images that are on their scale already."""
    layout = _layout(kinds, widths)
    n_channels, ny, nx = scaled.shape
    out = np.empty((n_channels, len(layout), ny, nx), dtype=np.float32)
    smooth = np.empty((n_channels, len(widths), ny, nx), dtype=np.float32)

    def smoothing(channel: int, index: int) -> None:
        g = smooth[channel, index]
        ndimage.gaussian_filter(scaled[channel], widths[index], output=g, mode="reflect")
        _fill_derivatives(out[channel], layout, g, widths[index])

    def lines(channel: int) -> None:
        for name, values in _line_statistics(scaled[channel]).items():
            out[channel, layout[f"membrane {name}"]] = values

    tasks: list[tuple[Callable[..., None], tuple[int, ...]]] = []
    if set(kinds) - {"original", "membrane"}:
        # The widest kernels first: the threads then finish together.
        order = sorted(range(len(widths)), key=lambda i: -widths[i])
        tasks += [(smoothing, (c, i)) for i in order for c in range(n_channels)]
    if "membrane" in kinds:
        tasks = [(lines, (c,)) for c in range(n_channels)] + tasks
    with ThreadPoolExecutor(thread_count(n_jobs)) as pool:
        for task in [pool.submit(function, *arguments) for function, arguments in tasks]:
            task.result()

    if "original" in kinds:
        out[:, layout["original"]] = scaled
    if "difference" in kinds:
        for i, (fine, coarse) in enumerate(pairwise(widths)):
            index = layout[f"difference {fine:g} {coarse:g}"]
            np.subtract(smooth[:, i], smooth[:, i + 1], out=out[:, index])
    return out.reshape(-1, ny, nx).transpose(1, 2, 0)


def thread_count(n_jobs: int | None) -> int:
    """Return how many threads to use: ``n_jobs``, or one for each core when None."""
    if n_jobs is None:
        return machine.available()
    if n_jobs < 1:
        raise InputError(f"n_jobs must be a positive number of threads or None, got {n_jobs}")
    return int(n_jobs)


def _check_choice(
    features: Sequence[str], sigmas: Sequence[float]
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    if isinstance(features, str):
        features = (features,)
    unknown = [name for name in features if name not in FEATURES]
    if unknown or not features:
        raise InputError(
            f"features must be some of {', '.join(FEATURES)}, got {', '.join(unknown) or 'none'}"
        )
    widths = tuple(float(sigma) for sigma in sigmas)
    if not widths or not all(np.isfinite(sigma) and sigma > 0 for sigma in widths):
        raise InputError(f"sigmas must be one or more positive widths in pixels, got {sigmas!r}")
    kinds = tuple(name for name in FEATURES if name in features)
    if kinds == ("difference",) and len(set(widths)) < 2:
        raise InputError("a difference of Gaussians needs at least two sigmas: add one")
    return kinds, tuple(sorted(set(widths)))


def _layout(kinds: tuple[str, ...], widths: tuple[float, ...]) -> dict[str, int]:
    """Return the features of one channel: name to position."""
    names: list[str] = []
    for kind in kinds:
        if kind == "original":
            names.append(kind)
        elif kind == "difference":
            names += [f"{kind} {a:g} {b:g}" for a, b in pairwise(widths)]
        elif kind == "membrane":
            names += [f"{kind} {statistic}" for statistic in LINE_STATISTICS]
        elif kind == "hessian":
            names += [f"{kind} {side} {sigma:g}" for sigma in widths for side in ("large", "small")]
        else:
            names += [f"{kind} {sigma:g}" for sigma in widths]
    return {name: i for i, name in enumerate(names)}


def _fill_derivatives(out: np.ndarray, layout: dict[str, int], g: np.ndarray, sigma: float) -> None:
    """Write what derives from one smoothed image g; out is (features, ny, nx)."""
    if f"gaussian {sigma:g}" in layout:
        out[layout[f"gaussian {sigma:g}"]] = g
    wants_hessian = f"hessian large {sigma:g}" in layout
    if not wants_hessian and f"gradient {sigma:g}" not in layout:
        return
    slope, bend = (-0.5, 0.0, 0.5), (1.0, -2.0, 1.0)
    dy = ndimage.correlate1d(g, slope, axis=0, mode="reflect")
    if f"gradient {sigma:g}" in layout:
        dx = ndimage.correlate1d(g, slope, axis=1, mode="reflect")
        np.multiply(np.hypot(dy, dx), sigma, out=out[layout[f"gradient {sigma:g}"]])
    if wants_hessian:
        yy = ndimage.correlate1d(g, bend, axis=0, mode="reflect")
        xx = ndimage.correlate1d(g, bend, axis=1, mode="reflect")
        yx = ndimage.correlate1d(dy, slope, axis=1, mode="reflect")
        half_trace = 0.5 * (yy + xx)
        radius = np.hypot(0.5 * (yy - xx), yx)
        area = np.float32(sigma**2)
        out[layout[f"hessian large {sigma:g}"]] = area * (half_trace + radius)
        out[layout[f"hessian small {sigma:g}"]] = area * (half_trace - radius)


def _line_kernels() -> np.ndarray:
    """Return lines through the centre at equal steps of angle, each of sum one."""
    reach = np.arange(-LINE_HALF_LENGTH, LINE_HALF_LENGTH + 1)
    y, x = np.meshgrid(reach, reach, indexing="ij")
    angles = np.pi * np.arange(LINE_ORIENTATIONS)[:, None, None] / LINE_ORIENTATIONS
    along = x * np.cos(angles) + y * np.sin(angles)
    across = x * np.sin(angles) - y * np.cos(angles)
    kernels = np.clip(1.0 - np.abs(across), 0.0, 1.0) * (np.abs(along) <= LINE_HALF_LENGTH)
    return kernels / kernels.sum(axis=(1, 2), keepdims=True)


def _line_statistics(image: np.ndarray) -> dict[str, np.ndarray]:
    """Return statistics over orientations of the mean along a line, each (ny, nx) float32."""
    ny, nx = image.shape
    # "symmetric" of NumPy is "reflect" of ndimage: the border pixel is repeated.
    padded = np.pad(image, LINE_HALF_LENGTH, mode="symmetric")
    # Padded by the kernel's half length on each side, the wrap-around of the transform
    # only reaches pixels that are cut off.
    shape = tuple(scipy.fft.next_fast_len(n, real=True) for n in padded.shape)
    transform = scipy.fft.rfft2(padded, shape)
    answers = np.empty((LINE_ORIENTATIONS, ny, nx), dtype=np.float32)
    window = (
        slice(2 * LINE_HALF_LENGTH, 2 * LINE_HALF_LENGTH + ny),
        slice(2 * LINE_HALF_LENGTH, 2 * LINE_HALF_LENGTH + nx),
    )
    for answer, kernel in zip(answers, _line_kernels(), strict=True):
        kernel_transform = scipy.fft.rfft2(kernel.astype(np.float32), shape)
        answer[...] = scipy.fft.irfft2(transform * kernel_transform, shape)[window]
    return {
        "mean": answers.mean(axis=0),
        "max": answers.max(axis=0),
        "min": answers.min(axis=0),
        "std": answers.std(axis=0),
    }
