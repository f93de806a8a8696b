"""The energy of a labelling, written independently of the cuts that minimise it."""

import numpy as np

from siftem.segment.graph_cut import OFFSETS


def potts_energy(labels, probabilities, smoothness, *, weights=None, neighbourhood=8):
    own = np.take_along_axis(np.asarray(probabilities, float), labels[None], axis=0)
    energy = -np.log(own).sum()
    height, width = labels.shape
    for k, (down, right) in enumerate(OFFSETS[neighbourhood]):
        y = slice(max(0, -down), height - max(0, down))
        x = slice(max(0, -right), width - max(0, right))
        there = np.roll(labels, (-down, -right), axis=(0, 1))
        cost = np.ones(labels.shape) if weights is None else weights[k]
        energy += smoothness * cost[y, x][(labels != there)[y, x]].sum()
    return energy
