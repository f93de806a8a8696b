"""Fit of energy scale, charge collection and resolution together with the amplitudes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import lsq_linear

from siftem.energy_axis import EnergyAxis
from siftem.fit.poisson import PoissonFit, covariance_of, fit_poisson
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.spectrum import Spectrum
from siftem.xray.detector import SHARPEST

#: What is fitted: attribute of the calibration, its expected value, prior standard deviation,
#: lowest and highest value. Energies in keV, depth in nm; the resolution is relative to the
#: nominal one, and escape to that of light along the normal (nine real maps: 0.4 to 1.6, and
#: three of one detector agree on 1.3).
_FREE = (
    ("shift", 0.0, 0.03, -0.2, 0.2),
    ("gain", 0.0, 0.005, -0.1, 0.1),
    ("bend", 0.0, 5e-5, -2e-3, 2e-3),
    ("soft", 0.0, 1e-2, -0.1, 0.1),
    ("collection_depth", 0.0, 100.0, 0.0, 2000.0),
    ("resolution", 1.0, 0.10, 0.8, 1.8),
    ("broadening", 1.0, 0.08, 0.6, 1.5),
    ("escape", 1.0, 0.5, 0.0, 3.0),
    ("near", 0.0, 0.02, 0.0, 0.3),
    ("far", 0.0, 0.01, 0.0, 0.3),
    ("shelf", 0.0, 0.01, 0.0, 0.3),
    ("above", 0.0, 0.005, 0.0, 0.1),
    ("near_soft", 0.0, 0.1, 0.0, 0.3),
)
NAMES = tuple(row[0] for row in _FREE)
_EXPECTED, PRIOR, _LOWEST, _HIGHEST = np.array([row[1:] for row in _FREE]).T
#: How far the scale of one spectrum may be from that of another on the same instrument: keV, and
#: relative.
_DRIFT = {"shift": 0.01, "gain": 1e-3}
#: A given scale is wrong if twice the log likelihood gains this much without it, ...
_WRONG = 25.0
#: ... and is all but exact in what is left out of `_DRIFT`, in its prior standard deviations.
_EXACT = 1e-3
#: Shift, gain, bend and the shift of soft lines are no farther off than this once the lines of all
#: elements together told the first.
_FARTHEST = np.array([0.015, 0.01, 1.5e-4, 0.015])
_FARTHEST_OF_FEW, _ENOUGH = np.array([0.015, 0.004, 1e-6, 1e-3]), 5
#: Shifts tried before the fine fit, keV; then gains, with soft or hard lines (keV) kept in place.
_SHIFTS = np.linspace(-0.06, 0.06, 7)
_GAINS, _KEPT = (-0.008, -0.004, 0.004, 0.008), (1.0, 7.0)
_ROUNDS = 25
#: The fit has settled when twice the log likelihood gains less; a tenth of a sigma is 0.01.
#: Where the deviance is this often the channels, elements are missing, and no sigma holds.
_SETTLED, _FAR = 1e-3, 10.0


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of the response before the spectrum is asked, by parameter.

    Parameters
    ----------
    expected, width, lowest, highest : ndarray of shape (parameters,)
        Means, standard deviations and bounds.
    least_gain : float
        Nothing is fitted if twice the log likelihood gains less.
    """

    expected: np.ndarray
    width: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    least_gain: float = 0.0

    @classmethod
    def of_detectors(cls, nominal: float) -> Known:
        """Return what holds for all detectors, of this nominal resolution (eV)."""
        lowest, at = _LOWEST.copy(), NAMES.index("resolution")
        # No detector of silicon is sharper than its own noise.
        lowest[at] = max(lowest[at], 1.001 * SHARPEST / nominal)
        return cls(_EXPECTED, PRIOR, lowest, _HIGHEST)

    @classmethod
    def while_searching(cls, nominal: float, elements: int) -> Known:
        """Return what holds for all detectors, near a shift that the lines of all elements told.

        Elements that are not there have a spectrum's lines only where the scale lets them, and no
        prior is strong enough for many counts: on a scale that is 6% too long Na and N take the
        place of Ga and N. By a few elements no more than a straight scale is known.
        """
        every = cls.of_detectors(nominal)
        at = [NAMES.index(name) for name in ("shift", "gain", "bend", "soft")]
        lowest, highest = every.lowest.copy(), every.highest.copy()
        farthest = _FARTHEST if elements >= _ENOUGH else _FARTHEST_OF_FEW
        lowest[at], highest[at] = -farthest, farthest
        return replace(every, lowest=lowest, highest=highest)

    @classmethod
    def but_for_drift(cls, given: Calibration, nominal: float) -> Known:
        """Return a calibration whose scale may have drifted by `_DRIFT`."""
        now = _parameters(given, nominal)
        width = np.array([_DRIFT.get(name, 0.0) for name in NAMES])
        reach = 5.0 * width
        width = np.where(width > 0, width, 1.0)
        return cls(now, width, now - reach, now + reach, least_gain=_WRONG)


