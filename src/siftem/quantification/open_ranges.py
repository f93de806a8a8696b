"""Intervals that hold every kind of error, of fractions on the simplex and of what follows."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np
from scipy.special import ndtr

from siftem.quantification.minerals import ANIONS, cation_charges, oxides_per_atom, parse_ratio
from siftem.xray.elements import atomic_weight

#: An interval is as good as a range when what is not fixed makes it wider by this factor.
_DOMINATES = 1.5
#: All intervals hold the truth so often.
_LEVEL = 0.95


class Fractions(Protocol):
    """What is asked here of a `quantification.fractions.Composition`, which builds on this."""

    @property
    def elements(self) -> tuple[str, ...]:
        """In the order of all arrays."""

    @property
    def weight_fractions(self) -> np.ndarray:
        """As estimated; (n,)."""

    @property
    def covariance(self) -> np.ndarray:
        """From counting and model; (n, n)."""

    @property
    def systematic(self) -> np.ndarray:
        """From k-factors, attenuation and ratios of lines; (n, n)."""

    @property
    def identification_ends(self) -> np.ndarray | None:
        """Weight fractions at the ends of what nobody fixed; (ends, n)."""

    @property
    def stand_in_ends(self) -> np.ndarray | None:
        """Weight fractions when an element is another one, which is in no list; (ends, n)."""

    def intervals(self, *, identification: bool = True) -> np.ndarray:
        """95% intervals of the atomic fractions; (n, 2)."""

    def index(self, element: str) -> int:
        """Position of an element."""


def is_open(composition: Fractions) -> bool:
    """Whether what nobody fixed outweighs all other errors, so that values are ranges.

    Parameters
    ----------
    composition : Fractions

    Returns
    -------
    bool
        Whether the 95% interval of some element is wider by half with
        ``identification_ends`` than by counting, model and systematic errors alone.
    """
    if composition.identification_ends is None:
        return False
    wide = np.ptp(composition.intervals(), axis=1)
    without = composition.intervals(identification=False)
    return bool((wide > _DOMINATES * np.ptp(without, axis=1)).any())


def ends_of(composition: Fractions) -> np.ndarray:
    """Return the weight fractions as estimated, then those at the ends; (1 + ends, n)."""
    every = composition.identification_ends, composition.stand_in_ends
    return np.vstack([composition.weight_fractions, *(e for e in every if e is not None)])


@dataclass(frozen=True, eq=False)
class Proportion:
    """Two sums of weight fractions, of which one is divided by the other.

    Parameters
    ----------
    top, bottom : ndarray of shape (n,)
        Coefficients of the weight fractions.
    """

    top: np.ndarray
    bottom: np.ndarray


def atomic_ratio(c: Fractions, text: str) -> Proportion:
    """Return an atomic ratio such as "(Mg+Fe)/O"."""
    top, bottom = parse_ratio(text, c.elements)
    return Proportion(top / _weights(c), bottom / _weights(c))


def oxide_percent(c: Fractions, element: str) -> Proportion:
    """Return the weight percent of an element's oxide, O by stoichiometry."""
    cations = [e for e in c.elements if e not in ANIONS]
    bottom = np.zeros(len(c.elements))
    bottom[[c.index(e) for e in cations]] = oxides_per_atom(cations)
    return Proportion(100 * bottom * _only(c, element) / _weights(c), bottom / _weights(c))


def formula_atoms(c: Fractions, element: str, oxygens: float) -> Proportion:
    """Return the atoms of an element in a formula unit, O by stoichiometry."""
    bottom = cation_charges(c.elements) / 2
    return Proportion(oxygens * _only(c, element) / _weights(c), bottom / _weights(c))


def _only(c: Fractions, element: str) -> np.ndarray:
    return np.array([float(e == element) for e in c.elements])


def _weights(c: Fractions) -> np.ndarray:
    return np.array([atomic_weight(e) for e in c.elements])


