"""How an element is shared between two phases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siftem.errors import InputError
from siftem.quantification.composition import Composition
from siftem.quantification.open_ranges import ends_of, fieller, is_open


@dataclass(frozen=True)
class PartitionCoefficient:
    """Ratio of the weight fractions of an element in two phases.

    Parameters
    ----------
    element : str
    phases : tuple of str
        Numerator and denominator.
    value : float
        ``C_a / C_b``; for a limit, the limit.
    sigma : float
        Standard deviation from counting; NaN for a limit.
    systematic : float
        Standard deviation from k-factors, attenuation and film: the element's own k-factor
        cancels when both phases are measured by the same line.
    limit : {"", "above", "below"}
        "above": below its critical level in the denominator, ``value`` is a lower limit;
        "below": in the numerator, ``value`` is an upper limit.
    interval_95 : tuple of float
        With all errors, and what is not known of either phase; may be infinite at its upper end.
    is_range : bool
        Whether what is not known of one of the phases outweighs their errors: the interval is
        then all there is to say.
    """

    element: str
    phases: tuple[str, str]
    value: float
    sigma: float
    systematic: float
    limit: str = ""
    interval_95: tuple[float, float] = (0.0, np.inf)
    is_range: bool = False

    def __str__(self) -> str:
        if self.is_range:
            low, high = self.interval_95
            return f"D({self.element}, {self.phases[0]}/{self.phases[1]}) = {low:.3g} to {high:.3g}"
        sign = {"": "", "above": "> ", "below": "< "}[self.limit]
        error = "" if self.limit else f" +- {self.sigma:.2g}"
        return (
            f"D({self.element}, {self.phases[0]}/{self.phases[1]}) = {sign}{self.value:.3g}{error}"
        )


def partition_coefficient(
    numerator: Composition, denominator: Composition, element: str, *, subtracted: float = 0.0
) -> PartitionCoefficient:
    """Return the partition coefficient of an element between two phases, by weight.

    Parameters
    ----------
    numerator, denominator : Composition
        Such as Ca-perovskite and bridgmanite.
    element : str
    subtracted : float
        Factor by which the spectrum of ``denominator`` was subtracted to get that of
        ``numerator``: the noise that both then share is taken into account.

    Returns
    -------
    PartitionCoefficient

    Raises
    ------
    InputError
        When the element was not quantified in both, or found in neither.
    """
    a, b = numerator.index(element), denominator.index(element)
    top, bottom = numerator.weight_fractions[a], denominator.weight_fractions[b]
    found = numerator.found[a], denominator.found[b]
    names = (numerator.name, denominator.name)
    is_range = is_open(numerator) or is_open(denominator)
    somewhere = _found_somewhere(numerator, a) or _found_somewhere(denominator, b)
    if not somewhere:
        raise InputError(
            f"{element} lies below its critical level in {names[0]} and in {names[1]}: "
            f"no partition coefficient follows"
        )
    systematic = float(np.sqrt(_systematic(numerator, denominator, element))) if all(found) else 0.0
    interval = _interval(numerator, denominator, a, b, systematic)

    def made(value: float, sigma: float, own: float, limit: str = "") -> PartitionCoefficient:
        return PartitionCoefficient(
            element, names, float(value), sigma, own, limit, interval, is_range
        )

    if not any(found):
        return made(np.nan, np.nan, np.nan)
    if not found[1]:
        return made(top / denominator.detection_limits[b], np.nan, np.nan, "above")
    if not found[0]:
        return made(numerator.detection_limits[a] / bottom, np.nan, np.nan, "below")
    value = top / bottom
    variance = (numerator.sigma[a] / top) ** 2 + (denominator.sigma[b] / bottom) ** 2
    # The numerator holds -subtracted times the denominator's noise, so both move oppositely.
    variance += 2 * subtracted * _shared(numerator, denominator, a, b) / (top * bottom)
    by_ratios = _by_ratios(numerator, a) / top**2 + _by_ratios(denominator, b) / bottom**2
    own = float(value * np.sqrt(systematic**2 + by_ratios))
    return made(value, float(value * np.sqrt(max(variance, 0.0))), own)


def _found_somewhere(c: Composition, i: int) -> bool:
    """Whether an element exceeds its critical level at any end of what is not known."""
    return bool((ends_of(c)[:, i] > c.critical_levels[i]).any())


def _interval(
    numerator: Composition, denominator: Composition, a: int, b: int, systematic: float
) -> tuple[float, float]:
    """The 95% intervals from all ends of both phases, together."""
    found = []
    for top in ends_of(numerator)[:, a]:
        for bottom in ends_of(denominator)[:, b]:
            variances = [
                numerator.sigma[a] ** 2 + _by_ratios(numerator, a) + (systematic * top) ** 2,
                denominator.sigma[b] ** 2 + _by_ratios(denominator, b),
            ]
            found.append(fieller(top, bottom, np.diag(variances)))
    return min(low for low, _ in found), max(high for _, high in found)


def _by_ratios(c: Composition, i: int) -> float:
    """Variance of one weight fraction by ratios of lines: what lies on a line differs by phase."""
    return 0.0 if c.by_ratios is None else float(c.by_ratios[i, i])


def _jacobian(c: Composition, i: int) -> np.ndarray:
    """Change of one weight fraction with the counts of each channel; (channels,)."""
    index = list(c.columns)
    amount_map = np.eye(len(index)) if c.amount_map is None else c.amount_map
    amounts = amount_map @ (c.k.values * c.fit.amplitudes[index])
    total = amounts.sum()
    row = (amount_map[i] - c.weight_fractions[i] * amount_map.sum(axis=0)) * c.k.values / total
    return np.asarray(row @ c.fit.operator[index])


def _shared(numerator: Composition, denominator: Composition, a: int, b: int) -> float:
    """Covariance of the two fractions by noise of the denominator's spectrum, for scale 1."""
    first, second = numerator.fit.spectrum, denominator.fit.spectrum
    if first.axis != second.axis:
        return 0.0
    variance = np.asarray(second.variance)
    return float((_jacobian(numerator, a) * variance) @ _jacobian(denominator, b))


def _systematic(numerator: Composition, denominator: Composition, element: str) -> float:
    """Relative variance by k-factors, attenuation and film, the same for both phases."""
    elements = list(dict.fromkeys([*numerator.elements, *denominator.elements]))
    # The film, if it is not known, is as thick for both.
    film = [c.film_mode()[c.index(element)] / c.weight_fractions[c.index(element)]
            for c in (numerator, denominator)]  # fmt: skip
    total = float((film[0] - film[1]) ** 2)
    for other in elements:
        move = 0.0
        sigma = 0.0
        for c, sign in ((numerator, 1.0), (denominator, -1.0)):
            if other not in c.elements:
                continue
            j = c.elements.index(other)
            own = 1.0 if other == element else 0.0
            move += sign * (own - c.weight_fractions[j])
            sigma = max(sigma, float(c.relative_systematic[j]))
        same = other != element or _same_line(numerator, denominator, element)
        if same:
            total += (move * sigma) ** 2
        else:
            a, b = numerator.index(element), denominator.index(element)
            total += float(
                numerator.relative_systematic[a] ** 2 + denominator.relative_systematic[b] ** 2
            )
    return total


def _same_line(numerator: Composition, denominator: Composition, element: str) -> bool:
    a, b = numerator.index(element), denominator.index(element)
    return numerator.families[a] == denominator.families[b]
