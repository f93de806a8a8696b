"""Where a fit stands after a sweep: all that is needed to go on from there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True, eq=False)
class SweepState:
    """State of `siftem.decompose.solver.alternate` between two sweeps.

    ``at``, ``ahead`` and the first two of ``best`` are spectra, or amplitudes of a basis;
    ``weights`` an array (n, k), or `BlockWeights`; ``numbers`` the scalars of the loop, by name.
    """

    at: np.ndarray
    ahead: np.ndarray
    best: tuple[np.ndarray, np.ndarray, float] | None
    weights: Any
    history: list[float]
    numbers: dict[str, float]


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


def fit_key(spectra: np.ndarray, shape: tuple[int, int], numbers: tuple[float, ...]) -> str:
    """Name a fit by its start, its data and its settings."""
    digest = hashlib.sha256(np.ascontiguousarray(spectra).tobytes())
    digest.update(repr((shape, *(float(n) for n in numbers))).encode())
    return digest.hexdigest()