def drifted(given: Calibration, scale: Calibration) -> Calibration:
    """Return a calibration with the scale of another one, and that known as well as scales drift.

    What is exact stays all but so.
    """
    known = given.covariance
    covariance = np.diag((_EXACT * PRIOR) ** 2) if known is None else known.copy()
    for name, width in _DRIFT.items():
        at = NAMES.index(name)
        covariance[at, at] += width**2
    return replace(given, shift=scale.shift, gain=scale.gain, covariance=covariance)


@dataclass(frozen=True, eq=False)
class CalibratedFit:
    """A fit with its calibration.

    Parameters
    ----------
    calibration : Calibration
    design : ndarray of shape (channels, p)
        Columns at this calibration.
    found : PoissonFit
    """

    calibration: Calibration
    design: np.ndarray
    found: PoissonFit


def design_of(
    model: SpectrumModel, axis: EnergyAxis, shapes: np.ndarray, calibration: Calibration
) -> np.ndarray:
    """Columns of lines, continuum and further shapes; (channels, p)."""
    lines = model.line_columns(axis, calibration)
    continuum = model.continuum_columns(axis, calibration)
    valence = model.valence_columns(axis, calibration)
    return np.hstack([lines, continuum, valence, shapes])


def scan_scale(
    model: SpectrumModel,
    spectrum: Spectrum,
    shapes: np.ndarray,
    start: Calibration,
    penalty: np.ndarray | None = None,
    known: Known | None = None,
) -> Calibration:
    """Search shift and gain coarsely, so that the fine fit starts within a peak's width.

    Parameters
    ----------
    model : SpectrumModel
    spectrum : Spectrum
    shapes, penalty, known
        As for `fit_calibration`.
    start : Calibration
        Everything but its shift and gain is kept.

    Returns
    -------
    Calibration
    """

    def cost(trial: Calibration) -> float:
        design = design_of(model, spectrum.axis, shapes, trial)
        used = design.any(axis=0)
        found = fit_poisson(
            design[:, used],
            spectrum.counts,
            offset=spectrum.background,
            penalty=None if penalty is None else penalty[np.ix_(used, used)],
            max_iter=8,
        )
        away = (
            np.array([trial.shift, trial.gain]) / PRIOR[[NAMES.index("shift"), NAMES.index("gain")]]
        )
        return found.deviance + float(away @ away)

    prior = known or Known.of_detectors(model.detector.resolution)

    def allowed(trial: Calibration) -> bool:
        return all(
            prior.lowest[i] <= getattr(trial, name) <= prior.highest[i]
            for i, name in enumerate(NAMES)
            if name in _DRIFT
        )

    every = [replace(start, shift=float(shift)) for shift in sorted(_SHIFTS, key=abs)]
    shifted = [trial for trial in every if allowed(trial)]
    costs = [cost(trial) for trial in shifted]
    least = int(np.argmin(costs))
    best = shifted[least]
    turned = [
        replace(best, gain=gain, shift=best.shift - gain * kept)
        for gain in _GAINS
        for kept in _KEPT
    ]
    turned = [trial for trial in turned if allowed(trial)]
    trials = [best, *turned]
    return trials[int(np.argmin([costs[least], *map(cost, turned)]))]


