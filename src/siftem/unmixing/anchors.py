"""What fixes how much matrix a mixture holds, since the mixture alone can't tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from siftem.errors import InputError
from siftem.fit.line_fit import LineFit
from siftem.fit.spectrum_model import quantified_family
from siftem.unmixing.conditions import Condition, solve_scales
from siftem.xray.elements import atomic_number, atomic_weight, parse_ratio, ratio_elements
from siftem.xray.k_factors import emission


@dataclass(frozen=True)
class Scale:
    """How much of the matrix spectrum to subtract.

    Parameters
    ----------
    value : float
        Factor on the matrix spectrum.
    sigma : float
        Its standard deviation, from counting and from what was assumed.
    conflict : float
        With several anchoring elements, how many standard deviations the one farthest from
        the common value lies off; 0 with one.
    systematic : float
        Standard deviation from the k-factors that the anchor uses; not in ``sigma``.
    slopes : tuple of ndarray of shape (1, channels)
        Change of the scale with the counts of the mixture and with those of the matrix, in
        the fitted channels; empty for a given scale.
    assumed : float
        Standard deviation of the scale from what was assumed; in ``sigma``.
    """

    value: float
    sigma: float
    conflict: float = 0.0
    systematic: float = 0.0
    slopes: tuple[np.ndarray, ...] = ()
    assumed: float = 0.0


class Anchor(Protocol):
    """Anything that can say how much matrix a mixture holds."""

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements whose lines must be fitted for it."""

    def describe(self) -> str:
        """Say in a few words what is assumed."""

    def scale(self, mixture: LineFit | None, matrix: LineFit | None) -> Scale:
        """Return the scale from the fitted lines of the mixture and of the matrix."""

    def conditions(self, fit: LineFit) -> tuple[Condition, ...]:
        """Return what the photons of the grain fulfil; ``fit`` tells the lines and the beam."""


@dataclass(frozen=True, init=False)
class Absent:
    """The grain holds none of these elements: all of it in the mixture is the matrix'.

    Parameters
    ----------
    *elements : str
        One or more. With several, each is a condition; they are averaged with their
        covariances, and their disagreement is told.

    Examples
    --------
    >>> siftem.Absent("Si", "Al").describe()
    'no Si or Al in the grain'
    """

    elements: tuple[str, ...]

    def __init__(self, *elements: str) -> None:
        if not elements:
            raise InputError("Absent needs at least one element, for example Absent('Si')")
        for element in elements:
            atomic_number(element)
        object.__setattr__(self, "elements", tuple(dict.fromkeys(elements)))

    def describe(self) -> str:
        """Say in a few words what is assumed."""
        return f"no {' or '.join(self.elements)} in the grain"

    def conditions(self, fit: LineFit) -> tuple[Condition, ...]:
        """Return one condition for each element: its photons are none."""
        return tuple(Condition(f"no {e} in the grain", {e: 1.0}) for e in self.elements)

    def scale(self, mixture: LineFit | None, matrix: LineFit | None) -> Scale:
        """Return ``I(mixture) / I(matrix)`` of the absent element's lines.

        ``Var = scale^2 (Var I1 / I1^2 + Var I2 / I2^2)`` to first order, with the fits' own
        variances, which for lone lines are the counts.
        """
        mixture, matrix = _both(mixture, matrix, self.describe())
        for element in self.elements:
            index = matrix.index(element)
            if matrix.amplitudes[index] < 5 * matrix.sigma_at_zero(index):
                raise InputError(
                    f"the matrix itself holds no clear {element}: its absence from the grain "
                    f"says nothing; anchor on an element that the matrix is rich in"
                )
        return _single(self, mixture, matrix)


