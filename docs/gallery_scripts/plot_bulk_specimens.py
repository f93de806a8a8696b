"""
Bulk specimens: scanning microscopes and X-ray fluorescence
===========================================================

The road up to pure spectra is the same. k-factors of thin films do not hold for a thick
specimen, so a composition is refused, and ratios of net lines are offered instead.
"""

from dataclasses import replace

import siftem

phantom = siftem.simulate_demo((48, 48), dose=500)
si = phantom.spectrum_image
# As a scanning microscope's file would be read: siftem.load sets this by the file's signal type.
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

# %%
# For a composition, export the pure spectrum (``spectra/*.msa`` of a run) to a program with
# matrix corrections. For a thin film in a scanning microscope the k-factors do hold: say so with
# ``replace(spectrum.acquisition, bulk=False)``.
#
# For X-ray fluorescence maps set the signal type to ``EDS_SEM`` and give the highest photon
# energy that excites as the beam energy.
film = replace(spectrum, acquisition=replace(spectrum.acquisition, bulk=False))
composition = siftem.quantify(film, elements, support=["Cu"])
print(
    {
        e: f"{100 * c:.1f} wt%"
        for e, c in zip(composition.elements, composition.weight_fractions, strict=True)
    }
)
