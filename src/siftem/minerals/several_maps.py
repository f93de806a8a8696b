"""One calibration of an instrument by the phases of several maps, each in a film of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from siftem.errors import InputError
from siftem.minerals.constraints import Constraint, InEachMap
from siftem.minerals.joint_calibration import (
    EVENNESS,
    Circumstances,
    JointCalibration,
    calibration_of,
)
from siftem.quantification.composition import Composition

#: Share of the variance of what is known of a phase that is one and the same in all maps: its
#: vacancies or its Fe3+ do not change from place to place as chance would have it.
ALIKE = 0.9


def phase_in(of: str, phase: str) -> str:
    """Name a phase of one of several maps."""
    return f"{of}: {phase}"


def calibrate_maps(
    maps: Mapping[str, Mapping[str, Composition]],
    constraints: Sequence[Constraint],
    *,
    held_out: Sequence[str] = (),
    alike: float = ALIKE,
    densities: Mapping[str, float] | None = None,
    thickness_sigma: float = 0.0,
    evenness: float = EVENNESS,
    subtracted: Mapping[str, Mapping[tuple[str, str], float]] | None = None,
    positions: Mapping[str, Mapping[str, tuple[float, float]]] | None = None,
    slope_sigma: float = 0.0,
    window_sigma: float | None = None,
    dead_layer_sigma: float = 0.0,
) -> JointCalibration:
    """Calibrate one instrument with the phases of several maps at once.

    One likelihood, see `siftem.calibrate_jointly`: k-factors, attenuation, the detector's window
    and dead layer are the same in all maps; each map has a film of its own, told or not, with its
    own slopes.

    Parameters
    ----------
    maps : mapping of str to mapping of str to Composition
        The phases of each map, quantified with the same k-factors.
    constraints : sequence of Constraint
        What is known of a phase counts in each map that has it. For one map alone name the phase
        as the result does, ``map: phase``.
    held_out : sequence of str
        Phases that take no part in the calibration, in any map or in one (``map: phase``).
    alike : float
        Share of the variance of what is known of a phase (the square of a constraint's width) that
        is one and the same in all maps: 0 if each departs on its own, near 1 if a phase that is
        off in one map is off in all. What is known does not average out below that share.
    densities, thickness_sigma, evenness, slope_sigma, window_sigma, dead_layer_sigma
        As of `siftem.calibrate_jointly`.
    subtracted, positions : mapping of str to mapping, optional
        As there, of each map.

    Returns
    -------
    JointCalibration
        Its phases are called ``map: phase``; `JointCalibration.of_map` gives those of one. What was
        said of a phase in several maps is told for each of them, and once for all together.

    Raises
    ------
    InputError
        When a phase is in no map, or a constraint can't be evaluated.

    Warns
    -----
    SiftemWarning
        As of `siftem.calibrate_jointly`.

    Examples
    --------
    >>> from siftem.minerals.constraints import ChargeBalance
    >>> runs = {n: siftem.open_run(f"runs/{n}") for n in ("a", "b")}  # doctest: +SKIP
    >>> found = siftem.calibrate_maps(
    ...     {n: run.compositions for n, run in runs.items()},
    ...     [ChargeBalance(phase="Brg", sigma=0.01, iron="free")],
    ... )  # doctest: +SKIP
    >>> found.of_map("a")["Brg"]  # doctest: +SKIP
    """
    phases = {n: tuple(of) for n, of in maps.items()}
    known, departures = constraints_in_maps(constraints, phases, alike)
    full = {phase_in(n, p): (n, p) for n, of in phases.items() for p in of}
    densities, placed = densities or {}, positions or {}
    return calibration_of(
        {name: maps[n][p] for name, (n, p) in full.items()},
        known,
        Circumstances(
            held_in_maps(held_out, phases),
            {name: densities[p] for name, (_, p) in full.items() if p in densities},
            thickness_sigma, evenness,
            {name: placed[n][p] for name, (n, p) in full.items() if p in placed.get(n, {})},
            slope_sigma, window_sigma, dead_layer_sigma,
            {name: n for name, (n, _) in full.items()},
            departures,
        ),
        {
            (phase_in(n, grain), phase_in(n, matrix)): scale
            for n, of in (subtracted or {}).items()
            for (grain, matrix), scale in of.items()
        },
    )  # fmt: skip


def constraints_in_maps(
    constraints: Sequence[Constraint], phases: Mapping[str, Collection[str]], alike: float
) -> tuple[list[Constraint], tuple[str, ...]]:
    """Return what is known of the phase of each map, and the names of what maps share of it.

    Parameters
    ----------
    constraints : sequence of Constraint
    phases : mapping of str to collection of str
        Of each map.
    alike : float
    """
    if not 0 <= alike < 1:
        raise InputError(f"alike must lie between 0 and 1 (below 1), got {alike}")
    out: list[Constraint] = []
    departures = []
    for i, c in enumerate(constraints):
        (*own,) = _in_maps(c.phase, phases)
        if not own:
            raise InputError(f"{c.describe()}: {c.phase!r} is in none of the maps {_names(phases)}")
        if len(own) == 1 or alike == 0:
            out += [replace(c, phase=name) for name in own]
            continue
        departures.append(f"departure {i + 1} from {c.describe()}")
        out += [
            InEachMap(
                phase=name,
                sigma=c.sigma * float(np.sqrt(1 - alike)),
                known=c,
                departure=departures[-1],
                common=c.sigma * float(np.sqrt(alike)),
            )
            for name in own
        ]
    return out, tuple(departures)


def held_in_maps(held_out: Sequence[str], phases: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Return the names in the maps of phases that are held out."""
    out: list[str] = []
    for phase in held_out:
        own = _in_maps(phase, phases)
        if not own:
            raise InputError(
                f"{phase!r} is to be held out, but is in none of the maps {_names(phases)}"
            )
        out += own
    return tuple(dict.fromkeys(out))


def _in_maps(phase: str, phases: Mapping[str, Collection[str]]) -> list[str]:
    return [phase_in(n, p) for n, of in phases.items() for p in of if phase in (p, phase_in(n, p))]


def _names(phases: Mapping[str, Collection[str]]) -> str:
    return "; ".join(f"{n} ({', '.join(of)})" for n, of in phases.items())
