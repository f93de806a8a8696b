"""The structural formula of a phase, with the errors of its composition.

What recalculations need of a composition is the same, wherever it comes from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from siftem.errors import InputError
from siftem.fit.propagation import LineFit
from siftem.minerals.formula_doubts import Estimate, estimated, formula_doubts
from siftem.minerals.groups import Group, group_of
from siftem.minerals.recalculation import Recalculated, is_share, numbers_of, recalculate
from siftem.old_names import takes_old_names
from siftem.quantification.composition import Composition
from siftem.quantification.k_values import masses_of
from siftem.quantification.minerals import VALENCES, oxide_name
from siftem.views import outline
from siftem.xray.elements import LAST_ATOMIC_NUMBER, atomic_weight, element_symbols, symbol_of
from siftem.xray.lines import line_families

#: Other oxides of iron that analyses report: cations by oxygens.
_OXIDES_OF_IRON = {"FeO": 1.0, "FeOt": 1.0, "Fe2O3": 1.5, "Fe2O3t": 1.5}
#: Given as elements in an analysis by oxides.
_HALOGENS = ("F", "Cl")
#: From this part of all mass on an element that was not quantified may be the phase's.
_MUCH_BESIDE = 0.1
#: A line is there when it is so many of its standard deviations high.
_STANDS_OUT = 5.0


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
    oxygen_by_charges : bool
        Whether O was reckoned from the cations, not measured: it says nothing of OH, of carbonate
        or of the charge of iron.
    unseen : tuple of str
        Elements without a line in the fitted range, listed or not: nothing is known of them. Nor
        of those that a spectrum holds much of, but which were taken for a support's.
    certain : tuple of str
        Elements whose own counts stand out of the noise, however large the errors of the fractions
        are since that of another element is hardly known.

    Examples
    --------
    >>> oxides = {"SiO2": 40.9, "FeO": 9.8, "MgO": 49.1}
    >>> olivine = siftem.Analysis.from_oxides(oxides, sigma=0.2, name="olivine")
    >>> atoms = olivine.as_atoms(olivine.weight_fractions)
    >>> [f"{element} {n:.2f}" for element, n in zip(olivine.elements, 4 * atoms / atoms[0])]
    ['O 4.00', 'Si 1.00', 'Fe 0.20', 'Mg 1.79']
    >>> siftem.Analysis.of(olivine) is olivine  # compositions of siftem are taken, too
    True
    """

    __repr__ = outline

    name: str
    elements: tuple[str, ...]
    weight_fractions: np.ndarray
    covariance: np.ndarray
    systematic: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    ends: np.ndarray | None = None
    absent: tuple[str, ...] = ()
    oxygen_by_charges: bool = False
    unseen: tuple[str, ...] = ()
    certain: tuple[str, ...] = ()

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
            _oxygen_was_reckoned(composition),
            (*_without_lines(composition.fit), *_not_quantified(composition)),
            _standing_out(composition),
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
            Fe2O3t, carbonate as CO2, and F and Cl as elements.
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
        known = {oxide_name(e): e for e in VALENCES} | {"CO2": "C"}
        cations: dict[str, float] = {}
        variance: dict[str, float] = {}
        for oxide, percent in weight_percent.items():
            element = "Fe" if oxide in _OXIDES_OF_IRON else known.get(oxide, oxide)
            if element in _HALOGENS:
                share = 1.0
            elif element != oxide:
                oxygens = _OXIDES_OF_IRON.get(oxide, _charge(element) / 2)
                weight = atomic_weight(element)
                share = weight / (weight + oxygens * atomic_weight("O"))
            else:
                raise InputError(
                    f"{oxide} is no oxide that is known here: give oxides such as SiO2, FeO, "
                    f"Fe2O3 or CO2, and F and Cl as elements"
                )
            own = sigma.get(oxide, 0.0) if isinstance(sigma, Mapping) else sigma
            cations[element] = cations.get(element, 0.0) + share * percent / 100
            variance[element] = variance.get(element, 0.0) + (share * own / 100) ** 2
        elements = list(cations)
        per_weight = np.array(
            [
                0.0 if e in _HALOGENS else _charge(e) / 2 * atomic_weight("O") / atomic_weight(e)
                for e in elements
            ]
        )
        to_all = np.vstack([per_weight, np.eye(len(elements))])
        values = np.array(list(cations.values()))
        return cls(
            name,
            ("O", *elements),
            to_all @ values,
            to_all @ np.diag(list(variance.values())) @ to_all.T,
            oxygen_by_charges=True,
        )

    @property
    def atoms(self) -> np.ndarray:
        """Moles of each element in one gram, or in any other unit of weight; (n,)."""
        return self.as_atoms(self.weight_fractions)

    def as_atoms(self, weight_fractions: np.ndarray) -> np.ndarray:
        """Moles of elements of weight fractions (..., n)."""
        return weight_fractions / np.array([atomic_weight(e) for e in self.elements])


