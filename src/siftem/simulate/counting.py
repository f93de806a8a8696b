"""Counting noise: exact Poisson events, without a dense cube."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from siftem.errors import InputError

#: Expected events that are drawn at a time, to bound the memory.
_EVENTS = 2_000_000


def poisson_counts(
    abundances: np.ndarray, spectra: np.ndarray, rng: np.random.Generator
) -> sp.csr_array:
    """Draw counts with the expectation ``abundances.T @ spectra``.

    Each component of each pixel gives a Poisson number of events; each event falls into a
    channel by the component's spectrum. This is the same as an independent Poisson draw
    for every voxel, at a cost of the number of events.

    Parameters
    ----------
    abundances : ndarray of shape (k, pixels)
        Expected counts of each component in each pixel.
    spectra : ndarray of shape (k, channels)
        Each sums to one.
    rng : numpy.random.Generator

    Returns
    -------
    scipy.sparse.csr_array of shape (pixels, channels), int32
    """
    abundances = np.asarray(abundances, float)
    spectra = np.asarray(spectra, float)
    if abundances.ndim != 2 or spectra.ndim != 2 or abundances.shape[0] != spectra.shape[0]:
        raise InputError(
            f"abundances (k, pixels) and spectra (k, channels) must have one k, "
            f"got {abundances.shape} and {spectra.shape}"
        )
    for label, array in (("abundances", abundances), ("spectra", spectra)):
        if not (np.isfinite(array).all() and (array >= 0).all()):
            raise InputError(f"{label} must be finite and not negative")
    if not np.allclose(spectra.sum(axis=1), 1, atol=1e-9):
        raise InputError("each spectrum must sum to one")
    n_pixels, n_channels = abundances.shape[1], spectra.shape[1]
    cumulative = np.cumsum(spectra, axis=1)
    cumulative /= cumulative[:, -1:]
    blocks = []
    for start, stop in _blocks(abundances.sum(axis=0)):
        pixels, channels = [], []
        for expected, table in zip(abundances[:, start:stop], cumulative, strict=True):
            numbers = rng.poisson(expected)
            pixels.append(np.repeat(np.arange(stop - start), numbers))
            channels.append(np.searchsorted(table, rng.random(int(numbers.sum())), side="right"))
        row = np.concatenate(pixels)
        column = np.concatenate(channels)
        block = sp.coo_array(
            (np.ones(row.size, np.int32), (row, column)), shape=(stop - start, n_channels)
        ).tocsr()
        block.sum_duplicates()
        blocks.append(block)
    if not blocks:
        return sp.csr_array((n_pixels, n_channels), dtype=np.int32)
    return sp.csr_array(sp.vstack(blocks, format="csr"))


def _blocks(expected: np.ndarray) -> list[tuple[int, int]]:
    """Cut the pixels into runs of some two million expected events."""
    run = np.floor(np.cumsum(expected) / _EVENTS)
    cuts = np.flatnonzero(np.diff(run)) + 1
    bounds = [0, *cuts.tolist(), expected.size]
    return [(a, b) for a, b in pairwise(bounds) if b > a]
