"""The app in the browser and in a notebook: it builds a recipe and shows results.

``siftem.app(source)`` gives the page below a cell of a notebook (`open_page`), with its results
within reach; `siftem.app.server.serve` puts it on a port. The app computes nothing itself: its
state is a recipe and the results of its steps, and every button changes the one and asks the
pipeline for the other. What it needs beyond siftem is the extra ``app``:
``pip install "siftem[app]"``.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

from siftem.errors import SiftemError

__all__ = ["open_page"]


def open_page(source: Any = None) -> Any:
    """Return the page for a map, which a notebook shows, with its results within reach.

    A server of its own, which only this machine can reach, runs in the kernel until it is closed
    or the kernel ends; the page is shown in a frame of the cell's width.

    Parameters
    ----------
    source : path-like, Recipe, SpectrumImage or HyperSpy signal, optional
        A recipe may be a file or an object; without anything the user opens a map.

    Returns
    -------
    siftem.app.notebook.NotebookApp
        What was done on the page so far: ``app.recipe``, ``app.spectrum_image`` and
        ``app.results()``, which wait for a step that is running. ``app.close()`` ends the server.

    Raises
    ------
    SiftemError
        When Panel is not installed, or the source cannot be read.

    Examples
    --------
    >>> app = siftem.app("71GPa.hspy")  # doctest: +SKIP
    >>> app.results().compositions["Fp"]  # doctest: +SKIP
    """
    require_extra()
    from siftem.app.notebook import NotebookApp

    return NotebookApp(source)


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


class _Callable(ModuleType):
    """Lets ``siftem.app(source)`` open a page."""

    def __call__(self, source: Any = None) -> Any:
        return open_page(source)


sys.modules[__name__].__class__ = _Callable
