"""Pure spectra of the demo against an oracle that knows the true maps.

    python validation/unmix_oracle.py [--dose 300] [--seed 0] [--size 128] [--found] [--nmf]

The oracle's spectra are those of maximum likelihood when the true abundance of each phase in
each pixel is known, every channel free: of all pixels, as good as free spectra can be. The
table gives the angle in degrees between each phase's spectrum and the truth:

- for the oracle;
- for `siftem.subtract`, of plain sums and of sums weighted by the grain's share in each pixel
  (:func:`siftem.unmixing.integrate.weighted_mixtures`), with the angle over the oracle's in
  brackets;
- for `siftem.unmix`, with free channels and on the physics basis;
- with ``--nmf``, for scikit-learn's NMF (Kullback-Leibler, multiplicative updates).

Regions are the true ones: a grain is where it has 2% of the film or more. With ``--found``
they are those that a run of the pipeline finds in the same map.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import scipy.sparse as sp

from siftem.errors import SiftemWarning
from siftem.fit.line_fit import fit_lines
from siftem.quantification.film import AbsorbingFilm, Film
from siftem.segment.regions import Regions
from siftem.simulate.phantom import Phantom, simulate_demo
from siftem.spectrum import spectral_angle
from siftem.unmixing.anchors import Absent, KnownRatio
from siftem.unmixing.constrained import unmix
from siftem.unmixing.integrate import integrate, weighted_mixtures
from siftem.unmixing.joint_fit import free_spectra
from siftem.unmixing.subtract import subtract
from siftem.xray.elements import atomic_weight

SHARE = 0.02
#: Pixels whose true shares agree to a hundredth are put together: the oracle loses nothing.
PARTS = 100
LOWEST = 0.25  # keV


def oracle(counts: sp.csr_array, abundances: np.ndarray, start: np.ndarray) -> np.ndarray:
    shares = np.round(PARTS * abundances / abundances.sum(axis=0)).astype(int).T
    group = np.unique(shares, axis=0, return_inverse=True)[1].ravel()
    gather = sp.csr_array((np.ones(group.size), (group, np.arange(group.size))))
    summed = (gather @ counts).toarray().astype(float)
    return free_spectra(summed, gather @ abundances.T, start)[0].T


def spectra(phantom: Phantom, regions: Regions) -> dict[str, dict[str, np.ndarray]]:
    """Spectra of each phase by subtraction and by unmixing."""
    si = phantom.spectrum_image.cropped(low=LOWEST)
    names, elements = phantom.names, list(phantom.weight_fractions[0])
    ca = phantom.weight_fractions[names.index("Ca-Pv")]
    ratio = ca["Mg"] / atomic_weight("Mg") / (ca["Ca"] / atomic_weight("Ca"))
    anchors = {"Fp": Absent("Si"), "Ca-Pv": KnownRatio("Mg", "Ca", ratio)}
    film = {
        n: AbsorbingFilm(dict(w), Film(phantom.microscope.thickness, d, 22.0))
        for n, w, d in zip(names, phantom.weight_fractions, phantom.densities, strict=True)
    }
    matrix = integrate(si, regions.pure, name=names[0])
    calibration = fit_lines(
        matrix, elements, support=["Cu"], beam_energy=200.0, absorption=film[names[0]]
    ).calibration
    common = {"elements": elements, "support": ["Cu"], "calibration": calibration}
    plain, weighted = {names[0]: matrix}, {names[0]: matrix}
    for n in names[1:]:
        mixture = integrate(si, regions.mixture(n), name=n)
        plain[n] = subtract(mixture, matrix, anchor=anchors[n], absorption=film[n], **common)
    for n, w in weighted_mixtures(si, regions, plain).items():
        weighted[n] = subtract(
            w.spectrum, [matrix, *w.others], anchor=[anchors[n], *w.anchors],
            absorption=film[n], **common,
        )  # fmt: skip
    unmixed = unmix(si, regions, anchors=anchors, absorption=film, **common)
    made = {
        "subtract": plain,
        "subtract, weighted": weighted,
        "unmix, free": unmixed.free_spectra,
        "unmix, physics": unmixed.spectra,
    }
    return {k: {n: s.values for n, s in v.items()} for k, v in made.items()}


def plain_nmf(phantom: Phantom, true: np.ndarray) -> dict[str, np.ndarray]:
    """Return the component of scikit-learn's NMF that comes closest to each phase."""
    from sklearn.decomposition import NMF

    model = NMF(len(phantom.names), beta_loss="kullback-leibler", solver="mu", init="nndsvda",
                max_iter=300, random_state=0)  # fmt: skip
    dense = phantom.spectrum_image.cropped(low=LOWEST).counts.toarray().astype(np.float64)
    model.fit(dense[dense.sum(axis=1) > 0])
    return {
        n: min(model.components_, key=lambda c: spectral_angle(c, true[i]))
        for i, n in enumerate(phantom.names)
    }


def angles(
    *, dose: float, seed: int, size: int, found: bool = False, nmf: bool = False
) -> dict[str, dict[str, float]]:
    """Angle to the truth in degrees by method and phase."""
    phantom = simulate_demo((size, size), dose=dose, random_state=seed)
    names = phantom.names
    n_channels = phantom.spectrum_image.cropped(low=LOWEST).n_channels
    true = phantom.spectra[:, -n_channels:]
    true = true / true.sum(axis=1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SiftemWarning)
        if found:
            from siftem.pipeline.starting_recipe import demo_recipe
            from siftem.pipeline.workflow import run

            result = run(demo_recipe(shape=(size, size), dose=dose, random_state=seed))
            regions = result.segmentation.regions
        else:
            masks = {n: phantom.mask(n, at_least=SHARE) for n in names[1:]}
            regions = Regions((size, size), matrix=names[0], masks=masks)
        made = spectra(phantom, regions)
    counts = phantom.spectrum_image.cropped(low=LOWEST).counts
    best = oracle(counts, phantom.abundances.reshape(len(names), -1), true.T.copy())
    made = {"oracle": dict(zip(names, best, strict=True)), **made}
    if nmf:
        made["scikit-learn NMF"] = plain_nmf(phantom, true)
    return {
        method: {n: spectral_angle(own[n], true[i]) for i, n in enumerate(names)}
        for method, own in made.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dose", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--found", action="store_true")
    parser.add_argument("--nmf", action="store_true")
    options = parser.parse_args()
    table = angles(**vars(options))
    regions = "found" if options.found else "true"
    print(f"\ndose {options.dose:g}, seed {options.seed}, {regions} regions; degrees\n")
    print("| phase | " + " | ".join(table) + " |\n" + "|---" * (1 + len(table)) + "|")
    for phase, best in table["oracle"].items():
        cells = []
        for method, own in table.items():
            over = f" ({own[phase] / best:.2f})" if method.startswith("subtract") else ""
            cells.append(f"{own[phase]:.2f}{over}")
        print(f"| {phase} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
