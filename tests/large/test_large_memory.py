"""Budgets in words, files left behind, and fits that go on after a kill."""

import os
import platform
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import siftem
from siftem.errors import InputError, SiftemWarning
from siftem.large.sparse_writer import write_sparse_file
from siftem.machine import BASE_BYTES, BLOCK_BYTES, parse_memory, workers_within


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2GB", 2e9), ("500 mb", 5e8), ("1.5GiB", 1.5 * 2**30), ("3MiB", 3 * 2**20), ("7", 7),
     ("4e3", None), (4096, 4096), ("2 TB", 2e12), ("0", None), ("-1GB", None), ("lots", None),
     (True, None), (0, None), ("10k", 1e4), (float("inf"), None), ("9" * 5000, None)],
)  # fmt: skip
def test_sizes_in_words(text, expected):
    if expected is None:
        with pytest.raises(InputError, match="such as 2GB"):
            parse_memory(text)
    else:
        assert parse_memory(text) == expected


def test_a_budget_sets_how_many_blocks_are_worked_on():
    assert workers_within(None, 16) == 16
    assert workers_within(BASE_BYTES + 3 * BLOCK_BYTES, 16) == 3
    assert workers_within(10**12, 16) == 16
    with pytest.raises(InputError, match="too small"):
        workers_within(10**8, 16)
    # The images of a large map take their part of it, and may leave nothing.
    assert workers_within(10**9, 16, 4_000_000) == 11
    with pytest.warns(SiftemWarning, match="give 1.9 GB"):
        assert workers_within(10**9, 16, 8192**2) == 1


