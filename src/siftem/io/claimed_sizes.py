"""Readers of plain binary files: what their header claims, against what the file holds."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from siftem.errors import ReadError

#: So many bytes are let through: the damage is met, and told, when they are read.
_BELIEVED_BYTES = 2**31
_NAME = "memmap_distributed"
#: Two threads that open files must not put back each other's replacement.
_ONE_AT_A_TIME = threading.RLock()


@contextlib.contextmanager
def claims_checked(file_reader: Callable[..., Any], path: str) -> Iterator[None]:
    """Let a reader of RosettaSciIO map no more of a file into memory than there is.

    Dask draws up a list of blocks for whatever a header claims, which takes minutes or all
    memory for an absurd one, long before the file is found to be too short.

    Parameters
    ----------
    file_reader : callable
        The ``memmap_distributed`` of its module, or of the module ``file`` in it, is replaced
        while the block runs.
    path : str
        For the message.
    """
    module = sys.modules.get(file_reader.__module__)
    with _ONE_AT_A_TIME, contextlib.ExitStack() as stack:
        for place in (module, getattr(module, "file", None)):
            original = getattr(place, _NAME, None)
            if callable(original):
                setattr(place, _NAME, _checked(original, path))
                stack.callback(setattr, place, _NAME, original)
        yield


def _checked(original: Callable[..., Any], path: str) -> Callable[..., Any]:
    def memmap(filename: Any, dtype: Any, *rest: Any, **options: Any) -> Any:
        shape = options.get("shape")
        if shape is not None:
            sizes = [int(n) for n in (shape if isinstance(shape, tuple) else (shape,))]
            claimed = math.prod(sizes) * np.dtype(dtype).itemsize
            stored = Path(filename).stat().st_size
            if claimed > max(_BELIEVED_BYTES, 2 * stored):
                raise ReadError(
                    f"cannot read {path}: its header claims {' x '.join(map(str, sizes))} values "
                    f"where {stored / 1e6:.3g} MB are stored, so it is damaged"
                )
        return original(filename, dtype, *rest, **options)

    return memmap
