"""What a step of a run is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siftem.pipeline.recipe import Recipe
from siftem.pipeline.side_processes import SideProcesses
from siftem.progress import Progress, silent
from siftem.simulate.phantom import Phantom
from siftem.spectrum_image import SpectrumImage


@dataclass(frozen=True)
class Circumstances:
    """What a step works with that is in no recipe.

    Parameters
    ----------
    progress : Progress
        Told how far the step is.
    checkpoints : Path, optional
        Folder for what a killed step goes on from.
    given : SpectrumImage, optional
        Takes the place of the recipe's input.
    n_jobs : int
        Processes for independent parts; see `siftem.pipeline.side_processes`.
    ahead : SideProcesses, optional
        What reads the recipe's input; see `siftem.pipeline.input_file.reading_ahead`.
    """

    progress: Progress = silent
    checkpoints: Path | None = None
    given: SpectrumImage | None = None
    n_jobs: int = 1
    ahead: SideProcesses[SpectrumImage | Phantom] | None = None


@dataclass(frozen=True)
class Step:
    """One step of the road from a recipe to compositions.

    Parameters
    ----------
    name : str
    gives : str
        What comes of it, in words of the reader.
    parents : tuple of str
        Steps whose results it is made of, all before it.
    owns : callable
        Returns, as plain data, the fields of the recipe that matter to this step and to none before
        it: a key of the recipe belongs to the first step that reads it. Files count by content.
    run : callable
        Makes the result, of the recipe, the results of its parents by their names, and the
        `Circumstances`.
    instead : callable, optional
        Makes what stands in its place when it fails, of the recipe and its parents' results.
        Without one the run ends: there is nothing to write.
    needs : tuple of str
        Parents that may be empty, without which there is only what stands in its place. Why they
        are empty was told with them.
    kept : bool
        Whether it takes long enough for its result to be worth a file.
    """

    name: str
    gives: str
    parents: tuple[str, ...]
    owns: Callable[[Recipe], dict[str, Any]]
    run: Callable[[Recipe, Mapping[str, Any], Circumstances], Any]
    instead: Callable[[Recipe, Mapping[str, Any]], Any] | None = None
    needs: tuple[str, ...] = ()
    kept: bool = False


def plain(section: Any, *left_out: str) -> dict[str, Any]:
    """Return a section of a recipe as plain data, some of its keys left out."""
    return dict(section.model_dump(mode="json", exclude=set(left_out)))
