"""Maps for spectra that are known or shared.

Several signals of one scan are factorised with the same maps and spectra of their own; maps are
also fitted for spectra that are known beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from siftem.decomposition.factors import Factors, component_name, decompose
from siftem.decomposition.solver import even_weights, poisson_objective, solve_weights
from siftem.decomposition.solver_rows import solver_rows
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.hyperspy_input import as_map
from siftem.machine import one_blas_thread
from siftem.progress import Progress, shows_progress, silent
from siftem.spectrum_image import SpectrumImage


@shows_progress
@one_blas_thread()
def decompose_together(
    images: Sequence[SpectrumImage],
    n_components: int = 3,
    *,
    random_state: int = 0,
    n_init: int = 1,
    tol: float = 1e-7,
    max_iter: int = 500,
    n_jobs: int | None = None,
    progress: Progress = silent,
) -> tuple[Factors, ...]:
    """Factorise signals that were taken in one scan, such as X-rays and energy losses.

    The channels of all signals stand side by side in one Poisson likelihood, so each signal
    weighs by its counts, and a component has one map for all of them.

    Parameters
    ----------
    images : sequence of SpectrumImage
        Two or more of one scan size. Analogue signals first go through
        :func:`siftem.as_counts`. Zero peaks of X-ray maps are cropped.
    n_components, random_state, n_init, tol, max_iter, n_jobs, progress
        As for :func:`siftem.decompose`.

    Returns
    -------
    tuple of Factors
        One for each signal, components in the same order with the same names. Maps count
        that signal's share: they differ by a factor for each component. A component that a
        signal does not see has a map of zeros and a flat spectrum there.

    Raises
    ------
    InputError
        With fewer than two signals, or of different scan sizes.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> soft, hard = si.cropped(None, 3.0), si.cropped(3.0, None)
    >>> two = siftem.decompose_together([soft, hard], n_components=2)
    >>> [f.spectra.shape[0] for f in two]
    [2, 2]
    """
    if len(images) < 2:
        raise InputError(
            f"decompose_together takes two signals or more of one scan, got {len(images)}"
        )
    images = [as_map(si).without_zero_peak() for si in images]
    shapes = [si.shape for si in images]
    if len(set(shapes)) > 1:
        sizes = ", ".join(f"{ny} x {nx}" for ny, nx in shapes)
        raise InputError(
            f"signals of one scan have one size, but these have {sizes} pixels: "
            "crop or rebin them to the same pixels first"
        )
    cuts = np.cumsum([si.n_channels for si in images])
    joined = SpectrumImage(
        sp.csr_array(sp.hstack([si.counts for si in images], format="csr")),
        shapes[0],
        # Channel numbers: the signals have no common energy.
        EnergyAxis(0.0, 1.0, int(cuts[-1]), "eV"),
        signal_type="",
    )
    found = decompose(
        joined,
        n_components,
        random_state=random_state,
        n_init=n_init,
        tol=tol,
        max_iter=max_iter,
        n_jobs=n_jobs,
        progress=progress,
    )
    parts = []
    for si, stop in zip(images, cuts, strict=True):
        spectra = found.spectra[:, stop - si.n_channels : stop]
        share = spectra.sum(axis=1)
        flat = np.full_like(spectra, 1 / si.n_channels)
        shapes_of = np.divide(spectra, share[:, None], out=flat, where=share[:, None] > 0)
        parts.append(
            replace(
                found,
                maps=found.maps * share[:, None, None],
                spectra=shapes_of,
                axis=si.axis,
                indeterminacy=None,
            )
        )
    return tuple(parts)


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
        A, E, G, ... (no symbols of elements) by default. The order of the spectra is kept.
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
