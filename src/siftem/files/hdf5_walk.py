"""Visit all that HDF5 files say of their data, in a process that can be ended from outside.

Run as a script, which imports nothing of siftem: says a word when it is ready, then reads a path
and seconds of processor time (JSON) from each line of standard input and answers with a line, empty
or with what is wrong. In a damaged file the HDF5 library may loop for ever or crash; then there is
no answer.
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import sys
from typing import Any

#: No attribute is longer (bytes); shorter data sets are read, for what they hold may be damaged.
_LONGEST, _SHORT = 2**26, 2**20
#: Address space of this process, where the system can limit it.
_MOST_MEMORY = 2**32


def walk(path: str) -> str:
    """Visit each object of a file once.

    Parameters
    ----------
    path : str

    Returns
    -------
    str
        What no reader should try; empty when nothing is wrong, or nothing but what a data set
        holds. Where the tree is broken a reader that asks by name may loop though a list of the
        names ends with an error.
    """
    import h5py

    try:
        content = h5py.File(path, "r", locking=False)
    except Exception:  # in any process h5py says so, too
        return ""
    with content:
        try:
            return _visit(content)
        except Exception as error:
            return f"what it lists cannot be read ({error})"


def _visit(content: Any) -> str:
    import h5py

    seen: set[int] = set()
    waiting = [content]
    while waiting:
        item = waiting.pop()
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:
            continue
        seen.add(address)
        wrong = _attributes(item)
        if wrong:
            return wrong
        if isinstance(item, h5py.Group):
            waiting += [item[key] for key in item if _is_inside(item, key)]
        elif isinstance(item, h5py.Dataset):
            _data(item)
    return ""


def _is_inside(group: Any, key: str) -> bool:
    import h5py

    return isinstance(group.get(key, getlink=True), h5py.HardLink)


def _attributes(item: Any) -> str:
    for name in item.attrs:
        stored = item.attrs.get_id(name)
        with contextlib.suppress(TypeError):  # of a kind that NumPy lacks: sound, and not read
            if math.prod(stored.shape or ()) * stored.dtype.itemsize > _LONGEST:
                return f"its attribute {name!r} claims {stored.shape} values"
            item.attrs[name]
    return ""


def _data(item: Any) -> None:
    if item.is_virtual or item.external or item.shape is None:
        return
    item.id.get_storage_size()
    if item.chunks is not None:
        item.id.get_num_chunks()
    with contextlib.suppress(Exception):  # a filter or type that h5py lacks, or a broken chunk
        if math.prod(item.shape) * item.dtype.itemsize <= _SHORT:
            item[()]


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or hard > _MOST_MEMORY:
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, hard))


if __name__ == "__main__":
    import h5py  # noqa: F401

    _limit_memory()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        path, seconds = json.loads(line)
        if hasattr(signal, "setitimer"):  # its signal ends this process
            signal.setitimer(signal.ITIMER_PROF, seconds)
        print(json.dumps(walk(path)), flush=True)
