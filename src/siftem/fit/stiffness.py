"""How stiff the continuum is: a penalty on its curvature, chosen by its marginal likelihood."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

#: Prior width of the relative curvature from knot to knot, before the spectrum is asked.
_START = 0.15
#: Straighter than the first no spectrum can tell; beyond the second the splines are free.
_STIFFEST, _SOFTEST = 3e-3, 1.0
#: A coefficient far below the largest counts as this share of it.
_LEAST = 1e-3
_SMOOTH = np.array([0.25, 0.5, 0.25])


@dataclass(frozen=True, eq=False)
class Stiffness:
    """Second differences of the spline coefficients over their local mean are N(0, width^2).

    Parameters
    ----------
    place : slice
        Columns of the continuum.
    level : ndarray of shape (terms,)
        Coefficients so far: the curvature is relative to them.
    width : float
    """

    place: slice
    level: np.ndarray
    width: float = _START

    @classmethod
    def start(cls, place: slice, counts: float) -> Stiffness:
        """Before a first fit: Kramers' law, of a height that does not matter much."""
        size = place.stop - place.start
        return cls(place, np.full(size, max(counts, 1.0) / (50.0 * max(size, 1))))

    def penalty(self, size: int) -> np.ndarray:
        """Inverse covariance of all columns: zero but for the continuum; (size, size)."""
        out = np.zeros((size, size))
        out[self.place, self.place] = self._curvature() / self.width**2
        return out

    def updated(self, coefficients: np.ndarray, covariance: np.ndarray) -> Stiffness:
        """Return the stiffness that the marginal likelihood asks for, one step on.

        ``width^2 <- c' S c / (rank S - tr(V S) / width^2)`` with the penalty S for a width of
        one, the coefficients c and their posterior covariance V.

        Parameters
        ----------
        coefficients : ndarray of shape (terms,)
        covariance : ndarray of shape (terms, terms)

        References
        ----------
        Wood & Fasiolo 2017, Biometrics 73, 1071.
        """
        if coefficients.size < 3:
            return self
        penalty = self._curvature()
        size = float(coefficients @ penalty @ coefficients)
        known = float((covariance * penalty).sum()) / self.width**2
        fixed = max(coefficients.size - 2 - known, 1e-3)
        width = float(np.clip(np.sqrt(size / fixed), _STIFFEST, _SOFTEST))
        return replace(self, level=coefficients, width=width)

    def _curvature(self) -> np.ndarray:
        size = self.level.size
        if size < 3:
            return np.zeros((size, size))
        highest = max(float(self.level.max()), 1e-12)
        level = np.convolve(np.pad(self.level, 1, mode="edge"), _SMOOTH, mode="valid")
        level = np.maximum(level, _LEAST * highest)
        second = np.diff(np.eye(size), 2, axis=0) / level[1:-1, None]
        # A trace of the size itself keeps what has no counts at all determined.
        return np.asarray(second.T @ second + 1e-6 * np.eye(size) / highest**2)
