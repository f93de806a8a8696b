"""What a run says of minerals: names, structural formulas, joint calibration, Onuma diagrams."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from siftem.errors import InputError, ReadError, SiftemError, SiftemWarning
from siftem.machine import one_blas_thread
from siftem.minerals.calibration_results import Calibrated, ConstraintResult
from siftem.minerals.identification import Identification, identify
from siftem.minerals.joint_calibration import JointCalibration, calibrate_jointly
from siftem.minerals.lattice_strain import OnumaDiagram, lattice_strain
from siftem.minerals.structural_formula import Estimate, StructuralFormula, structural_formula
from siftem.pipeline.composition_doubts import run_on_support
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.recipe_anchors import Identify
from siftem.pipeline.results import RunResult
from siftem.pipeline.subtraction import matrix_in
from siftem.quantification.composition import Composition
from siftem.quantification.partition import PartitionCoefficient

#: Names and formulas that were made: they go with their compositions.
_NAMED: WeakKeyDictionary[Composition, tuple[Identify, dict[Any, Identification]]] = (
    WeakKeyDictionary()
)
_FORMULAS: WeakKeyDictionary[Composition, tuple[Any, StructuralFormula]] = WeakKeyDictionary()
#: Joint calibrations that were made, by the compositions they are of: a report, a summary and the
#: app's tables ask for the same one.
_CALIBRATED: WeakKeyDictionary[Composition, tuple[Any, JointCalibration | str | None]] = (
    WeakKeyDictionary()
)


def joint_calibration(result: RunResult) -> JointCalibration | str | None:
    """Return the joint calibration that the recipe asks for.

    Returns
    -------
    JointCalibration, or str or None
        A sentence when it can't be had; None when the recipe asks for none.
    """
    calibrate = result.recipe.calibrate
    shown = {n: result.compositions[n] for n in result.pure if n in result.compositions}
    if not calibrate.constraints:
        return None
    if not shown:
        return "the joint calibration is missing: no phase has a composition"
    first = next(iter(shown.values()))
    own = (calibrate, tuple(shown), tuple(map(id, shown.values())))
    known = _CALIBRATED.get(first)
    if known is not None and known[0] == own:
        return known[1]
    made: JointCalibration | str
    try:
        # What disagrees stands in the table of the constraints.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SiftemWarning)
            made = calibrate_jointly(
                shown,
                [c.made() for c in calibrate.constraints],
                held_out=[n for n in calibrate.hold_out if n in shown],
                densities=densities(result.recipe),
                thickness_sigma=calibrate.thickness_sigma,
                evenness=calibrate.evenness,
                positions=positions(result, shown),
                slope_sigma=calibrate.slope_sigma,
                window_sigma=calibrate.window_sigma,
                dead_layer_sigma=calibrate.dead_layer_sigma,
                subtracted=subtracted(result, shown),
            )
    except SiftemError as error:
        made = f"the joint calibration is missing: {error}"
    _CALIBRATED[first] = (own, made)
    return made


def subtracted(result: RunResult, names: Collection[str]) -> dict[tuple[str, str], float]:
    """Return how much of the matrix was subtracted from the mixture of each grain."""
    matrix = result.matrix
    return {(n, matrix): matrix_in(n, result.pure, matrix) for n in names if n != matrix}


def positions(result: RunResult, names: Collection[str]) -> dict[str, tuple[float, float]]:
    """Return the middle of each phase's pixels, from that of the map, over its longer side."""
    regions = result.segmentation.regions
    out = {}
    for name in names:
        mask = np.asarray(regions.own(name).mask)
        if mask.any():
            middle = (np.array(mask.shape) - 1) / 2
            y, x = (np.argwhere(mask).mean(axis=0) - middle) / max(mask.shape)
            out[name] = (float(y), float(x))
    return out


def mineral_compositions(result: RunResult) -> dict[str, Composition]:
    """Return the compositions of the pure phases, calibrated jointly if the recipe asks for it."""
    joint = joint_calibration(result)
    if isinstance(joint, JointCalibration):
        return joint.compositions
    return {n: result.compositions[n] for n in result.pure if n in result.compositions}


