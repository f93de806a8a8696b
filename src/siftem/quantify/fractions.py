"""Weight fractions of a phase with all their errors, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from siftem.errors import InputError
from siftem.fit.line_fit import LineFit
from siftem.quantify.film import Film
from siftem.quantify.k_values import KValues
from siftem.quantify.minerals import (
    ANIONS,
    VALENCES,
    Quantity,
    formula_units,
    oxide_name,
    oxides_per_atom,
    parse_ratio,
    ratio,
)
from siftem.xray.elements import atomic_weight


@dataclass(frozen=True, eq=False)
class Composition:
    """Weight fractions with full covariance.

    Values below the critical level are kept as they were fitted; show them as "< LOD".

    Parameters
    ----------
    name : str
        Phase.
    elements : tuple of str
        In the order they were asked for.
    weight_fractions : ndarray of shape (n,)
        Sum to one over the elements, support left out.
    covariance : ndarray of shape (n, n)
        From counting (and from the scale of what was subtracted).
    systematic : ndarray of shape (n, n)
        From k-factors and attenuation, the same for all spectra; apart from ``covariance``.
    critical_levels, detection_limits : ndarray of shape (n,)
        Currie's, as weight fractions.
    families : tuple of str
        Line family by which each element is measured.
    k : KValues
        k-factors, for emitted photons of whole families.
    absorption : ndarray of shape (n,)
        Share of the family's photons that leave the film; ones without a film.
    fit : LineFit
        The fit behind it.
    film : Film or None
        What was assumed for absorption.
    relative_systematic : ndarray of shape (n,)
        Relative standard deviation of each element's amount from its k-factor and
        attenuation, before the sum is set to one; ``systematic`` follows from it.
    mass_thickness : Quantity or None
        kg/m2 with its counting error, from zeta-factors.
    amount_map : ndarray of shape (n, n), optional
        From measured amounts to reported ones: the identity, or with O by stoichiometry.
    unbounded : ndarray of shape (n,), optional
        Weight fractions from amplitudes that may be negative, see `LineFit.unbounded`.
    """

    name: str
    elements: tuple[str, ...]
    weight_fractions: np.ndarray
    covariance: np.ndarray
    systematic: np.ndarray
    critical_levels: np.ndarray
    detection_limits: np.ndarray
    families: tuple[str, ...]
    k: KValues
    absorption: np.ndarray
    fit: LineFit
    film: Film | None
    relative_systematic: np.ndarray
    mass_thickness: Quantity | None = None
    amount_map: np.ndarray | None = None
    unbounded: np.ndarray | None = None

    @property
    def sigma(self) -> np.ndarray:
        """Standard deviations of the weight fractions from counting; (n,)."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def systematic_sigma(self) -> np.ndarray:
        """Standard deviations of the weight fractions from k and attenuation; (n,)."""
        return np.sqrt(np.diag(self.systematic))

    @property
    def found(self) -> np.ndarray:
        """Whether each element exceeds its critical level; bool (n,)."""
        return self.weight_fractions > self.critical_levels

    @property
    def atomic_fractions(self) -> np.ndarray:
        """Atomic fractions; (n,), sum to one."""
        atoms = self.weight_fractions / self._weights
        return atoms / atoms.sum()

    @property
    def atomic_covariance(self) -> np.ndarray:
        """Covariance of the atomic fractions from counting; (n, n)."""
        return self._atomic(self.covariance)

    @property
    def atomic_systematic(self) -> np.ndarray:
        """Covariance of the atomic fractions from k and attenuation; (n, n)."""
        return self._atomic(self.systematic)

    def ratio(self, text: str) -> Quantity:
        """Return an atomic ratio such as "(Mg+Fe)/O", with its counting error."""
        top, bottom = parse_ratio(text, self.elements)
        return ratio(self.atomic_fractions, self.atomic_covariance, top, bottom)

    def ratio_systematic(self, text: str) -> float:
        """Return the systematic standard deviation of an atomic ratio."""
        top, bottom = parse_ratio(text, self.elements)
        return ratio(self.atomic_fractions, self.atomic_systematic, top, bottom).sigma

    def oxides(self) -> dict[str, Quantity]:
        """Weight percent of oxides, the sum set to 100, with O by stoichiometry.

        Empty for what is no oxide: no O among the elements, or a metal without a usual charge.
        """
        cations = [e for e in self.elements if e not in ANIONS]
        if not cations or "O" not in self.elements or not set(cations) <= set(VALENCES):
            return {}
        index = [self.elements.index(e) for e in cations]
        atoms = (self.weight_fractions / self._weights)[index]
        per_atom = 1 / self._weights[index]
        covariance = self.covariance[np.ix_(index, index)] * np.outer(per_atom, per_atom)
        molar = oxides_per_atom(cations)
        out = {}
        for i, element in enumerate(cations):
            top = np.zeros(len(cations))
            top[i] = 100 * molar[i]
            out[oxide_name(element)] = ratio(atoms, covariance, top, molar)
        return out

    def formula_units(
        self, oxygens: float, *, by: str = "stoichiometry", systematic: bool = False
    ) -> dict[str, Quantity]:
        """Return the atoms of each element for a number of oxygens.

        Parameters
        ----------
        oxygens : float
            Such as 3 for ABO3 or 1 for (Mg,Fe)O.
        by : {"stoichiometry", "measured"}
            Whether the oxygens are those that the charges of the cations need, or those
            that were measured.
        systematic : bool
            Give the systematic errors (k-factors, attenuation) instead of counting's.

        Returns
        -------
        dict of str to Quantity
            By stoichiometry without the anions.
        """
        covariance = self.atomic_systematic if systematic else self.atomic_covariance
        return formula_units(self.elements, self.atomic_fractions, covariance, oxygens, by=by)

    def with_error(self, element: str) -> Quantity:
        """Return the weight fraction of an element with its counting error."""
        i = self.index(element)
        return Quantity(float(self.weight_fractions[i]), float(self.sigma[i]))

    def interval(self, element: str, level: float = 0.95) -> tuple[float, float]:
        """Return the central confidence interval of a weight fraction from counting.

        Around the unbounded estimate and cut at zero, so that it covers the truth at the
        stated rate near zero too, where a bounded value with its sigma covers more. Both
        ends are zero when the estimate lies far below zero, as it must at times.

        Parameters
        ----------
        element : str
        level : float
            Such as 0.68 or 0.95.

        Returns
        -------
        tuple of float
        """
        if not 0 < level < 1:
            raise InputError(f"the level of an interval must lie between 0 and 1, got {level}")
        i = self.index(element)
        middle = self.weight_fractions[i] if self.unbounded is None else self.unbounded[i]
        half = NormalDist().inv_cdf((1 + level) / 2) * self.sigma[i]
        return max(float(middle - half), 0.0), max(float(middle + half), 0.0)

    def index(self, element: str) -> int:
        """Position of an element.

        Raises
        ------
        InputError
            When it was not quantified.
        """
        if element not in self.elements:
            raise InputError(
                f"{element} was not quantified in {self.name!r}; it has {', '.join(self.elements)}"
            )
        return self.elements.index(element)

    @property
    def _weights(self) -> np.ndarray:
        return np.array([atomic_weight(e) for e in self.elements])

    def _atomic(self, covariance: np.ndarray) -> np.ndarray:
        atoms = self.weight_fractions / self._weights
        total = atoms.sum()
        jacobian = (np.diag(1 / self._weights) - np.outer(atoms / total, 1 / self._weights)) / total
        return jacobian @ covariance @ jacobian.T
