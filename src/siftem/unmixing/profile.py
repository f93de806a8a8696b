"""What many mixed pixels know of the spectra when their abundances are unknown too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from siftem.unmixing.kernels import solve_abundances

#: Shares of the phases in a pixel are rounded to this many parts to put pixels together.
_PARTS = 24
#: Groups of pixels that are worked on at once.
_AT_ONCE = 256


def share_groups(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put pixels with about the same shares together.

    Parameters
    ----------
    maps : ndarray of shape (pixels, k)
        Abundances.

    Returns
    -------
    shares : ndarray of shape (groups, k)
        Sum to one.
    counts : ndarray of shape (groups,)
        Abundances of all pixels of a group.
    group : ndarray of int, shape (pixels,)
        Group of each pixel; -1 for a pixel without counts.
    """
    total = maps.sum(axis=1)
    used = total > 0
    parts = maps[used] / total[used, None]
    keys, inverse = np.unique(np.round(parts * _PARTS).astype(int), axis=0, return_inverse=True)
    inverse = inverse.ravel()
    counts = np.bincount(inverse, total[used])
    columns = [np.bincount(inverse, maps[used, i]) / counts for i in range(maps.shape[1])]
    shares = np.stack(columns, axis=1)
    # A phase that rounds to none is none: its abundance lies at the bound.
    shares[keys == 0] = 0.0
    group = np.full(maps.shape[0], -1)
    group[used] = inverse
    return shares / shares.sum(axis=1, keepdims=True), counts, group


def profile_information(
    designs: Sequence[np.ndarray], spectra: np.ndarray, shares: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Fisher information of the spectra's coefficients, abundances profiled out.

    With means ``n f.S`` of a pixel of n counts and shares f, columns ``G_k`` of phase k and
    ``W = 1 / f.S``, the block of phases k and l is

        I_kl = sum n f_k f_l [ G_k'WG_l - G_k'WS (S'WS)^-1 S'WG_l ]

    over groups of pixels of the same shares. The first term is one sum of weights over the
    groups, the second a product of matrices with the groups along their inner side.

    Parameters
    ----------
    designs : sequence of ndarray of shape (channels, q)
        Columns of each phase.
    spectra : ndarray of shape (channels, k)
        S, each summing to one.
    shares : ndarray of shape (groups, k)
    counts : ndarray of shape (groups,)

    Returns
    -------
    ndarray of shape (k q, k q)
        Coefficients of the first phase first. Singular along the scale of each spectrum,
        which the abundances take up.
    """
    q, k = designs[0].shape[1], spectra.shape[1]
    out = np.zeros((k, q, k, q))
    pairs = [(a, b) for a in range(k) for b in range(a, k)]
    for start in range(0, counts.size, _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        share, n = shares[some], counts[some]
        weight = 1 / np.maximum(spectra @ share.T, 1e-12)
        there = share > 0
        inner = np.zeros((n.size, k, k))
        for a, b in pairs:
            inner[:, a, b] = inner[:, b, a] = weight.T @ (spectra[:, a] * spectra[:, b])
        inner *= there[:, :, None] & there[:, None, :]
        inverse = np.linalg.pinv(inner, hermitian=True)
        # Channels x groups x phases: the mean's share of each phase's spectrum.
        parts = (weight[:, :, None] * spectra[:, None, :]).reshape(spectra.shape[0], -1)
        cross = [
            (g.T @ parts).reshape(q, n.size, k) * (np.sqrt(n) * f)[:, None]
            for g, f in zip(designs, share.T, strict=True)
        ]
        solved = [np.einsum("qgk,gkl->qgl", c, inverse).reshape(q, -1) for c in cross]
        for a, b in pairs:
            own = weight @ (n * share[:, a] * share[:, b])
            block = (designs[a] * own[:, None]).T @ designs[b]
            block -= cross[a].reshape(q, -1) @ solved[b].T
            out[a, :, b] += block
            if a != b:
                out[b, :, a] += block.T
    return out.reshape(k * q, k * q)


def free_spectra(
    counts: np.ndarray, amounts: np.ndarray, start: np.ndarray, *, passes: int = 1000
) -> tuple[np.ndarray, np.ndarray]:
    """Maximum-likelihood spectra of known amounts, every channel for itself.

    A channel is to the groups what a pixel is to the channels: the same iteration solves both.

    Parameters
    ----------
    counts : ndarray of shape (groups, channels)
    amounts : ndarray of shape (groups, k)
        Of each phase in each group, for spectra that sum to one.
    start : ndarray of shape (channels, k)
        First spectra, positive.
    passes : int
        Passes over the phases at the most.

    Returns
    -------
    spectra : ndarray of shape (channels, k)
    variance : ndarray of shape (channels, k)
        By the Fisher information of each channel, for the given amounts.
    """
    totals = np.maximum(amounts.sum(axis=0), 1e-300)
    rows = sp.csr_array(counts.T)
    found = np.maximum(start, 1e-3 * start.max(axis=0) / start.shape[0]) * totals
    solve_abundances(
        rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data, amounts / totals,
        np.ones(found.shape, np.uint8), found, passes, 1e-9,
    )  # fmt: skip
    spectra = found / totals
    mean = np.maximum(spectra @ amounts.T, 1e-6 * counts.mean() + 1e-300)
    information = np.einsum("gk,jg,gl->jkl", amounts, 1 / mean, amounts)
    inverse = np.linalg.pinv(information, hermitian=True)
    return spectra, np.maximum(np.einsum("jkk->jk", inverse), 0.0)
