"""One calibration of k-factors and film for all phases of a map, by what is known of them.

What it found is told beside what was known before.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from siftem.errors import InputError, SiftemWarning
from siftem.minerals.calibration_results import (
    Calibrated,
    ConstraintResult,
    constraint_results,
    ferric_of,
    film_of,
    instrument_of,
    k_factor_of,
)
from siftem.minerals.constraints import Constraint
from siftem.minerals.joint_model import layout_of
from siftem.minerals.joint_posterior import (
    Posterior,
    constrained_posterior,
    moments,
    phase_fractions,
)
from siftem.minerals.measured_phase import MeasuredPhase
from siftem.quantification.composition import Composition
from siftem.quantification.film import MASS_THICKNESS, Film
from siftem.quantification.k_values import KValues
from siftem.views import outline

#: Mass attenuation of soft lines differs by this much between tables (relative).
_ATTENUATION_SIGMA = 0.12
#: Spread of an even film from phase to phase (relative): pores, grains that end within it.
EVENNESS = 0.1
#: A window that nobody told: half a normal density, hardly ever thicker than a polymer one.
_UNTOLD_WINDOW = 0.58


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
    instrument : dict of str to Calibrated
        What was free of the slopes of the film (relative, across the map's longer side), the
        detector's window (thickness over that of the one that was told, or over that of a polymer
        one) and its dead layer (nm).
    constraints : tuple of ConstraintResult
    posterior : Posterior
        State and covariance of all unknowns, with their correlations.
    """

    __repr__ = outline

    compositions: dict[str, Composition]
    k_factors: dict[str, Calibrated]
    film: dict[str, Calibrated]
    ferric: dict[str, Calibrated]
    instrument: dict[str, Calibrated]
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
        _, _, of = moments(self.posterior, lambda z: z[:, [i, j]], columns=[i, j])
        scale = np.sqrt(of[0, 0] * of[1, 1])
        return float(of[0, 1] / scale) if scale > 0 else 0.0

    def of_map(self, name: str) -> dict[str, Composition]:
        """Return the compositions of one of several maps, by its phases."""
        start = f"{name}: "
        own = {n: c for n, c in self.compositions.items()
               if self.posterior.layout.map_of[n] == name}  # fmt: skip
        if not own:
            raise InputError(f"no map {name!r}; there are {', '.join(self.posterior.layout.maps)}")
        return {n.removeprefix(start): c for n, c in own.items()}

    def describe(self) -> str:
        """Return constraints, k-factors and film as text."""
        lines = [
            f"{c.text}: {c.before:.4g} before, {c.after:.4g} after, {c.pull:+.1f} sigma from all "
            f"else" + (" (held out)" if c.held_out else f", {c.bits:.1f} bits") + f"; {c.unnoticed}"
            for c in self.constraints
        ]
        lines += [f"k of {name}: factor {k}" for name, k in self.k_factors.items()]
        lines += [f"film of {name}: {m} kg/m2" for name, m in self.film.items()]
        lines += [f"{name}: {found}" for name, found in self.instrument.items()]
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
    positions: Mapping[str, tuple[float, float]] | None = None,
    slope_sigma: float = 0.0,
    window_sigma: float | None = None,
    dead_layer_sigma: float = 0.0,
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
        Of phases of one map, quantified with the same k-factors; of several maps see
        `siftem.calibrate_maps`.
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
    positions : mapping of str to (float, float), optional
        Place (y, x) of each phase's region, from the middle of the map, over its longer side: from
        -0.5 to 0.5. The film is a plane where ``slope_sigma`` is not 0.
    slope_sigma : float
        Standard deviation of the film's relative change of thickness across the longer side.
    window_sigma : float, optional
        Relative standard deviation of the thickness of the detector's window; where no window was
        told, that of half a normal density of polymer windows. Given k-factors were measured
        through it and stay. By default 0 where it was told, else .58: a polymer one at most.
    dead_layer_sigma : float
        Standard deviation of the detector's dead layer, nm.

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
        When a constraint disagrees with all else by more than chance would have it in 5% of
        calibrations.

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
    return calibration_of(
        compositions,
        constraints,
        Circumstances(
            tuple(held_out), densities or {}, thickness_sigma, evenness, positions or {},
            slope_sigma, window_sigma, dead_layer_sigma,
        ),
        subtracted or {},
    )  # fmt: skip


@dataclass(frozen=True)
class Circumstances:
    """What `calibrate_jointly` is told besides compositions and constraints, of all phases.

    See there; ``map_of`` is the map of each phase where there are several, and ``departures`` are
    the names of what is off in all of them alike.
    """

    held_out: tuple[str, ...]
    densities: Mapping[str, float]
    thickness_sigma: float
    evenness: float
    positions: Mapping[str, tuple[float, float]]
    slope_sigma: float
    window_sigma: float | None
    dead_layer_sigma: float
    map_of: Mapping[str, str] | None = None
    departures: tuple[str, ...] = ()

    def check(self, names: Collection[str]) -> None:
        """Look whether all fits to phases of these names.

        Raises
        ------
        InputError
            In one sentence, when it does not.
        """
        if not names:
            raise InputError("a joint calibration needs the composition of at least one phase")
        for name in self.held_out:
            if name not in names:
                raise InputError(
                    f"{name!r} is to be held out, but the phases are {', '.join(names)}"
                )
        for label in ("thickness_sigma", "evenness"):
            value = getattr(self, label)
            if not 0 <= value < 1:
                raise InputError(f"{label} is relative and must lie between 0 and 1, got {value}")
        for label in ("slope_sigma", "window_sigma", "dead_layer_sigma"):
            value = getattr(self, label) or 0.0
            if not 0 <= value < np.inf:
                raise InputError(f"{label} must not be negative, got {value}")
        missing = [name for name in names if name not in self.positions]
        if self.slope_sigma > 0 and missing:
            raise InputError(
                f"a film that is a plane needs the place of each phase: that of {missing[0]} is "
                f"missing"
            )


