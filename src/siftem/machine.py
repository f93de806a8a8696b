"""What this process may use of the machine: processors, memory, and threads of linear algebra."""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from siftem.errors import InputError, SiftemWarning


def available() -> int:
    """Return the processors that the system gives this process, at most OMP_NUM_THREADS.

    That variable limits most numerical libraries, too; workers that share a machine are
    given their part of it in this way.
    """
    if hasattr(os, "sched_getaffinity"):
        n = len(os.sched_getaffinity(0))
    else:
        n = os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return max(min(n, int(limit)), 1) if limit.isdigit() else n


def is_alive(pid: int) -> bool:
    """Whether a process of this machine is there; True where one can't ask without harm."""
    if os.name != "posix":
        return True  # asking would end the process there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_ENDLESS = 1e18
#: What Python and the libraries take before any counts come, and what a block takes at work.
BASE_BYTES = 450 * 10**6
BLOCK_BYTES = 40 * 10**6
#: What a whole run of three phases holds of each pixel in memory: masks, and sums of each pixel
#: (benchmarks/large_run.py); the larger images are on disk.
PIXEL_BYTES = 20
#: Parameters of mallopt in glibc's malloc.h. Arrays beyond 4 MB go back at once: smaller sizes
#: would make a sweep from disk a fifth slower, for the system clears what it hands out.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGE_ARRAY, _FREE_AT_END = 4 * 10**6, 16 * 10**6


def parse_memory(text: str | int | float) -> int:
    """Turn "2GB", "500 MB", "1.5GiB" or a number of bytes into bytes.

    Parameters
    ----------
    text : str or number

    Returns
    -------
    int

    Raises
    ------
    InputError
        When it is none of these, or not positive.
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool) and 1 <= text < _ENDLESS:
        return int(text)
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([kmgt]?)(i?)b?\s*", str(text), re.IGNORECASE)
    if not found or not 0 < float(found[1]) < _ENDLESS:
        got = repr(text) if len(str(text)) < 40 else "a longer text"
        raise InputError(f"memory must be a size such as 2GB or 500MB, got {got}")
    unit = found[2].lower()
    factor = 1024 ** "kmgt".index(unit) * 1024 if found[3] and unit else _UNITS[unit]
    return int(float(found[1]) * factor)


def available_memory() -> int | None:
    """Bytes that the system, or the container, can still give; None where it doesn't say."""
    free = []
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        free.append(1024 * int(line.split()[1]))
    with contextlib.suppress(OSError, ValueError):  # the word "max" is no limit
        folder = Path("/sys/fs/cgroup")
        limit = int((folder / "memory.max").read_text())
        free.append(max(limit - int((folder / "memory.current").read_text()), 0))
    return min(free, default=None)


def workers_within(memory: int | None, wanted: int, n_pixels: int = 0) -> int:
    """How many blocks may be worked on at a time.

    Parameters
    ----------
    memory : int or None
        Bytes; None sets no limit.
    wanted : int
        Cores.
    n_pixels : int
        Of the map whose images stay in memory.

    Returns
    -------
    int
        At least one.

    Raises
    ------
    InputError
        When not even one block fits.

    Warns
    -----
    SiftemWarning
        When one block fits, but hardly the images of a map of that size.
    """
    if memory is None:
        return wanted
    least = BASE_BYTES + BLOCK_BYTES
    if memory < least:
        raise InputError(
            f"a memory budget of {memory / 1e6:.0f} MB is too small: Python and its libraries "
            f"alone take some {BASE_BYTES / 1e6:.0f} MB, give at least {least / 1e6:.0f} MB"
        )
    images = n_pixels * PIXEL_BYTES
    if memory < least + images:
        warnings.warn(
            f"a run on a map of {n_pixels:.3g} pixels will take more memory than the budget of "
            f"{memory / 1e9:.3g} GB: its images alone make {images / 1e9:.2g} GB; give "
            f"{math.ceil((least + images) / 1e8) / 10:.1f} GB",
            SiftemWarning,
            stacklevel=3,
        )
    return int(max(1, min(wanted, (memory - BASE_BYTES - images) // BLOCK_BYTES)))


def give_back_freed_arrays() -> bool:
    """Let the C library give arrays beyond 4 MB back to the system as soon as they are freed.

    The GNU C library keeps freed arrays of up to 32 MB for later use, for each thread by itself
    and in pieces that often don't fit: with blocks of many sizes that adds up to hundreds of
    megabytes. From here on threads share what is kept. The setting holds for the whole
    process; results don't depend on it.

    Returns
    -------
    bool
        Whether it is set; False with other C libraries, which are left alone.

    References
    ----------
    The manual page mallopt(3).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        import ctypes

        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    settings = (
        (_ARENA_MAX, 1),
        (_MMAP_THRESHOLD, _LARGE_ARRAY),
        (_TRIM_THRESHOLD, _FREE_AT_END),
    )
    done = [mallopt(parameter, value) == 1 for parameter, value in settings]
    return all(done)


_lock = threading.Lock()
#: Work that goes on within the limit, in all threads, and what each library had before.
_at_work = 0
_before: list[int] = []


@cache
def _libraries() -> list[Any]:
    # Both bring a BLAS of their own, which has to be there before it can be limited.
    import numpy as np  # noqa: F401
    import scipy.linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _set_threads(library: Any, number: int) -> None:
    # Some versions of threadpoolctl let only that thread change a number that changed it last.
    getattr(library, "_real_set_num_threads", library.set_num_threads)(number)


@contextlib.contextmanager
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
                _set_threads(library, 1)
        _at_work += 1
    try:
        yield
    finally:
        with _lock:
            _at_work -= 1
            if _at_work == 0:
                for library, number in zip(_libraries(), _before, strict=True):
                    _set_threads(library, number)
