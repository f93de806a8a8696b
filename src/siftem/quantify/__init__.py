"""Compositions of phases, with detection limits and all their errors.

The package is also the front-door function: ``siftem.quantify(spectrum, elements)`` and
``siftem.quantify.composition`` both work, whichever is used first.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Quantify a spectrum; see `siftem.quantify.composition.quantify`."""
        from siftem.quantify.composition import quantify

        return quantify(*args, **kwargs)


# Importing a module of this package binds the package to the name ``siftem.quantify``, in
# place of the function of that name.
sys.modules[__name__].__class__ = _CallablePackage
