"""Where a fit stands after a sweep, so that it can go on from there, and what is held fixed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol

import numpy as np
from scipy.optimize import linear_sum_assignment

from siftem import __version__
from siftem.errors import InputError


@dataclass
class Pace:
    """How a fit is going.

    Parameters
    ----------
    beta : float
        How far the spectra run ahead along their last change.
    first_gain, gain : float
        By which the objective fell at first at the most, and in the last sweep.
    expected : float
        What the next step of the spectra is to gain.
    last : float
        The objective.
    trusted : bool
        Whether the next sweep starts from a step, and not from a run ahead.
    """

    beta: float
    first_gain: float = 0.0
    gain: float = np.inf
    expected: float = np.inf
    last: float = np.inf
    trusted: bool = True

    def numbers(self) -> dict[str, float]:
        """Return them by name, as numbers."""
        return {name: float(value) for name, value in vars(self).items()}

    @classmethod
    def of(cls, numbers: Mapping[str, float]) -> Pace:
        """Return what `numbers` returned as it was."""
        rest = {name: value for name, value in numbers.items() if name != "trusted"}
        return cls(**rest, trusted=bool(numbers["trusted"]))


@dataclass(eq=False)
class SweepState:
    """State of `siftem.decomposition.solver.alternate` between two sweeps.

    ``at`` (where the last step led), ``ahead`` (from where the next sweep starts) and ``best``
    (of the lowest objective) are spectra (k, m); ``weights``, of ``best``, an array (n, k) or
    `BlockWeights`; ``history`` holds the objective of each sweep.
    """

    at: np.ndarray
    ahead: np.ndarray
    best: np.ndarray | None
    weights: Any
    history: list[float]
    pace: Pace


class Checkpoint(Protocol):
    """Keeps the state of a fit, so that a killed one goes on where it was."""

    def load(self, key: str, weights: Any) -> SweepState | None:
        """Return what was kept of the fit with this key; ``weights`` are its first ones."""

    def due(self) -> bool:
        """Whether it is time to keep the state again."""

    def keep(self, key: str, state: SweepState) -> None:
        """Keep the state; whole or not at all."""

    def done(self) -> None:
        """Forget the state: the fit has ended."""


def fit_key(given: Mapping[str, Any]) -> str:
    """Name a fit by the contents of all that it is given: its data, its start, its settings.

    Parameters
    ----------
    given : mapping
        Plain values, arrays, dataclasses of these, and objects with an ``identity``.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    TypeError
        For anything else: what the key can't tell apart must not pass unseen.
    """
    digest = hashlib.sha256(__version__.encode())
    _take_in(digest, given)
    return digest.hexdigest()


def _take_in(digest: Any, value: Any) -> None:
    digest.update(f"<{type(value).__name__}>".encode())
    if value is None or isinstance(value, (bool, int, float, str)):
        digest.update(repr(value).encode())
    elif isinstance(value, np.ndarray):
        digest.update(repr((value.dtype.str, value.shape)).encode())
        digest.update(np.ascontiguousarray(value).data)
    elif isinstance(value, Mapping):
        for name in sorted(value):
            _take_in(digest, name)
            _take_in(digest, value[name])
    elif isinstance(value, (list, tuple)):
        for part in value:
            _take_in(digest, part)
    elif isinstance(identity := getattr(value, "identity", None), str):
        digest.update(identity.encode())
    elif is_dataclass(value):
        _take_in(digest, {field.name: getattr(value, field.name) for field in fields(value)})
    else:
        raise TypeError(f"a fit can't be told from others by a {type(value).__name__}")


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
