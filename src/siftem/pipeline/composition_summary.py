"""Compositions and ratios as plain data, with units in the keys."""

from __future__ import annotations

from typing import Any

import numpy as np

from siftem.eels.edges import ElementalRatios
from siftem.pipeline.agreement import assumed_absent
from siftem.pipeline.results import RunResult
from siftem.quantification.composition import Composition
from siftem.quantification.line_ratios import LineRatios
from siftem.quantification.minerals import ANIONS, Quantity, oxide_name
from siftem.quantification.open_ranges import (
    atomic_ratio,
    formula_atoms,
    interval_of,
    is_open,
    oxide_percent,
)


def composition_data(
    c: Composition, result: RunResult, phase: str, *, fitted: bool = True
) -> dict[str, Any]:
    """Return all that the summary tells of a composition; see ``docs/summary.md``.

    Parameters
    ----------
    c : Composition
    result : RunResult
    phase : str
        Whose recipe holds.
    fitted : bool
        Whether the fit's deviance means anything.
    """
    ratios = result.recipe.quantify.ratios
    own = result.recipe.phases.get(phase)
    # An anchor speaks of the grain, not of the mixture that it is taken out of.
    assumed = assumed_absent(result.recipe).get(c.name, ())
    at = 100 * c.atomic_fractions
    at_sigma = 100 * np.sqrt(np.diag(c.atomic_covariance))
    at_systematic = 100 * np.sqrt(np.diag(c.atomic_systematic))
    at_interval = 100 * c.atomic_interval_95
    elements = {}
    for i, element in enumerate(c.elements):
        limit = float(c.detection_limits[i])
        elements[element] = {
            "wt_percent": 100 * c.weight_fractions[i],
            "wt_sigma": 100 * c.sigma[i],
            "wt_model": 100 * c.model_sigma[i],
            "wt_systematic": 100 * c.systematic_sigma[i],
            "at_percent": at[i],
            "at_sigma": at_sigma[i],
            "at_systematic": at_systematic[i],
            "at_interval_95": at_interval[i].tolist(),
            "found": bool(c.found[i]),
            "assumed_absent": element in assumed,
            "critical_level_wt_percent": 100 * c.critical_levels[i],
            # Above the pure element there is none.
            "detection_limit_wt_percent": 100 * limit if limit <= 1 else None,
            "line_family": c.families[i],
            "k_factor_family_by_weight": c.k.values[i],
            "k_factor_source": c.k.source[i],
            "k_factor_relative_sigma": c.k.relative_sigma[i],
            "absorption_factor": c.absorption[i],
        }
    usable = [r for r in ratios if _has_all(r, c)]
    data: dict[str, Any] = {
        "is_range": is_open(c),
        "elements": elements,
        "oxides_wt_percent": {
            name: {
                "value": q.value,
                "sigma": q.sigma,
                "interval_95": interval_of(c, oxide_percent(c, element)),
            }
            for element, (name, q) in oxides_by_cation(c).items()
        },
        "atomic_ratios": {
            r: {
                "value": c.ratio(r).value,
                "sigma": c.ratio(r).sigma,
                "systematic": c.ratio_systematic(r),
                "interval_95": interval_of(c, atomic_ratio(c, r)),
            }
            for r in usable
        },
        "formula_units": formula(c, None if own is None else own.oxygens),
        "film": None
        if c.film is None
        else {
            "thickness_nm": c.film.thickness,
            "density_g_cm3": c.film.density,
            "take_off_angle_deg": c.film.take_off_angle,
        },
        "mass_thickness_kg_m2": None
        if c.mass_thickness is None
        else {"value": c.mass_thickness.value, "sigma": c.mass_thickness.sigma},
        "not_in_range": list(c.not_in_range),
    }
    if fitted:  # an unmixed spectrum is smooth: its lines were fitted to all pixels
        data["reduced_deviance"] = c.fit.reduced_deviance
        absent = c.null_elements
        data["null_elements"] = {
            "tried": len(absent.z),
            "rms_sigma": absent.rms,
            "beyond_two_percent": 100 * absent.beyond_two,
            "farthest": {e: absent.z[e] for e in absent.worst[:3]},
        }
    return data


def formula(c: Composition, oxygens: float | None) -> dict[str, Any] | None:
    """Return atoms for a number of oxygens by stoichiometry; None without a number.

    None as well for what is no oxide, or holds a metal without a usual charge.
    """
    if oxygens is None or not c.oxides():
        return None
    counted = c.formula_units(oxygens)
    systematic = c.formula_units(oxygens, systematic=True)
    atoms = {
        e: {
            "value": q.value,
            "sigma": q.sigma,
            "systematic": systematic[e].sigma,
            "interval_95": interval_of(c, formula_atoms(c, e, oxygens)),
        }
        for e, q in counted.items()
    }
    return {"oxygens": oxygens, "atoms": atoms}


def oxides_by_cation(c: Composition) -> dict[str, tuple[str, Quantity]]:
    """Return name and weight percent of each oxide, by its cation."""
    found = c.oxides()
    names = {e: oxide_name(e) for e in c.elements if e not in ANIONS} if found else {}
    return {e: (name, found[name]) for e, name in names.items()}


def _has_all(ratio: str, c: Composition) -> bool:
    try:
        c.ratio(ratio)
    except ValueError:
        return False
    return True


def ratio_data(ratios: ElementalRatios | LineRatios) -> dict[str, Any]:
    """Ratios by their names, such as "O/Mn" and "Fe K/Si K", without that of the reference."""
    base = ratios.elements.index(ratios.reference)
    others = [i for i in range(len(ratios.elements)) if i != base]
    if isinstance(ratios, ElementalRatios):
        return {
            "elemental_ratios": {
                f"{ratios.elements[i]}/{ratios.reference}": {
                    "value": ratios.values[i],
                    "sigma": ratios.sigma[i],
                    "systematic": ratios.systematic_sigma[i],
                    "edges": [ratios.signals[i].edge.name, ratios.signals[base].edge.name],
                }
                for i in others
            }
        }
    return {
        "line_ratios": {
            f"{ratios.families[i]}/{ratios.families[base]}": {
                "value": ratios.values[i],
                "sigma": ratios.sigma[i],
                "found": bool(ratios.found[i]),
            }
            for i in others
        }
    }
