"""How each constraint of a joint calibration went with all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siftem.errors import InputError
from siftem.minerals.constraints import Constraint
from siftem.minerals.joint_model import MeasuredPhase
from siftem.minerals.joint_posterior import Posterior, state_slopes

#: Constraints that disagree by more standard deviations are told.
DISAGREES = 2.5


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
    held_out: bool = False

    @property
    def shows_from(self) -> float:
        """How far off the truth may be before it is told: `DISAGREES` times ``spread``.

        What is known of a phase and off by less is taken for true, whatever it does to the rest.
        """
        return DISAGREES * self.spread


def constraint_results(
    posterior: Posterior, used: Sequence[Constraint], held: Sequence[Constraint]
) -> tuple[ConstraintResult, ...]:
    """Return how each constraint went, those that were held out last."""
    out = [
        ConstraintResult(
            c.describe(), c.phase, c.target, c.sigma, float(posterior.before[j]),
            float(posterior.after[j]), float(posterior.pull[j]), float(posterior.spread[j]),
            float(posterior.bits[j]),
        )
        for j, c in enumerate(used)
    ]  # fmt: skip
    layout = posterior.layout
    by_name = {p.name: p for p in layout.phases}
    for c in held:
        if c.phase not in by_name:
            raise InputError(f"{c.describe()}: {c.phase!r} is none of the phases")
        p = by_name[c.phase]

        def number(z: np.ndarray, c: Constraint = c, p: MeasuredPhase = p) -> np.ndarray:
            atoms = p.as_atoms(layout.compositions(z)[p.name][0])
            return c.value(p.elements, atoms, layout.ferric(p.name, z))[:, None]

        slopes, after = state_slopes(posterior, number)
        spread = np.sqrt(float((slopes @ posterior.covariance @ slopes.T)[0, 0]) + c.sigma**2)
        before = float(number(np.zeros((1, len(posterior.state))))[0, 0])
        out.append(
            ConstraintResult(
                c.describe(), c.phase, c.target, c.sigma, before, float(after[0]),
                float((c.target - after[0]) / spread), float(spread), 0.0, True,
            )
        )  # fmt: skip
    return tuple(out)
