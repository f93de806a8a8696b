"""Old names of parameters, of keys and of modules: still taken.

``siftem.decompose``, ``quantify`` and ``unmix`` are functions; packages had these names, too.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

from siftem.errors import InputError, SiftemWarning

P = ParamSpec("P")
R = TypeVar("R")


def takes_old_names(**renamed: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function take parameters by their old names, ``old="new"``, too."""

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def called(*args: Any, **given: Any) -> R:
            return function(*args, **with_new_names(given, renamed, f"{function.__name__}()"))

        return called

    return decorated


def with_new_names(
    given: Mapping[str, Any], renamed: Mapping[str, str], where: str
) -> dict[str, Any]:
    """Return values by name, those with an old name under the new one.

    Parameters
    ----------
    given : mapping of str to object
    renamed : mapping of str to str
        Old names and new ones.
    where : str
        What takes them, for the warning.

    Raises
    ------
    InputError
        When both names are given.

    Warns
    -----
    SiftemWarning
        For each old name.
    """
    out = dict(given)
    for old in renamed.keys() & given.keys():
        new = renamed[old]
        if new in given:
            raise InputError(f"{where}: {old} is the old name of {new}: give {new} alone")
        warnings.warn(f"{where}: {old} is called {new} now", SiftemWarning, stacklevel=3)
        out[new] = out.pop(old)
    return out


#: Old path below ``siftem`` -> new one.
_MOVED = {
    f"{old}.{name}": f"{new}.{home}".lstrip(".")
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
        ("io", "", {"example": "datasets"}),
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
