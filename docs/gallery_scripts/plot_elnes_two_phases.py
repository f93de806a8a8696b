"""
Fine structure of overlapping phases (energy losses)
====================================================

Grains of Mn oxide lie in a titanate. Both hold oxygen, with different near-edge structure; no
pixel shows the oxide alone. From the map to its pure O K edge, with truth to compare.
"""

import matplotlib.pyplot as plt

import siftem
from siftem import signals as sft

phantom = siftem.simulate_elnes((48, 48), counts=100)
si = phantom.spectrum_image
print(si)

# %%
# Two components. The matrix is the one that is everywhere; a forest and a graph cut turn maps
# into regions.
factors = siftem.decompose(si, n_components=2)
regions = sft.find_regions(si, factors, names={"A": "titanate", "E": "Mn oxide"})
print(regions)

fig, axes = plt.subplots(1, 3, figsize=(6.5, 2.4), layout="constrained")
for ax, image, title in zip(
    axes,
    (phantom.abundances[1], factors.maps[1], regions.mixture("Mn oxide").mask),
    ("true thickness of oxide", "map of component E", "mixture region"),
    strict=True,
):
    ax.imshow(image)
    ax.set_title(title)
    ax.axis("off")

# %%
# The oxide has no Ti: all of the Ti edge in the mixture is the matrix'. The windows are chosen
# so that the background is fitted before the edge and no other edge starts within the signal.
matrix = siftem.integrate(si, regions.pure)
mixture = siftem.integrate(si, regions.mixture("Mn oxide"))
ti = siftem.Edge("Ti_L3", background=(402, 452), signal=(453, 500))
pure = siftem.subtract_by_edges(mixture, matrix, anchor=siftem.AbsentEdge(ti))
print(f"{pure.anchor}: {pure.scale:.4f} +- {pure.scale_sigma:.4f} matrix spectra taken out")
print(
    f"angle to the true spectrum: {mixture.angle_to(phantom.spectra[1]):.1f} degrees before, "
    f"{pure.angle_to(phantom.spectra[1]):.2f} after"
)

# %%
# With the background taken off, the fine structure itself can be judged.
edge = siftem.remove_background(pure, 480, 528)
before = siftem.remove_background(mixture, 480, 528)
true = phantom.edges[1][-edge.axis.size :]
print(f"O K and Mn L: {before.angle_to(true):.1f} degrees before, {edge.angle_to(true):.2f} after")

fig, ax = plt.subplots(figsize=(4.6, 2.6), layout="constrained")
energy = edge.axis.centers
scale = edge.values.sum() / true.sum()
ax.plot(
    energy, before.values / before.values.sum() * edge.values.sum(), color="0.7", label="mixture"
)
ax.fill_between(
    energy,
    edge.values - 2 * edge.standard_deviation,
    edge.values + 2 * edge.standard_deviation,
    alpha=0.3,
)
ax.plot(energy, edge.values, label="pure, with two standard deviations")
ax.plot(energy, scale * true, "k--", lw=1, label="truth")
ax.set(xlabel="energy loss (eV)", ylabel="counts")
ax.legend()

# %%
# Ratios of elements by eXSpy's cross-sections; beam energy and angles come from the metadata. (The
# phantom's edges have made-up heights and tails, so this number is no composition of a real oxide.
# A fit of the tables' shapes gives another ratio, which tells it, and the
# systematic error holds both.)
ratios = siftem.elemental_ratios(
    pure,
    [
        siftem.Edge("Mn_L3", background=(600, 634), signal=(636, 700)),
        siftem.Edge("O_K", background=(480, 528), signal=(530, 600)),
    ],
)
print(ratios.table())

# sphinx_gallery_thumbnail_number = 2
