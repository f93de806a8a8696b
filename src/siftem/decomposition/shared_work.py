"""Work that threads share out among themselves, the caller being one of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def helpers(n_jobs: int) -> Iterator[ThreadPoolExecutor | None]:
    """Threads beside the caller, for several rounds of `share_out`; None where he is alone."""
    if n_jobs == 1:
        yield None
        return
    with ThreadPoolExecutor(n_jobs - 1) as pool:
        yield pool


def share_out(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    n_jobs: int,
    pool: ThreadPoolExecutor | None = None,
) -> list[Result]:
    """Return ``work`` of each item, in their order.

    Each thread takes the next item when it is done with one. The caller works too: short work
    is not held up by waking threads for every item.

    Parameters
    ----------
    work : callable
        Should give up Python's lock for most of its time.
    items : sequence
    n_jobs : int
        Threads, the caller included.
    pool : ThreadPoolExecutor, optional
        Of `helpers`; without one, threads are made for this call.
    """
    if n_jobs == 1 or len(items) < 2:
        return [work(item) for item in items]
    results: dict[int, Result] = {}
    following = itertools.count()
    stopped = False

    def take_turns() -> None:
        while not stopped and (at := next(following)) < len(items):
            results[at] = work(items[at])

    def run(pool: ThreadPoolExecutor) -> None:
        nonlocal stopped
        futures = [pool.submit(take_turns) for _ in range(min(n_jobs, len(items)) - 1)]
        try:
            take_turns()
        finally:
            # Done, or an error or an interrupt in this thread: the others stop after their item.
            stopped = True
            for future in futures:
                future.cancel() or future.exception()
        for future in futures:
            if not future.cancelled():
                future.result()

    if pool is not None:
        run(pool)
    else:
        with helpers(n_jobs) as own:
            assert own is not None
            run(own)
    return [results[at] for at in range(len(items))]
