"""A run that is killed at any of its writes: earlier results stay, the next run tidies up."""

import os
import random
import shutil
import signal
import sys
import time
import warnings

import dask
import h5py
import pytest
from small_demo import small_demo

from siftem.errors import InputError, SiftemError, SiftemWarning
from siftem.files.atomic import left_beside, name_beside, replacing
from siftem.pipeline.changes import merged_recipe
from siftem.pipeline.store import check_destination, tidy_up, whole_folder
from siftem.pipeline.workflow import Workflow
from siftem.report.folder import write_results

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
#: What changes something on disk, by the names of Python's audit events.
WRITES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"}


def contents(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def in_child(work, *, kill_at=None):
    """Run in a forked process that is killed at its n-th write; how it ended, and its writes."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        seen = [0]

        def watch(event, arguments):
            opened = (
                event == "open"
                and isinstance(arguments[1], str)
                and set("wax+") & set(arguments[1])
            )
            if opened or event in WRITES:
                seen[0] += 1
                if seen[0] == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(watch)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                work()
            os.write(write, str(seen[0]).encode())
        finally:
            os._exit(0)
    os.close(write)
    _, status = os.waitpid(pid, 0)
    with os.fdopen(read) as stream:
        text = stream.read()
    return os.WIFSIGNALED(status), int(text or 0)


@pytest.fixture
def writing(tmp_path):
    """A small run that writes some files, one of them through a draft of its own."""
    out = tmp_path / "out"

    def write(word):
        with whole_folder(out) as draft:
            (draft / "summary.json").write_text(word)
            (draft / "spectra").mkdir()
            for name in ("a", "b"):
                (draft / "spectra" / name).write_text(word * 100)
            with replacing(draft / "maps.bin") as part:
                part.write_bytes(word.encode() * 1000)

    return out, write


def after_the_next(out, write):
    """What is in the folder before and after the next run, which must leave nothing else."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        tidy_up(out)
    before = contents(out) if out.exists() else None
    left = [p.name for p in out.parent.iterdir() if p != out]
    write("next ")
    return before, left, [str(w.message) for w in told if w.category is SiftemWarning]


@pytest.mark.parametrize("earlier", [False, True])
def test_killed_at_every_write(writing, earlier):
    out, write = writing

    def prepare():
        shutil.rmtree(out, ignore_errors=True)
        if earlier:
            write("earlier ")

    prepare()
    first = contents(out) if earlier else None
    killed, number = in_child(lambda: write("new "))
    assert not killed
    assert number > 8
    whole = contents(out)
    prepare()
    told_at = []
    for place in range(1, number + 1):
        prepare()
        killed, _ = in_child(lambda: write("new "), kill_at=place)
        assert killed
        before, left, told = after_the_next(out, write)
        assert before in (first, whole), f"killed at write {place} of {number}"
        assert left == []
        if told:
            told_at.append(place)
            assert "was killed while it wrote" in told[0]
        assert contents(out)["summary.json"] == b"next "
        assert [p.name for p in out.parent.iterdir()] == ["out"]
    # All but the first, before anything is there, and the removal of what is replaced.
    assert len(told_at) >= 8


def test_between_the_two_renames_the_earlier_results_come_back(writing):
    out, write = writing
    write("earlier ")
    first = contents(out)
    _, number = in_child(lambda: write("new "))
    shutil.rmtree(out)
    seen = False
    for place in range(1, number + 1):
        shutil.rmtree(out, ignore_errors=True)
        write("earlier ")
        in_child(lambda: write("new "), kill_at=place)
        if not out.exists():
            seen = True
            with pytest.warns(SiftemWarning, match="earlier results are back in their place"):
                tidy_up(out)
            assert contents(out) == first
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tidy_up(out)
    assert seen


def test_killed_at_random_moments(writing):
    out, write = writing
    write("earlier ")
    known = [contents(out)]
    draw = random.Random(5)
    deadline = 25
    for _ in range(deadline):
        pid = os.fork()
        if pid == 0:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    while True:
                        write("new ")
            finally:
                os._exit(0)
        time.sleep(draw.uniform(0, 0.03))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tidy_up(out)
        found = contents(out)
        assert set(found) == set(known[0])
        assert found["summary.json"] in (b"earlier ", b"new ")
        assert len({value[:3] for value in found.values()}) == 1
        assert [p.name for p in out.parent.iterdir()] == ["out"]


@pytest.fixture(scope="module")
def result():
    """A small run with few elements: what it finds is not looked at here."""
    changes = {"elements": ["O", "Mg", "Si", "Ca", "Fe"], "segment": {"trees": 10}}
    return Workflow(merged_recipe(small_demo(shape=(32, 32), dose=400), changes)).result()


def numbers(folder):
    """The contents, of HDF5 files the data alone: these note when they were written."""
    found = contents(folder)
    for name in found:
        if name.endswith(".hspy"):
            with h5py.File(folder / name) as file:
                signals = file["Experiments"].items()
                found[name] = {title: signal["data"][()].tobytes() for title, signal in signals}
    return found


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("every", [15, pytest.param(1, marks=pytest.mark.slow)])
def test_all_that_a_run_writes_is_whole_or_not_there(result, tmp_path, every):
    out = tmp_path / "out"

    def write():
        # Threads are left behind by a fork.
        with dask.config.set(scheduler="synchronous"):
            write_results(result, out)

    write()
    whole = numbers(out)
    killed, number = in_child(write)
    assert not killed
    assert number > len(whole)
    assert numbers(out) == whole
    for place in range(1, number + 1, every):
        killed, _ = in_child(write, kill_at=place)
        assert killed
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tidy_up(out)
        assert numbers(out) == whole, f"killed at write {place} of {number}"
        assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, OSError])
