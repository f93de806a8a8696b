"""Poisson factorisation of sparse counts into maps and spectra.

The package is also the front-door function: ``siftem.decompose(si, n_components=3)`` and
``siftem.decompose.factors`` both work, whichever is used first.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Factorise a spectrum image; see `siftem.decompose.factors.decompose`."""
        from siftem.decompose.factors import decompose

        return decompose(*args, **kwargs)


# Importing a module of this package binds the package to the name ``siftem.decompose``, in
# place of the function of that name.
sys.modules[__name__].__class__ = _CallablePackage
