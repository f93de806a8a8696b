"""What is known of the phases of a map besides their spectra, each with a width."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from siftem.errors import InputError
from siftem.minerals.groups import group_of
from siftem.quantification.minerals import ANIONS, VALENCES, parse_ratio
from siftem.xray.elements import atomic_number

#: Charge of the anions of salts.
_ANION_CHARGES = {"O": 2.0, "F": 1.0, "Cl": 1.0, "Br": 1.0, "I": 1.0, "N": 3.0}


@dataclass(frozen=True, kw_only=True)
class Constraint(ABC):
    """Something known of one phase: a number that follows from its atoms, and its width.

    Parameters
    ----------
    phase : str
    sigma : float
        Standard deviation of what is known; it is the width of a normal density.
    """

    phase: str
    sigma: float

    def __post_init__(self) -> None:
        if not 0 < self.sigma < np.inf:
            raise InputError(
                f"a constraint on {self.phase} needs a width: sigma must be positive, got "
                f"{self.sigma} (small for what holds exactly)"
            )

    @abstractmethod
    def describe(self) -> str:
        """Say in a few words what is known."""

    @property
    def target(self) -> float:
        """The number that is known."""
        return 1.0

    @property
    def ferric_is_free(self) -> bool:
        """Whether it leaves the share of Fe3+ in the iron of the phase open."""
        return False

    @abstractmethod
    def value(self, elements: tuple[str, ...], atoms: np.ndarray, ferric: np.ndarray) -> np.ndarray:
        """Return the number for atoms (..., n) and shares of Fe3+ in iron (...)."""


@dataclass(frozen=True, kw_only=True)
class KnownStoichiometry(Constraint):
    """A ratio of sums of atoms, such as (Ca+Mg+Fe)/(Si+Al) = 1 +- 0.02.

    Parameters
    ----------
    ratio : str
    ratio_value : float
    """

    ratio: str
    ratio_value: float = 1.0

    def describe(self) -> str:
        """Say in a few words what is known."""
        return f"{self.phase}: {self.ratio} = {self.ratio_value:g} +- {self.sigma:g}"

    @property
    def target(self) -> float:
        """The ratio."""
        return self.ratio_value

    def value(self, elements: tuple[str, ...], atoms: np.ndarray, ferric: np.ndarray) -> np.ndarray:
        """Return the ratio."""
        top, bottom = parse_ratio(self.ratio, elements)
        return np.asarray((atoms @ top) / (atoms @ bottom))


@dataclass(frozen=True, kw_only=True)
class ChargeBalance(Constraint):
    """The charges of the cations are those of the anions, measured oxygen among them.

    Parameters
    ----------
    valences : mapping of str to float
        Charges that differ from the usual ones (Fe2+, U4+).
    iron : {"2+", "3+", "free"}
        With "free" the share of Fe3+ is a further unknown between 0 and 1.
    """

    valences: Mapping[str, float] = field(default_factory=dict)
    iron: str = "2+"

    def __post_init__(self) -> None:
        super().__post_init__()
        _checked_iron(self.iron)
        for element, charge in self.valences.items():
            atomic_number(element)
            if not 0 < charge < 9:
                raise InputError(f"the valence of {element} must be positive, got {charge}")

    def describe(self) -> str:
        """Say in a few words what is known."""
        iron = {"2+": "", "3+": ", Fe3+", "free": ", Fe2+ or Fe3+"}[self.iron]
        return f"{self.phase}: charges balance to {self.sigma:g}{iron}"

    @property
    def ferric_is_free(self) -> bool:
        """Whether the share of Fe3+ is open."""
        return self.iron == "free"

    def value(self, elements: tuple[str, ...], atoms: np.ndarray, ferric: np.ndarray) -> np.ndarray:
        """Return the charge of the cations over that of the anions."""
        anions = np.array([_ANION_CHARGES.get(e, 0.0) for e in elements])
        if not anions.any():
            raise InputError(
                f"{self.describe()}: no anion ({', '.join(_ANION_CHARGES)}) was quantified in it; "
                f"of a metal or a sulphide give a ratio such as Fe/S"
            )
        charge = cation_charge(elements, atoms, ferric, self.iron, self.valences)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(charge / (atoms @ anions))


@dataclass(frozen=True, kw_only=True)
class SiteOccupancy(Constraint):
    """All sites of a mineral group are full: so many cations for its oxygens.

    The oxygens are those that the charges of the cations need, so that the measured O does not
    enter.

    Parameters
    ----------
    group : str
        Such as perovskite: two cations for three oxygens.
    iron : {"2+", "3+", "free"}
    """

    group: str
    iron: str = "2+"

    def __post_init__(self) -> None:
        super().__post_init__()
        _checked_iron(self.iron)
        found = group_of(self.group)
        if found.oxygens is None or found.cations is None or found.uncounted:
            raise InputError(
                f"the sites of the group {self.group!r} may be empty: no number of cations follows"
            )

    def describe(self) -> str:
        """Say in a few words what is known."""
        group = group_of(self.group)
        return f"{self.phase}: {group.cations:g} cations for {group.oxygens:g} O to {self.sigma:g}"

    @property
    def ferric_is_free(self) -> bool:
        """Whether the share of Fe3+ is open."""
        return self.iron == "free"

    def value(self, elements: tuple[str, ...], atoms: np.ndarray, ferric: np.ndarray) -> np.ndarray:
        """Return the cations for the group's oxygens, over its number."""
        group = group_of(self.group)
        assert group.oxygens is not None and group.cations is not None
        cations = np.array([0.0 if e in ANIONS else 1.0 for e in elements])
        charge = cation_charge(elements, atoms, ferric, self.iron, {})
        return np.asarray((atoms @ cations) * 2 * group.oxygens / charge / group.cations)


