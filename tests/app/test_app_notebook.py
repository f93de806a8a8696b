"""The app below a cell: a server in the kernel, its page in a frame, results in the next cell."""

import http.client
import re
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest

pytest.importorskip("panel")

import siftem
from siftem.app.notebook import NotebookApp
from siftem.app.session import Session
from siftem.errors import InputError
from siftem.pipeline.workflow import Workflow


def small_map():
    return siftem.simulate_demo((8, 8), dose=50.0).spectrum_image


@pytest.fixture(scope="module")
def app():
    made = siftem.app(small_map())
    yield made
    made.close()


@pytest.fixture
def visited(monkeypatch):
    """An app that nothing is served for: its pages are made as a browser would ask for them."""
    monkeypatch.setattr(NotebookApp, "_serve", lambda self, ready: ready.set_result(None))
    made = NotebookApp(small_map())
    return made, lambda: made._next_page(None)


def ask(app, host=None):
    connection = http.client.HTTPConnection("localhost", urlsplit(app.address).port, timeout=30)
    connection.request("GET", "/", headers={"Host": host} if host else {})
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read().decode()
    connection.close()
    return found


def test_a_frame_of_the_width_of_the_cell_shows_the_page_of_a_local_server(app):
    frame = re.search(r'<iframe src="(http://localhost:\d+/)".*?>', app._repr_html_())
    assert frame.group(1) == app.address and 'width="100%"' in frame.group()
    status, headers, body = ask(app)
    assert status == 200 and "siftem" in body
    # JupyterLab stands on another port of this machine; nothing else may frame the page.
    around = re.search(r"frame-ancestors ([^;]*)", headers["Content-Security-Policy"]).group(1)
    assert around == "'self' http://localhost:* http://127.0.0.1:*"
    # A page is made of what the server serves itself: a microscope has no internet.
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", body)


def test_others_are_refused_as_by_the_command(app):
    port = urlsplit(app.address).port
    assert ask(app, f"evil.example:{port}")[0] == 403
    address = socket.gethostbyname(socket.gethostname())
    if not address.startswith("127."):
        with pytest.raises(OSError):
            socket.create_connection((address, port), timeout=5).close()


def test_each_call_has_a_server_and_close_ends_it_but_not_the_results(app):
    signal = siftem.to_hyperspy(small_map())
    other = siftem.app(signal)
    assert other.address != app.address
    assert ask(other)[0] == 200
    other.close()
    with pytest.raises(OSError):
        ask(other)
    assert "iframe" not in other._repr_html_() and "closed" in repr(other)
    other.close()  # again, without harm
    assert other.spectrum_image.shape == (8, 8)
    assert ask(app)[0] == 200


def test_what_cannot_be_opened_is_told_in_the_cell_and_nothing_is_served():
    before = threading.active_count()
    with pytest.raises(InputError, match="a HyperSpy signal is needed"):
        siftem.app(3)
    assert threading.active_count() == before


def test_what_is_asked_for_waits_for_the_step_that_is_running(visited, monkeypatch):
    app, load = visited
    page = load()
    page.jobs.wait(60)
    begun, go_on = threading.Event(), threading.Event()

    def work(progress):
        begun.set()
        go_on.wait(60)
        app.session.set_elements(["Mg"], [])

    page.jobs.start("Work", work)
    begun.wait(60)
    threading.Timer(0.1, go_on.set).start()
    assert app.recipe.elements == ("Mg",)  # only there when the work is over
    monkeypatch.setattr(Workflow, "result", lambda self: self.recipe.elements)
    assert app.results() == ("Mg",)


def test_a_page_that_is_loaded_again_goes_on_and_the_one_before_ends(visited):
    app, load = visited
    first = load()
    first.jobs.wait(60)
    assert first.active == 0 and app.session.is_open
    first.go(2)
    ended = threading.Event()

    def work(progress):
        try:
            while True:
                progress("decompose", 0.5)
                time.sleep(0.005)
        finally:
            ended.set()

    first.jobs.start("Decompose", work)
    second = load()
    second.jobs.wait(60)
    assert ended.is_set()  # what two pages do at a time would mix
    assert "shown at another place" in first.panel[0].object and len(first.panel) == 1
    first.close()  # as the server does when its browser has gone
    assert second.active == 2 and second.session is app.session
    assert app.spectrum_image.shape == (8, 8)


def test_a_page_with_a_session_of_its_own_takes_it_along():
    from siftem.app.page import Page

    lent, page = Session(), Page()
    page.close()
    with pytest.raises(InputError, match="no map is open"):
        _ = page.session.workflow
    assert page.session._closed
    other = Page(session=lent)
    other.close()
    assert not lent._closed
