"""Gain and noise floor of a detector, from the scatter of the data themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.machine import one_blas_thread
from siftem.printed_numbers import percent
from siftem.spectrum_image import SpectrumImage

#: Values of similar mean that are pooled for one point of the mean-variance line.
_BINS = 24
#: Lags over which a detector smears the charge of one electron.
_LAGS = 3
#: Whole numbers whose gain is this near to one are counts.
_NEAR_ONE = 0.35
#: Pixels that are enough for an estimate.
_PIXELS = 2000
#: Singular values beyond this factor of their median are signal (Gavish & Donoho 2014).
_THRESHOLD = (0.56, -0.95, 1.82, 1.43)


@dataclass(frozen=True)
class NoiseModel:
    """Variance of a value of the data as a straight line of its mean.

        Var(value) = gain * mean + floor

    Counted electrons have a gain of 1 and no floor. A camera multiplies by its gain; a dark
    level that was taken off leaves its noise, and the readout adds some: both are in the
    floor. An offset that was left in makes the floor negative. Mean and variance alone can't
    tell these apart, and need not: ``(value + floor / gain) / gain`` has equal mean and
    variance in each of these cases, so a Poisson likelihood holds for it to second order
    (Snyder et al. 1995, J. Opt. Soc. Am. A 12, 272).

    Parameters
    ----------
    gain : float
        Units of the data for one electron, as the scatter of single channels has it.
    floor : float
        Variance at zero signal, in squared units of the data; negative for an offset.
    gain_sigma, floor_sigma : float
        Their standard deviations.
    correlation_factor : float
        Variance of a sum over channels, divided by the sum of the variances. Above 1 when
        the detector smears an electron over several channels.
    rank : int
        Components of the signal that were told from noise.

    Examples
    --------
    >>> camera = siftem.NoiseModel(gain=3.0, floor=12.0, correlation_factor=1.5)
    >>> camera.electron, camera.pedestal
    (4.5, 4.0)
    >>> print(camera.describe())
    noise estimated from the data: 4.5 units of the data for one electron ...
    """

    gain: float
    floor: float
    gain_sigma: float = 0.0
    floor_sigma: float = 0.0
    correlation_factor: float = 1.0
    rank: int = 0

    @property
    def electron(self) -> float:
        """Units of the data that one electron gives, with its smeared charge."""
        return self.gain * self.correlation_factor

    @property
    def pedestal(self) -> float:
        """What is added to a value before it is divided by the gain: ``floor / gain``."""
        return self.floor / self.gain

    def describe(self) -> str:
        """Say what was found, for notes and reports."""
        return (
            f"noise estimated from the data: {self.electron:.3g} units of the data for one "
            f"electron (gain {self.gain:.3g} +- {self.gain_sigma:.2g} a channel, correlation of "
            f"channels {self.correlation_factor:.3g}), variance at zero signal {self.floor:.3g} "
            f"+- {self.floor_sigma:.2g}"
        )


@one_blas_thread()
def estimate_noise(data: np.ndarray, *, rank: int | None = None) -> NoiseModel:
    """Estimate gain and noise floor from what a few components leave of the data.

    The data are scaled to even noise (Keenan & Kotula 2004, Surf. Interface Anal. 36, 203),
    components that stand out of the noise are taken off, and the squares of what is left
    are fitted by a straight line of the mean. Degrees of freedom of the components are
    accounted for.

    Parameters
    ----------
    data : ndarray of shape (..., channels)
        Pixels and channels as recorded; real, may be negative. At least 30 pixels and 10
        channels. Dense: for counts in sparse form the model is known (gain 1, no floor).
    rank : int, optional
        Components of the signal; by default those above the hard threshold of Gavish &
        Donoho 2014 (IEEE Trans. Inf. Theory 60, 5040). Where neighbouring channels share
        noise, that finds too many, and the gain comes out up to a sixth too low: give the
        rank when you know it.

    Returns
    -------
    NoiseModel

    Raises
    ------
    InputError
        When there are too few pixels or channels, values are not finite, or no variance
        grows with the mean (smoothed, normalised or denoised data).

    Examples
    --------
    >>> import numpy as np
    >>> mean = np.exp(-np.arange(64) / 20) * np.linspace(50, 90, 256)[:, None]
    >>> data = 3.0 * np.random.default_rng(0).poisson(mean).reshape(16, 16, 64)
    >>> round(siftem.estimate_noise(data).gain)
    3
    """
    x = _as_numbers(data)
    x = x.reshape(-1, x.shape[-1]) if x.ndim > 1 else x
    if x.ndim != 2 or x.shape[0] < 30 or x.shape[1] < 10:
        raise InputError(
            f"estimating the noise needs at least 30 pixels and 10 channels, got {np.shape(data)}"
        )
    if not np.isfinite(x).all():
        raise InputError("the data hold NaN or infinity: mend or crop those pixels first")
    # A positive scale for each row and column: their mean, not below a tenth of the typical.
    rows, columns = (_positive(x.mean(axis=i)) for i in (1, 0))
    scale = np.sqrt(np.outer(rows, columns) / rows.mean())
    u, s, v = np.linalg.svd(x / scale, full_matrices=False)
    if rank is None:
        beta = min(x.shape) / max(x.shape)
        rank = int((s > np.polyval(_THRESHOLD, beta) * np.median(s)).sum())
    if not 0 <= rank < min(x.shape) // 2:
        raise InputError(f"rank must be 0 to {min(x.shape) // 2 - 1}, got {rank}")
    mean = (u[:, :rank] * s[:rank]) @ v[:rank] * scale
    left = x - mean
    # What the components take of the noise, row by row and channel by channel.
    kept = np.outer(1 - (u[:, :rank] ** 2).sum(axis=1), 1 - (v[:rank] ** 2).sum(axis=0))
    use = kept > 0.25
    square = np.where(use, left**2 / np.where(use, kept, 1.0), 0.0)
    try:
        gain, floor, covariance = _mean_variance_line(mean[use], square[use])
    except np.linalg.LinAlgError:
        raise InputError(
            "all values have the same mean, so their noise cannot be told from an offset: give a "
            "map with more and less signal, or the noise model"
        ) from None
    if not gain > 3 * np.sqrt(covariance[0, 0]):
        raise InputError(
            "the variance does not grow with the signal: the data were smoothed, normalised or "
            "denoised, so their noise cannot be known; use the data as recorded"
        )
    sigma = np.sqrt(np.maximum(gain * np.maximum(mean, 0) + max(floor, 0.0), 1e-12))
    return NoiseModel(
        gain=gain,
        floor=floor,
        gain_sigma=float(np.sqrt(covariance[0, 0])),
        floor_sigma=float(np.sqrt(covariance[1, 1])),
        correlation_factor=_correlation(left / sigma),
        rank=rank,
    )


@one_blas_thread()
def as_counts(
    data: np.ndarray,
    axis: EnergyAxis,
    *,
    noise: NoiseModel | None = None,
    pixel_size: tuple[float, float] | None = None,
    acquisition: Acquisition | None = None,
    survey: np.ndarray | None = None,
    title: str = "",
) -> tuple[SpectrumImage, NoiseModel]:
    """Turn an analogue map into equivalent counts, whose variance is their mean.

    Parameters
    ----------
    data : ndarray of shape (ny, nx, channels)
        As recorded; may be negative.
    axis : EnergyAxis
    noise : NoiseModel, optional
        By default estimated from the data.
    pixel_size, acquisition, survey, title
        As for :class:`siftem.SpectrumImage`.

    Returns
    -------
    spectrum_image : SpectrumImage
        Counts ``(data + floor / gain) / electron``, rounded to whole numbers (which adds 1/12
        to the variance). What is still negative is set to zero, and its share is told in
        ``notes``, like the noise model itself.
    noise : NoiseModel

    Raises
    ------
    InputError
        When ``data`` is no cube or does not fit ``axis``, or its noise can't be estimated.

    Examples
    --------
    >>> import numpy as np
    >>> mean = np.exp(-np.arange(64) / 20) * np.linspace(50, 90, 256)[:, None]
    >>> data = 3.0 * np.random.default_rng(0).poisson(mean).reshape(16, 16, 64)
    >>> si, noise = siftem.as_counts(data, siftem.EnergyAxis(400.0, 1.0, 64, "eV"))
    >>> round(data.sum() / si.total)
    3
    """
    data = _as_numbers(data)
    if data.ndim != 3 or data.shape[2] != axis.size:
        raise InputError(
            f"data must have shape (ny, nx, {axis.size}) to fit the axis, got {data.shape}"
        )
    found = noise or estimate_noise(data)
    counts = np.rint((data + found.pedestal) / found.electron)
    negative = counts < 0
    notes = [found.describe() if noise is None else f"noise given: gain {found.electron:.3g}"]
    if negative.any():
        notes.append(f"{percent(negative.mean())} of the values lay below zero: set to zero")
        counts[negative] = 0.0
    extra: dict[str, Any] = {} if acquisition is None else {"acquisition": acquisition}
    si = SpectrumImage(
        sp.csr_array(counts.reshape(-1, axis.size).astype(np.int32)),
        (data.shape[0], data.shape[1]),
        axis,
        pixel_size=pixel_size,
        survey=survey,
        signal_type="EELS",
        title=title,
        notes=tuple(notes),
        pedestal=found.pedestal / found.electron,
        **extra,
    )
    return si, found


def counted(si: SpectrumImage) -> SpectrumImage:
    """Bring an energy-loss map to equivalent counts, where its noise asks for it.

    Parameters
    ----------
    si : SpectrumImage
        As read from a file. Other kinds of signal are returned unchanged.

    Returns
    -------
    SpectrumImage
        Unchanged but for a note when the data are counts within the error, or when their
        noise cannot be estimated; else as from :func:`as_counts`.
    """
    if si.signal_type != "EELS" or not sp.issparse(si.counts):
        return si
    step = max(1, si.n_pixels // _PIXELS)
    try:
        noise = estimate_noise(si.counts[::step].toarray())
    except InputError as error:
        return replace(si, notes=(*si.notes, f"taken as counts: {error}"))
    values = si.counts.data
    whole = bool((values >= 0).all() and np.array_equal(values, np.rint(values)))
    # No camera without an offset gives whole numbers at another gain near one: the components, too
    # many where much of a map is vacuum, took some of the noise then.
    near = _NEAR_ONE if whole else 0.05
    poisson = abs(noise.electron - 1) < max(near, 3 * noise.gain_sigma)
    if poisson and abs(noise.floor) < max(1.0, 4 * noise.floor_sigma):
        note = f"the data are counts: their scatter says {noise.electron:.3g} for one electron"
        return replace(si, notes=(*si.notes, note))
    cube = si.counts.toarray().reshape(*si.shape, -1)
    converted, _ = as_counts(cube, si.axis, noise=noise)
    notes = (*si.notes, noise.describe(), *converted.notes[1:])
    return replace(si, counts=converted.counts, notes=notes, pedestal=converted.pedestal)


def _as_numbers(data: Any) -> np.ndarray:
    try:
        return np.asarray(data, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("the data must be an array of real numbers, each row as long") from None


def _positive(means: np.ndarray) -> np.ndarray:
    typical = float(np.median(np.abs(means))) or 1.0
    return np.asarray(np.maximum(means, 0.1 * typical))


def _mean_variance_line(mean: np.ndarray, square: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Fit ``square = gain mean + floor`` through the means of bins of equal population."""
    edges = np.quantile(mean, np.linspace(0, 1, _BINS + 1)[1:-1])
    which = np.searchsorted(edges, mean)
    number = np.bincount(which, minlength=_BINS)
    filled = number > 1
    number = number[filled]
    x = np.bincount(which, mean, _BINS)[filled] / number
    y = np.bincount(which, square, _BINS)[filled] / number
    design = np.column_stack([x, np.ones_like(x)])
    # The variance of a mean of squares of normal residuals is 2 y^2 / n.
    fitted = y
    for _ in range(5):
        weight = number / (2 * np.maximum(fitted, 0.05 * y.mean()) ** 2)
        normal = design.T @ (weight[:, None] * design)
        line = np.linalg.solve(normal, design.T @ (weight * y))
        fitted = design @ line
    misfit = float((weight * (y - fitted) ** 2).sum() / max(len(y) - 2, 1))
    return float(line[0]), float(line[1]), np.linalg.inv(normal) * max(misfit, 1.0)


def _correlation(normal: np.ndarray) -> float:
    """``1 + 2 sum(rho)`` over the first lags, for residuals of unit variance; not below 1."""
    total = float((normal**2).mean())
    rho = [float((normal[:, k:] * normal[:, :-k]).mean()) / total for k in range(1, _LAGS + 1)]
    sigma = 1 / np.sqrt(normal.size)
    clear = 0.0
    for r in rho:  # a smeared charge correlates without gaps
        if r < 5 * sigma:
            break
        clear += r
    return 1 + 2 * clear
