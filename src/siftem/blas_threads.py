"""Linear algebra on one thread: sums in the same order on every machine, and no waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

# Both bring a BLAS of their own, which has to be there before it can be limited.
import numpy as np  # noqa: F401
import scipy.linalg  # noqa: F401
from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
#: Work that goes on within the limit, in all threads, and what each library had before.
_at_work = 0
_before: list[int] = []


@cache
def _libraries() -> list[Any]:
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _set(library: Any, number: int) -> None:
    # Some versions of threadpoolctl let only that thread change a number that changed it last.
    getattr(library, "_real_set_num_threads", library.set_num_threads)(number)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let BLAS run on one thread within a block, or within a function that this decorates.

    BLAS shares out a sum by its number of threads, and so rounds it differently for each. The
    number belongs to the process: threads that each set and put back their own limit could leave
    it at any value, so that it is set by the first of them and put back by the last. The
    matrices are small here: threads would wait for each other longer than they work.
    """
    global _at_work, _before
    with _lock:
        if _at_work == 0:
            _before = [library.get_num_threads() for library in _libraries()]
            for library in _libraries():
                _set(library, 1)
        _at_work += 1
    try:
        yield
    finally:
        with _lock:
            _at_work -= 1
            if _at_work == 0:
                for library, number in zip(_libraries(), _before, strict=True):
                    _set(library, number)
