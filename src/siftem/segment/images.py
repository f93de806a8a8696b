"""Images of one map by name: components, total counts, the survey, elements and lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from siftem.errors import InputError
from siftem.spectrum_image import SpectrumImage
from siftem.xray.detector import Detector
from siftem.xray.elements import atomic_number
from siftem.xray.lines import parse_line, visible_lines

#: Name of the image of all counts.
TOTAL = "counts"
#: keV, where the file does not say.
_BEAM_ENERGY = 200.0


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
        kev = si.axis.to_kev()
        beam = si.acquisition.beam_energy or _BEAM_ENERGY
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
