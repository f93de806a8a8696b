"""Intervals of fractions that hold every kind of error, on the simplex."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

_NORMAL = NormalDist()
#: Upper end of what came out at -3 standard deviations, of its distance when it comes out at 0
#: (Feldman & Cousins 1998, Phys. Rev. D 57, 3873, table X: 0.42 of 1.96).
LEAST_END = 0.21


def fraction_intervals(
    values: np.ndarray,
    noise: np.ndarray,
    systematic: np.ndarray,
    reach: np.ndarray,
    level: float,
) -> np.ndarray:
    """Return the intervals of fractions between 0 and 1.

    Noise is additive, systematic errors are factors on amounts: they move ``ln(f/(1 - f))``,
    in which the errors of factors are symmetric. Both distances of an end add in quadrature.
    What is only known to lie in a range moves the ends apart; with a wide range the truth can
    miss at one end only, so the rest needs the one-sided quantile there (Imbens & Manski
    2004, Econometrica 72, 1845): the z of ``Phi(z + range/sigma) - Phi(-z) = level``.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Estimates, which noise may have moved below 0 or above 1.
    noise, systematic : ndarray of shape (n,)
        Standard deviations.
    reach : ndarray of shape (n, 2)
        How far each fraction may lie below (<= 0) and above (>= 0) its estimate by what is
        not known at all, such as the thickness of the film.
    level : float
        Probability, such as 0.95.

    Returns
    -------
    ndarray of shape (n, 2)
        Lower and upper ends, within 0 and 1.
    """
    sigma = np.hypot(noise, systematic)
    z = _quantiles(np.ptp(reach, axis=1) / np.maximum(sigma, 1e-300), level)
    inside = np.clip(values, 0.0, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = inside / (1 - inside)
        step = np.nan_to_num(systematic / (inside * (1 - inside)), nan=0.0, posinf=0.0)
    ends = []
    for side in (-1.0, 1.0):
        with np.errstate(invalid="ignore"):
            moved = odds * np.exp(np.clip(side * z * step, -50.0, 50.0))
            away = np.nan_to_num(moved / (1 + moved) - inside, nan=0.0)
        ends.append(side * np.hypot(z * noise, away))
    found = values[:, None] + reach + np.stack(ends, axis=1)
    # An estimate far below zero was low by luck, or the model errs there: no proof of nothing.
    found[:, 1] = np.maximum(found[:, 1], LEAST_END * z * noise)
    return np.clip(found, 0.0, 1.0)


def reach_of(values: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """How far whole compositions that could be true lie from the estimate, by element.

    Parameters
    ----------
    values : ndarray of shape (n,)
    ends : ndarray of shape (m, n)
        Compositions; none is allowed.

    Returns
    -------
    ndarray of shape (n, 2)
        Least (<= 0) and most (>= 0).
    """
    away = np.vstack([np.zeros_like(values), ends - values])
    return np.stack([away.min(axis=0), away.max(axis=0)], axis=1)


def _quantiles(ratio: np.ndarray, level: float) -> np.ndarray:
    """Solve ``Phi(z + ratio) - Phi(-z) = level`` for each ratio >= 0; (n,)."""
    one_sided, two_sided = _NORMAL.inv_cdf(level), _NORMAL.inv_cdf((1 + level) / 2)
    out = np.empty(ratio.shape)
    for i, wide in enumerate(ratio.tolist()):
        low, high = one_sided, two_sided
        for _ in range(30):
            middle = (low + high) / 2
            if _NORMAL.cdf(middle + wide) - _NORMAL.cdf(-middle) < level:
                low = middle
            else:
                high = middle
        out[i] = high
    return out
