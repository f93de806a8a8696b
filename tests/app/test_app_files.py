"""Files that come from the browser, reports in tabs, files opened lately, figures as chosen."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("panel")

from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from siftem.app.files import RecentFiles, Reports, ShownReport, Upload


@pytest.fixture
def serve(tmp_path):
    """Send one request to the handlers, in a loop of their own; status and answer."""

    def ask(url, body=None, *, reports=None):
        async def run():
            about, shown = {"folder": tmp_path, "largest": 1000}, {"reports": reports or Reports()}
            patterns = [(r"/upload", Upload, about), (r"/report/([\w-]+)", ShownReport, shown)]
            server = HTTPServer(Application(patterns))
            sockets = bind_sockets(0, "127.0.0.1")
            server.add_sockets(sockets)
            address = f"http://127.0.0.1:{sockets[0].getsockname()[1]}{url}"
            method = "GET" if body is None else "POST"
            got = await AsyncHTTPClient().fetch(
                address, method=method, body=body, raise_error=False
            )
            server.stop()
            return got.code, got.body

        # A browser that was driven before in this process leaves a loop running in its thread.
        with ThreadPoolExecutor(1) as alone:
            return alone.submit(asyncio.run, run()).result()

    return ask


def test_a_file_goes_to_the_disk_and_never_over_another(serve, tmp_path):
    for n, name in enumerate(("map.hspy", "map-2.hspy")):
        code, answer = serve("/upload?name=map.hspy", bytes([n]) * 900)
        path = Path(json.loads(answer)["path"])
        assert code == 200 and path == tmp_path / "uploads" / name
        assert path.read_bytes() == bytes([n]) * 900
    assert len(list((tmp_path / "uploads").iterdir())) == 2


@pytest.mark.parametrize("name", ["..%2F..%2Fevil.hspy", "%2Fetc%2Fevil.hspy", "a%5Cevil.hspy"])
def test_a_name_leads_nowhere_else(serve, tmp_path, name):
    code, answer = serve(f"/upload?name={name}", b"1")
    assert code == 200
    assert Path(json.loads(answer)["path"]) == tmp_path / "uploads" / "evil.hspy"


@pytest.mark.parametrize(
    ("name", "body", "code", "said"),
    [
        ("map.hspy", b"1" * 2000, 413, "open it by its path"),
        ("virus.exe", b"1", 415, "is no map"),
        ("", b"1", 415, "is no map"),
    ],
)
def test_what_is_refused_is_told_in_a_sentence(serve, tmp_path, name, body, code, said):
    got, answer = serve(f"/upload?name={name}", body)
    assert got == code and said in json.loads(answer)["error"]
    assert not (tmp_path / "uploads").exists()


def test_only_reports_that_were_written_are_shown(serve, tmp_path):
    reports, path = Reports(), tmp_path / "report.html"
    path.write_text("<p>numbers</p>")
    link = reports.link(path)
    assert reports.link(path) == link
    assert serve(f"/{link}", reports=reports) == (200, b"<p>numbers</p>")
    assert serve("/report/other", reports=reports)[0] == 404
    path.unlink()
    assert serve(f"/{link}", reports=reports)[0] == 404


def test_files_opened_lately_are_listed_once_as_long_as_they_are_there(tmp_path):
    recent, files = RecentFiles(tmp_path / "new"), []
    for n in range(10):
        files.append(tmp_path / f"{n}.hspy")
        files[-1].touch()
        recent.add(files[-1])
    recent.add(files[5])
    found = recent.found()
    assert found[:2] == [files[5], files[9]] and len(found) == len(set(found)) == 8
    files[9].unlink()
    assert files[9] not in recent.found()
    (tmp_path / "new" / "recent.json").write_text("{")
    assert recent.found() == []
