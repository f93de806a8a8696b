"""One instrument calibrated by several maps, each in a film of its own that nobody told.

    python -m validation.minerals_several_maps [SETS]

Sets of two to five maps of one instrument, as in ``minerals_calibrate``: k-factors that are wrong
by factors of 15% and attenuation by 12%, the same in all maps of a set; films of 20 to 220 nm, each
uneven by 10%. What is known of a phase is off by its 1%, nine tenths of whose variance is the same
in all maps of a set, as `siftem.calibrate_maps` takes it; each element scatters besides by 0.8%
from map to map. Told are median errors and intervals of each map as quantified, calibrated on its
own, and with all others; the same of Ca-perovskite, held out in all maps; those of the k-factors
(of ratios to Si) and films, whose errors come last; and how often a true constraint is told.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
from validation.minerals_calibrate import (
    ATOMS,
    CHARGES,
    DENSITIES,
    ELEMENTS,
    KNOWN,
    SCATTER,
    constraints,
    drawn_instrument,
    spectrum_of,
)

from siftem.errors import SiftemWarning
from siftem.minerals.calibration_results import Calibrated
from siftem.minerals.joint_calibration import EVENNESS, JointCalibration, calibrate_jointly
from siftem.minerals.several_maps import ALIKE, calibrate_maps, phase_in
from siftem.quantification.composition import Composition, quantify
from siftem.quantification.k_values import GivenKFactors
from siftem.xray.elements import atomic_weight
from siftem.xray.k_factors import k_factor_family


class DrawnSet:
    """Maps of one instrument, and the truth behind them."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 5])
        self.given, tables = drawn_instrument(rng)
        names = [f"map {i + 1}" for i in range(2 + seed % 4)]
        common = {n: rng.standard_normal(2) for n in ATOMS}
        self.found: dict[str, dict[str, Composition]] = {}
        self.truth: dict[str, np.ndarray] = {}
        self.films: dict[str, float] = {}
        for of in names:
            film = float(rng.uniform(20, 220))
            self.found[of] = {}
            for phase in ATOMS:
                off = np.sqrt(ALIKE) * common[phase] + np.sqrt(1 - ALIKE) * rng.standard_normal(2)
                atoms = drawn_phase(phase, 1 + KNOWN * off, rng)
                own = film * max(1 + EVENNESS * float(rng.standard_normal()), 0.1)
                weights = atoms * [atomic_weight(e) for e in ELEMENTS]
                name = phase_in(of, phase)
                self.truth[name] = atoms
                self.films[name] = own * DENSITIES[phase] * 1e-6
                self.found[of][phase] = quantify(
                    spectrum_of(weights / weights.sum(), phase, own, tables, rng),
                    list(ELEMENTS),
                    support=["Cu"],
                    k_factors=self.given,
                    warn_above=None,
                )


def drawn_phase(name: str, off: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Atomic fractions of a phase whose charges and sites are off by given factors."""
    ideal = np.array([ATOMS[name].get(e, 0.0) for e in ELEMENTS])
    atoms = ideal * np.exp(SCATTER * rng.standard_normal(len(ELEMENTS)))
    large = np.isin(ELEMENTS, ("Mg", "Ca", "Fe"))
    silicon = atoms[ELEMENTS.index("Si")]
    if silicon:
        atoms[large] *= off[1] * silicon / atoms[large].sum()
    atoms[0] = atoms @ CHARGES / 2 / off[0]
    return np.asarray(atoms / atoms.sum())


class Scores:
    """Errors, whether 95% intervals hold, and errors in standard deviations, by label."""

    def __init__(self) -> None:
        self.of: dict[str, list[tuple[float, bool, float]]] = {}

    def composition(self, label: str, c: Composition, true: np.ndarray) -> None:
        """Judge all elements above 1 at%."""
        ends = c.atomic_interval_95
        sigma = np.sqrt(np.diag(c.atomic_covariance + c.atomic_systematic))
        for i in np.flatnonzero(true > 0.01):
            off = float(c.atomic_fractions[i] - true[i])
            held = bool(ends[i, 0] <= true[i] <= ends[i, 1])
            self.of.setdefault(label, []).append((100 * abs(off), held, off / sigma[i]))

    def k_factors(self, label: str, joint: JointCalibration, given: GivenKFactors) -> None:
        """Judge ratios to Si, in percent."""
        layout = joint.posterior.layout
        for e in ELEMENTS:
            if e == "Si":
                continue
            true = np.log(k_factor_family(e, "K", 200.0) / given.values[e])
            true -= np.log(k_factor_family("Si", "K", 200.0) / given.values["Si"])
            ratio = np.log(joint.k_factors[f"{e} K"].value / joint.k_factors["Si K"].value)
            a, b = (joint.k_factors[f"{x} K"] for x in (e, "Si"))
            assert f"k of {e} K" in layout.names
            shared = joint.correlation(f"k of {e} K", "k of Si K")
            first, second = a.sigma / a.value, b.sigma / b.value
            sigma = np.sqrt(first**2 + second**2 - 2 * shared * first * second)
            self.number(label, 100 * (ratio - true), 100 * sigma)

    def film(self, label: str, film: Calibrated, true: float) -> None:
        """Judge a film, in percent."""
        self.number(label, 100 * (film.value - true) / true, 100 * film.sigma / true)

    def number(self, label: str, off: float, sigma: float) -> None:
        """Judge a number with its error."""
        z = off / sigma
        self.of.setdefault(label, []).append((abs(off), abs(z) < 1.96, z))

    def print(self) -> None:
        """One row for each label."""
        print("| | median error | 95% intervals that hold | rms of values over sigma |")
        print("|---|---|---|---|")
        for label, values in self.of.items():
            off, held, far = np.array(values).T
            print(
                f"| {label} | {np.median(off):.2f} | {100 * np.mean(held):.1f}% of {len(off)} | "
                f"{np.sqrt(np.mean(far**2)):.2f} |",
                flush=True,
            )


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 80
    warnings.simplefilter("ignore", SiftemWarning)
    scores, alarms = Scores(), []
    for seed in range(n):
        drawn = DrawnSet(seed)
        known = constraints()
        together = calibrate_maps(drawn.found, known, densities=DENSITIES)
        apart = calibrate_maps(drawn.found, known, densities=DENSITIES, held_out=["Ca-Pv"])
        alarms.append(any(r.disagrees for r in together.constraints))
        scores.k_factors("k over that of Si, %, together", together, drawn.given)
        for of, phases in drawn.found.items():
            alone = calibrate_jointly(phases, known, densities=DENSITIES)
            held = calibrate_jointly(phases, known, densities=DENSITIES, held_out=["Ca-Pv"])
            scores.k_factors("k over that of Si, %, alone", alone, drawn.given)
            for phase, c in phases.items():
                name = phase_in(of, phase)
                true = drawn.truth[name]
                scores.composition("as quantified, at%", c, true)
                scores.composition("each map alone, at%", alone.compositions[phase], true)
                scores.composition("all maps together, at%", together.compositions[name], true)
                scores.film("film, alone, %", alone.film[phase], drawn.films[name])
                scores.film("film, together, %", together.film[name], drawn.films[name])
            name = phase_in(of, "Ca-Pv")
            true = drawn.truth[name]
            scores.composition("Ca-Pv held out, alone, at%", held.compositions["Ca-Pv"], true)
            scores.composition("Ca-Pv held out, together, at%", apart.compositions[name], true)
        if seed % 8 == 7 or seed == n - 1:
            print(f"{seed + 1} sets; true constraints told in {100 * np.mean(alarms):.1f}%")
            scores.print()


if __name__ == "__main__":
    main()