def posterior_of(
    phases: Sequence[MeasuredPhase],
    constraints: Sequence[Constraint],
    known: Circumstances,
    shared_noise: Mapping[tuple[str, str], np.ndarray],
) -> tuple[Posterior, tuple[ConstraintResult, ...]]:
    """Return the posterior of all unknowns of phases, and how each constraint went."""
    known.check([p.name for p in phases])
    window_sigma = known.window_sigma
    if window_sigma is None:
        window_sigma = 0.0 if any(p.window_told for p in phases) else _UNTOLD_WINDOW
    layout = layout_of(
        phases,
        attenuation_sigma=_ATTENUATION_SIGMA,
        thickness_sigma=known.thickness_sigma,
        evenness=known.evenness,
        densities=known.densities,
        shared_noise=shared_noise,
        positions=known.positions,
        slope_sigma=known.slope_sigma,
        window_sigma=window_sigma,
        dead_layer_sigma=known.dead_layer_sigma,
        map_of=known.map_of,
        departures=known.departures,
    )
    used = [c for c in constraints if c.phase not in known.held_out]
    posterior = constrained_posterior(layout, used)
    held = [c for c in constraints if c.phase in known.held_out]
    return posterior, constraint_results(posterior, used, held)


def calibration_of(
    compositions: Mapping[str, Composition],
    constraints: Sequence[Constraint],
    known: Circumstances,
    subtracted: Mapping[tuple[str, str], float],
) -> JointCalibration:
    """Do what `calibrate_jointly` and `siftem.calibrate_maps` have in common."""
    phases = [MeasuredPhase.of(name, c) for name, c in compositions.items()]
    posterior, results = posterior_of(
        phases, constraints, known, shared_noise_of(compositions, subtracted)
    )
    for r in results:
        if r.disagrees:
            what = "what was predicted" if r.held_out else "all else"
            warnings.warn(
                f"{r.text}: disagrees with {what} by {r.pull:+.1f} sigma: it may not hold, or "
                f"another constraint does not",
                SiftemWarning,
                stacklevel=3,
            )
    used = [c for c in constraints if c.phase not in known.held_out]
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
        k_factors={f: k_factor_of(posterior, f) for f in posterior.layout.families},
        film={p.name: film_of(posterior, i) for i, p in enumerate(phases)},
        ferric={n: ferric_of(posterior, n) for n in compositions if n in free},
        instrument=instrument_of(posterior),
        constraints=results,
        posterior=posterior,
    )


def _calibrated(c: Composition, i: int, posterior: Posterior, widths: np.ndarray) -> Composition:
    """The composition with calibrated values, and errors of noise and all else apart."""
    layout = posterior.layout
    p = layout.phases[i]
    values, noise, rest = phase_fractions(posterior, i, widths)
    columns = layout.unknowns(i)
    shares = moments(
        posterior, lambda z: layout.compositions(z, {p.name})[p.name][1], columns=columns
    )[0]
    factors = [layout.index(f"k of {f}") for f in p.families]
    absorbed = [layout.index(f"absorption of {f}") for f in p.families]
    k_logs, _, of_k = moments(
        posterior, lambda z: z[:, factors] + layout.detector_loss(p, z), columns=columns
    )
    logs, _, of_absorption = moments(posterior, lambda z: z[:, absorbed], columns=columns)
    moved = _by_factors(c, k_logs, logs, shares)
    unbounded = c.weight_fractions if c.unbounded is None else c.unbounded
    mass = film_of(posterior, i).value
    density = c.film.density if c.film is not None else 1.0
    ends, stand_ins = (_moved(e, moved) for e in (c.identification_ends, c.stand_in_ends))
    k = KValues(
        c.k.values * np.exp(k_logs),
        np.sqrt(np.diag(of_k)),
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
        relative_systematic=np.sqrt(np.diag(of_k) + np.diag(of_absorption) * (1 - shares) ** 2),
        unbounded=values + (unbounded - c.weight_fractions) * moved,
        model=None,
        by_ratios=None,
        film_ends=None,
        identification_ends=ends,
        stand_in_ends=stand_ins,
    )


def _moved(ends: np.ndarray | None, by: np.ndarray) -> np.ndarray | None:
    """Fractions (ends, n) times factors on amounts."""
    if ends is None:
        return None
    amounts = ends * by
    return np.asarray(amounts / amounts.sum(axis=1, keepdims=True))


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


def shared_noise_of(
    compositions: Mapping[str, Composition], subtracted: Mapping[tuple[str, str], float]
) -> dict[tuple[str, str], np.ndarray]:
    """Return the covariance of the amounts of a grain and of what was subtracted for it."""
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
