"""Poisson (Kullback-Leibler) NMF of sparse counts as a scikit-learn estimator."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from siftem.blas_threads import one_blas_thread
from siftem.decomposition import solver
from siftem.decomposition.coarse_to_fine import CoarseToFine
from siftem.decomposition.known_parts import KnownParts
from siftem.decomposition.row_blocks import n_threads
from siftem.decomposition.solver_rows import SolverRows, solver_rows
from siftem.decomposition.sweep_state import Checkpoint
from siftem.errors import DoubtWarning, InputError
from siftem.large.blocked_counts import BlockedCounts
from siftem.progress import Progress, silent
from siftem.sparse_rows import checked_rows


class PoissonNMF(TransformerMixin, BaseEstimator):
    """Non-negative factorisation of counts by maximum Poisson likelihood.

    Finds ``weights`` (pixels x components) and ``components_`` (components x channels),
    both non-negative, that minimise ``sum(mean - y ln mean)`` with
    ``mean = weights @ components_``. Only the stored (non-zero) counts are visited, in one
    copy, with one pass for both factors.

    The likelihood alone does not fix the answer: spectra can be sheared along each other
    at no cost as long as nothing becomes negative. See `siftem.decompose` for an answer
    that is chosen, and `siftem.decomposition.indeterminacy` for how far it is fixed.

    Parameters
    ----------
    n_components : int
        Number of components.
    init : {"vertices", "random"}
        "vertices" takes the most extreme blocks of pixels as first spectra.
    n_init : int
        Number of starts, worked on in parallel; the best likelihood is kept. Starts after
        the first draw their vertices at random.
    map_shape : tuple of int, optional
        (ny, nx) of the map whose pixels are the rows: the start then pools square blocks of
        neighbours and is refined from coarse to fine. Without it, runs of consecutive rows
        are pooled.
    max_iter : int
        Sweeps at the most; a warning says when they did not suffice.
    tol : float
        Stop when a sweep lowers the objective by less than ``tol`` times half the deviance,
        and the next step of the spectra is expected to gain no more.
    n_passes : int
        Newton steps on each row within a sweep.
    extrapolate : bool
        Speed up by running ahead along the last change.
    dtype : {"float64", "float32"}
        Precision of the factors.
    fixed_spectra : mapping of int to ndarray of shape (n_features,), optional
        Known spectra by component, e.g. ``{0: matrix}``; used up to scale.
    support : ndarray of bool, shape (n_samples, n_components), optional
        Where a component may be present.
    n_jobs : int, optional
        Threads; None and -1 mean all processors. The answer does not depend on it.
    random_state : int, RandomState, Generator or None
        Seed of the start. None is treated as 0: the default is reproducible.
    checkpoint : Checkpoint, optional
        Keeps the state of ``fit`` on disk (see `siftem.io.fit_checkpoint`), so that a killed
        fit goes on where it was. For one start only.
    progress : callable, optional
        Called as ``progress(step, fraction)``; raise from it to stop.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Spectra, each summing to one; weights are therefore counts.
    n_iter_ : int
        Sweeps of the best start, on the full data.
    converged_ : bool
        Whether it stopped by ``tol``.
    reconstruction_err_ : float
        Square root of the Poisson deviance (twice the KL divergence), as in scikit-learn.
    deviance_ : float
        Poisson deviance ``2 sum(y ln(y/mean) - y + mean)``.
    relative_decrease_ : float
        Gain of the last sweep over half the deviance.
    kkt_ : float
        How far from a stationary point (0 is exact): the root mean square of
        ``min(w / mean(w), gradient / scale)``.
    history_ : ndarray of shape (n_iter_,)
        Objective of each sweep.
    deviances_of_starts_ : ndarray of shape (n_init,)
        Deviance that each start reached.
    components_of_starts_ : ndarray of shape (n_init, k, m)
        Spectra that each start reached.
    n_iter_of_starts_, converged_of_starts_ : ndarray of shape (n_init,)
        Sweeps of each start, and whether it stopped by ``tol``.
    n_features_in_ : int
        Number of channels.

    Notes
    -----
    The weights of each row are improved by Newton steps on a quadratic model, minimised
    over non-negative weights by coordinate descent and elimination. A step is shortened
    where a bound on the change of the likelihood asks for it: the objective never rises.
    Coordinate descent on this likelihood: Lin & Boutros 2020 (BMC Bioinformatics 21, 6);
    Hsieh & Dhillon 2011 (KDD, 1064); Carbonetto et al. 2021 (arXiv 2105.13440).
    Extrapolation: Ang & Gillis 2019 (Neural Computation 31, 417).

    Examples
    --------
    >>> import numpy as np
    >>> counts = np.random.default_rng(0).poisson(np.outer([4, 4, 1, 1], [9, 1, 5]) + 1)
    >>> model = siftem.PoissonNMF(1)
    >>> model.fit_transform(counts).shape, model.components_.sum().round(6)
    ((4, 1), np.float64(1.0))
    """

    def __init__(
        self,
        n_components: int = 3,
        *,
        init: str = "vertices",
        n_init: int = 1,
        map_shape: tuple[int, int] | None = None,
        max_iter: int = 500,
        tol: float = 1e-6,
        n_passes: int = 1,
        extrapolate: bool = True,
        dtype: str = "float64",
        fixed_spectra: Mapping[int, np.ndarray] | None = None,
        support: np.ndarray | None = None,
        n_jobs: int | None = None,
        random_state: Any = 0,
        checkpoint: Checkpoint | None = None,
        progress: Progress | None = None,
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
        self.fixed_spectra = fixed_spectra
        self.support = support
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.checkpoint = checkpoint
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
        return np.asarray(self.fit_weights(X))

    @one_blas_thread()
    def fit_weights(self, X: Any) -> Any:
        """Fit the factors and return the weights where the counts are.

        As `fit_transform`; of `siftem.large.blocked_counts.BlockedCounts` they stay on disk, as
        `siftem.decomposition.blockwise.BlockWeights`.
        """
        x = self._counts(X, reset=True)
        self._check_parameters(x.shape)
        known = KnownParts.checked(
            x.shape,
            self.n_components,
            support=self.support,
            fixed=None if self.fixed_spectra is None else dict(self.fixed_spectra),
        )
        counts = solver_rows(x, n_jobs=self.n_jobs)
        rngs = _generator(self.random_state).spawn(self.n_init)
        plan = self._plan()
        levels = plan.levels(x, n_jobs=n_threads(self.n_jobs))

        def one(start: int, rows: SolverRows[Any], progress: Progress) -> solver.Solution[Any]:
            rng, draw = rngs[start], start > 0
            return plan.run(rows, levels, known, rng, draw=draw, progress=progress)

        reports: list[Any] = [self.progress or silent, *[silent] * (self.n_init - 1)]
        if self.n_init > 1 and counts.n_jobs > 1:
            single = [counts.in_one_thread() for _ in range(self.n_init)]
            with ThreadPoolExecutor(counts.n_jobs) as pool:
                solutions = list(pool.map(one, range(self.n_init), single, reports))
        else:
            solutions = [one(start, counts, reports[start]) for start in range(self.n_init)]
        best = min(solutions, key=lambda s: s.objective)
        self._store(best)
        self.deviances_of_starts_ = np.array([s.deviance for s in solutions])
        self.components_of_starts_ = np.stack([_scaled(s.spectra)[0] for s in solutions])
        self.n_iter_of_starts_ = np.array([s.n_sweeps for s in solutions])
        self.converged_of_starts_ = np.array([s.converged for s in solutions])
        weights = (best.weights * _scaled(best.spectra)[1]).astype(self.dtype)
        # The last sweep took single steps: finish the rows for the final spectra.
        spectra, free = self.components_, known.support
        solver.solve_weights(counts, spectra, weights, free=free, n_passes=50)
        return weights

    def transform(self, X: Any) -> np.ndarray:
        """Return the maximum-likelihood weights of ``X`` for the fitted spectra."""
        check_is_fitted(self, "components_")
        counts = solver_rows(self._counts(X, reset=False), n_jobs=self.n_jobs)
        weights = solver.even_weights(counts, len(self.components_), self.components_.dtype)
        solver.solve_weights(counts, self.components_, weights)
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
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _plan(self) -> CoarseToFine:
        return CoarseToFine(
            n_components=self.n_components,
            init=self.init,
            map_shape=self.map_shape and (int(self.map_shape[0]), int(self.map_shape[1])),
            max_iter=self.max_iter,
            tol=self.tol,
            n_passes=self.n_passes,
            extrapolate=self.extrapolate,
            dtype=np.dtype(self.dtype),
            checkpoint=self.checkpoint if self.n_init == 1 else None,
        )

    def _store(self, best: solver.Solution[Any]) -> None:
        if not best.converged:
            warnings.warn(
                f"PoissonNMF stopped at max_iter={self.max_iter} before it converged (last "
                f"relative decrease {best.last_gain:.1e}, tol {self.tol:.1e}; stationarity "
                f"{best.kkt:.1e}): raise max_iter or tol",
                DoubtWarning,
                stacklevel=5,
            )
        self.components_ = _scaled(best.spectra)[0].astype(self.dtype)
        self.n_iter_ = best.n_sweeps
        self.converged_ = best.converged
        self.deviance_ = best.deviance
        self.reconstruction_err_ = float(np.sqrt(max(best.deviance, 0.0)))
        self.relative_decrease_ = best.last_gain
        self.kkt_ = best.kkt
        self.history_ = best.history

    def _counts(self, X: Any, *, reset: bool) -> sp.csr_array:
        if isinstance(X, BlockedCounts):
            if reset and self.support is not None:
                raise InputError(
                    "a support of components is not available for a map that is larger than "
                    "memory: leave it out, or load the map whole"
                )
            if reset and self.map_shape is None:
                raise InputError("a map larger than memory needs map_shape=(ny, nx)")
            self.n_features_in_ = X.shape[1]
            return X
        if sp.issparse(X):
            X = checked_rows(X)
        x = sp.csr_array(validate_data(self, X, accept_sparse="csr", dtype="numeric", reset=reset))
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
        if not (np.isfinite(self.tol) and self.tol >= 0):
            raise InputError(f"tol must be zero or positive, got {self.tol!r}")
        if self.map_shape is not None and int(np.prod(self.map_shape)) != shape[0]:
            raise InputError(
                f"map_shape {tuple(self.map_shape)} does not fit the {shape[0]} rows of the data"
            )


def _scaled(spectra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spectra that sum to one, and the sums that they had (1 where there was nothing)."""
    scale = spectra.sum(axis=1, dtype=np.float64)
    scale[scale <= 0] = 1.0
    return spectra / scale[:, None], scale


def _generator(random_state: Any) -> np.random.Generator:
    """Return a generator from what scikit-learn accepts as ``random_state``."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31))
    return np.random.default_rng(0 if random_state is None else random_state)
