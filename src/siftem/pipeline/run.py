"""The road from counts to compositions, all steps at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from siftem.pipeline.recipe import Recipe
from siftem.pipeline.results import RunResult
from siftem.pipeline.workflow import Workflow
from siftem.progress import Progress, shows_progress, silent


@shows_progress
def run(
    recipe: Recipe | Mapping[str, Any] | str | Path, *, progress: Progress = silent
) -> RunResult:
    """Run a recipe: read, decompose, match, segment, integrate, subtract, unmix, quantify.

    `siftem.pipeline.workflow.Workflow` does the same step by step.

    Parameters
    ----------
    recipe : Recipe, mapping or path-like
        A recipe, its plain data, or its file.
    progress : Progress
        Called with the name of each step; raise from it to stop.

    Returns
    -------
    RunResult
        With all warnings; nothing is written to disk.

    Raises
    ------
    SiftemError
        In one sentence, when a step cannot be done.

    Examples
    --------
    >>> result = siftem.run("recipe.yaml")  # doctest: +SKIP
    >>> siftem.write_results(result, "out")  # doctest: +SKIP
    """
    return Workflow(recipe).result(progress=progress)
