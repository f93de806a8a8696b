"""What is known beforehand: fixed spectra, masked pixels, a basis of physical shapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from siftem.decompose.nonnegative_quadratic import minimise_quadratic, safe_step
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
    basis : ndarray of shape (m, p), optional
        Non-negative shapes: spectra are then ``basis @ amplitudes``.
    basis_support : ndarray of bool, shape (k, p), optional
        Shapes that a component may hold; others have amplitude zero.
    """

    support: np.ndarray | None = None
    fixed: dict[int, np.ndarray] | None = None
    basis: np.ndarray | None = None
    basis_support: np.ndarray | None = None

    @classmethod
    def checked(
        cls,
        shape: tuple[int, int],
        n_components: int,
        *,
        support: np.ndarray | None,
        fixed: dict[int, np.ndarray] | None,
        basis: np.ndarray | None,
        basis_support: np.ndarray | None,
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
        if basis is not None:
            basis = np.asarray(basis, np.float64)
            if basis.ndim != 2 or basis.shape[0] != m:
                raise InputError(
                    f"basis must have shape ({m}, shapes), one row a channel, got {basis.shape}"
                )
            if (
                not np.isfinite(basis).all()
                or (basis < 0).any()
                or not (basis.sum(axis=0) > 0).all()
            ):
                raise InputError("the columns of basis must be finite, non-negative and not zero")
            if basis_support is not None:
                basis_support = np.asarray(basis_support, bool)
                if basis_support.shape != (k, basis.shape[1]):
                    raise InputError(
                        f"basis_support must have shape ({k}, {basis.shape[1]}), one row a "
                        f"component, got {basis_support.shape}"
                    )
                if not basis_support.any(axis=1).all():
                    raise InputError("basis_support leaves a component without any shape")
        elif basis_support is not None:
            raise InputError("basis_support needs a basis: give both or neither")
        return cls(support, parts or None, basis, basis_support)

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

    A fixed spectrum takes the place of the one nearest to it; a restricted basis takes the
    one that its shapes fit best; a support the one that lies inside it.

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
    if known.basis is not None and known.basis_support is not None:
        for c, allowed in enumerate(known.basis_support):
            mean = fit_amplitudes(
                known.basis[:, allowed], spectra, np.ones((k, allowed.sum()), bool)
            )
            mean = mean @ known.basis[:, allowed].T
            cost[c] += _divergences(spectra, mean / mean.sum(axis=1, keepdims=True))
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


def fit_amplitudes(basis: np.ndarray, spectra: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Non-negative amplitudes (k, p) whose spectra come close to ``spectra`` (k, m).

    Multiplicative steps of the Kullback-Leibler fit: a start, not an optimum; all allowed
    amplitudes stay positive.
    """
    sums = basis.sum(axis=0)
    amplitudes = np.where(allowed, 1.0, 0.0) * (spectra.sum(axis=1) / sums.sum())[:, None]
    for _ in range(50):
        mean = amplitudes @ basis.T
        ratio = np.divide(spectra, mean, out=np.zeros_like(mean), where=mean > 0)
        amplitudes = amplitudes * (ratio @ basis) / sums
    floor = 1e-3 * spectra.sum(axis=1, keepdims=True) / sums.sum()
    return np.where(allowed, np.maximum(amplitudes, floor), 0.0)


def step_amplitudes(
    statistics: np.ndarray,
    sums: np.ndarray,
    linear: np.ndarray,
    coupling: np.ndarray,
    basis: np.ndarray,
    amplitudes: np.ndarray,
    free: np.ndarray,
) -> tuple[np.ndarray, float]:
    """One safeguarded Newton step on the amplitudes of a basis, all components at once.

    The same statistics as for free channels, carried over by the chain rule: the gradient
    is ``g G`` and the curvature of components c, d is ``G' diag(B_cd) G``.

    Parameters
    ----------
    statistics : ndarray of shape (k + k (k + 1) / 2, m)
        Gathered at the spectra ``amplitudes @ basis.T``.
    sums : ndarray of shape (k,)
        Column sums of the weights.
    linear : ndarray of shape (k, 1) or (k, m)
    coupling : ndarray of shape (k, k)
        Penalty of the spectra.
    basis : ndarray of shape (m, p)
    amplitudes : ndarray of shape (k, p)
    free : ndarray of bool, shape (k, p)

    Returns
    -------
    amplitudes : ndarray of shape (k, p)
    expected : float
        Gain that is expected.
    """
    k, p = amplitudes.shape
    spectra = amplitudes @ basis.T
    gradient = (sums[:, None] + linear - statistics[:k] + coupling @ spectra) @ basis
    curvature = np.empty((k, p, k, p))
    row = k
    for c in range(k):
        for d in range(c + 1):
            block = (basis * (statistics[row] + coupling[c, d])[:, None]).T @ basis
            curvature[c, :, d, :] = block
            curvature[d, :, c, :] = block.T
            row += 1
    size = k * p
    old = np.ascontiguousarray(amplitudes.reshape(size))
    new = np.empty(size)
    flat = curvature.reshape(size, size)
    # A trace of ridge keeps columns that look alike from trading places for ever.
    flat[np.diag_indices(size)] *= 1 + 1e-9
    minimise_quadratic(
        gradient.reshape(size),
        flat,
        old,
        free.reshape(size).astype(np.uint8),
        200,
        1e-7,
        new,
        np.empty((size + 1, size + 1)),
    )
    change = new - old
    slope = float(gradient.reshape(size) @ change)
    if not slope < 0:
        return amplitudes, 0.0
    bend = float(change @ flat @ change)
    moved = change.reshape(k, p) @ basis.T
    fall = float(np.max(-moved / np.maximum(spectra, 1e-300), initial=0.0, where=spectra > 0))
    step = safe_step(slope, bend, fall)
    return (old + step * change).reshape(k, p), -step * (slope + 0.5 * step * bend)
