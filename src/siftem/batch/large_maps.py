"""Maps of a batch that stay on disk while they are worked on."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from siftem import processors
from siftem.io.convert import convert
from siftem.large.open_map import open_map
from siftem.large.sparse_file import is_sparse_file
from siftem.pipeline.recipe import Recipe
from siftem.pipeline.steps.load import input_file
from siftem.progress import Progress
from siftem.spectrum_image import SpectrumImage


@contextlib.contextmanager
def kept_on_disk(
    recipe: Recipe, memory: str, scratch: Path, progress: Progress
) -> Iterator[SpectrumImage]:
    """Open the map of a recipe on disk; a file in another format is converted first.

    Parameters
    ----------
    recipe : Recipe
    memory : str
        Budget such as "2GB".
    scratch : Path
        Folder for intermediate files. It is removed when all went well, and kept after an
        error or a kill, to go on from.
    progress : Progress

    Yields
    ------
    SpectrumImage
        Its ``counts`` are blocks on disk.
    """
    path = Path(input_file(recipe))
    scratch.mkdir(parents=True, exist_ok=True)
    if not is_sparse_file(path):
        path = convert(
            path,
            scratch / "map.sift",
            signal=recipe.input.signal,
            memory=memory,
            progress=progress,
        )
    with open_map(path, memory=memory, n_workers=processors.available(), scratch=scratch) as image:
        yield image
    shutil.rmtree(scratch, ignore_errors=True)
