"""Whether the libraries of the app are there."""

from __future__ import annotations

import importlib.util

from siftem.errors import SiftemError


def require_extra() -> None:
    """Tell how to install the app's libraries when they are missing.

    Raises
    ------
    SiftemError
        When Panel or Bokeh is not installed.
    """
    for library in ("panel", "bokeh"):
        if importlib.util.find_spec(library) is None:
            raise SiftemError(
                f'the app needs {library}, which is not installed: pip install "siftem[app]"'
            )
