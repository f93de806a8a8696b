"""
What smoothness does
====================

The forest gives each pixel a probability by its own features. Neighbouring pixels belong
together more often than not, and the graph cut knows that: among all ways to label the map it
finds the one with the lowest

.. code-block:: text

    E = − Σ_p ln P(label of p) + smoothness Σ_pq w(p, q) [label of p ≠ label of q]

the second sum running over pairs of neighbours with different labels. ``smoothness`` is
the price of a piece of border. At 0 each pixel stands alone; with a high price small grains are
given up, then corners, then everything.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter

import siftem

rng = np.random.default_rng(3)
phantom = siftem.simulate_demo((96, 96), dose=100, random_state=4)
truth = phantom.mask("Ca-Pv")
# Probabilities as a forest would give: right on average, and noisy.
evidence = gaussian_filter(np.where(truth, 1.0, -1.0), 0.7) + rng.normal(0, 1.3, truth.shape)
probability = 1 / (1 + np.exp(-1.5 * evidence))
both = np.stack([1 - probability, probability])

strengths = [0, 0.25, 0.5, 1, 2, 4, 8, 16]
masks = {s: siftem.graph_cut(both, smoothness=s) == 1 for s in strengths}
overlap = [(m & truth).sum() / (m | truth).sum() for m in masks.values()]

fig, axes = plt.subplots(1, 5, figsize=(12, 2.9), width_ratios=[1, 1, 1, 1, 1.5])
shown = [("truth", truth)] + [(f"smoothness {s:g}", masks[s]) for s in (0, 1, 16)]
for ax, (title, image) in zip(axes, shown, strict=False):
    ax.imshow(image, cmap="gray_r")
    ax.set_title(title, fontsize=10)
    ax.set(xticks=[], yticks=[])
axes[4].plot(range(len(strengths)), overlap, "o-")
axes[4].set_xticks(range(len(strengths)), [f"{s:g}" for s in strengths])
axes[4].set(xlabel="smoothness", ylabel="overlap with the truth", ylim=(0, 1))
fig.tight_layout()

# %%
# Between a half and one the value hardly matters; a factor of four beyond, grains begin to be given
# up, and nothing brings them back. So rather take less, and let the smallest grain that you
# believe in decide. A single pixel costs eight pieces of border; it survives when its evidence,
# the logarithm of its odds, is worth more than that. ``siftem.suggest_smoothness`` asks the
# counts: it labels the map by one half of them and lets the other half judge.
#
# Two things smoothness does not do. It does not move a border that the evidence puts clearly
# elsewhere, so wrong traces are not mended by it. And it does not know of mixing: a faint rim
# of a grain, thinner than the film, is left to ``margin``, which keeps some pixels away from every
# border.
best = strengths[int(np.argmax(overlap))]
print(f"best at {best:g} ({max(overlap):.2f}); {overlap[0]:.2f} without smoothness")
