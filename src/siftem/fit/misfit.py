"""What a fit leaves: the discrepancy between model and spectrum, as a covariance.

How stiff the continuum is follows from the marginal likelihood of a penalty on its curvature.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from scipy.interpolate import BSpline
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import csr_array
from scipy.special import erfcx

from siftem.energy_axis import EnergyAxis
from siftem.fit import kernels
from siftem.fit.poisson import PoissonFit, covariance_of, nonnegative_quadratic
from siftem.views import outline
from siftem.xray.detector import Detector

#: Prior width of the relative curvature from knot to knot, before the spectrum is asked.
_FIRST_MISFIT = 0.15
#: Straighter than the first no spectrum can tell; beyond the second the splines are free.
_STIFFEST, _SOFTEST = 3e-3, 1.0
#: A coefficient far below the largest counts as this share of it.
_LEAST = 1e-3
_SMOOTH = np.array([0.25, 0.5, 0.25])


@dataclass(frozen=True, eq=False)
class Stiffness:
    """Second differences of the spline coefficients over their local mean are N(0, width^2).

    Parameters
    ----------
    place : slice
        Columns of the continuum.
    level : ndarray of shape (terms,)
        Coefficients so far: the curvature is relative to them.
    width : float
    """

    place: slice
    level: np.ndarray
    width: float = _FIRST_MISFIT

    @classmethod
    def start(cls, place: slice, counts: float) -> Stiffness:
        """Before a first fit: Kramers' law, of a height that does not matter much."""
        size = place.stop - place.start
        return cls(place, np.full(size, max(counts, 1.0) / (50.0 * max(size, 1))))

    def penalty(self, size: int) -> np.ndarray:
        """Inverse covariance of all columns: zero but for the continuum; (size, size)."""
        out = np.zeros((size, size))
        out[self.place, self.place] = self._curvature / self.width**2
        return out

    def updated(self, coefficients: np.ndarray, covariance: np.ndarray) -> Stiffness:
        """Return the stiffness that the marginal likelihood asks for, one step on.

        ``width^2 <- c' S c / (rank S - tr(V S) / width^2)`` with the penalty S for a width of
        one, the coefficients c and their posterior covariance V.

        Parameters
        ----------
        coefficients : ndarray of shape (terms,)
        covariance : ndarray of shape (terms, terms)

        References
        ----------
        Wood & Fasiolo 2017, Biometrics 73, 1071.
        """
        if coefficients.size < 3:
            return self
        penalty = self._curvature
        size = float(coefficients @ penalty @ coefficients)
        known = float((covariance * penalty).sum()) / self.width**2
        fixed = max(coefficients.size - 2 - known, 1e-3)
        width = float(np.clip(np.sqrt(size / fixed), _STIFFEST, _SOFTEST))
        return replace(self, level=coefficients, width=width)

    @cached_property
    def _curvature(self) -> np.ndarray:
        size = self.level.size
        if size < 3:
            return np.zeros((size, size))
        highest = max(float(self.level.max()), 1e-12)
        padded = np.concatenate([self.level[:1], self.level, self.level[-1:]])
        level = np.maximum(np.convolve(padded, _SMOOTH, mode="valid"), _LEAST * highest)
        second = _second_differences(size) / level[1:-1, None]
        # A trace of the size itself keeps what has no counts at all determined.
        return np.asarray(second.T @ second + 1e-6 * np.eye(size) / highest**2)


@lru_cache(maxsize=8)
def _second_differences(size: int) -> np.ndarray:
    return np.diff(np.eye(size), 2, axis=0)


