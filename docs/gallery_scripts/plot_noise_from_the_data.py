"""
Energy losses that are no counts
================================

A camera counts in units of its own: it multiplies, adds readout noise, and has its dark level
taken off, which can leave negative numbers. A Poisson likelihood needs to know. Variance against
mean tells: a straight line, whose slope is the gain.
"""

import matplotlib.pyplot as plt
import numpy as np

import siftem

phantom = siftem.simulate_elnes((40, 40), counts=80, gain=4.0, readout=15.0)
noise = siftem.estimate_noise(phantom.data)
print(noise.describe())
print("true: gain 4, variance at zero signal 225")

# %%
# ``as_counts`` turns the map into equivalent counts, with equal mean and variance; the model goes
# into the notes, and from there into the report.
si, _ = siftem.as_counts(phantom.data, phantom.spectrum_image.axis, noise=noise)
expected = np.einsum("kyx,kc->yxc", phantom.abundances, phantom.spectra)
counts = si.counts.toarray().reshape(expected.shape)
bins = np.quantile(expected, np.linspace(0, 1, 21))
which = np.digitize(expected, bins[1:-1])


def by_bins(values):
    """Mean of values in bins of the expected counts."""
    return np.array([values[which == b].mean() for b in range(20)])


shift = noise.pedestal / noise.electron
fig, (left, right) = plt.subplots(1, 2, figsize=(5, 2.4), layout="constrained")
mean = by_bins(expected)
left.plot(4 * mean, by_bins((phantom.data - 4 * expected) ** 2), "o", label="data")
left.plot(4 * mean, noise.gain * 4 * mean + noise.floor, label="estimated line")
left.plot(4 * mean, 4 * mean, "--", color="0.6", label="if these were counts")
left.set(xlabel="mean", ylabel="variance", title="As recorded")
left.legend()
right.plot(mean + shift, by_bins((counts - shift - expected) ** 2), "o")
right.axline((0, 0), slope=1, color="0.6", ls="--")
right.set(xlabel="mean", ylabel="variance", title="Equivalent counts")

# %%
# ``siftem run`` does this by itself for energy-loss maps whose scatter says that they are no
# counts, and says so.
