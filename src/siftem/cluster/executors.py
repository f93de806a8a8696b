"""Dask at work on blocks: threads, processes, or any cluster through its client."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from siftem.errors import InputError, SiftemError
from siftem.large.blocked_counts import FAN_IN, InTurn, Sums, add_in_order, added

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