#: Bumps to a peak's full width at half maximum: errors are then correlated over about it.
_PER_WIDTH = 2.0
#: The size of the errors changes over this many bumps (standard deviation), but for a small
#: share of the whole spectrum's.
_LOCAL, _GLOBAL = 16.0, 0.02
#: A peak this many times above what lies under it has the error of all strong peaks.
_STRONG = 4.0
#: What a wrong tail leaves falls off from its peak over this many bumps.
_TAIL = 4.0
#: Relative errors that a model may have before the spectrum is asked: this keeps the size at
#: zero where counts can't tell.
_EXPECTED = 0.1
_START = 1e-4
_ROUNDS = 25
_SMALLEST = 1e-12
#: Standard deviations below zero from which on what is left above it falls off exponentially.
_FAR_BELOW = -30.0
#: Bumps that tell a share which changes from place to place, and how much more each of them tells
#: with its neighbours, which it overlaps with.
_NEAR, _OVERLAP = float(np.sqrt(4 * np.pi)) * _LOCAL, 1.5
#: Of the sizes, the first two are alike everywhere; the first three are those of a model.
_ALIKE, _MODELLED = 2, 3
#: Steps of the fit beside the misfit, and what of a channel's noise may still move.
_STEPS, _STILL = 8, 1e-2
#: Standard deviations, and part of itself, by which errors of the model may move a strong line, and
#: how much surer than by the counts it is then held.
_FAR, _FAR_PART, _SURE = 2.0, 0.03, 1e4


