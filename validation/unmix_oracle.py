"""Pure spectra of the demo against an oracle that knows the true maps.

    python validation/unmix_oracle.py [--dose 300] [--seed 0] [--size 128] [--nmf]

The oracle's spectra are those of maximum likelihood when the true abundance of each phase in
each pixel is known, every channel free. The table gives the angle in degrees between each
phase's spectrum and the truth: for the oracle, for `siftem.subtract`, for `siftem.unmix` with
free channels and on the physics basis, all with the true regions, and, with ``--nmf``, for
scikit-learn's NMF (Kullback-Leibler, multiplicative updates).
"""

from __future__ import annotations

import argparse

import numpy as np
import scipy.sparse as sp

from siftem.fit.line_fit import fit_lines
from siftem.quantify.film import Film, absorber
from siftem.segment.regions import Regions
from siftem.simulate.phantom import simulate_demo
from siftem.spectrum import spectral_angle
from siftem.unmix.anchors import Absent, KnownRatio
from siftem.unmix.constrained import unmix
from siftem.unmix.integrate import integrate
from siftem.unmix.profile import free_spectra
from siftem.unmix.subtract import subtract
from siftem.xray.elements import atomic_weight

SHARE = 0.02
#: Pixels whose true shares agree to a hundredth are put together: the oracle loses nothing.
PARTS = 100


def oracle(counts: sp.csr_array, abundances: np.ndarray, start: np.ndarray) -> np.ndarray:
    shares = np.round(PARTS * abundances / abundances.sum(axis=0)).astype(int).T
    group = np.unique(shares, axis=0, return_inverse=True)[1].ravel()
    gather = sp.csr_array((np.ones(group.size), (group, np.arange(group.size))))
    summed = (gather @ counts).toarray().astype(float)
    return free_spectra(summed, gather @ abundances.T, start, rounds=500)[0].T


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dose", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--nmf", action="store_true")
    options = parser.parse_args()
    size = (options.size, options.size)
    phantom = simulate_demo(size, dose=options.dose, seed=options.seed)
    si = phantom.spectrum_image.cropped(low=0.25)
    names, elements = phantom.names, list(phantom.weight_fractions[0])
    true = phantom.spectra[:, -si.n_channels :]
    true = true / true.sum(axis=1, keepdims=True)
    masks = {n: phantom.mask(n, at_least=SHARE) for n in names[1:]}
    regions = Regions(size, matrix=names[0], masks=masks)
    ca = phantom.weight_fractions[names.index("Ca-Pv")]
    ratio = ca["Mg"] / atomic_weight("Mg") / (ca["Ca"] / atomic_weight("Ca"))
    anchors = {"Fp": Absent("Si"), "Ca-Pv": KnownRatio("Mg", "Ca", ratio)}
    film = {
        n: absorber(dict(w), Film(phantom.microscope.thickness, d, 22.0))
        for n, w, d in zip(names, phantom.weight_fractions, phantom.densities, strict=True)
    }
    matrix = integrate(si, regions.pure, name=names[0])
    calibration = fit_lines(
        matrix, elements, support=["Cu"], beam_energy=200.0, absorption=film[names[0]]
    ).calibration
    common = {"elements": elements, "support": ["Cu"], "calibration": calibration}
    plain = {names[0]: matrix.values}
    for n in names[1:]:
        mixture = integrate(si, regions.mixture(n))
        plain[n] = subtract(mixture, matrix, anchor=anchors[n], absorption=film[n], **common).values
    unmixed = unmix(si, regions, anchors=anchors, absorption=film, **common)
    best = oracle(si.counts, phantom.abundances.reshape(len(names), -1), true.T.copy())
    columns = {
        "oracle": dict(zip(names, best, strict=True)),
        "subtract": plain,
        "unmix, free": {n: unmixed.free_spectra[n].values for n in names},
        "unmix, physics": {n: unmixed.spectra[n].values for n in names},
        "unmix, bounded": {n: unmixed.spectra[n].counts for n in names},
    }
    if options.nmf:
        from sklearn.decomposition import NMF

        model = NMF(len(names), beta_loss="kullback-leibler", solver="mu", init="nndsvda",
                    max_iter=300, random_state=0)  # fmt: skip
        dense = si.counts.toarray().astype(np.float64)
        model.fit(dense[dense.sum(axis=1) > 0])
        columns["scikit-learn NMF"] = {
            n: min(model.components_, key=lambda c: spectral_angle(c, true[i]))
            for i, n in enumerate(names)
        }
    print(f"dose {options.dose:g}, seed {options.seed}; angles in degrees")
    print("| phase | " + " | ".join(columns) + " |\n|---" * 1 + "|---" * len(columns) + "|")
    for i, n in enumerate(names):
        angles = [spectral_angle(c[n], true[i]) for c in columns.values()]
        print(f"| {n} | " + " | ".join(f"{a:.2f}" for a in angles) + " |")


if __name__ == "__main__":
    main()