def names_of(result: RunResult) -> dict[str, Identification]:
    """Return what each phase may be; empty where the recipe asks for no names.

    No phase is a compound that its own values don't tell and another phase of the map is, and no
    film of the support is one.
    A table that can't be read leaves them out, see `names_problem`.
    """
    wanted = result.recipe.identify
    if not wanted.run or names_problem(result):
        return {}
    films = [n for n, held in run_on_support(result).items() if held.film]
    found = {n: c for n, c in mineral_compositions(result).items() if n not in films}
    # At an end of what is not known of a grain next to nothing may be left but what is around it.
    # It was found since it is something else.
    by_value = {n: _named(c, wanted, ends=False).best for n, c in found.items()}
    named = {n: _named(c, wanted) for n, c in found.items()}
    taken = frozenset(
        i.best
        for n, i in named.items()
        if i.best is not None and i.best == by_value[n] and len(i.candidates[0].members) == 1
    )
    return {
        n: _named(found[n], wanted, taken) if i.best in taken - {by_value[n]} else i
        for n, i in named.items()
    }


def names_problem(result: RunResult) -> str:
    """Say why there are no names; empty where there are, or none are wanted."""
    wanted = result.recipe.identify
    found = mineral_compositions(result)
    if not wanted.run or not found:
        return ""
    try:
        _named(next(iter(found.values())), wanted)
    except (InputError, ReadError) as error:
        return f"no names for the phases: {error}"
    return ""


@one_blas_thread()
def _named(
    composition: Composition,
    wanted: Identify,
    without: frozenset[str] = frozenset(),
    *,
    ends: bool = True,
) -> Identification:
    if ends and composition.identification_ends is None:
        ends = False
    known = _NAMED.get(composition)
    if known is None or known[0] != wanted:
        known = _NAMED[composition] = (wanted, {})
    found = known[1].get((without, ends))
    if found is None:
        found = known[1][without, ends] = identify(
            composition if ends else replace(composition, identification_ends=None),
            table=wanted.table,
            settings=wanted.settings,
            none_prior=wanted.none_prior,
            without=without,
        )
    return found


def formulas_of(result: RunResult) -> dict[str, StructuralFormula]:
    """Return the structural formulas of the phases whose mineral group the recipe names."""
    out = {}
    for name, c in mineral_compositions(result).items():
        phase = result.recipe.phases.get(name)
        if phase is None or phase.group is None:
            continue
        try:
            out[name] = _formula(c, phase.group, phase.oxygens if phase.group == "oxide" else None)
        except InputError:  # no cations, or one without a usual charge
            continue
    return out


def _formula(composition: Composition, group: str, oxygens: float | None) -> StructuralFormula:
    known = _FORMULAS.get(composition)
    if known is not None and known[0] == (group, oxygens):
        return known[1]
    found = structural_formula(composition, group, oxygens=oxygens)
    _FORMULAS[composition] = ((group, oxygens), found)
    return found


def densities(recipe: Recipe) -> dict[str, float]:
    """Return the densities that a recipe tells, g/cm3."""
    return {n: p.density for n, p in recipe.phases.items() if p.density is not None}


def mineral_data(result: RunResult, phase: str) -> dict[str, Any]:
    """Return what the summary tells of a phase as a mineral; see ``docs/summary.md``."""
    named, formula = names_of(result).get(phase), formulas_of(result).get(phase)
    return {
        "identified": None if named is None else _identified(named),
        "structural_formula": None if formula is None else _formula_data(formula),
    }


def _identified(found: Identification) -> dict[str, Any]:
    return {
        "best": found.best,
        "none_probability": found.none,
        "too_open": found.too_open,
        "candidates": [
            {
                "name": c.name, "setting": c.setting, "probability": c.probability,
                "distance_sigma": c.distance, "members": c.members, "source": c.source,
            }
            for c in found.candidates
        ],
    }  # fmt: skip


def _formula_data(found: StructuralFormula) -> dict[str, Any]:
    def plain(values: Mapping[str, Estimate]) -> dict[str, Any]:
        return {
            key: {
                "value": e.value, "sigma": e.sigma, "systematic": e.systematic,
                "interval_95": e.interval_95, "assumed_absent": e.assumed_absent,
            }
            for key, e in values.items()
        }  # fmt: skip

    return {
        "group": found.group.name,
        "source": found.group.source,
        "formula": str(found),
        "doubts": list(found.doubts),
        "ions": plain(found.ions),
        "sites": {site: plain(held) for site, held in found.sites.items()},
        "numbers": plain(found.numbers),
    }


