"""Split counts into two independent parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from siftem.errors import InputError
from siftem.spectrum_image import SpectrumImage


def thin(
    si: SpectrumImage, *, share: float = 0.5, random_state: int | np.random.Generator = 0
) -> tuple[SpectrumImage, SpectrumImage]:
    """Split a map in two: each count goes to the first part with probability ``share``.

    The parts of Poisson counts are independent Poisson counts of ``share`` and
    ``1 - share`` of the mean, so that one can judge what was made of the other.

    Parameters
    ----------
    si : SpectrumImage
        Counts, in memory. Fractions (of interpolated maps) are first rounded up or down by
        chance, so that their mean stays: for counts that are few a cell, that is the noise
        which the interpolation took away.
    share : float
        Between 0 and 1.
    random_state : int or numpy Generator
        Of the draw.

    Returns
    -------
    first, second : SpectrumImage
        They sum to ``si``, where that is whole, as do their pedestals; all else is the same.

    Raises
    ------
    InputError
        When the counts stay on disk.

    References
    ----------
    A. Dharamshi et al., Generalized data thinning, arXiv:2301.07276 (2023).
    """
    if not 0 < share < 1:
        raise InputError(f"share must lie between 0 and 1, got {share!r}")
    if not isinstance(si.counts, sp.csr_array):
        raise InputError("thinning needs a map in memory: load it, or bin it to a smaller one")
    first, second = split_counts(si.counts, share, np.random.default_rng(random_state))
    return (
        replace(si, counts=first, pedestal=share * si.pedestal),
        replace(si, counts=second, pedestal=(1 - share) * si.pedestal),
    )


def split_counts(
    counts: sp.csr_array, share: float, rng: np.random.Generator
) -> tuple[sp.csr_array, sp.csr_array]:
    """Split sparse counts by a binomial draw of each entry; see `thin`.

    Parameters
    ----------
    counts : scipy.sparse.csr_array
        From 0 up.
    share : float
        Expected share of the first part.
    rng : numpy Generator

    Returns
    -------
    first, second : scipy.sparse.csr_array
        Of the same shape and kind of number, without stored zeros.
    """
    data = counts.data
    fraction = data % 1 if data.dtype.kind == "f" else np.zeros(0)
    # Fractions are drawn before the halves, and parts of the counts in turn: a large map takes no
    # more memory than its counts, and the draws are the same.
    up = rng.random(data.size) < fraction if fraction.any() else None
    kept = np.empty_like(data)
    for start in range(0, data.size, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        whole = np.floor(data[part]).astype(np.int64)
        if up is not None:
            whole += up[part]
        kept[part] = rng.binomial(whole, share)
    first = _with_data(counts, kept)
    # From here on the array of the first half's zeros and counts holds those of the second.
    np.subtract(data if up is None else np.floor(data) + up, kept, out=kept, casting="same_kind")
    return first, _with_data(counts, kept)


#: Entries that are drawn at once.
_AT_ONCE = 1 << 20


def _with_data(counts: sp.csr_array, data: np.ndarray) -> sp.csr_array:
    held = data != 0
    rows = np.add.reduceat(np.append(held, False), counts.indptr[:-1], dtype=counts.indptr.dtype)
    rows[np.diff(counts.indptr) == 0] = 0  # else what follows an empty row
    indptr = np.concatenate([[0], np.cumsum(rows)]).astype(counts.indptr.dtype)
    return sp.csr_array((data[held], counts.indices[held], indptr), shape=counts.shape)
