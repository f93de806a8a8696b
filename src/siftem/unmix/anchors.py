"""What fixes how much matrix a mixture holds, since the mixture alone can't tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from siftem.errors import InputError
from siftem.fit.line_fit import LineFit
from siftem.xray.elements import atomic_number, atomic_weight
from siftem.xray.k_factors import emission


@dataclass(frozen=True)
class Scale:
    """How much of the matrix spectrum to subtract.

    Parameters
    ----------
    value : float
        Factor on the matrix spectrum.
    sigma : float
        Its standard deviation.
    conflict : float
        With several anchoring elements, how many standard deviations the one farthest from
        the common value lies off; 0 with one.
    """

    value: float
    sigma: float
    conflict: float = 0.0


class Anchor(Protocol):
    """Anything that can say how much matrix a mixture holds."""

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements whose lines must be fitted for it."""

    def describe(self) -> str:
        """Say in a few words what is assumed."""

    def scale(self, mixture: LineFit | None, matrix: LineFit | None) -> Scale:
        """Return the scale from the fitted lines of the mixture and of the matrix."""


@dataclass(frozen=True, init=False)
class Absent:
    """The grain holds none of these elements: all of it in the mixture is the matrix'.

    Parameters
    ----------
    *elements : str
        One or more. With several, the scales are averaged with their covariances.
    """

    elements: tuple[str, ...]

    def __init__(self, *elements: str) -> None:
        if not elements:
            raise InputError("Absent needs at least one element, for example Absent('Si')")
        for element in elements:
            atomic_number(element)
        object.__setattr__(self, "elements", tuple(elements))

    def describe(self) -> str:
        """Say in a few words what is assumed."""
        return f"no {' or '.join(self.elements)} in the grain"

    def scale(self, mixture: LineFit | None, matrix: LineFit | None) -> Scale:
        """Return ``I(mixture) / I(matrix)`` of the absent element's lines.

        ``Var = scale^2 (Var I1 / I1^2 + Var I2 / I2^2)`` to first order, with the fits' own
        variances, which for lone lines are the counts.
        """
        mixture, matrix = _both(mixture, matrix, self.describe())
        own = [mixture.index(e) for e in self.elements]
        other = [matrix.index(e) for e in self.elements]
        top, bottom = mixture.amplitudes[own], matrix.amplitudes[other]
        for element, value, index in zip(self.elements, bottom, other, strict=True):
            if value < 5 * matrix.sigma_at_zero(index):
                raise InputError(
                    f"the matrix itself holds no clear {element}: its absence from the grain "
                    f"says nothing; anchor on an element that the matrix is rich in"
                )
        ratios = top / bottom
        covariance = mixture.covariance[np.ix_(own, own)] / np.outer(bottom, bottom)
        covariance += (
            np.outer(ratios, ratios)
            * matrix.covariance[np.ix_(other, other)]
            / np.outer(bottom, bottom)
        )
        weights = np.linalg.solve(covariance, np.ones(len(own)))
        weights /= weights.sum()
        value = float(weights @ ratios)
        sigma = float(np.sqrt(weights @ covariance @ weights))
        conflict = 0.0
        if len(own) > 1:
            spread = np.eye(len(own)) - np.outer(np.ones(len(own)), weights)
            apart = spread @ covariance @ spread.T
            conflict = float(np.max(np.abs(ratios - value) / np.sqrt(np.diag(apart))))
        return Scale(value, sigma, conflict)


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

    def scale(self, mixture: LineFit | None, matrix: LineFit | None) -> Scale:
        """Return ``(a1 - r b1) / (a2 - r b2)`` of the amounts a and b, with its error."""
        mixture, matrix = _both(mixture, matrix, self.describe())
        values, variances, lower = [], [], []
        for fit in (mixture, matrix):
            pair = [fit.index(e) for e in self.elements]
            per_photon = np.array([self._amount_per_photon(fit, i) for i in pair])
            condition = per_photon * np.array([1.0, -self.ratio])
            values.append(float(condition @ fit.amplitudes[pair]))
            variances.append(float(condition @ fit.covariance[np.ix_(pair, pair)] @ condition))
            lower.append(float(per_photon[1] * fit.amplitudes[pair[1]]))
        top, bottom = values
        if abs(bottom) < 5 * np.sqrt(variances[1]):
            raise InputError(
                f"the matrix itself has {self.describe()} within its errors: "
                f"that ratio cannot tell it from the grain; choose another anchor"
            )
        value = top / bottom
        by_ratio = (lower[0] - value * lower[1]) * self.sigma
        sigma = np.sqrt(variances[0] + value**2 * variances[1] + by_ratio**2) / abs(bottom)
        return Scale(value, float(sigma))

    def _amount_per_photon(self, fit: LineFit, index: int) -> float:
        family = fit.model.families[index]
        atoms = 1 / emission(family.element, family.shell, fit.model.beam_energy)
        return atoms * atomic_weight(family.element) if self.by == "weight" else atoms


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
        Factor on the matrix spectrum as it is passed to :func:`siftem.subtract`.
    sigma : float
        Its standard deviation.
    """

    value: float
    sigma: float = 0.0

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
        return f"given scale {self.value:g}" + (f" +- {self.sigma:g}" if self.sigma else "")

    def scale(self, mixture: LineFit | None = None, matrix: LineFit | None = None) -> Scale:
        """Return the given scale."""
        return Scale(self.value, self.sigma)


def _strong(fit: LineFit, element: str, factor: float) -> bool:
    try:
        index = fit.index(element)
    except InputError:  # no line of it on the axis
        return False
    return bool(fit.amplitudes[index] > factor * fit.sigma_at_zero(index))


def joined(elements: Sequence[str]) -> tuple[str, ...]:
    """Return the elements without repeats, in order."""
    return tuple(dict.fromkeys(elements))


def _both(
    mixture: LineFit | None, matrix: LineFit | None, what: str
) -> tuple[LineFit, LineFit]:
    if mixture is None or matrix is None:
        raise InputError(f"the anchor '{what}' needs fitted lines of mixture and matrix")
    return mixture, matrix
