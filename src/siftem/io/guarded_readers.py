"""Readers kept from what a file may make them do: claim all memory, loop, or run what it holds.

Those written in Python are ended when they loop for ever or fill the memory. Of Zarr stores (.zspy)
the notes are held against the chunks that are there.
"""

from __future__ import annotations

import bz2
import contextlib
import ctypes
import json
import lzma
import math
import os
import re
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from siftem.errors import ReadError
from siftem.files.file_headers import is_bloated
from siftem.progress import Progress, silent

#: Keys under which HyperSpy finds objects to make, by their beginning.
_OBJECTS = ("_sig_", "_hspy_AxesManager_", "_hspy_Axis_")
#: Parts of a signal that siftem has no use for; functions of models are stored as pickles.
_UNUSED = ("models", "learning_results")

#: So many bytes are let through: the damage is met, and told, when they are read.
_BELIEVED_BYTES = 2**31
_NAME = "memmap_distributed"
#: Two threads that open files must not put back each other's replacement.
ONE_AT_A_TIME = threading.RLock()


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
    with ONE_AT_A_TIME, contextlib.ExitStack() as stack:
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


def plain_signals(signals: list[dict[str, Any]], path: str) -> list[dict[str, Any]]:
    """Take the objects out of what a reader found, before HyperSpy makes signals of it.

    HyperSpy lets SymPy evaluate the formula of an axis, which may be any Python expression, and
    makes signals, axes and markers of what it finds in the metadata.

    Parameters
    ----------
    signals : list of dict
        As the readers of RosettaSciIO return them.
    path : str
        For the message.

    Returns
    -------
    list of dict

    Raises
    ------
    ReadError
        When an axis is given by a formula.
    """
    for signal in signals:
        axes = signal.get("axes") or []
        if any("expression" in axis for axis in axes if isinstance(axis, dict)):
            raise ReadError(
                f"cannot read {path}: one of its axes is a formula, which siftem doesn't evaluate: "
                "convert it to numbers in HyperSpy (convert_to_uniform_axis) and save it again"
            )
        for name in _UNUSED:
            signal.pop(name, None)
        for name in ("metadata", "original_metadata", "attributes"):
            if name in signal:
                signal[name] = _without_objects(signal[name])
        if isinstance(signal.get("metadata"), dict):
            signal["metadata"].pop("Markers", None)
    return signals


def _without_objects(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_objects(part)
            for key, part in value.items()
            if not str(key).startswith(_OBJECTS)
        }
    if isinstance(value, (list, tuple)) and any(isinstance(part, (dict, list)) for part in value):
        return type(value)(_without_objects(part) for part in value)
    return value


#: Processor time in seconds for a small file, and bytes for each further second: some readers take
#: a byte at a time.
_SECONDS, _BYTES_PER_SECOND = 10.0, 500_000
#: Growth that is always allowed, and bytes for each stored byte.
_GROWTH, _GROWTH_PER_BYTE = 2**30, 64
_LOOK_EVERY = 0.05
_AGAIN_AFTER = 1.0


class _Ended(BaseException):
    """Not an Exception: readers catch these and go on."""


@contextlib.contextmanager
def watched(
    path: Path,
    n_stored_bytes: int,
    *,
    more: float = 0.0,
    progress: Progress = silent,
    reached: Callable[[], float] = lambda: 0.0,
) -> Iterator[None]:
    """Give a block of Python code a limit of processor time and of memory, and tell of it.

    Parameters
    ----------
    path : Path
        For the message.
    n_stored_bytes : int
        Of the file.
    more : float
        Further seconds.
    progress : Progress
        Called from another thread while the block runs; what it raises ends the block.
    reached : callable
        Gives the fraction of the file that is read, as far as that is known.

    Raises
    ------
    ReadError
        When the block takes far more of either than a file of this size can need.
    """
    seconds = _SECONDS + more + n_stored_bytes / _BYTES_PER_SECOND
    growth = max(_GROWTH, _GROWTH_PER_BYTE * n_stored_bytes)
    thread, over, lock = threading.get_ident(), threading.Event(), threading.Lock()
    reasons: list[str | Exception] = []

    def tell() -> None:
        progress("opening the file", reached())

    watcher = threading.Thread(
        target=_watch, args=(thread, seconds, growth, over, lock, reasons, tell), daemon=True
    )
    watcher.start()
    try:
        try:
            yield
        finally:
            with lock:
                over.set()
                if reasons:  # what has not been raised yet must not be raised later
                    _raise_in(thread, None)
    except _Ended:
        why = reasons[0]
        if isinstance(why, Exception):
            raise why from None
        raise ReadError(f"cannot read {path}: its reader {why}, so it is damaged") from None