def test_a_stop_between_the_renames_puts_the_earlier_results_back(writing, monkeypatch, kind):
    out, write = writing
    write("earlier ")
    first = contents(out)
    rename = type(out).replace

    def stopping(self, target):
        if self.name.endswith(".draft"):
            raise kind
        return rename(self, target)

    monkeypatch.setattr(type(out), "replace", stopping)
    with pytest.raises((KeyboardInterrupt, SiftemError)):
        write("new ")
    assert contents(out) == first
    assert [p.name for p in out.parent.iterdir()] == ["out"]


def test_what_a_living_process_or_another_machine_writes_is_left_alone(tmp_path):
    out = tmp_path / "out"
    own = name_beside(out, ".draft")
    own.mkdir()
    other = own.with_name(
        own.name.replace(f"{os.getpid()}-", "999999999-").replace(".out.", ".out.x")
    )
    other.mkdir()
    unlike = tmp_path / ".out.notes.draft"
    unlike.mkdir()
    assert left_beside(out, ".draft") == []
    tidy_up(out)
    assert sorted(tmp_path.iterdir()) == sorted([own, other, unlike])
    with whole_folder(out) as draft:
        (draft / "summary.json").write_text("{}")
    assert own.exists()


def test_drafts_of_single_files_go_with_the_next_write(tmp_path):
    target = tmp_path / "map.sift"

    def write():
        with replacing(target) as draft:
            draft.write_bytes(b"counts")

    _, number = in_child(write)
    for place in range(1, number + 1):
        target.unlink(missing_ok=True)
        in_child(write, kill_at=place)
        write()
        assert [p.name for p in tmp_path.iterdir()] == ["map.sift"]


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("file/x", "is a file: choose another output folder"),
        ("file/x/y", "is a file: choose another output folder"),
        ("file", "is a file"),
        ("a" * 300, "File name too long"),
        ("a" * 300 + "/b", "File name too long"),
    ],
)
def test_folders_that_can_not_be_made_are_told_before_any_work(tmp_path, name, match):
    (tmp_path / "file").write_text("x")
    for check in (check_destination, lambda folder: whole_folder(folder).__enter__()):
        with pytest.raises(InputError, match=match) as caught:
            check(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_working_folder_that_is_gone_is_told(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(InputError, match="the folder that this runs in is gone"):
        check_destination("out")


def test_a_long_name_is_no_hindrance(tmp_path):
    out = tmp_path / ("a" * 240)
    with whole_folder(out) as draft:
        (draft / "summary.json").write_text("{}")
    assert (out / "summary.json").read_text() == "{}"
