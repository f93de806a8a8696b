"""Which k-factors are used: computed, or given by the user."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from siftem.errors import InputError
from siftem.fit.propagation import LineFit
from siftem.fit.spectrum_model import HARDEST, quantified_family
from siftem.views import outline
from siftem.xray.cross_sections import CrossSectionTable
from siftem.xray.detector import Detector
from siftem.xray.elements import atomic_number
from siftem.xray.k_factors import emission, k_factor_family, k_factor_uncertainty
from siftem.xray.lines import LineFamily, line_family


@dataclass(frozen=True)
class GivenKFactors:
    """k-factors by weight from a standard or a vendor.

    Parameters
    ----------
    values : mapping of str to float
        Line or element -> k; only ratios matter. A line such as "Ba La" or "Ba L" says which
        family is meant, and the element is then measured by it. For a lone element it is K
        up to 20 keV, else L; where K and L both lie on the axis, the one that the factor
        fits. Elements that are not given get computed ones.
    line : {"family", "alpha"}
        Whether k belongs to the intensity of the whole family or of the alpha line.
    detector : {"included", "apart"}
        Whether the detector's efficiency is in k, as in measured and vendors' values.
    relative_sigma : mapping of str to float
        Relative standard deviation of each; 0 where it is not given.
    reference : str
        Element whose given and computed values are set equal, so that both kinds can stand
        side by side. One that is not among ``values`` has k = 1. By default Si if it is
        given, else the first with k = 1, else Si with k = 1.
    shells : mapping of str to str
        Shell ("K", "L", "M") of each lone element in ``values``, where it is known.
    absorbed : mapping of str to (mapping of str to float)
        Element -> share of its photons that each element of the standard's film absorbed, for
        factors that were corrected for that: what is not known of it goes into both, and cancels
        where film and standard are alike.

    Examples
    --------
    >>> given = siftem.GivenKFactors({"Si": 1.0, "Fe": 1.35}, relative_sigma={"Fe": 0.02})
    >>> sorted(given.elements)
    ['Fe', 'Si']
    >>> given.of("Fe", "K"), given.sigma_of("Fe", "K"), given.shells_of("Fe")
    (1.35, 0.02, ('',))
    """

    values: Mapping[str, float]
    line: str = "alpha"
    detector: str = "included"
    relative_sigma: Mapping[str, float] = field(default_factory=dict)
    reference: str = ""
    shells: Mapping[str, str] = field(default_factory=dict)
    absorbed: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for label, choice, allowed in (
            ("line", self.line, ("family", "alpha")),
            ("detector", self.detector, ("included", "apart")),
        ):
            if choice not in allowed:
                raise InputError(f"k-factor {label} must be one of {allowed}, got {choice!r}")
        for key, value in self.values.items():
            element, _ = factor_line(key)
            if not (np.isfinite(value) and value > 0):
                raise InputError(f"the k-factor of {key} must be positive, got {value}")
            if key.endswith("a") and key != element and self.line == "family":
                raise InputError(
                    f"the k-factor of {key} names an alpha line, but line='family' says that it "
                    f"is one of the whole family: write {key[:-1]!r} or line='alpha'"
                )
        for key, sigma in self.relative_sigma.items():
            factor_line(key)
            if not (np.isfinite(sigma) and sigma >= 0):
                raise InputError(
                    f"the relative sigma of the k-factor of {key} must not be negative, got {sigma}"
                )
        if self.reference:
            atomic_number(self.reference)
        if self.values and len(self._by_line) < len(self.values):
            raise InputError(f"a k-factor is given twice: {', '.join(self.values)}")

    def of(self, element: str, shell: str) -> float | None:
        """Return the factor for a family, or None when there is none for it."""
        return self._by_line.get((element, shell[0]), self._by_line.get((element, "")))

    def sigma_of(self, element: str, shell: str) -> float:
        """Return the relative standard deviation of the factor for a family."""
        sigmas = {factor_line(key): value for key, value in self.relative_sigma.items()}
        return sigmas.get((element, shell[0]), sigmas.get((element, ""), 0.0))

    def shells_of(self, element: str) -> tuple[str, ...]:
        """Return the shells for which an element has a factor; "" is one that does not say."""
        return tuple(shell for e, shell in self._by_line if e == element)

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements with a factor, each once."""
        return tuple(dict.fromkeys(element for element, _ in self._by_line))

    @property
    def tie(self) -> str:
        """The element that ties given factors to computed ones, see ``reference``."""
        if self.reference:
            return self.reference
        ones = [e for (e, _), value in self._by_line.items() if value == 1.0]
        return "Si" if "Si" in self.elements or not ones else ones[0]

    @cached_property
    def _by_line(self) -> dict[tuple[str, str], float]:
        out = {}
        for key, value in self.values.items():
            element, shell = factor_line(key)
            out[element, shell or self.shells.get(element, "")] = float(value)
        return out


