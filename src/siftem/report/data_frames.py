"""Results as tables of pandas, with units in the names of the columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from siftem.decomposition.factors import Factors
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.pipeline.agreement import assumed_absent
from siftem.pipeline.results import RunResult
from siftem.quantification.fractions import Composition
from siftem.segment.regions import Regions
from siftem.spectrum import Spectrum
from siftem.unmixing.unmixed import Unmixed


def _frame(columns: Mapping[str, Any], index: Sequence[Any], name: str) -> Any:
    try:
        import pandas
    except ModuleNotFoundError:
        raise InputError("to_pandas needs pandas: pip install pandas") from None
    return pandas.DataFrame(dict(columns), index=pandas.Index(index, name=name))


def composition_frame(c: Composition, assumed: Sequence[str] = ()) -> Any:
    """Return one row an element; see `Composition.to_pandas`."""
    absent = np.isin(c.elements, [*assumed, *c.assumed_absent])
    at, wt = 100 * c.atomic_interval_95, 100 * c.weight_interval_95
    # Above the pure element there is none.
    limits = np.where(c.detection_limits > 1, np.nan, c.detection_limits)
    columns = {
        "at_percent": 100 * c.atomic_fractions,
        "at_sigma": 100 * np.sqrt(np.diag(c.atomic_covariance)),
        "at_systematic": 100 * np.sqrt(np.diag(c.atomic_systematic)),
        "at_low_95": at[:, 0],
        "at_high_95": at[:, 1],
        "wt_percent": 100 * c.weight_fractions,
        "wt_sigma": 100 * c.sigma,
        "wt_systematic": 100 * c.systematic_sigma,
        "wt_low_95": wt[:, 0],
        "wt_high_95": wt[:, 1],
        "critical_level_wt_percent": 100 * c.critical_levels,
        "detection_limit_wt_percent": 100 * limits,
    }
    # What was assumed was not measured: no number, no error.
    columns = {name: np.where(absent, np.nan, values) for name, values in columns.items()}
    words = {
        "found": np.asarray(c.found) & ~absent,
        "assumed_absent": absent,
        "line_family": list(c.families),
    }
    return _frame({**columns, **words}, c.elements, "element")


def spectrum_frame(spectrum: Spectrum) -> Any:
    """Return one row a channel; see `Spectrum.to_pandas`."""
    columns = {
        "counts": np.array(spectrum.values),
        "sigma": spectrum.standard_deviation,
        "taken_off": np.array(spectrum.background),
    }
    return _by_energy(columns, spectrum.axis)


def factors_frame(found: Factors) -> Any:
    """Return the spectra, one column a component; see `Factors.to_pandas`."""
    return _by_energy(dict(zip(found.names, found.spectra, strict=True)), found.axis)


def unmixed_frame(found: Unmixed) -> Any:
    """Return the spectra and their errors; see `Unmixed.to_pandas`."""
    columns: dict[str, np.ndarray] = {}
    for name in found.names:
        columns[name] = np.array(found.spectra[name].values)
        columns[f"{name} sigma"] = found.spectra[name].standard_deviation
    return _by_energy(columns, found.spectra[found.names[0]].axis)


def _by_energy(columns: Mapping[str, np.ndarray], axis: EnergyAxis) -> Any:
    return _frame(columns, axis.centers.tolist(), f"energy_{axis.unit}")


def regions_frame(regions: Regions) -> Any:
    """Return one row a region; see `Regions.to_pandas`."""
    counts = regions.pixel_counts()
    pixels = np.array(list(counts.values()))
    percent = 100 * pixels / (regions.shape[0] * regions.shape[1])
    return _frame({"pixels": pixels, "percent_of_map": percent}, list(counts), "region")


def phase_map_frame(found: Any) -> Any:
    """Return one row a phase, and mixed pixels and vacuum; see `PhaseMap.to_pandas`."""
    areas, errors = found.area_percent, found.area_sigma
    columns = {
        "area_percent": list(areas.values()),
        "area_sigma": [errors.get(name, 0.0) for name in areas],
    }
    return _frame(columns, list(areas), "phase")


def run_frame(result: RunResult) -> Any:
    """Return the compositions of all phases, one row an element; see `RunResult.to_pandas`."""
    assumed = assumed_absent(result.recipe)
    frames = {
        name: composition_frame(result.compositions[name], assumed.get(name, ()))
        for name in result.pure
        if name in result.compositions
    }
    if not frames:
        raise InputError(
            "this run has no compositions: "
            + ("; ".join(result.missing.values()) or "its ratios are in .ratios")
        )
    import pandas

    return pandas.concat(frames, names=["phase"])
