"""The real 71 GPa map, calibrated jointly: what was held out, and what was found.

    python validation/minerals_71gpa.py [RUN]

Needs the map (``siftem example 71gpa``); with RUN, the folder of a run of
``examples/71gpa_calibrated.yaml`` or ``71gpa.yaml``, its compositions are taken. It prints

- names proposed for the measured compositions;
- calibrated on bridgmanite and ferropericlase, Ca-perovskite held out: its ratios before and as
  predicted, with counting and all other errors, and how far what is known of it lies;
- calibrated on bridgmanite alone, and on it and Ca-perovskite, ferropericlase held out: (Mg+Fe)/O
  as predicted;
- (Mg+Fe)/O of ferropericlase with its total error when it takes part;
- k-factors and film found, beside what was computed and told, and Fe3+/Fe of bridgmanite.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np

from siftem.errors import SiftemWarning
from siftem.minerals.constraints import (
    ChargeBalance,
    Constraint,
    KnownStoichiometry,
)
from siftem.minerals.identification import identify
from siftem.minerals.joint_calibration import JointCalibration, calibrate_jointly
from siftem.minerals.joint_posterior import state_slopes
from siftem.minerals.structural_formula import structural_formula
from siftem.pipeline.recipe import read_recipe
from siftem.pipeline.store import open_run
from siftem.pipeline.subtraction import matrix_in
from siftem.pipeline.workflow import run
from siftem.quantification.composition import Composition
from siftem.quantification.minerals import parse_ratio

RECIPE = Path(__file__).resolve().parents[1] / "examples" / "71gpa.yaml"
DENSITIES = {"Brg": 4.25, "Fp": 4.1, "Ca-Pv": 4.4}
WIDTH = 0.01
#: Both sites of bridgmanite, Al on both.
B_SITE = "(Mg+Fe+Ca+Al/2)/(Si+Al/2)"
#: All that is large on the A site of Ca-perovskite, and what it needs of Si and Al.
A_SITE = "(Ca+Mg+Fe+Nd+Sm+Lu+U)/(Si+Al+Hf)"
RATIOS = {
    "Brg": ("(Mg+Fe+Ca)/(Si+Al)", "(Mg+Fe+Ca+Al/2)/(Si+Al/2)", "Si/O"),
    "Fp": ("(Mg+Fe)/O", "Mg/(Mg+Fe)"),
    "Ca-Pv": ("(Ca+Mg+Fe)/(Si+Al)", A_SITE, "O/(Si+Al)"),
}


def known(*phases: str) -> list[Constraint]:
    """Charges of phases to 1%, their sites to 2 and 3%."""
    every: list[Constraint] = [
        KnownStoichiometry(phase="Brg", ratio=B_SITE, sigma=0.02),
        ChargeBalance(phase="Brg", iron="free", sigma=WIDTH),
        ChargeBalance(phase="Fp", sigma=WIDTH),
        ChargeBalance(phase="Ca-Pv", sigma=WIDTH),
        KnownStoichiometry(phase="Ca-Pv", ratio=A_SITE, sigma=0.03),
    ]
    return [c for c in every if c.phase in phases]


def said(c: Composition, ratio: str) -> str:
    q = c.ratio(ratio)
    total = np.hypot(q.sigma, q.systematic or 0.0)
    return f"{q.value:.3f} +- {q.sigma:.3f} +- {q.systematic:.3f} (total {total:.3f})"


def sources_of(found: JointCalibration, phase: str, ratio: str) -> dict[str, float]:
    """Standard deviations of a calibrated ratio by what they come from."""
    posterior = found.posterior
    layout = posterior.layout
    (p,) = (p for p in layout.phases if p.name == phase)
    top, bottom = parse_ratio(ratio, p.elements)

    def number(z: np.ndarray) -> np.ndarray:
        atoms = p.as_atoms(layout.compositions(z)[phase][0])
        return np.asarray((atoms @ top) / (atoms @ bottom))[:, None]

    slopes, _ = state_slopes(posterior, number)
    left = slopes - slopes @ posterior.gain @ posterior.slopes
    own = [j for j, name in enumerate(layout.names) if name.endswith(f" of {phase}")]
    parts = {key: float((left @ v @ left.T)[0, 0]) for key, v in layout.sources.items()}
    noise = layout.sources["noise"][np.ix_(own, own)]
    parts["noise of its own spectrum"] = float((left[:, own] @ noise @ left[:, own].T)[0, 0])
    whole = float((slopes @ posterior.covariance @ slopes.T)[0, 0])
    parts["widths of constraints"] = whole - sum(
        v for key, v in parts.items() if key in layout.sources
    )
    return {key: float(np.sqrt(max(v, 0.0))) for key, v in {**parts, "in all": whole}.items()}


def told(title: str, found: JointCalibration, before: dict[str, Composition]) -> None:
    print(f"\n{title}")
    for name, ratios in RATIOS.items():
        for ratio in ratios:
            print(
                f"  {name} {ratio}: {said(before[name], ratio)} -> "
                f"{said(found.compositions[name], ratio)}"
            )
    for line in found.describe().splitlines():
        print(f"  {line}")


def main() -> None:
    warnings.simplefilter("ignore", SiftemWarning)
    result = open_run(sys.argv[1]) if len(sys.argv) > 1 else run(read_recipe(RECIPE))
    before = {n: result.compositions[n] for n in DENSITIES}
    print("names")
    for name, c in before.items():
        print(f"  {name}: {identify(c)}")
        print(f"  {name}, lower mantle: {identify(c, settings=['deep'])}")
    common = {
        "densities": DENSITIES,
        "thickness_sigma": 0.3,
        "subtracted": {(n, "Brg"): matrix_in(n, result.pure, "Brg") for n in ("Fp", "Ca-Pv")},
    }
    found = calibrate_jointly(before, known("Brg", "Fp", "Ca-Pv"), held_out=["Ca-Pv"], **common)
    told("calibrated on Brg and Fp, Ca-Pv held out", found, before)
    brg = structural_formula(found.compositions["Brg"], "perovskite")
    print(
        f"  Brg: {brg}; Fe3+/Fe by its cations {brg.numbers['Fe3+/Fe']}, 95% "
        f"{brg.numbers['Fe3+/Fe'].interval_95}"
    )
    found = calibrate_jointly(before, known("Brg", "Fp"), held_out=["Fp"], **common)
    told("calibrated on Brg alone, Fp held out", found, before)
    told_sources(found)
    found = calibrate_jointly(before, known("Brg", "Fp", "Ca-Pv"), held_out=["Fp"], **common)
    told("calibrated on Brg and Ca-Pv, Fp held out", found, before)
    told_sources(found)


def told_sources(found: JointCalibration) -> None:
    print("  errors of the predicted (Mg+Fe)/O by their source")
    for source, sigma in sources_of(found, "Fp", "(Mg+Fe)/O").items():
        print(f"    {source}: {sigma:.3f}")


if __name__ == "__main__":
    main()
