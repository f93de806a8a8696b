"""Joint calibration of simulated maps with wrong k-factors and an unknown film.

    python validation/minerals_calibrate.py [MAPS [SCATTER]]

Each map has three phases (bridgmanite, ferropericlase, Ca-perovskite of O, Mg, Si, Ca, Fe) in
one film of 20 to 220 nm whose thickness is not told. Their spectra are simulated with counting
noise, and quantified with k-factors that are wrong by factors of a normal density of 15%, the
width that is told. Phases are off their stoichiometry by 0.5% of each element (SCATTER), the
width of the constraints being 1%. Told are, over all elements above 1 at%:

- the median error of at% before, and with all three phases calibrated;
- how many 95% intervals hold the truth;
- Ca-perovskite held out: its median error before and as predicted, and the intervals that hold;
- with a phase that is off by 5% in O while its constraints say 0.5%: the largest disagreement.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.errors import SiftemWarning
from siftem.minerals.constraints import ChargeBalance, Constraint, KnownStoichiometry
from siftem.minerals.joint_calibration import calibrate_jointly
from siftem.quantify.composition import Composition, quantify
from siftem.quantify.k_values import GivenKFactors
from siftem.simulate.phases import PhaseModel
from siftem.simulate.spectra import Microscope, phase_spectrum
from siftem.spectrum import Spectrum
from siftem.xray.elements import atomic_weight
from siftem.xray.k_factors import k_factor_family

ELEMENTS = ("O", "Mg", "Si", "Ca", "Fe")
ATOMS = {
    "Brg": {"O": 3.0, "Mg": 0.86, "Si": 1.0, "Ca": 0.03, "Fe": 0.11},
    "Fp": {"O": 1.0, "Mg": 0.8, "Fe": 0.2},
    "Ca-Pv": {"O": 3.0, "Ca": 0.95, "Si": 1.0, "Mg": 0.03, "Fe": 0.02},
}
DENSITIES = {"Brg": 4.25, "Fp": 4.1, "Ca-Pv": 4.4}
COUNTS = {"Brg": 3e6, "Fp": 1e6, "Ca-Pv": 1e6}
WIDTH, SCATTER = 0.15, 0.005
AXIS = EnergyAxis(0.0, 0.01, 1500)


def constraints(sigma: float = 0.01) -> list[Constraint]:
    """What is known: charges, and one site of each phase."""
    return [
        *(ChargeBalance(phase=n, sigma=sigma) for n in ATOMS),
        KnownStoichiometry(phase="Brg", ratio="(Mg+Fe+Ca)/Si", sigma=sigma),
        KnownStoichiometry(phase="Ca-Pv", ratio="(Mg+Fe+Ca)/Si", sigma=sigma),
    ]


def simulated(
    seed: int, *, scatter: float = SCATTER, lacking: str = ""
) -> tuple[dict[str, Composition], dict[str, np.ndarray]]:
    """Compositions of the phases of a map as quantified, and true atomic fractions."""
    rng = np.random.default_rng(seed)
    wrong = {
        e: float(f) for e, f in zip(ELEMENTS, np.exp(WIDTH * rng.standard_normal(5)), strict=True)
    }
    k = {e: k_factor_family(e, "K", 200.0) * wrong[e] for e in ELEMENTS}
    given = GivenKFactors(
        k,
        line="family",
        detector="apart",
        reference="Si",
        relative_sigma=dict.fromkeys(ELEMENTS, WIDTH),
    )
    thickness = float(rng.uniform(20, 220))
    found, truth = {}, {}
    for name, ideal in ATOMS.items():
        atoms = np.array([ideal.get(e, 0.0) for e in ELEMENTS])
        atoms = atoms * np.exp(scatter * rng.standard_normal(5))
        if name == lacking:
            atoms[0] *= 0.95
        truth[name] = atoms / atoms.sum()
        weights = atoms * [atomic_weight(e) for e in ELEMENTS]
        weights = weights / weights.sum()
        model = PhaseModel(
            name, dict(zip(ELEMENTS, weights.tolist(), strict=True)), DENSITIES[name]
        )
        mean = phase_spectrum(model, AXIS, Microscope(thickness=thickness))
        seen = rng.poisson(mean / mean.sum() * COUNTS[name]).astype(float)
        spectrum = Spectrum(
            seen, AXIS, name=name, acquisition=Acquisition(beam_energy=200.0, take_off_angle=22.0)
        )
        found[name] = quantify(
            spectrum, list(ELEMENTS), support=["Cu"], k_factors=given, warn_above=None
        )
    return found, truth


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    scatter = float(sys.argv[2]) if len(sys.argv) > 2 else SCATTER
    warnings.simplefilter("ignore", SiftemWarning)
    errors: dict[str, list[float]] = {}
    held: dict[str, list[bool]] = {}

    def judged(label: str, c: Composition, true: np.ndarray) -> None:
        ends = c.atomic_interval_95
        for i, value in enumerate(true):
            if value > 0.01:
                errors.setdefault(label, []).append(abs(c.atomic_fractions[i] - value))
                held.setdefault(label, []).append(bool(ends[i, 0] <= value <= ends[i, 1]))

    told: dict[str, list[float]] = {n: [] for n in ATOMS}
    said: list[float] = []
    for seed in range(n):
        found, truth = simulated(seed, scatter=scatter)
        whole = calibrate_jointly(found, constraints(), densities=DENSITIES)
        apart = calibrate_jointly(found, constraints(), densities=DENSITIES, held_out=["Ca-Pv"])
        for name, c in found.items():
            judged("before", c, truth[name])
            judged("calibrated", whole.compositions[name], truth[name])
        judged("Ca-Pv before", found["Ca-Pv"], truth["Ca-Pv"])
        judged("Ca-Pv held out", apart.compositions["Ca-Pv"], truth["Ca-Pv"])
        said += [r.pull for r in whole.constraints]
        if scatter != SCATTER:
            continue
        lacking = list(ATOMS)[seed % 3]
        false, _ = simulated(seed, lacking=lacking)
        pulls = calibrate_jointly(false, constraints(0.005), densities=DENSITIES).constraints
        told[lacking].append(max(abs(r.pull) for r in pulls))
        if seed % 20 == 19:
            print(f"{seed + 1} maps", flush=True)
    print("| | median error, at% | 95% intervals that hold |\n|---|---|---|")
    for label, values in errors.items():
        print(f"| {label} | {100 * np.median(values):.2f} | {100 * np.mean(held[label]):.1f}% |")
    print(
        f"\npulls of true constraints: spread {np.std(said):.2f}, beyond 3: "
        f"{100 * np.mean(np.abs(said) > 3):.2f}%"
    )
    for name, far in told.items():
        if far:
            print(
                f"5% of O missing in {name}: largest disagreement {np.median(far):.1f} sigma "
                f"(median), beyond 3 in {100 * np.mean(np.array(far) > 3):.0f}% of maps"
            )


if __name__ == "__main__":
    main()
