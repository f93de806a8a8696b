"""
What a factorisation cannot know
================================

A factorisation writes the expected counts of pixel p in channel j as a sum over phases,

.. code-block:: text

    mean(p, j) = Σ_k a(p, k) S(k, j),     a ≥ 0, S ≥ 0

Take a grain that lies in a matrix and nowhere fills the whole thickness. Add a share t of the
matrix spectrum to that of the grain, and take as much off the matrix' map:

.. code-block:: text

    S'(grain) = S(grain) + t S(matrix),     a'(matrix) = a(matrix) − t a(grain)

Every expected count is the same as before. The data can't tell these answers apart, however
many counts there are; only "no number may be negative" sets a bound. On one side t ends where a
line of the grain's spectrum reaches zero, on the other where the matrix' map does.
"""

import matplotlib.pyplot as plt
import numpy as np

import siftem

phantom = siftem.simulate_demo((48, 48), dose=300)
names = ("Brg", "Fp")
index = [phantom.names.index(n) for n in names]
abundances = phantom.abundances[index].reshape(2, -1)
spectra = phantom.spectra[index] / phantom.spectra[index].sum(axis=1, keepdims=True)
weights = abundances * 300
counts = np.random.default_rng(0).poisson(weights.T @ spectra)
energy = phantom.spectrum_image.axis.centers


def deviance(t):
    """Poisson deviance of the sheared answer; None when a map becomes negative."""
    sheared = np.array([spectra[0], spectra[1] + t * spectra[0]])
    maps = np.array([weights[0] - t * weights[1], weights[1]])
    if maps.min() < 0 or sheared.min() < 0:
        return None
    mean = np.maximum(maps.T @ sheared, 1e-300)
    return 2 * (mean.sum() - counts.sum() - (counts * np.log(mean)).sum())


shears = np.linspace(-0.05, 1.0, 106)
values = [(t, deviance(t)) for t in shears]
allowed = [(t, d) for t, d in values if d is not None]

# %%
# The deviance of all allowed answers is one number. With it the amount of Si in
# "ferropericlase" runs from none to what you please: no better solver can change that.

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), width_ratios=[1, 1.7])
least = min(d for _, d in allowed)
left.plot([t for t, _ in allowed], [d - least for _, d in allowed], lw=3)
left.set(
    xlabel="matrix added to the grain, t",
    ylabel="deviance above the best",
    ylim=(-1, 1),
    xlim=(shears[0], shears[-1]),
    title="All fit equally well",
)
last = allowed[-1][0]
for t in (0.0, last / 2, last):
    sheared = spectra[1] + t * spectra[0]
    right.plot(energy, sheared / sheared.sum(), label=f"t = {t:.2f}")
right.annotate("Si", (1.74, 0.012), ha="center")
right.set(
    xlim=(0.3, 2.5),
    xlabel="energy (keV)",
    ylabel="share of counts",
    title="Spectra of the grain that the counts allow",
)
right.legend()
fig.tight_layout()

# %%
# What fixes the answer has to come from outside:
#
# - **An anchor.** Ferropericlase takes up no Si. The true t is the one that leaves none. See
#   :doc:`/how-to/anchors`.
# - **The geometry.** The matrix is everywhere, so the most common mixing ratio among the pixels
#   is that of the pure matrix. :func:`siftem.decompose` uses it to choose among the answers,
#   and :class:`siftem.Factors` tells how open the choice was (``indeterminacy``).
#
# This is why siftem does not read compositions off the components. They only show *where* the
# phases are; spectra come from the counts of regions, and the subtraction says what it assumed.
print(f"t may run from {allowed[0][0]:.2f} to {last:.2f}")
