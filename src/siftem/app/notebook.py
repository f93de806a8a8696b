"""The app below a cell: a server of its own in a thread of the kernel, and a frame onto it.

Messages of a page through the kernel reach Python, but what answers is mixed up on the way back
to JupyterLab. By a server the page is the same one as that of the command, wherever it is shown.
"""

from __future__ import annotations

import asyncio
import html
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from tornado.websocket import WebSocketClosedError

from siftem.app.files import Reports
from siftem.app.page import Page
from siftem.app.saved_sessions import SavedSessions
from siftem.app.server import AppServer, make_server
from siftem.app.session import Session
from siftem.hyperspy_input import as_map
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.results import RunResult
from siftem.spectrum_image import SpectrumImage

#: Height of the frame, screen pixels.
_HEIGHT = 720
#: Seconds in which a page is told that its server ends.
_FAREWELL = 0.2


def _faults_only(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Tell of what failed in the loop; a browser that has gone is no fault to show in a cell."""
    if not isinstance(context.get("exception"), WebSocketClosedError):
        loop.default_exception_handler(context)


class NotebookApp:
    """The app for one map, on a free port of this machine, until it is closed or the kernel ends.

    It shows itself below a cell. Work on the page is work on this object: a page that is loaded
    again goes on with it, and what is asked for waits for a step that is still running.

    Parameters
    ----------
    source : path-like, Recipe, SpectrumImage or HyperSpy signal, optional
        Opened at once.
    """

    def __init__(self, source: Any = None) -> None:
        #: What the page works on.
        self.session = Session(SavedSessions())
        if source is not None:
            given = isinstance(source, (str, Path, Recipe))
            self.session.open(source if given else as_map(source))
        self._page: Page | None = None
        ready: Future[AppServer] = Future()
        self._thread = threading.Thread(
            target=self._serve, args=(ready,), name="siftem app", daemon=True
        )
        self._thread.start()
        self._app = ready.result()

    @property
    def address(self) -> str:
        """Of the page, for a window of its own."""
        return self._app.address

    @property
    def recipe(self) -> Recipe:
        """What was clicked together so far."""
        return self._settled().recipe

    @property
    def spectrum_image(self) -> SpectrumImage:
        """The map that is open, as it is decomposed."""
        return self._settled().spectrum_image

    def results(self) -> RunResult:
        """Do what is still missing, and return all results."""
        return self._settled().workflow.result()

    def close(self) -> None:
        """End the server; results stay."""
        if self._thread.is_alive():
            self._app.server.io_loop.add_callback(self._end)
            self._thread.join()

    def __repr__(self) -> str:
        state = "" if self._thread.is_alive() else ", closed"
        return f"<siftem app at {self.address}{state}>"

    def _repr_html_(self) -> str:
        if not self._thread.is_alive():
            return f"<p>{html.escape(repr(self)[1:-1])}</p>"
        address = html.escape(self.address)
        return (
            f'<iframe src="{address}" title="siftem" width="100%" height="{_HEIGHT}" '
            'style="border: 0" allow="clipboard-write"></iframe>'
            f'<p><a href="{address}" target="_blank" rel="noopener">The page in a window of its '
            "own</a>, in a browser on the machine of the kernel.</p>"
        )

    def _settled(self) -> Session:
        """Return the session when no step is running: one may have changed half of it."""
        if self._page is not None:
            self._page.jobs.wait()
        return self.session

    def _serve(self, ready: Future[AppServer]) -> None:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(_faults_only)
        asyncio.set_event_loop(loop)
        try:
            app = make_server(port=0, make_page=self._next_page, framed=True)
        except BaseException as error:
            ready.set_exception(error)
            return
        ready.set_result(app)
        app.run()
        app.server.io_loop.run_sync(app.server._http.close_all_connections)
        app.server.io_loop.close(all_fds=True)

    def _next_page(self, reports: Reports) -> Page:
        """Return a page that goes on where the one before was; that one ends.

        Two at a time would not see what the other does.
        """
        before, page = self._page, Page(reports=reports, session=self.session)
        if before is not None:
            before.end("This map is shown at another place now. To go on here, reload the page.")
        self._page = page
        page.jobs.start(
            "Open",
            lambda _progress: None if before is None else before.jobs.wait(),
            lambda _result: page.go(self.session.shown),
        )
        return page

    def _end(self) -> None:
        loop = self._app.server.io_loop
        if self._page is not None:
            self._page.end("This page was closed: siftem.app(...) opens it again.")
        loop.call_later(_FAREWELL, loop.stop)
