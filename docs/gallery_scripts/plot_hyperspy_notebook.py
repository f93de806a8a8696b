"""
The same map in a HyperSpy notebook
===================================

``siftem.signals`` has each step as one line on a HyperSpy signal, and gives HyperSpy signals back,
with axes, units and metadata: from ``hs.load`` to a composition and back into HyperSpy's own tools.
"""

import hyperspy.api as hs
import matplotlib.pyplot as plt

import siftem
from siftem import signals as sft

s = hs.load(siftem.fetch_71gpa())  # any map that HyperSpy reads
s = s.isig[0.2:]  # without the zero peak
print(s)

# %%
# The factorisation is also in ``s.learning_results``: HyperSpy's own plots and models work on it.
maps, spectra, factors = sft.decompose(s, 3)
print(maps)
print(spectra)
print(s.get_decomposition_loadings())
axes = hs.plot.plot_images(
    maps,
    fig=plt.figure(figsize=(6.5, 2.2), layout="constrained"),
    label=list(factors.names),
    axes_decor=None,
    colorbar=None,
    scalebar=[0],
    cmap="inferno",
)

# %%
# Regions, spectra, subtraction, composition.
regions = sft.find_regions(s, factors, names={"A": "Brg", "E": "Fp", "G": "Ca-Pv"})
print(regions)
matrix = sft.integrate(s, regions.pure)
mixture = sft.integrate(s, regions.mixture("Fp"))
elements = ["O", "Mg", "Al", "Si", "Ca", "Fe"]
support = ["Cu", "Ga", "C", "Pt", "Zr", "Co", "Nd", "Sm", "Hf", "Lu", "U"]
pure = sft.subtract(mixture, matrix, anchor=siftem.Absent("Si"), elements=elements, support=support)
print(pure)
print(pure.metadata.Siftem.anchor, pure.metadata.Siftem.scale)
composition = sft.quantify(pure, elements, support=support, thickness=100, density=4.1)
print(composition)

# %%
# Spectra keep their covariance in ``metadata.Siftem``, also through ``save`` and ``hs.load``.
fig, ax = plt.subplots(figsize=(6.5, 2.8), layout="constrained")
energy = pure.axes_manager.signal_axes[0].axis
for signal, name in ((mixture, "mixture"), (pure, "pure")):
    ax.step(energy, signal.data, where="mid", label=name)
ax.set(xlim=(0.3, 8), xlabel="energy (keV)", ylabel="counts", yscale="symlog")
ax.legend()

# sphinx_gallery_thumbnail_number = 1
