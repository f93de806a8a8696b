"""Sum the spectra of all pixels of a region, alike or with weights.

With weights, thick parts of a grain count for more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from siftem.errors import InputError
from siftem.hyperspy_input import as_map
from siftem.machine import one_blas_thread
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.anchors import GivenScale
from siftem.unmixing.pixel_sets import PhaseRegions
from siftem.views import outline


def integrate(si: SpectrumImage, region: ArrayLike, *, name: str | None = None) -> Spectrum:
    """Sum all pixels of a region, with Poisson errors.

    Parameters
    ----------
    si : SpectrumImage
        The counts; or a HyperSpy signal of them.
    region : array of bool, shape (ny, nx)
        True = included (HyperSpy's masks mean the opposite). A ``Region`` is one, a HyperSpy
        signal counts by its data.
    name : str, optional
        Name of the spectrum; the region's own name by default.

    Returns
    -------
    Spectrum
        Counts of each channel; the variance of a sum of Poisson counts is the sum itself.

    Raises
    ------
    InputError
        When the region has another shape than the map, is not boolean, or is empty.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> spectrum = siftem.integrate(si, phantom.mask("Fp"), name="Fp")
    >>> spectrum.n_pixels == int(phantom.mask("Fp").sum())
    True
    >>> ax = spectrum.plot()
    """
    si, mask = as_map(si), np.asarray(region)
    label = name if name is not None else getattr(region, "name", "") or "region"
    if mask.dtype != bool:
        raise InputError(
            f"a region must be a boolean array (True = included), got {mask.dtype}: "
            f"compare labels with a class, e.g. labels == 1"
        )
    if mask.shape != si.shape:
        raise InputError(f"region {label!r} has shape {mask.shape}, the map has {si.shape}")
    n_pixels = int(np.count_nonzero(mask))
    if n_pixels == 0:
        raise InputError(
            f"region {label!r} is empty: paint more traces, lower the smoothness or the margin"
        )
    counts = si.sum_spectrum(mask.ravel())
    pedestal = np.full(si.n_channels, n_pixels * si.pedestal)
    return Spectrum(
        counts - pedestal,
        si.axis,
        variance=counts,
        background=pedestal,
        name=label,
        n_pixels=n_pixels,
        acquisition=si.acquisition.over(n_pixels / si.n_pixels),
    )


#: Spectra that tell the phases apart are smoothed by this, keV: about the detector's width.
_BLUR = 0.03
#: The shares of the neighbours are averaged until their noise is about this.
_SHARE_NOISE = 0.1
#: Least and largest standard deviation of that average, pixels.
_REACH = (0.8, 5.0)


@dataclass(frozen=True, eq=False)
class WeightedMixture:
    """Weighted sum of a grain's pixels, ready for :func:`siftem.subtract`.

    ``subtract(w.spectrum, [matrix, *w.others], anchor=[anchor, *w.anchors])``.

    Parameters
    ----------
    spectrum : Spectrum
        Of the grain with what overlaps it. Scaled so that its variance sums up to its
        values: counts that a plain sum of the same precision would hold.
    others : tuple of Spectrum
        Weighted sums of the other grains that overlap it somewhere.
    anchors : tuple of GivenScale
        How much of each of these it holds, by the shares of the phases.
    weights : ndarray of shape (ny, nx)
        Between 0 and 1; 0 outside the grain.
    """

    __repr__ = outline

    spectrum: Spectrum
    others: tuple[Spectrum, ...]
    anchors: tuple[GivenScale, ...]
    weights: np.ndarray


@one_blas_thread()
def weighted_mixtures(
    si: SpectrumImage, regions: PhaseRegions, pure: Mapping[str, Spectrum]
) -> dict[str, WeightedMixture]:
    """Sum each grain's pixels by its share in them, intersections of grains included.

    In a plain sum over the mixture a pixel with little of the grain adds the noise of the
    matrix and hardly any signal. With shares f of the grain and about equal counts, weights
    f give the least variance for a matrix that is well known; the signal of a grain of
    uneven thickness then has up to a third less noise. Intersections, too, may be used:
    what they hold of another grain is taken out with that grain's own weighted sum.

    A weight must not know the noise of its own pixel, or it would prefer pixels where noise
    looks like the grain. So the share of a pixel is taken from its neighbours alone, by an
    average that is as wide as their noise asks for.

    Parameters
    ----------
    si : SpectrumImage
    regions : Regions
        Pure matrix, mixtures and intersections; other pixels take no part.
    pure : mapping of str to Spectrum
        A first estimate of each phase, such as from plain sums by :func:`siftem.subtract`,
        on the map's axis or a part of it. It tells how much of each phase a pixel holds and
        enters the sums in no other way.

    Returns
    -------
    dict of str to WeightedMixture
        For each grain.

    Raises
    ------
    InputError
        When a phase has no first estimate, or that lies on another axis.

    Notes
    -----
    The shares follow from the counts of a pixel by weighted least squares on the smoothed
    first estimates: linear in the counts, so unbiased at any dose.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> masks = {"Fp": phantom.mask("Fp"), "Ca-Pv": phantom.mask("Ca-Pv")}
    >>> regions = siftem.Regions(si.shape, matrix="Brg", masks=masks)
    >>> matrix = siftem.integrate(si, regions.pure)
    >>> mixture = siftem.integrate(si, regions.mixture("Fp"))
    >>> other = siftem.integrate(si, regions.mixture("Ca-Pv"))
    >>> first = {"Brg": matrix, "Fp": mixture, "Ca-Pv": other}
    >>> list(siftem.weighted_mixtures(si, regions, first))
    ['Fp', 'Ca-Pv']
    """
    si = as_map(si)
    names = (regions.matrix, *regions.names)
    shapes, window = _shapes(si, names, pure)
    filters = _filters(shapes, _BLUR / si.axis.to_kev().scale)
    amounts = np.asarray(si.counts[:, window] @ filters).reshape(*si.shape, len(names))
    reach = _reach(filters, shapes, float(si.counts.sum()) / si.n_pixels)
    used = np.asarray(regions.pure) | np.asarray(regions.intersection)
    for name in regions.names:
        used = used | np.asarray(regions.mixture(name))
    shares = _neighbour_shares(amounts, used, reach)
    weights = {}
    for i, name in enumerate(regions.names, start=1):
        crossed = np.asarray(regions.mask(name)) & np.asarray(regions.intersection)
        own = np.asarray(regions.mixture(name)) | crossed
        weights[name] = np.where(own, shares[..., i], 0.0)
        if not weights[name].any():
            raise InputError(
                f"no pixel of {name} seems to hold it: give a better first estimate of its "
                f"spectrum, or sum its mixture without weights"
            )
    return {name: _weighted(si, regions, name, weights, filters, window) for name in regions.names}


def _shapes(
    si: SpectrumImage, names: tuple[str, ...], pure: Mapping[str, Spectrum]
) -> tuple[np.ndarray, slice]:
    """Spectra that sum to one, (channels, k), and their channels of the map."""
    missing = [n for n in names if n not in pure]
    if missing:
        raise InputError(
            f"weighted sums need a first estimate of each phase, {missing[0]} has none: give "
            f"what subtract makes of its plain sum"
        )
    axis = pure[names[0]].axis
    if any(pure[n].axis != axis for n in names):
        raise InputError("the first estimates of all phases must be on one energy axis")
    start = round((axis.offset - si.axis.offset) / si.axis.scale)
    window = slice(start, start + axis.size)
    if start < 0 or si.axis.size < window.stop or si.axis.cropped(window) != axis:
        raise InputError("the first estimates must be on the energy axis of the map, or a part")
    shapes = np.stack([pure[n].values for n in names], axis=1)
    if not (shapes.sum(axis=0) > 0).all():
        raise InputError("the first estimate of a phase holds no counts")
    return shapes / shapes.sum(axis=0), window


def _filters(shapes: np.ndarray, blur: float) -> np.ndarray:
    """Return F with ``F' shapes = 1``, so that ``counts @ F`` are the phases' amounts.

    Weighted least squares; smooth filters keep the noise of the shapes out, and as they are
    applied to shapes that are not smoothed, they stay unbiased. (channels, k).
    """
    smooth = np.clip(gaussian_filter1d(shapes, blur, axis=0), 0.0, None)
    mean = smooth.mean(axis=1)
    weighted = smooth / np.maximum(mean, 1e-3 * mean.mean())[:, None]
    return np.asarray(weighted @ np.linalg.pinv(shapes.T @ weighted))


def _reach(filters: np.ndarray, shapes: np.ndarray, dose: float) -> float:
    """Width of the average over neighbours, in pixels."""
    # Variance of the worst phase's share in a pixel of this dose.
    mean = np.clip(shapes.mean(axis=1), 0.0, None)
    variance = float((filters**2 * mean[:, None]).sum(axis=0).max())
    variance /= max(dose, 1e-9)
    # A Gaussian average of this width holds 4 pi width^2 independent pixels.
    wanted = np.sqrt(variance / _SHARE_NOISE**2 / (4 * np.pi))
    return float(np.clip(wanted, *_REACH))


def _neighbour_shares(amounts: np.ndarray, used: np.ndarray, reach: float) -> np.ndarray:
    """Shares of the phases by the neighbours of each pixel; (ny, nx, k), 0 to 1."""
    impulse = np.zeros((2 * int(4 * reach + 1) + 1,) * 2)
    impulse[impulse.shape[0] // 2, impulse.shape[1] // 2] = 1.0
    own = float(gaussian_filter(impulse, reach).max())
    around = np.stack(
        [
            gaussian_filter(np.where(used, a, 0.0), reach, mode="constant") - own * a * used
            for a in np.moveaxis(amounts, -1, 0)
        ],
        axis=-1,
    )
    total = around.sum(axis=-1, keepdims=True)
    clear = total > 1e-9 * max(float(total.max()), 1e-300)
    return np.asarray(np.clip(np.where(clear, around / np.where(clear, total, 1.0), 0.0), 0, 1))


def _weighted(
    si: SpectrumImage,
    regions: PhaseRegions,
    name: str,
    weights: Mapping[str, np.ndarray],
    filters: np.ndarray,
    window: slice,
) -> WeightedMixture:
    names = (regions.matrix, *regions.names)
    values, variance = _sums(si, weights[name])
    scale = values.sum() / variance.sum()
    own = _spectrum(si, values, variance, scale, name, weights[name])
    present = [o for o in names[1:] if o != name and ((weights[name] > 0) & (weights[o] > 0)).any()]
    others = [_spectrum(si, *_sums(si, weights[o]), scale, o, weights[o]) for o in present]
    if not others:
        return WeightedMixture(own, (), (), weights[name])
    columns = filters[:, [names.index(o) for o in present]]
    held = own.values[window] @ columns
    inverse = np.linalg.pinv(np.array([o.values[window] @ columns for o in others]).T)
    factors = inverse @ held
    # Where the grain is alone, the filters know its noise from the first estimate, and it
    # cancels; what moves the factors is the noise of the intersections.
    crossed = (
        scale**2 * _sums(si, np.where(np.asarray(regions.intersection), weights[name], 0.0))[1]
    )
    sigmas = np.sqrt(((inverse @ columns.T) ** 2) @ crossed[window])
    anchors = [
        GivenScale(max(float(f), 0.0), float(s), of=o)
        for o, f, s in zip(present, factors, sigmas, strict=True)
    ]
    return WeightedMixture(own, tuple(others), tuple(anchors), weights[name])


def _sums(si: SpectrumImage, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted counts of each channel and their variance."""
    rows = np.flatnonzero(weights.ravel())
    factor = weights.ravel()[rows]
    counts = si.counts[rows]
    return np.asarray(counts.T @ factor).ravel(), np.asarray(counts.T @ factor**2).ravel()


def _spectrum(
    si: SpectrumImage,
    values: np.ndarray,
    variance: np.ndarray,
    scale: float,
    name: str,
    weights: np.ndarray,
) -> Spectrum:
    return Spectrum(
        scale * values,
        si.axis,
        variance=scale**2 * variance,
        name=name,
        n_pixels=int(np.count_nonzero(weights)),
        acquisition=si.acquisition,
        notes=("summed by the grain's share in each pixel",),
    )
