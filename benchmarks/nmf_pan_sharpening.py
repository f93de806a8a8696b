"""Pan-sharpening NMF: spectra from pooled pixels and maps from pooled channels, fitted together.

A candidate that siftem's default is compared with. After Chen et al. 2024 and Yokoya, Yairi &
Iwasaki 2012 (IEEE Trans. Geosci. Remote Sens. 50, 528), with the Poisson likelihood.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from benchmarks.nmf_cases import Case
from siftem import PoissonNMF
from siftem.decomposition.initialise import pooled_counts, pooling_matrix

#: Channels that are summed for the maps.
_CHANNELS = 20
_SWEEPS = 200


def pan_sharpened(truth: Case, *, n_components: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return spectra (k, m) and weights (n, k).

    Multiplicative updates of ``KL(P X, P W H) + KL(X R, W H R)``, with ``P`` summing square
    blocks of pixels to about 1500 counts and ``R`` neighbouring channels, from the pooled
    fit.
    """
    x, shape = truth.counts, truth.shape
    pooled, blocks = pooled_counts(x, shape, n_components)
    m = x.shape[1]
    to_bins = sp.csr_array((np.ones(m), (np.arange(m), np.arange(m) // _CHANNELS)))
    side = -(-shape[0] // blocks[0])
    to_blocks = pooling_matrix(shape, side).astype(np.float64)
    coarse, binned = pooled.toarray(), (x @ to_bins).toarray()
    h = PoissonNMF(n_components, map_shape=blocks).fit(pooled).components_ + 1e-9
    w = np.repeat(x.sum(axis=1)[:, None] / n_components, n_components, axis=1) + 1e-9
    for _ in range(_SWEEPS):
        w *= _ratio(binned, w, h @ to_bins) @ (h @ to_bins).T / h.sum(axis=1)
        blurred = to_blocks @ w
        first = blurred.T @ _ratio(coarse, blurred, h)
        second = (w.T @ _ratio(binned, w, h @ to_bins)) @ to_bins.T
        h *= (first + second) / (2 * w.sum(axis=0))[:, None]
        scale = h.sum(axis=1)
        h, w = h / scale[:, None], w * scale
    return h, w


def _ratio(counts: np.ndarray, weights: np.ndarray, spectra: np.ndarray) -> np.ndarray:
    return np.asarray(counts / np.maximum(weights @ spectra, 1e-12))
