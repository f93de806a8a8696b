"""How many processors this process may use."""

from __future__ import annotations

import os


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
