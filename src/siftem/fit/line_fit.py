"""Fit of all lines and the continuum of a spectrum at once, by Poisson likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.fit.poisson import covariance_of, fit_poisson
from siftem.fit.spectrum_model import Absorption, Calibration, SpectrumModel, quantified_family
from siftem.fit.threads import one_blas_thread
from siftem.spectrum import Spectrum
from siftem.xray.detector import Detector
from siftem.xray.elements import atomic_number
from siftem.xray.lines import line_families

#: Prior standard deviations of shift (keV), gain, collection depth (nm) and relative
#: resolution: what detectors do.
_PRIOR = np.array([0.03, 0.005, 100.0, 0.10])
#: Steps of the numerical derivatives in the same order.
_STEP = np.array([5e-4, 1e-5, 1.0, 1e-3])
#: Shifts tried before the fine fit, keV.
_SCAN = np.linspace(-0.06, 0.06, 7)


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
        place of windows).
        """
        mean = np.maximum(self.mean - self.amplitudes[index] * self.design[:, index], 1e-9)
        variance = np.maximum(self.spectrum.variance + mean - self.spectrum.counts, 0.1 * mean)
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
    every = list(dict.fromkeys([*elements, *support]))
    for element in every:
        atomic_number(element)
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
            start = _scan(model, cut, shapes, start)
        return _fit(model, cut, shapes, tuple(extra), start, dropped, free)


def _cropped(spectrum: Spectrum, window: slice) -> Spectrum:
    return replace(
        spectrum,
        values=spectrum.values[window],
        axis=spectrum.axis.cropped(window),
        variance=spectrum.variance[window],
        modes=spectrum.modes[:, window],
        background=spectrum.background[window],
    )


def _design(
    model: SpectrumModel, axis: EnergyAxis, shapes: np.ndarray, calibration: Calibration
) -> np.ndarray:
    lines = model.line_columns(axis, calibration)
    continuum = model.continuum_columns(axis, calibration)
    return np.hstack([lines, continuum, shapes])


def _scan(
    model: SpectrumModel, spectrum: Spectrum, shapes: np.ndarray, start: Calibration
) -> Calibration:
    """Coarse search of the shift, so that the fine fit starts within a peak's width."""
    best = (np.inf, start)
    for shift in sorted(_SCAN, key=abs):
        trial = replace(start, shift=float(shift))
        design = _design(model, spectrum.axis, shapes, trial)
        used = design.any(axis=0)
        found = fit_poisson(
            design[:, used], spectrum.counts, offset=spectrum.background, max_iter=8
        )
        penalized = found.deviance + (shift / _PRIOR[0]) ** 2
        if penalized < best[0]:
            best = (penalized, trial)
    return best[1]


def _fit(
    model: SpectrumModel,
    spectrum: Spectrum,
    shapes: np.ndarray,
    shape_names: tuple[str, ...],
    start: Calibration,
    dropped: tuple[str, ...],
    free: bool,
) -> LineFit:
    axis, counts, base = spectrum.axis, spectrum.counts, spectrum.background
    n_lines = len(model.families)
    calibration = start
    nominal = start.resolution
    penalty = _penalty(calibration, nominal) if free else 0.0
    design = _design(model, axis, shapes, calibration)
    found = fit_poisson(_usable(design, model, shape_names), counts, offset=base)
    slopes = np.zeros((axis.size, 0))
    for _ in range(25 if free else 0):
        slopes = _calibration_slopes(model, axis, calibration, found.amplitudes[:n_lines])
        offset_now = _offsets(calibration, nominal)
        step = _calibration_step(design, slopes, counts, found.mean, offset_now)
        length = 1.0
        improved = False
        while length > 0.05:
            moved = offset_now + length * step
            trial = _at(moved, nominal)
            trial_design = _design(model, axis, shapes, trial)
            trial_fit = fit_poisson(trial_design, counts, offset=base, start=found.amplitudes)
            trial_penalty = _penalty(trial, nominal)
            gain = found.deviance + penalty - trial_fit.deviance - trial_penalty
            if gain > 0:
                improved = True
                break
            length *= 0.4
        if not improved:
            break
        calibration, design, found, penalty = trial, trial_design, trial_fit, trial_penalty
        if gain < 1e-3:
            break
    full = np.hstack([design, slopes]) if free else design
    weighted = full / found.mean[:, None]
    information = weighted.T @ full
    if free:
        information[-4:, -4:] += np.diag(1 / _PRIOR**2)
    bread = covariance_of(information)
    p = design.shape[1]
    operator = bread[:p] @ weighted.T
    # The model's mean is a better variance of the counts than the counts themselves.
    variance = np.maximum(spectrum.variance + found.mean - counts, 0.1 * found.mean)
    common = operator @ spectrum.modes.T
    covariance = (operator * variance) @ operator.T + common @ common.T
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
    )


def _usable(design: np.ndarray, model: SpectrumModel, shape_names: tuple[str, ...]) -> np.ndarray:
    empty = ~design.any(axis=0)
    if empty.any():
        names = np.array((*model.names, *shape_names))[empty]
        raise InputError(
            f"no strength of {', '.join(names)} lies in the fitted range: leave it out"
        )
    return design


def _penalty(calibration: Calibration, nominal: float) -> float:
    """Twice the negative log prior of the calibration."""
    return float(((_offsets(calibration, nominal) / _PRIOR) ** 2).sum())


def _offsets(calibration: Calibration, nominal: float) -> np.ndarray:
    """Parameters of a calibration as the prior and the steps see them; (4,)."""
    return np.array(
        [
            calibration.shift,
            calibration.gain,
            calibration.collection_depth,
            calibration.resolution / nominal - 1,
        ]
    )


def _at(offsets: np.ndarray, nominal: float) -> Calibration:
    """Inverse of :func:`_offsets`; the width stays within what silicon can do."""
    shift, gain, depth, width = (float(v) for v in offsets)
    return Calibration(shift, gain, max(depth, 0.0), nominal * min(max(1 + width, 0.93), 1.8))


def _calibration_slopes(
    model: SpectrumModel, axis: EnergyAxis, calibration: Calibration, amplitudes: np.ndarray
) -> np.ndarray:
    """Change of the expected counts with the parameters of the calibration; (channels, 4)."""
    columns = []
    nominal = calibration.resolution
    for i, h in enumerate(_STEP):
        offsets = [_offsets(calibration, nominal) for _ in range(2)]
        offsets[0][i] -= h
        offsets[1][i] += h
        # A depth below zero is cut to zero: divide by the distance that is left.
        low, high = (_at(o, nominal) for o in offsets)
        distance = _offsets(high, nominal)[i] - _offsets(low, nominal)[i]
        change = model.line_sum(axis, high, amplitudes) - model.line_sum(axis, low, amplitudes)
        columns.append(change / distance)
    return np.stack(columns, axis=1)


def _calibration_step(
    design: np.ndarray,
    slopes: np.ndarray,
    counts: np.ndarray,
    mean: np.ndarray,
    now: np.ndarray,
) -> np.ndarray:
    """Gauss-Newton step of the calibration with the amplitudes profiled out."""
    full = np.hstack([design, slopes])
    weighted = full / mean[:, None]
    information = weighted.T @ full
    gradient = weighted.T @ (counts - mean)
    information[-4:, -4:] += np.diag(1 / _PRIOR**2)
    gradient[-4:] -= now / _PRIOR**2
    return (covariance_of(information) @ gradient)[-4:]