FREED = """
    import numpy as np
    from siftem.machine import give_back_freed_arrays

    def resident():
        with open("/proc/self/status") as lines:
            return next(int(li.split()[1]) / 1e3 for li in lines if li.startswith("VmRSS"))

    assert give_back_freed_arrays()
    # Freeing a large array makes the C library keep what is smaller, if it is not told.
    del (large := [np.ones(4_000_000)])[:]
    before = resident()
    arrays = [np.ones(1_000_000) for _ in range(25)]
    full = resident()
    del arrays[:-1]  # the last one lies behind all the others
    print(full - before, resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="settings of the GNU C library")
def test_freed_arrays_go_back_to_the_system():
    script = [sys.executable, "-c", textwrap.dedent(FREED)]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    full, left = map(float, done.stdout.split())
    assert full > 190
    assert left < 20


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    phantom = siftem.simulate_demo((32, 40), dose=100, random_state=5)
    path = tmp_path_factory.mktemp("maps") / "map.sift"
    return write_sparse_file(phantom.spectrum_image, path, entries_per_block=20_000)


def test_no_more_than_a_few_blocks_are_ever_read_at_a_time(stored, monkeypatch):
    from siftem.decomposition import initialise
    from siftem.large.sparse_file import SparseFile

    expected = siftem.decompose(siftem.load(stored), 3)
    sizes = []
    original = SparseFile.read

    def spy(self, first, last, window=None):
        found = original(self, first, last, window)
        sizes.append(found.nnz)
        return found

    monkeypatch.setattr(SparseFile, "read", spy)
    monkeypatch.setattr(initialise, "_ENTRIES", 20_000)
    with siftem.open_map(stored, scheduler="synchronous") as si:
        whole = si.counts.nnz
        found = siftem.decompose(si, 3)
    np.testing.assert_allclose(found.spectra, expected.spectra, rtol=1e-6, atol=1e-12)
    assert max(sizes) < 25_000 < whole / 3


def test_nothing_is_left_behind(stored):
    before = sorted(stored.parent.iterdir())
    with siftem.open_map(stored, memory="2GB") as si:
        siftem.decompose(si, 3)
    with pytest.raises(RuntimeError), siftem.open_map(stored) as si:
        raise RuntimeError
    assert sorted(stored.parent.iterdir()) == before


def test_files_of_finished_sweeps_are_removed_on_the_way(stored, tmp_path):
    most = []

    def look(step, fraction):
        most.append(len(list(tmp_path.glob("weights-*"))))

    with siftem.open_map(stored, scratch=tmp_path) as si:
        siftem.decompose(si, 3, identify=False, progress=look)
    assert max(most) <= 3
    assert not list(tmp_path.glob("weights-*"))


KILLED = """
    import os, signal, sys
    import siftem

    path, state, scratch, kind, *stops = sys.argv[1:]

    def fit(stop):
        seen = []

        def progress(step, fraction):
            seen.append(fraction)
            if len(seen) == stop:
                os.kill(os.getpid(), signal.SIGKILL)

        checkpoint = siftem.FitCheckpoint(state, every=0)
        if kind == "memory":
            siftem.decompose(siftem.load(path), 3, checkpoint=checkpoint, progress=progress)
        else:
            with siftem.open_map(path, scratch=scratch, scheduler="threads") as si:
                siftem.decompose(si, 3, checkpoint=checkpoint, progress=progress)

    for stop in map(int, stops):
        child = os.fork()
        if not child:
            try:
                fit(stop)
            finally:
                os._exit(0)
        print(os.WTERMSIG(os.waitpid(child, 0)[1]), os.path.isfile(state))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_a_fit_that_is_killed_goes_on_from_its_last_state(stored, tmp_path, kind):
    state, scratch = tmp_path / "fit.npz", tmp_path / "scratch"
    expected = siftem.decompose(siftem.load(stored), 3)
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(KILLED))
    # Killed twice, in processes of their own.
    ended = subprocess.run(
        [sys.executable, str(script), str(stored), str(state), str(scratch), kind, "4", "3"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ended.stdout.split() == ["9", "True"] * 2
    sweeps = []

    def count(step, fraction):
        sweeps.append(fraction)

    checkpoint = siftem.FitCheckpoint(state, every=0)
    if kind == "memory":
        found = siftem.decompose(siftem.load(stored), 3, checkpoint=checkpoint, progress=count)
        np.testing.assert_array_equal(found.spectra, expected.spectra)
        np.testing.assert_array_equal(found.maps, expected.maps)
    else:
        with siftem.open_map(stored, scratch=scratch) as si:
            found = siftem.decompose(si, 3, checkpoint=checkpoint, progress=count)
        np.testing.assert_allclose(found.spectra, expected.spectra, rtol=1e-6, atol=1e-12)
        assert not list(scratch.glob("weights-*"))
    assert found.n_iter == expected.n_iter
    # Six sweeps or so were not done again.
    assert len(sweeps) <= expected.n_iter - 5
    assert not state.exists()


def test_images_of_killed_runs_are_removed_by_the_next(stored, tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, used, other = (
        tmp_path / f"image-{node}-{pid}-abc.raw"
        for node, pid in (
            (platform.node(), ended.pid),
            (platform.node(), os.getpid()),
            ("elsewhere", ended.pid),
        )
    )
    for path in (left, used, other):
        path.write_bytes(b"1")
    with siftem.open_map(stored, scratch=tmp_path) as si:
        siftem.decompose(si, 3, checkpoint=siftem.FitCheckpoint(tmp_path / "fit.npz"))
    assert not left.exists()
    assert used.exists()
    assert other.exists()


def test_a_state_of_another_fit_or_a_damaged_one_is_ignored(stored, tmp_path):
    si = siftem.load(stored)
    expected = siftem.decompose(si, 2)
    state = tmp_path / "fit.npz"

    class Stop(Exception):
        pass

    def stop(step, fraction):
        stop.seen = getattr(stop, "seen", 0) + 1
        if stop.seen == 3:
            raise Stop

    with pytest.raises(Stop):
        siftem.decompose(si, 3, checkpoint=siftem.FitCheckpoint(state, every=0), progress=stop)
    kept = state.read_bytes()
    for content in (kept, kept[: len(kept) // 2], b"nonsense", b""):
        state.write_bytes(content)
        found = siftem.decompose(si, 2, checkpoint=siftem.FitCheckpoint(state, every=0))
        np.testing.assert_array_equal(found.spectra, expected.spectra)


def test_opening_reads_no_counts(stored):
    """A header is a few kilobytes, whatever the map holds."""
    import h5py

    from siftem.large.sparse_file import open_sparse_file

    read = []
    original = h5py.Dataset.__getitem__

    def spy(self, args, **more):
        found = original(self, args, **more)
        read.append(getattr(found, "nbytes", 8))
        return found

    h5py.Dataset.__getitem__ = spy
    try:
        open_sparse_file(stored)
    finally:
        h5py.Dataset.__getitem__ = original
    assert sum(read) < 20_000


def stopped(stored, state, scratch):
    """Stop a fit on disk after a few sweeps; returns its checkpoint's arrays."""

    class Stop(Exception):
        pass

    seen = []

    def stop(step, fraction):
        seen.append(fraction)
        if len(seen) == 4:
            raise Stop

    with siftem.open_map(stored, scratch=scratch) as si, pytest.raises(Stop):
        siftem.decompose(si, 3, checkpoint=siftem.FitCheckpoint(state, every=0), progress=stop)
    with np.load(state) as kept:
        return dict(kept)


def resumed(stored, state, scratch):
    with siftem.open_map(stored, scratch=scratch) as si:
        return siftem.decompose(si, 3, checkpoint=siftem.FitCheckpoint(state, every=0))


def test_cut_weights_of_a_checkpoint_are_worth_nothing(stored, tmp_path):
    state, scratch = tmp_path / "fit.npz", tmp_path / "scratch"
    stopped(stored, state, scratch)
    for path in scratch.glob("weights-*/*.npy"):
        path.write_bytes(path.read_bytes()[:100])
    found = resumed(stored, state, scratch)
    expected = siftem.decompose(siftem.load(stored), 3)
    np.testing.assert_allclose(found.spectra, expected.spectra, rtol=1e-6, atol=1e-12)


def test_a_checkpoint_removes_no_folder_but_its_own(stored, tmp_path):
    state, scratch = tmp_path / "fit.npz", tmp_path / "scratch"
    kept = stopped(stored, state, scratch)
    own = next(scratch.glob("weights-*"))
    victim = tmp_path / "thesis"
    own.rename(victim)
    (victim / "thesis.txt").write_text("years of work")
    for named in (str(victim), "../thesis"):
        np.savez(state, **(kept | {"folder": np.array(named)}))
        resumed(stored, state, scratch)
        assert (victim / "thesis.txt").exists()


def test_a_scratch_folder_may_move_with_its_checkpoint(stored, tmp_path):
    state, scratch = tmp_path / "fit.npz", tmp_path / "scratch"
    kept = stopped(stored, state, scratch)
    assert "folder" in kept
    scratch.rename(tmp_path / "moved")
    sweeps = []
    with siftem.open_map(stored, scratch=tmp_path / "moved") as si:
        checkpoint = siftem.FitCheckpoint(state, every=0)
        found = siftem.decompose(si, 3, checkpoint=checkpoint, progress=lambda *s: sweeps.append(s))
    assert len(sweeps) < found.n_iter
