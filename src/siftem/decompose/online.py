"""Spectra from a stream of batches, without keeping the counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siftem.decompose.channel_kernels import step_channels
from siftem.decompose.row_blocks import CountRows


@dataclass(frozen=True, eq=False)
class OnlineSpectra:
    """Sum of the quadratic models that the batches left: ``1/2 h B h - r h`` in each channel.

    Parameters
    ----------
    curvature : ndarray of shape (k (k + 1) / 2, m)
        Lower triangles of ``B``.
    pull : ndarray of shape (k, m)
        ``r``.
    """

    curvature: np.ndarray
    pull: np.ndarray

    @classmethod
    def empty(cls, k: int, m: int) -> OnlineSpectra:
        """Return the model before the first batch."""
        return cls(np.zeros((k * (k + 1) // 2, m)), np.zeros((k, m)))

    def updated(
        self,
        counts: CountRows,
        spectra: np.ndarray,
        weights: np.ndarray,
        *,
        fixed: tuple[int, ...],
        keep: float,
    ) -> tuple[OnlineSpectra, np.ndarray]:
        """Add a batch.

        Parameters
        ----------
        counts : CountRows
            (n, m).
        spectra : ndarray of shape (k, m)
        weights : ndarray of shape (n, k)
            Start of the batch's weights; solved in place.
        fixed : tuple of int
            Components whose spectrum stays.
        keep : float
            Factor on the earlier batches.

        Returns
        -------
        OnlineSpectra
        ndarray of shape (k, m)
            New spectra, each summing to one.
        """
        k, _ = spectra.shape
        with counts.threads():
            _, statistics = counts.improve(spectra, weights, n_passes=50, tol=1e-8)
        sums = weights.sum(axis=0, dtype=np.float64)
        here = spectra.astype(np.float64)
        curvature = keep * self.curvature + statistics[k:]
        pull = keep * self.pull + _times(statistics[k:], here) + statistics[:k] - sums[:, None]
        # The kernel wants what a pass gathers: a gradient split into sums and statistics.
        gradient = _times(curvature, here) - pull
        level = np.ones_like(gradient)
        free = np.ones((k, 1), np.uint8)
        free[list(fixed)] = 0
        new = np.empty_like(here)
        step_channels(
            np.concatenate([level, curvature]),
            np.ones(k),
            gradient,
            np.zeros((k, k)),
            here,
            free,
            new,
        )
        scale = new.sum(axis=1)
        scale = np.where(scale > 0, scale, 1.0)
        lower = np.tril_indices(k)
        rescaled = OnlineSpectra(
            curvature * (scale[lower[0]] * scale[lower[1]])[:, None], pull * scale[:, None]
        )
        return rescaled, new / scale[:, None]


def _times(lower: np.ndarray, spectra: np.ndarray) -> np.ndarray:
    """Return ``B h`` of every channel, (k, m), from lower triangles (k (k + 1) / 2, m)."""
    k, m = spectra.shape
    full = np.empty((k, k, m))
    rows, columns = np.tril_indices(k)
    full[rows, columns] = lower
    full[columns, rows] = lower
    return np.einsum("cdm,dm->cm", full, spectra)
