"""A fit from coarse to fine: pooled pixels make a cheap and good start for the full map."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from siftem.decomposition import solver
from siftem.decomposition.initialise import pooled_level, pooling_block, vertex_spectra
from siftem.decomposition.solver_rows import SolverRows, solver_rows
from siftem.decomposition.sweep_state import Checkpoint, KnownParts, matched_start
from siftem.large.rows_of_counts import rows_of
from siftem.progress import Progress

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