def fit_calibration(
    model: SpectrumModel,
    spectrum: Spectrum,
    shapes: np.ndarray,
    start: Calibration,
    design: np.ndarray,
    found: PoissonFit,
    penalty: np.ndarray | None = None,
    free_sign: np.ndarray | None = None,
    known: Known | None = None,
) -> CalibratedFit:
    """Maximise the likelihood times the prior over calibration and amplitudes.

    Gauss-Newton steps in the calibration with the amplitudes profiled out, within bounds,
    shortened until the likelihood rises.

    Parameters
    ----------
    model : SpectrumModel
    spectrum : Spectrum
    shapes : ndarray of shape (channels, further)
        Further columns that do not depend on the calibration.
    start : Calibration
    design, found
        Columns and fit at ``start``.
    penalty, free_sign : ndarray, optional
        As for `fit_poisson`.
    known : Known, optional
        By default what holds for all detectors.

    Returns
    -------
    CalibratedFit
    """
    axis, counts, base = spectrum.axis, spectrum.counts, spectrum.background
    n_lines = len(model.families)
    nominal = model.detector.resolution
    now = first = _parameters(start, nominal)
    prior = known or Known.of_detectors(nominal)

    def cost(fit: PoissonFit, at: np.ndarray) -> float:
        held = 0.0 if penalty is None else fit.amplitudes @ penalty @ fit.amplitudes
        return float(fit.deviance + held + (((at - prior.expected) / prior.width) ** 2).sum())

    total = cost(found, now)
    damping = 0.0
    for _ in range(_ROUNDS):
        slopes = _slopes(model, axis, now, nominal, found.amplitudes[:n_lines])
        misfit = total / counts.size
        settled = _SETTLED * (misfit if misfit > _FAR else 1.0)
        improved = False
        while damping < 1e4:
            step, expected = _step(design, slopes, counts, found, now, prior, damping, penalty)
            if now is first and expected < prior.least_gain:
                return CalibratedFit(start, design, found)
            trial = np.clip(now + step, prior.lowest, prior.highest)
            trial_design = design_of(model, axis, shapes, _calibration(trial, nominal))
            if not trial_design.any(axis=0).all():  # it moved lines beyond the end of the axis
                damping = max(10 * damping, 0.1)
                continue
            trial_found = fit_poisson(
                trial_design,
                counts,
                offset=base,
                free_sign=free_sign,
                penalty=penalty,
                start=found.amplitudes,
                tol=1e-7,
            )
            gain = total - cost(trial_found, trial)
            if gain > 0:
                improved = True
                break
            if abs(expected) < settled:  # nor will a shorter step gain more
                break
            damping = max(10 * damping, 0.1)
        if not improved:
            break
        now, design, found, total = trial, trial_design, trial_found, total - gain
        damping = 0.0 if damping < 0.05 else 0.1 * damping
        if gain < settled:
            break
    return CalibratedFit(_calibration(now, nominal), design, found)


def slopes_of(
    model: SpectrumModel, axis: EnergyAxis, calibration: Calibration, amplitudes: np.ndarray
) -> np.ndarray:
    """Change of the expected counts with the fitted parameters; (channels, parameters).

    The resolution is relative to the detector's nominal one.
    """
    nominal = model.detector.resolution
    return _slopes(model, axis, _parameters(calibration, nominal), nominal, amplitudes)


def precision_of(calibration: Calibration, free: bool) -> np.ndarray:
    """Inverse covariance of what is known of the response; (parameters, parameters), or empty.

    Parameters
    ----------
    calibration : Calibration
    free : bool
        Whether it was fitted to the spectrum, with the prior; else its own covariance counts,
        and without one it is exact.
    """
    if free:
        return np.diag(1 / PRIOR**2)
    if calibration.covariance is None:
        return np.zeros((0, 0))
    return covariance_of(calibration.covariance)


