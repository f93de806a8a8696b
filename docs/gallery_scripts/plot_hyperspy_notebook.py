"""
In a HyperSpy notebook
======================

``siftem.signals`` has each step as one line on a HyperSpy signal, and gives HyperSpy signals
back, with axes, units and metadata.
"""

import matplotlib.pyplot as plt

import siftem
from siftem import signals as sft

s = siftem.to_hyperspy(siftem.simulate_demo((64, 64), dose=300).spectrum_image)
print(s)  # any map from hs.load will do

# %%
# The factorisation is also in ``s.learning_results``: HyperSpy's own plots and models work on it.
maps, spectra, factors = sft.decompose(s, 3)
print(maps)
print(spectra)
print(s.get_decomposition_loadings())

# %%
# Regions, spectra, subtraction, composition.
regions = sft.find_regions(s, factors)
print(regions)
grain = regions.names[0]
matrix = sft.integrate(s, regions.pure)
mixture = sft.integrate(s, regions.mixture(grain))
elements = ["O", "Mg", "Al", "Si", "Ca", "Fe"]
pure = sft.subtract(mixture, matrix, anchor=siftem.Absent("Si"), elements=elements, support=["Cu"])
print(pure)
print(pure.metadata.Siftem.anchor, pure.metadata.Siftem.scale)
composition = sft.quantify(pure, elements, support=["Cu"], thickness=100, density=4.1)
print(
    {
        e: round(100 * float(c), 2)
        for e, c in zip(composition.elements, composition.weight_fractions, strict=True)
    }
)

# %%
# Spectra keep their covariance in ``metadata.Siftem``, also through ``save`` and ``hs.load``.
fig, ax = plt.subplots(figsize=(8, 3.2))
energy = pure.axes_manager.signal_axes[0].axis
for signal, name in ((mixture, "mixture"), (pure, "pure")):
    ax.step(energy, signal.data, where="mid", label=name, lw=0.9)
ax.set(xlim=(0.3, 8), xlabel="energy (keV)", ylabel="counts", yscale="symlog")
ax.legend()
fig.tight_layout()
