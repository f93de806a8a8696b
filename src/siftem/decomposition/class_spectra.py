"""Spectra of classes of pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from siftem.decomposition.purest import FEWEST_PIXELS, MOST_PIXELS, purest
from siftem.large.rows_of_counts import rows_of


def class_spectra(counts: sp.csr_array, labels: np.ndarray, k: int) -> np.ndarray:
    """Mean spectrum of each class, summing to one; (k, m)."""
    out = np.array([sum_of(counts, labels == c) for c in range(k)])
    out = out + 1e-6 * out.sum(axis=0) + 1e-12
    return np.asarray(out / out.sum(axis=1, keepdims=True))


def purest_spectra(counts: sp.csr_array, labels: np.ndarray, k: int) -> np.ndarray:
    """Spectrum of the purest pixels of each class, summing to one; (k, m)."""
    means = class_spectra(counts, labels, k)
    out = np.array(means)
    for c in range(k):
        found = purest(counts, labels == c, means, c).spectrum
        if found.sum() > 0:
            out[c] = found / found.sum()
    return out


def sum_of(counts: sp.csr_array, inside: np.ndarray) -> np.ndarray:
    """Sum the counts of the pixels of a mask (ny, nx); float64 (m,)."""
    return rows_of(counts).sum_of_rows(np.flatnonzero(inside.ravel()))


def spectra_inside(
    counts: sp.csr_array, insides: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum the purest pixels of each phase.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of shape (ny * nx, m)
        Or `siftem.large.blocked_counts.BlockedCounts`. Of large maps all pixels inside are
        summed.
    insides : sequence of ndarray of bool, shape (ny, nx)
        Pixels of each phase.

    Returns
    -------
    spectra : ndarray of shape (k, m)
        Counts.
    counts, pixels : ndarray of shape (k,)
    """
    sums = np.array([sum_of(counts, inside) for inside in insides])
    pixels = np.array([float(max(inside.sum(), 1)) for inside in insides])
    if insides[0].size <= MOST_PIXELS:
        spectra = sums + 1e-6 * sums.sum(axis=0) + 1e-12
        for _ in range(2):  # the first purest spectra are the better measure of purity
            spectra = spectra / spectra.sum(axis=1, keepdims=True)
            found = [
                purest(counts, inside, spectra, c, by_noise=True)
                if inside.sum() >= FEWEST_PIXELS
                else None
                for c, inside in enumerate(insides)
            ]
            for c, one in enumerate(found):
                if one is not None and one.spectrum.sum() > 0:
                    sums[c], pixels[c] = one.spectrum, one.pixels
            spectra = sums + 1e-6 * sums.sum(axis=0) + 1e-12
    return sums, sums.sum(axis=1), pixels
