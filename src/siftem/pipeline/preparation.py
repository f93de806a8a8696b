"""From a recipe to a spectrum image that is ready to be decomposed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from siftem.counting.door import as_counted
from siftem.counting.outliers import without_outliers
from siftem.eels.noise import counted
from siftem.errors import InputError, ReadError
from siftem.io.example import example_path
from siftem.io.hyperspy_bridge import load
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.results import Loaded, Prepared
from siftem.progress import Progress
from siftem.simulate.phantom import simulate_demo
from siftem.spectrum_image import ZERO_PEAK_END


def read_input(recipe: Recipe, *, progress: Progress) -> Loaded:
    """Read or simulate the counts.

    Raises
    ------
    SiftemError
        When the file can't be read.
    """
    if recipe.input.demo is None:
        si = load(input_file(recipe), signal=recipe.input.signal, progress=progress)
        return Loaded(si, None)
    demo = recipe.input.demo
    progress("simulate", 0.0)
    phantom = simulate_demo(demo.shape, channels=demo.channels, dose=demo.dose, seed=demo.seed)
    progress("simulate", 1.0)
    return Loaded(phantom.spectrum_image, phantom)


def prepare(recipe: Recipe, loaded: Loaded) -> Prepared:
    """Apply what the recipe says of the acquisition, and crop the energy range.

    Energy-loss data that are no counts are brought to equivalent counts, with a note.

    Raises
    ------
    InputError
        When nothing is left to work on.
    """
    si = loaded.spectrum_image
    given = recipe.acquisition.model_dump(exclude_none=True)
    kind = given.pop("signal_type", None)
    if kind is not None:
        si = replace(si, signal_type=kind)
        given["bulk"] = kind == "EDS_SEM"
    if given:
        si = replace(si, acquisition=replace(si.acquisition, **given))
    low, high = recipe.energy_range
    unit = 1.0 if si.axis.unit == "keV" else 1e3
    if low == ZERO_PEAK_END:
        # Only detectors of X-rays have a zero peak; below 200 eV of energy loss lie edges.
        si = si.without_zero_peak()
        low = None
    si = si.cropped(None if low is None else low * unit, None if high is None else high * unit)
    if not si.counts.nnz:
        raise InputError(
            f"{si.title}: the map holds no counts between {si.axis.first:.3g} "
            f"and {si.axis.last:.4g} {si.axis.unit}: check the file, or choose another energy range"
        )
    si = without_outliers(as_counted(counted(si)))
    return Prepared(si, loaded.phantom)


def input_file(recipe: Recipe) -> Path:
    """Return the file that the recipe names, or the example if it has been fetched.

    Raises
    ------
    ReadError
        When the example has not been fetched.
    """
    if recipe.input.example is None:
        assert recipe.input.file is not None
        return Path(recipe.input.file)
    found = example_path()
    if found is None:
        raise ReadError(
            f"the example {recipe.input.example} is not on this machine: "
            f"run 'siftem example {recipe.input.example}' first"
        )
    return found
