"""What the recipes of mineralogy need of a composition, wherever it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from siftem.errors import InputError
from siftem.quantification.composition import Composition
from siftem.quantification.minerals import ANIONS, VALENCES, cation_charges, oxide_name
from siftem.views import outline
from siftem.xray.elements import atomic_weight, element_symbols

#: Other oxides of iron that analyses report: cations by oxygens.
_OXIDES_OF_IRON = {"FeO": 1.0, "FeOt": 1.0, "Fe2O3": 1.5, "Fe2O3t": 1.5}


@dataclass(frozen=True, eq=False)
class Analysis:
    """Weight fractions of elements with the covariances of their errors.

    Parameters
    ----------
    name : str
    elements : tuple of str
    weight_fractions : ndarray of shape (n,)
        Their sum need not be one: formulas and names depend on ratios alone.
    covariance : ndarray of shape (n, n)
        From counting and the model of the spectrum.
    systematic : ndarray of shape (n, n), optional
        From k-factors, attenuation and film; none by default.
    ends : ndarray of shape (ends, n), optional
        Whole compositions at the ends of what is not known.
    absent : tuple of str
        Elements that were assumed to be absent, not measured.
    """

    __repr__ = outline

    name: str
    elements: tuple[str, ...]
    weight_fractions: np.ndarray
    covariance: np.ndarray
    systematic: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    ends: np.ndarray | None = None
    absent: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "elements", element_symbols(self.elements))
        values = np.asarray(self.weight_fractions, dtype=np.float64)
        n = len(self.elements)
        if values.shape != (n,) or not np.isfinite(values).all() or not values.sum() > 0:
            raise InputError(
                f"an analysis needs one finite weight fraction for each of {n} elements and a "
                f"positive sum, got {self.weight_fractions}"
            )
        object.__setattr__(self, "weight_fractions", values)
        if self.systematic.shape == (0, 0):
            object.__setattr__(self, "systematic", np.zeros((n, n)))
        for label in ("covariance", "systematic"):
            matrix = np.asarray(getattr(self, label), dtype=np.float64)
            if matrix.shape != (n, n) or not np.isfinite(matrix).all():
                raise InputError(
                    f"the {label} of an analysis of {n} elements must be {n} x {n} finite "
                    f"numbers, got shape {matrix.shape}"
                )
            object.__setattr__(self, label, matrix)

    @classmethod
    def of(cls, composition: Composition | Analysis) -> Analysis:
        """Return what is known of a composition."""
        if isinstance(composition, Analysis):
            return composition
        return cls(
            composition.name,
            composition.elements,
            composition.weight_fractions,
            composition.covariance,
            composition.systematic,
            composition.identification_ends,
            composition.assumed_absent,
        )

    @classmethod
    def from_oxides(
        cls,
        weight_percent: Mapping[str, float],
        *,
        sigma: Mapping[str, float] | float = 0.0,
        name: str = "",
    ) -> Analysis:
        """Make an analysis of oxides in weight percent, with independent errors.

        Parameters
        ----------
        weight_percent : mapping of str to float
            Such as ``{"SiO2": 40.9, "FeO": 9.8, "MgO": 49.1}``; iron as FeO, FeOt, Fe2O3 or
            Fe2O3t, and F and Cl as elements.
        sigma : mapping or float
            Standard deviations in weight percent, of each or of all.
        name : str

        Examples
        --------
        >>> olivine = siftem.Analysis.from_oxides(
        ...     {"SiO2": 40.9, "FeO": 9.8, "MgO": 49.1}, sigma=0.2, name="olivine"
        ... )
        >>> olivine.elements
        ('O', 'Si', 'Fe', 'Mg')
        """
        known = {oxide_name(e): e for e in VALENCES}
        cations: dict[str, float] = {}
        variance: dict[str, float] = {}
        for oxide, percent in weight_percent.items():
            element = "Fe" if oxide in _OXIDES_OF_IRON else known.get(oxide, oxide)
            if element in ("F", "Cl"):
                share = 1.0
            elif element in VALENCES and element != oxide:
                oxygens = _OXIDES_OF_IRON.get(oxide, VALENCES[element] / 2)
                weight = atomic_weight(element)
                share = weight / (weight + oxygens * atomic_weight("O"))
            else:
                raise InputError(
                    f"{oxide} is no oxide that is known here: give oxides such as SiO2, FeO or "
                    f"Fe2O3, and F and Cl as elements"
                )
            own = sigma.get(oxide, 0.0) if isinstance(sigma, Mapping) else sigma
            cations[element] = cations.get(element, 0.0) + share * percent / 100
            variance[element] = variance.get(element, 0.0) + (share * own / 100) ** 2
        elements = list(cations)
        per_weight = np.array(
            [
                0.0 if e in ANIONS else c / 2 * atomic_weight("O") / atomic_weight(e)
                for e, c in zip(elements, cation_charges(elements), strict=True)
            ]
        )
        to_all = np.vstack([per_weight, np.eye(len(elements))])
        values = np.array(list(cations.values()))
        return cls(
            name,
            ("O", *elements),
            to_all @ values,
            to_all @ np.diag(list(variance.values())) @ to_all.T,
        )

    @property
    def atoms(self) -> np.ndarray:
        """Moles of each element in one gram, or in any other unit of weight; (n,)."""
        return self.as_atoms(self.weight_fractions)

    def as_atoms(self, weight_fractions: np.ndarray) -> np.ndarray:
        """Moles of elements of weight fractions (..., n)."""
        return weight_fractions / np.array([atomic_weight(e) for e in self.elements])
