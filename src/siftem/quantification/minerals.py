"""Oxides, formula units and ratios of a composition, with errors."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from siftem.errors import InputError
from siftem.printed_numbers import measured, range_text
from siftem.xray.elements import atomic_weight, parse_ratio

__all__ = [
    "ANIONS",
    "VALENCES",
    "Quantity",
    "cation_charges",
    "formula_units",
    "oxide_name",
    "oxides",
    "oxides_per_atom",
    "oxygen_map",
    "parse_ratio",
    "ratio",
    "with_assumed",
]

#: Usual charge of each cation in minerals; iron is taken as Fe2+ and uranium as U4+.
VALENCES = {
    "H": 1, "Li": 1, "Be": 2, "B": 3, "Na": 1, "Mg": 2, "Al": 3, "Si": 4, "P": 5, "S": 6,
    "K": 1, "Ca": 2, "Sc": 3, "Ti": 4, "V": 3, "Cr": 3, "Mn": 2, "Fe": 2, "Co": 2, "Ni": 2,
    "Cu": 2, "Zn": 2, "Ga": 3, "Ge": 4, "Rb": 1, "Sr": 2, "Y": 3, "Zr": 4, "Nb": 5, "Cs": 1,
    "Ba": 2, "La": 3, "Ce": 3, "Pr": 3, "Nd": 3, "Sm": 3, "Eu": 3, "Gd": 3, "Tb": 3, "Dy": 3,
    "Ho": 3, "Er": 3, "Tm": 3, "Yb": 3, "Lu": 3, "Hf": 4, "Ta": 5, "W": 6, "Pb": 2, "Th": 4,
    "U": 4,
}  # fmt: skip


#: Elements that are no cations in oxides; C is the support's or the holder's.
ANIONS = ("O", "C", "N", "F", "Cl", "Br", "I")


@dataclass(frozen=True)
class Quantity:
    """A number with its standard deviation from counting.

    Parameters
    ----------
    value, sigma : float
    systematic : float, optional
        Standard deviation from k-factors, attenuation and film, where it was asked for.
    range_95 : tuple of float, optional
        Where nothing fixes how much of another phase is in it: the value lies anywhere in here.
    assumed_absent : bool
        Whether an anchor took the element for absent: the number was not measured.
    """

    value: float
    sigma: float
    systematic: float | None = None
    range_95: tuple[float, float] | None = None
    assumed_absent: bool = False

    def __str__(self) -> str:
        if self.assumed_absent:
            return "assumed absent"
        if self.range_95 is not None:
            return f"{range_text(*self.range_95)} (95%, nothing fixes it further)"
        shown = measured(self.value, self.sigma, self.systematic)
        error = f" +- {shown.sigma}" if shown.sigma else ""
        return f"{shown.value}{error}" + (
            f" (systematic {shown.systematic})" if shown.systematic else ""
        )


def with_assumed(found: Mapping[str, Quantity], names: Collection[str]) -> dict[str, Quantity]:
    """Return quantities, those of some names as assumed to be absent."""
    return {
        name: replace(q, assumed_absent=True) if name in names else q for name, q in found.items()
    }


def oxide_name(element: str) -> str:
    """Return the oxide of a cation, such as "MgO" or "Al2O3"."""
    charge = _valence(element)
    cations, oxygens = (1, charge // 2) if charge % 2 == 0 else (2, charge)
    return f"{element}{cations if cations > 1 else ''}O{oxygens if oxygens > 1 else ''}"


def oxides_per_atom(elements: Sequence[str]) -> np.ndarray:
    """Weight of the oxide for one atom of each cation, g/mol; (elements,)."""
    oxygen = atomic_weight("O")
    return np.array([atomic_weight(e) + _valence(e) / 2 * oxygen for e in elements])


def oxides(
    elements: Sequence[str], weight_fractions: np.ndarray, covariance: np.ndarray
) -> dict[str, Quantity]:
    """Return weight percent of oxides, the sum set to 100, with O by stoichiometry.

    Parameters
    ----------
    elements : sequence of str
    weight_fractions : ndarray of shape (n,)
    covariance : ndarray of shape (n, n)
        Of the weight fractions.

    Returns
    -------
    dict of str to Quantity
        Empty for what is no oxide: no O among the elements, or a metal without a usual charge.
    """
    cations = [e for e in elements if e not in ANIONS]
    if not cations or "O" not in elements or not set(cations) <= set(VALENCES):
        return {}
    index = [list(elements).index(e) for e in cations]
    per_atom = 1 / np.array([atomic_weight(e) for e in cations])
    atoms = weight_fractions[index] * per_atom
    of_atoms = covariance[np.ix_(index, index)] * np.outer(per_atom, per_atom)
    molar = oxides_per_atom(cations)
    out = {}
    for i, element in enumerate(cations):
        top = np.zeros(len(cations))
        top[i] = 100 * molar[i]
        out[oxide_name(element)] = ratio(atoms, of_atoms, top, molar)
    return out


def cation_charges(elements: Sequence[str]) -> np.ndarray:
    """Usual charge of each element as a cation, 0 for anions; (elements,)."""
    return np.array([0.0 if e in ANIONS else float(_valence(e)) for e in elements])


def formula_units(
    elements: Sequence[str],
    atoms: np.ndarray,
    covariance: np.ndarray,
    oxygens: float,
    *,
    by: str = "stoichiometry",
) -> dict[str, Quantity]:
    """Return the atoms of each element in a formula unit of a number of oxygens.

    By stoichiometry ``n_i = oxygens a_i / sum_j (charge_j / 2) a_j`` over the cations, with
    their usual charges (Fe2+); measured ``n_i = oxygens a_i / a_O``.

    Parameters
    ----------
    elements : sequence of str
    atoms : ndarray of shape (n,)
        Atomic fractions.
    covariance : ndarray of shape (n, n)
        Their covariance.
    oxygens : float
        Such as 3 for ABO3.
    by : {"stoichiometry", "measured"}
        What the oxygens are.

    Returns
    -------
    dict of str to Quantity
        By stoichiometry without the anions.
    """
    if not 0 < oxygens < np.inf:
        raise InputError(f"the number of oxygens must be positive, got {oxygens}")
    if by == "stoichiometry":
        bottom = cation_charges(elements) / 2
        shown = [e for e in elements if e not in ANIONS]
    elif by == "measured":
        if "O" not in elements:
            raise InputError("a formula by measured oxygen needs O among the elements")
        bottom = np.array([1.0 if e == "O" else 0.0 for e in elements])
        shown = list(elements)
    else:
        raise InputError(f"oxygens are by 'stoichiometry' or 'measured', got {by!r}")
    out = {}
    for element in shown:
        top = np.zeros(len(elements))
        top[list(elements).index(element)] = oxygens
        out[element] = ratio(atoms, covariance, top, bottom)
    return out


def ratio(
    atoms: np.ndarray, covariance: np.ndarray, top: np.ndarray, bottom: np.ndarray
) -> Quantity:
    """Ratio of two linear combinations of amounts, with its error to first order.

    Parameters
    ----------
    atoms : ndarray of shape (n,)
        Amounts.
    covariance : ndarray of shape (n, n)
        Their covariance.
    top, bottom : ndarray of shape (n,)
        Coefficients of the numerator and the denominator.

    Returns
    -------
    Quantity
        NaN when the denominator is not positive.
    """
    numerator, denominator = float(top @ atoms), float(bottom @ atoms)
    if denominator <= 0:
        return Quantity(float("nan"), float("nan"))
    value = numerator / denominator
    slope = (top - value * bottom) / denominator
    return Quantity(value, float(np.sqrt(max(slope @ covariance @ slope, 0.0))))


def _valence(element: str) -> int:
    try:
        return VALENCES[element]
    except KeyError:
        raise InputError(
            f"no usual valence is known for {element}: leave it out of the oxides"
        ) from None


def oxygen_map(elements: Sequence[str], oxygen: str) -> np.ndarray:
    """Return the matrix that turns measured amounts by weight into reported ones; (n, n).

    Parameters
    ----------
    elements : sequence of str
    oxygen : {"measured", "stoichiometry"}
        With the second, O is what the usual charges of the cations need.

    Raises
    ------
    InputError
        When O by stoichiometry is asked for and O is not among the elements.
    """
    out = np.eye(len(elements))
    if oxygen == "stoichiometry":
        if "O" not in elements:
            raise InputError("oxygen by stoichiometry needs O among the elements")
        charges = cation_charges(elements)
        weights = np.array([atomic_weight(e) for e in elements])
        out[list(elements).index("O")] = charges / 2 * atomic_weight("O") / weights
    return out
