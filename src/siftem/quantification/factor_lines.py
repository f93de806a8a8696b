"""Which line each given k-factor belongs to, and whether it can be true."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from siftem.energy_axis import EnergyAxis
from siftem.errors import DoubtWarning, InputError, SiftemWarning
from siftem.fit.line_fit import LineFit
from siftem.fit.spectrum_model import quantified_family
from siftem.quantification.k_values import GivenKFactors, given_k, reference_family
from siftem.xray.detector import Detector
from siftem.xray.k_factors import k_factor_family
from siftem.xray.lines import LineFamily

#: Softer L lines (keV) are nobody's first choice where K can be had.
_HARD_L = 1.6
#: Computed factors are good to 10 to 20%: within this a given one is that of the same line,
_LIKE = 2.0
#: beyond this it hardly is.
_UNLIKE = 3.0
#: Which of two lines is nearer can't be told if one is not nearer than the other by this.
_TOSS_UP = 1.2


def resolved_factors(
    given: GivenKFactors, fit: LineFit, elements: Sequence[str], detector: Detector
) -> GivenKFactors:
    """Return the factors of the quantified elements, each with the shell that it belongs to.

    A lone element means its usual line, unless both K and L (beyond 1.6 keV) lie on the axis
    and the factor, beside those of the other elements, is that of the other one: computed
    factors of K and L lines differ by far more than they are wrong.

    Parameters
    ----------
    given : GivenKFactors
    fit : LineFit
        It tells which families lie on the axis.
    elements : sequence of str
        Those that are quantified.
    detector : Detector

    Returns
    -------
    GivenKFactors
        With lines such as "Ba L" as keys.

    Raises
    ------
    InputError
        When a factor belongs to lines outside of the fitted range, or which lines it
        belongs to can't be told.
    """
    families, axis, beam_energy = fit.model.families, fit.spectrum.axis, fit.model.beam_energy
    chosen: dict[str, LineFamily] = {}
    unclear: dict[str, tuple[LineFamily, ...]] = {}
    for element in (e for e in given.elements if e in elements):
        shells = given.shells_of(element)
        usual = quantified_family(families, element, axis)
        if usual is None:
            continue  # the fit tells that it has no line
        if "" in shells:
            other = _on_axis(families, element, axis, {"K": "L"}.get(usual.shell, "K"))
            if other and min(usual.alpha_energy, other[0].alpha_energy) > _HARD_L:
                both = (usual, *other)
                unclear[element] = both
            else:
                chosen[element] = usual
            continue
        named = _on_axis(families, element, axis, shells)
        if not named:
            raise InputError(
                f"the k-factor of {element} is for its {' or '.join(shells)} lines, which are not "
                f"in the fitted range: give one for {usual.name}, or widen the range"
            )
        chosen[element] = usual if usual in named else named[0]
    scale = _common_scale(given, chosen.values(), beam_energy, detector)
    for element, both in unclear.items():
        family = None if scale is None else _likeliest(given, both, scale, beam_energy, detector)
        if family is None:
            raise InputError(
                f"is the k-factor of {element} for its K or its L lines? Write it as "
                f"'{element} Ka' or '{element} La'"
            )
        chosen[element] = family
    if not chosen:
        return given
    tied = [k for k in given.values if k.split()[0] == given.tie and given.tie not in chosen]
    return replace(
        given,
        values={
            **{k: given.values[k] for k in tied},
            **{_key(f): given_value(given, f) for f in chosen.values()},
        },
        relative_sigma={_key(f): given.sigma_of(e, f.shell) for e, f in chosen.items()},
        reference=given.tie,
    )


def warn_of_factors(
    given: GivenKFactors,
    resolved: GivenKFactors,
    families: Sequence[LineFamily],
    beam_energy: float,
    detector: Detector,
) -> None:
    """Warn of a reference that had to be assumed, and of factors that can hardly be true.

    Parameters
    ----------
    given : GivenKFactors
        As the user gave them.
    resolved : GivenKFactors
        From `resolved_factors`.
    families : sequence of LineFamily
        By which the elements are quantified.
    beam_energy : float
        keV.
    detector : Detector

    Warns
    -----
    SiftemWarning
    """
    others = [f.element for f in families if f.element not in given.elements]
    if others and not given.reference and given.tie not in given.elements:
        warnings.warn(
            f"k-factors are given for {', '.join(given.elements)}, without their reference: they "
            f"are taken relative to {given.tie} = 1; name the reference if it is another one",
            SiftemWarning,
            stacklevel=3,
        )
    own = [f for f in families if resolved.of(f.element, f.shell) is not None]
    if len(own) < 2:
        own.append(reference_family(resolved, families, beam_energy))
    found = {f.name: _over_computed(resolved, f, beam_energy, detector) for f in own}
    middle = float(np.median(list(found.values())))
    far = {n: v / middle for n, v in found.items() if not 1 / _UNLIKE < v / middle < _UNLIKE}
    if far:
        listed = ", ".join(f"{name} {ratio:.2g} times" for name, ratio in far.items())
        warnings.warn(
            f"given k-factors are far from the computed ones ({listed}): check which line each "
            f"one is for, and write it as '{next(iter(far))}a' if it is for another one",
            DoubtWarning,
            stacklevel=3,
        )


def given_value(given: GivenKFactors, family: LineFamily) -> float:
    """The factor for a family, as it was given; 1 for a reference without one."""
    value = given.of(family.element, family.shell)
    return 1.0 if value is None else value


def _on_axis(
    families: Sequence[LineFamily], element: str, axis: EnergyAxis, shells: Iterable[str]
) -> tuple[LineFamily, ...]:
    found = (quantified_family(families, element, axis, shell) for shell in shells)
    return tuple(f for f in found if f is not None)


def _key(family: LineFamily) -> str:
    return f"{family.element} {family.shell[0]}"


def _over_computed(
    given: GivenKFactors, family: LineFamily, beam_energy: float, detector: Detector
) -> float:
    """A given factor over the computed one, in an arbitrary common scale."""
    value = given_k(given, family, beam_energy, detector, otherwise=1.0)
    return value / k_factor_family(family.element, family.shell, beam_energy)


def _likeliest(
    given: GivenKFactors,
    both: tuple[LineFamily, ...],
    scale: float,
    beam_energy: float,
    detector: Detector,
) -> LineFamily | None:
    """The family whose computed factor is nearest, None if that is a toss-up.

    The first one, the usual choice, if the factor is like that of no family.
    """
    away = {f: abs(np.log(_over_computed(given, f, beam_energy, detector) / scale)) for f in both}
    near, far = sorted(both, key=away.__getitem__)
    if away[near] > np.log(_LIKE):
        return both[0]
    return near if away[far] - away[near] > np.log(_TOSS_UP) else None


def _common_scale(
    given: GivenKFactors, clear: Iterable[LineFamily], beam_energy: float, detector: Detector
) -> float | None:
    """Given factors over computed ones for the elements whose line is clear."""
    ratios = [_over_computed(given, f, beam_energy, detector) for f in clear]
    if not ratios and given.tie not in given.elements:
        ratios = [
            _over_computed(given, reference_family(given, (), beam_energy), beam_energy, detector)
        ]
    return float(np.median(ratios)) if ratios else None
