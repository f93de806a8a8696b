"""Data that is too large or not ours to ship: found where it is, else the test is skipped."""

from __future__ import annotations

import gc
import hashlib
import os
import pickle
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

# Files are tested as many at a time as there are cores: further threads would wait for each other.
# What several threads do is asked of them by name. Read when NumPy is loaded, hence so early.
os.environ.setdefault("OMP_NUM_THREADS", "1")

#: About a megabyte each.
_FITS_KEPT = 120
SHARED_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


def pytest_collection_finish() -> None:
    """Leave what is loaded by now out of Python's search for garbage.

    It is there to the end: a million objects, which each figure that is let go of would go through.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def sought_once() -> Iterator[None]:
    """Runs of this process look for the elements of a spectrum once, in whatever test.

    A fifth of a small run; the same map is run many times. What the search finds depends on the
    spectrum alone, and it says nothing else. Tests of the search itself call it.
    """
    found: dict[bytes, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fit_settings", "steps.match", "starting_recipe"):
            module = sys.modules.get(f"siftem.pipeline.{name}")  # no test needs others
            if module is not None:
                patch.setattr(module, "find_elements", _remembered(module.find_elements, found))
        yield


def _remembered(search: Callable[[Any], Any], found: dict[bytes, Any]) -> Callable[[Any], Any]:
    def find(spectrum: Any) -> Any:
        key = pickle.dumps([getattr(spectrum, f.name) for f in fields(spectrum)])
        if key not in found:
            found[key] = search(spectrum)
        return found[key]

    return find


@pytest.fixture(scope="session", autouse=True)
def fitted_once() -> Iterator[None]:
    """Runs of this process fit the lines of a spectrum in the same way once, in whatever test.

    Three quarters of what a small run takes for its spectra, which many tests have in common. What
    is found depends on the arguments alone; what it warns of is said each time. The last ones are
    kept. Tests of the fit itself call `fit_lines`; what compares two runs takes `fitted_anew`.
    """
    module = sys.modules.get("siftem.fit.fitter")
    if module is None:  # no test needs it
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.LineFitter, "fit", _remembered_fits(module.LineFitter.fit))
        yield


@pytest.fixture
def fitted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run of this test fits its lines itself."""
    fitter = sys.modules["siftem.fit.fitter"].LineFitter
    monkeypatch.setattr(fitter, "fit", getattr(fitter.fit, "__wrapped__", fitter.fit))


def _remembered_fits(fit_once: Callable[..., Any]) -> Callable[..., Any]:
    from siftem.errors import DoubtWarning, SiftemWarning
    from siftem.pipeline.parts import recorded_warnings

    made: OrderedDict[bytes, Any] = OrderedDict()

    @wraps(fit_once)
    def fit(fitter: Any, spectrum: Any, **named: Any) -> Any:
        own = [getattr(spectrum, f.name) for f in fields(spectrum)]
        try:
            key = hashlib.sha256(pickle.dumps([fitter, own, named])).digest()
        except (pickle.PicklingError, AttributeError, TypeError):  # absorption made by a test
            return fit_once(fitter, spectrum, **named)
        if key not in made:
            with recorded_warnings() as told:
                found = fit_once(fitter, spectrum, **named)
            made[key] = (found, list(told), told.doubts)
            if len(made) > _FITS_KEPT:
                made.popitem(last=False)
        made.move_to_end(key)
        found, notes, doubts = made[key]
        for note in notes:
            category = DoubtWarning if note in doubts else SiftemWarning
            warnings.warn(note, category, stacklevel=2)
        return found

    return fit


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of this process write no pictures: they take longer than all the rest of a small run."""
    monkeypatch.setattr("siftem.report.folder.figure_jobs", lambda result, kind: {})


@pytest.fixture(scope="session")
def map_71gpa() -> Path:
    """The real 71 GPa map, from SIFTEM_DATA, the user's data folder or ../shared/data."""
    from siftem.datasets import FILE_NAME, example_path

    found = example_path()
    if found is None and (SHARED_DATA / FILE_NAME).is_file():
        found = SHARED_DATA / FILE_NAME
    if found is None:
        pytest.skip("the 71 GPa map is not on this machine: run 'siftem example 71gpa' first")
    return found


@pytest.fixture(scope="session")
def vendor_file() -> Callable[[str], Path]:
    """Find a small vendor file by name in SIFTEM_DATA or ../shared/data."""
    folders = [SHARED_DATA]
    if os.environ.get("SIFTEM_DATA"):
        folders.insert(0, Path(os.environ["SIFTEM_DATA"]))

    def find(name: str) -> Path:
        for folder in folders:
            if (folder / name).is_file():
                return folder / name
        pytest.skip(f"{name} is not on this machine: put it into the folder SIFTEM_DATA names")

    return find
