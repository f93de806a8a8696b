"""Spectra of classes of pixels."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from siftem.blocked_counts import BlockedCounts
from siftem.decompose.purest import purest


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
    rows = np.flatnonzero(inside.ravel())
    if isinstance(counts, BlockedCounts):
        return np.asarray(counts.sum_of_rows(rows), float)
    return np.asarray(counts[rows].sum(axis=0, dtype=np.float64)).ravel()