@dataclass(frozen=True)
class Stoichiometry:
    """The grain has a known ratio of sums of atoms, such as ABO3: A/B = 1.

    It tells the grain from what has another ratio. A matrix of the same stoichiometry (as
    bridgmanite beside Ca-perovskite) fulfils it too: then it fixes another contaminant,
    beside a second anchor for the matrix.

    Parameters
    ----------
    ratio : str
        Such as "(Ca+Mg+Fe)/(Si+Al)", by atoms.
    value : float
        Its value in the grain.
    sigma : float
        Standard deviation of the value.
    k_factors : mapping of str to float
        k by weight of emitted family photons for elements whose computed one is not to be
        used, in the scale of `siftem.xray.k_factors.k_factor_family` (Si K = 1).

    Examples
    --------
    >>> siftem.Stoichiometry("(Ca+Mg+Fe)/(Si+Al)", 1.0, sigma=0.02).describe()
    '(Ca+Mg+Fe)/(Si+Al) = 1 +- 0.02 by atoms'
    """

    ratio: str
    value: float = 1.0
    sigma: float = 0.0
    k_factors: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ratio_elements(self.ratio)
        for element, k in self.k_factors.items():
            atomic_number(element)
            if not (np.isfinite(k) and k > 0):
                raise InputError(f"the k-factor of {element} must be positive, got {k}")
        if not (np.isfinite(self.value) and self.value >= 0 and self.sigma >= 0):
            raise InputError(
                f"Stoichiometry needs a value and a sigma that are not negative, "
                f"got {self.value} and {self.sigma}"
            )

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements whose lines must be fitted for it."""
        return ratio_elements(self.ratio)

    def describe(self) -> str:
        """Say in a few words what is assumed."""
        error = f" +- {self.sigma:g}" if self.sigma else ""
        return f"{self.ratio} = {self.value:g}{error} by atoms"

    def conditions(self, fit: LineFit) -> tuple[Condition, ...]:
        """Return ``sum top - value sum bottom = 0``, in atoms."""
        top, bottom = parse_ratio(self.ratio, self.elements)
        atoms = {e: _atoms_per_photon(fit, e, self.k_factors.get(e)) for e in self.elements}
        weights = {e: atoms[e] * (top[i] - self.value * bottom[i]) for i, e in enumerate(atoms)}
        change = {e: -atoms[e] * self.sigma * bottom[i] for i, e in enumerate(atoms)}
        return (Condition(self.describe(), weights, change if self.sigma else {}, by_k=True),)

    def scale(self, mixture: LineFit | None, matrix: LineFit | None) -> Scale:
        """Return ``(A1 - r B1) / (A2 - r B2)`` of the sums of atoms, with its error."""
        return _single(self, *_both(mixture, matrix, self.describe()))


@dataclass(frozen=True)
class KnownRatio:
    """The grain has a known ratio of two elements.

    Parameters
    ----------
    numerator, denominator : str
        Elements.
    ratio : float
        Their ratio in the grain.
    sigma : float
        Standard deviation of the ratio.
    by : {"atoms", "weight"}
        What the ratio counts.

    Examples
    --------
    >>> siftem.KnownRatio("Ca", "Si", 1.0, sigma=0.05).describe()
    'Ca/Si = 1 +- 0.05 by atoms'
    """

    numerator: str
    denominator: str
    ratio: float
    sigma: float = 0.0
    by: str = "atoms"

    def __post_init__(self) -> None:
        atomic_number(self.numerator)
        atomic_number(self.denominator)
        if self.by not in ("atoms", "weight"):
            raise InputError(f"KnownRatio counts by 'atoms' or 'weight', got {self.by!r}")
        if not (np.isfinite(self.ratio) and self.ratio >= 0 and self.sigma >= 0):
            raise InputError(
                f"KnownRatio needs a ratio and a sigma that are not negative, "
                f"got {self.ratio} and {self.sigma}"
            )

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements whose lines must be fitted for it."""
        return (self.numerator, self.denominator)

    def describe(self) -> str:
        """Say in a few words what is assumed."""
        error = f" +- {self.sigma:g}" if self.sigma else ""
        return f"{self.numerator}/{self.denominator} = {self.ratio:g}{error} by {self.by}"

    def conditions(self, fit: LineFit) -> tuple[Condition, ...]:
        """Return ``numerator - ratio denominator = 0``, in atoms."""
        factor = 1.0
        if self.by == "weight":
            factor = atomic_weight(self.denominator) / atomic_weight(self.numerator)
        top = _atoms_per_photon(fit, self.numerator)
        bottom = _atoms_per_photon(fit, self.denominator) * factor
        weights = {self.numerator: top, self.denominator: -self.ratio * bottom}
        change = {self.denominator: -self.sigma * bottom} if self.sigma else {}
        return (Condition(self.describe(), weights, change, by_k=self.ratio > 0),)

    def scale(self, mixture: LineFit | None, matrix: LineFit | None) -> Scale:
        """Return ``(a1 - r b1) / (a2 - r b2)`` of the amounts a and b, with its error."""
        return _single(self, *_both(mixture, matrix, self.describe()))


