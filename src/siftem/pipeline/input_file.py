"""The map of a recipe, read or simulated by a copy of this process while libraries are imported."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from siftem.datasets import example_path
from siftem.errors import ReadError
from siftem.io.hyperspy_bridge import load
from siftem.pipeline.recipe import DemoInput, Recipe
from siftem.pipeline.side_processes import SideProcesses
from siftem.simulate.phantom import Phantom, simulate_demo
from siftem.spectrum_image import SpectrumImage

#: The job of `reading_ahead`.
COUNTS = "counts"
#: Bytes of a file, or counts. What a copy has read goes through a pipe, and is there three times.
_LARGEST = 2**24


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


def simulated(demo: DemoInput) -> Phantom:
    """Simulate the model case as a recipe asks for it."""
    return simulate_demo(
        demo.shape, channels=demo.channels, dose=demo.dose, random_state=demo.random_state
    )


def reading_ahead(recipe: Recipe, n_jobs: int) -> SideProcesses[SpectrumImage | Phantom]:
    """Begin to read the file of a recipe, or to simulate its map.

    Importing the libraries that read takes as long as reading, and as importing all others.

    Parameters
    ----------
    recipe : Recipe
    n_jobs : int
        Processes, this one among them.

    Returns
    -------
    SideProcesses
        With the job `COUNTS`; without any where nothing small enough is there to be read.
    """
    jobs: dict[str, Callable[[], SpectrumImage | Phantom]] = {}
    demo = recipe.input.demo
    try:
        if demo is not None:
            if demo.dose * demo.shape[0] * demo.shape[1] <= _LARGEST:
                jobs[COUNTS] = partial(simulated, demo)
        elif 0 < input_file(recipe).stat().st_size <= _LARGEST:
            jobs[COUNTS] = partial(load, input_file(recipe), signal=recipe.input.signal)
    except (OSError, ReadError):  # told when its turn comes
        pass
    return SideProcesses(jobs, n_jobs)
