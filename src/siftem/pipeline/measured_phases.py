"""What the spectra of a run's phases say, as plain data: for a calibration of several maps.

A batch keeps no compositions as such; these are some 200 kB for each map.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from siftem.minerals.joint_calibration import shared_noise_of
from siftem.minerals.measured_phase import MeasuredPhase
from siftem.minerals.several_maps import phase_in
from siftem.pipeline.minerals import positions, subtracted
from siftem.pipeline.results import RunResult


@dataclass(frozen=True, eq=False)
class MapPhases:
    """Measured phases of one map.

    Parameters
    ----------
    phases : tuple of MeasuredPhase
    shared_noise : dict of (str, str) to ndarray
        Covariance of the amounts of a grain and its matrix.
    positions : dict of str to (float, float)
        Place of each in the map.
    """

    phases: tuple[MeasuredPhase, ...]
    shared_noise: dict[tuple[str, str], np.ndarray]
    positions: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, result: RunResult) -> MapPhases:
        """Return those of a run that have a composition."""
        shown = {n: result.compositions[n] for n in result.pure if n in result.compositions}
        return cls(
            tuple(MeasuredPhase.of(n, c) for n, c in shown.items()),
            shared_noise_of(shown, subtracted(result, shown)),
            positions(result, shown),
        )

    def named(self, of: str) -> MapPhases:
        """Return the same under the names that they have among several maps."""
        return MapPhases(
            tuple(replace(p, name=phase_in(of, p.name)) for p in self.phases),
            {(phase_in(of, a), phase_in(of, b)): m for (a, b), m in self.shared_noise.items()},
            {phase_in(of, n): place for n, place in self.positions.items()},
        )

    def data(self) -> dict[str, Any]:
        """Return all as plain lists and numbers."""
        return {
            "phases": [
                {f.name: _plain(getattr(p, f.name)) for f in fields(p)} for p in self.phases
            ],
            "shared_noise": [[*pair, m.tolist()] for pair, m in self.shared_noise.items()],
            "positions": {n: list(place) for n, place in self.positions.items()},
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> MapPhases:
        """Return what `data` made plain."""
        return cls(
            tuple(
                MeasuredPhase(**{key: _restored(key, value) for key, value in p.items()})
                for p in data["phases"]
            ),
            {(a, b): np.array(m) for a, b, m in data["shared_noise"]},
            {n: (float(y), float(x)) for n, (y, x) in data["positions"].items()},
        )


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _restored(key: str, value: Any) -> Any:
    if key in ("elements", "families"):
        return tuple(value)
    if key in ("attenuation", "weights"):
        return tuple(np.array(v, dtype=float) for v in value)
    return np.array(value, dtype=float) if isinstance(value, list) else value
