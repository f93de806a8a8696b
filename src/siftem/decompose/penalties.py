"""Penalties that choose among factorisations the likelihood can hardly tell apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.optimize import nnls


class WeightPenalty(Protocol):
    """A penalty of the weights (n, k)."""

    def value(self, weights: np.ndarray) -> float:
        """Return what is added to the objective ``sum(mean - y ln mean)``."""

    def gradient(self, weights: np.ndarray) -> np.ndarray:
        """Return its gradient, (n, k)."""

    def majorant(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``linear`` and ``ridge``, each (1, k) or (n, k).

        ``linear w + 1/2 ridge w**2`` lies above the penalty up to a constant and touches it
        at ``weights``: lowering the one lowers the other.
        """


class SpectraPenalty(Protocol):
    """A penalty of the spectra (k, m)."""

    def value(self, spectra: np.ndarray) -> float:
        """Return what is added to the objective."""

    def gradient(self, spectra: np.ndarray) -> np.ndarray:
        """Return its gradient, (k, m)."""

    def majorant(self, spectra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``linear`` (k, 1) or (k, m) and ``coupling`` (k, k), as for the weights."""


@dataclass(frozen=True)
class Smoothness:
    """Squared differences of neighbouring pixels, ``strength / (2 level_c) sum (w_ic - w_jc)**2``.

    Over the four-neighbour pairs of the map. Poisson weights of mean ``level`` have a
    variance of that order: with ``level`` the mean weight of a component, ``strength`` is
    about the number of neighbours that a pixel is averaged with. The Laplacian of
    Teurtrie et al. 2023 (Ultramicroscopy 249, 113719) is the same with equal levels.

    Parameters
    ----------
    shape : tuple of int
        (ny, nx).
    strength : float
    level : ndarray of shape (k,)
    """

    shape: tuple[int, int]
    strength: float
    level: np.ndarray

    def value(self, weights: np.ndarray) -> float:
        """Return the penalty."""
        maps = weights.T.reshape(-1, *self.shape)
        squares = sum(
            (np.diff(maps, axis=a).astype(np.float64) ** 2).sum(axis=(1, 2)) for a in (1, 2)
        )
        return float(0.5 * (self._scale() * squares).sum())

    def gradient(self, weights: np.ndarray) -> np.ndarray:
        """Return the gradient, (n, k)."""
        maps = weights.T.reshape(-1, *self.shape).astype(np.float64)
        out = np.zeros_like(maps)
        for axis in (1, 2):
            step = np.diff(maps, axis=axis)
            ahead = [slice(None)] * 3
            behind = [slice(None)] * 3
            ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
            out[tuple(ahead)] += step
            out[tuple(behind)] -= step
        return self._scale() * out.reshape(len(maps), -1).T

    def majorant(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the separable bound: no eigenvalue of the graph Laplacian exceeds 8."""
        ridge = 8.0 * self._scale()[None, :]
        return self.gradient(weights) - ridge * weights, ridge

    def _scale(self) -> np.ndarray:
        return self.strength / np.maximum(self.level, 1e-300)


@dataclass(frozen=True)
class LogSparsity:
    """Few components a pixel: ``strength sum ln(w + epsilon level_c)``, with one level a component.

    Concave, so its tangent lies above it (reweighted l1, Candes et al. 2008). With
    ``strength = 1 - a`` it is, up to epsilon, the shape part of a gamma prior.

    Parameters
    ----------
    strength : float
    level : ndarray of shape (k,)
        Mean weight of each component.
    epsilon : float
    """

    strength: float
    level: np.ndarray
    epsilon: float = 0.05

    def value(self, weights: np.ndarray) -> float:
        """Return the penalty."""
        return float(self.strength * np.log(weights + self._floor()).sum(dtype=np.float64))

    def gradient(self, weights: np.ndarray) -> np.ndarray:
        """Return the gradient, (n, k)."""
        return self.strength / (weights + self._floor())

    def majorant(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the tangent."""
        return self.gradient(weights).astype(np.float64), np.zeros((1, weights.shape[1]))

    def _floor(self) -> np.ndarray:
        return self.epsilon * np.maximum(self.level, 1e-300)


@dataclass(frozen=True)
class SumToOne:
    """Shares of the thickness that sum to one: ``1/2 sum_i (sum_c w_ic / pixel_c - 1)**2 / v``.

    ``pixel_c`` is what a pixel full of component c emits, and the variance ``v = 1 /
    (strength pixel)``, with the mean of the ``pixel_c``, is that of the counts of a pixel
    at strength one. It takes film of even thickness for granted, and does not hinder a
    shear: weights that are mixed by a matrix still sum to one for another ``pixel``.

    Parameters
    ----------
    strength : float
    pixel : ndarray of shape (k,)
        Positive.
    """

    strength: float
    pixel: np.ndarray

    @classmethod
    def fitted(cls, strength: float, weights: np.ndarray) -> SumToOne:
        """Take the ``pixel`` that lets the shares of ``weights`` (n, k) sum to one best."""
        used = weights[weights.sum(axis=1) > 0].astype(np.float64)
        inverse, _ = nnls(used.T @ used, used.sum(axis=0))
        typical = used.sum(axis=1).mean()
        # A component without a scale of its own emits like the others.
        return cls(strength, 1 / np.clip(inverse, 0.2 / typical, 5 / typical))

    def value(self, weights: np.ndarray) -> float:
        """Return the penalty."""
        return float(0.5 * self._stiffness() * (self._excess(weights) ** 2).sum())

    def gradient(self, weights: np.ndarray) -> np.ndarray:
        """Return the gradient, (n, k)."""
        return self._stiffness() * self._excess(weights)[:, None] / self.pixel

    def majorant(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the separable bound: ``u u'`` lies below ``diag(u) sum(u)``."""
        inverse = 1 / self.pixel
        ridge = (self._stiffness() * inverse * inverse.sum())[None, :]
        return self.gradient(weights) - ridge * weights, ridge

    def _stiffness(self) -> float:
        return self.strength * float(self.pixel.mean())

    def _excess(self, weights: np.ndarray) -> np.ndarray:
        return np.asarray(weights.astype(np.float64) @ (1 / self.pixel)) - 1


@dataclass(frozen=True)
class Volume:
    """Volume that the spectra span: ``strength ln det(H D H' + delta I)`` with ``D`` a metric.

    Leplat, Ang & Gillis 2019 (ICASSP). Positive ``strength`` draws the spectra together, as
    close as the data allow. The logarithm of the determinant is concave in ``H D H'``:
    its tangent is the quadratic form with ``(H D H' + delta I)^-1``. The metric must be a
    multiple of the identity here.

    Parameters
    ----------
    strength : float
    metric : float
        1 / (squared length of a typical spectrum): makes ``H H'`` of order one.
    delta : float
    """

    strength: float
    metric: float
    delta: float = 1e-2

    def value(self, spectra: np.ndarray) -> float:
        """Return the penalty."""
        return float(self.strength * np.linalg.slogdet(self._gram(spectra))[1])

    def gradient(self, spectra: np.ndarray) -> np.ndarray:
        """Return the gradient, (k, m)."""
        return 2 * self.strength * self.metric * np.linalg.solve(self._gram(spectra), spectra)

    def majorant(self, spectra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the tangent in ``H H'``."""
        coupling = 2 * self.strength * self.metric * np.linalg.inv(self._gram(spectra))
        return np.zeros((spectra.shape[0], 1)), coupling

    def _gram(self, spectra: np.ndarray) -> np.ndarray:
        h = spectra.astype(np.float64)
        return self.metric * h @ h.T + self.delta * np.eye(len(h))
