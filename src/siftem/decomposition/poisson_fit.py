"""Poisson (Kullback-Leibler) NMF of sparse counts, without scikit-learn.

A fit goes from coarse to fine: pooled pixels make a cheap and good start for the full map.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from siftem.decomposition import solver
from siftem.decomposition.initialise import pooled_level, pooling_block, vertex_spectra
from siftem.decomposition.solver import Checkpoint, KnownParts, matched_start
from siftem.decomposition.solver_rows import SolverRows, n_threads, solver_rows
from siftem.errors import DoubtWarning, InputError
from siftem.large.rows_of_counts import BlockedCounts, rows_of
from siftem.machine import one_blas_thread
from siftem.progress import Progress, shows_progress, silent

#: Tolerance and sweeps of the coarse levels, which only make a start.
_COARSE = (1e-3, 30)
#: Without a map, this many rows are enough for a start.
_ENOUGH_ROWS = 600

#: A finer level would take as long as the full data.
_MOST_LEVELS = 2

#: Pooling matrix (blocks, n) and pooled counts (blocks, m).
Level = tuple[sp.csr_array, sp.csr_array]


@dataclass(frozen=True, eq=False)
class CoarseToFine:
    """How to fit; the parameters are those of `siftem.PoissonNMF`."""

    n_components: int
    init: str
    map_shape: tuple[int, int] | None
    max_iter: int
    tol: float
    n_passes: int
    extrapolate: bool
    dtype: np.dtype
    checkpoint: Checkpoint | None = None

    def levels(self, x: sp.csr_array, *, n_jobs: int = 1) -> list[Level]:
        """Return pooling matrices and pooled counts, from coarse to fine, without the full data."""
        n = x.shape[0]
        shape: tuple[int, int] = (1, n)
        if self.map_shape is not None:
            shape = self.map_shape
            block = pooling_block(n, self.n_components, most=_ENOUGH_ROWS)
        else:
            block = max(1, n // _ENOUGH_ROWS)
        levels: list[tuple[sp.csr_array, sp.csr_array]] = []
        while block > 1 and len(levels) < _MOST_LEVELS:
            levels.append(pooled_level(x, shape, block, n_jobs=n_jobs))
            block //= 2 if self.map_shape is not None else 4
        # Without any it is a map of a few thousand pixels at the most.
        return levels or [(sp.eye_array(n, format="csr"), rows_of(x).in_memory())]

    def start(self, pooled: sp.csr_array, rng: np.random.Generator, *, draw: bool) -> np.ndarray:
        """Return first spectra (k, m), positive and each summing to one."""
        if self.init == "random" or pooled.nnz == 0:
            mean = np.asarray(pooled.sum(axis=0, dtype=np.float64)).ravel() + 1e-12
            spectra = mean[:, None] * rng.uniform(0.1, 1.9, (mean.size, self.n_components))
            return np.ascontiguousarray((spectra / spectra.sum(axis=0)).T)
        return np.ascontiguousarray(vertex_spectra(pooled, self.n_components, rng, draw=draw).T)

    def run(
        self,
        counts: SolverRows[Any],
        levels: list[Level],
        known: KnownParts,
        rng: np.random.Generator,
        *,
        draw: bool,
        progress: Progress,
    ) -> solver.Solution:
        """Fit ``counts``, from the coarsest of the ``levels``; ``draw`` draws the start."""
        dtype = self.dtype
        pooling, pooled = levels[0]
        spectra = self.start(pooled, rng, draw=draw).astype(dtype)
        if known.support is not None or known.fixed:
            rows = solver_rows(pooled, n_jobs=counts.n_jobs)
            coarse = replace(known, support=_pooled_support(known.support, pooling))
            weights = _first_weights(rows, spectra, KnownParts())
            spectra = matched_start(spectra, coarse, weights)
        pooled_weights = None
        for pooling, pooled in levels:
            if pooled.shape[0] == counts.shape[0]:
                break
            rows = solver_rows(pooled, n_jobs=counts.n_jobs)
            coarse = replace(known, support=_pooled_support(known.support, pooling))
            found = solver.alternate(
                rows,
                _first_weights(rows, spectra, coarse),
                spectra,
                known=coarse,
                tol=max(_COARSE[0], self.tol),
                max_iter=min(_COARSE[1], self.max_iter),
                extrapolate=self.extrapolate,
                n_passes=self.n_passes,
            )
            scale = found.spectra.sum(axis=1, dtype=np.float64, keepdims=True)
            mean = found.spectra.mean(axis=0)
            # Again a floor, so that no channel starts at an exact zero.
            spectra = found.spectra / np.where(scale > 0, scale, 1) + 1e-3 * mean / mean.sum()
            spectra = spectra.astype(dtype)
            pooled_weights = found.weights
        if pooled_weights is not None and pooling.shape[1] == counts.shape[0]:
            weights = counts.spread(pooling, _shares(pooled_weights), pooled).astype(dtype)
        else:
            weights = _first_weights(counts, spectra, known)
        return solver.alternate(
            counts,
            weights,
            spectra,
            known=known,
            max_iter=self.max_iter,
            tol=self.tol,
            n_passes=self.n_passes,
            extrapolate=self.extrapolate,
            progress=progress,
            checkpoint=self.checkpoint,
        )


def _pooled_support(support: np.ndarray | None, pooling: sp.csr_array) -> np.ndarray | None:
    return None if support is None else (pooling @ support.astype(np.float64)) > 0


def _shares(pooled: np.ndarray) -> np.ndarray:
    """Shares of the components in each block, none of them zero; (blocks, k)."""
    total = pooled.sum(axis=1, keepdims=True)
    shares = np.divide(pooled, total, out=np.zeros_like(pooled), where=total > 0)
    return np.asarray(0.9 * shares + 0.1 / pooled.shape[1])


def _first_weights(counts: SolverRows[Any], spectra: np.ndarray, known: KnownParts) -> np.ndarray:
    weights = solver.even_weights(counts, len(spectra), spectra.dtype)
    if known.support is not None:
        weights[~known.support] = 0
    solver.solve_weights(counts, spectra, weights, free=known.support, n_passes=4, tol=1e-3)
    return weights


class PoissonFit:
    """The work of `siftem.PoissonNMF`, whose parameters and attributes it has.

    Importing scikit-learn takes longer than most fits: a command does without.
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

    @one_blas_thread()
    def fit_weights(self, X: Any) -> Any:
        """Fit the factors and return the weights where the counts are.

        As `fit_transform`; of `siftem.large.rows_of_counts.BlockedCounts` they stay on disk, as
        `siftem.decomposition.blockwise.BlockWeights`.
        """
        # A bar in notebooks, unless somebody else looks after the progress.
        return self._fit(X) if self.progress is None else self._fit(X, progress=self.progress)

    @shows_progress
    def _fit(self, X: Any, *, progress: Progress = silent) -> Any:
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

        def one(start: int, rows: SolverRows[Any], report: Progress) -> solver.Solution[Any]:
            rng, draw = rngs[start], start > 0
            return plan.run(rows, levels, known, rng, draw=draw, progress=report)

        reports: list[Any] = [progress, *[silent] * (self.n_init - 1)]
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
            return X
        x = sp.csr_array(X)
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
