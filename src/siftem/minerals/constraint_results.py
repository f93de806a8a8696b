"""How each constraint of a joint calibration went with all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siftem.errors import InputError
from siftem.minerals.constraints import Constraint
from siftem.minerals.joint_posterior import Posterior, moments

#: How often one of the constraints is told to disagree where all of them hold.
FALSE_ALARMS = 0.05
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
        """How far off the truth may be before it is told: ``told_from`` times ``spread``.

        What is known of a phase and off by less is taken for true, whatever it does to the rest.
        """
        return self.told_from * self.spread


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
    """Return how each constraint went, those that were held out last."""
    beyond = told_from(posterior.pull_correlation)
    out = [
        ConstraintResult(
            c.describe(), c.phase, c.target, c.sigma, float(posterior.before[j]),
            float(posterior.after[j]), float(posterior.pull[j]), float(posterior.spread[j]),
            float(posterior.bits[j]), beyond,
        )
        for j, c in enumerate(used)
    ]  # fmt: skip
    return (*out, *_held_results(posterior, held))


def _held_results(posterior: Posterior, held: Sequence[Constraint]) -> list[ConstraintResult]:
    """How far what is known of phases that were held out lies from what was predicted."""
    layout = posterior.layout
    by_name = {p.name: p for p in layout.phases}
    for c in held:
        if c.phase not in by_name:
            raise InputError(f"{c.describe()}: {c.phase!r} is none of the phases")

    def numbers(z: np.ndarray) -> np.ndarray:
        found = layout.compositions(z, {c.phase for c in held})
        return np.stack(
            [
                c.value(
                    by_name[c.phase].elements,
                    by_name[c.phase].as_atoms(found[c.phase][0]),
                    layout.ferric(c.phase, z),
                )
                for c in held
            ],
            axis=1,
        )

    if not held:
        return []
    after, _, covariance = moments(posterior, numbers)
    covariance = covariance + np.diag([c.sigma**2 for c in held])
    spread = np.sqrt(np.diag(covariance))
    beyond = told_from(covariance / np.outer(spread, spread))
    before = numbers(np.zeros((1, len(posterior.state))))[0]
    return [
        ConstraintResult(
            c.describe(), c.phase, c.target, c.sigma, float(before[j]), float(after[j]),
            float((c.target - after[j]) / spread[j]), float(spread[j]), 0.0, beyond, True,
        )
        for j, c in enumerate(held)
    ]  # fmt: skip
