"""Weight fractions of a phase with all their errors, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from siftem.errors import InputError
from siftem.fit.line_fit import LineFit
from siftem.fit.null_elements import NullElements, null_scatter
from siftem.quantification.film import Film
from siftem.quantification.k_values import KValues
from siftem.quantification.minerals import (
    VALENCES,
    Quantity,
    formula_units,
    oxide_name,
    oxides,
    parse_ratio,
    ratio,
    with_assumed,
)
from siftem.quantification.open_ranges import (
    atomic_ratio,
    ends_of,
    errors_at,
    fraction_intervals,
    interval_of,
    is_open,
    reach_of,
)
from siftem.views import view
from siftem.xray.elements import atomic_weight

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


@dataclass(frozen=True, eq=False, repr=False)
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
        From counting (and from the scale of what was subtracted) and from what the model of
        the spectrum can't describe.
    systematic : ndarray of shape (n, n)
        From k-factors, attenuation and ratios of lines within families, the same for all
        spectra; apart from ``covariance``.
        With ``film_ends``, the film's share in it is that of a thickness of equal chances.
    critical_levels, detection_limits : ndarray of shape (n,)
        Currie's, as weight fractions.
    families : tuple of str
        Line family by which each element is measured.
    columns : tuple of int
        Positions of these families in ``fit``.
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
        attenuation, before the sum is set to one; ``systematic`` follows from it and from ratios
        of lines.
    mass_thickness : Quantity or None
        kg/m2 with its counting error, from zeta-factors.
    amount_map : ndarray of shape (n, n), optional
        From measured amounts to reported ones: the identity, or with O by stoichiometry.
    unbounded : ndarray of shape (n,), optional
        Weight fractions from amplitudes that may be negative, see `LineFit.unbounded`.
    model : ndarray of shape (n, n), optional
        The part of ``covariance`` from what the model can't describe.
    by_ratios : ndarray of shape (n, n), optional
        The part of ``systematic`` that comes from ratios of lines within families.
    film_ends, identification_ends : ndarray of shape (ends, n), optional
        Weight fractions at the ends of what is not known: the thickness of the film, and how
        much of other phases was taken off. The intervals hold all of them.
    stand_in_ends : ndarray of shape (m, n), optional
        Weight fractions when an element that may be another one, which is in no list, is that one
        (`siftem.fit.stand_ins`). The intervals hold them.
    not_in_range : tuple of str
        Elements, of the support as well, without a line in the fitted range.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> spectrum = siftem.integrate(si, phantom.mask("Brg", at_least=0.99), name="Brg")
    >>> elements = ["O", "Mg", "Al", "Si", "Ca", "Fe"]
    >>> c = siftem.quantify(spectrum, elements, support=["Cu"], thickness=100, density=4.2)
    >>> c.elements[c.index("Mg")], c.intervals(0.68).shape
    ('Mg', (6, 2))
    >>> low, high = c.interval("Mg")  # by weight, from counting alone
    >>> low < c.with_error("Mg").value < high
    True
    >>> c.ratio("Mg/Si").systematic == c.ratio_systematic("Mg/Si")
    True
    >>> list(c.oxides())
    ['MgO', 'Al2O3', 'SiO2', 'CaO', 'FeO']
    >>> 0.7 < c.formula_units(3)["Mg"].value < 1.1
    True
    >>> float(abs(c.film_mode()).max())  # the film is known
    0.0
    >>> wider = c.with_range(c.weight_fractions[::-1] / c.weight_fractions.sum())
    >>> bool((wider.intervals() - c.intervals())[:, 1].max() > 0)
    True
    >>> c.null_elements.rms < 2  # near 1 when errors are true
    True
    >>> c.to_pandas().shape[0]
    6
    >>> ax = c.plot(by="weight")
    """

    name: str
    elements: tuple[str, ...]
    weight_fractions: np.ndarray
    covariance: np.ndarray
    systematic: np.ndarray
    critical_levels: np.ndarray
    detection_limits: np.ndarray
    families: tuple[str, ...]
    columns: tuple[int, ...]
    k: KValues
    absorption: np.ndarray
    fit: LineFit
    film: Film | None
    relative_systematic: np.ndarray
    mass_thickness: Quantity | None = None
    amount_map: np.ndarray | None = None
    unbounded: np.ndarray | None = None
    model: np.ndarray | None = None
    by_ratios: np.ndarray | None = None
    film_ends: np.ndarray | None = None
    identification_ends: np.ndarray | None = None
    stand_in_ends: np.ndarray | None = None
    not_in_range: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return str(view("composition_text")(self))

    def _repr_html_(self) -> str:
        return str(view("composition_html")(self))

    def plot(self, ax: Axes | None = None, *, by: str = "atoms") -> Axes:
        """Draw contents by "atoms" or "weight" with 95% intervals, into ``ax`` or new axes."""
        drawn: Axes = view("plot_composition")(self, ax, by=by)
        return drawn

    def to_pandas(self) -> DataFrame:
        """Return contents in percent with all errors, one row an element.

        What was assumed absent has no numbers, see its column ``assumed_absent``.

        Returns
        -------
        pandas.DataFrame
        """
        return view("composition_frame")(self)

    @property
    def assumed_absent(self) -> tuple[str, ...]:
        """Elements that the anchor of the spectrum took for absent: nothing was measured."""
        return self.fit.spectrum.absent

    @property
    def sigma(self) -> np.ndarray:
        """Standard deviations of the weight fractions from counting and model; (n,)."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def model_sigma(self) -> np.ndarray:
        """Their part from what the model of the spectrum can't describe; (n,)."""
        if self.model is None:
            return np.zeros(len(self.elements))
        return np.sqrt(np.maximum(np.diag(self.model), 0.0))

    @cached_property
    def null_elements(self) -> NullElements:
        """How elements that are not there scatter beside this fit: whether errors are true."""
        return null_scatter(self.fit)

    @property
    def systematic_sigma(self) -> np.ndarray:
        """Standard deviations of the weight fractions from k, attenuation and film; (n,)."""
        return np.sqrt(np.diag(self.systematic))

    @property
    def found(self) -> np.ndarray:
        """Whether each element exceeds its critical level; bool (n,)."""
        return self.weight_fractions > self.critical_levels

    @property
    def atomic_fractions(self) -> np.ndarray:
        """Atomic fractions; (n,), sum to one."""
        return self._as_atoms(self.weight_fractions)

    @property
    def atomic_covariance(self) -> np.ndarray:
        """Covariance of the atomic fractions from counting; (n, n)."""
        return self._atomic(self.covariance)

    @property
    def atomic_systematic(self) -> np.ndarray:
        """Covariance of the atomic fractions from k, attenuation and film; (n, n)."""
        film, mode = self.film_mode(), self.film_mode(atomic=True)
        return self._atomic(self.systematic - np.outer(film, film)) + np.outer(mode, mode)

    @property
    def weight_interval_95(self) -> np.ndarray:
        """Ends of the 95% intervals of the weight fractions, see `intervals`; (n, 2)."""
        return self.intervals(0.95, atomic=False)

    @property
    def atomic_interval_95(self) -> np.ndarray:
        """Ends of the 95% intervals of the atomic fractions, see `intervals`; (n, 2)."""
        return self.intervals(0.95)

    def intervals(
        self, level: float = 0.95, *, atomic: bool = True, identification: bool = True
    ) -> np.ndarray:
        """Return intervals that hold all errors: counting, model, systematic, identification.

        They need not be symmetric, lie within 0 and 1, and are centred on the unbounded
        estimate, so that they cover the truth at the stated rate near zero too.

        Parameters
        ----------
        level : float
            Such as 0.68 or 0.95.
        atomic : bool
            Of the atomic fractions; else of the weight fractions.
        identification : bool
            Hold ``identification_ends``, too.

        Returns
        -------
        ndarray of shape (n, 2)
            Lower and upper end for each element.
        """
        if not 0 < level < 1:
            raise InputError(f"the level of an interval must lie between 0 and 1, got {level}")
        noise = self.covariance
        film = self.film_mode()
        systematic = self.systematic - np.outer(film, film)
        if self.by_ratios is not None:
            # They add photons of other elements, and are no factors on an element's own.
            noise, systematic = noise + self.by_ratios, systematic - self.by_ratios
        middle = self.weight_fractions if self.unbounded is None else self.unbounded
        if atomic:
            noise, systematic = self._atomic(noise), self._atomic(systematic)
        fractions = self._as_atoms if atomic else np.asarray
        now = fractions(self.weight_fractions)
        reach = np.zeros((len(self.elements), 2))
        if self.film_ends is not None:
            reach += reach_of(now, fractions(self.film_ends))
        # An element that came out below zero moves the others; whether it ought to is open.
        bounded = now - fractions(middle)
        bounded[self.weight_fractions <= 0] = 0.0
        reach += np.stack([np.minimum(bounded, 0.0), np.maximum(bounded, 0.0)], axis=1)
        sigmas = _deviations(noise), _deviations(systematic)
        ends = ends_of(self if identification else replace(self, identification_ends=None))[1:]
        if not len(ends):
            return fraction_intervals(fractions(middle), *sigmas, reach, level)
        ends = fractions(ends)
        every = [fraction_intervals(fractions(middle), *sigmas, reach + reach_of(now, ends), level)]
        every += [
            fraction_intervals(end, *errors_at(now, end, *sigmas), reach, level) for end in ends
        ]
        return np.stack(
            [np.min(every, axis=0)[:, 0], np.max(every, axis=0)[:, 1]],
            axis=1,
        )

    def film_mode(self, *, atomic: bool = False) -> np.ndarray:
        """Common mode of the fractions by an unknown film; (n,), zeros for a known one.

        The root mean square of a thickness that has equal chances over its range.
        """
        if self.film_ends is None:
            return np.zeros(len(self.elements))
        fractions = self._as_atoms if atomic else np.asarray
        ends, now = fractions(self.film_ends), fractions(self.weight_fractions)
        if len(ends) == 1:  # the estimate is itself the other end
            return np.asarray((ends[0] - now) / np.sqrt(3.0))
        return np.asarray((ends[-1] - ends[0]) / np.sqrt(12.0))

    def with_range(self, *ends: np.ndarray) -> Composition:
        """Return the same composition with intervals that hold other compositions, too.

        Parameters
        ----------
        *ends : ndarray of shape (n,)
            Weight fractions of whole compositions at the ends of what is not known about
            the phase, such as how much of the matrix to take off. They add to those of
            earlier calls.

        Returns
        -------
        Composition

        Raises
        ------
        InputError
            When a composition has another number of elements or does not sum to one.
        """
        more = [np.asarray(end, dtype=np.float64) for end in ends]
        for end in more:
            if end.shape != self.weight_fractions.shape or not abs(end.sum() - 1) < 1e-3:
                raise InputError(
                    f"the ends of a range must be weight fractions of the elements "
                    f"{', '.join(self.elements)} that sum to one, got {end}"
                )
        if self.identification_ends is not None:
            more = [*self.identification_ends, *more]
        return replace(self, identification_ends=np.array(more) if more else None)

    def ratio(self, text: str) -> Quantity:
        """Return an atomic ratio such as "(Mg+Fe)/O", with its errors.

        Where nothing fixes how much of another phase is in it, or one of the elements may be
        another, ``range_95`` tells where the ratio lies.
        """
        top, bottom = parse_ratio(text, self.elements)
        others = self.stand_in_ends
        within = is_open(self) or (others is not None and not others[:, top + bottom > 0].all())
        return replace(
            ratio(self.atomic_fractions, self.atomic_covariance, top, bottom),
            systematic=self.ratio_systematic(text),
            range_95=interval_of(self, atomic_ratio(self, text)) if within else None,
        )

    def ratio_systematic(self, text: str) -> float:
        """Return the systematic standard deviation of an atomic ratio."""
        top, bottom = parse_ratio(text, self.elements)
        return ratio(self.atomic_fractions, self.atomic_systematic, top, bottom).sigma

    def oxides(self) -> dict[str, Quantity]:
        """Weight percent of oxides, the sum set to 100, with O by stoichiometry.

        Empty for what is no oxide: no O among the elements, or a metal without a usual charge.
        """
        found = oxides(self.elements, self.weight_fractions, self.covariance)
        return with_assumed(found, {oxide_name(e) for e in self.assumed_absent if e in VALENCES})

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
        found = formula_units(self.elements, self.atomic_fractions, covariance, oxygens, by=by)
        return with_assumed(found, self.assumed_absent)

    def with_error(self, element: str) -> Quantity:
        """Return the weight fraction of an element with its errors."""
        i = self.index(element)
        return Quantity(
            float(self.weight_fractions[i]),
            float(self.sigma[i]),
            float(self.systematic_sigma[i]),
            assumed_absent=element in self.assumed_absent,
        )

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

    def _as_atoms(self, weight_fractions: np.ndarray) -> np.ndarray:
        """Atomic fractions of weight fractions (..., n)."""
        atoms = weight_fractions / self._weights
        return np.asarray(atoms / atoms.sum(axis=-1, keepdims=True))

    def _atomic(self, covariance: np.ndarray) -> np.ndarray:
        atoms = self.weight_fractions / self._weights
        total = atoms.sum()
        jacobian = (np.diag(1 / self._weights) - np.outer(atoms / total, 1 / self._weights)) / total
        return jacobian @ covariance @ jacobian.T


def _deviations(covariance: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(np.diag(covariance), 0.0))
