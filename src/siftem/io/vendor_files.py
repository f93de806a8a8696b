"""Opening any file that HyperSpy reads, lazily, quietly and as the file has it.

A file whose header or content cannot be trusted stops early, in one sentence; what HyperSpy and
RosettaSciIO log stays off the terminal.
"""

from __future__ import annotations

import contextlib
import glob
import importlib
import logging
import math
import os
import types
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from siftem.acquisition import plain_texts
from siftem.errors import Cancelled, InputError, ReadError, SiftemError
from siftem.files.file_headers import (
    BELIEVED_ENTRIES,
    ENTRIES_PER_BYTE,
    MOST_CHANNELS,
    is_absurd,
    is_hdf5,
    largest_dataset,
    refuse_bad_tiff,
    written_by_hyperspy,
)
from siftem.io.cube_blocks import PixelBlock
from siftem.io.formats import refuse_damaged, vendor_of
from siftem.io.guarded_readers import claims_checked, plain_signals, refuse_bad_store, watched
from siftem.io.signal_metadata import Layout, text_in
from siftem.progress import Progress, silent


@contextlib.contextmanager
def quiet() -> Iterator[list[str]]:
    """Collect the messages of HyperSpy and RosettaSciIO instead of printing them.

    Yields
    ------
    list of str
        Filled while the block runs.
    """
    complaints: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            complaints.append(record.getMessage())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # These set up their loggers when they are imported, so that comes first.
        importlib.import_module("rsciio")
        importlib.import_module("hyperspy.api")

        ear = Ear(level=logging.WARNING)
        loggers = [logging.getLogger(name) for name in ("hyperspy", "rsciio", "exspy")]
        before = [(logger.handlers[:], logger.propagate) for logger in loggers]
        for logger in loggers:
            logger.handlers[:], logger.propagate = [ear], False
        try:
            yield complaints
        finally:
            for logger, (handlers, propagate) in zip(loggers, before, strict=True):
                logger.handlers[:], logger.propagate = handlers, propagate


#: Keeps readers that let dask choose their blocks well below a block of counts.
_DASK_CHUNK = "32MiB"
#: Seconds that a slow machine takes to compile a reader.
_COMPILE_SECONDS = 60.0
#: Formats whose counts are in other files: of the same name, or in folders below (JEOL).
_INDEX_FILES = {".rpl", ".emi", ".spd", ".hdr"}
_JEOL_FILES = {".pts", ".img", ".map", ".eds"}
#: A data set without chunks has to be read at once; beyond this it is refused.
_LARGEST_UNCHUNKED = 2**30


@dataclass(frozen=True)
class StoredSignal:
    """One signal of a file, not yet read.

    Parameters
    ----------
    number : int
        Place in the file, from 0: what ``signal=`` and ``--signal`` choose by.
    signal : hyperspy.signals.BaseSignal
        Lazy where the format allows it, with the metadata that the file states
        (eXSpy's defaults are not filled in).
    signal_type : str
        As the file has it: "EDS_TEM", "EELS", "" ...
    reader : str
        RosettaSciIO's name of the format.
    """

    number: int
    signal: Any
    signal_type: str
    reader: str

    @property
    def title(self) -> str:
        """Title in the file, or an empty text."""
        return text_in(self.signal.metadata, "General.title")

    @property
    def dimensions(self) -> tuple[int, int]:
        """Number of navigation and of signal axes."""
        manager = self.signal.axes_manager
        return manager.navigation_dimension, manager.signal_dimension


@dataclass
class OpenedFile:
    """The signals of a file, and what its reader complained about."""

    path: Path
    signals: list[StoredSignal]
    complaints: list[str] = field(default_factory=list)


