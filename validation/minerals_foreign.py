"""Names of phases whose spectra come from physics that siftem does not use.

    python -m validation.minerals_foreign [PHASES]
    SIFTEM_OTHER_PHANTOMS=other.py python -m validation.minerals_foreign

Phases drawn from the table make spectra of a million counts in a film of 100 nm by
`validation.foreign_physics`, or by another program with the functions of the first. They are
quantified with k-factors from standards on the same instrument, as a user calibrates them, the
thickness told, and named with the whole table. Told is how often the top answer's formulas hold
the true composition, within three and a half standard deviations of natural scatter; how often
the name is the very one that was drawn (phases of one composition can't be parted); how often
"none of these" is said of a phase that is there, and of one that was taken out of the table with
all that lie within five standard deviations.
"""

from __future__ import annotations

import os
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import validation.foreign_physics as physics
from validation.foreign_k_factors import DENSITY, k_factors
from validation.foreign_phantoms import THICKNESS, other_standard, standard
from validation.minerals_identify import exact, true_atoms, without

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError, SiftemWarning
from siftem.minerals.identification import identify
from siftem.minerals.phase_library import shipped_phases
from siftem.minerals.structural_formula import Analysis
from siftem.quantification.composition import quantify
from siftem.quantification.k_values import GivenKFactors
from siftem.spectrum import Spectrum

COUNTS = 1e6
#: The other program's axis and take-off angle are those of its file.
OTHER_ANGLE = 22.0


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    warnings.simplefilter("ignore", SiftemWarning)
    other = "SIFTEM_OTHER_PHANTOMS" in os.environ
    spectrum = other_standard if other else standard
    table = shipped_phases()
    rng = np.random.default_rng(23)
    right = named = denied = missed = cases = 0
    while cases < n:
        phase = table[int(rng.integers(len(table)))]
        elements, atoms = true_atoms(phase, rng)
        weights = exact(elements, atoms).weight_fractions
        there = {e: float(w) for e, w in zip(elements, weights, strict=True) if w > 0}
        expected = spectrum(there)
        counts = rng.poisson(expected * COUNTS / expected.sum()).astype(float)
        about = Acquisition(
            beam_energy=physics.BEAM_ENERGY,
            take_off_angle=OTHER_ANGLE if other else physics.TAKE_OFF_ANGLE,
            resolution=physics.TOLD_RESOLUTION,
        )
        axis = EnergyAxis(0.0, physics.CHANNEL_WIDTH, len(counts), "keV")
        told = SimpleNamespace(
            name="other_x" if other else "x",
            elements=elements,
            energies=axis.centers,
            beam_energy=about.beam_energy,
            take_off_angle=about.take_off_angle,
            resolution=about.resolution,
        )
        try:
            k = k_factors(told)
            factors = GivenKFactors(
                values={n.split()[0]: v for n, v in k["values"].items()},
                relative_sigma={n.split()[0]: v for n, v in k["relative_sigma"].items()},
                shells={n.split()[0]: n.split()[1] for n in k["values"] if " " in n},
                reference=k["reference"],
                line=k["line"],
                detector=k["detector"],
            )
            c = quantify(
                Spectrum(counts, axis, name=phase.name, acquisition=about),
                list(elements),
                thickness=THICKNESS,
                density=DENSITY,
                k_factors=factors,
                warn_above=None,
            )
        except (InputError, ValueError) as error:  # an element without a line on the axis
            print(f"{phase.name}: left out: {error}")
            continue
        cases += 1
        found = identify(c)
        top = [p for p in table if p.name == found.best]
        held = identify(exact(elements, atoms), table=top) if top else None
        good = held is not None and bool(held.candidates) and held.candidates[0].distance < 3.5
        right, named, denied = right + good, named + (found.best == phase.name), denied + (not top)
        left = without(table, Analysis.of(c), found)
        missed += identify(c, table=left).best is not None
        if not good:
            print(f"{phase.name}: {found}", flush=True)
    print(
        f"{cases} phases: formulas right {100 * right / cases:.1f}%, "
        f"name {100 * named / cases:.1f}%, none said of a phase that is there "
        f"{100 * denied / cases:.1f}%, of one taken out {100 * (1 - missed / cases):.1f}%"
    )


if __name__ == "__main__":
    main()
