"""Reading comes to an end: loops and crashes of libraries cost one file, in one sentence."""

import subprocess
import threading
import time

import h5py
import numpy as np
import pytest
import rsciio.phenom

import siftem
from siftem.errors import Cancelled, ReadError
from siftem.files import hdf5_probe, hdf5_walk
from siftem.io import guarded_readers
from siftem.io.formats.jeol import JEOL
from siftem.io.signal_choice import list_signals
from siftem.large.sparse_file import open_sparse_file

#: Stands in for a damaged file over which the HDF5 library never comes back, or crashes.
SCRIPT = """
import json, os, signal, sys
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    path, seconds = json.loads(line)
    if "loop" in path:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        while True:
            pass
    if "crash" in path:
        os.abort()
    print(json.dumps("its attribute is odd" if "odd" in path else ""), flush=True)
"""


@pytest.fixture
def pretended(tmp_path, monkeypatch):
    """Another process that loops or crashes by the name of the file."""
    script = tmp_path / "walk.py"
    script.write_text(SCRIPT)
    monkeypatch.setattr(hdf5_walk, "__file__", str(script))
    monkeypatch.setattr(hdf5_probe, "_looker", None)
    monkeypatch.setattr(hdf5_probe, "_SECONDS", 0.3)
    yield
    if hdf5_probe._looker is not None:
        hdf5_probe._looker.end()


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("loop.hspy", "loops for ever or crashes"),
        ("crash.sift", "loops for ever or crashes"),
        ("odd.emd", "its attribute is odd"),
    ],
)
@pytest.mark.parametrize("read", [siftem.load, list_signals, open_sparse_file])
def test_files_that_never_come_back_are_refused(pretended, tmp_path, name, match, read):
    path, good = tmp_path / name, tmp_path / "good.h5"
    for place in (path, good):
        with h5py.File(place, "w") as file:
            file["data"] = np.ones(3)
    for _ in range(2):
        with pytest.raises(ReadError, match=match) as caught:
            read(path)
        assert "\n" not in str(caught.value)
    hdf5_probe.refuse_endless_hdf5(good)


def test_where_no_other_process_can_be_had_files_are_read_all_the_same(tmp_path, monkeypatch):
    def none(*arguments, **options):
        raise OSError("no more processes")

    monkeypatch.setattr(hdf5_probe, "_looker", None)
    monkeypatch.setattr(subprocess, "Popen", none)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.ones(3)
    hdf5_probe.refuse_endless_hdf5(tmp_path / "a.h5")


def test_a_file_is_looked_at_again_when_it_has_changed(pretended, tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"1")
    hdf5_probe.refuse_endless_hdf5(path)
    asked = []
    hdf5_probe._looker.ask = lambda *given: asked.append(given) or ""
    hdf5_probe.refuse_endless_hdf5(path)
    assert not asked
    path.write_bytes(b"22")
    hdf5_probe.refuse_endless_hdf5(path)
    assert len(asked) == 1


