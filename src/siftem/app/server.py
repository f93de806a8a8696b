"""The app on a port of this machine, or with a token on one that others can reach.

Who may use it: everybody on this machine, elsewhere those who hold the token. How many pages may be
open is counted here, and closed ones are cleared away.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import hmac
import ipaddress
import logging
import re
import secrets
import socket
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import panel as pn
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.ioloop import PeriodicCallback
from tornado.web import Application, OutputTransform, RequestHandler

from siftem.app.files import Reports, ShownReport, Upload
from siftem.app.page import Page
from siftem.app.saved_sessions import SavedSessions
from siftem.app.style import TEXT_CSS
from siftem.errors import InputError, SiftemError
from siftem.pipeline.changes import recipe_for

#: Name of the parameter in the address and, with the port behind it, of the cookie.
TOKEN = "token"
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


def is_local(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine only.

    Parameters
    ----------
    host : str
        A name or an address. An empty one means all networks.
    """
    host = host.strip().strip("[]").lower()
    if host in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def new_token() -> str:
    """Return a token that cannot be guessed."""
    return secrets.token_urlsafe(24)


class Door:
    """Checks every request of a server before it reaches anything.

    Without a token only requests to names of this machine pass, so that a page elsewhere
    cannot reach the app under a name of its own (DNS rebinding). With one, a request must
    bear it: in the address the first time, which is answered by a cookie, in the cookie from
    then on. Web sockets must come from the page itself.

    Parameters
    ----------
    port : int
    token : str or None
    framed : bool
        Whether other pages of this machine, such as a notebook, may show the app in a frame.
    """

    def __init__(self, port: int, token: str | None, *, framed: bool = False) -> None:
        self.token = token
        self._headers = _FramedHeaders if framed else _SafeHeaders
        self.cookie = f"siftem_{TOKEN}_{port}"

    def guard(self, application: Application) -> None:
        """Put the door before all handlers of a Tornado application."""
        inside = application.find_handler

        def find_handler(request: HTTPServerRequest, **kwargs: Any) -> Any:
            refusal = self.refusal(request)
            if refusal is not None:
                return application.get_handler_delegate(request, _Refused, {"reason": refusal})
            if self._in_address(request) and request.method == "GET":
                about = {"cookie": self.cookie, "token": self.token}
                return application.get_handler_delegate(request, _Welcome, about)
            return inside(request, **kwargs)

        application.find_handler = find_handler
        application.add_transform(self._headers)

    def refusal(self, request: HTTPServerRequest) -> str | None:
        """Return why a request is refused, None when it may pass."""
        host = urlsplit(f"//{request.host}").hostname or ""
        if self.token is None and not is_local(host):
            return "this app is for this machine only: open it as http://localhost"
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != request.host.lower():
            return "the request comes from another page"
        if self.token is None or self._in_address(request) or self._in_cookie(request):
            return None
        return "this app asks for a token: open the address that was printed when it started"

    def _in_address(self, request: HTTPServerRequest) -> bool:
        given = request.query_arguments.get(TOKEN, [b""])[-1]
        return self._fits(given)

    def _in_cookie(self, request: HTTPServerRequest) -> bool:
        found = request.cookies.get(self.cookie)
        return found is not None and self._fits(found.value.encode())

    def _fits(self, given: bytes) -> bool:
        return self.token is not None and hmac.compare_digest(given, self.token.encode())


class _SafeHeaders(OutputTransform):
    """Puts into every answer what a browser may do with it: nothing from or in other pages.

    Bokeh makes functions from text and Panel loads modules from blobs, so scripts may come from
    the page itself, but from no other address; nor may data go to one.
    """

    _around = "'self'"

    def __init__(self, request: HTTPServerRequest) -> None:
        # Some browsers do not take 'self' for web sockets of the same address.
        plain = re.fullmatch(r"[\w.-]+(:\d+)?|\[[0-9a-fA-F:.]+\](:\d+)?", request.host)
        sockets = f" ws://{request.host} wss://{request.host}" if plain else ""
        self._policy = "; ".join(
            (
                "default-src 'self'",
                "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
                "style-src 'self' 'unsafe-inline'",
                "img-src 'self' data: blob:",
                "font-src 'self' data:",
                f"connect-src 'self' blob:{sockets}",
                "worker-src 'self' blob:",
                "object-src 'none'",
                "base-uri 'none'",
                "form-action 'self'",
                f"frame-ancestors {self._around}",
            )
        )

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        """Add the headers before the first bytes go out."""
        headers["Content-Security-Policy"] = self._policy
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        return status_code, headers, chunk


class _FramedHeaders(_SafeHeaders):
    """Lets pages of this machine, such as JupyterLab's on another port, show the app in a frame."""

    _around = "'self' http://localhost:* http://127.0.0.1:*"


class _Refused(RequestHandler):
    """Answers 403 with one sentence, whatever the method."""

    def initialize(self, reason: str) -> None:
        self._why = reason

    def prepare(self) -> None:
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"siftem: {self._why}\n")


class _Welcome(RequestHandler):
    """Puts the token into a cookie and out of the address."""

    def initialize(self, cookie: str, token: str) -> None:
        self._cookie_name, self._token = cookie, token

    def get(self, *_: str) -> None:
        self.set_cookie(self._cookie_name, self._token, httponly=True, samesite="Strict", path="/")
        rest = {k: v for k, v in self.request.query_arguments.items() if k != TOKEN}
        query = urlencode(rest, doseq=True)
        self.redirect(self.request.path + (f"?{query}" if query else ""))


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
        """Serve until interrupted, or until the loop is stopped."""
        self.server.start()
        PeriodicCallback(lambda: self.visitors.look(self.server.get_sessions()), _LOOKS).start()
        with contextlib.suppress(KeyboardInterrupt):
            self.server.io_loop.start()
        self.server.stop()


def make_server(
    source: str | Path | None = None,
    *,
    host: str = "localhost",
    port: int = 5006,
    token: str | None = None,
    pages: int = 8,
    make_page: Callable[[Reports], Page] | None = None,
    framed: bool = False,
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
    make_page : callable, optional
        Makes the page of each session, in place of one that opens the source.
    framed : bool
        Whether other pages of this machine may show the app in a frame.

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
    make = make_page or (lambda reports: Page(source, reports=reports))
    pn.config.notifications = False
    try:
        with warnings.catch_warnings(), _any_origin_unsaid():
            warnings.simplefilter("ignore")
            server = pn.io.server.get_server(
                {"/": lambda: visitors.welcome(lambda: make(reports))},
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
    Door(server.port, token, framed=framed).guard(server._tornado)
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
