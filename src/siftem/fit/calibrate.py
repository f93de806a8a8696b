"""Fit of energy scale, charge collection and resolution together with the amplitudes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from siftem.energy_axis import EnergyAxis
from siftem.fit.poisson import PoissonFit, covariance_of, fit_poisson
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.spectrum import Spectrum

#: Prior standard deviations of shift (keV), gain, collection depth (nm) and relative
#: resolution: what detectors do.
PRIOR = np.array([0.03, 0.005, 100.0, 0.10])
#: Steps of the numerical derivatives in the same order.
_STEP = np.array([5e-4, 1e-5, 1.0, 1e-3])
#: Lowest and highest values: no negative depth, no peak sharper than silicon allows.
_LOWEST = np.array([-0.2, -0.1, 0.0, -0.07])
_HIGHEST = np.array([0.2, 0.1, 2000.0, 0.8])
#: Shifts tried before the fine fit, keV.
_SCAN = np.linspace(-0.06, 0.06, 7)
_ROUNDS = 25
#: The fit has settled when twice the log likelihood gains less; a tenth of a sigma is 0.01.
_SETTLED = 1e-3


@dataclass(frozen=True, eq=False)
class CalibratedFit:
    """A fit with its calibration.

    Parameters
    ----------
    calibration : Calibration
    design : ndarray of shape (channels, p)
        Columns at this calibration.
    found : PoissonFit
    slopes : ndarray of shape (channels, 4)
        Change of the expected counts with the parameters of the calibration.
    """

    calibration: Calibration
    design: np.ndarray
    found: PoissonFit
    slopes: np.ndarray


def design_of(
    model: SpectrumModel, axis: EnergyAxis, shapes: np.ndarray, calibration: Calibration
) -> np.ndarray:
    """Columns of lines, continuum and further shapes; (channels, p)."""
    lines = model.line_columns(axis, calibration)
    continuum = model.continuum_columns(axis, calibration)
    return np.hstack([lines, continuum, shapes])


def scan_shift(
    model: SpectrumModel, spectrum: Spectrum, shapes: np.ndarray, start: Calibration
) -> Calibration:
    """Search the shift coarsely, so that the fine fit starts within a peak's width."""
    best = (np.inf, start)
    for shift in sorted(_SCAN, key=abs):
        trial = replace(start, shift=float(shift))
        design = design_of(model, spectrum.axis, shapes, trial)
        used = design.any(axis=0)
        found = fit_poisson(
            design[:, used], spectrum.counts, offset=spectrum.background, max_iter=8
        )
        penalized = found.deviance + (shift / PRIOR[0]) ** 2
        if penalized < best[0]:
            best = (penalized, trial)
    return best[1]


def fit_calibration(
    model: SpectrumModel,
    spectrum: Spectrum,
    shapes: np.ndarray,
    start: Calibration,
    design: np.ndarray,
    found: PoissonFit,
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
        Its resolution is the nominal one.
    design, found
        Columns and fit at ``start``.

    Returns
    -------
    CalibratedFit
    """
    axis, counts, base = spectrum.axis, spectrum.counts, spectrum.background
    n_lines = len(model.families)
    nominal = start.resolution
    now = _parameters(start, nominal)
    total = found.deviance + _penalty(now)
    damping = 0.0
    for _ in range(_ROUNDS):
        slopes = _slopes(model, axis, now, nominal, found.amplitudes[:n_lines])
        improved = False
        while damping < 1e4:
            step = _step(design, slopes, counts, found, now, damping)
            trial = np.clip(now + step, _LOWEST, _HIGHEST)
            trial_design = design_of(model, axis, shapes, _calibration(trial, nominal))
            trial_found = fit_poisson(trial_design, counts, offset=base, start=found.amplitudes)
            gain = total - trial_found.deviance - _penalty(trial)
            if gain > 0:
                improved = True
                break
            if np.abs(step / PRIOR).max() < 1e-6:
                break
            damping = max(10 * damping, 0.1)
        if not improved:
            break
        now, design, found, total = trial, trial_design, trial_found, total - gain
        damping = 0.0 if damping < 0.05 else 0.1 * damping
        if gain < _SETTLED:
            break
    slopes = _slopes(model, axis, now, nominal, found.amplitudes[:n_lines])
    return CalibratedFit(_calibration(now, nominal), design, found, slopes)


def _parameters(calibration: Calibration, nominal: float) -> np.ndarray:
    """Return shift, gain, depth and relative resolution as the prior sees them; (4,)."""
    return np.array(
        [
            calibration.shift,
            calibration.gain,
            calibration.collection_depth,
            calibration.resolution / nominal - 1,
        ]
    )


def _calibration(parameters: np.ndarray, nominal: float) -> Calibration:
    """Inverse of :func:`_parameters`."""
    shift, gain, depth, width = (float(v) for v in parameters)
    return Calibration(shift, gain, depth, nominal * (1 + width))


def _penalty(parameters: np.ndarray) -> float:
    """Twice the negative log prior."""
    return float(((parameters / PRIOR) ** 2).sum())


def _slopes(
    model: SpectrumModel,
    axis: EnergyAxis,
    now: np.ndarray,
    nominal: float,
    amplitudes: np.ndarray,
) -> np.ndarray:
    """Change of the expected counts with the parameters of the calibration; (channels, 4)."""
    columns = []
    for i, h in enumerate(_STEP):
        low, high = now.copy(), now.copy()
        # At a bound the derivative is one-sided.
        low[i] = max(now[i] - h, _LOWEST[i])
        high[i] = min(now[i] + h, _HIGHEST[i])
        change = model.line_sum(axis, _calibration(high, nominal), amplitudes)
        change = change - model.line_sum(axis, _calibration(low, nominal), amplitudes)
        columns.append(change / (high[i] - low[i]))
    return np.stack(columns, axis=1)


def _step(
    design: np.ndarray,
    slopes: np.ndarray,
    counts: np.ndarray,
    found: PoissonFit,
    now: np.ndarray,
    damping: float,
) -> np.ndarray:
    """Step of the calibration within its bounds, amplitudes above zero profiled out; (4,)."""
    weight = 1 / found.mean
    columns = design[:, found.amplitudes != 0]
    weighted = slopes * weight[:, None]
    cross = columns.T @ weighted
    inner = covariance_of((columns * weight[:, None]).T @ columns)
    curvature = slopes.T @ weighted - cross.T @ inner @ cross + np.diag(1 / PRIOR**2)
    curvature += damping * np.diag(np.diag(curvature))
    residual = counts - found.mean
    gradient = weighted.T @ residual - cross.T @ inner @ (columns.T @ (residual * weight))
    gradient = gradient - now / PRIOR**2
    step = np.zeros(4)
    free = np.ones(4, bool)
    for _ in range(4):
        left = gradient[free] - curvature[np.ix_(free, ~free)] @ step[~free]
        step[free] = np.linalg.solve(curvature[np.ix_(free, free)], left)
        moved = now + step
        out = free & ((moved < _LOWEST) | (moved > _HIGHEST))
        if not out.any():
            break
        step[out] = np.clip(moved, _LOWEST, _HIGHEST)[out] - now[out]
        free &= ~out
        if not free.any():
            break
    return step