@contextlib.contextmanager
def opened(
    path: str | os.PathLike[str],
    *,
    standing_for: Path | None = None,
    progress: Progress = silent,
) -> Iterator[OpenedFile]:
    """Open a file with HyperSpy, and close it afterwards.

    HyperSpy's and RosettaSciIO's messages and warnings are kept off the terminal
    for as long as the file is open.

    Parameters
    ----------
    path : str or path-like
        A file (a folder for .zspy).
    standing_for : Path, optional
        The user's file, checked before, of which ``path`` is an extract made by siftem: messages
        name it instead.
    progress : Progress
        Called while its reader is at work; what it raises ends that.

    Yields
    ------
    OpenedFile

    Raises
    ------
    ReadError
        In one sentence, whatever it is that makes the file unreadable.
    """
    file = checked_path(path)
    with quiet() as complaints:
        signals = _load(file, standing_for, progress)
        try:
            yield OpenedFile(standing_for or file, signals, complaints)
        finally:
            for stored in signals:
                with contextlib.suppress(Exception):
                    stored.signal.close_file()


def checked_path(path: str | os.PathLike[str]) -> Path:
    """Return the path if there is something to read at it.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    Path

    Raises
    ------
    ReadError
        When it is missing, a folder or empty.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"path must be a file name, got {type(path).__name__}")
    file = Path(path)
    try:
        if file.is_dir() and file.suffix.lower() != ".zspy":
            raise ReadError(f"cannot read {file}: it is a folder, name a file in it")
        if not file.exists():
            raise ReadError(f"cannot read {file}: there is no such file")
        if not file.is_file() and not file.is_dir():
            raise ReadError(f"cannot read {file}: it is a device or a pipe, no file")
        if file.is_file() and file.stat().st_size == 0:
            raise ReadError(f"cannot read {file}: the file is empty")
        if file.is_file():
            file.open("rb").close()
        for other in file.parent.glob(f"{glob.escape(file.stem)}.*"):
            # A reader of what belongs to the file would wait for a pipe without end.
            if other.exists() and not other.is_file() and not other.is_dir():
                raise ReadError(f"cannot read {file}: {other.name} is a device or a pipe, no file")
    except (OSError, ValueError) as error:  # no permission, or not a possible name
        raise ReadError(f"cannot read {file}: {_one_line(error)}") from error
    return file


def stored_bytes(file: Path) -> int:
    """Size of a file with the files that belong to it (.rpl and .raw, .emi and .ser).

    Parameters
    ----------
    file : Path

    Returns
    -------
    int
    """
    return sum(f.stat().st_size for f in _belonging(file) if f.is_file())


def _belonging(file: Path) -> Iterable[Path]:
    if file.is_dir():
        return file.rglob("*")
    if file.suffix.lower() == ".asw":  # an index to a tree of folders
        return file.parent.rglob("*")
    stem = file.stem.lower()
    return (f for f in file.parent.glob("*") if f.name.lower().startswith(stem))


def files_beside(path: Path) -> list[Path]:
    """Return the files that hold the counts, where a file is only an index to them."""
    kind = path.suffix.lower()
    if kind == ".asw":
        found = [p for p in path.parent.rglob("*") if p.suffix.lower() in _JEOL_FILES]
    elif kind in _INDEX_FILES:
        found = [
            p
            for p in path.parent.glob("*")
            if p != path and (p.stem == path.stem or p.stem.startswith(f"{path.stem}_"))
        ]
    else:
        return []
    return sorted(p for p in found if p.is_file())


def _plain_reader(plugin: dict[str, Any]) -> tuple[types.ModuleType, list[str]]:
    """Wrap a RosettaSciIO reader so that it notes the signal types it finds.

    HyperSpy is told to make plain signals (``signal_type=""``), since the classes of
    eXSpy write default angles and resolutions into the metadata as if the file had
    said so; the types are kept in the returned list instead. HyperSpy takes a module
    with a ``file_reader`` as a custom reader.
    """
    original = importlib.import_module(plugin["api"])
    signal_types: list[str] = []

    def file_reader(filename: str, **options: Any) -> list[dict[str, Any]]:
        with claims_checked(original.file_reader, filename):
            found = [d for d in original.file_reader(filename, **options) if "metadata" in d]
        signal_types[:] = [
            " ".join(plain_texts(d["metadata"].get("Signal", {}).get("signal_type"))) for d in found
        ]
        return plain_signals(found, filename)

    reader = types.ModuleType(original.__name__)
    reader.__loader__ = original.__loader__
    vars(reader)["file_reader"] = file_reader
    return reader, signal_types


def _load(path: Path, standing_for: Path | None, progress: Progress) -> list[StoredSignal]:
    plugins = _plugins_for(path)
    file = standing_for or path  # for messages
    if standing_for is None:
        refuse_damaged(path)
    if path.suffix.lower() == ".zspy":
        refuse_bad_store(path)
    if path.suffix.lower() in (".tif", ".tiff"):
        refuse_bad_tiff(path)
    failure: BaseException | None = None
    for plugin in plugins:
        try:
            importlib.import_module(plugin["api"])  # takes a while, which is no fault of the file
            vendor = vendor_of(plugin["name"])
            more, size = _COMPILE_SECONDS if vendor.compiled else 0.0, stored_bytes(path)
            with (
                vendor.reached() as reached,
                watched(file, size, more=more, progress=progress, reached=reached),
            ):
                signals = _load_with(path, plugin)
        except (ReadError, Cancelled):
            raise
        except Exception as error:  # readers raise anything at all on a bad file
            failure = failure or error
        else:
            if signals:
                return signals
    if isinstance(failure, ModuleNotFoundError):
        raise ReadError(
            f"cannot read {file}: this format needs the package {failure.name!r}, install it first"
        ) from failure
    unfit = isinstance(failure, (AttributeError, ImportError, TypeError))
    if file.suffix.lower() == ".zspy" and unfit and "zarr" in str(failure):
        raise ReadError(
            f"cannot read {file}: the installed RosettaSciIO and zarr do not fit each other, "
            "install 'rosettasciio[zspy]'"
        ) from failure
    if isinstance(failure, MemoryError):
        raise ReadError(
            f"cannot read {file}: its header asks for more memory than there is, "
            "so it is damaged or far too large"
        ) from failure
    names = " or ".join(str(p["name"]) for p in plugins)
    reason = f" ({_one_line(failure)})" if failure is not None else ""
    raise ReadError(
        f"cannot read {file}: it is damaged, incomplete or not a {names} file{reason}"
    ) from failure


def _load_with(file: Path, plugin: dict[str, Any]) -> list[StoredSignal]:
    import dask

    name = str(plugin["name"])
    reader, signal_types = _plain_reader(plugin)
    options = vendor_of(name).options
    with dask.config.set({"array.chunk-size": _DASK_CHUNK}):
        try:
            found = _hyperspy_load(file, reader, lazy=True, **options)
        except NotImplementedError:  # the format has no lazy reading
            found = _hyperspy_load(file, reader, lazy=False, **options)
        except ValueError as error:
            # RosettaSciIO cannot read HDF5 data sets without chunks lazily.
            if "chunks" not in str(error) or not is_hdf5(file):
                raise
            n_bytes = largest_dataset(file)[2]
            if n_bytes > min(_LARGEST_UNCHUNKED, file.stat().st_size):
                raise ReadError(
                    f"cannot read {file}: its data set of {n_bytes / 1e9:.3g} GB is stored without "
                    "chunks, save it again in chunks with HyperSpy"
                ) from error
            found = _hyperspy_load(file, reader, lazy=False, **options)
    signals = found if isinstance(found, list) else [found]
    return [
        StoredSignal(number, signal, signal_type, name)
        for number, (signal, signal_type) in enumerate(zip(signals, signal_types, strict=True))
    ]


def _hyperspy_load(file: Path, reader: types.ModuleType, **options: Any) -> Any:
    import hyperspy.api as hs

    return hs.load(file, signal_type="", file_format=reader, **options)


_AZTEC = "export the map from AZtec as raw data (.raw) with its .rpl, and name the .rpl"
#: What to do with files of vendors that nobody reads.
_INSTEAD = {"h5oina": _AZTEC, "oip": _AZTEC, "oipx": _AZTEC}


def _plugins_for(file: Path) -> list[dict[str, Any]]:
    """Readers for a file name; the one that its content names, where several match."""
    from rsciio import IO_PLUGINS

    suffix = file.suffix[1:].lower()
    plugins = [p for p in IO_PLUGINS if suffix in (e.lower() for e in p["file_extensions"])]
    if suffix == "sift":
        raise ReadError(f"cannot read {file}: it is damaged, incomplete or no sparse map file")
    if not plugins:
        ending = f"names ending in {file.suffix!r}" if suffix else "names without an ending"
        instead = _INSTEAD.get(suffix, "save it from its program in a format that HyperSpy reads")
        raise ReadError(f"cannot read {file}: HyperSpy has no reader for {ending}; {instead}")
    by_name = {p["name"]: p for p in plugins}
    if len(plugins) > 1 and "HSPY" in by_name and written_by_hyperspy(file):
        return [by_name["HSPY"]]
    return plugins


def _one_line(error: BaseException) -> str:
    """Say an exception of a library in at most one short line."""
    text = " ".join(str(error).split())
    text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= 160 else f"{text[:157]}..."


#: The sparse result needs some bytes for every pixel, even for empty ones.
_BELIEVED_PIXELS, _PIXELS_PER_BYTE = 2**24, 16


def refuse_absurd(stored: StoredSignal, layout: Layout, path: Path) -> None:
    """Stop before a damaged or hostile header makes us fill the memory.

    Parameters
    ----------
    stored : StoredSignal
    layout : Layout
        What its axes mean.
    path : Path
        The file it is in.

    Raises
    ------
    ReadError
        When the claimed shape cannot be in a file of this size, or when it is known
        that the reader would lose a part of the map.
    """
    n_values = math.prod(int(n) for n in stored.signal.data.shape)
    pixels = layout.shape[0] * layout.shape[1]
    size = stored_bytes(path)
    if (
        layout.axis.size > MOST_CHANNELS
        or is_absurd(n_values, size)
        or pixels > max(_BELIEVED_PIXELS, _PIXELS_PER_BYTE * size)
    ):
        shape = " x ".join(str(n) for n in stored.signal.data.shape)
        raise ReadError(
            f"the header claims {shape} values in a file of {size / 1e6:.3g} MB: it is damaged"
        )
    refusal = vendor_of(stored.reader).refusal
    if refusal is not None and (why := refusal(layout)):
        raise ReadError(why)


def most_entries(path: Path) -> int:
    """Values that are not zero which a measured map in a file can have at the most.

    Noise can't be packed: a value and its place take several bits, where those of a map made up
    to fill the memory take a thousandth.

    Parameters
    ----------
    path : Path

    Returns
    -------
    int
    """
    return max(BELIEVED_ENTRIES, ENTRIES_PER_BYTE * stored_bytes(path))


@contextlib.contextmanager
def damage_as_read_error() -> Iterator[None]:
    """Turn whatever a lazy reader raises when it meets the damage into a ReadError."""
    try:
        yield
    except SiftemError:
        raise
    except MemoryError as error:
        raise ReadError("there is not enough memory to read the map") from error
    except Exception as error:
        raise ReadError(
            f"the map cannot be read, the file is damaged or incomplete ({type(error).__name__})"
        ) from error


def guarded(blocks: Iterator[PixelBlock]) -> Iterator[PixelBlock]:
    """Pass blocks on; only errors of making them become a ReadError.

    What the receiver raises between two blocks (a cancelled run) is not touched.

    Parameters
    ----------
    blocks : iterator

    Yields
    ------
    pixels, block
    """
    while True:
        with damage_as_read_error():
            item = next(blocks, None)
        if item is None:
            return
        yield item
