"""Names of simulated compositions: how often right, "none of these", and what a probability means.

    python validation/minerals_identify.py [COMPOSITIONS]

500 compositions at three noise levels are drawn from the phases of the table, with a natural
scatter of 1% about their formulas, two elements besides that are absent, counting errors and
errors of k-factors (factors of each element, known only by their widths). Told are:

- held: how often the top answer's formulas hold the true composition (phases of one composition
  can't be parted by it), and how often it is the very name that was drawn;
- not held: the phase that was drawn, and all whose formulas come within five standard deviations
  of the composition, are taken out of the table; how often "none of these" is the answer;
- the calibration curve: in each class of probability, how often that name was the one that was
  drawn, when a tenth of the compositions are of no phase, as the prior says.
"""

from __future__ import annotations

import sys

import numpy as np

from siftem.minerals.compared_compositions import UNSEEN
from siftem.minerals.identification import NONE_PRIOR, identify
from siftem.minerals.phase_library import Phase, shipped_phases
from siftem.minerals.structural_formula import Analysis
from siftem.xray.elements import atomic_weight

#: Relative standard deviations: counting, k-factors.
LEVELS = {"1%, 2%": (0.01, 0.02), "1%, 5%": (0.01, 0.05), "2%, 10%": (0.02, 0.10)}
SPARE = ("O", "Si", "Fe", "Al", "Ca", "Ti")
CLASSES = (
    (0.005, 0.05),
    (0.05, 0.2),
    (0.2, 0.4),
    (0.4, 0.6),
    (0.6, 0.8),
    (0.8, 0.95),
    (0.95, 1.01),
)


def true_atoms(phase: Phase, rng: np.random.Generator) -> tuple[tuple[str, ...], np.ndarray]:
    """Elements that are measured, and atomic fractions of a composition of the phase."""
    own = [e for e in phase.elements if e not in UNSEEN]
    if not own:
        own = list(phase.elements)
    elements = (*own, *[e for e in SPARE if e not in own][:2])
    atoms = phase.atoms(phase.shares(1, rng), elements)[0]
    return elements, atoms / atoms.sum()


def measured(
    elements: tuple[str, ...], atoms: np.ndarray, level: tuple[float, float],
    rng: np.random.Generator,
) -> Analysis:  # fmt: skip
    """What is measured of a composition, and its covariances as they would be told."""
    counting, factors = level
    weights = np.array([atomic_weight(e) for e in elements])
    true = atoms * weights / (atoms @ weights)
    size = len(elements)
    sigma = counting * np.sqrt(np.maximum(true, 1e-3) * 0.3)
    seen = (true + sigma * rng.standard_normal(size)) * np.exp(factors * rng.standard_normal(size))
    seen = seen / seen.sum()
    closed = np.eye(size) - seen[:, None]
    noise = counting * np.sqrt(np.maximum(seen, 1e-3) * 0.3)
    by_factor = closed * (factors * seen)
    return Analysis(
        "simulated", elements, seen, (closed * noise**2) @ closed.T, by_factor @ by_factor.T
    )


def exact(elements: tuple[str, ...], atoms: np.ndarray) -> Analysis:
    """The true composition without errors."""
    weights = atoms * np.array([atomic_weight(e) for e in elements])
    n = len(elements)
    return Analysis("true", elements, weights / weights.sum(), np.zeros((n, n)))


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    table = shipped_phases()
    print("| counting, k-factors | formulas right | name right | of no phase: none | "
          "cases |\n|---|---|---|---|---|")  # fmt: skip
    said: list[tuple[float, bool]] = []
    for label, level in LEVELS.items():
        rng = np.random.default_rng(17)
        right, named, none, cases = 0, 0, 0, 0
        for _ in range(n):
            phase = table[int(rng.integers(len(table)))]
            elements, atoms = true_atoms(phase, rng)
            atoms = atoms * np.exp(0.01 * rng.standard_normal(len(atoms)))
            seen = measured(elements, atoms / atoms.sum(), level, rng)
            found = identify(seen)
            said += [(c.probability, c.name == phase.name) for c in found.candidates]
            said.append((found.none, False))
            if found.best is not None:
                named += found.best == phase.name
                top = [p for p in table if p.name == found.best]
                held = identify(exact(elements, atoms), table=top)
                right += bool(held.candidates) and held.candidates[0].distance < 3.5
            others = without(table, seen, found)
            cases += 1
            none += identify(seen, table=others).best is None
            if rng.random() < NONE_PRIOR / (1 - NONE_PRIOR):
                far = np.maximum(atoms * np.exp(0.25 * rng.standard_normal(len(atoms))), 0.0)
                far = np.abs(far + 0.02 * rng.standard_normal(len(atoms)))
                found = identify(measured(elements, far / far.sum(), level, rng))
                said += [(c.probability, False) for c in found.candidates]
                said.append((found.none, True))
        print(f"| {label} | {100 * right / n:.1f}% | {100 * named / n:.1f}% | "
              f"{100 * none / cases:.1f}% | {n} |", flush=True)  # fmt: skip
    print("\n| probability said | mean | true | answers |\n|---|---|---|---|")
    for low, high in CLASSES:
        inside = [(p, t) for p, t in said if low <= p < high]
        if inside:
            p, t = np.mean(inside, axis=0)
            print(f"| {100 * low:.3g} to {min(100 * high, 100):.3g}% | {100 * p:.1f}% | "
                  f"{100 * t:.1f}% | {len(inside)} |")  # fmt: skip


def without(table: tuple[Phase, ...], seen: Analysis, found) -> list[Phase]:
    """The table without what comes within five standard deviations of a composition."""
    left = list(table)
    while True:
        near = [c.name for c in found.candidates if c.distance < 5]
        if not near:
            return left
        left = [p for p in left if p.name not in near]
        found = identify(seen, table=left)


if __name__ == "__main__":
    main()
