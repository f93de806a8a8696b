"""The app in the browser and in a notebook: it builds a recipe and shows results.

`view` gives the page as a Panel object, `siftem.app.server.serve` puts it on a port. The app
computes nothing itself: its state is a recipe and the results of its steps, and every button
changes the one and asks the pipeline for the other. What it needs beyond siftem is the extra
``app``: ``pip install "siftem[app]"``.
"""

from __future__ import annotations

from typing import Any

__all__ = ["view"]


def view(source: Any = None, **options: Any) -> Any:
    """Return the page for a map as a Panel object, for a notebook or a server of your own.

    Parameters
    ----------
    source : path-like, Recipe or SpectrumImage, optional
        A spectrum image, a recipe (a file or an object), or nothing: the user then opens one.
    **options
        Of `siftem.app.page.view`.

    Returns
    -------
    panel.viewable.Viewable

    Raises
    ------
    SiftemError
        When Panel is not installed, or the source cannot be read.

    Examples
    --------
    >>> import siftem.app
    >>> page = siftem.app.view("71GPa.hspy")  # doctest: +SKIP
    """
    from siftem.app.extra import require_extra

    require_extra()
    from siftem.app.page import view as page_view

    return page_view(source, **options)