def calibration_data(result: RunResult) -> dict[str, Any] | None:
    """Return what the summary tells of the joint calibration; None without one."""
    joint = joint_calibration(result)
    if joint is None:
        return None
    if isinstance(joint, str):
        return {"missing": joint}
    ratios = result.recipe.quantify.ratios
    return {
        "constraints": [constraint_data(c) for c in joint.constraints],
        "k_factor_changes": calibrated_data(joint.k_factors),
        "mass_thickness_kg_m2": calibrated_data(joint.film),
        "ferric_share_of_iron": calibrated_data(joint.ferric),
        "instrument": calibrated_data(joint.instrument),
        "phases": {
            name: {
                "held_out": name in result.recipe.calibrate.hold_out,
                "elements": {
                    e: {
                        "at_percent": 100 * c.atomic_fractions[i],
                        "at_sigma": 100 * c.atomic_covariance[i, i] ** 0.5,
                        "at_systematic": 100 * c.atomic_systematic[i, i] ** 0.5,
                        "at_interval_95": (100 * c.atomic_interval_95[i]).tolist(),
                    }
                    for i, e in enumerate(c.elements)
                },
                "atomic_ratios": _ratios(c, ratios),
            }
            for name, c in joint.compositions.items()
        },
    }  # fmt: skip


def constraint_data(c: ConstraintResult) -> dict[str, Any]:
    """Return what a summary tells of a constraint; see ``docs/summary.md``."""
    return {
        "text": c.text, "phase": c.phase, "target": c.target, "sigma": c.sigma,
        "before": c.before, "after": c.after, "pull_sigma": c.pull, "bits": c.bits,
        "told_from_sigma": c.told_from, "disagrees": c.disagrees, "shows_from": c.shows_from,
        "sure_from": c.sure_from, "unnoticed": c.unnoticed, "held_out": c.held_out,
    }  # fmt: skip


def calibrated_data(found: Mapping[str, Calibrated]) -> dict[str, Any]:
    """Return what a summary tells of calibrated numbers."""
    return {
        key: {"value": c.value, "sigma": c.sigma, "before": c.before,
              "sigma_before": c.sigma_before}
        for key, c in found.items()
    }  # fmt: skip


def _ratios(c: Composition, ratios: tuple[str, ...]) -> dict[str, Any]:
    out = {}
    for text in ratios:
        try:
            q = c.ratio(text)
        except InputError:  # an element of it was not quantified
            continue
        out[text] = {"value": q.value, "sigma": q.sigma, "systematic": q.systematic}
    return out


def onuma_diagrams(result: RunResult, *, fewest: int = 3) -> tuple[OnumaDiagram, ...]:
    """Return the Onuma diagrams of pairs of phases with so many ions of known radii."""
    wanted = result.recipe.quantify.onuma
    out = []
    for pair in dict.fromkeys(d.phases for d in result.partition):
        own = tuple(d for d in result.partition if d.phases == pair)
        diagram = _diagram(own, wanted.coordination, wanted.temperature)
        if len(diagram.points) >= fewest:
            out.append(diagram)
    return tuple(out)


@lru_cache(maxsize=32)
def _diagram(
    coefficients: tuple[PartitionCoefficient, ...], coordination: int, temperature: float | None
) -> OnumaDiagram:
    return lattice_strain(coefficients, coordination=coordination, temperature=temperature)


def strain_data(diagrams: Iterable[OnumaDiagram]) -> list[dict[str, Any]]:
    """Return the curves of lattice strain as a summary tells them; see ``docs/summary.md``."""
    return [
        {
            "numerator": diagram.phases[0],
            "denominator": diagram.phases[1],
            "charge": curve.charge,
            "elements": list(curve.elements),
            "coordination": diagram.coordination,
            "strain_free_D": curve.strain_free,
            "best_radius_A": curve.best_radius,
            "stiffness_GPa_K": curve.stiffness,
            "young_modulus_GPa": curve.young_modulus,
            "intervals_95": curve.intervals_95,
            "not_enclosed": curve.at_bound,
        }
        for diagram in diagrams
        for curve in diagram.curves
    ]
