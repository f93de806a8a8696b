"""Who may use the server: everybody on this machine, elsewhere those who hold the token."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from typing import Any
from urllib.parse import urlencode, urlsplit

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import Application, OutputTransform, RequestHandler

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
    """

    def __init__(self, port: int, token: str | None) -> None:
        self.token = token
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
        application.add_transform(_SafeHeaders)

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
                "frame-ancestors 'self'",
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
