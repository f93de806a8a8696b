import hashlib
import io
import subprocess
import sys
import tarfile

import pytest

from siftem import datasets
from siftem.errors import Cancelled, InputError, ReadError

MEMBER = f"espm-1.1.1/generated_datasets/{datasets.FILE_NAME}"
CONTENT = b"stands for the map"


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv(datasets.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(datasets, "SHA256", hashlib.sha256(CONTENT).hexdigest())


def archive(path, members):
    with tarfile.open(path, "w:gz") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


class Pip:
    """A pip that has ended, unless it hangs."""

    def __init__(self, complaints="", hangs=False):
        self.complaints, self.hangs, self.killed = complaints, hangs, False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def communicate(self, timeout):
        if self.hangs:
            raise subprocess.TimeoutExpired("pip", timeout)
        return None, self.complaints

    def kill(self):
        self.killed = True


@pytest.fixture
def fake_pip(monkeypatch):
    """Answer as pip would, with the given members in the archive."""
    commands = []

    def install(members=None, *, stderr=""):
        def run(command, **options):
            commands.append(command)
            if members is not None:
                from pathlib import Path

                folder = Path(command[command.index("--dest") + 1])
                archive(folder / "espm-1.1.1.tar.gz", members)
            return Pip(stderr)

        monkeypatch.setattr(datasets.subprocess, "Popen", run)
        return commands

    return install


def test_fetch_takes_only_the_map_and_only_once(tmp_path, fake_pip):
    commands = fake_pip({"espm-1.1.1/setup.py": b"no", "../evil": b"no", MEMBER: CONTENT})
    assert datasets.example_path() is None
    found = datasets.fetch_71gpa()
    assert found == tmp_path / "cache" / datasets.FILE_NAME
    assert found.read_bytes() == CONTENT
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [datasets.FILE_NAME]
    assert not list(tmp_path.rglob("evil"))
    assert datasets.fetch_71gpa() == found == datasets.example_path()
    assert len(commands) == 1
    assert commands[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert "--no-deps" in commands[0]
    assert not any("://" in part for part in commands[0])


def test_a_copy_where_the_user_wants_it(tmp_path, fake_pip):
    fake_pip({MEMBER: CONTENT})
    assert datasets.fetch_71gpa(tmp_path / "mine.hspy").read_bytes() == CONTENT
    (tmp_path / "folder").mkdir()
    copy = datasets.fetch_71gpa(tmp_path / "folder")
    assert copy == tmp_path / "folder" / datasets.FILE_NAME
    with pytest.raises(InputError, match="does not exist"):
        datasets.fetch_71gpa(tmp_path / "no" / "mine.hspy")


@pytest.mark.parametrize(
    ("members", "match"),
    [
        ({MEMBER: b"something else"}, "hash differs"),
        ({f"other/{datasets.FILE_NAME}": CONTENT}, "does not hold"),
    ],
)
def test_the_wrong_archive_leaves_nothing_behind(tmp_path, fake_pip, members, match):
    fake_pip(members)
    with pytest.raises(ReadError, match=match):
        datasets.fetch_71gpa()
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_archive(tmp_path):
    whole = archive(tmp_path / "whole.tar.gz", {MEMBER: CONTENT * 1000}).read_bytes()
    for number, content in enumerate((whole[: len(whole) // 2], b"not an archive")):
        path = tmp_path / f"{number}.tar.gz"
        path.write_bytes(content)
        with pytest.raises(ReadError, match="damaged"):
            datasets.extract_map(path, tmp_path / "out")


def test_a_link_in_place_of_the_map_is_not_followed(tmp_path):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as file:
        info = tarfile.TarInfo(MEMBER)
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
        file.addfile(info)
    with pytest.raises(ReadError, match="does not hold"):
        datasets.extract_map(tmp_path / "a.tar.gz", tmp_path / "out")


def test_offline_or_without_pip(fake_pip):
    reason = "WARNING: Retrying\nERROR: No matching distribution found for espm==1.1.1\n"
    fake_pip(stderr=reason)
    with pytest.raises(ReadError, match=r"are you online\? .*SIFTEM_DATA.*No matching") as caught:
        datasets.fetch_71gpa()
    assert "\n" not in str(caught.value)
    fake_pip(stderr="/usr/bin/python: No module named pip")
    with pytest.raises(ReadError, match="needs pip"):
        datasets.fetch_71gpa()


def test_a_download_that_hangs_tells_of_itself_and_is_ended(monkeypatch):
    pip, told = Pip(hangs=True), []
    monkeypatch.setattr(datasets.subprocess, "Popen", lambda _command, **_options: pip)
    monkeypatch.setattr(datasets, "_LONGEST_DOWNLOAD", 0.01)
    with pytest.raises(ReadError, match="took too long"):
        datasets.fetch_71gpa(progress=lambda step, fraction: told.append(step))
    assert pip.killed and told

    def impatient(step, fraction):
        raise Cancelled

    pip.killed = False
    with pytest.raises(Cancelled):
        datasets.fetch_71gpa(progress=impatient)
    assert pip.killed


def test_the_folder_variable_comes_first_and_is_checked(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv(datasets.FOLDER_VARIABLE, str(folder))
    (folder / datasets.FILE_NAME).write_bytes(b"another file")
    assert datasets.example_path() is None
    (folder / datasets.FILE_NAME).write_bytes(CONTENT)
    assert datasets.example_path() == folder / datasets.FILE_NAME
