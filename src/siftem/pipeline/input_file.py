"""The map of a recipe, read or simulated by a copy of this process while libraries are imported."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from siftem.datasets import example_path
from siftem.errors import ReadError
from siftem.io.hyperspy_bridge import load
from siftem.pipeline.early_reader import COUNTS, EarlyReader, simulation
from siftem.pipeline.recipe import DemoInput, Recipe
from siftem.pipeline.side_processes import LARGEST, SideProcesses
from siftem.simulate.phantom import Phantom, simulate_demo
from siftem.spectrum_image import SpectrumImage


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


def reading_ahead(
    recipe: Recipe, n_jobs: int, early: EarlyReader[SpectrumImage | Phantom] | None = None
) -> AbstractContextManager[SideProcesses[SpectrumImage | Phantom]]:
    """Begin to read the file of a recipe, or to simulate its map.

    Importing the libraries that read takes as long as reading, and as importing all others.

    Parameters
    ----------
    recipe : Recipe
    n_jobs : int
        Processes, this one among them.
    early : EarlyReader, optional
        Which is asked to do it, if it can, and let go otherwise.

    Returns
    -------
    SideProcesses
        With the job `COUNTS`; without any where nothing small enough is there to be read.
    """
    job: Callable[[], SpectrumImage | Phantom] | None = None
    demo = recipe.input.demo
    try:
        if demo is not None:
            job = simulation(
                demo.shape,
                channels=demo.channels,
                dose=demo.dose,
                random_state=demo.random_state,
            )
        elif 0 < input_file(recipe).stat().st_size <= LARGEST:
            job = partial(load, input_file(recipe), signal=recipe.input.signal)
    except (OSError, ReadError):  # told when its turn comes
        pass
    if early is not None:
        if job is not None and early.ask(job):
            return nullcontext(early)
        early.stop()
    return SideProcesses({} if job is None else {COUNTS: job}, n_jobs)
