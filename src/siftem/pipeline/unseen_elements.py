"""What phases may hold that shows no line: light elements, and what has none on the axis."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from siftem.errors import DoubtWarning
from siftem.fit.null_elements import GivingWay
from siftem.fit.spectrum_model import SpectrumModel
from siftem.quantification.composition import Composition
from siftem.quantification.detection_limit import QUANTILE
from siftem.quantification.film import AbsorbingFilm, film_range, window_losses
from siftem.quantification.k_values import masses_of
from siftem.xray.elements import atomic_number, atomic_weight
from siftem.xray.k_factors import k_factor_family
from siftem.xray.lines import line_families, line_family

#: Elements that most compounds have one of and that show a single soft line each; what one may make
#: up without standing out is told from this atomic fraction on.
_LIGHT, _HIDDEN = ("C", "N", "O", "F"), 0.1


def warn_of_hidden(compositions: Mapping[str, Composition]) -> None:
    """Tell how much of a light element may be in phases whose elements were found by their lines.

    What does not stand out was not found, and is in no interval.

    Parameters
    ----------
    compositions : mapping of str to Composition
        Of the pure phases of a map whose elements nobody lists.

    Warns
    -----
    DoubtWarning
    """
    for name, c in compositions.items():
        hidden = [f"{100 * most:.2g} at% {e}" for e, most in hidden_in(c).items() if most > _HIDDEN]
        if hidden:
            warnings.warn(
                f"{name}: up to {' or '.join(hidden)} would not stand out from its spectrum, and "
                f"was not looked for: its composition is of the elements found, summed up to 100%. "
                f"List the element (--elements) if it may be there: intervals then hold it",
                DoubtWarning,
                stacklevel=3,
            )


def hidden_in(composition: Composition) -> dict[str, float]:
    """Return the most (95%) of each light element beside all that was fitted, atomic fractions.

    Where the film is not known, through the thickest one and a polymer window.
    """
    fit = composition.fit
    model, axis = fit.model, fit.spectrum.axis
    known = {f.element for f in model.families}
    kev = axis.to_kev()
    families = line_families(
        [e for e in _LIGHT if e not in known],
        beam_energy=model.beam_energy, low=kev.first, high=kev.last,
    )  # fmt: skip
    if not families:
        return {}
    lines = SpectrumModel(
        tuple(families), model.beam_energy, model.detector, 1, model.absorption
    ).line_columns(axis, fit.calibration)
    told = GivingWay.of(fit).beside(lines)
    masses = masses_of(fit)
    own = {e: masses[e] for e in composition.elements if e in masses}
    atoms = sum(mass / atomic_weight(e) for e, mass in own.items())
    lost = np.ones(len(families))
    if composition.film is None and composition.film_ends is not None and atoms > 0:
        (thickest,) = film_range(None, None, fit.spectrum.acquisition.take_off_angle).ends
        film = AbsorbingFilm({e: m / sum(own.values()) for e, m in own.items()}, thickest)
        lost = window_losses(families, model.detector, ["computed"] * len(families))
        lost = lost / film(np.array([f.alpha_energy for f in families]))
    out = {}
    for i, family in enumerate(families):
        amount, covariance = told.amounts([i])
        sigma = float(np.sqrt(covariance[0, 0]))
        # Where next to nothing is counted, as of a Poisson number (Currie 1968).
        photons = max(float(amount[0]), 0.0) + QUANTILE * sigma
        photons += QUANTILE**2 / max(float(lines[:, i].sum()), 1e-300)
        k = k_factor_family(family.element, family.shell, model.beam_energy)
        more = k * photons * lost[i] / atomic_weight(family.element)
        out[family.element] = more / max(more + atoms, 1e-300)
    return out


#: The continuum above this energy (keV) goes with mass times atomic number; in 17 simulated
#: phases that showed all their elements it is so within a factor of 2, in 15 within 35%.
_HARD, _UNSEEN = 2.0, 2.5
#: Counts of it that a phase must have.
_FEWEST = 200.0


def warn_of_unseen(compositions: Mapping[str, Composition]) -> None:
    """Tell phases whose continuum asks for far more mass than their lines do.

    Of resin on an axis that begins above C K, O is the one element seen, and its composition
    100 at% O.

    Parameters
    ----------
    compositions : mapping of str to Composition
        Of the pure phases of a map.

    Warns
    -----
    DoubtWarning
    """
    ratios = {}
    for name, c in compositions.items():
        hard = c.fit.spectrum.axis.to_kev().centers > _HARD
        counts = float(c.fit.continuum[hard].sum())
        mass = sum(m * atomic_number(e) for e, m in masses_of(c.fit).items())
        if counts > _FEWEST and mass > 0:
            ratios[name] = counts / mass
    for name, ratio in ratios.items():
        others = [r for other, r in ratios.items() if other != name]
        more = ratio / np.median(others) if others else 0.0
        if more < _UNSEEN:
            continue
        c = compositions[name]
        first = c.fit.spectrum.axis.to_kev().first
        energy = c.fit.model.beam_energy
        below = [e for e in _LIGHT if line_family(e, "K", beam_energy=energy).alpha_energy < first]
        lies = f", as of {', '.join(below)} below the axis" if below else ""
        warnings.warn(
            f"{name}: its continuum is {more:.2g} times what the lines of its elements ask for in "
            f"the other phases: most of it shows no line{lies}, or is in no list. Its composition "
            f"is of {', '.join(c.elements)} only, summed up to 100%: it is none of their compounds",
            DoubtWarning,
            stacklevel=3,
        )