@dataclass(frozen=True)
class MostMatrix:
    """Nothing is known of the grain: take as much matrix as leaves no line negative.

    The line that the matrix has most of relative to the mixture is taken as absent from the
    grain. An upper limit of the matrix' part: right when some line of the matrix is absent.

    Parameters
    ----------
    among : tuple of str
        Elements that are looked at.
    significance : float
        Only lines that exceed their noise in the matrix by this factor count.

    Examples
    --------
    >>> siftem.MostMatrix(("O", "Mg", "Si")).describe()
    'as much matrix as leaves no line negative'
    """

    among: tuple[str, ...]
    significance: float = 20.0

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements whose lines must be fitted for it."""
        return self.among

    def describe(self) -> str:
        """Say in a few words what is assumed."""
        return "as much matrix as leaves no line negative"

    def conditions(self, fit: LineFit) -> tuple[Condition, ...]:
        """Raise: this is a limit and not a condition."""
        raise InputError(
            "MostMatrix works with one spectrum to subtract only: give an anchor for each"
        )

    def scale(self, mixture: LineFit | None, matrix: LineFit | None) -> Scale:
        """Return the smallest ratio ``I(mixture) / I(matrix)`` among the strong lines."""
        mixture, matrix = _both(mixture, matrix, self.describe())
        scales = [
            Absent(element).scale(mixture, matrix)
            for element in self.among
            if _strong(matrix, element, self.significance)
        ]
        if not scales:
            raise InputError(
                "no line of the matrix is strong enough to anchor on: give an anchor, "
                "for example the scale"
            )
        return min(scales, key=lambda s: s.value)


@dataclass(frozen=True)
class GivenScale:
    """The factor on the matrix spectrum is given.

    Parameters
    ----------
    value : float
        Factor on the spectrum as it is passed to :func:`siftem.subtract`.
    sigma : float
        Its standard deviation.
    of : str
        Name of the spectrum, when several are subtracted; by default the first.

    Examples
    --------
    >>> siftem.GivenScale(0.4, sigma=0.05).describe()
    'given scale 0.4 +- 0.05'
    """

    value: float
    sigma: float = 0.0
    of: str = ""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.value) and self.value >= 0 and self.sigma >= 0):
            raise InputError(
                f"a given scale and its sigma must not be negative, got {self.value}, {self.sigma}"
            )

    @property
    def elements(self) -> tuple[str, ...]:
        """No lines are needed."""
        return ()

    def describe(self) -> str:
        """Say in a few words what is assumed."""
        of = f" of {self.of}" if self.of else ""
        return f"given scale{of} {self.value:g}" + (f" +- {self.sigma:g}" if self.sigma else "")

    def conditions(self, fit: LineFit) -> tuple[Condition, ...]:
        """Return none: it is a scale and not a condition on lines."""
        return ()

    def scale(self, mixture: LineFit | None = None, matrix: LineFit | None = None) -> Scale:
        """Return the given scale."""
        return Scale(self.value, self.sigma)


def as_anchors(given: Anchor | str | Sequence[Anchor | str]) -> list[Anchor]:
    """Return one anchor or several as a list; an element's symbol says that the grain lacks it.

    Raises
    ------
    InputError
        When there is none, or something is no anchor on X-ray lines.
    """
    several = [given] if isinstance(given, str) or not isinstance(given, Sequence) else given
    if not several:
        raise InputError("an anchor is needed, for example siftem.Absent('Si')")
    out: list[Anchor] = []
    for one in several:
        anchor = Absent(one) if isinstance(one, str) else one
        if not hasattr(anchor, "conditions"):
            raise InputError(
                f"{type(one).__name__} is no anchor on X-ray lines: give an element that the grain "
                "lacks, such as 'Si', or siftem.Absent, KnownRatio, Stoichiometry, MostMatrix or "
                "GivenScale"
            )
        out.append(anchor)
    return out


def joined(elements: Sequence[str]) -> tuple[str, ...]:
    """Return the elements without repeats, in order."""
    return tuple(dict.fromkeys(elements))


def _single(anchor: Anchor, mixture: LineFit, matrix: LineFit) -> Scale:
    found = solve_scales(mixture, [matrix], anchor.conditions(matrix))
    return Scale(
        float(found.values[0]),
        float(np.sqrt(found.covariance[0, 0])),
        found.conflict,
        float(np.sqrt(found.systematic[0, 0])),
        found.slopes,
        float(np.sqrt(found.assumed[0, 0])),
    )


def _atoms_per_photon(fit: LineFit, element: str, k: float | None = None) -> float:
    """Atoms for one emitted photon of the family that measures an element, Si K = 1."""
    family = quantified_family(fit.model.families, element, fit.spectrum.axis)
    if family is None:
        fit.index(element)  # says what is missing
        raise AssertionError
    if k is not None:
        return k * atomic_weight("Si") / atomic_weight(element)
    silicon = emission("Si", "K", fit.model.beam_energy)
    return silicon / emission(element, family.shell, fit.model.beam_energy)


def _strong(fit: LineFit, element: str, factor: float) -> bool:
    try:
        index = fit.index(element)
    except InputError:  # no line of it on the axis
        return False
    return bool(fit.amplitudes[index] > factor * fit.sigma_at_zero(index))


def _both(mixture: LineFit | None, matrix: LineFit | None, what: str) -> tuple[LineFit, LineFit]:
    if mixture is None or matrix is None:
        raise InputError(f"the anchor '{what}' needs fitted lines of mixture and matrix")
    return mixture, matrix
