"""Fit of all lines and the continuum of a spectrum at once, by Poisson likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from siftem.blas_threads import one_blas_thread
from siftem.errors import InputError
from siftem.fit.calibrate import PRIOR, design_of, fit_calibration, scan_shift
from siftem.fit.poisson import covariance_of, fit_poisson
from siftem.fit.spectrum_model import Absorption, Calibration, SpectrumModel, quantified_family
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.elements import element_symbols
from siftem.xray.lines import line_families


@dataclass(frozen=True, eq=False)
class LineFit:
    """Fitted lines of a spectrum.

    Parameters
    ----------
    spectrum : Spectrum
        What was fitted, cropped to the fitted range.
    model : SpectrumModel
        Families and continuum.
    names : tuple of str
        Names of the columns: families, continuum, templates.
    amplitudes : ndarray of shape (p,)
        Photons emitted towards the detector by each family, in the order of ``names``;
        continuum and templates in their own scales.
    covariance : ndarray of shape (p, p)
        Statistical covariance, with the calibration's share.
    design : ndarray of shape (channels, p)
        Columns.
    mean : ndarray of shape (channels,)
        Expected counts, background included.
    deviance : float
        Poisson deviance.
    degrees_of_freedom : int
        Channels minus parameters.
    calibration : Calibration
        Fitted or given.
    dropped : tuple of str
        Elements without a line in the range.
    operator : ndarray of shape (p, channels)
        ``d amplitudes / d counts``: how noise of a channel moves the amplitudes.
    unbounded : ndarray of shape (p,)
        The amplitudes as one more Newton step would leave them if they could be negative:
        unlike those at the bound they are unbiased, and ``covariance`` is theirs. For
        intervals and for means over many spectra; of no use as an amount.
    """

    spectrum: Spectrum
    model: SpectrumModel
    names: tuple[str, ...]
    amplitudes: np.ndarray
    covariance: np.ndarray
    design: np.ndarray
    mean: np.ndarray
    deviance: float
    degrees_of_freedom: int
    calibration: Calibration
    dropped: tuple[str, ...]
    operator: np.ndarray
    unbounded: np.ndarray

    @property
    def reduced_deviance(self) -> float:
        """Deviance over degrees of freedom: about 1 for a model that fits well-filled channels."""
        return self.deviance / max(self.degrees_of_freedom, 1)

    @property
    def continuum(self) -> np.ndarray:
        """Fitted continuum in counts; (channels,)."""
        columns = [i for i, n in enumerate(self.names) if n.startswith("continuum ")]
        return self.design[:, columns] @ self.amplitudes[columns]

    @property
    def residual(self) -> np.ndarray:
        """``(counts - mean) / sqrt(mean)``; (channels,)."""
        return (self.spectrum.counts - self.mean) / np.sqrt(self.mean)

    def index(self, element: str, shell: str | None = None) -> int:
        """Position of the family by which an element is quantified.

        Raises
        ------
        InputError
            When the element was not fitted or has no line in the range.
        """
        family = quantified_family(self.model.families, element, self.spectrum.axis, shell)
        if family is None:
            raise InputError(
                f"element {element} has no fitted {shell or 'K, L or M'} line between "
                f"{self.spectrum.axis.first:.3g} and {self.spectrum.axis.last:.3g} "
                f"{self.spectrum.axis.unit}: add it to the elements or widen the energy range"
            )
        return self.names.index(family.name)

    def sigma_at_zero(self, index: int) -> float:
        """Standard deviation of one amplitude if its true value were zero.

        The mean without that family gives the noise under it (Currie 1968 with the fit in
        place of windows). What an anchor pins does not lower it: that a line is absent was
        assumed and not seen.
        """
        mean = np.maximum(self.mean - self.amplitudes[index] * self.design[:, index], 1e-9)
        variance = _variance(self.spectrum, mean)
        weighted = self.design / mean[:, None]
        bread = covariance_of(weighted.T @ self.design)
        operator = bread[index] @ weighted.T
        total = (operator**2 * variance).sum() + ((self.spectrum.modes @ operator) ** 2).sum()
        return float(np.sqrt(total))


def fit_lines(
    spectrum: Spectrum,
    elements: Sequence[str],
    *,
    support: Sequence[str] = (),
    beam_energy: float,
    detector: Detector | None = None,
    absorption: Absorption | None = None,
    calibration: Calibration | None = None,
    energy_range: tuple[float | None, float | None] = (0.2, None),
    n_continuum: int = 3,
    split_l: bool = False,
    templates: Mapping[str, np.ndarray] | None = None,
) -> LineFit:
    """Fit line families and continuum to a spectrum.

    Minimises the Poisson deviance of the measured counts; what was subtracted from them
    is a known part of the mean (``spectrum.background``). All amplitudes are >= 0.

    Parameters
    ----------
    spectrum : Spectrum
        Counts, or counts less a scaled matrix (:func:`siftem.subtract`).
    elements, support : sequence of str
        All families of these elements in the range are fitted.
    beam_energy : float
        keV.
    detector : Detector, optional
        Efficiency and nominal resolution.
    absorption : callable, optional
        Share of the photons that leave the film, of energies in keV.
    calibration : Calibration, optional
        Given: energy scale and resolution are kept. By default shift, gain and resolution
        are fitted, with priors of 30 eV, 0.5% and 10%.
    energy_range : tuple
        Fitted range in keV; None means the end of the axis.
    n_continuum : int
        Terms of the continuum.
    split_l : bool
        Let L1, L2 and L3 lines have their own amplitudes.
    templates : mapping of str to ndarray (channels,), optional
        Further measured shapes on the axis of ``spectrum``, such as the matrix.

    Returns
    -------
    LineFit
    """
    detector = detector or Detector()
    low, high = energy_range
    unit = 1.0 if spectrum.axis.unit == "keV" else 1e3
    window = spectrum.axis.window(
        None if low is None else low * unit, None if high is None else high * unit
    )
    cut = _cropped(spectrum, window)
    if not cut.counts.sum() > 0:
        raise InputError(
            f"spectrum {spectrum.name!r} holds no counts in the fitted range: nothing to fit"
        )
    kev = cut.axis.to_kev()
    every = list(dict.fromkeys([*element_symbols(elements), *element_symbols(support)]))
    families = line_families(
        every, beam_energy=beam_energy, low=kev.first, high=kev.last, split_l=split_l
    )
    dropped = tuple(e for e in every if not any(f.element == e for f in families))
    model = SpectrumModel(tuple(families), beam_energy, detector, n_continuum, absorption)
    extra = {k: np.asarray(v, float)[window] for k, v in (templates or {}).items()}
    shapes = np.stack(list(extra.values()), axis=1) if extra else np.zeros((kev.size, 0))
    free = calibration is None
    start = calibration or Calibration(resolution=detector.resolution)
    with one_blas_thread():
        if free:
            start = scan_shift(model, cut, shapes, start)
        return _fit(model, cut, shapes, tuple(extra), start, dropped, free)


def _cropped(spectrum: Spectrum, window: slice) -> Spectrum:
    return replace(
        spectrum,
        values=spectrum.values[window],
        axis=spectrum.axis.cropped(window),
        variance=spectrum.variance[window],
        modes=spectrum.modes[:, window],
        pinned=spectrum.pinned[:, window],
        background=spectrum.background[window],
    )


def _fit(
    model: SpectrumModel,
    spectrum: Spectrum,
    shapes: np.ndarray,
    shape_names: tuple[str, ...],
    start: Calibration,
    dropped: tuple[str, ...],
    free: bool,
) -> LineFit:
    axis, counts = spectrum.axis, spectrum.counts
    design = _usable(design_of(model, axis, shapes, start), model, shape_names)
    found = fit_poisson(design, counts, offset=spectrum.background)
    calibration = start
    if free:
        fitted = fit_calibration(model, spectrum, shapes, start, design, found)
        calibration, design, found = fitted.calibration, fitted.design, fitted.found
        slopes = fitted.slopes
    full = np.hstack([design, slopes]) if free else design
    weighted = full / found.mean[:, None]
    information = weighted.T @ full
    if free:
        information[-4:, -4:] += np.diag(1 / PRIOR**2)
    bread = covariance_of(information)
    p = design.shape[1]
    operator = bread[:p] @ weighted.T
    variance = _variance(spectrum, found.mean)
    common = operator @ spectrum.modes.T
    covariance = (operator * variance) @ operator.T + common @ common.T
    if spectrum.pinned.size:
        covariance = _less(covariance, operator @ spectrum.pinned.T)
    # The calibration is at its optimum, prior included, so only the amplitudes are pushed.
    score = weighted[:, :p].T @ (counts - found.mean)
    return LineFit(
        spectrum=spectrum,
        model=model,
        names=(*model.names, *shape_names),
        amplitudes=found.amplitudes,
        covariance=covariance,
        design=design,
        mean=found.mean,
        deviance=found.deviance,
        degrees_of_freedom=axis.size - full.shape[1],
        calibration=calibration,
        dropped=dropped,
        operator=operator,
        unbounded=found.amplitudes + bread[:p, :p] @ score,
    )


def _variance(spectrum: Spectrum, mean: np.ndarray) -> np.ndarray:
    """Variance of each channel, with the mean in place of the counts; (channels,).

    The mean is a better variance of Poisson counts than the counts themselves. A smooth
    spectrum, which has all its errors in modes, keeps none of its own.
    """
    return np.maximum(spectrum.variance + mean - spectrum.counts, 0.1 * spectrum.variance)


def _less(covariance: np.ndarray, pinned: np.ndarray) -> np.ndarray:
    """Take pinned modes (p, r) off a covariance (p, p), which stays one.

    The modes were made with the counts as their own variance and the covariance with the
    mean's, so that a little may be left below zero.
    """
    scale = np.sqrt(np.clip(np.diag(covariance), 1e-300, None))
    left = (covariance - pinned @ pinned.T) / np.outer(scale, scale)
    values, vectors = np.linalg.eigh(left)
    return np.asarray((vectors * np.clip(values, 0.0, None)) @ vectors.T * np.outer(scale, scale))


def _usable(design: np.ndarray, model: SpectrumModel, shape_names: tuple[str, ...]) -> np.ndarray:
    empty = ~design.any(axis=0)
    if empty.any():
        names = np.array((*model.names, *shape_names))[empty]
        raise InputError(
            f"no strength of {', '.join(names)} lies in the fitted range: leave it out"
        )
    return design