def _charge(element: str) -> float:
    """Usual charge of a cation; that of carbon in an analysis is a carbonate's."""
    return 4.0 if element == "C" else float(VALENCES[element])


def _without_lines(fit: LineFit) -> tuple[str, ...]:
    kev = fit.spectrum.axis.to_kev()
    return _elements_without_lines(fit.model.beam_energy, kev.first, kev.last)


def _not_quantified(composition: Composition) -> tuple[str, ...]:
    """Elements that a spectrum holds much of, and that may be the phase's or of a support."""
    mass = masses_of(composition.fit)
    least = _MUCH_BESIDE * sum(mass.values())
    return tuple(e for e, m in mass.items() if m > least and e not in composition.elements)


def _standing_out(composition: Composition) -> tuple[str, ...]:
    """Elements with a line that was measured to many of its own standard deviations."""
    fit, columns = composition.fit, list(composition.columns)
    height, own = fit.amplitudes[columns], np.sqrt(np.diag(fit.covariance)[columns])
    surely = zip(composition.elements, height > _STANDS_OUT * own, strict=True)
    return tuple(e for e, yes in surely if yes)


@lru_cache(maxsize=64)
def _elements_without_lines(beam_energy: float, low: float, high: float) -> tuple[str, ...]:
    every = [symbol_of(z) for z in range(1, LAST_ATOMIC_NUMBER + 1)]
    found = {f.element for f in line_families(every, beam_energy=beam_energy, low=low, high=high)}
    return tuple(e for e in every if e not in found)


def _oxygen_was_reckoned(composition: Composition) -> bool:
    """Whether the O of a composition follows from its cations: no part of it from its own line."""
    if "O" not in composition.elements or composition.amount_map is None:
        return False
    at = composition.index("O")
    return not composition.amount_map[at, at] > 0


#: Ions below this amount are not written into the formula.
_WRITTEN = 0.005


