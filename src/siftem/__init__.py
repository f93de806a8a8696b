"""Sift overlapping phases out of (S)TEM spectrum images.

Everything named here is imported on first use, so that ``import siftem`` and
``siftem --version`` stay fast.
"""

from __future__ import annotations

import importlib
from typing import Any

from siftem.old_names import keep_old_paths

__version__ = "0.1.0"

keep_old_paths()

#: Public name -> module that defines it.
_HOME = {
    "Absent": "siftem.unmixing.anchors",
    "AbsentEdge": "siftem.eels.subtract",
    "Acquisition": "siftem.acquisition",
    "Analysis": "siftem.minerals.structural_formula",
    "Calibration": "siftem.fit.spectrum_model",
    "Cancelled": "siftem.errors",
    "Composition": "siftem.quantification.composition",
    "Detector": "siftem.xray.detector",
    "DoubtWarning": "siftem.errors",
    "Edge": "siftem.eels.edges",
    "EdgeRatio": "siftem.eels.subtract",
    "EnergyAxis": "siftem.energy_axis",
    "ElementMaps": "siftem.element_mapping",
    "Factors": "siftem.decomposition.factors",
    "FitCheckpoint": "siftem.io.fit_checkpoint",
    "GivenKFactors": "siftem.quantification.k_values",
    "GivenScale": "siftem.unmixing.anchors",
    "InputError": "siftem.errors",
    "KnownRatio": "siftem.unmixing.anchors",
    "Markers": "siftem.decomposition.matching",
    "MostMatrix": "siftem.unmixing.anchors",
    "NoiseModel": "siftem.eels.noise",
    "PixelClassifier": "siftem.segment.classifier",
    "PoissonNMF": "siftem.decomposition.poisson_nmf",
    "Recipe": "siftem.pipeline.recipe",
    "Regions": "siftem.segment.regions",
    "SiftemError": "siftem.errors",
    "SiftemWarning": "siftem.errors",
    "Spectrum": "siftem.spectrum",
    "SpectrumImage": "siftem.spectrum_image",
    "Stoichiometry": "siftem.unmixing.anchors",
    "Workflow": "siftem.pipeline.workflow",
    "ZetaFactors": "siftem.quantification.standards",
    "as_counts": "siftem.eels.noise",
    "calibrate_jointly": "siftem.minerals.joint_calibration",
    "calibrate_maps": "siftem.minerals.several_maps",
    "choose_n_components": "siftem.decomposition.rank",
    "convert": "siftem.io.convert",
    "count_kinds": "siftem.decomposition.rank",
    "decompose": "siftem.decomposition.factors",
    "decompose_together": "siftem.decomposition.shared_spectra",
    "denoised": "siftem.decomposition.detector_shapes",
    "element_maps": "siftem.element_mapping",
    "elemental_ratios": "siftem.eels.ratios",
    "estimate_noise": "siftem.eels.noise",
    "fetch_71gpa": "siftem.datasets",
    "find_elements": "siftem.fit.element_search",
    "from_hyperspy": "siftem.io.hyperspy_bridge",
    "graph_cut": "siftem.segment.graph_cut",
    "identify": "siftem.minerals.identification",
    "integrate": "siftem.unmixing.integrate",
    "lattice_strain": "siftem.minerals.lattice_strain",
    "line_ratios": "siftem.quantification.line_ratios",
    "list_signals": "siftem.io.signal_choice",
    "load": "siftem.io.hyperspy_bridge",
    "match_phases": "siftem.decomposition.matching",
    "null_elements": "siftem.fit.null_elements",
    "open_map": "siftem.large.open_map",
    "open_run": "siftem.pipeline.store",
    "quantify": "siftem.quantification.composition",
    "remove_background": "siftem.eels.background",
    "run": "siftem.pipeline.workflow",
    "run_batch": "siftem.batch.run",
    "simulate_demo": "siftem.simulate.phantom",
    "simulate_elnes": "siftem.simulate.elnes",
    "structural_formula": "siftem.minerals.structural_formula",
    "subtract": "siftem.unmixing.subtract",
    "subtract_by_edges": "siftem.eels.subtract",
    "suggest_smoothness": "siftem.segment.smoothness",
    "sum_spectra": "siftem.io.imagej_rois",
    "thickness_map": "siftem.minerals.thickness",
    "to_hyperspy": "siftem.io.hyperspy_export",
    "thickness_from_charge_balance": "siftem.quantification.charge_balance",
    "unmix": "siftem.unmixing.constrained",
    "weighted_mixtures": "siftem.unmixing.integrate",
    "write_results": "siftem.report.folder",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name in ("app", "datasets"):  # modules; the first can be called
        return importlib.import_module(f"siftem.{name}")
    try:
        home = _HOME[name]
    except KeyError:
        raise AttributeError(f"module 'siftem' has no attribute {name!r}") from None
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
