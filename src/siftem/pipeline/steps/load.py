"""Read or simulate the counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from siftem.io.hyperspy_bridge import load
from siftem.io.vendor_files import checked_path, files_beside
from siftem.pipeline.file_contents import file_content
from siftem.pipeline.input_file import COUNTS, input_file, simulated
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.results import Loaded
from siftem.pipeline.steps.step import Circumstances, Step
from siftem.progress import Progress
from siftem.simulate.phantom import Phantom


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
    progress("simulate", 0.0)
    phantom = simulated(recipe.input.demo)
    progress("simulate", 1.0)
    return Loaded(phantom.spectrum_image, phantom)


def _owns(recipe: Recipe) -> dict[str, Any]:
    if recipe.input.demo is not None:
        return {"demo": recipe.input.demo.model_dump(mode="json")}
    path = checked_path(input_file(recipe))
    content: dict[str, Any] = {"file": file_content(path), "signal": recipe.input.signal}
    beside = files_beside(path)
    if beside:
        content["beside"] = [(p.name, file_content(p)) for p in beside]
    return content


def _run(recipe: Recipe, done: Mapping[str, Any], by: Circumstances) -> Loaded:
    if by.given is not None:
        return Loaded(by.given, None)
    if by.ahead is not None and (found := by.ahead.results()):
        counts = found[COUNTS]
        if isinstance(counts, Phantom):
            return Loaded(counts.spectrum_image, counts)
        return Loaded(counts, None)
    return read_input(recipe, progress=by.progress)


STEP: Step = Step("load", "the counts", (), _owns, _run)
