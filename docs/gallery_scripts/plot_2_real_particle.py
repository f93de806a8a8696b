"""
A real particle: FePt, and how far to trust 15 at% of Fe
========================================================

The spectrum of a bimetallic nanoparticle that comes with eXSpy (D. Roussow et al., Nano Letters
2015, DOI 10.1021/acs.nanolett.5b00449), as it is: no map, a few thousand counts in the lines.
"""

import exspy

import siftem
from siftem.hyperspy_input import as_spectrum
from siftem.quantification.k_values import GivenKFactors

signal = exspy.data.EDS_TEM_FePt_nanoparticles()
found = siftem.find_elements(signal)
print([e.element for e in found])
ax = as_spectrum(signal).plot(elements=["Fe", "Pt", "Cu", "Si"])

# %%
# Cu is the grid, C, O and Si the film and what lies on it, Zr and Co the microscope's own: fitted,
# and left out of the sum. The
# particle is so thin that nothing is absorbed: say so, or the intervals hold any film.
support = ["Cu", "C", "O", "Si", "Zr", "Co"]
composition = siftem.quantify(signal, ["Fe", "Pt"], support=support, thickness=0)
print(composition)
ax = composition.plot()

# %%
# The counting error is small. What dominates are the k-factors, computed from cross-sections: the
# interval of 95% holds both. With the k-factors of eXSpy's own example, for the alpha lines and
# with the detector in them, and an error of 5% for Pt:
k = GivenKFactors({"Fe": 1.450226, "Pt": 5.075602}, relative_sigma={"Pt": 0.05}, reference="Fe")
given = siftem.quantify(signal, ["Fe", "Pt"], support=support, thickness=0, k_factors=k)
for name, c in (("computed", composition), ("given", given)):
    fe = c.index("Fe")
    low, high = 100 * c.atomic_interval_95[fe]
    print(f"{name:9} {100 * c.atomic_fractions[fe]:.1f} at% Fe, 95%: {low:.1f} to {high:.1f}")

# %%
# What the fit cannot describe stands in the errors, too. Elements that are not there are
# quantified one at a time: they should scatter about zero by their errors.
print(composition.null_elements.describe())
