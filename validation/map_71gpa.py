"""The real 71 GPa map: what the phases' compositions must fulfil, and what decides it.

    python validation/map_71gpa.py

Needs the map (``siftem example 71gpa``). Runs the recipe of ``examples/71gpa.yaml`` for its
regions, then quantifies by :func:`siftem.subtract` (plain and weighted sums), and by
:func:`siftem.unmix`. It prints, with counting errors and, in brackets, the systematic ones
of k-factors and attenuation:

- ferropericlase: Si and (Mg+Fe)/O;
- bridgmanite: A/B, with Al on the B site or half on each, against thickness, continuum terms
  and place in the map (places chosen with one half of the counts, measured with the other);
- Ca-perovskite: A/B with the anchor "no Mg", which assumes nothing of it;
- partition coefficients between Ca-perovskite and bridgmanite;
- the thickness from charge balance.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from siftem.errors import SiftemWarning
from siftem.pipeline.recipe import read_recipe
from siftem.pipeline.workflow import run
from siftem.quantification.charge_balance import thickness_from_charge_balance
from siftem.quantification.composition import Composition, quantify
from siftem.quantification.film import AbsorbingFilm, Film
from siftem.quantification.partition import partition_coefficient
from siftem.spectrum import Spectrum
from siftem.unmixing.anchors import Absent
from siftem.unmixing.constrained import unmix
from siftem.unmixing.integrate import integrate, weighted_mixtures
from siftem.unmixing.subtract import subtract

RECIPE = Path(__file__).resolve().parents[1] / "examples" / "71gpa.yaml"
THICKNESS = 100.0
DENSITY = {"Brg": 4.25, "Fp": 4.1, "Ca-Pv": 4.4}
A_OVER_B = "(Ca+Mg+Fe)/(Si+Al)"
#: With Al for Mg and Si at once, as MgSiO3-Al2O3 has it.
AL_ON_BOTH = "(Mg+Fe+Ca+Al/2)/(Si+Al/2)"


def said(c: Composition, ratio: str) -> str:
    q = c.ratio(ratio)
    return f"{q.value:.3f} +- {q.sigma:.3f} ({c.ratio_systematic(ratio):.2f})"


def main() -> None:
    warnings.simplefilter("ignore", SiftemWarning)
    recipe = read_recipe(RECIPE)
    result = run(recipe)
    regions, si = result.segmentation.regions, result.spectrum_image
    elements, support = list(recipe.elements), list(recipe.support)
    matrix = integrate(si, regions.pure, name="Brg")

    def of(spectrum: Spectrum, phase: str, **change) -> Composition:
        settings = {"thickness": THICKNESS, "density": DENSITY[phase], **change}
        return quantify(spectrum, elements, support=support, warn_above=None, **settings)

    brg = of(matrix, "Brg")
    calibration = brg.fit.calibration
    print(f"{regions}\n\nBridgmanite, {matrix.n_pixels} pixels, {matrix.values.sum():.3g} counts, "
          f"{THICKNESS:g} nm, {DENSITY['Brg']} g/cm3, reduced deviance "
          f"{brg.fit.reduced_deviance:.1f}")  # fmt: skip
    print(f"  {A_OVER_B} = {said(brg, A_OVER_B)}; {AL_ON_BOTH} = {said(brg, AL_ON_BOTH)}")
    for thickness in (1.0, 50.0, 150.0, 200.0):
        c = of(matrix, "Brg", thickness=thickness)
        print(f"  {thickness:3g} nm: {c.ratio(A_OVER_B).value:.3f}, "
              f"{c.ratio(AL_ON_BOTH).value:.3f}")  # fmt: skip
    for terms in (5, 8):
        c = of(matrix, "Brg", n_continuum=terms)
        print(f"  {terms} terms of the continuum: {c.ratio(A_OVER_B).value:.3f}, "
              f"{c.ratio(AL_ON_BOTH).value:.3f}")  # fmt: skip
    for place, c in _places(si, regions, lambda s: of(s, "Brg")):
        print(f"  {place}: {said(c, A_OVER_B)}, {said(c, AL_ON_BOTH)}")
    anchors = {"Fp": Absent("Si"), "Ca-Pv": Absent("Mg")}
    rough = {
        "Fp": {"O": 0.33, "Mg": 0.5, "Fe": 0.16},
        "Ca-Pv": {"O": 0.36, "Si": 0.2, "Ca": 0.28, "Nd": 0.06, "Sm": 0.05},
    }
    film = {n: AbsorbingFilm(w, Film(THICKNESS, DENSITY[n], 22.0)) for n, w in rough.items()}
    common = {"elements": elements, "support": support, "calibration": calibration}
    plain = {"Brg": matrix}
    weighted = {"Brg": matrix}
    for n, anchor in anchors.items():
        plain[n] = subtract(integrate(si, regions.mixture(n), name=n), matrix, anchor=anchor,
                            absorption=film[n], **common)  # fmt: skip
    for n, w in weighted_mixtures(si, regions, plain).items():
        weighted[n] = subtract(w.spectrum, [matrix, *w.others], anchor=[anchors[n], *w.anchors],
                               absorption=film[n], **common)  # fmt: skip
    film["Brg"] = brg.fit.model.absorption
    joint = unmix(si, regions, anchors=anchors, absorption=film, **common)
    made = {"subtract": plain, "weighted": weighted, "unmix": joint.spectra}
    for method, spectra in made.items():
        c = {n: of(s, n, calibration=calibration) for n, s in spectra.items()}
        print(f"\n{method}")
        i = c["Fp"].index("Si")
        sigma = np.sqrt(c["Fp"].atomic_covariance[i, i])
        print(f"  Fp: Si {100 * c['Fp'].atomic_fractions[i]:.2f} +- {100 * sigma:.2f} at%, "
              f"(Mg+Fe)/O = {said(c['Fp'], '(Mg+Fe)/O')}")  # fmt: skip
        print(f"  Brg: {A_OVER_B} = {said(c['Brg'], A_OVER_B)}")
        print(f"  Ca-Pv: {A_OVER_B} = {said(c['Ca-Pv'], A_OVER_B)}")
        scale = getattr(spectra["Ca-Pv"], "scale", 0.0)
        for element in ("Nd", "Sm", "Hf", "Lu", "U"):
            d = partition_coefficient(c["Ca-Pv"], c["Brg"], element, subtracted=scale)
            print(f"  {d} (systematic {d.systematic:.2g})")
    print("\nthickness from charge balance")
    for name, listed in (("Brg", elements), ("Fp", [e for e in elements if e != "Si"])):
        found = thickness_from_charge_balance(
            plain[name], listed, density=DENSITY[name], support=support,
            calibration=None if name == "Brg" else calibration,
        )  # fmt: skip
        t = found.thickness
        print(f"  {name}: {t.value:.0f} +- {t.sigma:.0f} ({found.systematic:.0f}) nm")


def _places(si, regions, quantified):
    """Yield A/B of fifths of the pure matrix, sorted by Mg/Si in the other half of the counts."""
    rng = np.random.default_rng(0)
    counts = si.counts.tocsr().astype(np.int64)
    first = counts.copy()
    first.data = rng.binomial(counts.data, 0.5)
    second = counts.copy()
    second.data = counts.data - first.data
    energy = si.axis.to_kev().centers
    pure = np.asarray(regions.pure)

    def smooth(low, high):
        inside = (energy >= low) & (energy < high)
        total = np.asarray(first[:, inside].sum(axis=1), float).reshape(si.shape)
        return gaussian_filter(total * pure, 5.0)

    ratio = smooth(1.17, 1.34) / np.maximum(smooth(1.66, 1.84), 1e-9)
    edges = np.quantile(ratio[pure], np.linspace(0, 1, 6))
    for i in range(5):
        there = pure & (ratio >= edges[i]) & (ratio <= edges[i + 1])
        values = np.asarray(second[there.ravel()].sum(axis=0), float).ravel()
        spectrum = Spectrum(values, si.axis, name="Brg", acquisition=si.acquisition)
        yield f"fifth {i + 1} of the matrix by Mg/Si", quantified(spectrum)


if __name__ == "__main__":
    main()
