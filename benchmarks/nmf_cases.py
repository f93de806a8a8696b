"""Phantoms for the benchmarks, and what their answers are judged by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linear_sum_assignment

from siftem.decomposition import solver
from siftem.decomposition.solver_rows import CountRows
from siftem.simulate.phantom import simulate
from siftem.spectrum_image import SpectrumImage


@dataclass(frozen=True, eq=False)
class Case:
    """Counts of three phases whose grains fill half of a pixel at the most, and the truth."""

    spectrum_image: SpectrumImage
    counts: sp.csr_array
    spectra: np.ndarray
    shares: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels along y and x."""
        return self.spectrum_image.shape


def case(side: int, dose: float, seed: int = 0) -> Case:
    """Return a phantom of side x side pixels, cropped above the zero peak (1981 channels)."""
    phantom = simulate(shape=(side, side), dose=dose, random_state=seed, max_fraction=0.5)
    si = phantom.spectrum_image.without_zero_peak()
    total = phantom.abundances.sum(axis=0)
    return Case(
        si,
        sp.csr_array(si.counts, dtype=np.float64),
        phantom.spectra[:, -si.axis.size :],
        phantom.abundances / np.where(total > 0, total, 1),
    )


def angles(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Angle in degrees of each true spectrum to the found one that is assigned to it."""
    return _assigned(found, true)[0]


def share_errors(weights: np.ndarray, found: np.ndarray, truth: Case) -> float:
    """Root mean square error of the shares (k, ny, nx), components assigned by spectra."""
    _, columns = _assigned(found, truth.spectra)
    shares = weights[:, columns] / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    return float(np.sqrt(((shares.T.reshape(truth.shares.shape) - truth.shares) ** 2).mean()))


def deviance(counts: sp.csr_array, weights: np.ndarray, spectra: np.ndarray) -> float:
    """Poisson deviance; a mean of zero under a count is raised to 1e-9."""
    rows = CountRows.of(counts)
    w = np.ascontiguousarray(weights, np.float64)
    h = np.ascontiguousarray(spectra, np.float64)
    w = np.maximum(w, 1e-9 * w.mean())
    h = np.maximum(h, 1e-9 * h.mean())
    return 2 * (solver.poisson_objective(rows, w, h) - rows.saturated)


def oracle(truth: Case) -> np.ndarray:
    """Maximum-likelihood spectra for the true maps: the best that counting noise allows."""
    columns = CountRows.of(sp.csr_array(truth.counts.T))
    maps = np.ascontiguousarray(truth.shares.reshape(len(truth.spectra), -1))
    maps = maps * np.asarray(truth.counts.sum(axis=1)).ravel()
    spectra = solver.even_weights(columns, len(maps), np.dtype(float))
    solver.solve_weights(columns, maps, spectra)
    return spectra.T


def _assigned(found: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-300)
    b = true / np.linalg.norm(true, axis=1, keepdims=True)
    every = np.degrees(np.arccos(np.clip(b @ a.T, -1, 1)))
    rows, columns = linear_sum_assignment(every)
    return every[rows, columns], columns
