"""The numbers of a run as plain data, with units in the keys: ``summary.json``.

Numbers are rounded to six significant digits, so that the file is the same, byte for byte, whenever
the results agree to rounding. Time and memory are kept apart (``resources.json``), because they
differ from run to run.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from siftem import __version__
from siftem.eels.ratios import ElementalRatios
from siftem.pipeline.composition_doubts import assumed_absent, run_differences
from siftem.pipeline.file_contents import file_names
from siftem.pipeline.mass_thickness import film_data
from siftem.pipeline.minerals import (
    calibration_data,
    mineral_data,
    onuma_diagrams,
    strain_data,
)
from siftem.pipeline.region_spectra import mixture_name
from siftem.pipeline.results import LineGain, RunResult
from siftem.pipeline.steps.composition import counts_for_wanted_limits
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
from siftem.quantification.partition import PartitionCoefficient


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
            "there": {f.line: f.significance for f in absent.contaminants},
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


#: Version of the keys below.
SUMMARY_SCHEMA = 1
_DIGITS = 6


def summarize(result: RunResult) -> dict[str, Any]:
    """Return the summary of a run as plain data; see ``docs/summary.md`` for its keys."""
    si = result.spectrum_image
    regions = result.segmentation.regions
    calibration = result.calibration
    mixtures = {mixture_name(g, result.matrix): g for g in regions.names}
    data = {
        "schema": SUMMARY_SCHEMA,
        "siftem": __version__,
        "title": result.recipe.title or si.title,
        "input": {
            "shape_pixels": list(si.shape),
            "channels": si.n_channels,
            "energy_first_keV": si.axis.to_kev().centers[0],
            "energy_last_keV": si.axis.to_kev().centers[-1],
            "counts": si.total,
            "counts_per_pixel": si.total / si.n_pixels,
            "nonzero_percent": 100 * si.density,
            "pixel_size_nm": list(si.pixel_size) if si.pixel_size else None,
            "beam_energy_keV": si.acquisition.beam_energy,
            "take_off_angle_deg": si.acquisition.take_off_angle,
        },
        "decomposition": {
            "components": list(result.factors.names),
            "counts_percent": {
                name: 100 * float(counts) / si.total
                for name, counts in zip(result.factors.names, result.factors.counts, strict=True)
            },
            "poisson_deviance": result.factors.deviance,
            "sweeps": result.factors.n_iter,
            "converged": result.factors.converged,
            "pooled_pixels": result.factors.pooled_pixels,
        },
        "smoothness": result.segmentation.smoothness,
        "regions": {
            name: {"pixels": n, "percent_of_map": 100 * n / si.n_pixels}
            for name, n in regions.pixel_counts().items()
        },
        "matrix": result.matrix,
        "layout": None
        if result.layout is None
        else {
            "kind": result.layout.kind,
            "sentence": result.layout.sentence(result.factors.names),
            "phases": {
                name: {
                    "role": lies.role,
                    "holds": [result.factors.names[h] for h in lies.hosts],
                    "may_hold_evenly": [result.factors.names[h] for h in lies.perhaps],
                    "unevenness": lies.unevenness,
                }
                for name, lies in zip(result.factors.names, result.layout.phases, strict=True)
            },
        },
        "phase_map_percent": result.phase_map.area_percent,
        "phases": {name: _phase(result, name) for name in result.pure},
        "mixtures": {
            name: composition_data(result.compositions[name], result, grain)
            if name in result.compositions
            else ratio_data(result.ratios[name])
            for name, grain in mixtures.items()
            if name in result.compositions or name in result.ratios
        },
        "partition": {
            "subtract": [partition_data(d) for d in result.partition],
            "unmix": [partition_data(d) for d in result.unmixed_partition],
        },
        "film": film_data(result),
        "lattice_strain": strain_data(onuma_diagrams(result)),
        "joint_calibration": calibration_data(result),
        "unmixing": _unmixing(result),
        "line_gains": {gain.line: _gain(gain) for gain in result.gains},
        "confined_rectangles": [_box(r.mask) for r in result.rectangles],
        "energy_calibration": None
        if calibration is None
        else {
            "shift_eV": 1e3 * calibration.shift,
            "gain_relative": calibration.gain,
            "resolution_MnKa_eV": calibration.resolution,
            "collection_depth_nm": calibration.collection_depth,
        },
        "truth": _truth(result),
        "missing": dict(result.missing),
        "warnings": list(result.warnings),
        "doubts": list(result.doubts),
    }
    return rounded(data)


def summary_text(result: RunResult) -> str:
    """Return ``summary.json`` as text."""
    return json.dumps(summarize(result), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def rounded(value: Any) -> Any:
    """Round all numbers in plain data to six significant digits; NaN and infinity become None."""
    if isinstance(value, dict):
        return {str(k): rounded(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(v) for v in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        if not np.isfinite(value):
            return None
        short = float(f"{float(value):.{_DIGITS}g}")
        return int(short) if short.is_integer() and abs(short) < 1e15 else short
    return value


def spectrum_files(result: RunResult) -> dict[str, str]:
    """Where in the folder of a run each spectrum lies; "<phase>_unmixed" for unmixed ones."""
    unmixed = () if result.unmixed is None else result.unmixed.spectra
    names = file_names([*result.spectra, *result.pure, *(f"{n}_unmixed" for n in unmixed)])
    return {name: f"spectra/{file}.msa" for name, file in names.items()}


def _phase(result: RunResult, name: str) -> dict[str, Any]:
    spectrum = result.pure[name]
    phases = result.phase_map
    data: dict[str, Any] = {
        "role": "matrix" if name == result.matrix else "grain",
        "area_percent": phases.area_percent.get(name),
        "area_percent_sigma": phases.area_sigma.get(name),
        "pixels": spectrum.n_pixels,
        "counts": float(spectrum.values.sum()),
        "spectrum": spectrum_files(result)[name],
    }
    scaled = result.scale_of(name)
    if scaled is not None:
        total = scaled.counts.sum()
        taken = sum(part.counts for part in scaled.subtracted if part.name == result.matrix)
        data["subtraction"] = {
            "anchor": scaled.anchor,
            "scale": scaled.scale,
            "scale_sigma": scaled.scale_sigma,
            "matrix_counts_percent_of_mixture": 100 * float(taken / total),
            "anchor_conflict_sigma": scaled.conflict,
            "subtracted": {
                part.name: {
                    "scale": part.scale,
                    "scale_sigma": part.sigma,
                    "scale_systematic": part.systematic,
                    "counts_percent_of_mixture": 100 * part.counts / total,
                }
                for part in scaled.subtracted
            },
        }
    known = result.open_scales.get(name)
    if known is not None and known.beside:
        data["counts_percent_over_borders_at_most"] = {
            other: 100 * share for other, share in known.beside.items()
        }
    if known is not None and known.ranges:
        data["scale_ranges"] = {
            host: {
                "low": one.ends[0],
                "high": one.ends[1],
                "taken": one.value,
                "vanishes_at_high": one.vanishes or None,
                "vanish_together": list(one.together),
                "as_beside": one.as_beside,
            }
            for host, one in zip(known.hosts, known.ranges, strict=True)
        }
    if name in result.compositions:
        c = result.compositions[name]
        data.update(composition_data(c, result, name))
        data.update(mineral_data(result, name))
        data["counts_for_wanted_limits"] = counts_for_wanted_limits(
            c, result.recipe.quantify.wanted_limits, data["counts"]
        )
    if name in result.ratios:
        data.update(ratio_data(result.ratios[name]))
    return data


def _unmixing(result: RunResult) -> dict[str, Any] | None:
    if result.unmixed is None:
        return None
    phases: dict[str, dict[str, Any]] = {}
    away = run_differences(result)
    for name, spectrum in result.unmixed.spectra.items():
        phases[name] = {
            "anchor": result.unmixed.anchors.get(name),
            "pixels": spectrum.n_pixels,
            "counts": float(spectrum.values.sum()),
        }
        c = result.unmixed_compositions.get(name)
        if c is not None:
            phases[name].update(composition_data(c, result, name, fitted=False))
            if name in result.compositions:
                phases[name]["difference_from_subtract_sigma"] = away[name]
    return {
        "steps": result.unmixed.n_iter,
        "converged": result.unmixed.converged,
        "phases": phases,
    }


def partition_data(d: PartitionCoefficient) -> dict[str, Any]:
    """Return a partition coefficient as plain data; see ``docs/summary.md``."""
    return {
        "element": d.element,
        "numerator": d.phases[0],
        "denominator": d.phases[1],
        "value_by_weight": d.value,
        "sigma": d.sigma,
        "systematic": d.systematic,
        "limit": d.limit or None,
        "interval_95": d.interval_95,
        "is_range": d.is_range,
    }


def _gain(gain: LineGain) -> dict[str, Any]:
    return {
        "signal_to_noise_whole": gain.whole,
        "signal_to_noise_rectangle": gain.rectangle,
        "gain": gain.gain,
        "gain_at_equal_signal": gain.gain_at_equal_signal,
        "area_ratio": gain.area_ratio,
        "square_root_of_area_ratio": gain.area_ratio**0.5,
        "signal_whole_counts": gain.signal_whole,
        "noise_whole_counts": gain.noise_whole,
        "signals_rectangles_counts": list(gain.signals_rectangles),
        "noise_rectangle_counts": gain.noise_rectangle,
    }


def _box(mask: np.ndarray) -> dict[str, int]:
    ys, xs = np.nonzero(mask)
    return {
        "y": int(ys.min()),
        "x": int(xs.min()),
        "height": int(np.ptp(ys)) + 1,
        "width": int(np.ptp(xs)) + 1,
    }


def _truth(result: RunResult) -> dict[str, Any] | None:
    truth = result.truth
    if truth is None:
        return None
    return {
        "grain_is_there_from_thickness_share": truth.threshold,
        "intersection_over_union": dict(truth.overlap),
        "spectral_angle_deg": dict(truth.angles),
        "unmixed_spectral_angle_deg": dict(truth.unmixed_angles),
        "wt_percent": {
            name: {e: 100 * w for e, w in fractions.items()}
            for name, fractions in truth.weight_fractions.items()
        },
    }
