"""Spectra of regions and what is left of them after the matrix is taken away.

The package is also the front-door function: ``siftem.unmix(si, regions, anchors=...)`` and
``siftem.unmix.constrained`` both work, whichever is used first.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Unmix a map; see `siftem.unmix.constrained.unmix`."""
        from siftem.unmix.constrained import unmix

        return unmix(*args, **kwargs)


# Importing a module of this package binds the package to the name ``siftem.unmix``, in
# place of the function of that name.
sys.modules[__name__].__class__ = _CallablePackage