@dataclass(frozen=True, kw_only=True)
class KnownFraction(Constraint):
    """The atomic fraction of an element: zero for one that is absent, or as in a standard.

    Parameters
    ----------
    element : str
    fraction : float
        Between 0 and 1, among the elements that were quantified.
    """

    element: str
    fraction: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        atomic_number(self.element)
        if not 0 <= self.fraction <= 1:
            raise InputError(
                f"the atomic fraction of {self.element} must lie within 0 and 1, got "
                f"{self.fraction}"
            )

    def describe(self) -> str:
        """Say in a few words what is known."""
        known = f"{100 * self.fraction:g} +- {100 * self.sigma:g} at%"
        return f"{self.phase}: {self.element} {known}"

    @property
    def target(self) -> float:
        """The fraction."""
        return self.fraction

    def value(self, elements: tuple[str, ...], atoms: np.ndarray, ferric: np.ndarray) -> np.ndarray:
        """Return the fraction."""
        if self.element not in elements:
            raise InputError(f"{self.element} was not quantified in {self.phase}")
        return np.asarray(atoms[..., elements.index(self.element)] / atoms.sum(axis=-1))


@dataclass(frozen=True, kw_only=True)
class InEachMap(Constraint):
    """What is known of a phase in each of several maps, and by what it may depart in all alike.

    Parameters
    ----------
    phase : str
        Of one map.
    sigma : float
        By what a map's phase may depart from the others'.
    known : Constraint
        On the phase, with its whole width.
    departure : str
        Name of what all maps share.
    common : float
        Its standard deviation.
    """

    known: Constraint
    departure: str
    common: float

    def describe(self) -> str:
        """Say in a few words what is known, with the whole width."""
        return replace(self.known, phase=self.phase).describe()

    @property
    def target(self) -> float:
        """That of all maps."""
        return self.known.target

    @property
    def ferric_is_free(self) -> bool:
        """Whether it leaves the share of Fe3+ open."""
        return self.known.ferric_is_free

    def value(self, elements: tuple[str, ...], atoms: np.ndarray, ferric: np.ndarray) -> np.ndarray:
        """Return the number, departure and all."""
        return self.known.value(elements, atoms, ferric)


def cation_charge(
    elements: tuple[str, ...],
    atoms: np.ndarray,
    ferric: np.ndarray,
    iron: str,
    valences: Mapping[str, float],
) -> np.ndarray:
    """Charge of the cations of atoms (..., n), with a share of Fe3+ where iron is "free"."""
    unknown = [e for e in elements if e not in ANIONS and e not in VALENCES and e not in valences]
    if unknown:
        raise InputError(f"no usual valence is known for {unknown[0]}: give it in valences")
    charges = np.array(
        [valences.get(e, 0.0 if e in ANIONS else float(VALENCES[e])) for e in elements]
    )
    total = atoms @ charges
    if "Fe" in elements and "Fe" not in valences:
        share = {"2+": 0.0, "3+": 1.0}.get(iron)
        more = np.clip(ferric, 0.0, 1.0) if share is None else share
        total = total + more * atoms[..., elements.index("Fe")]
    return np.asarray(total)


def _checked_iron(iron: str) -> None:
    if iron not in ("2+", "3+", "free"):
        raise InputError(f"iron must be '2+', '3+' or 'free', got {iron!r}")
