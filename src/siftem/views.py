"""How results are shown: one line for what holds arrays, and pictures of layers above.

The latter are imported when somebody looks.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

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


#: Characters of one field, and how many parts of a mapping or tuple are written out.
_LONGEST = 100
_MOST = 8


def outline(self: Any) -> str:
    """Return a short text for a dataclass; for use as its ``__repr__``."""
    shown = (f"{f.name}={_short(getattr(self, f.name))}" for f in fields(self) if f.repr)
    return f"{type(self).__name__}({', '.join(shown)})"


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} array of {' x '.join(map(str, value.shape)) or 'no shape'}>"
    if isinstance(value, Mapping):
        names = ", ".join(str(key) for key in list(value)[:_MOST])
        more = ", ..." if len(value) > _MOST else ""
        return _cut(f"{{{names}{more}}}")
    if isinstance(value, tuple):
        inside = ", ".join(_short(part) for part in value[:_MOST])
        more = f", ... {len(value)} in all" if len(value) > _MOST else ""
        return _cut(f"({inside}{more})")
    return _cut(repr(value))


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
