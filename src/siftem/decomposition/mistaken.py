"""How often pixels are given to the wrong phase: labels of halves of the counts, beside each other.

Each count goes to one of two halves by the toss of a coin, and the classes of pixels are fitted
anew to each half alone, from the spectra that all counts gave. Where a phase's pixels, away from
its border, are another phase's by half of the counts, all of the counts may be wrong about them,
too: half as many counts are wrong more often. Nothing is assumed about spectra or shapes.

Grains that fill their film in part hold pixels between two spectra, of which halves disagree as
well, at any dose: these are mixtures, and no mistakes. So no more counts than noise would mistake
if each pixel had the spectrum of its phase.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from siftem.decomposition.count_sums import share_out
from siftem.decomposition.evenness import deep
from siftem.decomposition.neighbours import Near
from siftem.decomposition.pixel_classes import classes_from, labels_by
from siftem.decomposition.purest import binning, class_spectra
from siftem.machine import available
from siftem.thinning import split_counts

#: Halves that agree on all but this part of each phase, by the spectra of all counts, need no fit.
_CERTAIN = 0.002
#: No phase is doubted more than this.
_MOST = 0.9


def mistaken_labels(
    counts: sp.csr_array,
    labels: np.ndarray,
    n_phases: int,
    *,
    layers: Near | None = None,
    random_state: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Estimate how many of the pixels of each phase may be another one's.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (ny * nx, m)
        Of fractions, which can't be parted, nothing is known: zeros.
    labels : ndarray of int, shape (ny, nx)
        Phase of each pixel, by all counts; below zero, none.
    n_phases : int
    layers : Near, optional
        As of `siftem.decomposition.pixel_classes.pixel_classes`.
    random_state : int
        Seed of the halves.

    Returns
    -------
    mistaken : ndarray of float64, shape (n_phases, n_phases)
        Row i: share of the pixels inside phase i that may be of phase j; an upper estimate.
    by_noise : ndarray of float64, shape (n_phases, n_phases)
        The same, as far as noise would make it of pixels that have the spectra of their phases.
    """
    none = np.zeros((n_phases, n_phases))
    if counts.dtype.kind == "f" and not np.array_equal(counts.data, np.rint(counts.data)):
        return none, none
    counts = sp.csr_array(counts.astype(np.float64) @ binning(counts.shape[1]))
    rng = np.random.default_rng(random_state)
    halves = split_counts(counts, 0.5, rng)
    insides = [deep(labels == i) for i in range(n_phases)]
    spectra = class_spectra(counts, labels, n_phases)
    quick = _shares([labels_by(half, labels.shape, spectra) for half in halves], insides)
    if quick.max() < _CERTAIN:
        return quick, quick
    known = labels_by(counts, labels.shape, spectra) if (labels < 0).any() else labels
    mean = 0.5 * counts.sum(axis=1)[:, None] * spectra[known.ravel()]
    even = sp.csr_array(rng.poisson(mean))
    del mean
    *fitted, by_noise = share_out(
        lambda half: classes_from(half, labels.shape, spectra, layers=layers),
        [*halves, even],
        available(),
    )
    mistaken = _shares(fitted, insides)
    # Of one half, where either of two counts.
    return mistaken, np.minimum(mistaken, 2 * _shares([by_noise], insides))


def _shares(halves: list[np.ndarray], insides: list[np.ndarray]) -> np.ndarray:
    """Share of the pixels inside each phase that either half gives to each other one; (k, k)."""
    k = len(insides)
    pixels = np.array([inside.sum() for inside in insides], float)
    moved = 1.0 * np.array(
        [[np.any([h[i] == j for h in halves], axis=0).sum() for j in range(k)] for i in insides]
    )
    np.fill_diagonal(moved, 0.0)
    # What goes one way by chance comes back the other.
    both = np.maximum(moved, moved.T)
    return np.asarray(np.clip(both / np.maximum(pixels, 1.0)[:, None], 0.0, _MOST))