@dataclass(frozen=True, eq=False)
class StructuralFormula:
    """Ions of a formula unit, on their sites, and what follows from them.

    Parameters
    ----------
    name : str
        Of the phase.
    group : Group
    ions : dict of str to Estimate
        Elements, iron as "Fe2+" and "Fe3+".
    sites : dict of str to dict of str to Estimate
        The same ions on their sites; "sum" is what a site holds.
    numbers : dict of str to Estimate
        "cations", "Mg/(Mg+Fe)", "Fe3+/Fe" and the like, and end members (fractions).
    doubts : tuple of str
        Why the composition can't be of this group: measured O that is not what the charges need,
        or empty tetrahedra.
    """

    __repr__ = outline

    name: str
    group: Group
    ions: dict[str, Estimate]
    sites: dict[str, dict[str, Estimate]]
    numbers: dict[str, Estimate]
    doubts: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the formula in writing, such as "(Mg0.90 Fe2+0.10) (Si1.00) O3"."""
        parts = []
        for site in self.sites.values():
            held = [
                f"{ion}{e.value:.2f}"
                for ion, e in site.items()
                if ion != "sum" and e.value >= _WRITTEN and not e.assumed_absent
            ]
            if held:
                parts.append(f"({' '.join(held)})")
        oxygens = self.group.oxygens
        return " ".join([*parts, *([f"O{oxygens:g}"] if oxygens else [])])


@takes_old_names(seed="random_state")
def structural_formula(
    composition: Composition | Analysis,
    group: str,
    *,
    oxygens: float | None = None,
    cations: float | None = None,
    iron: str | None = None,
    atoms: float | None = None,
    draws: int = 4000,
    random_state: int = 0,
) -> StructuralFormula:
    """Return the structural formula of a phase of a mineral group.

    Oxygen is what the charges of the cations need, not what was measured. Errors are those of
    random compositions around the measured one, with its covariances from counting and from
    k-factors, attenuation and film: sites that are full and iron that is all of one charge
    make them asymmetric, so read ``interval_95``.

    Parameters
    ----------
    composition : Composition or Analysis
    group : str
        perovskite, periclase, olivine, pyroxene, garnet, feldspar, spinel, mica, amphibole,
        carbonate, apatite, ilmenite; "oxide" with ``oxygens``, "compound" with ``atoms``.
        Each cites its source: ``siftem.minerals.groups.GROUPS[group].source``.
    oxygens, cations : float, optional
        Of a formula unit, in place of the group's own.
    iron : {"2+", "3+", "balance"}, optional
        All iron of one charge, or parted by charge balance (Droop 1987); by default as is
        usual for the group. The balance holds without vacancies only, and its error is wide.
    atoms : float, optional
        Of a formula unit of a compound.
    draws : int
        Random compositions for each kind of error.
    random_state : int

    Returns
    -------
    StructuralFormula

    Raises
    ------
    InputError
        When there is no such group, or the composition has no cations or one without a usual
        charge.

    References
    ----------
    Droop 1987, Mineral. Mag. 51, 431.

    Examples
    --------
    >>> analysis = siftem.Analysis.from_oxides(
    ...     {"SiO2": 40.9, "FeO": 9.8, "MgO": 49.1}, sigma=0.2, name="olivine"
    ... )
    >>> olivine = siftem.structural_formula(analysis, "olivine")
    >>> print(olivine)
    (Si1.00) (Fe2+0.20 Mg1.79) O4
    >>> print(olivine.numbers["forsterite"])
    0.8993 +- 0.00...
    """
    analysis = Analysis.of(composition)
    recipe = group_of(group, oxygens=oxygens, cations=cations, iron=iron, atoms=atoms)
    if not 100 <= draws <= 1_000_000:
        raise InputError(f"draws must be from 100 to a million, got {draws}")
    rng = np.random.default_rng(random_state)
    n = len(analysis.elements)
    unit = rng.standard_normal((3, draws, n))
    now = analysis.weight_fractions
    counting, systematic = (_root(m) for m in (analysis.covariance, analysis.systematic))
    both = _root(analysis.covariance + analysis.systematic)
    ends = [now, *([] if analysis.ends is None else analysis.ends)]
    clouds = [
        now[None],
        now + unit[0] @ counting.T,
        now + unit[1] @ systematic.T,
        *(end + unit[2] @ both.T for end in ends),
    ]
    # One call, so that all have the same ions on the same sites.
    moles = analysis.as_atoms(np.vstack(clouds))
    whole = recalculate(analysis.elements, moles, recipe)
    cuts = np.cumsum([len(cloud) for cloud in clouds])[:-1]
    tetrahedra = np.sum(list(whole.sites.get("T", {}).values()), axis=0) + np.zeros(len(moles))
    absent = set(analysis.absent)

    def estimate(values: np.ndarray, assumed: bool = False, most: float = np.inf) -> Estimate:
        return estimated(np.split(values, cuts), assumed, most)

    def of_ion(ion: str) -> bool:
        return (ion[:-2] if ion.endswith("+") else ion) in absent

    return StructuralFormula(
        name=analysis.name,
        group=recipe,
        ions={ion: estimate(v, of_ion(ion)) for ion, v in whole.ions.items()},
        sites=_sites(whole, estimate, of_ion),
        numbers={
            key: estimate(
                v,
                bool(absent & set(re.findall(r"[A-Z][a-z]?", key))),
                1.0 if is_share(key) else np.inf,
            )
            for key, v in numbers_of(recipe.name, whole).items()
        },
        doubts=formula_doubts(
            analysis.elements, np.split(moles, cuts)[3:], recipe, np.split(tetrahedra, cuts)[3:]
        ),
    )


def _sites(
    whole: Recalculated,
    estimate: Callable[..., Estimate],
    absent: Callable[[str], bool],
) -> dict[str, dict[str, Estimate]]:
    out: dict[str, dict[str, Estimate]] = {}
    for site, held in whole.sites.items():
        out[site] = {ion: estimate(values, absent(ion)) for ion, values in held.items()}
        out[site]["sum"] = estimate(np.sum(list(held.values()), axis=0))
    return out


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return a matrix whose product with its transpose is the covariance; (n, n)."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))
