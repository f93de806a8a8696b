"""What this process may use of the machine, and which others are there."""

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
