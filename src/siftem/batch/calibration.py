"""One calibration of the instrument by the phases of all maps of a batch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from siftem.batch.folder import BatchFolder, Record, write_whole
from siftem.errors import SiftemError
from siftem.machine import one_blas_thread
from siftem.minerals.calibration_results import (
    Calibrated,
    ConstraintResult,
    ferric_of,
    film_of,
    instrument_of,
    k_factor_of,
)
from siftem.minerals.joint_calibration import Circumstances, posterior_of, shared_noise_of
from siftem.minerals.joint_posterior import phase_atoms
from siftem.minerals.measured_phase import MeasuredPhase
from siftem.minerals.several_maps import constraints_in_maps, held_in_maps, phase_in
from siftem.pipeline.minerals import (
    calibrated_data,
    constraint_data,
    densities,
    positions,
    subtracted,
)
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.results import RunResult
from siftem.report.phase_names import constraint_table, disagreements, factor_table
from siftem.report.table import Cell, Table, error_cells, heading, name

#: Within the folder of a map.
_FILE = "measured_phases.json"


def keep_phases(result: RunResult, folder: BatchFolder, of: str) -> None:
    """Write what the spectra of a map say into its folder, where the recipe wants it."""
    if result.recipe.calibrate.together:
        text = json.dumps(MapPhases.of(result).data())
        write_whole(folder.results(of) / _FILE, text + "\n")


@dataclass(frozen=True)
class BatchCalibration:
    """What all maps of a batch say together.

    Parameters
    ----------
    constraints : tuple of ConstraintResult
    k_factors, film, ferric, instrument : dict of str to Calibrated
    atoms : dict of str to dict of str to dict
        at%, its error by noise and by all else, of each element of each phase of each map.
    held_out : tuple of str
        Phases that were predicted, as ``map: phase``.
    """

    constraints: tuple[ConstraintResult, ...]
    k_factors: dict[str, Calibrated]
    film: dict[str, Calibrated]
    ferric: dict[str, Calibrated]
    instrument: dict[str, Calibrated]
    atoms: dict[str, dict[str, dict[str, tuple[float, float, float]]]]
    held_out: tuple[str, ...]

    def data(self) -> dict[str, Any]:
        """Return what the summary of the batch tells; see ``docs/batch.md``."""
        return {
            "constraints": [constraint_data(c) for c in self.constraints],
            "k_factor_changes": calibrated_data(self.k_factors),
            "mass_thickness_kg_m2": calibrated_data(self.film),
            "ferric_share_of_iron": calibrated_data(self.ferric),
            "instrument": calibrated_data(self.instrument),
            "maps": {
                of: {
                    phase: {
                        e: {"at_percent": v, "at_sigma": noise, "at_systematic": rest}
                        for e, (v, noise, rest) in found.items()
                    }
                    for phase, found in phases.items()
                }
                for of, phases in self.atoms.items()
            },
        }

    def tables(self) -> list[Table]:
        """Tabulate constraints, what was calibrated, and the compositions of each phase."""
        out = [
            constraint_table(self.constraints),
            factor_table(self.k_factors, self.film, self.ferric, self.instrument),
        ]
        phases = dict.fromkeys(p for found in self.atoms.values() for p in found)
        for phase in phases:
            own = {of: found[phase] for of, found in self.atoms.items() if phase in found}
            elements = list(dict.fromkeys(e for found in own.values() for e in found))
            rows = []
            for of, found in own.items():
                held = " (predicted)" if phase_in(of, phase) in self.held_out else ""
                cells: list[Cell] = [name(of + held)]
                for e in elements:
                    cells.extend(error_cells(*found[e]) if e in found else (Cell("", "value", 3),))
                rows.append(tuple(cells))
            head = (name("at%"), *(heading(e, 3) for e in elements))
            note = "± counting and model, (± all else)."
            out.append(Table(f"{phase}, calibrated together", head, tuple(rows), note))
        return out

    def notes(self) -> tuple[str, ...]:
        """Say what is to be heeded, in one sentence each.

        What is hardly checked is told of what all maps share, or there would be a word on each map.
        """
        of_all = {c.phase for c in self.constraints} - set(self.film)
        told = [c for c in self.constraints if not of_all or c.phase in of_all or c.disagrees]
        return tuple(f"all maps together: {text}" for text in disagreements(told))


@one_blas_thread()
def calibrated_together(
    folder: BatchFolder, recipe: Recipe, records: Sequence[Record]
) -> BatchCalibration | str | None:
    """Calibrate one instrument with the phases of all maps that were done.

    Parameters
    ----------
    folder : BatchFolder
    recipe : Recipe
    records : sequence of Record
        Of the maps that are done.

    Returns
    -------
    BatchCalibration, or str or None
        A sentence when it can't be had; None when the recipe asks for none.
    """
    wanted = recipe.calibrate
    if not wanted.together or not wanted.constraints:
        return None
    missing = "the calibration of all maps together is missing:"
    maps = {}
    for record in records:
        try:
            text = (folder.results(record.map) / _FILE).read_text(encoding="utf-8")
            maps[record.map] = MapPhases.from_data(json.loads(text))
        except (OSError, ValueError, LookupError, TypeError) as error:
            what = f"what was measured of {record.map} can't be read ({type(error).__name__})"
            return f"{missing} {what}: run the batch again"
    try:
        return _calibrated(recipe, {n: m for n, m in maps.items() if m.phases})
    except SiftemError as error:
        return f"{missing} {error}"


def _calibrated(recipe: Recipe, maps: Mapping[str, MapPhases]) -> BatchCalibration:
    wanted = recipe.calibrate
    inside = {of: [p.name for p in found.phases] for of, found in maps.items()}
    named = {of: found.named(of) for of, found in maps.items()}
    phases = [p for found in named.values() for p in found.phases]
    plain = {phase_in(of, p): (of, p) for of, own in inside.items() for p in own}
    # A phase that some maps lack, or all, is nothing to stop for: a batch has many kinds of maps.
    there = {p for own in inside.values() for p in own}
    known, departures = constraints_in_maps(
        [c.made() for c in wanted.constraints if c.phase in there], inside, wanted.alike
    )
    held = held_in_maps([n for n in wanted.hold_out if n in there], inside)
    dense = densities(recipe)
    posterior, results = posterior_of(
        phases,
        known,
        Circumstances(
            held, {n: dense[p] for n, (_, p) in plain.items() if p in dense},
            wanted.thickness_sigma, wanted.evenness,
            {n: place for found in named.values() for n, place in found.positions.items()},
            wanted.slope_sigma, wanted.window_sigma, wanted.dead_layer_sigma,
            {n: of for n, (of, _) in plain.items()}, departures,
        ),
        {pair: m for found in named.values() for pair, m in found.shared_noise.items()},
    )  # fmt: skip
    used = [c for c in known if c.phase not in held]
    widths = np.array([c.sigma for c in used])
    layout = posterior.layout
    atoms: dict[str, dict[str, dict[str, tuple[float, float, float]]]] = {}
    for i, p in enumerate(layout.phases):
        mean, noise, rest = phase_atoms(posterior, i, widths)
        errors = 100 * np.sqrt([np.diag(noise), np.diag(rest)])
        of, phase = plain[p.name]
        atoms.setdefault(of, {})[phase] = {
            e: (float(100 * mean[j]), float(errors[0, j]), float(errors[1, j]))
            for j, e in enumerate(p.elements)
        }
    free = {c.phase for c in used if c.ferric_is_free}
    return BatchCalibration(
        results,
        {f: k_factor_of(posterior, f) for f in layout.families},
        {p.name: film_of(posterior, i) for i, p in enumerate(layout.phases)},
        {n: ferric_of(posterior, n) for n in plain if n in free},
        instrument_of(posterior),
        atoms,
        held,
    )


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
