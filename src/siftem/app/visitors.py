"""The pages that are open in browsers: how many there may be, and what is left of closed ones."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable, Iterable
from typing import Any

import panel as pn

from siftem.app.page import Page
from siftem.app.style import TEXT_CSS

#: Seconds without a browser after which the work for a page ends, a moment's loss of the
#: connection apart; the page itself waits longer (see the server).
PATIENCE = 3.0


class Visitors:
    """The open pages of a server.

    Parameters
    ----------
    limit : int
        Pages that may be open at a time: each keeps its map and results in memory.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pages: dict[Any, Page] = {}
        self._seen: set[Any] = set()

    def __len__(self) -> int:
        return len(self._pages)

    def welcome(self, make: Callable[[], Page]) -> Any:
        """Return a new page as a Panel object, or a sentence when there is no room for one."""
        if len(self) >= self._limit:
            return pn.pane.HTML(
                f'<p role="alert">{self._limit} pages of siftem are open, as many as this server '
                f"allows (siftem app --pages): close one, wait half a minute and reload.</p>",
                stylesheets=[TEXT_CSS],
            )
        document = pn.state.curdoc
        page = self._pages[document] = make()
        pn.state.on_session_destroyed(lambda _context: self._goodbye(document))
        return page.panel

    def look(self, sessions: Iterable[Any]) -> None:
        """End the work for pages that no browser shows any more.

        Parameters
        ----------
        sessions : iterable of bokeh.server.session.ServerSession
        """
        for session in sessions:
            page = self._pages.get(session.document)
            if page is None:
                continue
            if session.connection_count:
                self._seen.add(session.document)
                continue
            waited = 1e-3 * session.milliseconds_since_last_unsubscribe
            if session.document in self._seen and waited > PATIENCE:
                page.jobs.cancel()

    def _goodbye(self, document: Any) -> None:
        page = self._pages.pop(document, None)
        self._seen.discard(document)
        if page is not None:
            page.close()
            give_back_memory()


def give_back_memory() -> None:
    """Return what is no longer used to the system, where its C library can."""
    gc.collect()
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
