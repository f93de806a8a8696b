"""Means over the maps of a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Mean:
    """A weighted mean.

    Parameters
    ----------
    value, sigma : float
    reduced_chi_square : float
        Scatter over what the errors promise; NaN for a single value.
    n : int
        Values.
    """

    value: float
    sigma: float
    reduced_chi_square: float
    n: int


def weighted_mean(values: Sequence[float], sigmas: Sequence[float]) -> Mean | None:
    """Return the mean weighted by ``1 / sigma**2``, its error widened where values scatter.

    The error is ``sum(1 / sigma**2) ** -1/2``, times the square root of chi-square per
    degree of freedom where that exceeds one [1]_.

    Parameters
    ----------
    values, sigmas : sequence of float
        Pairs without a finite value and a positive sigma are left out.

    Returns
    -------
    Mean or None
        None when nothing is left.

    References
    ----------
    .. [1] R. T. Birge, The calculation of errors by the method of least squares, Phys. Rev.
       40, 207 (1932).
    """
    pairs = [
        (v, s)
        for v, s in zip(values, sigmas, strict=True)
        if math.isfinite(v) and math.isfinite(s) and s > 0
    ]
    if not pairs:
        return None
    weight = math.fsum(s**-2 for _, s in pairs)
    value = math.fsum(v * s**-2 for v, s in pairs) / weight
    sigma = weight**-0.5
    if len(pairs) == 1:
        return Mean(value, sigma, math.nan, 1)
    chi = math.fsum(((v - value) / s) ** 2 for v, s in pairs) / (len(pairs) - 1)
    return Mean(value, sigma * math.sqrt(max(chi, 1.0)), chi, len(pairs))
