"""
How errors travel
=================

A region's spectrum is a sum of Poisson counts: its variance is the count itself, channel by
channel. The pure spectrum of a grain is the mixture M less a multiple of the matrix T,

.. code-block:: text

    P = M − α T,     α = M(Si) / T(Si)

where the anchor, no Si in the grain, gives α. Its covariance between channels i and j has three
parts:

.. code-block:: text

    Cov(P_i, P_j) = δ_ij (M_i + α² T_i) + T_i T_j Var α − (T_i u_j + u_i T_j)

- counting, of mixture and matrix, independent in each channel;
- the scale's error, the same for all channels at once: if too much matrix was taken, it is
  missing everywhere in the proportions of the matrix' spectrum;
- u, what α shares with the counts, because it was measured from the same ones. It makes
  the error of the anchoring line itself vanish, as it must: that line is zero by decree.

siftem keeps all of it, as a diagonal and a few vectors, through to the composition. Here it is
compared with reality: two hundred maps of the same specimen.
"""

import matplotlib.pyplot as plt
import numpy as np

import siftem
from siftem.eels.edges import edge_signal
from siftem.energy_axis import EnergyAxis

axis = EnergyAxis(400.0, 1.0, 320, "eV")
energy = axis.centers
background = 200 * (energy / 400) ** -3.0
matrix = background + 60 * (energy > 456) * (energy / 456) ** -3.0
grain = background + 40 * (energy > 640) * (energy / 640) ** -3.0
ti = siftem.Edge("Ti_L3", background=(402, 452), signal=(456, 500))
rng = np.random.default_rng(0)
draws, predicted = [], []
for _ in range(200):
    mixture = siftem.Spectrum(rng.poisson(0.5 * matrix + grain), axis, name="mixture")
    pure_matrix = siftem.Spectrum(rng.poisson(3 * matrix), axis, name="matrix")
    pure = siftem.subtract_by_edges(mixture, pure_matrix, anchor=siftem.AbsentEdge(ti))
    windows = [slice(a, a + 20) for a in range(0, 320, 20)]
    draws.append([pure.sum(w)[0] for w in windows])
    predicted.append([pure.sum(w)[1] for w in windows])
    counting = [np.sqrt(pure.variance[w].sum()) for w in windows]

fig, ax = plt.subplots(figsize=(8, 3.8))
centres = [energy[w].mean() for w in windows]
ax.plot(centres, np.std(draws, axis=0), "ko", label="scatter of 200 maps")
ax.plot(centres, np.mean(predicted, axis=0), label="carried by siftem")
ax.plot(centres, counting, "--", label="counting alone")
ax.axvspan(456, 500, color="0.9", lw=0, label="window of the anchor")
ax.set(
    xlabel="energy loss (eV)",
    ylabel="standard deviation of 20 channels",
    title="Error of a pure spectrum, in windows",
    ylim=(0, None),
)
ax.legend(fontsize=9)
fig.tight_layout()

# %%
# The scale dominates: counting alone would promise an error several times too small. Only the
# anchor's own signal, the net Ti edge, has next to none left. The same covariance goes through
# the line fit into amplitudes, and through the k-factors into the composition, where errors of
# fractions are tied to each other because they sum to one. What it does not hold is kept apart
# on purpose: the *systematic* error of k-factors and attenuation, which is the same in all
# spectra of a run and cancels in their comparison.
ratio = np.std(draws, axis=0) / np.mean(predicted, axis=0)
print(f"scatter over prediction: {ratio.min():.2f} to {ratio.max():.2f} (1.00 +- 0.05 expected)")
left = edge_signal(pure, ti)
print(f"net Ti edge of the pure spectrum: {left.value:.1f} +- {left.sigma:.1f} counts")
print(f"net Ti edge of the mixture: {edge_signal(mixture, ti).value:.0f} counts")
