"""Who gets in: the token, names of this machine, other pages; and two users at a time."""

import http.client
import os
import re
import socket
import subprocess
import sys
import time
import weakref

import pytest

pytest.importorskip("panel")

import panel as pn
from bokeh.document import Document
from panel.io.state import set_curdoc

from siftem.app import require_extra
from siftem.app.page import Page
from siftem.app.server import Door, Visitors, is_local, make_server, new_token
from siftem.errors import Cancelled, SiftemError

WEB_SOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.3.2.1", "::1", "[::1]"])
def test_names_of_this_machine(host):
    assert is_local(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "192.168.1.7", "microscope.example", "*"])
def test_all_else_needs_a_token(host):
    assert not is_local(host)


def test_tokens_differ_and_cannot_be_guessed():
    assert len({new_token() for _ in range(100)}) == 100
    assert len(new_token()) >= 32


@pytest.fixture
def local_port(local_app):
    return int(re.search(r":(\d+)/", local_app).group(1))


def ask(port, path="/", headers=None, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, headers=headers or {})
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read() if answer.status != 101 else b""
    connection.close()
    return found


def test_without_the_token_nothing_is_answered(guarded):
    port, token = guarded
    wrong = "x" * len(token)
    for path in (
        "/",
        "/static/js/bokeh.min.js",
        "/ws",
        "/autoload.js",
        "/nothing",
        f"/?token={wrong}",
    ):
        for method in ("GET", "POST", "HEAD"):
            status, headers, body = ask(port, path, method=method)
            assert status == 403, (method, path)
            assert "Set-Cookie" not in headers
            assert token.encode() not in body
    status, _, body = ask(port, "/ws", WEB_SOCKET)
    assert status == 403
    assert body.decode().count("\n") == 1
    for cookie in (f"siftem_token_{port}={wrong}", f"siftem_token_{port}=", f"token={token}"):
        assert ask(port, "/ws", {**WEB_SOCKET, "Cookie": cookie})[0] == 403
        assert ask(port, "/", {"Cookie": cookie})[0] == 403


def test_the_token_in_the_address_becomes_a_cookie_that_opens(guarded):
    port, token = guarded
    status, headers, _ = ask(port, f"/?token={token}&a=1")
    assert status == 302
    assert headers["Location"] == "/?a=1"  # the token is out of the address
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    kept = {"Cookie": cookie.split(";")[0]}
    status, _, body = ask(port, "/", kept)
    assert status == 200
    assert b"siftem" in body
    # Another page may not use the cookie.
    evil = {**WEB_SOCKET, **kept, "Origin": "http://evil.example"}
    assert ask(port, "/ws", evil)[0] == 403


def test_on_this_machine_no_token_but_no_other_name_either(local_port):
    port = local_port
    assert ask(port, headers={"Host": f"localhost:{port}"})[0] == 200
    assert ask(port, headers={"Host": f"evil.example:{port}"})[0] == 403
    evil = {**WEB_SOCKET, "Host": f"localhost:{port}", "Origin": "http://evil.example"}
    assert ask(port, "/ws", evil)[0] == 403
    address = socket.gethostbyname(socket.gethostname())
    if not is_local(address):
        with pytest.raises(OSError):
            socket.create_connection((address, port), timeout=5).close()


def test_every_answer_says_what_a_browser_may_do_with_it(guarded, local_port):
    port = local_port
    for path, status in (("/", 200), ("/static/js/bokeh.min.js", 200), ("/nothing", 404)):
        found, headers, _ = ask(port, path, {"Host": f"localhost:{port}"})
        assert found == status
        rules = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
        assert rules["frame-ancestors"] == rules["default-src"] == "'self'"
        assert rules["connect-src"] == f"'self' blob: ws://localhost:{port} wss://localhost:{port}"
        assert "http" not in rules["script-src"]
        assert headers["X-Content-Type-Options"] == "nosniff"
    status, headers, _ = ask(guarded[0])
    assert status == 403
    assert "frame-ancestors 'self'" in headers["Content-Security-Policy"]


ASK_FROM_THERE = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=20)
try:
    connection.request("GET", sys.argv[3], headers={"Cookie": sys.argv[4]})
except OSError:
    print("nobody")
else:
    answer = connection.getresponse()
    print(answer.status, answer.headers.get("Set-Cookie", "").split(";")[0])
