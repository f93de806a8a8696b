"""Opening a sparse map file without reading it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from siftem import processors
from siftem.cluster.addresses import checked_address
from siftem.cluster.executors import DaskBlocks
from siftem.errors import InputError
from siftem.io.atomic import refusals_told
from siftem.io.sparse_file import open_sparse_file, spectrum_image
from siftem.large.blocked_counts import BlockedCounts
from siftem.large.memory_budget import give_back_freed_arrays, parse_memory, workers_within
from siftem.spectrum_image import SpectrumImage

#: How long to wait for a scheduler.
ANSWER_WITHIN = "20s"


@contextlib.contextmanager
def open_map(
    path: str | os.PathLike[str],
    *,
    memory: str | int | None = None,
    scheduler: Any = "threads",
    n_workers: int | None = None,
    scratch: str | os.PathLike[str] | None = None,
) -> Iterator[SpectrumImage]:
    """Open a sparse map file as a spectrum image whose counts stay on disk.

    ``siftem.decompose``, ``integrate``, ``subtract`` and the maps of a spectrum image work
    on it block by block and give what they give in memory. Use it in a ``with`` statement::

        with siftem.open_map("big.sift", memory="2GB") as si:
            factors = siftem.decompose(si, n_components=3)

    Parameters
    ----------
    path : str or path-like
        Made by ``siftem convert`` or `siftem.convert`.
    memory : str or int, optional
        Budget of this process, such as "2GB": sets how many blocks are worked on at a time. One
        that the images of a map of this size exceed gives a warning.
    scheduler : {"threads", "processes", "synchronous"}, str or dask.distributed.Client
        Who does the work: threads or processes of this machine, a cluster by the address of
        its scheduler ("tcp://..."), or by a client. The result does not depend on it.
    n_workers : int, optional
        Threads or processes; by default one for each core.
    scratch : str or path-like, optional
        Folder for intermediate files, which every worker must reach. By default a folder
        beside the file, removed at the end. A folder that is given is kept: what a killed
        run has left in it is used by the next one.

    Yields
    ------
    SpectrumImage
        Its ``counts`` are `BlockedCounts`.

    Raises
    ------
    ReadError
        When the file is missing or damaged.
    InputError
        When the budget is too small, or there is no such scheduler.

    Examples
    --------
    >>> path = siftem.convert("map.hspy", "map.sift")
    >>> with siftem.open_map(path, memory="1GB") as si:
    ...     spectrum = siftem.integrate(si, si.total_map() > 0)
    >>> spectrum.n_pixels
    1024
    """
    give_back_freed_arrays()
    header, source, survey = open_sparse_file(path)
    cores = n_workers or processors.available()
    n_pixels = source.shape[0]
    cores = workers_within(None if memory is None else parse_memory(memory), cores, n_pixels)
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(_work(scheduler, cores, stack))
        if scratch is None:
            with refusals_told(f"beside {path}, give scratch=FOLDER where there is room"):
                made = tempfile.mkdtemp(prefix=f".{source.path.stem}-", dir=source.path.parent)
            stack.callback(shutil.rmtree, made, ignore_errors=True)
            folder = Path(made)
        else:
            folder = Path(scratch).absolute()
            with refusals_told(f"in {folder}"):
                folder.mkdir(parents=True, exist_ok=True)
        yield spectrum_image(header, BlockedCounts(source, work, folder), survey)


def _work(scheduler: Any, cores: int, stack: contextlib.ExitStack) -> DaskBlocks:
    if not isinstance(scheduler, str) or scheduler.isidentifier():
        return DaskBlocks(scheduler, n_workers=cores)
    from distributed import Client

    scheduler = checked_address(scheduler)
    try:
        client = stack.enter_context(
            # As the default, one that found no scheduler would block all later use of Dask.
            Client(scheduler, timeout=ANSWER_WITHIN, set_as_default=False)
        )
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {scheduler}: start one with 'dask scheduler', or give "
            "the address that it prints"
        ) from error
    return DaskBlocks(client)
