"""A vertical axis that is linear about zero, where noise has both signs, and logarithmic above."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, SymmetricalLogLocator

from siftem.figures.numbers_on_axes import short_number

#: Decades that the linear part takes, from zero to where it ends.
_LINEAR_DECADES = 0.7
#: How far the axis goes below zero at the least, as a share of the linear part.
_BELOW = 0.7


def linear_end(values: np.ndarray, sigma: np.ndarray) -> float:
    """Return where noise ends: three typical standard deviations of the fainter half.

    Parameters
    ----------
    values, sigma : ndarray of shape (channels,)
    """
    faint = sigma[values <= np.median(values)]
    return float(max(3 * np.median(faint), 1e-12))


def signed_axis(ax: Axes, values: np.ndarray, sigma: np.ndarray, high: float) -> None:
    """Make the vertical axis linear up to `linear_end` and logarithmic beyond, with few numbers.

    Parameters
    ----------
    ax : Axes
    values, sigma : ndarray of shape (channels,)
        There is room for the lowest of them.
    high : float
        Upper limit.
    """
    end = linear_end(values, sigma)
    high = max(high, 2 * end)
    ax.set_yscale("symlog", linthresh=end, linscale=_LINEAR_DECADES)
    ax.set_ylim(min(-_BELOW * end, 1.5 * float(values.min())), high)
    # Numbers near the ends would run into those of the panels above and below.
    first, last = math.ceil(math.log10(end)), math.floor(math.log10(high / 1.3))
    decades = range(last, first - 1, -max(1, math.ceil((last - first + 1) / 2)))
    ax.yaxis.set_major_locator(FixedLocator([0.0, *sorted(10.0**d for d in decades)]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: short_number(v)))
    ax.yaxis.set_minor_locator(
        SymmetricalLogLocator(base=10, linthresh=end, subs=list(range(2, 10)))
    )
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.axhline(0.0, color="black", linewidth=0.35, zorder=0.8)
