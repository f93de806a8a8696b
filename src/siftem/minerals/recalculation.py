"""Ions on sites, end members and other numbers of many compositions at once.

Plain arrays, no errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


Numbers = dict[str, np.ndarray]


def numbers_of(group: str, found: Recalculated) -> Numbers:
    """Return end members, ratios of ions and sums for compositions of a group.

    Parameters
    ----------
    group : str
        Name of a mineral group.
    found : Recalculated

    Returns
    -------
    dict of str to ndarray of shape (compositions,)
        Fractions between 0 and 1; sums of ions in a formula unit. NaN where a ratio has no
        denominator.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        out = _common(found) if group != "compound" else {}
        members = _MEMBERS.get(group)
        if members is not None:
            out |= members(found)
    return out


def is_share(name: str) -> bool:
    """Whether a number of `numbers_of` is a fraction of a whole, at most 1, and no sum of ions."""
    return name not in ("cations", "octahedral") and " on " not in name


def _common(f: Recalculated) -> Numbers:
    out = {"cations": f.total(*(i for i in f.ions if i not in ("F", "Cl", "O")))}
    iron = f.total("Fe2+", "Fe3+", "Fe")
    if "Mg" in f.ions and iron.any():
        out["Mg/(Mg+Fe)"] = f.of("Mg") / (f.of("Mg") + iron)
    if "Fe3+" in f.ions and "Fe2+" in f.ions:
        out["Fe3+/Fe"] = f.of("Fe3+") / iron
        if "Mg" in f.ions:
            out["Mg/(Mg+Fe2+)"] = f.of("Mg") / f.total("Mg", "Fe2+")
    if "Cr" in f.ions and "Al" in f.ions:
        out["Cr/(Cr+Al)"] = f.of("Cr") / f.total("Cr", "Al")
    return out


def _shares(f: Recalculated, members: dict[str, str]) -> Numbers:
    """Shares of ions in their sum, by the names of end members; those that are there."""
    whole = f.total(*members.values())
    return {name: f.of(ion) / whole for name, ion in members.items() if ion in f.ions}


def _perovskite(f: Recalculated) -> Numbers:
    """Trivalent pairs first, then the silicates of divalent cations; shares of formula units.

    Fe3+ with Al, then what is left of either with itself; Frost & Langenhorst 2002, Earth
    Planet. Sci. Lett. 199, 227, for the substitutions of bridgmanite.
    """
    ferric, al = f.of("Fe3+"), f.of("Al")
    pair = np.minimum(ferric, al)
    members = {
        "MgSiO3": f.of("Mg"), "FeSiO3": f.of("Fe2+"), "CaSiO3": f.of("Ca"), "FeAlO3": pair,
        "Al2O3": (al - pair) / 2, "Fe2O3": (ferric - pair) / 2,
    }  # fmt: skip
    whole = np.sum(list(members.values()), axis=0)
    return {name: amount / whole for name, amount in members.items() if amount.any()}


def _periclase(f: Recalculated) -> Numbers:
    return _shares(f, {"periclase": "Mg", "wustite": "Fe2+", "bunsenite": "Ni", "MnO": "Mn"})


def _olivine(f: Recalculated) -> Numbers:
    members = {
        "forsterite": "Mg", "fayalite": "Fe2+", "tephroite": "Mn", "Ca2SiO4": "Ca", "Ni2SiO4": "Ni"
    }  # fmt: skip
    return _shares(f, members)


def _pyroxene(f: Recalculated) -> Numbers:
    """Morimoto 1988: Wo, En, Fs (all iron, and Mn); Q, jadeite and aegirine beside them."""
    iron = f.total("Fe2+", "Fe3+", "Mn")
    whole = f.total("Ca", "Mg") + iron
    out = {"Wo": f.of("Ca") / whole, "En": f.of("Mg") / whole, "Fs": iron / whole}
    if "Na" in f.ions:
        quad, sodic = f.total("Ca", "Mg", "Fe2+"), 2 * f.of("Na")
        al, ferric = f.of("Al", "M1"), f.of("Fe3+", "M1")
        trivalent = np.where(al + ferric > 0, al + ferric, np.nan)
        out["Q"] = quad / (quad + sodic)
        out["jadeite"] = sodic / (quad + sodic) * al / trivalent
        out["aegirine"] = sodic / (quad + sodic) * ferric / trivalent
    return out


