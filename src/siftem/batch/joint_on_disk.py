"""Maps of a joint decomposition that stay on disk: stacked into one file there."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from siftem import processors
from siftem.batch.stack_layout import StackLayout, widened
from siftem.cluster.open_map import open_map
from siftem.io.sparse_file import MapHeader
from siftem.io.sparse_writer import SparseFileWriter
from siftem.progress import Progress
from siftem.spectrum_image import SpectrumImage

#: Entries that are copied at a time.
_ENTRIES = 1_000_000


@contextlib.contextmanager
def stacked_on_disk(
    images: Mapping[str, SpectrumImage], memory: str, scratch: Path, progress: Progress
) -> Iterator[SpectrumImage]:
    """Stack maps as `siftem.batch.joint.stacked` does, without loading them.

    Parameters
    ----------
    images : mapping of str to SpectrumImage
        From `siftem.open_map`; their channels coincide.
    memory : str
        Budget such as "2GB".
    scratch : Path
        Folder for the stack and for what is worked out of it. It is removed when all went well,
        and kept after an error or a kill, to go on from.
    progress : Progress

    Yields
    ------
    SpectrumImage
        Its ``counts`` are blocks on disk.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    layout = StackLayout.of(images)
    first = next(iter(images.values()))
    header = replace(MapHeader.of(first), shape=layout.shape, axis=layout.axis, notes=())
    with SparseFileWriter(scratch / "stack.sift", header) as writer:
        for done, (name, si) in enumerate(images.items()):
            progress("stack", done / len(images))
            counts = si.counts.columns(layout.channels[name])
            ny, nx = si.shape
            lines = max(1, int(_ENTRIES * ny / max(si.counts.nnz, 1)))
            for y in range(0, ny, lines):
                stop = min(y + lines, ny)
                part = counts.reader.read(y * nx, stop * nx)
                writer.append(widened(part, nx, layout.shape[1]))
    progress("stack", 1.0)
    with open_map(
        scratch / "stack.sift", memory=memory, n_workers=processors.available(), scratch=scratch
    ) as stack:
        yield stack
    shutil.rmtree(scratch, ignore_errors=True)
