"""A workflow whose recipe and slow results are kept on disk as the user goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from siftem.errors import SiftemError
from siftem.pipeline.parts import WarningRecord
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.workflow import Workflow


class KeptWorkflow(Workflow):
    """Tells of each change, and goes on when a checkpoint cannot be written.

    Parameters
    ----------
    recipe : Recipe
    checkpoints : Path
        Made when there is a result to keep.
    changed : callable
        Called after each change of the recipe.
    failed : callable
        Called with a sentence when a result cannot be kept.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        checkpoints: Path,
        changed: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        parent: Path = checkpoints.parent
        try:
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            refused = "" if os.access(parent, os.W_OK) else f"{parent} cannot be written"
        except OSError as error:
            refused = error.strerror or str(error)
        if refused:
            failed(f"Your work is not kept for later: {refused}.")
        super().__init__(recipe, checkpoints=None if refused else checkpoints)
        self._changed, self._failed = changed, failed

    def keep_in(self, folder: Path) -> None:
        """Keep results in another folder from now on."""
        self._checkpoints = folder

    def set_recipe(self, recipe: Recipe) -> tuple[str, ...]:
        """Replace the recipe, and tell of it."""
        steps = super().set_recipe(recipe)
        self._changed()
        return steps

    def _keep(self, step: str, key: str, result: Any, notes: WarningRecord) -> None:
        try:
            super()._keep(step, key, result, notes)
        except SiftemError as error:
            self._failed(f"The result is not kept for later: {error}.")
