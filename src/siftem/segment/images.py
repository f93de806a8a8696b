"""Images of one map by name: components, total counts, the survey, elements and lines.

They are put on a common scale, so that dose and unit do not matter to what is learnt from them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from siftem.errors import InputError
from siftem.large.disk_images import let_go, sampled, strips
from siftem.spectrum_image import SpectrumImage
from siftem.xray.detector import Detector
from siftem.xray.elements import atomic_number
from siftem.xray.lines import parse_line, visible_lines

#: Name of the image of all counts.
TOTAL = "counts"


class NamedImages(NamedTuple):
    """Images for the classifier, and which of them hold counts.

    Attributes
    ----------
    images : dict of str to ndarray of shape (ny, nx)
    poisson : tuple of str
        Names of the images of raw counts: `PixelClassifier` takes them as ``poisson``.
    """

    images: dict[str, np.ndarray]
    poisson: tuple[str, ...]


def choose_images(
    si: SpectrumImage, names: Sequence[str], *, maps: Mapping[str, np.ndarray] | None = None
) -> NamedImages:
    """Return images of a map by name.

    Parameters
    ----------
    si : SpectrumImage
    names : sequence of str
        - a name in ``maps``;
        - "counts": all counts of each pixel;
        - the name of the survey image, such as "HAADF";
        - an element ("Fe"): counts in a window, as wide as the line (FWHM), around its
          strongest line on the axis; background included;
        - a line ("Fe Ka", "Nd_La"): the same around this one;
        - a window "0.6-0.8" in the unit of the energy axis.
    maps : mapping of str to ndarray (ny, nx), optional
        Images of your own, such as the maps of a factorisation:
        ``dict(zip(factors.names, factors.maps))``.

    Returns
    -------
    NamedImages
        Under the names given.

    Raises
    ------
    InputError
        When there is no such image, or an element has no line in the range.
    """
    maps = {} if maps is None else {str(name): np.asarray(image) for name, image in maps.items()}
    if isinstance(names, str):
        names = (names,)
    if not names:
        raise InputError("names is empty: choose at least one image")
    images: dict[str, np.ndarray] = {}
    poisson = []
    for name in names:
        if name in maps:
            images[name] = maps[name]
        elif name == TOTAL:
            images[name] = si.total_map()
        elif si.survey is not None and name == si.survey_name:
            images[name] = np.asarray(si.survey)
        else:
            low, high = _window(si, name, tuple(maps))
            images[name] = si.window_map(low, high)
        if name not in maps and (name == TOTAL or name != si.survey_name):
            poisson.append(name)
        if images[name].shape != si.shape:
            raise InputError(
                f"image {name!r} must have the shape of the map, {si.shape}, "
                f"got {images[name].shape}"
            )
    return NamedImages(images, tuple(poisson))


def _window(si: SpectrumImage, name: str, known: tuple[str, ...]) -> tuple[float, float]:
    """Return the energy window that a name stands for, in the unit of the axis."""
    written = _written_window(name)
    if written is not None:
        low, high = written
        if not (si.axis.first <= low < high <= si.axis.last):
            raise InputError(
                f"the window {name!r} must lie between {si.axis.first:.4g} and "
                f"{si.axis.last:.4g} {si.axis.unit}"
            )
        return low, high
    per_kev = si.axis.per_kev
    energy = _line_energy(si, name)
    if energy is None:
        survey = () if si.survey is None else (si.survey_name,)
        listed = ", ".join((*known, TOTAL, *survey))
        raise InputError(
            f"there is no image {name!r}: choose among {listed}, an element (Fe), a line (Fe Ka) "
            "or a window (0.6-0.8)"
        )
    half = float(Detector.of(si.acquisition).fwhm(energy)) / 2e3
    return (energy - half) * per_kev, (energy + half) * per_kev


def _line_energy(si: SpectrumImage, name: str) -> float | None:
    """Return the energy of an element's or a line's window in keV; None for other names."""
    if not si.signal_type.startswith("EDS"):
        return None
    try:
        atomic_number(name)
    except InputError:
        try:
            energy = parse_line(name)[2]
        except InputError:
            return None
    else:
        si.acquisition.tell_assumed_beam()
        kev, beam = si.axis.to_kev(), si.acquisition.beam
        low, high = max(kev.first, 0.05), min(kev.last, beam)
        lines = visible_lines(name, beam_energy=beam, low=low, high=high)
        if not lines:
            raise InputError(f"{name} has no line between {low:.3g} and {high:.4g} keV")
        energy = lines[0].energy
    kev = si.axis.to_kev()
    if not kev.first <= energy <= kev.last:
        raise InputError(
            f"{name} lies at {energy:.3g} keV, outside the map's {kev.first:.3g} to "
            f"{kev.last:.4g} keV"
        )
    return energy


def _written_window(name: str) -> tuple[float, float] | None:
    low, dash, high = name.partition("-")
    try:
        return (float(low), float(high)) if dash else None
    except ValueError:
        return None


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
