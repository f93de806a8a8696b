"""Kernels of later steps, compiled by a copy of this process after the installation."""

from __future__ import annotations

import numpy as np

from siftem.compiling import was_compiled
from siftem.segment import forest
from siftem.segment.graph_cut import graph_cut
from siftem.unmixing import pixel_sets


def kernels_lack() -> bool:
    """Whether kernels of later steps were never compiled on this machine."""
    return not (was_compiled(forest.vote) and was_compiled(pixel_sets.solve_abundances))


def compile_kernels() -> None:
    """Have numba compile the kernels of later steps and keep them, by calls on a few numbers.

    Their types are those of a run, which then finds them on the disk.
    """
    corners = np.array([[0, 1], [1, 0]], np.float32)
    trees = forest.Forest(1, max_features=1.0, min_samples_leaf=1, random_state=0, n_jobs=1)
    trees.fit(corners, np.arange(2)).shares(corners[:, :, None])
    board = np.indices((6, 6)).sum(axis=0) % 3
    graph_cut(np.array([0.3 + 0.2 * board, 0.7 - 0.2 * board]), smoothness=0.3)
    one = np.array([0, 1]), np.zeros(1, np.int32), np.ones(1)
    spectra, maps = np.ones((1, 1)), np.ones((1, 1))
    pixel_sets.solve_abundances(*one, spectra, np.ones((1, 1), np.uint8), maps, 1, 1.0)
    pixel_sets.accumulate_ratios(*one, spectra, maps, np.zeros((1, 1)))
