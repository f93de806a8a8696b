"""The app in the browser and in a notebook: it builds a recipe and shows results.

``siftem.app(source)`` gives the page in a notebook (`open_page`), with its results within reach;
`siftem.app.server.serve` puts it on a port. The app computes nothing itself: its state is a recipe
and the results of its steps, and every button changes the one and asks the pipeline for the
other. What it needs beyond siftem is the extra ``app``: ``pip install "siftem[app]"``.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

__all__ = ["open_page"]


def open_page(source: Any = None) -> Any:
    """Return the page for a map, which a notebook shows, with its results within reach.

    Parameters
    ----------
    source : path-like, Recipe, SpectrumImage or HyperSpy signal, optional
        A recipe may be a file or an object; without anything the user opens a map.

    Returns
    -------
    siftem.app.page.Page
        What was done on it so far: ``page.recipe``, ``page.spectrum_image`` and
        ``page.results()``. ``page.panel`` is a Panel object for a server of your own.

    Raises
    ------
    SiftemError
        When Panel is not installed, or the source cannot be read.

    Examples
    --------
    >>> page = siftem.app("71GPa.hspy")  # doctest: +SKIP
    >>> page.results().compositions["Fp"]  # doctest: +SKIP
    """
    from siftem.app.extra import require_extra

    require_extra()
    import panel as pn

    from siftem.app.page import Page

    pn.extension(inline=True)  # a microscope has no internet: nothing comes from elsewhere
    return Page(source)


class _Callable(ModuleType):
    """Lets ``siftem.app(source)`` open a page."""

    def __call__(self, source: Any = None) -> Any:
        return open_page(source)


sys.modules[__name__].__class__ = _Callable
