"""Where a composition can't be of the group that its formula was calculated for.

What follows from a composition has all its errors, by random compositions around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from siftem.minerals.groups import Group
from siftem.printed_numbers import measured, percent
from siftem.quantification.minerals import ANIONS, cation_charges

#: Groups that may hold more oxygen than their cations need, in OH.
_HYDROUS = ("mica", "amphibole", "apatite", "oxide")
#: Groups whose tetrahedra are full.
_FULL = ("olivine", "pyroxene", "garnet", "feldspar", "mica", "amphibole")
#: What is told: beyond these quantiles, and by so much of what it should be.
_SURE, _MUCH = (0.0015, 0.9985), 0.05


def formula_doubts(
    elements: Sequence[str],
    ends: Sequence[np.ndarray],
    group: Group,
    tetrahedra: Sequence[np.ndarray],
) -> tuple[str, ...]:
    """Say why a formula may mean nothing, in one sentence each.

    Oxygen of a formula is what the charges of the cations need: of a metal or a sulphide that makes
    an oxide, unless the measured oxygen is looked at.

    Parameters
    ----------
    elements : sequence of str
    ends : sequence of ndarray of shape (draws, n)
        Random atoms with all errors, about each end of what is not known.
    group : Group
    tetrahedra : sequence of ndarray of shape (draws,)
        What site T holds in the same draws; none for groups without.
    """
    if group.oxygens is None:
        return ()
    if "O" not in elements:
        return ("O was not quantified: as much as the charges of the cations need is assumed",)
    out = []
    held = _oxygen_shares(elements, ends)
    if held["most"] < 1 - _MUCH:
        out.append(
            f"the charges of the cations need more O than there is (at most "
            f"{percent(held['most'])} of it): no oxide with these charges"
        )
    elif held["least"] > 1 + _MUCH and group.name not in _HYDROUS:
        out.append(
            f"there is more O than the charges of the cations need (at least "
            f"{100 * held['least']:.3g}% of it): a cation or H is missing, or k-factors are off"
        )
    full = next((s.capacity for s in group.sites if s.name == "T"), 0.0)
    if group.name in _FULL and full and tetrahedra:
        most = max(_quantile(t, 1) for t in tetrahedra) / full
        if most < 1 - _MUCH:
            out.append(
                f"site T holds at most {percent(most)} of what it has in {group.name}: take "
                f"another group"
            )
    return tuple(out)


def _oxygen_shares(elements: Sequence[str], ends: Sequence[np.ndarray]) -> Mapping[str, float]:
    """Least and most of measured O over what the cations need, iron of either charge."""
    cations = [e for e in elements if e not in ANIONS]
    index = [elements.index(e) for e in cations]
    charges = np.array(cation_charges(cations), dtype=np.float64)
    iron = np.array([float(e == "Fe") for e in cations])
    halogens = [elements.index(e) for e in ("F", "Cl") if e in elements]
    least, most = np.inf, -np.inf
    for atoms in ends:
        oxygen = atoms[:, elements.index("O")]
        ferrous = atoms[:, index] @ charges
        ferric = ferrous + atoms[:, index] @ iron
        salt = atoms[:, halogens].sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            most = max(most, _quantile(2 * oxygen / (ferrous - salt), 1))
            least = min(least, _quantile(2 * oxygen / ferric, 0))
    return {"least": least, "most": most}


def _quantile(values: np.ndarray, end: int) -> float:
    known = values[np.isfinite(values)]
    return float(np.quantile(known, _SURE[end])) if known.size else (np.inf if end else -np.inf)


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
