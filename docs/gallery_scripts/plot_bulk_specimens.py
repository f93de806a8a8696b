"""
Bulk specimens: scanning microscopes and X-ray fluorescence
===========================================================

The road up to pure spectra is the same. k-factors of thin films do not hold for a thick
specimen, so a composition is refused, and ratios of net lines are offered instead. A real spectrum
first, of a coating for tests of detectors (BAM EDS-TM002, it comes with eXSpy):
"""

from dataclasses import replace

import exspy
import matplotlib.pyplot as plt

import siftem
from siftem.hyperspy_input import as_spectrum

measured = exspy.data.EDS_SEM_TM002()
real = siftem.line_ratios(measured, ["C", "Al", "Mn", "Cu", "Zr"], support=["O"], reference="Al")
print(real.describe())
ax = as_spectrum(measured).plot(elements=["C", "Al", "Mn", "Cu", "Zr"])

# %%
# A map of phases that overlap, simulated, as a scanning microscope's file would be read:
# ``siftem.load`` sets this by the file's signal type.

phantom = siftem.simulate_demo((48, 48), dose=500)
si = phantom.spectrum_image
si = replace(si, signal_type="EDS_SEM", acquisition=replace(si.acquisition, bulk=True))
regions = siftem.Regions(
    si.shape, matrix="Brg", masks={n: phantom.mask(n) for n in ("Fp", "Ca-Pv")}, margin=1
)
spectrum = siftem.integrate(si, regions.pure)
elements = ["O", "Mg", "Al", "Si", "Ca", "Fe"]
try:
    siftem.quantify(spectrum, elements)
except siftem.InputError as error:
    print(error)

# %%
ratios = siftem.line_ratios(spectrum, elements, reference="Si", support=["Cu"])
print(ratios.describe())

grain = siftem.subtract(
    siftem.integrate(si, regions.mixture("Fp")), spectrum, anchor=siftem.Absent("Si"),
    elements=elements, support=["Cu"],
)  # fmt: skip
fig, axes = plt.subplots(2, 1, figsize=(7, 4), layout="constrained")
replace(spectrum, name="matrix").plot(axes[0], elements=elements)
replace(grain, name="grain, matrix subtracted (grey: before)").plot(axes[1], elements=elements)

# %%
# For a composition, export the pure spectrum (``spectra/*.msa`` of a run) to a program with
# matrix corrections. For a thin film in a scanning microscope the k-factors do hold: say so with
# ``replace(spectrum.acquisition, bulk=False)``.
#
# For X-ray fluorescence maps set the signal type to ``EDS_SEM`` and give the highest photon
# energy that excites as the beam energy.
film = replace(spectrum, acquisition=replace(spectrum.acquisition, bulk=False))
composition = siftem.quantify(film, elements, support=["Cu"], thickness=100, density=4.25)
print(
    {
        e: f"{100 * c:.1f} wt%"
        for e, c in zip(composition.elements, composition.weight_fractions, strict=True)
    }
)