def _parameters(calibration: Calibration, nominal: float) -> np.ndarray:
    """Return the free parameters as the prior sees them; (parameters,)."""
    values = np.array([getattr(calibration, name) for name in NAMES])
    values[NAMES.index("resolution")] /= nominal
    return values


def _calibration(parameters: np.ndarray, nominal: float) -> Calibration:
    """Inverse of :func:`_parameters`."""
    values: dict[str, Any] = dict(zip(NAMES, (float(v) for v in parameters), strict=True))
    values["resolution"] *= nominal
    return Calibration(**values)


def _slopes(
    model: SpectrumModel,
    axis: EnergyAxis,
    now: np.ndarray,
    nominal: float,
    amplitudes: np.ndarray,
) -> np.ndarray:
    """Change of the expected counts with the free parameters; (channels, parameters)."""
    slopes = model.response_slopes(axis, _calibration(now, nominal), amplitudes)
    slopes["resolution"] = slopes["resolution"] * nominal
    return np.stack([slopes[name] for name in NAMES], axis=1)


def _step(
    design: np.ndarray,
    slopes: np.ndarray,
    counts: np.ndarray,
    found: PoissonFit,
    now: np.ndarray,
    prior: Known,
    damping: float,
    penalty: np.ndarray | None,
) -> tuple[np.ndarray, float]:
    """Step of the calibration within its bounds, amplitudes above zero profiled out.

    Also by how much twice the log likelihood should gain.
    """
    weight = 1 / found.mean
    used = found.amplitudes != 0
    columns = design[:, used]
    weighted = slopes * weight[:, None]
    cross = columns.T @ weighted
    gram = (columns * weight[:, None]).T @ columns
    if penalty is not None:
        gram = gram + penalty[np.ix_(used, used)]
    inner = covariance_of(gram)
    curvature = slopes.T @ weighted - cross.T @ inner @ cross + np.diag(1 / prior.width**2)
    damped = curvature + damping * np.diag(np.diag(curvature))
    residual = counts - found.mean
    pull = columns.T @ (residual * weight)
    if penalty is not None:
        pull = pull - (penalty @ found.amplitudes)[used]
    gradient = weighted.T @ residual - cross.T @ inner @ pull
    gradient = gradient - (now - prior.expected) / prior.width**2
    step = np.zeros(now.size)
    free = np.ones(now.size, bool)
    for _ in range(6):
        left = gradient[free] - damped[np.ix_(free, ~free)] @ step[~free]
        step[free] = np.linalg.solve(damped[np.ix_(free, free)], left)
        moved = now + step
        out = free & ((moved < prior.lowest) | (moved > prior.highest))
        if not out.any():
            break
        step[out] = np.clip(moved, prior.lowest, prior.highest)[out] - now[out]
        free &= ~out
        if not free.any():
            break
    gain = float(2 * gradient @ step - step @ curvature @ step)
    if gain <= 0:  # what was put to a bound is not let go again: from far off that may be all
        step = _bounded(damped, gradient, prior.lowest - now, prior.highest - now, prior.width)
        gain = float(2 * gradient @ step - step @ curvature @ step)
    return step, gain


def _bounded(
    curvature: np.ndarray,
    gradient: np.ndarray,
    lowest: np.ndarray,
    highest: np.ndarray,
    width: np.ndarray,
) -> np.ndarray:
    """Step within bounds that gains most by a quadratic; those without room stay."""
    free = lowest < highest
    scale = width[free]
    values, vectors = np.linalg.eigh(curvature[np.ix_(free, free)] * np.outer(scale, scale))
    root = np.sqrt(np.maximum(values, 1.0))  # no less than the prior tells
    pulled = vectors.T @ (gradient[free] * scale) / root
    bounds = (lowest[free] / scale, highest[free] / scale)
    step = np.zeros(free.size)
    step[free] = lsq_linear((vectors * root).T, pulled, bounds, method="bvls").x * scale
    return step
