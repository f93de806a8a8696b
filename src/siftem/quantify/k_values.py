"""Which k-factors are used: computed, or given by the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from siftem.errors import InputError
from siftem.xray.cross_sections import CrossSectionTable
from siftem.xray.detector import Detector
from siftem.xray.elements import atomic_number
from siftem.xray.k_factors import k_factor_family, k_factor_uncertainty
from siftem.xray.lines import LineFamily


@dataclass(frozen=True)
class GivenKFactors:
    """k-factors by weight from a standard or a vendor.

    Parameters
    ----------
    values : mapping of str to float
        Element -> k; only ratios matter. Elements that are not given get computed ones.
    line : {"family", "alpha"}
        Whether k belongs to the intensity of the whole family or of the alpha line.
    detector : {"included", "apart"}
        Whether the detector's efficiency is in k, as in measured and vendors' values.
    relative_sigma : mapping of str to float
        Relative standard deviation of each; 0 where it is not given.
    reference : str
        Element whose given and computed values are set equal, so that both kinds can stand
        side by side; the first given one if this is not given.
    """

    values: Mapping[str, float]
    line: str = "alpha"
    detector: str = "included"
    relative_sigma: Mapping[str, float] = field(default_factory=dict)
    reference: str = "Si"

    def __post_init__(self) -> None:
        for element, value in self.values.items():
            atomic_number(element)
            if not (np.isfinite(value) and value > 0):
                raise InputError(f"the k-factor of {element} must be positive, got {value}")
        for element, sigma in self.relative_sigma.items():
            if not (np.isfinite(sigma) and sigma >= 0):
                raise InputError(
                    f"the relative sigma of the k-factor of {element} must not be negative, "
                    f"got {sigma}"
                )
        for label, choice, allowed in (
            ("line", self.line, ("family", "alpha")),
            ("detector", self.detector, ("included", "apart")),
        ):
            if choice not in allowed:
                raise InputError(f"k-factor {label} must be one of {allowed}, got {choice!r}")


@dataclass(frozen=True, eq=False)
class KValues:
    """k of each element for emitted photons of the family, without detector.

    Parameters
    ----------
    values : ndarray of shape (elements,)
    relative_sigma : ndarray of shape (elements,)
        Systematic: the same for every spectrum.
    source : tuple of str
        "computed", "table" (computed from the user's cross-sections) or "given" for each.
    """

    values: np.ndarray
    relative_sigma: np.ndarray
    source: tuple[str, ...]


def k_values(
    families: list[LineFamily],
    beam_energy: float,
    detector: Detector,
    given: GivenKFactors | None = None,
    table: CrossSectionTable | None = None,
) -> KValues:
    """Return k-factors by weight for the emitted photons of whole families.

    A given factor always overrides a computed one. A given k for detected alpha counts is
    turned into one for emitted family photons by ``k * alpha_fraction * efficiency``, both
    relative to the reference element.

    Parameters
    ----------
    families : list of LineFamily
        One for each element.
    beam_energy : float
        keV.
    detector : Detector
    given : GivenKFactors, optional
    table : CrossSectionTable, optional
        The user's cross-sections, which take over from the computed ones.

    Returns
    -------
    KValues
    """
    computed = np.array(
        [k_factor_family(f.element, f.shell, beam_energy, table=table) for f in families]
    )
    sigma = np.array([k_factor_uncertainty(f.shell) for f in families])
    source = [_source(f, table) for f in families]
    if given is None:
        return KValues(computed, sigma, tuple(source))
    position = {f.element: i for i, f in enumerate(families)}
    common = [e for e in given.values if e in position]
    if not common:
        raise InputError(
            f"k-factors are given for {', '.join(given.values)}, none of which is quantified"
        )
    # All given values share one arbitrary factor: tie it to the computed value of one
    # element, so that computed and given ones can stand side by side.
    tie = given.reference if given.reference in common else common[0]
    factors = {e: emitted_per_counted(families[position[e]], given, detector) for e in common}
    scale = computed[position[tie]] / (given.values[tie] * factors[tie])
    values = computed.copy()
    for element in common:
        i = position[element]
        values[i] = given.values[element] * factors[element] * scale
        sigma[i] = given.relative_sigma.get(element, 0.0)
        source[i] = "given"
    return KValues(values, sigma, tuple(source))


def _source(family: LineFamily, table: CrossSectionTable | None) -> str:
    number = atomic_number(family.element)
    own = () if table is None else table.entries
    listed = any(z == number and shell.startswith(family.shell) for z, shell in own)
    return "table" if listed else "computed"


def emitted_per_counted(family: LineFamily, given: GivenKFactors, detector: Detector) -> float:
    """Counts that a given factor means, for one emitted photon of the family."""
    factor = family.alpha_fraction if given.line == "alpha" else 1.0
    if factor == 0:
        raise InputError(
            f"the family {family.name} has no alpha line: give its k-factor for the whole family"
        )
    if given.detector == "included":
        if given.line == "alpha":
            seen = detector.efficiency(np.array([family.alpha_energy]))[0]
        else:
            seen = family.weights @ detector.efficiency(family.energies)
        factor *= float(seen)
    return factor
