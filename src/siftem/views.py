"""How results are shown: by layers above them, which are imported when somebody looks."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

#: Function -> module that defines it, in `figures/` or `report/`.
VIEWS = {
    "composition_frame": "siftem.report.notebook",
    "composition_html": "siftem.report.notebook",
    "composition_text": "siftem.report.notebook",
    "factors_frame": "siftem.report.notebook",
    "factors_html": "siftem.report.notebook",
    "phase_map_frame": "siftem.report.notebook",
    "phase_map_html": "siftem.report.notebook",
    "plot_composition": "siftem.figures.plots",
    "plot_factors": "siftem.figures.plots",
    "plot_phase_map": "siftem.figures.plots",
    "plot_regions": "siftem.figures.plots",
    "plot_run": "siftem.report.notebook",
    "plot_spectrum": "siftem.figures.plots",
    "plot_spectrum_image": "siftem.figures.plots",
    "plot_unmixed": "siftem.figures.plots",
    "regions_frame": "siftem.report.notebook",
    "regions_html": "siftem.report.notebook",
    "run_frame": "siftem.report.notebook",
    "run_html": "siftem.report.notebook",
    "run_text": "siftem.report.notebook",
    "spectrum_frame": "siftem.report.notebook",
    "spectrum_html": "siftem.report.notebook",
    "spectrum_image_html": "siftem.report.notebook",
    "unmixed_frame": "siftem.report.notebook",
    "unmixed_html": "siftem.report.notebook",
}


def view(name: str) -> Callable[..., Any]:
    """Return a function that shows something, by its name.

    The layers below know nothing of those that draw and tabulate; this is the one way up.

    Parameters
    ----------
    name : str
        One of `VIEWS`.
    """
    found: Callable[..., Any] = getattr(importlib.import_module(VIEWS[name]), name)
    return found
