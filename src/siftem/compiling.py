"""How kernels are compiled: most are loops over arrays that are handed in, and no more than that.

What numba adds to make arrays and to be called from C takes a fifth of the time that compiling
takes, and a user waits for it after the installation.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit


def kernel(*, makes_arrays: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function that Python calls, and keep it on disk.

    Parameters
    ----------
    makes_arrays : bool
        Whether it makes or returns arrays. That takes longer to compile. But arrays made in a
        kernel overlap with nothing, as the compiler knows, so that the hottest loops over them
        run a quarter faster.
    **options
        Of `numba.njit`.
    """
    return njit(cache=True, nogil=True, no_cfunc_wrapper=True, _nrt=makes_arrays, **options)


def inner_kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function that kernels alone call, with each of them.

    Python must not call it, nor a kernel's ``py_func`` that does: that ends the process. What is
    tested uncompiled takes `kernel` with ``inline="always"``.
    """
    return njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False, **options)


def was_compiled(compiled: Any) -> bool:
    """Whether a version of a kernel that Python calls is on the disk, for whatever types."""
    name = compiled.py_func.__name__
    return any(Path(compiled.stats.cache_path).glob(f"*.{name}-*.nbi"))
