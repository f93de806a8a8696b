"""Joint calibration with the detector's window, its dead layer and a plane of film as unknowns.

    python -m validation.minerals_instrument [MAPS]

As ``minerals_calibrate``, with computed k-factors that are wrong by their own widths (10%), in two
kinds of maps of three phases each:

- a polymer window that was told, 20% thicker or thinner;
- a window that nobody told, anything up to a polymer one and more (half a normal density of .58);

and in both a dead layer off by 15 nm of its 30, and a film of 20 to 220 nm that is not told, with
slopes of 30% across the map, in which the phases lie anywhere. Told are errors and intervals as
there, those of Ca-perovskite that was held out, with and without these unknowns, and how often
window, dead layer and slopes lie in theirs.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace

import numpy as np
from validation.minerals_calibrate import (
    ATOMS,
    ATTENUATION,
    DENSITIES,
    ELEMENTS,
    MICROSCOPE,
    constraints,
    drawn_atoms,
    spectrum_of,
)

from siftem.errors import SiftemWarning
from siftem.minerals.joint_calibration import EVENNESS, calibrate_jointly
from siftem.minerals.joint_model import SLOPES
from siftem.quantification.composition import Composition, quantify
from siftem.xray.detector import BARE, POLYMER, Detector
from siftem.xray.elements import atomic_weight
from siftem.xray.k_factors import k_factor_uncertainty

SLOPE, DEAD, TOLD, UNTOLD = 0.3, 15.0, 0.2, 0.58


class DrawnMap:
    """Three phases behind a detector that is not as it was told."""

    def __init__(self, seed: int, *, told: bool) -> None:
        rng = np.random.default_rng(seed)
        normal = rng.standard_normal
        emission = -k_factor_uncertainty("K") * normal(5)
        tables = ATTENUATION * normal(5)
        film = float(rng.uniform(20, 220))
        self.slopes = SLOPE * normal(2)
        self.dead = max(30.0 + DEAD * float(normal()), 0.0)
        drawn = float(normal())
        self.window = max(1 + TOLD * drawn, 0.0) if told else abs(UNTOLD * drawn)
        layers = tuple((m, nm * self.window, *rest) for m, nm, *rest in POLYMER)
        detector = replace(
            MICROSCOPE.detector,
            window=layers if told else (*BARE, *layers),
            dead_layer=self.dead,
        )
        assumed = Detector(window=POLYMER if told else None)
        self.options = {
            "densities": DENSITIES,
            "window_sigma": TOLD if told else None,
            "dead_layer_sigma": DEAD,
            "slope_sigma": SLOPE,
            "positions": {n: tuple(rng.uniform(-0.5, 0.5, 2).tolist()) for n in ATOMS},
        }
        self.found: dict[str, Composition] = {}
        self.truth: dict[str, np.ndarray] = {}
        for name in ATOMS:
            atoms = drawn_atoms(name, rng)
            self.truth[name] = atoms / atoms.sum()
            weights = atoms * [atomic_weight(e) for e in ELEMENTS]
            own = film * (1 + self.slopes @ np.array(self.options["positions"][name]))
            own *= 1 + EVENNESS * float(normal())
            spectrum = spectrum_of(
                weights / weights.sum(), name, max(own, 5.0), tables, rng,
                emission=emission, microscope=replace(MICROSCOPE, detector=detector),
            )  # fmt: skip
            self.found[name] = quantify(
                spectrum, list(ELEMENTS), support=["Cu"], detector=assumed, warn_above=None
            )

    def true_instrument(self) -> dict[str, float]:
        """What a calibration should find."""
        return {
            **dict(zip(SLOPES, self.slopes.tolist(), strict=True)),
            "window": self.window,
            "dead layer, nm": self.dead,
        }


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    warnings.simplefilter("ignore", SiftemWarning)
    for told in (True, False):
        errors: dict[str, list[float]] = {}
        held: dict[str, list[bool]] = {}
        far: dict[str, list[float]] = {}
        narrower: dict[str, list[float]] = {}

        def judged(label: str, c: Composition, true: np.ndarray, errors=errors, held=held) -> None:
            ends = c.atomic_interval_95
            for i, value in enumerate(true):
                if value > 0.01:
                    errors.setdefault(label, []).append(abs(c.atomic_fractions[i] - value))
                    held.setdefault(label, []).append(bool(ends[i, 0] <= value <= ends[i, 1]))

        for seed in range(n):
            drawn = DrawnMap(seed, told=told)
            known = constraints()
            whole = calibrate_jointly(drawn.found, known, **drawn.options)
            apart = calibrate_jointly(drawn.found, known, held_out=["Ca-Pv"], **drawn.options)
            blind = calibrate_jointly(
                drawn.found, known, densities=DENSITIES, window_sigma=0.0, held_out=["Ca-Pv"]
            )
            for name, c in drawn.found.items():
                judged("as quantified", c, drawn.truth[name])
                judged("calibrated", whole.compositions[name], drawn.truth[name])
            judged("Ca-Pv, as quantified", drawn.found["Ca-Pv"], drawn.truth["Ca-Pv"])
            judged("Ca-Pv held out, predicted", apart.compositions["Ca-Pv"], drawn.truth["Ca-Pv"])
            judged(
                "the same without these unknowns", blind.compositions["Ca-Pv"], drawn.truth["Ca-Pv"]
            )
            for name, true in drawn.true_instrument().items():
                c = whole.instrument[name]
                far.setdefault(name, []).append((c.value - true) / c.sigma)
                narrower.setdefault(name, []).append(c.sigma / c.sigma_before)
            if seed % 20 == 19:
                print(f"{seed + 1} maps", flush=True)
        print(f"\nwindow {'told' if told else 'not told'}, {n} maps")
        print("| | median error, at% | 95% intervals that hold |\n|---|---|---|")
        for label, values in errors.items():
            print(
                f"| {label} | {100 * np.median(values):.2f} | {100 * np.mean(held[label]):.1f}% of "
                f"{len(values)} |"
            )
        for name, z in far.items():
            print(
                f"{name}: {100 * np.mean(np.abs(z) < 1.96):.1f}% in 1.96 sigma, rms "
                f"{np.std(z):.2f}, width over that before {np.median(narrower[name]):.2f}"
            )
        print(flush=True)


if __name__ == "__main__":
    main()
