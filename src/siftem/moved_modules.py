"""Modules by the paths they had, for scripts that import from them.

``siftem.decompose``, ``quantify`` and ``unmix`` are functions; packages had these names, too.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

#: Old path below ``siftem`` -> new one.
_MOVED = {
    f"{old}.{name}": f"{new}.{home}"
    for old, new, modules in (
        (
            "decompose",
            "decomposition",
            {
                "factors": "factors", "kinds": "rank", "layout": "layout",
                "matching": "matching", "physics_basis": "detector_shapes",
                "poisson_nmf": "poisson_nmf", "rank": "rank", "together": "shared_spectra",
            },
        ),
        (
            "quantify",
            "quantification",
            {
                "charge_balance": "charge_balance", "composition": "composition",
                "detection_limit": "detection_limit", "fractions": "fractions",
                "k_values": "k_values", "line_ratios": "line_ratios", "partition": "partition",
                "standards": "standards", "zeta": "standards",
            },
        ),
        (
            "unmix",
            "unmixing",
            {
                "anchors": "anchors", "constrained": "constrained", "integrate": "integrate",
                "subtract": "subtract", "unmixed": "unmixed",
            },
        ),
        ("decomposition", "decomposition", {"kinds": "rank", "physics_basis": "detector_shapes"}),
        ("io", "io", {"region_sums": "imagej_rois", "spectra_sets": "fit_checkpoint"}),
    )
    for name, home in modules.items()
}  # fmt: skip


class _Moved(ModuleType):
    """Stands for a module until something of it is asked for."""

    def __init__(self, old: str, new: str) -> None:
        super().__init__(old, f"Moved to `{new}`.")
        self._new = new

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module(self._new), name)


def keep_old_paths() -> None:
    """Let ``from OLD import name`` find the modules; nothing is imported for it."""
    for old, new in _MOVED.items():
        path = f"siftem.{old}"
        sys.modules.setdefault(path, _Moved(path, f"siftem.{new}"))
