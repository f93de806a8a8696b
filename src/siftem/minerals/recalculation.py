"""Ions on sites for many compositions at once: plain arrays, no errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siftem.errors import InputError
from siftem.minerals.groups import Group
from siftem.quantification.minerals import ANIONS, cation_charges

#: Anions that sites may take.
_HALOGENS = ("F", "Cl")


@dataclass(frozen=True, eq=False)
class Recalculated:
    """Formulas of a number of compositions.

    Parameters
    ----------
    ions : dict of str to ndarray of shape (compositions,)
        In a formula unit: elements, iron as "Fe2+" and "Fe3+".
    sites : dict of str to dict of str to ndarray of shape (compositions,)
        The same ions on their sites.
    """

    ions: dict[str, np.ndarray]
    sites: dict[str, dict[str, np.ndarray]]

    def of(self, ion: str, site: str | None = None) -> np.ndarray:
        """Return the amount of an ion, 0 where there is none; (compositions,)."""
        held = self.ions if site is None else self.sites.get(site, {})
        some = next(iter(self.ions.values()))
        return held.get(ion, np.zeros_like(some))

    def total(self, *ions: str) -> np.ndarray:
        """Return the sum of some ions; (compositions,)."""
        return np.sum([self.of(ion) for ion in ions], axis=0)


def recalculate(elements: Sequence[str], atoms: np.ndarray, group: Group) -> Recalculated:
    """Return the ions of a formula unit, on their sites.

    With ``X`` oxygens and ``T`` cations, iron is parted as by Droop (1987): scaled to T
    cations, what is missing of a charge of 2 X is Fe3+, at least none and at the most all
    iron; where that does not balance the charge, X oxygens rule and not T cations.

    Parameters
    ----------
    elements : sequence of str
    atoms : ndarray of shape (compositions, n)
        Amounts in any unit.
    group : Group

    Returns
    -------
    Recalculated

    Raises
    ------
    InputError
        When no cation is there, or one has no usual charge.

    References
    ----------
    Droop 1987, Mineral. Mag. 51, 431.
    """
    elements = tuple(elements)
    if group.oxygens is None:
        return _by_atoms(elements, atoms, group)
    cations = [e for e in elements if e not in ANIONS]
    if not cations:
        raise InputError(
            f"a formula by oxygens needs cations, got {', '.join(elements)}: take the group "
            f"'compound'"
        )
    charges = cation_charges(cations)
    held = {e: atoms[:, elements.index(e)] for e in cations}
    amount = np.stack([held[e] for e in cations], axis=1)
    ferrous = np.array([2.0 if e == "Fe" else c for e, c in zip(cations, charges, strict=True)])
    iron = held.get("Fe", np.zeros(len(atoms)))
    with np.errstate(divide="ignore", invalid="ignore"):
        if group.iron == "balance" and group.cations is not None:
            counted = np.array([e not in group.uncounted for e in cations])
            by_cations = group.cations / amount[:, counted].sum(axis=1)
            missing = 2 * group.oxygens - by_cations * (amount @ ferrous)
            ferric = np.clip(missing / by_cations, 0.0, np.maximum(iron, 0.0))
        else:
            ferric = iron if group.iron == "3+" else np.zeros_like(iron)
        # Where the charges balance this is the factor for T cations as well.
        factor = 2 * group.oxygens / (amount @ ferrous + ferric)
    ions: dict[str, np.ndarray] = {}
    for element in cations:
        if element == "Fe":
            if group.iron != "3+":
                ions["Fe2+"] = (iron - ferric) * factor
            if group.iron != "2+":
                ions["Fe3+"] = ferric * factor
        else:
            ions[element] = held[element] * factor
    for element in _HALOGENS:
        if element in elements:
            ions[element] = atoms[:, elements.index(element)] * factor
    return Recalculated(ions, _on_sites(ions, group))


def _by_atoms(elements: tuple[str, ...], atoms: np.ndarray, group: Group) -> Recalculated:
    """Normalise to a number of atoms: all for compounds, cations for carbonates."""
    if group.atoms is None:
        raise InputError(f"the group {group.name!r} needs the oxygens or atoms of a formula unit")
    skipped = ANIONS if group.name == "carbonate" else ()
    kept = [e for e in elements if e not in skipped]
    if not kept:
        raise InputError(f"no cation is among {', '.join(elements)}")
    with np.errstate(divide="ignore", invalid="ignore"):
        amount = np.stack([atoms[:, elements.index(e)] for e in kept], axis=1)
        scaled = group.atoms * amount / amount.sum(axis=1, keepdims=True)
    ions = {"Fe2+" if e == "Fe" and skipped else e: scaled[:, i] for i, e in enumerate(kept)}
    return Recalculated(ions, _on_sites(ions, group))


def _on_sites(ions: dict[str, np.ndarray], group: Group) -> dict[str, dict[str, np.ndarray]]:
    left = {ion: amount.copy() for ion, amount in ions.items()}
    sites: dict[str, dict[str, np.ndarray]] = {}
    for site in group.sites:
        room = np.full(next(iter(ions.values())).shape, float(site.capacity))
        held: dict[str, np.ndarray] = {}
        if site.ions == ("*",):
            held = {
                ion: amount
                for ion, amount in left.items()
                if ion not in _HALOGENS and _remains(amount, ions[ion])
            }
        else:
            for ion in site.ions:
                if ion not in left:
                    continue
                # Noise below zero stays where it is, so that means are right.
                taken = np.minimum(left[ion], np.maximum(room, 0.0))
                held[ion] = taken
                room = room - taken
                left[ion] = left[ion] - taken
        if held:
            sites[site.name] = held
    return sites


def _remains(amount: np.ndarray, whole: np.ndarray) -> bool:
    """Whether anything is left of an ion in any of the compositions, but for rounding."""
    return bool((np.abs(amount) > 1e-9 * np.abs(whole)).any())