def factor_line(key: str) -> tuple[str, str]:
    """Split "Ba La", "Ba_L" or "Ba" into element and shell ("K", "L", "M"; "" if not said).

    Raises
    ------
    InputError
        When it is no element, or another line than alpha.
    """
    match = re.fullmatch(r"([A-Za-z]+)(?:[ _]([KLM])a?)?", key)
    if match is None:
        raise InputError(
            f"a factor belongs to an element, its alpha line or its family, such as 'Ba', "
            f"'Ba La' or 'Ba L', got {key!r}"
        )
    atomic_number(match[1])
    return match[1], match[2] or ""


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
    scale : float
        Factor from given to computed ones; 1 without given ones.
    absorbed : tuple of (mapping of str to float) or None
        For each, as in `GivenKFactors`; None where nothing is known of a standard. Empty: of none.
    """

    __repr__ = outline

    values: np.ndarray
    relative_sigma: np.ndarray
    source: tuple[str, ...]
    scale: float = 1.0
    absorbed: tuple[Mapping[str, float] | None, ...] = ()


def k_values(
    families: Sequence[LineFamily],
    beam_energy: float,
    detector: Detector,
    given: GivenKFactors | None = None,
    table: CrossSectionTable | None = None,
) -> KValues:
    """Return k-factors by weight for the emitted photons of whole families.

    A given factor always overrides a computed one, if it is one of the same family. A given
    k for detected alpha counts is turned into one for emitted family photons by
    ``k * alpha_fraction * efficiency``, both relative to the reference element.

    Parameters
    ----------
    families : sequence of LineFamily
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
    if not {f.element for f in families} & set(given.elements):
        raise InputError(
            f"k-factors are given for {', '.join(given.values)}, none of which is quantified"
        )
    # All given values share one arbitrary factor: tie it to the computed value of one
    # element, so that computed and given ones can stand side by side.
    tie = reference_family(given, families, beam_energy)
    known = k_factor_family(tie.element, tie.shell, beam_energy, table=table)
    scale = known / given_k(given, tie, beam_energy, detector, otherwise=1.0)
    values = computed.copy()
    for i, family in enumerate(families):
        if given.of(family.element, family.shell) is not None:
            values[i] = given_k(given, family, beam_energy, detector) * scale
            sigma[i] = given.sigma_of(family.element, family.shell)
            source[i] = "given"
        elif family.name == tie.name:
            sigma[i], source[i] = 0.0, "given"
    absorbed = [
        given.absorbed.get(f.element) if s == "given" else None
        for f, s in zip(families, source, strict=True)
    ]
    return KValues(values, sigma, tuple(source), float(scale), tuple(absorbed))


def given_k(
    given: GivenKFactors,
    family: LineFamily,
    beam_energy: float,
    detector: Detector,
    *,
    otherwise: float | None = None,
) -> float:
    """Return a given factor for emitted photons of a family, in the scale of what is given.

    Parameters
    ----------
    given : GivenKFactors
    family : LineFamily
    beam_energy : float
        keV.
    detector : Detector
    otherwise : float, optional
        Taken when there is none for this family.
    """
    value = given.of(family.element, family.shell)
    if value is None:
        value = otherwise
    if value is None:
        raise InputError(f"no k-factor is given for {family.name}")
    return value * emitted_per_counted(family, given, detector, beam_energy)


def reference_family(
    given: GivenKFactors, families: Sequence[LineFamily], beam_energy: float
) -> LineFamily:
    """Return the family that ties given factors to computed ones.

    That of the fit if it has a factor, else the one that the factor names.
    """
    element = given.tie
    own = [f for f in families if f.element == element]
    shells = given.shells_of(element)
    for family in own:
        if not shells or given.of(element, family.shell) is not None:
            return family
    named = [s for s in shells if s] or [usual_shell(element, beam_energy)]
    return line_family(element, named[0], beam_energy=beam_energy)


def usual_shell(element: str, beam_energy: float) -> str:
    """Return the shell by which an element is usually measured: K up to 20 keV, else L or M."""
    for shell in ("K", "L"):
        try:
            family = line_family(element, shell, beam_energy=beam_energy)
        except InputError:  # not excited, or no such lines
            continue
        if family.alpha_energy <= HARDEST:
            return shell
    return "M"


def _source(family: LineFamily, table: CrossSectionTable | None) -> str:
    number = atomic_number(family.element)
    own = () if table is None else table.entries
    listed = any(z == number and shell.startswith(family.shell) for z, shell in own)
    return "table" if listed else "computed"


def emitted_per_counted(
    family: LineFamily, given: GivenKFactors, detector: Detector, beam_energy: float
) -> float:
    """Counts that a given factor means, for one emitted photon of the family.

    A factor for a whole L family holds for its L3 group as well, by the computed share of
    the group in the family.
    """
    factor = 1.0
    if given.line == "alpha":
        factor = family.alpha_fraction
    elif len(family.shell) > 1:
        whole = line_family(family.element, family.shell[0], beam_energy=beam_energy)
        factor = emission(family.element, whole.shell, beam_energy)
        factor /= emission(family.element, family.shell, beam_energy)
        family = whole
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


def masses_of(fit: LineFit) -> dict[str, float]:
    """Return relative masses of all elements of a fit, of a support as well.

    By computed k-factors.
    """
    families, out = fit.model.families, {}
    for element in dict.fromkeys(f.element for f in families):
        family = quantified_family(families, element, fit.spectrum.axis)
        if family is not None:
            k = k_factor_family(element, family.shell, fit.model.beam_energy)
            out[element] = k * float(fit.amplitudes[families.index(family)])
    return out
