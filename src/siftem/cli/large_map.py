"""The options of ``siftem run`` for maps that are larger than memory."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from siftem.pipeline.recipe import Recipe
    from siftem.progress import Progress
    from siftem.spectrum_image import SpectrumImage


@contextlib.contextmanager
def map_on_disk(
    recipe: Recipe,
    *,
    memory: str | None,
    scheduler: str | None,
    beside: Path,
    checkpoints: Path | None,
    console: Console,
    progress: Progress,
) -> Iterator[SpectrumImage | None]:
    """Open the map of a recipe on disk, if a budget or a scheduler is given.

    A file in another format is converted first, to a file that is removed afterwards.

    Parameters
    ----------
    recipe : Recipe
    memory, scheduler : str, optional
    beside : Path
        Folder of the results; intermediate files go beside it.
    checkpoints : Path, optional
        Folder that is kept: intermediate files go there instead, to go on from after a kill.
    console : Console
        Told where the dashboard of the cluster is.
    progress : Progress

    Yields
    ------
    SpectrumImage or None
        None when the map is to be loaded whole.
    """
    if (memory is None and scheduler is None) or recipe.input.demo is not None:
        yield None
        return
    from siftem.cluster.open_map import open_map
    from siftem.io.atomic import refusals_told
    from siftem.io.convert import convert
    from siftem.io.sparse_file import is_sparse_file
    from siftem.pipeline.steps.load import input_file

    path = Path(input_file(recipe))
    parent = beside.absolute().parent
    with contextlib.ExitStack() as stack:
        with refusals_told(f"in {checkpoints or parent}"):
            if checkpoints is not None:
                scratch = str(checkpoints.absolute() / "blocks")
                Path(scratch).mkdir(parents=True, exist_ok=True)
            else:
                parent.mkdir(parents=True, exist_ok=True)
                made = tempfile.TemporaryDirectory(prefix=f".{beside.name}-", dir=parent)
                scratch = stack.enter_context(made)
        if not is_sparse_file(path):
            path = convert(
                path,
                Path(scratch) / f"{path.stem}.sift",
                signal=recipe.input.signal,
                memory=memory,
                progress=progress,
            )
        image = stack.enter_context(
            open_map(
                path,
                memory=memory,
                scheduler="threads" if scheduler is None else scheduler,
                scratch=scratch,
            )
        )
        client = image.counts.work.client
        if client is not None:
            console.print(f"dashboard: {client.dashboard_link}", markup=False)
        yield image
