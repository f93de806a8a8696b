"""Opening a sparse map file without reading it, and Dask at work on its blocks.

Threads, processes, or any cluster through its client.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from siftem import machine
from siftem.errors import InputError, SiftemError
from siftem.files.atomic import refusals_told
from siftem.large.batch_workers import checked_address
from siftem.large.rows_of_counts import FAN_IN, BlockedCounts, InTurn, Sums, add_in_order, added
from siftem.large.sparse_file import open_sparse_file, spectrum_image
from siftem.machine import give_back_freed_arrays, parse_memory, workers_within
from siftem.old_names import takes_old_names
from siftem.spectrum_image import SpectrumImage

#: Results of single blocks that may be under way to the caller at a time, for each worker.
_AHEAD = 4
#: Tasks for each worker, at least, that even out how long they take.
_TASKS_A_WORKER = 8


class DaskBlocks:
    """Work on blocks by one of Dask's schedulers.

    The additions are planned beforehand, eight neighbours at a time, so that the sums are
    the same whoever does them. With a cluster, partial sums stay on the workers; one sum of
    the size of the spectra comes back.

    Parameters
    ----------
    scheduler : {"threads", "processes", "synchronous"} or dask.distributed.Client
    n_workers : int
        Threads or processes; ignored with a client, whose cluster has its own.
    """

    def __init__(self, scheduler: Any = "threads", *, n_workers: int = 1) -> None:
        if isinstance(scheduler, str) and scheduler not in (
            "threads",
            "processes",
            "synchronous",
        ):
            raise InputError(
                f"scheduler must be 'threads', 'processes', 'synchronous' or a Dask client, "
                f"got {scheduler!r}"
            )
        if n_workers < 1:
            raise InputError(f"n_workers must be at least 1, got {n_workers}")
        self.client = None if isinstance(scheduler, str) else scheduler
        self.scheduler = scheduler
        self.n_workers = n_workers
        self._stack = contextlib.ExitStack()
        self._options: dict[str, Any] = {}
        if self.client is not None:
            self.n_workers = max(sum(self.client.nthreads().values()), 1)
        elif scheduler != "synchronous":
            self._options = {"pool": self._stack.enter_context(_pool(scheduler, n_workers))}

    def __enter__(self) -> DaskBlocks:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads or processes; a client stays open."""
        self._stack.close()

    def total(self, task: Callable[[Any], Sums], items: Sequence[Any]) -> Sums:
        """Add up what ``task`` returns for each item."""
        from dask import delayed

        # The task with its arrays is sent to each worker once, not once for each block.
        shared = delayed(task, pure=False, traverse=False)
        reach = _blocks_a_task(len(items), self.n_workers)
        groups = [items[start : start + reach] for start in range(0, len(items), reach)]
        leaves = (delayed(_folded, pure=False)(shared, group) for group in groups)
        plan = add_in_order(leaves, len(groups), lambda parts: delayed(added, pure=False)(parts))
        return tuple(self._computed([plan])[0])

    def each(self, task: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        """Yield what ``task`` returns for each item, in order."""
        from dask import delayed

        step = _AHEAD * self.n_workers
        for start in range(0, len(items), step):
            shared = delayed(task, pure=False, traverse=False)
            some = items[start : start + step]
            yield from self._computed([delayed(_applied, pure=False)(shared, i) for i in some])

    def _computed(self, plans: list[Any]) -> list[Any]:
        if self.client is None:
            import dask

            how = {"scheduler": self.scheduler, "optimize_graph": False, **self._options}
            return list(dask.compute(*plans, **how))
        from concurrent.futures import CancelledError

        from distributed import KilledWorker
        from distributed.comm import CommClosedError

        try:
            return list(self.client.gather(self.client.compute(plans, optimize_graph=False)))
        except (CancelledError, CommClosedError) as error:
            raise SiftemError(
                "the connection to Dask's scheduler was lost: start it and run the same command "
                "again, with checkpoints it goes on where it was"
            ) from error
        except KilledWorker as error:
            raise SiftemError(
                "one block of the map made several workers die, probably for want of memory: give "
                "each worker more memory, or fewer threads"
            ) from error


def _pool(scheduler: str, n_workers: int) -> Any:
    if scheduler == "threads":
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor(n_workers)
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    # Forking a process whose libraries run threads can deadlock.
    return ProcessPoolExecutor(n_workers, mp_context=multiprocessing.get_context("spawn"))


def _blocks_a_task(number: int, n_workers: int) -> int:
    """Blocks that one task takes: many blocks on few workers would keep the scheduler busy.

    A power of the fan-in, so that the order of the additions stays the same.
    """
    reach = 1
    while number >= FAN_IN * reach * _TASKS_A_WORKER * n_workers:
        reach *= FAN_IN
    return reach


def _folded(task: Callable[[Any], Sums], items: Sequence[Any]) -> Sums:
    return InTurn().total(task, items)


def _applied(task: Callable[[Any], Any], item: Any) -> Any:
    return task(item)


#: How long to wait for a scheduler.
ANSWER_WITHIN = "20s"


@takes_old_names(n_workers="n_jobs")
@contextlib.contextmanager
def open_map(
    path: str | os.PathLike[str],
    *,
    memory: str | int | None = None,
    scheduler: Any = "threads",
    n_jobs: int | None = None,
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
    n_jobs : int, optional
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
    cores = n_jobs or machine.available()
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
