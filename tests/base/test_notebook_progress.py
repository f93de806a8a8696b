"""Bars in notebooks: after two seconds, one for all, none elsewhere."""

import importlib
import inspect
import types

import numpy as np
import pytest
import scipy.sparse as sp

import siftem
from siftem import progress
from siftem.progress import Progress, shows_progress, silent


class Notebook:
    """What a kernel would show, and a clock."""

    def __init__(self):
        self.now, self.shown = 100.0, []

    def display(self, bar, display_id):
        self.shown.append(bar._repr_html_())
        return types.SimpleNamespace(update=lambda b: self.shown.append(b._repr_html_()))

    def monotonic(self):
        return self.now


@pytest.fixture
def notebook(monkeypatch):
    made = Notebook()
    module = types.SimpleNamespace(
        get_ipython=lambda: types.SimpleNamespace(kernel=object()),
        display=types.SimpleNamespace(display=made.display),
    )
    monkeypatch.setitem(progress.sys.modules, "IPython", module)
    monkeypatch.setattr(progress, "time", made)
    return made


@shows_progress
def work(notebook, seconds, *, progress: Progress = silent):
    """Work for some seconds."""
    for done in range(10):
        progress("first step", done / 10)
        notebook.now += seconds / 10
    return "done"


@shows_progress
def more_work(notebook, *, progress: Progress = silent):
    progress("whole", 0.0)
    work(notebook, 5.0)
    progress("whole", 0.5)
    notebook.now += 1.0


def test_what_takes_long_shows_one_bar(notebook):
    assert work(notebook, 10.0) == "done"
    first, *_, before, last = notebook.shown
    assert 'value="0.200"' in first  # after two seconds
    assert "work, first step: 20%, 2 s" in first
    assert 'value="0.900"' in before
    assert "work: 10.0 s" in last
    assert "<progress" not in last


def test_what_is_quick_shows_none(notebook):
    work(notebook, 1.9)
    assert notebook.shown == []


def test_pictures_are_not_drawn_faster_than_they_are_seen(notebook):
    work(notebook, 2.9)  # steps of 0.29 s from 2 s on
    assert len(notebook.shown) == 4
    notebook.shown.clear()
    bar = progress.NotebookBar("many")
    notebook.now += 3.0
    for i in range(1000):
        bar("step", i / 1000)
    assert len(notebook.shown) == 1


def test_work_within_work_shows_no_bar_of_its_own(notebook):
    more_work(notebook)
    assert all("more_work" in picture for picture in notebook.shown)
    # Nor does it when somebody else looks after the progress.
    notebook.shown.clear()
    told = []
    more_work(notebook, progress=lambda step, fraction: told.append(step))
    assert notebook.shown == []
    assert told == ["whole", "whole"]


def test_silence_can_be_asked_for_and_an_error_ends_the_bar(notebook):
    work(notebook, 10.0, progress=silent)
    assert notebook.shown == []

    @shows_progress
    def fails(*, progress: Progress = silent):
        notebook.now += 5.0
        progress("step", 0.5)
        raise ValueError

    with pytest.raises(ValueError):
        fails()
    assert "fails: 5.0 s" in notebook.shown[-1]
    assert progress._under_way == []


def test_outside_of_notebooks_nothing_is_shown(notebook, monkeypatch):
    shell = types.SimpleNamespace()  # IPython in a terminal has no kernel
    for module in (types.SimpleNamespace(get_ipython=lambda: shell), None):
        monkeypatch.setitem(progress.sys.modules, "IPython", module)
        work(notebook, 10.0)
    assert notebook.shown == []


def test_the_doors_show_their_progress(notebook):
    """A decomposition tells the bar, which the user did not ask for."""
    counts = np.random.default_rng(0).poisson(3.0, (64, 20))
    si = siftem.SpectrumImage(
        sp.csr_array(counts), (8, 8), siftem.EnergyAxis(1.0, 0.1, 20), signal_type=""
    )
    ticks = iter(range(10_000))
    notebook.monotonic = lambda: 3.0 * next(ticks)
    siftem.decompose(si, 2, identify=False)
    assert "decompose" in notebook.shown[0]
    notebook.shown.clear()
    siftem.PoissonNMF(2, tol=0.5).fit(counts)
    assert "fit, " in notebook.shown[0]
    notebook.shown.clear()
    siftem.PoissonNMF(2, tol=0.5, progress=silent).fit(counts)
    assert notebook.shown == []


def test_all_that_tells_its_progress_shows_it():
    signals = importlib.import_module("siftem.signals")
    public = [getattr(importlib.import_module(home), name) for name, home in siftem._HOME.items()]
    public += [getattr(signals, name) for name in signals.__all__]
    doors = [
        door
        for door in public
        if inspect.isfunction(door) and "progress" in inspect.signature(door).parameters
    ]
    assert {siftem.load, siftem.element_maps, siftem.run_batch, signals.find_regions} <= {*doors}
    for door in doors:
        assert door.__code__ is work.__code__, door.__name__  # the wrapper's, outermost