def _watch(
    thread: int,
    seconds: float,
    growth: int,
    over: threading.Event,
    lock: threading.Lock,
    reasons: list[str | Exception],
    tell: Callable[[], None],
) -> None:
    begun, before, pause = time.process_time(), _resident(), _LOOK_EVERY
    reason: str | Exception
    while not over.wait(pause):
        if time.process_time() - begun > seconds:
            reason = f"has not come back after {seconds:.0f} s"
        elif _resident() - before > growth:
            reason = f"takes more than {growth / 1e9:.2g} GB"
        else:
            try:
                tell()
                continue
            except Exception as stopped:
                reason = stopped
        with lock:
            if not over.is_set():
                reasons.append(reason)
                _raise_in(thread, _Ended)
        pause = _AGAIN_AFTER


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    exception = None if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), exception)


def _resident() -> int:
    """Bytes of this process in memory; 0 where the system doesn't say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


#: Where Zarr says how its chunks are packed; longer ones are no such files.
_NOTES, _LONGEST_NOTE = (".zarray", ".zmetadata", "zarr.json"), 2**26
#: Chunks are read whole, and all of HyperSpy's metadata: so many bytes are always believed.
_BELIEVED_CHUNK, _BELIEVED_NOTE = 2**29, 2**26
#: Codecs that don't say how long their data become.
_STREAMS: dict[str, Callable[[], Any]] = {
    "zlib": zlib.decompressobj,
    "gzip": lambda: zlib.decompressobj(31),
    "bz2": bz2.BZ2Decompressor,
    "lzma": lzma.LZMADecompressor,
}


class _Store(NamedTuple):
    """Files of a store by name with their sizes, and how to read the first bytes of one."""

    sizes: dict[str, int]
    head: Callable[[str, int], bytes]


def refuse_bad_store(path: Path) -> None:
    """Refuse Zarr stores that lack chunks, claim too much, or whose chunks run code as pickles.

    Zarr reads a chunk that is not there as zeros.

    Parameters
    ----------
    path : Path
        A folder, or a zip file.

    Raises
    ------
    ReadError
    """
    try:
        if path.is_dir():
            _check(path, _folder(path))
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                _check(path, _packed(path, packed))
        elif path.is_file():
            raise ReadError(
                f"cannot read {path}: it is damaged or incomplete, its ZIP archive has no end or "
                "no beginning"
            )
    except ReadError:
        raise
    except Exception as error:  # zipfile and zlib raise several kinds on damage
        raise ReadError(
            f"cannot read {path}: it is damaged or incomplete ({type(error).__name__})"
        ) from error


def _folder(path: Path) -> _Store:
    files = {p.relative_to(path).as_posix(): p for p in path.rglob("*")}

    def head(name: str, most: int) -> bytes:
        with files[name].open("rb") as stream:
            return stream.read(min(most, files[name].stat().st_size))

    for name, file in files.items():
        if not (file.is_file() or file.is_dir()):
            raise ReadError(f"cannot read {path}: its {name} is damaged")
    return _Store({n: p.stat().st_size for n, p in files.items() if p.is_file()}, head)


def _packed(path: Path, packed: zipfile.ZipFile) -> _Store:
    for item in packed.infolist():
        if is_bloated(item.file_size, item.compress_size, _BELIEVED_NOTE):
            raise ReadError(
                f"cannot read {path}: its {item.filename} claims {item.file_size / 1e6:.3g} MB, "
                "so it is damaged"
            )

    def head(name: str, most: int) -> bytes:
        with packed.open(name) as stream:
            return stream.read(most)

    return _Store({item.filename: item.file_size for item in packed.infolist()}, head)


def _check(path: Path, store: _Store) -> None:
    chunks = _chunks_by_array(store)
    for name in sorted(store.sizes):
        folder, _, last = name.rpartition("/")
        if last not in _NOTES:
            continue
        if store.sizes[name] > _LONGEST_NOTE:
            raise ReadError(f"cannot read {path}: its {name} is damaged")
        try:
            note = json.loads(store.head(name, _LONGEST_NOTE))
        except (ValueError, RecursionError):
            raise ReadError(f"cannot read {path}: its {name} is damaged") from None
        if _is_pickled(note):
            raise ReadError(
                f"cannot read {path}: {name} says that its data are pickles, which can run any "
                "code: siftem doesn't read them"
            )
        try:
            for array, claims in _arrays(folder, last, note):
                _check_array(path, store, array, claims, chunks.get(array, []))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise ReadError(f"cannot read {path}: its {name} is damaged") from None


def _arrays(folder: str, kind: str, note: Any) -> Iterator[tuple[str, Any]]:
    """Arrays that a note tells of: one, or with the consolidated note all of them."""
    if kind == ".zarray":
        yield folder, note
    elif kind == ".zmetadata":
        for name, claims in note["metadata"].items():
            if name.endswith("/.zarray"):
                yield name.removesuffix("/.zarray"), claims


def _chunks_by_array(store: _Store) -> dict[str, list[str]]:
    """Chunks are named 0.0.0 or 0/0/0 below the folder of their array."""
    arrays = [n.removesuffix("/.zarray") for n in store.sizes if n.endswith("/.zarray")]
    found: dict[str, list[str]] = {array: [] for array in arrays}
    for name in store.sizes:
        match = re.search(r"/\d+([./]\d+)*$", name)
        if match and name[: match.start()] in found:
            found[name[: match.start()]].append(name)
    return found


def _check_array(path: Path, store: _Store, name: str, note: Any, chunks: list[str]) -> None:
    shape, sides = ([int(n) for n in note[key]] for key in ("shape", "chunks"))
    if len(shape) != len(sides) or min(shape, default=0) < 0 or min(sides, default=1) < 1:
        raise ValueError(name)
    wanted = math.prod(-(-n // side) for n, side in zip(shape, sides, strict=True))
    if len(chunks) < wanted:
        raise ReadError(
            f"cannot read {path}: {wanted - len(chunks)} of {wanted} chunks of its {name!r} are "
            "missing and would be read as zeros: copy it again, or save it again with all chunks "
            "(write_empty_chunks=True)"
        )
    stored = sum(store.sizes[chunk] for chunk in chunks)
    size = np.dtype(note["dtype"]).itemsize if isinstance(note["dtype"], str) else 8
    chunk_bytes, claimed = size * math.prod(sides), size * math.prod(shape)
    lazy = name.startswith("Experiments/") and name.count("/") == 2 and name.endswith("/data")
    if is_bloated(chunk_bytes, stored, _BELIEVED_CHUNK) or (
        not lazy and is_bloated(claimed, stored, _BELIEVED_NOTE)
    ):
        raise ReadError(
            f"cannot read {path}: its {name!r} claims {' x '.join(map(str, shape))} values where "
            f"{stored / 1e6:.3g} MB are stored, so it is damaged"
        )
    packing = note.get("compressor") or {}
    filters = note.get("filters") or []
    if any(f["id"] in _STREAMS for f in filters):
        raise ReadError(f"cannot read {path}: its {name!r} is packed in a way that siftem refuses")
    if note["dtype"] == "|O":  # texts of any length
        chunk_bytes = _BELIEVED_NOTE
    for chunk in chunks:
        if _unpacked(store, chunk, str(packing.get("id")), chunk_bytes) > chunk_bytes:
            raise ReadError(
                f"cannot read {path}: its {chunk} becomes longer than a chunk is, so it is damaged"
            )


def _unpacked(store: _Store, chunk: str, codec: str, most: int) -> int:
    """Bytes that a chunk becomes, or more than ``most``; 0 where the codec is not known."""
    if codec in _STREAMS:
        unpacker = _STREAMS[codec]()
        try:
            return len(unpacker.decompress(store.head(chunk, store.sizes[chunk]), most + 1))
        except (OSError, zlib.error, lzma.LZMAError, EOFError):
            return 0  # told when it is read
    head = store.head(chunk, 18)
    if codec == "blosc":
        return int.from_bytes(head[4:8], "little")
    if codec == "lz4":
        return int.from_bytes(head[:4], "little")
    if codec == "zstd" and len(head) == 18:
        return _of_zstd(head)
    return 0


def _of_zstd(head: bytes) -> int:
    """Content size of a frame: RFC 8878, 3.1.1.1."""
    kind, single = head[4] >> 6, head[4] >> 5 & 1
    start = 6 - single + (0, 1, 2, 4)[head[4] & 3]
    length = (single, 2, 4, 8)[kind]
    return int.from_bytes(head[start : start + length], "little") + (256 if kind == 1 else 0)


def _is_pickled(value: Any) -> bool:
    if isinstance(value, dict):
        named = str(value.get("id", "")), str(value.get("name", ""))
        return any("pickle" in name.lower() for name in named) or any(
            _is_pickled(part) for part in value.values()
        )
    return isinstance(value, list) and any(_is_pickled(part) for part in value)
