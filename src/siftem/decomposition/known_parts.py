"""What is known beforehand: fixed spectra and masked pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from siftem.errors import InputError


@dataclass(frozen=True, eq=False)
class KnownParts:
    """Restrictions of a factorisation; everything is free by default.

    Parameters
    ----------
    support : ndarray of bool, shape (n, k), optional
        Where a component may be present; its weight is zero elsewhere.
    fixed : mapping of int to ndarray of shape (m,)
        Spectra that are known, by component; used up to scale.
    """

    support: np.ndarray | None = None
    fixed: dict[int, np.ndarray] | None = None

    @classmethod
    def checked(
        cls,
        shape: tuple[int, int],
        n_components: int,
        *,
        support: np.ndarray | None,
        fixed: dict[int, np.ndarray] | None,
    ) -> KnownParts:
        """Check the parts against counts of ``shape`` (n, m) and return them as arrays."""
        n, m = shape
        k = n_components
        if support is not None:
            support = np.asarray(support, bool)
            if support.shape != (n, k):
                raise InputError(
                    f"support must have shape ({n}, {k}) for {n} pixels and {k} components, "
                    f"got {support.shape}"
                )
        parts: dict[int, np.ndarray] = {}
        for c, spectrum in (fixed or {}).items():
            values = np.asarray(spectrum, np.float64)
            if not 0 <= c < k:
                raise InputError(
                    f"fixed spectra name component {c}, but there are {k}: 0 to {k - 1}"
                )
            if values.shape != (m,) or not np.isfinite(values).all() or (values < 0).any():
                raise InputError(
                    f"the fixed spectrum of component {c} must be {m} finite, non-negative "
                    f"numbers, got shape {values.shape}"
                )
            if not values.sum() > 0:
                raise InputError(f"the fixed spectrum of component {c} is zero everywhere")
            parts[c] = values / values.sum()
        return cls(support, parts or None)

    def free_spectra(self, n_components: int) -> np.ndarray:
        """0 for components whose spectrum is fixed; uint8 (k, 1)."""
        free = np.ones((n_components, 1), np.uint8)
        for c in self.fixed or {}:
            free[c] = 0
        return free


def matched_start(
    spectra: np.ndarray,
    known: KnownParts,
    weights: np.ndarray,
) -> np.ndarray:
    """Put the spectra of a start (k, m) in the order that suits what is known of each component.

    A fixed spectrum takes the place of the one nearest to it, a support that of the one that
    lies inside it.

    Parameters
    ----------
    spectra : ndarray of shape (k, m)
        Positive, each summing to one.
    known : KnownParts
    weights : ndarray of shape (n, k)
        Weights for ``spectra``, to compare with the support.

    Returns
    -------
    ndarray of shape (k, m)
    """
    k = len(spectra)
    cost = np.zeros((k, k))
    for c, values in (known.fixed or {}).items():
        # What is fixed comes first, by a factor that no other cost outweighs.
        cost[c] += 1e3 * _divergences(spectra, np.broadcast_to(values, spectra.shape))
    if known.support is not None:
        total = np.maximum(weights.sum(axis=0), 1e-300)
        cost -= known.support.T.astype(np.float64) @ (weights / total)
    _, order = linear_sum_assignment(cost)
    return spectra[order]


def _divergences(spectra: np.ndarray, means: np.ndarray) -> np.ndarray:
    mixed = 0.99 * means + 0.01 * spectra
    return (spectra * np.log(spectra / mixed)).sum(axis=1)