@dataclass(frozen=True, eq=False)
class Misfit:
    """Errors of the model: independent coefficients of bumps half a peak's width apart.

    Its covariance is ``basis @ diag(sigma^2) @ basis.T``.

    Parameters
    ----------
    basis : csr_array of shape (channels, bumps)
        Cubic B-splines; they sum to one.
    sigma : ndarray of shape (bumps,)
        Standard deviations, counts in a channel.
    """

    __repr__ = outline

    basis: csr_array
    sigma: np.ndarray

    @property
    def standard_deviation(self) -> np.ndarray:
        """Standard deviation of the model's error in each channel; (channels,)."""
        return np.sqrt(self.basis.multiply(self.basis) @ self.sigma**2)

    def eliminated(self, columns: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weigh columns by the inverse of the full covariance.

        With the covariance ``V = diag(1 / weight) + basis diag(sigma^2) basis.T``.

        Parameters
        ----------
        columns : ndarray of shape (channels, p)
        weight : ndarray of shape (channels,)
            One over the variance of counting.

        Returns
        -------
        weighted : ndarray of shape (channels, p)
            ``V^-1 columns``.
        information : ndarray of shape (p, p)
            ``columns.T V^-1 columns``.
        """
        weighted = columns * weight[:, None]
        if self.sigma.any():
            inner = _gram(self.basis, weight)
            for k, row in enumerate(inner):
                row[: row.size - k] *= self.sigma[k:] * self.sigma[: self.sigma.size - k]
            inner[0] += 1.0
            kernels.factorise(inner)
            back = self.sigma[:, None] * (self.basis.T @ weighted)
            kernels.solve(inner, back)
            weighted -= (self.basis @ (self.sigma[:, None] * back)) * weight[:, None]
        return weighted, columns.T @ weighted


def no_misfit(axis: EnergyAxis, detector: Detector) -> Misfit:
    """Return the misfit of a model that is true."""
    basis = _bumps(axis, detector)
    return Misfit(basis, np.zeros(basis.shape[1]))


def estimated_misfit(
    axis: EnergyAxis,
    detector: Detector,
    *,
    columns: np.ndarray,
    amplitudes: np.ndarray,
    stiffness: Stiffness,
    precision: np.ndarray,
    residual: np.ndarray,
    variance: np.ndarray,
    peaks: np.ndarray,
    rest: np.ndarray,
    taken: np.ndarray,
    penalized: bool = True,
) -> tuple[Misfit, Stiffness]:
    """Estimate the size of a model's errors, and the stiffness of its continuum beside them.

    The errors are relative: ``sigma_k^2 = s^2 P_k^2 + w^2 T_k^2 + t_k^2 C_k^2`` with the strong
    peaks P (over their flanks, too, so that a wrong width or place counts), T, their counts
    spread over some widths as tails are, and C, what lies under them and weak peaks. All strong
    peaks have one share s and one w, since one detector shapes them; the share t, of lines that
    are missing or in wrong ratios, changes over some peaks' widths. What was measured and
    subtracted has no model, but is not quite what is there: it errs by a share of its own.
    The restricted likelihood of what is left by the fit, with a penalty that leaves them at zero
    where counts can't tell, is greatest where ``s^2 <- s^2 sqrt(sum(P^2 q^2) / sum(P^2 e))`` ends,
    with the scores q of the bumps and their expected squares e. What is returned is not that
    most likely size but, of what is modelled, the mean of all that the likelihood allows: where few
    channels tell it, errors must hold that it may be larger.

    Parameters
    ----------
    axis : EnergyAxis
    detector : Detector
        Its resolution sets the width of the bumps.
    columns : ndarray of shape (channels, p)
        What else was fitted; the response is taken as found.
    amplitudes : ndarray of shape (p,)
    stiffness : Stiffness
        Of the continuum, whose place is that among ``columns``.
    precision : ndarray of shape (p, p)
        What else is known beforehand of the amplitudes: they are N(0, precision^-1).
    residual : ndarray of shape (channels,)
        Counts less the fit.
    variance : ndarray of shape (channels,)
        Of counting.
    peaks, rest : ndarray of shape (channels,)
        Expected counts in lines and in everything else that is modelled.
    taken : ndarray of shape (channels,)
        Counts that were measured and subtracted.
    penalized : bool
        Whether the continuum is held by its stiffness.

    Returns
    -------
    Misfit
    Stiffness
        With its new width.

    References
    ----------
    Zhou, Hu, Zhou & Lange 2019, J. Comput. Graph. Stat. 28, 350 (the steps);
    Kennedy & O'Hagan 2001, J. R. Stat. Soc. B 63, 425 (discrepancies of models).
    """
    basis = _bumps(axis, detector)
    n, p = basis.shape[1], columns.shape[1]
    reach = np.asarray(basis.sum(axis=0)).ravel()
    reach[reach == 0] = 1.0  # a bump between two wide channels holds nothing
    lines = np.sqrt(basis.T @ np.maximum(peaks, 0.0) ** 2 / reach)
    heights = gaussian_filter1d(lines, 0.6 * _PER_WIDTH)
    floor = basis.T @ np.maximum(rest, 0.0) / reach
    strong = np.where(heights > _STRONG * floor, heights, 0.0)
    weak = floor + np.minimum(heights, _STRONG * floor)
    tails = _spread(np.where(lines > _STRONG * floor, lines, 0.0))
    off = basis.T @ np.maximum(taken, 0.0) / reach
    found_in = [strong, tails, weak, off] if off.any() else [strong, tails, weak]
    sizes = np.maximum(np.stack(found_in), 1e-9) ** 2
    weight = 1.0 / variance
    weighted = columns * weight[:, None]
    cross, among = basis.T @ weighted, _gram(basis, weight)
    gram = weighted.T @ columns + precision
    at = stiffness.place
    target = residual + columns @ amplitudes
    pull, pull_of_bumps = weighted.T @ target, basis.T @ (weight * target)
    shares = np.full(sizes.shape, _START)
    smallest = 1.0 / (_EXPECTED**2 * np.sqrt(2 * np.pi) * _LOCAL)
    for last in [False] * (_ROUNDS - 1) + [True]:
        sigma2 = (shares * sizes).sum(axis=0)
        held = gram + stiffness.penalty(p) if penalized else gram
        bumps = among.copy()
        bumps[0] += 1.0 / sigma2
        found, covariance, errors, left = _solved(held, cross, bumps, pull, pull_of_bumps)
        score2 = (errors / sigma2) ** 2
        expected = np.maximum(1.0 - left / sigma2, 0.0) / sigma2
        for i, size in enumerate(sizes):
            pooled, number = (_everywhere, n) if i < _ALIKE else (_locally, _NEAR)
            asked = expected * size
            above, below, curved = pooled(np.stack([score2 * size, asked, asked**2]))
            below = below + smallest
            # What was measured may well be exact; what is modelled never is.
            if last and i < _MODELLED:
                known = _OVERLAP * number * curved
                shares[i] = _mean_share(shares[i], number * (above - below), known)
            else:
                shares[i] = np.maximum(shares[i] * np.sqrt(above / below), _SMALLEST)
        stiffness = stiffness.updated(found[at], covariance[at, at])
    return Misfit(basis, np.sqrt((shares * sizes).sum(axis=0))), stiffness


def fit_beside(
    misfit: Misfit,
    design: np.ndarray,
    counts: np.ndarray,
    *,
    offset: np.ndarray,
    penalty: np.ndarray,
    start: PoissonFit,
    free_sign: np.ndarray | None = None,
    lines: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit amplitudes where the model errs by a known covariance.

    A strong peak that stands a little beside its place is all error to this fit, and its flanks
    would decide on how much of it there is. A strong line that comes out far from its area stays
    as the fit without errors of the model found it.

    Parameters
    ----------
    misfit : Misfit
    design : ndarray of shape (channels, p)
    counts, offset : ndarray of shape (channels,)
    penalty : ndarray of shape (p, p)
    start : PoissonFit
        The fit without errors of the model.
    free_sign : ndarray of bool, shape (p,), optional
        Amplitudes that may be negative.
    lines : int
        Columns that are lines, the first ones.

    Returns
    -------
    amplitudes : ndarray of shape (p,)
    mean : ndarray of shape (channels,)
        Expected counts with the most likely errors of the model, which weigh the channels.
    kept : ndarray of bool, shape (p,)
        Strong lines that stayed as they were.
    """
    kept = np.zeros(design.shape[1], bool)
    if not misfit.sigma.any():
        return start.amplitudes, start.mean, kept
    floor = max(1e-6 * float(counts.mean()), 1e-12)

    def fitted_with(kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        amplitudes, mean = start.amplitudes, start.mean
        for _ in range(_STEPS):
            weight = 1.0 / mean
            weighted, information = misfit.eliminated(design, weight)
            sure = np.where(kept, _SURE * np.diag(information), 0.0)
            old = amplitudes
            amplitudes = nonnegative_quadratic(
                information + penalty + np.diag(sure),
                weighted.T @ (counts - offset) + sure * start.amplitudes,
                free_sign,
            )
            fitted = design @ amplitudes + offset
            left, _ = misfit.eliminated((counts - fitted)[:, None], weight)
            errors = misfit.basis @ (misfit.sigma**2 * (misfit.basis.T @ left[:, 0]))
            mean = np.maximum(fitted + errors, np.maximum(0.1 * fitted, floor))
            moved = np.abs(design @ (amplitudes - old))
            if (moved <= _STILL * np.sqrt(mean)).all():
                break
        return amplitudes, mean

    amplitudes, mean = fitted_with(kept)
    information = misfit.eliminated(design, 1.0 / mean)[1]
    sigma = np.sqrt(np.diag(covariance_of(information + penalty)))
    most = np.maximum(_FAR * sigma, _FAR_PART * start.amplitudes)
    far = (np.abs(amplitudes - start.amplitudes) > most)[:lines]
    kept[:lines] = far & _strong(design[:, :lines] * start.amplitudes[:lines], start.mean)
    if kept.any():
        amplitudes, mean = fitted_with(kept)
    return amplitudes, mean, kept


def _strong(lines: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Which lines (channels, n) are nearly all that is counted where they are highest."""
    highest = lines.argmax(axis=0)
    own = lines[highest, np.arange(highest.size)]
    return np.asarray(own > _STRONG * np.maximum(mean[highest] - own, 0.0))


# One detector made all spectra of a map.
@lru_cache(maxsize=8)
def _bumps(axis: EnergyAxis, detector: Detector) -> csr_array:
    kev = axis.to_kev()
    energies = np.maximum(kev.centers, 0.02)
    per_channel = kev.scale * 1e3 * _PER_WIDTH / detector.fwhm(energies)
    place = np.concatenate([[0.0], np.cumsum(0.5 * (per_channel[1:] + per_channel[:-1]))])
    n = max(int(np.ceil(place[-1])), 1)
    place = np.minimum(place * (n / max(place[-1], 1e-9)), n - 1e-9)
    return csr_array(BSpline.design_matrix(place, np.arange(-3, n + 4), 3))


def _spread(values: np.ndarray) -> np.ndarray:
    """Spread evenly to both sides, with exponentials of a mean reach of `_TAIL` bumps."""
    away = np.arange(-int(10 * _TAIL), int(10 * _TAIL) + 1)
    kernel = np.exp(-np.abs(away) / _TAIL)
    return np.convolve(values, kernel / kernel.sum())[away[-1] : away[-1] + values.size]


def _mean_share(share: np.ndarray, pull: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Mean of a share that can't be negative, where its likelihood is a normal one.

    Parameters
    ----------
    share : ndarray of shape (bumps,)
        So far.
    pull, known : ndarray of shape (bumps,)
        Twice the slope of the log likelihood there, and twice its curvature.
    """
    sigma = np.sqrt(2.0 / np.maximum(known, 1e-300))
    away = share / sigma + 0.5 * pull * sigma
    # So far below zero the sum has no digits left; its limit is that of an exponential.
    near = np.maximum(away, _FAR_BELOW)
    mean = near + np.sqrt(2 / np.pi) / erfcx(-near / np.sqrt(2))
    return np.asarray(sigma * np.where(away < near, -1.0 / np.minimum(away, _FAR_BELOW), mean))


def _everywhere(values: np.ndarray) -> np.ndarray:
    """Mean of each row: all peaks have one shape, and the strongest tell most of it."""
    return np.asarray(values.mean(axis=1, keepdims=True))


def _locally(values: np.ndarray) -> np.ndarray:
    """Mean over the neighbourhood, with a little of the whole row."""
    near = gaussian_filter1d(values, _LOCAL, mode="nearest")
    return np.asarray(near + _GLOBAL * values.mean(axis=1, keepdims=True))


def _gram(basis: csr_array, weight: np.ndarray) -> np.ndarray:
    """Return ``basis.T diag(weight) basis``, its lower bands as LAPACK has them; (4, bumps)."""
    n = basis.shape[1]
    first, values = basis.indices[::4], basis.data.reshape(-1, 4)
    bands = np.zeros((4, n))
    for k in range(4):
        for i in range(4 - k):
            product = weight * values[:, i] * values[:, i + k]
            bands[k] += np.bincount(first + i, product, minlength=n)
    return bands


def _solved(
    held: np.ndarray,
    cross: np.ndarray,
    bumps: np.ndarray,
    pull: np.ndarray,
    pull_of_bumps: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Solve for amplitudes and bumps at once; the bumps are only tied to their neighbours.

    Parameters
    ----------
    held : ndarray of shape (p, p)
        Information of the amplitudes.
    cross : ndarray of shape (bumps, p)
    bumps : ndarray of shape (4, bumps)
        Lower bands of the information of the bumps; overwritten.
    pull : ndarray of shape (p,)
    pull_of_bumps : ndarray of shape (bumps,)

    Returns
    -------
    amplitudes : ndarray of shape (p,)
    covariance : ndarray of shape (p, p)
    coefficients : ndarray of shape (bumps,)
    variances : ndarray of shape (bumps,)
    """
    kernels.factorise(bumps)
    solved = np.column_stack([cross, pull_of_bumps])
    kernels.solve(bumps, solved)
    by_cross, alone = solved[:, :-1], solved[:, -1]
    covariance = covariance_of(held - cross.T @ by_cross)
    amplitudes = covariance @ (pull - cross.T @ alone)
    inverse = np.zeros_like(bumps)
    kernels.diagonal_of_inverse(bumps, inverse)
    variances = inverse[0] + ((by_cross @ covariance) * by_cross).sum(axis=1)
    return amplitudes, covariance, alone - by_cross @ amplitudes, variances