"""


@pytest.fixture
def other_machine():
    """A function that asks from a network of its own, which a cable joins to this machine."""

    def ip(*arguments):
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    name = f"siftem{os.getpid()}"
    # Others may run the tests on this machine, too.
    net = f"10.{200 + os.getpid() // 250 % 50}.{os.getpid() % 250}"
    try:
        ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no network of its own: it takes iproute2 and root")
    try:
        ip("link", "add", f"a{os.getpid()}", "type", "veth", "peer", "name", "there", "netns", name)
        ip("addr", "add", f"{net}.1/24", "dev", f"a{os.getpid()}")
        ip("link", "set", f"a{os.getpid()}", "up")
        ip("-n", name, "addr", "add", f"{net}.2/24", "dev", "there")
        ip("-n", name, "link", "set", "there", "up")

        def ask_from_there(port, path, cookie=""):
            python = [sys.executable, "-c", ASK_FROM_THERE, f"{net}.1", str(port), path, cookie]
            done = subprocess.run(
                ["ip", "netns", "exec", name, *python], capture_output=True, text=True, check=True
            )
            return done.stdout.strip()

        yield ask_from_there
    finally:
        ip("netns", "delete", name)


def test_from_another_machine_only_with_the_token(other_machine, guarded, local_port):
    port, token = guarded
    assert other_machine(port, "/") == "403"
    assert other_machine(port, f"/?token={'x' * len(token)}") == "403"
    status, cookie = other_machine(port, f"/?token={token}").split()
    assert status == "302"
    assert other_machine(port, "/", cookie) == "200"
    assert other_machine(port, "/ws", cookie) == "400"  # let in, but no web socket
    # And without a token it is not even listened to.
    assert other_machine(local_port, "/") == "nobody"


def test_a_port_in_use_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SiftemError, match=r"cannot listen on 127\.0\.0\.1.*--port") as error:
            make_server(host="127.0.0.1", port=taken.getsockname()[1])
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_told_before_anything_listens(tmp_path):
    with pytest.raises(SiftemError, match="no such file"):
        make_server(tmp_path / "nothing.hspy")


def test_without_panel_the_command_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SiftemError, match=r"siftem\[app\]"):
        require_extra()


def test_a_door_without_a_token_lets_no_token_fit():
    assert not Door(1, None)._fits(b"")


class TestVisitors:
    class Visit:
        """What Bokeh knows of a page: how many browsers show it, and since when none does."""

        def __init__(self, document):
            self.document, self.connection_count = document, 0
            self.milliseconds_since_last_unsubscribe = 1e6

    @pytest.fixture
    def visit(self, monkeypatch):
        """A function that opens a page in a document of its own; what ends it is kept."""
        ends = []
        monkeypatch.setattr(pn.state, "on_session_destroyed", ends.append)

        def open_page(visitors):
            document = Document()
            with set_curdoc(document):
                shown = visitors.welcome(Page)
            return self.Visit(document), shown, ends[-1] if ends else None

        return open_page

    def test_one_too_many_is_told(self, visit):
        visitors = Visitors(2)
        _, _, end = visit(visitors)
        visit(visitors)
        _, shown, _ = visit(visitors)
        assert "2 pages of siftem are open" in shown.object
        end(None)
        _, shown, _ = visit(visitors)
        assert isinstance(shown, pn.Column)

    def test_work_ends_when_the_browser_has_gone_but_not_before_it_came(self, visit):
        visitors = Visitors(1)
        visited, _, _ = visit(visitors)
        page = visitors._pages[visited.document]

        def work(progress):
            while True:
                progress("decompose", 0.5)
                time.sleep(0.01)

        page.jobs.start("Decompose", work)
        for connections, since, ended in (
            (0, 9e3, False),
            (1, 9e3, False),
            (0, 0.5e3, False),
            (0, 9e3, True),
        ):
            visited.connection_count = connections
            visited.milliseconds_since_last_unsubscribe = since
            visitors.look([visited])
            page.jobs.wait(20 if ended else 0.2)
            assert page.jobs.busy != ended

    def test_a_closed_page_keeps_nothing(self, visit):
        visitors = Visitors(1)
        visited, _, end = visit(visitors)
        page = visitors._pages[visited.document]
        page.session.open_demo(size=32)
        page.go(1)
        kept = weakref.ref(page.session.spectrum_image)
        assert kept() is not None
        end(None)
        assert len(visitors) == 0
        assert kept() is None
        with pytest.raises(Cancelled):  # what was still being read
            page.session.open_demo(size=32)


@pytest.mark.browser
@pytest.mark.slow
def test_a_page_too_many_and_room_again_when_one_is_closed(start_app, chromium):
    address = start_app("--pages", "1", waits=1500)
    first, second = chromium.new_context(), chromium.new_context()
    page, other = first.new_page(), second.new_page()
    page.goto(address)
    page.get_by_label("Pixels on each side").wait_for()
    other.goto(address)
    other.get_by_role("alert").filter(has_text="1 pages of siftem are open").wait_for()
    first.close()
    for _ in range(60):
        other.wait_for_timeout(1000)
        other.goto(address)
        other.get_by_text("siftem").first.wait_for()
        if other.get_by_label("Pixels on each side").count():
            break
    assert other.get_by_label("Pixels on each side").count()
    second.close()