def _garnet(f: Recalculated) -> Numbers:
    """Majorite, Mg3(MgSi)Si3O12, by the Si on Y; Ca shared among the trivalent ions of Y."""
    majorite = f.of("Si", "Y")
    trivalent = {"grossular": "Al", "andradite": "Fe3+", "uvarovite": "Cr"}
    of_y = np.sum([f.of(ion, "Y") for ion in trivalent.values()], axis=0)
    of_y = np.where(of_y > 0, of_y, np.nan)
    left = np.maximum(1 - majorite, 0.0)
    whole = f.total("Mg", "Fe2+", "Mn", "Ca") - 4 * majorite
    whole = np.where(whole > 0, whole, np.nan)
    out = {"majorite": majorite}
    for name, ion in (("pyrope", "Mg"), ("almandine", "Fe2+"), ("spessartine", "Mn")):
        if ion in f.ions:
            own = f.of(ion) - (4 * majorite if ion == "Mg" else 0.0)
            out[name] = left * own / whole
    for name, ion in trivalent.items():
        if ion in f.ions:
            out[name] = left * f.of("Ca") / whole * f.of(ion, "Y") / of_y
    return out


def _feldspar(f: Recalculated) -> Numbers:
    return _shares(f, {"anorthite": "Ca", "albite": "Na", "orthoclase": "K", "celsian": "Ba"})


def _spinel(f: Recalculated) -> Numbers:
    """Ulvospinel by Ti, then the trivalent ions, each with the mean divalent one."""
    usp = f.of("Ti")
    trivalent = np.where(f.total("Al", "Cr", "Fe3+") > 0, f.total("Al", "Cr", "Fe3+"), np.nan)
    out = {"Fe2TiO4": usp} if "Ti" in f.ions else {}
    for name, ion in (("aluminate", "Al"), ("chromite", "Cr"), ("magnetite", "Fe3+")):
        if ion in f.ions:
            out[name] = (1 - usp) * f.of(ion) / trivalent
    return out


def _amphibole(f: Recalculated) -> Numbers:
    return {f"{ion} on {site}": f.of(ion, site) for ion, site in
            (("Al", "T"), ("Al", "C"), ("Ca", "B"), ("Na", "B"), ("Na", "A"), ("K", "A"))
            if ion in f.ions}  # fmt: skip


def _mica(f: Recalculated) -> Numbers:
    """Shares of the octahedral ions: trioctahedral micas hold three, dioctahedral two."""
    octahedral = np.sum(list(f.sites["M"].values()), axis=0)
    out = {"octahedral": octahedral, "Al on T": f.of("Al", "T")}
    return out | {
        f"{ion} of M": amount / octahedral for ion, amount in f.sites["M"].items() if amount.any()
    }


def _carbonate(f: Recalculated) -> Numbers:
    members = {
        "calcite": "Ca", "magnesite": "Mg", "siderite": "Fe2+", "rhodochrosite": "Mn",
        "strontianite": "Sr", "witherite": "Ba",
    }  # fmt: skip
    return _shares(f, members)


def _apatite(f: Recalculated) -> Numbers:
    halogens = {f"{e} of X": f.of(e) for e in ("F", "Cl") if e in f.ions}
    return halogens | {"OH by difference": 1 - f.total("F", "Cl")} if halogens else {}


def _ilmenite(f: Recalculated) -> Numbers:
    """Hematite by Fe3+ against Ti, the rest shared by the divalent ions (Stormer 1983)."""
    hematite = f.of("Fe3+") / (f.of("Fe3+") + 2 * f.of("Ti"))
    divalent = f.total("Fe2+", "Mg", "Mn")
    out = {"hematite": hematite}
    for name, ion in (("ilmenite", "Fe2+"), ("geikielite", "Mg"), ("pyrophanite", "Mn")):
        if ion in f.ions:
            out[name] = (1 - hematite) * f.of(ion) / divalent
    return out


_MEMBERS: dict[str, Callable[[Recalculated], Numbers]] = {
    "perovskite": _perovskite,
    "periclase": _periclase,
    "olivine": _olivine,
    "pyroxene": _pyroxene,
    "garnet": _garnet,
    "feldspar": _feldspar,
    "spinel": _spinel,
    "amphibole": _amphibole,
    "mica": _mica,
    "carbonate": _carbonate,
    "apatite": _apatite,
    "ilmenite": _ilmenite,
}
