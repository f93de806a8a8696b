"""How often are absent elements called found as counts grow? About 5% are wanted.

    python -m validation.false_detections [--draws 60] [--counts 3e4,3e5,3e6]

Spectra of films by physics that siftem does not use (`validation.foreign_physics`), with the
elements of the film and absent ones beside them: an amount above its critical level is a false
detection. A limit of counting alone would be passed by more and more of them as counts grow, since
what the model of the spectrum can't describe grows with them.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
from validation.foreign_physics import (
    BEAM_ENERGY,
    CHANNEL_WIDTH,
    N_CHANNELS,
    TAKE_OFF_ANGLE,
    TOLD_RESOLUTION,
    Material,
    film_spectrum,
)

import siftem
from siftem.errors import SiftemWarning

#: Films on a copper grid, and what is asked for but is not in them.
FILMS = (
    (Material("silicate", {"O": 40, "Mg": 18, "Si": 12, "Fe": 2, "Cu": 1}, 3.3),
     "Al P S Ca Co Ni Zn"),
    (Material("Ni alloy", {"Ni": 60, "Cr": 20, "Fe": 12, "Mo": 4, "Cu": 1}, 8.3),
     "Al Si S Ti Mn Co Nb"),
    (Material("titanate", {"O": 60, "Ti": 20, "Ca": 12, "Sr": 8, "Cu": 1}, 4.5),
     "Mg Al Si V Sc Ba La"),
)  # fmt: skip


def shares(material: Material, absent: list[str], counts: float, draws: int) -> dict[str, float]:
    """Share of the draws in which each absent element is called found."""
    expected = film_spectrum(material, 100.0)
    expected *= counts / expected.sum()
    axis = siftem.EnergyAxis(0.0, CHANNEL_WIDTH, N_CHANNELS, "keV")
    told = siftem.Acquisition(
        beam_energy=BEAM_ENERGY, take_off_angle=TAKE_OFF_ANGLE, resolution=TOLD_RESOLUTION
    )
    own = [e for e in material.atoms if e != "Cu"]
    found = np.zeros((draws, len(absent)))
    for i in range(draws):
        drawn = np.random.default_rng([i, int(counts)]).poisson(expected).astype(float)
        composition = siftem.quantify(
            siftem.Spectrum(drawn, axis, acquisition=told),
            [*own, *absent],
            support=["Cu"],
            thickness=100.0,
            density=material.density,
            warn_above=None,
        )
        found[i] = [composition.found[composition.index(e)] for e in absent]
    return dict(zip(absent, found.mean(axis=0).tolist(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--counts", default="3e4,3e5,3e6")
    args = parser.parse_args()
    warnings.simplefilter("ignore", SiftemWarning)
    print("| film | counts | found of those absent | of which |\n|---|---|---|---|")
    for material, absent in FILMS:
        for counts in map(float, args.counts.split(",")):
            of = shares(material, absent.split(), counts, args.draws)
            mean = np.mean(list(of.values()))
            each = ", ".join(f"{e} {100 * s:.0f}" for e, s in of.items())
            print(f"| {material.name} | {counts:.0e} | {100 * mean:.1f}% | {each} |", flush=True)


if __name__ == "__main__":
    main()
