"""One calibration of k-factors and film for all phases of a map, by what is known of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from siftem.errors import InputError, SiftemWarning
from siftem.minerals.constraint_results import DISAGREES, ConstraintResult, constraint_results
from siftem.minerals.constraints import Constraint
from siftem.minerals.joint_model import Layout, MeasuredPhase, layout_of
from siftem.minerals.joint_posterior import (
    Posterior,
    constrained_posterior,
    phase_fractions,
    state_slopes,
)
from siftem.quantification.composition import Composition
from siftem.quantification.film import MASS_THICKNESS, Film
from siftem.quantification.k_values import KValues
from siftem.views import outline

#: Mass attenuation of soft lines differs by this much between tables (relative).
_ATTENUATION_SIGMA = 0.12
#: Spread of an even film from phase to phase (relative): pores, grains that end within it.
EVENNESS = 0.1


@dataclass(frozen=True)
class Calibrated:
    """A number that was calibrated, beside what was known of it before.

    Parameters
    ----------
    value, sigma : float
        Posterior.
    before, sigma_before : float
        Prior.
    """

    value: float
    sigma: float
    before: float
    sigma_before: float

    def __str__(self) -> str:
        return f"{self.value:.4g} +- {self.sigma:.2g} (before {self.before:.4g} +- " + (
            f"{self.sigma_before:.2g})"
        )


@dataclass(frozen=True, eq=False)
class JointCalibration:
    """Compositions, k-factors and film of a map that explain all its spectra together.

    Parameters
    ----------
    compositions : dict of str to Composition
        Calibrated; those of phases that were held out are predictions.
    k_factors : dict of str to Calibrated
        Factor on the k-factor of each line family that was used; only their ratios matter.
    film : dict of str to Calibrated
        Mass thickness of each phase in kg/m2.
    ferric : dict of str to Calibrated
        Fe3+/Fe of the phases whose constraints leave it open.
    constraints : tuple of ConstraintResult
    posterior : Posterior
        State and covariance of all unknowns, with their correlations.
    """

    __repr__ = outline

    compositions: dict[str, Composition]
    k_factors: dict[str, Calibrated]
    film: dict[str, Calibrated]
    ferric: dict[str, Calibrated]
    constraints: tuple[ConstraintResult, ...]
    posterior: Posterior = field(repr=False)

    def correlation(self, first: str, second: str) -> float:
        """Return the posterior correlation of two unknowns, such as "k of O K" and "film".

        Parameters
        ----------
        first, second : str
            Of ``posterior.layout.names``.
        """
        for name in (first, second):
            if name not in self.posterior.layout.names:
                known = [n for n in self.posterior.layout.names if n.startswith(("k of", "film"))]
                raise InputError(f"no unknown {name!r}; there are {', '.join(known)} and others")
        i, j = (self.posterior.layout.index(n) for n in (first, second))
        of = self.posterior.covariance
        scale = np.sqrt(of[i, i] * of[j, j])
        return float(of[i, j] / scale) if scale > 0 else 0.0

    def describe(self) -> str:
        """Return constraints, k-factors and film as text."""
        lines = [
            f"{c.text}: {c.before:.4g} before, {c.after:.4g} after, {c.pull:+.1f} sigma from all "
            f"else, shows from {c.shows_from:.2g} off"
            + (" (held out)" if c.held_out else f", {c.bits:.1f} bits")
            for c in self.constraints
        ]
        lines += [f"k of {name}: factor {k}" for name, k in self.k_factors.items()]
        lines += [f"film of {name}: {m} kg/m2" for name, m in self.film.items()]
        lines += [f"Fe3+/Fe of {name}: {f}" for name, f in self.ferric.items()]
        return "\n".join(lines)


def calibrate_jointly(
    compositions: Mapping[str, Composition],
    constraints: Sequence[Constraint],
    *,
    held_out: Sequence[str] = (),
    densities: Mapping[str, float] | None = None,
    thickness_sigma: float = 0.0,
    evenness: float = EVENNESS,
    subtracted: Mapping[tuple[str, str], float] | None = None,
) -> JointCalibration:
    """Calibrate k-factors and film with all phases of a map at once.

    All phases went through one film and one detector: their spectra, the k-factors (each with
    the width it came with), the mass attenuation and the film are one posterior, with what is
    known of the phases as soft constraints, see `siftem.minerals.constraints`. Everything moves
    within its error, the counts as well. Without constraints the compositions come back as they
    are.

    Parameters
    ----------
    compositions : mapping of str to Composition
        Of phases of one map, or of maps of one instrument, quantified with the same k-factors.
    constraints : sequence of Constraint
        What is known of phases. Those on phases that are held out only check the prediction.
    held_out : sequence of str
        Phases that take no part in the calibration.
    densities : mapping of str to float, optional
        g/cm3: they part an unknown film among the phases.
    thickness_sigma : float
        Relative standard deviation of a thickness that was told without a range.
    evenness : float
        Relative spread of the mass thickness from phase to phase about an even film's, where it
        is not known exactly.
    subtracted : mapping of (str, str) to float, optional
        (grain, matrix) -> factor by which the spectrum of the second was subtracted to get that
        of the first: both share its noise.

    Returns
    -------
    JointCalibration

    Raises
    ------
    InputError
        When a phase is unknown, or a constraint can't be evaluated.

    Warns
    -----
    SiftemWarning
        When a constraint disagrees with all else by more than 2.5 standard deviations.

    Examples
    --------
    >>> from siftem.minerals.constraints import ChargeBalance, KnownStoichiometry
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> spectrum = siftem.integrate(si, phantom.mask("Brg", at_least=0.99), name="Brg")
    >>> elements = ["O", "Mg", "Al", "Si", "Ca", "Fe"]
    >>> brg = siftem.quantify(spectrum, elements, support=["Cu"], thickness=100, density=4.2)
    >>> found = siftem.calibrate_jointly(
    ...     {"Brg": brg},
    ...     [
    ...         ChargeBalance(phase="Brg", sigma=0.01),
    ...         KnownStoichiometry(phase="Brg", ratio="(Mg+Fe+Ca+Al/2)/(Si+Al/2)", sigma=0.02),
    ...     ],
    ... )
    >>> found.k_factors["O K"].sigma < found.k_factors["O K"].sigma_before
    True
    >>> calibrated = found.compositions["Brg"]
    >>> calibrated.ratio_systematic("Mg/O") < brg.ratio_systematic("Mg/O")
    True
    """
    if not compositions:
        raise InputError("a joint calibration needs the composition of at least one phase")
    for name in held_out:
        if name not in compositions:
            raise InputError(
                f"{name!r} is to be held out, but the phases are {', '.join(compositions)}"
            )
    for label, value in (("thickness_sigma", thickness_sigma), ("evenness", evenness)):
        if not 0 <= value < 1:
            raise InputError(f"{label} is relative and must lie between 0 and 1, got {value}")
    phases = [MeasuredPhase.of(name, c) for name, c in compositions.items()]
    layout = layout_of(
        phases,
        attenuation_sigma=_ATTENUATION_SIGMA,
        thickness_sigma=thickness_sigma,
        evenness=evenness,
        densities=densities or {},
        shared_noise=_shared_noise(compositions, subtracted or {}),
    )
    used = [c for c in constraints if c.phase not in held_out]
    posterior = constrained_posterior(layout, used)
    results = constraint_results(posterior, used, [c for c in constraints if c.phase in held_out])
    for r in results:
        if abs(r.pull) > DISAGREES:
            what = "what was predicted" if r.held_out else "all else"
            warnings.warn(
                f"{r.text}: disagrees with {what} by {r.pull:+.1f} sigma: it may not hold, or "
                f"another constraint does not",
                SiftemWarning,
                stacklevel=2,
            )
    widths = np.array([c.sigma for c in used])
    found = dict(compositions)
    if used:
        found = {
            name: _calibrated(c, i, posterior, widths)
            for i, (name, c) in enumerate(compositions.items())
        }
    free = {c.phase for c in used if c.ferric_is_free}
    return JointCalibration(
        compositions=found,
        k_factors={f: _factor(posterior, f"k of {f}") for f in layout.families},
        film={p.name: film_of(posterior, i) for i, p in enumerate(phases)},
        ferric={n: _ferric(posterior, n) for n in compositions if n in free},
        constraints=results,
        posterior=posterior,
    )


def film_of(posterior: Posterior, i: int) -> Calibrated:
    """Return the mass thickness of a phase, kg/m2."""
    layout: Layout = posterior.layout
    slopes, value = state_slopes(posterior, lambda z: layout.mass(i, z)[:, None])
    base, spread = layout.film[layout.phases[i].name]
    at = layout.index(f"film of {layout.phases[i].name}")
    before = np.hypot(spread, base * np.sqrt(layout.covariance[at, at]))
    sigma = float(np.sqrt((slopes @ posterior.covariance @ slopes.T)[0, 0]))
    return Calibrated(float(value[0]), sigma, base, float(before))


def _factor(posterior: Posterior, name: str) -> Calibrated:
    i = posterior.layout.index(name)
    value = float(np.exp(posterior.state[i]))
    sigma = float(np.sqrt(posterior.covariance[i, i]))
    return Calibrated(value, value * sigma, 1.0, float(np.sqrt(posterior.layout.covariance[i, i])))


def _ferric(posterior: Posterior, phase: str) -> Calibrated:
    i = posterior.layout.index(f"Fe3+/Fe of {phase}")
    value = float(np.clip(0.5 + posterior.state[i], 0.0, 1.0))
    sigma = float(np.sqrt(posterior.covariance[i, i]))
    return Calibrated(value, sigma, 0.5, float(np.sqrt(posterior.layout.covariance[i, i])))


def _calibrated(c: Composition, i: int, posterior: Posterior, widths: np.ndarray) -> Composition:
    """The composition with calibrated values, and errors of noise and all else apart."""
    layout = posterior.layout
    p = layout.phases[i]
    values, noise, rest = phase_fractions(posterior, i, widths)
    shares = layout.compositions(posterior.state[None])[p.name][1][0]
    factors = [layout.index(f"k of {f}") for f in p.families]
    absorbed = [layout.index(f"absorption of {f}") for f in p.families]
    of_k = np.sqrt(np.diag(posterior.covariance)[factors])
    of_absorption = np.sqrt(np.diag(posterior.covariance)[absorbed])
    moved = _by_factors(c, posterior.state[factors], posterior.state[absorbed], shares)
    unbounded = c.weight_fractions if c.unbounded is None else c.unbounded
    mass = film_of(posterior, i).value
    density = c.film.density if c.film is not None else 1.0
    ends = c.identification_ends
    if ends is not None:
        ends = ends * moved
        ends = ends / ends.sum(axis=1, keepdims=True)
    k = KValues(
        c.k.values * np.exp(posterior.state[factors]),
        of_k,
        tuple("calibrated jointly" for _ in c.elements),
        c.k.scale,
    )
    return replace(
        c,
        weight_fractions=values,
        covariance=noise,
        systematic=rest,
        critical_levels=c.critical_levels * moved,
        detection_limits=c.detection_limits * moved,
        k=k,
        absorption=shares,
        film=Film(mass / (density * MASS_THICKNESS), density, p.take_off_angle) if mass else None,
        relative_systematic=np.hypot(of_k, of_absorption * (1 - shares)),
        unbounded=values + (unbounded - c.weight_fractions) * moved,
        model=None,
        by_ratios=None,
        film_ends=None,
        identification_ends=ends,
    )


def _by_factors(
    c: Composition, k: np.ndarray, attenuation: np.ndarray, shares: np.ndarray
) -> np.ndarray:
    """How k-factors and film alone change each fraction, as a factor: limits change likewise."""
    by_element = np.exp(k + attenuation * (1 - shares)) * c.absorption / shares
    amount_map = np.eye(len(by_element)) if c.amount_map is None else c.amount_map
    seen = c.k.values * np.maximum(c.fit.amplitudes[list(c.columns)], 0.0)
    return np.asarray(
        by_element * (amount_map @ seen).sum() / (amount_map @ (seen * by_element)).sum()
    )


def _shared_noise(
    compositions: Mapping[str, Composition], subtracted: Mapping[tuple[str, str], float]
) -> dict[tuple[str, str], np.ndarray]:
    """Covariance of the amounts of a grain and of what was subtracted from its mixture."""
    out = {}
    for (grain, matrix), scale in subtracted.items():
        if grain not in compositions or matrix not in compositions:
            continue
        a, b = compositions[grain], compositions[matrix]
        if a.fit.spectrum.axis != b.fit.spectrum.axis:
            continue
        first, second = (
            (c.k.values * c.absorption)[:, None] * c.fit.operator[list(c.columns)] for c in (a, b)
        )
        variance = np.asarray(b.fit.spectrum.variance)
        out[grain, matrix] = -scale * (first * variance) @ second.T
    return out
