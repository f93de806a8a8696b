"""Oxides, formula units and ratios of a composition, with errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siftem.errors import InputError
from siftem.xray.elements import atomic_weight

#: Usual charge of each cation in minerals; iron is taken as Fe2+ and uranium as U4+.
VALENCES = {
    "H": 1, "Li": 1, "Be": 2, "B": 3, "Na": 1, "Mg": 2, "Al": 3, "Si": 4, "P": 5, "S": 6,
    "K": 1, "Ca": 2, "Sc": 3, "Ti": 4, "V": 3, "Cr": 3, "Mn": 2, "Fe": 2, "Co": 2, "Ni": 2,
    "Cu": 2, "Zn": 2, "Ga": 3, "Ge": 4, "Rb": 1, "Sr": 2, "Y": 3, "Zr": 4, "Nb": 5, "Cs": 1,
    "Ba": 2, "La": 3, "Ce": 3, "Pr": 3, "Nd": 3, "Sm": 3, "Eu": 3, "Gd": 3, "Tb": 3, "Dy": 3,
    "Ho": 3, "Er": 3, "Tm": 3, "Yb": 3, "Lu": 3, "Hf": 4, "Ta": 5, "W": 6, "Pb": 2, "Th": 4,
    "U": 4,
}  # fmt: skip


@dataclass(frozen=True)
class Quantity:
    """A number with its standard deviation from counting.

    Parameters
    ----------
    value, sigma : float
    """

    value: float
    sigma: float


def oxide_name(element: str) -> str:
    """Return the oxide of a cation, such as "MgO" or "Al2O3"."""
    charge = _valence(element)
    cations, oxygens = (1, charge // 2) if charge % 2 == 0 else (2, charge)
    return f"{element}{cations if cations > 1 else ''}O{oxygens if oxygens > 1 else ''}"


def oxides_per_atom(elements: Sequence[str]) -> np.ndarray:
    """Weight of the oxide for one atom of each cation, g/mol; (elements,)."""
    oxygen = atomic_weight("O")
    return np.array([atomic_weight(e) + _valence(e) / 2 * oxygen for e in elements])


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


def parse_ratio(text: str, elements: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read a ratio such as "(Mg+Fe)/O" or "(Mg+Ca+Al/2)/(Si+Al/2)".

    Parameters
    ----------
    text : str
        Sums of elements, each with an optional divisor, on both sides of one slash that
        stands between brackets or single elements.
    elements : sequence of str
        Elements of the composition.

    Returns
    -------
    top, bottom : ndarray of shape (elements,)
        Coefficients.
    """
    depth = 0
    cuts = []
    for i, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == "/" and depth == 0:
            cuts.append(i)
    if len(cuts) != 1 or depth != 0:
        raise InputError(
            f"a ratio must look like '(Mg+Fe)/O' or 'Mg/(Mg+Fe)', got {text!r}"
        )
    sides = (text[: cuts[0]], text[cuts[0] + 1 :])
    return tuple(_coefficients(side, elements, text) for side in sides)  # type: ignore[return-value]


def _coefficients(side: str, elements: Sequence[str], whole: str) -> np.ndarray:
    out = np.zeros(len(elements))
    for term in side.strip().strip("()").split("+"):
        name, _, divisor = term.strip().partition("/")
        if name not in elements:
            raise InputError(
                f"the ratio {whole!r} names {name or 'nothing'}, which is not among the elements "
                f"{', '.join(elements)}"
            )
        try:
            out[list(elements).index(name)] += 1.0 / float(divisor) if divisor else 1.0
        except (ValueError, ZeroDivisionError):
            raise InputError(f"the ratio {whole!r} has a bad divisor {divisor!r}") from None
    return out


def _valence(element: str) -> int:
    try:
        return VALENCES[element]
    except KeyError:
        raise InputError(
            f"no usual valence is known for {element}: leave it out of the oxides"
        ) from None
