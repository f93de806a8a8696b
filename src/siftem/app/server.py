"""The app on a port of this machine, or with a token on one that others can reach."""

from __future__ import annotations

import contextlib
import logging
import socket
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import panel as pn
from tornado.ioloop import PeriodicCallback

from siftem.app.access import TOKEN, Door, is_local, new_token
from siftem.app.files import Reports, ShownReport, Upload
from siftem.app.page import Page
from siftem.app.saved_sessions import SavedSessions
from siftem.app.visitors import Visitors
from siftem.errors import InputError, SiftemError
from siftem.pipeline.changes import recipe_for

#: How long a page waits for its browser to come back, and how often this is looked at, ms.
_WAITS, _LOOKS = 15_000, 1_000


@dataclass(frozen=True)
class AppServer:
    """A server that is ready to start.

    Parameters
    ----------
    server : panel.io.server.Server
    address : str
        To open in a browser; with the token where one is asked for.
    token : str or None
    visitors : Visitors
    """

    server: Any
    address: str
    token: str | None
    visitors: Visitors

    def run(self) -> None:
        """Serve until interrupted."""
        self.server.start()
        PeriodicCallback(lambda: self.visitors.look(self.server.get_sessions()), _LOOKS).start()
        try:
            self.server.io_loop.start()
        except KeyboardInterrupt:
            self.server.stop()


def make_server(
    source: str | Path | None = None,
    *,
    host: str = "localhost",
    port: int = 5006,
    token: str | None = None,
    pages: int = 8,
) -> AppServer:
    """Prepare the app on a port; each browser window that opens it has a session of its own.

    Parameters
    ----------
    source : path-like, optional
        A map or a recipe that each session opens.
    host : str
        Address to listen on. Any but this machine's own asks for a token.
    port : int
        0 takes a free one.
    token : str, optional
        By default a new one, where one is needed.
    pages : int
        That may be open at a time; who opens another is told.

    Returns
    -------
    AppServer

    Raises
    ------
    InputError
        When the port is in use or the file is not there.
    """
    if source is not None:
        _check_source(Path(source))
    if not 0 <= port <= 65535:
        raise InputError(f"the port must be 0 to 65535, got {port}")
    if not is_local(host) and token is None:
        token = new_token()
    if pages < 1:
        raise InputError(f"a server needs room for one page at the least, got {pages}")
    visitors, reports = Visitors(pages), Reports()
    pn.extension()
    pn.config.notifications = False
    try:
        with warnings.catch_warnings(), _any_origin_unsaid():
            warnings.simplefilter("ignore")
            server = pn.io.server.get_server(
                {"/": lambda: visitors.welcome(lambda: Page(source, reports=reports))},
                port=port,
                address=host or None,
                # The door compares origins, for any name that the machine may have.
                websocket_origin=["*"],
                title={"/": "siftem"},
                show=False,
                start=False,
                index=None,
                extra_patterns=[
                    (r"/upload", Upload, {"folder": SavedSessions().folder}),
                    (r"/report/([\w-]+)", ShownReport, {"reports": reports}),
                ],
                unused_session_lifetime_milliseconds=_WAITS,
                check_unused_sessions_milliseconds=_LOOKS,
            )
    except OSError as error:
        raise InputError(
            f"cannot listen on {host or 'all addresses'}, port {port}: "
            f"{error.strerror or error}; choose another with --port"
        ) from None
    Door(server.port, token).guard(server._tornado)
    name = host if host not in ("", "0.0.0.0", "::") else socket.gethostname()
    shown = f"[{name}]" if ":" in name else name
    address = f"http://{shown}:{server.port}/"
    return AppServer(server, address + (f"?{TOKEN}={token}" if token else ""), token, visitors)


@contextlib.contextmanager
def _any_origin_unsaid() -> Iterator[None]:
    """Keep Bokeh from warning of any origin, which the door sees to: it would frighten in vain."""
    log = logging.getLogger("bokeh.server.util")

    def other(record: logging.LogRecord) -> bool:
        return "wildcard" not in record.getMessage()

    log.addFilter(other)
    try:
        yield
    finally:
        log.removeFilter(other)


def serve(
    source: str | Path | None = None,
    *,
    host: str = "localhost",
    port: int = 5006,
    pages: int = 8,
    show: bool = True,
    tell: Callable[[str], None] = print,
) -> None:
    """Serve the app until interrupted.

    Parameters
    ----------
    source, host, port, pages
        As for `make_server`.
    show : bool
        Open a browser.
    tell : callable
        Gets the address in a sentence.
    """
    app = make_server(source, host=host, port=port, pages=pages)
    tell(f"siftem is at {app.address}  (Ctrl+C ends it)")
    if show:
        app.server.io_loop.add_callback(lambda: app.server.show("/")) if app.token is None else None
    app.run()


def _check_source(path: Path) -> None:
    if not path.exists():
        raise SiftemError(f"cannot read {path}: there is no such file")
    recipe_for(path)
