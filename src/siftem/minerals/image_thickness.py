"""Maps of the mass thickness of a film from an annular dark-field image of the same scan."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import convolve

from siftem.errors import InputError
from siftem.minerals.thickness import ThicknessMap, pure_pixels
from siftem.quantification.composition import Composition
from siftem.xray.elements import atomic_number, atomic_weight

#: An atom scatters as this power of its number into a large angle, and how well that is known: 1.64
#: (Krivanek et al. 2010, Nature 464, 571), 2 unscreened (Rutherford).
_POWER, _POWER_SIGMA = 1.7, 0.15
#: A dark level that was not told is at most this part of the darkest pixel.
_DARKEST = 0.9
#: Differences of neighbours in which planes and edges along the axes vanish.
_NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6.0
#: Standard deviation over the median of the absolute values of a normal variate.
_PER_MEDIAN = 1.4826


def image_thickness(
    film: ThicknessMap,
    image: np.ndarray,
    compositions: Mapping[str, Composition],
    *,
    reference: str,
    dark: float | None = None,
) -> ThicknessMap:
    """Map the mass thickness by the brightness of an annular dark-field (HAADF) image.

    ``(image - dark)`` is as ``sum(m w Z^1.7 / A)`` over the elements of a pixel's phases, whose
    shares of the mass are those of the counts. The mean of the reference where it is pure stays
    that of the map by counts. Diffraction contrast and films in which electrons scatter several
    times are not in it: compare both maps.

    Parameters
    ----------
    film : ThicknessMap
        By the counts, see `siftem.thickness_map`.
    image : ndarray of shape (ny, nx)
        Linear in the signal.
    compositions : mapping of str to Composition
        Of its phases.
    reference : str
        Whose mean sets the scale.
    dark : float, optional
        Of no film, as in vacuum. By default anything from 0 to 0.9 of the least of the image, with
        that error, which is large where the film is even.

    Returns
    -------
    ThicknessMap
        ``sigma`` holds the image's noise, the power of Z and the dark level.

    Raises
    ------
    InputError
        When the image has another shape, is nowhere brighter than the dark level, or no pixel holds
        the reference alone.

    References
    ----------
    Krivanek et al. 2010, Nature 464, 571. Immerkaer 1996, Comput. Vis. Image Underst. 64, 300
    (noise of an image).
    """
    seen = np.asarray(image, dtype=np.float64)
    if seen.shape != film.mass.shape or not np.isfinite(seen).all():
        raise InputError(
            f"the image must be finite numbers of the shape {film.mass.shape} of the map, got "
            f"{seen.shape}"
        )
    darks = (0.0, _DARKEST * max(float(seen.min()), 0.0)) if dark is None else (float(dark),)
    known = np.isfinite(film.mass) & (film.mass > 0)
    shares = {n: np.where(known, m / np.where(known, film.mass, 1.0), np.nan)
              for n, m in film.by_phase.items()}  # fmt: skip
    pure = pure_pixels(shares, reference)
    bright, log_slope = _brightness(shares, compositions)
    parts = []
    for level in darks:
        scattered = (seen - level) / bright
        mean = float(scattered[pure].mean()) if pure.any() else 0.0
        if not mean > 0:
            raise InputError(
                f"no pixel of {reference} alone is brighter than the dark level {level:g} of the "
                f"image"
            )
        parts.append((scattered / mean, mean))
    # Between both ends of what the dark level may be, all alike.
    relative = np.mean([r for r, _ in parts], axis=0)
    by_dark = (parts[-1][0] - parts[0][0]) / np.sqrt(12)
    noise = _PER_MEDIAN * float(np.median(np.abs(convolve(seen, _NOISE, mode="reflect"))))
    by_noise = noise / bright / min(mean for _, mean in parts)
    # The reference sets the scale: what changes it alike is no error of a ratio to it.
    by_power = relative * (log_slope - float(log_slope[pure].mean())) * _POWER_SIGMA
    scale = float(film.mass[pure].mean())
    return ThicknessMap(
        scale * relative,
        scale * np.sqrt(by_noise**2 + by_power**2 + by_dark**2),
        {n: share * scale * relative for n, share in shares.items()},
        film.scale_sigma,
        film.phases,
    )


def _brightness(
    shares: Mapping[str, np.ndarray], compositions: Mapping[str, Composition]
) -> tuple[np.ndarray, np.ndarray]:
    """Brightness of a mass in each pixel, and the change of its logarithm with the power of Z."""
    total, slope = 0.0, 0.0
    for name, share in shares.items():
        c = compositions[name]
        z = np.array([atomic_number(e) for e in c.elements], dtype=np.float64)
        each = np.maximum(c.weight_fractions, 0.0) * z**_POWER
        each = each / np.array([atomic_weight(e) for e in c.elements])
        total = total + share * each.sum()
        slope = slope + share * (each @ np.log(z))
    return np.asarray(total), np.asarray(slope / total)
