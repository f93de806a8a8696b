"""Traces in the matrix of the real 71 GPa map must not depend on how they are measured.

    python validation/trace_stability.py

Needs the map (``siftem example 71gpa``). Nd, Sm, Hf, Lu and U in bridgmanite, atomic percent with
their errors (counting and model), under choices that must not matter: terms of the continuum,
range of energies, margin around grains, elements of the support in or out, halves of the counts
and of the region. The last column is the largest change over the larger of both errors, and whose.

Margins are those of a recipe: faint rims of grains, which a run finds and leaves out, stay left
out. The row without rims shows what they are left out for.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from siftem.errors import SiftemWarning
from siftem.pipeline.recipe import read_recipe
from siftem.pipeline.workflow import run
from siftem.quantification.composition import Composition, quantify
from siftem.segment.regions import Region
from siftem.spectrum import Spectrum
from siftem.unmixing.integrate import integrate

RECIPE = Path(__file__).resolve().parents[1] / "examples" / "71gpa.yaml"
TRACES = ("Nd", "Sm", "Hf", "Lu", "U")
FILM = {"thickness": 100.0, "density": 4.25}


def main() -> None:
    warnings.simplefilter("ignore", SiftemWarning)
    recipe = read_recipe(RECIPE)
    result = run(recipe)
    regions, si = result.segmentation.regions, result.spectrum_image
    elements, support = list(recipe.elements), list(recipe.support)
    matrix = integrate(si, regions.pure, name="Brg")

    def of(spectrum: Spectrum, **change) -> Composition:
        arguments = {"support": support, **FILM, **change}
        return quantify(spectrum, elements, warn_above=None, **arguments)

    reference = of(matrix)
    line("as it is", reference, reference)
    for terms in (3, 4, 5, 8):
        line(f"{terms} terms of the continuum", of(matrix, n_continuum=terms), reference)
    for low, high in ((0.25, 12.0), (0.4, 20.0), (0.25, 16.0)):
        line(f"{low} to {high} keV", of(matrix, energy_range=(low, high)), reference)
    for margin in (0, 1, 2, 3):
        other = replace(regions, margin=margin)
        line(f"margin of {margin} pixels", of(integrate(si, other.pure, name="Brg")), reference)
    bare = replace(regions, margin=0, excluded=None)
    line("margin of 0, rims left in", of(integrate(si, bare.pure, name="Brg")), reference)
    for out in ("Co", "Zr", "Pt", "Ga"):
        rest = [e for e in support if e != out]
        line(f"without {out}", of(matrix, support=rest), reference)
    for more in (["Cl"], ["Pb"], ["Cl", "Pb", "Zn", "Mn"]):
        line(f"with {', '.join(more)}", of(matrix, support=[*support, *more]), reference)
    drawn = np.random.default_rng(0).binomial(matrix.values.astype(int), 0.5).astype(float)
    for i, half in enumerate((drawn, matrix.values - drawn)):
        spectrum = replace(matrix, values=half, variance=half)
        line(f"half {i + 1} of the counts", of(spectrum), reference)
    across = np.arange(si.shape[1]) < si.shape[1] // 2
    pure = np.asarray(regions.pure.mask)
    down = (np.arange(si.shape[0]) < si.shape[0] // 2)[:, None]
    stripes = np.arange(si.shape[1]) % 2 == 0
    for name, part in (
        ("left", pure & across),
        ("right", pure & ~across),
        ("upper", pure & down),
        ("lower", pure & ~down),
        ("even columns'", pure & stripes),
        ("odd columns'", pure & ~stripes),
    ):
        spectrum = integrate(si, Region("Brg", part), name="Brg")
        line(f"{name} half of the region", of(spectrum), reference)


def line(label: str, c: Composition, reference: Composition) -> None:
    cells, moved = [], []
    sigma = np.sqrt(np.diag(c.atomic_covariance))
    errors = np.sqrt(np.diag(reference.atomic_covariance))
    for element in TRACES:
        i, r = c.index(element), reference.index(element)
        cells.append(f"{100 * c.atomic_fractions[i]:.4f} +- {100 * sigma[i]:.4f}")
        change = c.atomic_fractions[i] - reference.atomic_fractions[r]
        # Where the counts differ, so may the values, by the noise that is not shared.
        moved.append(abs(change) / max(errors[r], sigma[i]))
    farthest = int(np.argmax(moved))
    print(f"| {label} | " + " | ".join(cells) + f" | {moved[farthest]:.1f} {TRACES[farthest]} |",
          flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
