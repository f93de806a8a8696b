"""
A real map: traces that no pixel shows
======================================

Deep-mantle minerals at 71 GPa: ferropericlase and Ca-perovskite in bridgmanite, 201 x 201 pixels
with 177 counts each. Grains overlap along the beam, and the traces of Nd and Sm in bridgmanite are
less than the noise of any spectrum that a rectangle could give.
"""

import siftem
from siftem.signals import find_regions

si = siftem.load(siftem.fetch_71gpa()).without_zero_peak()
print(si)
axes = si.plot(elements=["O", "Mg", "Si", "Ca", "Fe", "Cu"])

# %%
# Three components. What they are their lines tell: bridgmanite is the matrix, B has no Si, C has
# most Ca.
factors = siftem.decompose(si, n_components=3)
print(factors)
axes = factors.plot(pixel_size=si.pixel_size)

# %%
# Each pixel is asked which grains it holds; one that holds two counts as both.
regions = find_regions(si, factors, names={"A": "Brg", "E": "Fp", "G": "Ca-Pv"})
print(regions)
axes = regions.plot(background=si.total_map(), pixel_size=si.pixel_size)

# %%
# All pixels of pure bridgmanite in one spectrum, with what the model of the spectrum cannot
# describe in its errors.
matrix = siftem.integrate(si, regions.pure, name="Brg")
elements = ["O", "Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "Hf", "Lu", "U"]
support = ["Cu", "Ga", "C", "Pt", "Zr", "Co"]
bridgmanite = siftem.quantify(matrix, elements, support=support, thickness=100, density=4.25)
print(bridgmanite)

# %%
# Ferropericlase takes up no Si: all Si of its mixture is bridgmanite's, so much of the matrix
# comes off.
mixture = siftem.integrate(si, regions.mixture("Fp"), name="Fp")
pure = siftem.subtract(
    mixture, matrix, anchor=siftem.Absent("Si"), elements=elements, support=support
)
print(f"{pure.scale:.3f} +- {pure.scale_sigma:.3f} spectra of the matrix in that of the mixture")
ax = pure.plot(elements=["O", "Mg", "Si", "Fe", "Cu"])

# %%
ferropericlase = siftem.quantify(pure, elements, support=support, thickness=100, density=4.1)
print(ferropericlase.ratio("Mg/(Mg+Fe)"))
print(ferropericlase.ratio("(Mg+Fe)/O"), "by the formula 1")
ax = ferropericlase.plot()

# sphinx_gallery_thumbnail_number = 2
