"""Mineral groups: what a formula is normalised to, and which ions its sites take."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from siftem.errors import InputError

__all__ = ["GROUPS", "Group", "Site", "group_of"]


@dataclass(frozen=True)
class Site:
    """A place in the structure.

    Parameters
    ----------
    name : str
    capacity : float
        Ions in a formula unit.
    ions : tuple of str
        In the order in which they fill it; "*" is all that other sites left.
    """

    name: str
    capacity: float
    ions: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """How the formula of a mineral is calculated.

    Parameters
    ----------
    name : str
    oxygens : float or None
        That the charges of the cations must balance; None: normalised by atoms alone.
    cations : float or None
        Cations without vacancies: with them iron is parted by charge balance.
    sites : tuple of Site
        Filled in this order.
    iron : {"2+", "3+", "balance"}
        All of one charge, or as the charge balance asks for with ``cations``.
    uncounted : tuple of str
        Cations that do not count among ``cations``.
    atoms : float or None
        Without oxygens: atoms of all elements (but C) in a formula unit.
    source : str
        Where the recipe is published.
    """

    name: str
    oxygens: float | None
    cations: float | None
    sites: tuple[Site, ...]
    iron: str = "2+"
    uncounted: tuple[str, ...] = ()
    atoms: float | None = None
    source: str = ""

    def __post_init__(self) -> None:
        for label, value in (
            ("oxygens", self.oxygens), ("cations", self.cations), ("atoms", self.atoms)
        ):  # fmt: skip
            if value is not None and not 0 < value < np.inf:
                raise InputError(f"{label} of a formula must be a positive number, got {value}")
        if self.iron not in ("2+", "3+", "balance"):
            raise InputError(f"iron must be '2+', '3+' or 'balance', got {self.iron!r}")
        if self.iron == "balance" and (self.oxygens is None or self.cations is None):
            raise InputError(
                f"iron by charge balance needs the oxygens and the cations of a formula unit of "
                f"{self.name}: give both"
            )


_DHZ = "Deer, Howie & Zussman 2013, An Introduction to the Rock-Forming Minerals, appendix 1"
_DROOP = "Droop 1987, Mineral. Mag. 51, 431"
_REST = Site("other", 0.0, ("*",))

_ALL = (
    Group(
        "perovskite", 3, 2,
        (Site("B", 1, ("Si", "Ti", "Ge", "Zr", "Hf", "Nb", "Ta", "Al", "Cr", "Ga", "Fe3+")),
         Site("A", 1, ("*",))),
        iron="balance", source=_DROOP,
    ),
    Group("periclase", 1, 1, (Site("M", 1, ("*",)),), source=_DHZ),
    Group("olivine", 4, 3, (Site("T", 1, ("Si", "Ge")), Site("M", 2, ("*",))), source=_DHZ),
    Group(
        "pyroxene", 6, 4,
        (Site("T", 2, ("Si", "Al", "Fe3+")),
         Site("M1", 1, ("Al", "Fe3+", "Ti", "Cr", "V", "Zr", "Sc", "Zn", "Mg", "Fe2+", "Mn")),
         Site("M2", 1, ("*",))),
        iron="balance", source=f"Morimoto 1988, Mineral. Mag. 52, 535; {_DROOP}",
    ),
    Group(
        "garnet", 12, 8,
        (Site("T", 3, ("Si", "Al", "Fe3+")),
         Site("Y", 2, ("Si", "Al", "Ti", "Cr", "V", "Zr", "Fe3+", "Mg", "Fe2+", "Mn")),
         Site("X", 3, ("*",))),
        iron="balance",
        source=f"Grew et al. 2013, Am. Mineral. 98, 785; {_DROOP}",
    ),
    Group(
        "feldspar", 8, 5,
        (Site("T", 4, ("Si", "Al", "Fe3+", "Ti")), Site("M", 1, ("*",))),
        iron="3+", source=_DHZ,
    ),
    Group(
        "spinel", 4, 3,
        (Site("B", 2, ("Ti", "Si", "Al", "Cr", "V", "Fe3+")), Site("A", 1, ("*",))),
        iron="balance", source=f"Bosi, Biagioni & Pasero 2019, Eur. J. Mineral. 31, 183; {_DROOP}",
    ),
    Group(
        "mica", 11, None,
        (Site("T", 4, ("Si", "Al")), Site("M", 3, ("Al", "Ti", "Cr", "Mg", "Fe2+", "Mn", "Li")),
         Site("I", 1, ("K", "Na", "Ca", "Ba", "Rb", "Cs")), Site("X", 2, ("F", "Cl")), _REST),
        source="Rieder et al. 1998, Can. Mineral. 36, 905",
    ),
    Group(
        "amphibole", 23, 13,
        (Site("T", 8, ("Si", "Al", "Ti")),
         Site("C", 5, ("Al", "Ti", "Cr", "V", "Fe3+", "Mg", "Fe2+", "Mn")),
         Site("B", 2, ("Mg", "Fe2+", "Mn", "Ca", "Na")),
         Site("A", 1, ("Ca", "Na", "K")), Site("X", 2, ("F", "Cl")), _REST),
        iron="balance", uncounted=("Ca", "Na", "K"),
        source="Leake et al. 1997, Can. Mineral. 35, 219 (13 cations without Ca, Na, K)",
    ),
    Group("carbonate", None, None, (Site("M", 1, ("*",)),), atoms=1, source=_DHZ),
    Group(
        "apatite", 12.5, None,
        (Site("T", 3, ("P", "Si", "S", "V")), Site("X", 1, ("F", "Cl")), Site("M", 5, ("*",))),
        source="Pasero et al. 2010, Eur. J. Mineral. 22, 163",
    ),
    Group(
        "ilmenite", 3, 2,
        (Site("B", 1, ("Ti", "Nb", "Si", "Al", "Cr", "V", "Fe3+")), Site("A", 1, ("*",))),
        iron="balance", source=f"Stormer 1983, Am. Mineral. 68, 586; {_DROOP}",
    ),
    Group("oxide", None, None, (Site("M", 0, ("*",)),), source=_DHZ),
    Group("compound", None, None, (Site("atoms", 0, ("*",)),)),
)  # fmt: skip

#: Groups by name.
GROUPS = {group.name: group for group in _ALL}


def group_of(
    name: str,
    *,
    oxygens: float | None = None,
    cations: float | None = None,
    iron: str | None = None,
    atoms: float | None = None,
) -> Group:
    """Return a group, with what is wanted otherwise.

    Parameters
    ----------
    name : str
        One of `GROUPS`. "oxide" needs ``oxygens``, "compound" needs ``atoms``.
    oxygens, cations, iron, atoms
        In place of the group's own, see `Group`.

    Raises
    ------
    InputError
        When there is no such group, or a number is missing.
    """
    if name not in GROUPS:
        raise InputError(f"no mineral group {name!r}: choose one of {', '.join(GROUPS)}")
    group = GROUPS[name]
    if oxygens is None and name == "oxide":
        raise InputError("the group 'oxide' needs the oxygens of a formula unit: give oxygens")
    if atoms is None and name == "compound":
        raise InputError("the group 'compound' needs the atoms of a formula unit: give atoms")
    return replace(
        group,
        oxygens=group.oxygens if oxygens is None else oxygens,
        cations=group.cations if cations is None else cations,
        iron=group.iron if iron is None else iron,
        atoms=group.atoms if atoms is None else atoms,
    )