def test_the_walk_goes_over_everything_once_and_out_of_the_file_never(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("a/b")
        group["same"] = file["a"]  # a loop of hard links
        group["elsewhere"] = h5py.ExternalLink("missing.h5", "/")
        group.attrs["long"] = np.ones(2000)
        file.create_dataset("data", data=np.ones(50), chunks=(10,))
        file["texts"] = np.array(["a", "bc"], dtype=h5py.string_dtype())
    assert hdf5_walk.walk(str(path)) == ""
    assert hdf5_walk.walk(str(tmp_path / "missing.h5")) == ""
    monkeypatch.setattr(hdf5_walk, "_LONGEST", 8000)
    assert "'long' claims (2000,) values" in hdf5_walk.walk(str(path))


def test_the_process_of_the_walk_answers_each_line(tmp_path):
    with h5py.File(tmp_path / "ä.h5", "w") as file:
        file["data"] = np.ones(3)
    looker = hdf5_probe._Looker()
    assert [looker.ask(str(tmp_path / n), 5.0) for n in ("ä.h5", "missing.h5", "ä.h5")] == [""] * 3
    looker.end()
    with pytest.raises(hdf5_probe._NoAnswer):
        looker.ask(str(tmp_path / "ä.h5"), 0.1)


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(guarded_readers, "_SECONDS", 0.3)
    monkeypatch.setattr(guarded_readers, "_AGAIN_AFTER", 0.1)


#: Seconds of processor time after which a test fails that would hang.
FAR_TOO_LONG = 5


def endless(filename, **options):
    begun = time.process_time()
    while time.process_time() - begun < FAR_TOO_LONG:
        try:
            while time.process_time() - begun < FAR_TOO_LONG:
                pass
        except Exception:
            continue
    raise AssertionError("nobody ended it")


def stubborn(filename, **options):
    """Goes on after the first end."""
    try:
        endless(filename)
    except BaseException:
        endless(filename)


def greedy(filename, **options):
    held = []
    while len(held) < 2000:
        held.append(b"1" * 10**6)
    raise AssertionError("nobody ended it")


@pytest.mark.parametrize(
    ("reader", "match"),
    [(endless, "not come back"), (stubborn, "not come back"), (greedy, "takes more than 0.2 GB")],
)
@pytest.mark.parametrize("read", [siftem.load, list_signals])
def test_readers_that_never_come_back_are_ended(
    hurried, tmp_path, monkeypatch, reader, match, read
):
    monkeypatch.setattr(guarded_readers, "_GROWTH", 2 * 10**8)
    if reader is greedy:
        monkeypatch.setattr(guarded_readers, "_SECONDS", 60.0)
    reader.__module__ = rsciio.phenom.__name__
    monkeypatch.setattr(rsciio.phenom, "file_reader", reader)
    path = tmp_path / "cut.elid"
    path.write_bytes(b"PK cut")
    with pytest.raises(ReadError, match=rf"cannot read .*its reader .*{match}"):
        read(path)


def test_the_limit_is_of_the_thread_that_reads(hurried, tmp_path):
    found = []

    def read():
        try:
            with guarded_readers.watched(tmp_path, 10):
                endless("")
        except ReadError as error:
            found.append(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join(30)
    assert "not come back" in found[0]


def test_a_slow_reader_tells_how_far_it_is_and_can_be_stopped(tmp_path):
    told = []

    def progress(step, fraction):
        told.append((step, fraction))
        if len(told) == 2:
            raise Cancelled

    slow = guarded_readers.watched(tmp_path, 10, progress=progress, reached=lambda: 0.25)
    with pytest.raises(Cancelled), slow:
        endless("")
    assert told == 2 * [("opening the file", 0.25)]


def test_frames_that_are_decoded_tell_how_far_a_jeol_stream_is_read(monkeypatch):
    from rsciio.jeol import _api as reader

    decoded = []
    monkeypatch.setattr(reader, "_readframe_lazy", lambda words, _rest: decoded.append(words.size))
    before, seen = reader._readframe_lazy, []
    with JEOL.reached() as reached:
        for size in (8, 2, 0):
            reader._readframe_lazy(np.zeros(size), None)
            seen.append(reached())
    assert (decoded, seen) == ([8, 2, 0], [0, 0.75, 0])
    assert reader._readframe_lazy is before


def test_who_is_done_in_time_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(guarded_readers, "_SECONDS", 0.02)
    monkeypatch.setattr(guarded_readers, "_LOOK_EVERY", 0.01)
    for _ in range(20):  # the end may be meant while the block is left: never afterwards
        begun = time.process_time()
        try:
            with guarded_readers.watched(tmp_path, 10):
                while time.process_time() - begun < 0.025:
                    pass
        except ReadError:
            pass
        sum(range(100_000))
    with pytest.raises(ValueError, match="own"), guarded_readers.watched(tmp_path, 10):
        raise ValueError("own")


def test_a_broken_tree_is_refused_before_anything_in_it_is_asked_for(tmp_path):
    path = tmp_path / "broken.hspy"
    with h5py.File(path, "w") as file:
        file.attrs["file_format"] = "HyperSpy"
        file["Experiments/map/data"] = np.ones(3)
    stored = path.read_bytes()
    path.write_bytes(stored.replace(b"TREE", b"TRXX"))
    with pytest.raises(ReadError, match=r"what it lists cannot be read .*so it is damaged"):
        hdf5_probe.refuse_endless_hdf5(path)


def test_what_h5py_has_no_type_for_does_not_make_a_file_damaged(tmp_path):
    path = tmp_path / "dated.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.ones(3)
        space = h5py.h5s.create(h5py.h5s.SCALAR)
        h5py.h5a.create(file["data"].id, b"day", h5py.h5t.UNIX_D32LE, space)
    hdf5_probe.refuse_endless_hdf5(path)
