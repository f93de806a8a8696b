"""
X-rays and energy losses of one scan
====================================

A dual acquisition gives two signals for each pixel. One factorisation of both gives common
maps, one segmentation common regions, and each signal its own spectra over them. At five X-ray
counts a pixel the X-ray map alone shows little.
"""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

import siftem
from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.signals import find_regions
from siftem.simulate.phantom import poisson_counts
from siftem.simulate.spectra import Microscope, PhaseModel, phase_spectrum

phantom = siftem.simulate_elnes((48, 48), counts=30)
eels = phantom.spectrum_image
axis = EnergyAxis(0.0, 0.02, 512, "keV")
phases = [
    PhaseModel("titanate", {"Sr": 47.7, "Ti": 26.1, "O": 26.2}, 5.1, "matrix"),
    PhaseModel("Mn oxide", {"Mn": 77.4, "O": 22.6}, 5.4),
]
xray = np.array([phase_spectrum(p, axis, Microscope(support={})) for p in phases])
xray /= xray.sum(axis=1, keepdims=True)
counts = poisson_counts(phantom.abundances.reshape(2, -1) * 5, xray, np.random.default_rng(0))
eds = siftem.SpectrumImage(counts, eels.shape, axis, acquisition=Acquisition(beam_energy=200.0))
print(eds)

# %%
# Side by side in one Poisson likelihood, each signal weighs by its counts.
of_eds, of_eels = siftem.decompose_together([eds, eels], n_components=2)
alone = siftem.decompose(eds, n_components=2)
regions = find_regions(eels, of_eels, names={"A": "titanate", "E": "Mn oxide"})

fig, axes = plt.subplots(1, 3, figsize=(6.5, 2.4), layout="constrained")
for ax, image, title in zip(
    axes,
    (phantom.abundances[1], alone.shares[1], of_eds.shares[1]),
    ("truth", "X-rays alone", "both together"),
    strict=True,
):
    ax.imshow(image)
    ax.set_title(title)
    ax.axis("off")

# %%
# Spectra of Mn oxide over the same region. Both signals are asked how much matrix the mixture
# holds.
mixture = regions.mixture("Mn oxide")
pure_xray = siftem.subtract(
    siftem.integrate(eds, mixture),
    siftem.integrate(eds, regions.pure),
    anchor=siftem.Absent("Ti"),
    elements=["O", "Ti", "Mn", "Sr"],
)
pure_loss = siftem.subtract_by_edges(
    siftem.integrate(eels, mixture),
    siftem.integrate(eels, regions.pure),
    anchor=siftem.AbsentEdge(siftem.Edge("Ti_L3", background=(402, 452), signal=(453, 500))),
)
for name, pure in (("X-rays", pure_xray), ("energy losses", pure_loss)):
    print(f"{name}: {pure.scale:.4f} +- {pure.scale_sigma:.4f} matrix spectra in the mixture")

fig, axes = plt.subplots(2, 1, figsize=(7, 4.4), layout="constrained")
replace(pure_xray, name="X-rays (grey: mixture)").plot(axes[0], elements=["O", "Ti", "Mn"])
replace(pure_loss, name="energy losses (grey: mixture)").plot(axes[1], log=False)
