"""What a joint calibration found: numbers beside what was known before, each constraint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from siftem.errors import InputError
from siftem.minerals.constraints import Constraint, InEachMap
from siftem.minerals.joint_model import SLOPES, Layout, in_map
from siftem.minerals.joint_posterior import Posterior, constraint_numbers, moments
from siftem.printed_numbers import significant


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


def film_of(posterior: Posterior, i: int) -> Calibrated:
    """Return the mass thickness of a phase, kg/m2."""
    layout: Layout = posterior.layout
    name = layout.phases[i].name
    mean, _, covariance = moments(
        posterior, lambda z: layout.mass(i, z)[:, None], columns=layout.unknowns(i)
    )
    base, spread = layout.film[name]
    place = np.hypot(*layout.positions.get(name, (0.0, 0.0)))
    own = np.hypot(_width(layout, f"film of {name}"), layout.widths["slope"] * place)
    return Calibrated(
        float(mean[0]), float(covariance[0, 0] ** 0.5), base, float(np.hypot(spread, base * own))
    )


def k_factor_of(posterior: Posterior, family: str) -> Calibrated:
    """Return the factor on the k-factor of a family."""
    log, sigma = _unknown(posterior, f"k of {family}")
    value = float(np.exp(log))
    return Calibrated(value, value * sigma, 1.0, _width(posterior.layout, f"k of {family}"))


def ferric_of(posterior: Posterior, phase: str) -> Calibrated:
    """Return Fe3+/Fe of a phase."""
    name = f"Fe3+/Fe of {phase}"
    share, sigma = _unknown(posterior, name)
    value = float(np.clip(0.5 + share, 0.0, 1.0))
    return Calibrated(value, sigma, 0.5, _width(posterior.layout, name))


def instrument_of(posterior: Posterior) -> dict[str, Calibrated]:
    """Return slopes of the film, window and dead layer, as far as they were free."""
    layout: Layout = posterior.layout
    widths = layout.widths
    told = 1.0 if any(p.window_told for p in layout.phases) else 0.0
    nm = layout.phases[0].dead_layer_nm
    slopes = [in_map(name, m) for m in layout.maps for name in SLOPES]
    free = dict.fromkeys(slopes, (0.0, widths["slope"]))
    if any(p.window.any() for p in layout.phases):
        free["window"] = (told, widths["window"])
    if any(p.dead_layer.any() for p in layout.phases):
        free["dead layer, nm"] = (nm, widths["dead layer"])

    def numbers(z: np.ndarray) -> np.ndarray:
        steep = [widths["slope"] * z[:, layout.index(name)] for name in slopes]
        return np.stack([*steep, told + layout.window(z), nm + layout.dead_layer(z)], axis=1)

    columns = [layout.index(name) for name in (*slopes, "window", "dead layer")]
    mean, _, covariance = moments(posterior, numbers, columns=columns)
    found = zip((*slopes, "window", "dead layer, nm"), mean, np.diag(covariance), strict=True)
    return {
        name: Calibrated(float(value), float(variance**0.5), *free[name])
        for name, value, variance in found
        if name in free and free[name][1] > 0
    }


def _unknown(posterior: Posterior, name: str) -> tuple[float, float]:
    """Mean and standard deviation of an unknown."""
    i = posterior.layout.index(name)
    mean, _, covariance = moments(posterior, lambda z: z[:, [i]], columns=[i])
    return float(mean[0]), float(covariance[0, 0] ** 0.5)


def _width(layout: Layout, name: str) -> float:
    i = layout.index(name)
    return float(layout.covariance[i, i] ** 0.5)


#: How often one of the constraints is told to disagree where all of them hold.
FALSE_ALARMS = 0.05
#: How often one that is false may be missed where it is said to be told surely.
MISSED = 0.05
#: Draws by which it is found from where on a pull is told.
_DRAWS = 40_000


@dataclass(frozen=True)
class ConstraintResult:
    """How a constraint went with all others.

    Parameters
    ----------
    text, phase : str
    target, sigma : float
        What is known.
    before, after : float
        The number by the uncalibrated and by the calibrated compositions.
    pull : float
        How far what is known lies from what all else says, in standard deviations of both.
    spread : float
        These standard deviations together, in the unit of the number.
    bits : float
        Information that would be lost without it; 0 for one that was held out.
    told_from : float
        The pull from which on it is told: where all constraints hold, one or more of them lie
        beyond in `FALSE_ALARMS` of all calibrations (of those that were held out: likewise).
    held_out : bool
        Whether it only checks a phase that took no part in the calibration.
    """

    text: str
    phase: str
    target: float
    sigma: float
    before: float
    after: float
    pull: float
    spread: float
    bits: float
    told_from: float
    held_out: bool = False

    @property
    def disagrees(self) -> bool:
        """Whether it lies farther from what all else says than chance would have it."""
        return abs(self.pull) > self.told_from

    @property
    def shows_from(self) -> float:
        """How far off the truth is when that is told in half of all calibrations.

        ``told_from`` times ``spread``. What is known of a phase and off by less is mostly taken for
        true, whatever it does to the rest.
        """
        return self.told_from * self.spread

    @property
    def sure_from(self) -> float:
        """How far off the truth is when that is missed in only `MISSED` of all calibrations."""
        return (self.told_from + NormalDist().inv_cdf(1 - MISSED)) * self.spread

    @property
    def off_by(self) -> tuple[str, str]:
        """`shows_from` and `sure_from` in percent of what is known; at% of an absent element."""
        half, sure = (_off(x, self.target) for x in (self.shows_from, self.sure_from))
        return half, sure

    @property
    def unnoticed(self) -> str:
        """By how much the truth may be off without being noticed, as a sentence."""
        half, sure = self.off_by
        return (
            f"if the truth is off by less than {half}, that mostly goes unnoticed; from {sure} on "
            f"it is told in {100 * (1 - MISSED):.0f}% of calibrations"
        )


def told_from(correlation: np.ndarray) -> float:
    """Return the size of a pull that only `FALSE_ALARMS` of sets of true constraints reach.

    Each pull is the likelihood ratio of its constraint with a shift of its own to that without; of
    several that are correlated, the largest counts.

    Parameters
    ----------
    correlation : ndarray of shape (c, c)
        Of the pulls.
    """
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    draws = np.random.default_rng(0).standard_normal((_DRAWS, len(root))) @ root.T
    return float(np.quantile(np.abs(draws).max(axis=1, initial=0.0), 1 - FALSE_ALARMS))


def constraint_results(
    posterior: Posterior, used: Sequence[Constraint], held: Sequence[Constraint]
) -> tuple[ConstraintResult, ...]:
    """Return how each constraint went, those that were held out last.

    What was said of a phase in several maps is told for each map, and then for all together: in one
    map it is off from the others, or in all of them alike.
    """
    each, together = np.eye(len(used)), _together(used)
    pulls = np.concatenate([each, *together])
    # What is left of the misfits in units of their widths, and its covariance.
    free = np.array([c.sigma for c in used]) / posterior.spread
    left = posterior.pull_correlation * np.outer(free, free)
    scale = np.sqrt(np.einsum("ti,ij,tj->t", pulls, left, pulls))
    pull = pulls @ (posterior.pull * free) / scale
    beyond = told_from(pulls @ left @ pulls.T / np.outer(scale, scale)) if used else 0.0
    out = []
    for row, p, s in zip(pulls, pull, scale, strict=True):
        own = np.flatnonzero(row)
        c = used[own[0]]
        alone = len(own) == 1
        known = c if alone or not isinstance(c, InEachMap) else c.known
        lost = float(np.linalg.slogdet(left[np.ix_(own, own)])[1])
        out.append(
            ConstraintResult(
                known.describe() + ("" if alone else " (all maps)"), known.phase, c.target,
                _whole_width(c), float(posterior.before[own].mean()),
                float(posterior.after[own].mean()), float(p), c.sigma / float(s),
                -0.5 * lost / float(np.log(2)), beyond,
            )
        )  # fmt: skip
    return (*out, *_held_results(posterior, held))


def _together(used: Sequence[Constraint]) -> list[np.ndarray]:
    """Which constraints say the same of several maps; one row for each such group."""
    groups: dict[str, list[int]] = {}
    for j, c in enumerate(used):
        if isinstance(c, InEachMap):
            groups.setdefault(c.departure, []).append(j)
    return [np.isin(np.arange(len(used)), own)[None].astype(float) for own in groups.values()]


def _whole_width(c: Constraint) -> float:
    return c.known.sigma if isinstance(c, InEachMap) else c.sigma


def _off(by: float, target: float) -> str:
    """A departure in percent of what is known, or of all atoms where that is zero."""
    return (
        f"{significant(100 * by / abs(target), 2)}%"
        if target
        else (f"{significant(100 * by, 2)} at%")
    )


def _held_results(posterior: Posterior, held: Sequence[Constraint]) -> list[ConstraintResult]:
    """How far what is known of phases that were held out lies from what was predicted."""
    layout = posterior.layout
    names = {p.name for p in layout.phases}
    for c in held:
        if c.phase not in names:
            raise InputError(f"{c.describe()}: {c.phase!r} is none of the phases")

    def numbers(z: np.ndarray) -> np.ndarray:
        return constraint_numbers(layout, held, z)

    if not held:
        return []
    after, _, covariance = moments(posterior, numbers)
    covariance = covariance + np.diag([c.sigma**2 for c in held])
    spread = np.sqrt(np.diag(covariance))
    beyond = told_from(covariance / np.outer(spread, spread))
    before = numbers(np.zeros((1, len(posterior.state))))[0]
    return [
        ConstraintResult(
            c.describe(), c.phase, c.target, _whole_width(c), float(before[j]), float(after[j]),
            float((c.target - after[j]) / spread[j]), float(spread[j]), 0.0, beyond, True,
        )
        for j, c in enumerate(held)
    ]  # fmt: skip
