"""
How many phases do the counts support?
======================================

The counts are split at random into two maps that are independent of each other. One is
factorised, the other judges. Too few components miss a phase, too many describe noise; both
predict worse.
"""

import matplotlib.pyplot as plt

import siftem

fig, ax = plt.subplots(figsize=(4, 2.4), layout="constrained")
for dose in (20, 200):
    phantom = siftem.simulate_demo((64, 64), dose=dose)
    choice = siftem.choose_n_components(phantom.spectrum_image, range(1, 7))
    print(f"{dose} counts a pixel: {choice.message}")
    ax.errorbar(
        choice.candidates,
        choice.excess,
        choice.standard_error,
        marker="o",
        label=f"{dose} counts a pixel: {choice.n_components}",
    )
ax.set(
    xlabel="number of components",
    ylabel="held-out deviance above the best",
    yscale="symlog",
    title="The truth has three phases",
)
ax.legend()
