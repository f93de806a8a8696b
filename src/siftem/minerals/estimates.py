"""Numbers that follow from a composition, with all its errors, by random compositions around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siftem.printed_numbers import measured

#: Of an interval of 95%.
_QUANTILE = 1.96


@dataclass(frozen=True)
class Estimate:
    """A number that follows from a composition.

    Parameters
    ----------
    value : float
    sigma : float
        Standard deviation from counting and model.
    systematic : float
        Standard deviation from k-factors, attenuation and film.
    interval_95 : tuple of float
        With all errors and what is not known; never below 0, of fractions never above 1.
    assumed_absent : bool
        Whether it is of an element that was assumed to be absent, or a ratio or end member with
        one: nothing was measured.
    """

    value: float
    sigma: float
    systematic: float
    interval_95: tuple[float, float]
    assumed_absent: bool = False

    def __str__(self) -> str:
        if self.assumed_absent:
            return "assumed absent"
        shown = measured(self.value, self.sigma, self.systematic)
        error = f" +- {shown.sigma}" if shown.sigma else ""
        return f"{shown.value}{error}" + (
            f" (systematic {shown.systematic})" if shown.systematic else ""
        )


def estimated(clouds: list[np.ndarray], assumed: bool, most: float) -> Estimate:
    """Value, both standard deviations and the interval that holds those of all ends."""
    value, counting, systematic, *ends = clouds
    finite = [c[np.isfinite(c)] for c in (counting, systematic, *ends)]
    if not np.isfinite(value[0]) or any(c.size < 2 for c in finite):
        return Estimate(float("nan"), float("nan"), float("nan"), (float("nan"),) * 2, assumed)
    quantiles = np.array([np.quantile(c, [0.025, 0.975]) for c in finite[2:]])
    # Nothing here can be negative, or more than all: that says no more than none, or all.
    least = _QUANTILE * max(_spread(c) for c in finite[2:])
    return Estimate(
        float(value[0]),
        _spread(finite[0]),
        _spread(finite[1]),
        (
            max(min(float(quantiles[:, 0].min()), most - least), 0.0),
            min(max(float(quantiles[:, 1].max()), least), most),
        ),
        assumed,
    )


def _spread(values: np.ndarray) -> float:
    """Standard deviation; 0 where there is nothing but rounding."""
    sigma = float(values.std())
    return sigma if sigma > 1e-12 * max(1.0, float(np.abs(values).max())) else 0.0
