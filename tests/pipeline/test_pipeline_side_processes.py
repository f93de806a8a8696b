"""Work shared with copies of this process."""

import os
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

from siftem.datasets import simulate_demo
from siftem.errors import DoubtWarning, InputError, SiftemWarning
from siftem.large.sparse_writer import write_sparse_file
from siftem.pipeline import input_file
from siftem.pipeline.parts import recorded_warnings
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.side_processes import SideProcesses
from siftem.pipeline.workflow import Workflow

copies = pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux alone")


def job(number):
    def make():
        warnings.warn(f"said {number}", DoubtWarning if number == 1 else SiftemWarning, 2)
        time.sleep(0.05)  # long enough for the others to take theirs
        return number, os.getpid()

    return make


def shared(processes):
    with (
        recorded_warnings() as told,
        SideProcesses({str(i): job(i) for i in range(6)}, processes) as beside,
    ):
        made = beside.results()
    return made, told


@copies
def test_copies_give_what_this_process_gives_alone():
    alone, told_alone = shared(1)
    made, told = shared(3)
    assert {pid for _, pid in alone.values()} == {os.getpid()}
    assert len({pid for _, pid in made.values()}) == 3
    assert list(made) == list(alone) == [str(i) for i in range(6)]
    assert [n for n, _ in made.values()] == [n for n, _ in alone.values()] == list(range(6))
    assert list(told) == list(told_alone) == [f"said {i}" for i in range(6)]
    assert told.doubts == told_alone.doubts == ["said 1"]


@copies
def test_a_copy_needs_no_threads_of_its_parent():
    """Attenuation is asked for in both; a copy that waits for OpenMP's threads does so for ever."""
    asked = """
import numpy as np
from siftem.pipeline.side_processes import SideProcesses
from siftem.xray.absorption import element_attenuation
element_attenuation("Fe", np.linspace(0.2, 20.0, 4000))
job = lambda: float(element_attenuation("O", np.linspace(0.2, 20.0, 4001)).sum())
with SideProcesses({"one": job, "two": job}, 2) as beside:
    print(len(set(beside.results().values())))
"""
    threads = {**os.environ, "OMP_NUM_THREADS": "4"}
    done = subprocess.run(
        [sys.executable, "-c", asked], env=threads, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "1", done.stderr


@copies
def test_one_job_has_a_copy_to_itself():
    with SideProcesses({"one": lambda: 1}, 2) as beside:
        assert len(beside._running) == 1
        assert beside.results() == {"one": 1}


@copies
def test_a_small_file_is_read_by_a_copy_and_what_cannot_be_read_is_left_to_its_step(
    tmp_path, monkeypatch
):
    si = simulate_demo((8, 8), channels=64).spectrum_image
    write_sparse_file(si, tmp_path / "map.sift")
    monkeypatch.setattr("siftem.pipeline.steps.load.load", None)  # the step reads nothing
    recipe = make_recipe({"input": {"file": str(tmp_path / "map.sift")}})
    with input_file.reading_ahead(recipe, 2) as ahead:
        read = Workflow(recipe, ahead=ahead).run("load").spectrum_image
    np.testing.assert_array_equal(read.counts.todense(), si.counts.todense())
    monkeypatch.setattr(input_file, "LARGEST", 1)
    for name in ("map.sift", "none.sift"):
        recipe = make_recipe({"input": {"file": str(tmp_path / name)}})
        with input_file.reading_ahead(recipe, 2) as ahead:
            assert ahead.results() == {}


@copies
def test_what_a_copy_could_not_make_is_made_here_and_its_error_raised_here():
    parent = os.getpid()

    def dies():
        if os.getpid() != parent:
            os._exit(9)
        return "here"

    def fails():
        raise InputError("of the job")

    with SideProcesses({"a": dies, "b": dies, "c": dies}, 2) as beside:
        time.sleep(0.05)
        assert beside.results() == dict.fromkeys("abc", "here")
    with pytest.raises(InputError, match="of the job"), SideProcesses({"a": fails}, 2) as beside:
        beside.results()


@copies
def test_no_copy_outlives_the_work():
    with (
        pytest.raises(KeyboardInterrupt),
        SideProcesses({"a": lambda: time.sleep(60), "b": lambda: time.sleep(60)}, 2) as beside,
    ):
        copies_made = list(beside._running)
        raise KeyboardInterrupt
    assert copies_made
    for process in copies_made:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