def interval_of(c: Fractions, proportion: Proportion) -> tuple[float, float]:
    """Return the interval of a proportion with all errors, and all that is not known.

    It holds the intervals of Fieller of the estimate and of the compositions at the ends of
    what is not known, each with the errors from counting, model and systematics together.

    Parameters
    ----------
    c : Fractions
    proportion : Proportion
        Of amounts that are not negative.

    Returns
    -------
    low, high : float
        At least 0; ``high`` is infinite where the denominator may be zero.
    """
    total = c.covariance + c.systematic  # the model's errors are in the covariance
    both = np.stack([proportion.top, proportion.bottom])
    errors = both @ total @ both.T
    found = []
    for fractions in ends_of(c):
        top, bottom = both @ fractions / growth(c.weight_fractions, fractions)
        found.append(fieller(float(top), float(bottom), errors))
    return min(low for low, _ in found), max(high for _, high in found)


def fieller(top: float, bottom: float, covariance: np.ndarray) -> tuple[float, float]:
    """Return the interval of a ratio by Fieller (1954, J. R. Stat. Soc. B 16, 175), cut at 0.

    It holds the ratios ``D`` for which ``top - D bottom`` is zero within its error, so that
    neither has to be far from zero.

    Parameters
    ----------
    top, bottom : float
    covariance : ndarray of shape (2, 2)

    Returns
    -------
    low, high : float
        ``high`` is infinite where ``bottom`` may be zero.
    """
    z2 = NormalDist().inv_cdf((1 + _LEVEL) / 2) ** 2
    above = top**2 - z2 * float(covariance[0, 0])
    below = bottom**2 - z2 * float(covariance[1, 1])
    middle = top * bottom - z2 * float(covariance[0, 1])
    root = float(np.sqrt(max(middle**2 - above * below, 0.0)))
    # In these forms of the roots nothing cancels.
    low = above / (middle + root) if above > 0 and top > 0 and middle + root > 0 else 0.0
    high = max(middle + root, 0.0) / below if below > 0 and bottom > 0 else np.inf
    return float(low), float(high)


_NORMAL = NormalDist()


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

    What came out below zero has the upper end of zero, or its own distance from zero if that is
    larger.

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
    # An estimate below zero was low by luck, or what it rests on errs there by as much as it lies
    # below, and may err as well to the other side: it says no more than one of zero.
    found[:, 1] = np.maximum(found[:, 1], np.maximum(z * noise, -values))
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


#: What was less than this of all, or is so little of what is left, does not tell how much that is.
_SEEN, _MUCH = 1e-3, 0.1


def growth(now: np.ndarray, end: np.ndarray) -> float:
    """How many times what is left of a phase at an end goes into what was measured; at least 1.

    Elements that are only the phase's own grow by as much. Where another phase is added, its
    elements grow, and all others fall by less than those would that are taken off: nothing is left
    over there.
    """
    seen = (now > _SEEN) & (end > _MUCH)
    grown = max(float((end[seen] / now[seen]).max(initial=1.0)), 1.0)
    much = now > _MUCH
    fallen = float((end[much] / now[much]).min(initial=1.0))
    return grown if 1.0 / grown > fallen else 1.0


def errors_at(
    now: np.ndarray, end: np.ndarray, noise: np.ndarray, systematic: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations of fractions at an end of what nobody fixed.

    What is left when another phase was taken off has the noise of all that was measured.
    Systematic errors are factors on amounts.

    Parameters
    ----------
    now, end : ndarray of shape (n,)
        Fractions as estimated and at the end.
    noise, systematic : ndarray of shape (n,)
        Standard deviations as estimated.

    Returns
    -------
    noise, systematic : ndarray of shape (n,)
    """
    inside, there = (np.clip(f, 1e-9, 1 - 1e-9) for f in (now, end))
    factor = np.minimum(there * (1 - there) / (inside * (1 - inside)), growth(now, end))
    return growth(now, end) * noise, factor * systematic


def _quantiles(ratio: np.ndarray, level: float) -> np.ndarray:
    """Solve ``Phi(z + ratio) - Phi(-z) = level`` for each ratio >= 0; (n,)."""
    low = np.full(ratio.shape, _NORMAL.inv_cdf(level))
    high = np.full(ratio.shape, _NORMAL.inv_cdf((1 + level) / 2))
    for _ in range(30):
        middle = (low + high) / 2
        below = ndtr(middle + ratio) - ndtr(-middle) < level
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return high
