"""A server for the tests in the browser, and the browser itself."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ARTEFACTS = Path(__file__).parents[2] / "artifacts" / "app"
CHROMIUM = os.environ.get("SIFTEM_CHROMIUM", "/usr/bin/chromium")
REQUIRED = os.environ.get("SIFTEM_REQUIRE_BROWSER") == "1"


def _missing():
    try:
        import panel  # noqa: F401
        import playwright  # noqa: F401
    except ImportError as error:
        return f"{error.name} is not installed"
    return None if Path(CHROMIUM).is_file() else f"there is no {CHROMIUM}"


@pytest.fixture(scope="session", autouse=True)
def sessions_folder(tmp_path_factory):
    """Sessions of the tests are kept apart from those of whoever runs them."""
    folder = tmp_path_factory.mktemp("sessions")
    before = os.environ.get("SIFTEM_SESSIONS")
    os.environ["SIFTEM_SESSIONS"] = str(folder)
    yield folder
    os.environ.pop("SIFTEM_SESSIONS")
    if before is not None:
        os.environ["SIFTEM_SESSIONS"] = before


@pytest.fixture(scope="session")
def chromium():
    """A real browser; without one the test is skipped, or fails where CI asks for it."""
    missing = _missing()
    if missing:
        (pytest.fail if REQUIRED else pytest.skip)(f"no browser for the app: {missing}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextlib.contextmanager
def _servers(folder):
    """A function that starts ``siftem app`` in a folder and returns its address."""
    running = []

    def start(*arguments, waits=None):
        """Milliseconds that a closed page is kept are the app's own, unless given."""
        patience = f"import siftem.app.server as s; s._WAITS = {waits}; " if waits else ""
        code = f"{patience}from siftem.cli.main import entry; entry()"
        kept = {"SIFTEM_SESSIONS": str(folder / "sessions")}
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", **kept}
        log = (folder / f"app{len(running)}.log").open("w")
        process = subprocess.Popen(
            [sys.executable, "-c", code, "app", "--no-show", "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=folder,
            env=environment,
        )
        running.append((process, log))
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, f"no address in {line!r}; {Path(log.name).read_text()}"
        return found.group()

    def kill():
        """End the last server as a crash would."""
        running[-1][0].kill()
        running[-1][0].wait(20)

    start.kill = kill
    try:
        yield start
    finally:
        for process, log in running:
            process.terminate()
            process.wait(20)
            process.stdout.close()
            log.close()


@pytest.fixture
def start_app(tmp_path):
    """A function that starts ``siftem app`` and returns its address."""
    with _servers(tmp_path) as start:
        yield start


@pytest.fixture(scope="session")
def local_app(tmp_path_factory):
    """Address of an app as it starts by itself, for all tests that leave nothing behind."""
    with _servers(tmp_path_factory.mktemp("local")) as start:
        yield start()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """Port and token of an app that listens on all addresses, for all tests of a file."""
    with _servers(tmp_path_factory.mktemp("guarded")) as start:
        address = start("--host", "0.0.0.0")
        port, token = re.search(r":(\d+)/\?token=(\S+)", address).groups()
        yield int(port), token


@pytest.fixture
def page(chromium):
    """A page of the size of a laptop's, that must not reach beyond this machine."""
    context = chromium.new_context(viewport={"width": 1366, "height": 650}, accept_downloads=True)
    # A machine with other work takes longer than the half minute that playwright waits.
    context.set_default_timeout(120_000)
    made = context.new_page()
    faults, elsewhere = [], []
    made.on("pageerror", lambda error: faults.append(error.stack or str(error)))
    # What the policy of the page's own headers forbids is told on the console.
    made.on(
        "console",
        lambda m: faults.append(m.text) if "Content Security Policy" in m.text else None,
    )
    made.on(
        "request",
        lambda r: (
            elsewhere.append(r.url)
            if r.url.startswith("http") and "localhost" not in r.url
            else None
        ),
    )
    yield made
    context.close()
    assert not faults
    assert not elsewhere


@pytest.fixture
def picture():
    """A function that keeps a screenshot of a page among the artefacts."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    return lambda page, name: page.screenshot(path=ARTEFACTS / f"{name}.png")


@pytest.fixture
def accessible():
    """A function that finds nothing grave on a page, by axe-core where SIFTEM_AXE names it."""
    axe = os.environ.get("SIFTEM_AXE")
    code = Path(axe).read_text(encoding="utf-8") if axe else ""

    def check(page):
        if not code:
            return
        page.wait_for_timeout(1100)  # fields get their names once a second
        page.evaluate(code)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        grave = [v for v in found if v["impact"] in ("serious", "critical")]
        assert not grave, [(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in grave]

    return check
