"""Poisson (Kullback-Leibler) NMF of sparse counts as a scikit-learn estimator."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from siftem.decompose import solver
from siftem.decompose.initialise import pooling_block, pooling_matrix, vertex_spectra
from siftem.errors import InputError, SiftemWarning
from siftem.progress import silent


class PoissonNMF(TransformerMixin, BaseEstimator):
    """Non-negative factorisation of counts by maximum Poisson likelihood.

    Finds ``weights`` (pixels x components) and ``components_`` (components x channels),
    both non-negative, that minimise ``sum(mean - y ln mean)`` with
    ``mean = weights @ components_``. Only the stored (non-zero) counts are visited.

    The likelihood alone does not fix the answer: spectra can be sheared along each other
    at no cost as long as nothing becomes negative. Use regions and anchors for that.

    Parameters
    ----------
    n_components : int
        Number of components.
    init : {"vertices", "random"}
        "vertices" takes the most extreme blocks of pixels as first spectra.
    n_init : int
        Number of starts; the best likelihood is kept. Starts after the first draw their
        vertices at random.
    map_shape : tuple of int, optional
        (ny, nx) of the map whose pixels are the rows, so that the start can pool square
        blocks of neighbours. Without it, runs of consecutive rows are pooled.
    max_iter : int
        Sweeps at the most; a warning says when they did not suffice.
    tol : float
        Stop when a sweep lowers the objective by less than ``tol`` times the deviance.
    n_passes : int
        Coordinate passes on each row within a sweep.
    extrapolate : bool
        Speed up by running ahead along the last change.
    dtype : {"float64", "float32"}
        Precision of the factors.
    random_state : int, RandomState, Generator or None
        Seed of the start. None is treated as 0: the default is reproducible.
    progress : callable, optional
        Called as ``progress(step, fraction)``; raise from it to stop.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Spectra, each summing to one; weights are therefore counts.
    n_iter_ : int
        Sweeps of the best start.
    converged_ : bool
        Whether it stopped by ``tol``.
    reconstruction_err_ : float
        Square root of the Poisson deviance (twice the KL divergence), as in scikit-learn.
    deviance_ : float
        Poisson deviance ``2 sum(y ln(y/mean) - y + mean)``.
    kkt_ : float
        How far from a stationary point (0 is exact).
    history_ : ndarray of shape (n_iter_,)
        Objective after each sweep.
    deviances_of_starts_ : ndarray of shape (n_init,)
        Deviance that each start reached.
    n_features_in_ : int
        Number of channels.

    References
    ----------
    Coordinate descent for KL: Hsieh & Dhillon 2011 (KDD), Lin & Boutros 2020 (BMC
    Bioinformatics 21, 6). Extrapolation: Ang & Gillis 2019 (Neural Computation 31, 417).
    """

    def __init__(
        self,
        n_components: int = 3,
        *,
        init: str = "vertices",
        n_init: int = 1,
        map_shape: tuple[int, int] | None = None,
        max_iter: int = 500,
        tol: float = 1e-7,
        n_passes: int = 3,
        extrapolate: bool = True,
        dtype: str = "float64",
        random_state: Any = 0,
        progress: Callable[[str, float], None] | None = None,
    ) -> None:
        self.n_components = n_components
        self.init = init
        self.n_init = n_init
        self.map_shape = map_shape
        self.max_iter = max_iter
        self.tol = tol
        self.n_passes = n_passes
        self.extrapolate = extrapolate
        self.dtype = dtype
        self.random_state = random_state
        self.progress = progress

    def fit(self, X: Any, y: None = None) -> Self:
        """Fit the factors to counts ``X`` (n_samples, n_features), dense or sparse."""
        self.fit_transform(X)
        return self

    def fit_transform(self, X: Any, y: None = None, **fit_params: Any) -> np.ndarray:
        """Fit the factors and return the weights.

        Parameters
        ----------
        X : array or sparse array of shape (n_samples, n_features)
            Non-negative counts.
        y : None
            Ignored.
        **fit_params : dict
            Not used.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
        """
        x = self._counts(X, reset=True)
        self._check_parameters(x.shape)
        dtype = np.dtype(self.dtype)
        counts = solver.Counts.of(x, dtype)
        rng = _generator(self.random_state)
        pooled = self._pooled(x)
        best: solver.Solution | None = None
        deviances = []
        for start in range(self.n_init):
            spectra = self._start(pooled, rng, draw=start > 0).astype(dtype)
            found = solver.alternate(
                counts,
                _first_weights(counts, spectra),
                spectra,
                max_sweeps=self.max_iter,
                tol=self.tol,
                n_passes=self.n_passes,
                extrapolate=self.extrapolate,
                progress=self.progress or silent,
            )
            deviances.append(found.deviance)
            if best is None or found.objective < best.objective:
                best = found
        assert best is not None
        if not best.converged:
            warnings.warn(
                f"PoissonNMF stopped at max_iter={self.max_iter} before it converged "
                f"(stationarity {best.kkt:.1e}): raise max_iter or tol",
                SiftemWarning,
                stacklevel=2,
            )
        scale = best.spectra.sum(axis=0, dtype=np.float64)
        scale[scale <= 0] = 1.0
        self.components_ = (best.spectra / scale).T.astype(dtype)
        self.n_iter_ = best.n_sweeps
        self.converged_ = best.converged
        self.deviance_ = best.deviance
        self.reconstruction_err_ = float(np.sqrt(max(best.deviance, 0.0)))
        self.kkt_ = best.kkt
        self.history_ = best.history
        self.deviances_of_starts_ = np.array(deviances)
        return (best.weights * scale).astype(dtype)

    def transform(self, X: Any) -> np.ndarray:
        """Return the maximum-likelihood weights of ``X`` for the fitted spectra."""
        check_is_fitted(self, "components_")
        x = sp.csr_array(self._counts(X, reset=False), dtype=self.components_.dtype)
        spectra = np.ascontiguousarray(self.components_.T)
        weights = _even_weights(x, spectra.shape[1], spectra.dtype)
        solver.solve_side(x, spectra, weights, n_passes=200)
        return weights

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Return the expected counts ``X @ components_`` (dense) of weights ``X``."""
        check_is_fitted(self, "components_")
        return np.asarray(X) @ self.components_

    @property
    def _n_features_out(self) -> int:
        return self.components_.shape[0]

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn what the estimator takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _counts(self, X: Any, *, reset: bool) -> sp.csr_array:
        x = validate_data(
            self, X, accept_sparse=("csr", "csc"), dtype="numeric", reset=reset
        )
        x = sp.csr_array(x)
        if x.nnz and x.data.min() < 0:
            raise InputError(
                "Negative values in data passed to PoissonNMF: give the raw counts, "
                "before any background is subtracted"
            )
        return x

    def _check_parameters(self, shape: tuple[int, int]) -> None:
        if not (isinstance(self.n_components, (int, np.integer)) and self.n_components >= 1):
            raise InputError(f"n_components must be a positive integer, got {self.n_components!r}")
        if self.init not in ("vertices", "random"):
            raise InputError(f"init must be 'vertices' or 'random', got {self.init!r}")
        if self.n_init < 1 or self.max_iter < 1 or self.n_passes < 1:
            raise InputError(
                f"n_init, max_iter and n_passes must be at least 1, got "
                f"{self.n_init}, {self.max_iter}, {self.n_passes}"
            )
        if np.dtype(self.dtype) not in (np.dtype("float64"), np.dtype("float32")):
            raise InputError(f"dtype must be 'float64' or 'float32', got {self.dtype!r}")
        if self.map_shape is not None and int(np.prod(self.map_shape)) != shape[0]:
            raise InputError(
                f"map_shape {tuple(self.map_shape)} does not fit the {shape[0]} rows of the data"
            )

    def _pooled(self, x: sp.csr_array) -> sp.csr_array:
        shape = self.map_shape or (1, x.shape[0])
        if self.map_shape is not None:
            block = pooling_block(x.shape[0], self.n_components)
        else:
            block = max(1, x.shape[0] // 2500)
        return sp.csr_array(pooling_matrix(tuple(shape), block) @ x)

    def _start(self, pooled: sp.csr_array, rng: np.random.Generator, *, draw: bool) -> np.ndarray:
        if self.init == "random" or pooled.nnz == 0:
            mean = np.asarray(pooled.sum(axis=0), dtype=np.float64).ravel() + 1e-12
            spectra = mean[:, None] * rng.uniform(0.1, 1.9, (mean.size, self.n_components))
            return spectra / spectra.sum(axis=0)
        return vertex_spectra(pooled, self.n_components, rng, draw=draw)


def _generator(random_state: Any) -> np.random.Generator:
    """Return a generator from what scikit-learn accepts as ``random_state``."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31))
    return np.random.default_rng(0 if random_state is None else random_state)


def _even_weights(x: sp.csr_array, k: int, dtype: np.dtype) -> np.ndarray:
    totals = np.asarray(x.sum(axis=1), dtype=np.float64).reshape(-1, 1)
    return np.repeat(totals / k, k, axis=1).astype(dtype)


def _first_weights(counts: solver.Counts, spectra: np.ndarray) -> np.ndarray:
    weights = _even_weights(counts.by_row, spectra.shape[1], spectra.dtype)
    solver.solve_side(counts.by_row, spectra, weights, n_passes=20)
    return weights
