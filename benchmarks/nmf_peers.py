"""Other people's factorisations on the same counts."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import scipy.sparse as sp
from sklearn.decomposition import NMF

from benchmarks.nmf_cases import Case, deviance


@dataclass(frozen=True, eq=False)
class Outcome:
    """Wall time in seconds, factors, deviance and iterations of one method."""

    seconds: float
    weights: np.ndarray
    spectra: np.ndarray
    deviance: float
    n_iter: int


def multiplicative(truth: Case, *, max_iter: int) -> Outcome:
    """scikit-learn: ``solver="mu", beta_loss="kullback-leibler"`` on CSR, tol 1e-6."""
    x = sp.csr_matrix(truth.counts)
    model = NMF(
        3,
        solver="mu",
        beta_loss="kullback-leibler",
        init="nndsvda",
        tol=1e-6,
        max_iter=max_iter,
        random_state=0,
    )
    return _timed(truth, model, x)


def keenan_kotula(truth: Case) -> Outcome:
    """scikit-learn: ``solver="cd"`` on CSR counts scaled by the roots of their means."""
    start = perf_counter()
    rows, columns = (
        np.sqrt(np.asarray(truth.counts.mean(axis=a), dtype=np.float64).ravel()) for a in (1, 0)
    )
    inverse = [np.divide(1, s, out=np.zeros_like(s), where=s > 0) for s in (rows, columns)]
    x = sp.csr_matrix(sp.diags_array(inverse[0]) @ truth.counts @ sp.diags_array(inverse[1]))
    model = NMF(3, solver="cd", init="nndsvd", max_iter=5000, random_state=0)
    return _timed(truth, model, x, rows=rows, columns=columns, start=start)


def hyperspy_usual(truth: Case) -> Outcome:
    """HyperSpy: ``decomposition(algorithm="NMF", normalize_poissonian_noise=True)``."""
    import hyperspy.api as hs

    cube = truth.counts.toarray().reshape(*truth.shape, -1)
    signal = hs.signals.Signal1D(cube)
    start = perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signal.decomposition(
            algorithm="NMF",
            output_dimension=3,
            normalize_poissonian_noise=True,
            navigation_mask=None,
            print_info=False,
        )
    seconds = perf_counter() - start
    results = signal.learning_results
    weights = np.abs(np.asarray(results.loadings))
    spectra = np.abs(np.asarray(results.factors)).T
    return Outcome(seconds, weights, spectra, deviance(truth.counts, weights, spectra), 0)


def _timed(
    truth: Case,
    model: NMF,
    x: sp.csr_matrix,
    *,
    rows: np.ndarray | None = None,
    columns: np.ndarray | None = None,
    start: float | None = None,
) -> Outcome:
    start = perf_counter() if start is None else start
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weights = model.fit_transform(x)
    spectra = model.components_
    if rows is not None and columns is not None:
        weights, spectra = weights * rows[:, None], spectra * columns
    seconds = perf_counter() - start
    found = deviance(truth.counts, weights, spectra)
    return Outcome(seconds, weights, spectra, found, int(model.n_iter_))
