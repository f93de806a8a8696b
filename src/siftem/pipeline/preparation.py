"""From a recipe to a spectrum image that is ready to be decomposed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from siftem.errors import InputError, ReadError
from siftem.io.example import example_path
from siftem.io.hyperspy_bridge import load
from siftem.pipeline.recipe import Recipe
from siftem.progress import Progress
from siftem.simulate.phantom import Phantom, simulate_demo
from siftem.spectrum_image import SpectrumImage


@dataclass(frozen=True, eq=False)
class Prepared:
    """A spectrum image and, for a simulated one, its truth."""

    spectrum_image: SpectrumImage
    phantom: Phantom | None


def prepare(recipe: Recipe, *, progress: Progress) -> Prepared:
    """Read or simulate the counts, apply the overrides, crop the energy range.

    Raises
    ------
    SiftemError
        When the file can't be read or holds nothing to work on.
    """
    phantom = None
    if recipe.input.demo is not None:
        demo = recipe.input.demo
        progress("simulate", 0.0)
        phantom = simulate_demo(demo.shape, channels=demo.channels, dose=demo.dose, seed=demo.seed)
        si = phantom.spectrum_image
        progress("simulate", 1.0)
    else:
        si = load(_file(recipe), signal=recipe.input.signal, progress=progress)
    given = recipe.acquisition.model_dump(exclude_none=True)
    if given:
        si = replace(si, acquisition=replace(si.acquisition, **given))
    low, high = recipe.energy_range
    unit = 1.0 if si.axis.unit == "keV" else 1e3
    if si.signal_type.startswith("EDS") and low == 0.2:
        si = si.without_zero_peak()
        low = None
    si = si.cropped(None if low is None else low * unit, None if high is None else high * unit)
    if not si.counts.nnz:
        raise InputError(
            f"{si.title}: the map holds no counts between {si.axis.first:.3g} "
            f"and {si.axis.last:.4g} {si.axis.unit}: check the file, or choose another energy range"
        )
    return Prepared(si, phantom)


def _file(recipe: Recipe) -> str | Path:
    """The file that the recipe names, or the example if it has been fetched."""
    if recipe.input.example is None:
        assert recipe.input.file is not None
        return recipe.input.file
    found = example_path()
    if found is None:
        raise ReadError(
            f"the example {recipe.input.example} is not on this machine: "
            f"run 'siftem example {recipe.input.example}' first"
        )
    return found
