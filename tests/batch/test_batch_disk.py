"""A full disk: one clear error, and what was there stays."""

import errno
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import made_up_batch
import pytest
from made_up_batch import recipe

from siftem.batch.folder import DiskFullError, is_disk_full
from siftem.batch.run import run_batch
from siftem.errors import SiftemError
from siftem.files.atomic import replacing


def contents(out):
    return {
        p.relative_to(out): p.read_bytes()
        for p in out.rglob("*")
        if p.is_file() and p.suffix not in (".lock", ".part") and "checkpoints" not in p.parts
    }


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_for_a_run_stops_the_batch_and_keeps_what_was_there(
    stand_ins, maps, visits, tmp_path, monkeypatch, number
):
    out = tmp_path / "out"
    run_batch(recipe(), maps, out)
    before = contents(out)
    maps[1].write_text("19.0")
    maps[2].write_text("29.0")
    visits()

    def half_way(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(made_up_batch, "summary", half_way)
        with pytest.raises(DiskFullError, match="free some and run the same command again") as seen:
            run_batch(recipe(), maps, out)
    assert "\n" not in str(seen.value)
    assert visits() == ["a2"]  # the third map was not begun
    assert contents(out) == before
    result = run_batch(recipe(), maps, out)
    assert [o.status for o in result.outcomes] == ["kept", "done", "done"]


def test_no_space_for_records_or_tables(stand_ins, maps, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run_batch(recipe(), maps, out)
    before = contents(out)
    maps[0].write_text("19.0")

    @contextmanager
    def no_space(path):
        if Path(path).name == full_at:
            full()
        with replacing(path) as draft:
            yield draft

    monkeypatch.setattr("siftem.batch.folder.replacing", no_space)
    monkeypatch.setattr("siftem.batch.outputs.replacing", no_space)
    for full_at in ("a1.json", "results.csv", "results.parquet", "summary.json"):
        with pytest.raises(DiskFullError, match="no space is left"):
            run_batch(recipe(), maps, out)
        place = Path(full_at) if full_at != "a1.json" else Path(".siftem/records/a1.json")
        assert contents(out)[place] == before[place]
    full_at = None
    assert run_batch(recipe(), maps, out).outcomes[0].status == "kept"


def test_other_errors_of_writing_are_told_as_what_they_are(stand_ins, maps, tmp_path, monkeypatch):
    def denied(self, record):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("siftem.batch.folder.BatchFolder.write_record", denied)
    with pytest.raises(SiftemError, match=r"cannot write in .*Permission denied") as seen:
        run_batch(recipe(), maps, tmp_path / "out")
    assert not isinstance(seen.value, DiskFullError)


def test_a_full_disk_is_known_through_errors_that_were_raised_from_it():
    try:
        try:
            full()
        except OSError:
            raise SiftemError("cannot write") from None
    except SiftemError as error:
        assert is_disk_full(error)
    # HDF5 tells it in words only.
    assert is_disk_full(RuntimeError("write failed: errno = 28, 'No space left on device'"))
    assert not is_disk_full(OSError(errno.EACCES, "Permission denied"))


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 3 MB, where the system lets us make one."""
    place = tmp_path / "small"
    place.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    options = ["-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
def test_a_truly_full_disk(small_disk, real_maps):
    recipe_file, files = real_maps
    out = small_disk / "out"
    command = [sys.executable, "-m", "siftem", "batch", str(recipe_file), str(files[0]), "-q"]
    done = subprocess.run(
        [*command, "--out", str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert "no space is left for the results" in lines[0]
    assert not list((out / "maps").iterdir())  # nothing half-written


@pytest.mark.slow
def test_a_limit_on_file_size_is_told_in_one_line(real_maps, tmp_path):
    """The same without root: no file may grow beyond 100 kB."""
    recipe_file, files = real_maps
    out = tmp_path / "out"
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "import siftem.report.folder as folder;"
        "folder.figure_jobs = lambda result, kind: {'figure1': lambda: bytes(200_000)};"
        "from siftem.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["batch", str(recipe_file), str(files[0]), "-q", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.returncode
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "no space is left for the results" in done.stderr
    assert not list((out / "maps").iterdir())
