"""Maps of a spectrum image for spectra that are known beforehand."""

from __future__ import annotations

import numpy as np

from siftem.blas_threads import one_blas_thread
from siftem.decomposition.factors import Factors, component_name
from siftem.decomposition.solver import even_weights, poisson_objective, solve_weights
from siftem.decomposition.solver_rows import solver_rows
from siftem.errors import InputError
from siftem.progress import Progress, silent
from siftem.spectrum_image import SpectrumImage

#: Share of the mean that a channel keeps in which no spectrum has anything: a count there
#: would otherwise be impossible.
_FLOOR = 1e-6


@one_blas_thread()
def fit_maps(
    si: SpectrumImage,
    spectra: np.ndarray,
    *,
    names: tuple[str, ...] | None = None,
    n_jobs: int | None = None,
    progress: Progress = silent,
) -> Factors:
    """Find the maximum-likelihood maps for given spectra.

    For each pixel the weights ``w >= 0`` that minimise ``sum(mean) - sum(y ln mean)`` with
    ``mean = w @ spectra``: a convex problem, so the answer is the only one there is when
    the spectra are linearly independent. Maps of several spectrum images by the same
    spectra are the maps that one factorisation of all their pixels would give them.

    Parameters
    ----------
    si : SpectrumImage
        Used as it is; crop it first.
    spectra : ndarray of shape (k, channels)
        Not negative; scaled to sum to one.
    names : tuple of str, optional
        A, B, C, ... by default. The order of the spectra is kept.
    n_jobs : int, optional
        Threads; None means all processors.
    progress : Progress
        Called as ``progress("decompose", fraction)``.

    Returns
    -------
    Factors

    Raises
    ------
    InputError
        When the spectra do not fit the map's channels, or are negative or empty.
    """
    spectra = np.array(spectra, dtype=np.float64)
    if spectra.ndim != 2 or spectra.shape[1] != si.n_channels:
        raise InputError(
            f"spectra must have shape (k, {si.n_channels}) for this map, got {spectra.shape}"
        )
    if not np.isfinite(spectra).all() or (spectra < 0).any() or not spectra.any(axis=1).all():
        raise InputError("spectra must be finite, not negative, and none of them empty")
    progress("decompose", 0.0)
    spectra /= spectra.sum(axis=1, keepdims=True)
    empty = ~spectra.any(axis=0)
    if empty.any():
        spectra[:, empty] = _FLOOR / si.n_channels
        spectra /= spectra.sum(axis=1, keepdims=True)
    rows = solver_rows(si.counts, n_jobs=n_jobs)
    weights = even_weights(rows, len(spectra), np.dtype(float))
    solve_weights(rows, spectra, weights)
    deviance = 2 * (poisson_objective(rows, weights, spectra) - rows.saturated)
    progress("decompose", 1.0)
    k = len(spectra)
    return Factors(
        maps=rows.maps(weights, np.arange(k)).reshape(k, *si.shape),
        spectra=spectra,
        axis=si.axis,
        names=names or tuple(component_name(i) for i in range(k)),
        deviance=deviance,
        n_iter=1,
        converged=True,
    )
