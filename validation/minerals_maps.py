"""Joint calibration at the end of the whole road: simulated maps, wrong k-factors, unknown film.

    python -m validation.minerals_maps [MAPS]

Each map is the simulated model case (bridgmanite, ferropericlase and Ca-perovskite that overlap,
40 x 40 pixels, 600 counts a pixel); components, regions, subtraction and spectra are found as in
any run, anchors are those of the demo. k-factors are wrong by factors of 15%, the width that is
told, and the film is not told. What is known are ratios of sites and of O in the phases, each off
its true value by its width of 1%. Told are, over all elements above 1 at%, the median error of at%
as quantified and calibrated, and how many 95% intervals hold the truth; and the same of
Ca-perovskite, held out in a second calibration.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from siftem.errors import SiftemWarning
from siftem.minerals.joint_calibration import JointCalibration
from siftem.pipeline.minerals import joint_calibration
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.starting_recipe import demo_recipe
from siftem.pipeline.workflow import run
from siftem.quantification.composition import Composition
from siftem.quantification.minerals import parse_ratio
from siftem.simulate.spectra import MODEL_CASE
from siftem.xray.elements import atomic_weight
from siftem.xray.k_factors import k_factor_family

SHELLS = dict.fromkeys(("O", "Mg", "Al", "Si", "Ca", "Fe"), "K") | dict.fromkeys(
    ("Nd", "Sm", "Hf", "Lu", "U"), "L"
)
ELEMENTS = tuple(SHELLS)
WIDTH, KNOWN = 0.15, 0.01
RATIOS = {
    "Brg": ("(Mg+Fe+Ca+Al/2)/(Si+Al/2)", "O/Si"),
    "Fp": ("(Mg+Fe)/O",),
    "Ca-Pv": ("(Ca+Mg+Fe+Nd+Sm+Lu+U)/(Si+Al+Hf)", "O/Si"),
}


def true_atoms() -> dict[str, np.ndarray]:
    """Atomic fractions of the phases of the model case."""
    out = {}
    for phase in MODEL_CASE:
        weights = dict(phase.weight_fractions)
        atoms = np.array([weights.get(e, 0.0) / atomic_weight(e) for e in ELEMENTS])
        out[phase.name] = atoms / atoms.sum()
    return out


def known(truth: dict[str, np.ndarray], rng: np.random.Generator) -> list[dict[str, Any]]:
    """What is known of the phases as a recipe has it, each off by its width."""
    out: list[dict[str, Any]] = []
    for phase, ratios in RATIOS.items():
        for ratio in ratios:
            top, bottom = parse_ratio(ratio, ELEMENTS)
            true = float((truth[phase] @ top) / (truth[phase] @ bottom))
            value = true * (1 + KNOWN * float(rng.standard_normal()))
            out.append({"phase": phase, "ratio": ratio, "value": value, "sigma": KNOWN * true})
    return out


def recipe_of(seed: int, truth: dict[str, np.ndarray]) -> dict[str, Any]:
    """The demo with wrong k-factors, and a film that is not told."""
    rng = np.random.default_rng(seed)
    recipe = demo_recipe(shape=(40, 40), dose=600.0, random_state=seed)
    data = recipe.model_dump(mode="json", exclude_none=True)
    wrong = np.exp(WIDTH * rng.standard_normal(len(ELEMENTS))).tolist()
    names = {e: e if shell == "K" else f"{e} {shell}" for e, shell in SHELLS.items()}
    data["quantify"].pop("thickness")
    data["quantify"]["k_factors"] = {
        "values": {
            names[e]: k_factor_family(e, SHELLS[e], 200.0) * w
            for e, w in zip(ELEMENTS, wrong, strict=True)
        },
        "relative_sigma": dict.fromkeys(names.values(), WIDTH),
        "line": "family",
        "detector": "apart",
        "reference": "Si",
    }
    # Nothing of these is asked here.
    data |= {"unmix": {"run": False}, "identify": False}
    data["calibrate"] = {"constraints": known(truth, rng)}
    return data


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    warnings.simplefilter("ignore", SiftemWarning)
    truth = true_atoms()
    errors: dict[str, list[float]] = {}
    held: dict[str, list[bool]] = {}

    def judged(label: str, phase: str, c: Composition) -> None:
        ends = c.atomic_interval_95
        for i, element in enumerate(c.elements):
            true = float(truth[phase][ELEMENTS.index(element)])
            if true > 0.01 and element not in c.assumed_absent:
                errors.setdefault(label, []).append(abs(float(c.atomic_fractions[i]) - true))
                held.setdefault(label, []).append(bool(ends[i, 0] <= true <= ends[i, 1]))

    for seed in range(n):
        data = recipe_of(seed, truth)
        result = run(make_recipe(data))
        whole = joint_calibration(result)
        data["calibrate"]["hold_out"] = ["Ca-Pv"]
        apart = joint_calibration(replace(result, recipe=make_recipe(data)))
        if not (isinstance(whole, JointCalibration) and isinstance(apart, JointCalibration)):
            print(f"map {seed}: not calibrated: {whole}")
            continue
        for phase in truth:
            judged("as quantified", phase, result.compositions[phase])
            judged("calibrated", phase, whole.compositions[phase])
        judged("Ca-Pv, as quantified", "Ca-Pv", result.compositions["Ca-Pv"])
        judged("Ca-Pv held out, predicted", "Ca-Pv", apart.compositions["Ca-Pv"])
        if seed % 20 == 19 or seed == n - 1:
            print(f"{seed + 1} maps", flush=True)
            print_table(errors, held)


def print_table(errors: dict[str, list[float]], held: dict[str, list[bool]]) -> None:
    """One row for each kind of composition."""
    print("| | median error, at% | 95% intervals that hold |\n|---|---|---|")
    for label, values in errors.items():
        print(
            f"| {label} | {100 * np.median(values):.2f} | {100 * np.mean(held[label]):.1f}% of "
            f"{len(values)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
