"""The sparse map file: counts by pixel in one HDF5 file that is read block by block.

The layout is described in docs/file-format.md.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from siftem.acquisition import Acquisition
from siftem.compiling import inner_kernel, kernel
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError, ReadError
from siftem.files.file_headers import BELIEVED_ENTRIES, ENTRIES_PER_BYTE, is_bloated
from siftem.files.hdf5_probe import refuse_endless_hdf5
from siftem.spectrum_image import SpectrumImage, refuse_absurd_total, total_of

#: What `count_inside` finds wrong.
GOOD, BEYOND_AXIS, OUT_OF_ORDER, NOT_POSITIVE = 0, 1, 2, 3


@kernel()
def count_inside(
    starts: np.ndarray,
    channels: np.ndarray,
    values: np.ndarray,
    n_channels: int,
    low: int,
    high: int,
    first: np.ndarray,
    out: np.ndarray,
) -> int:
    """Check the entries of some pixels, and count those in a window of channels.

    Parameters
    ----------
    starts : ndarray of int64, shape (n + 1,)
        Where each pixel starts; from 0, rising, within ``channels``.
    channels, values : ndarray of shape (entries,)
    n_channels : int
        Channels of the map.
    low, high : int
        Window: first and last + 1.
    first : ndarray of int64, shape (n,)
        Receives the first entry of each pixel that lies in the window.
    out : ndarray of int64, shape (n + 1,)
        Receives where each pixel starts when only the window is kept.

    Returns
    -------
    int
        `GOOD`, or what is wrong.
    """
    out[0] = 0
    one = np.uint64(1)
    for i in range(starts.size - 1):
        # Unsigned, for Numba takes signed ones to count from the end where they are negative.
        a, b = np.uint64(starts[i]), np.uint64(starts[i + 1])
        # Sums without branches, several entries to an instruction: this runs in every sweep.
        wrong = 0
        for t in range(a + one, b):
            wrong += channels[t] <= channels[t - one]
        for t in range(a, b):
            # Infinity less itself is no number.
            wrong += not ((values[t] > 0) & (values[t] - values[t] == 0))
        if wrong or (b > a and channels[b - one] >= n_channels):
            return _problem(starts[i], starts[i + 1], channels, values, n_channels)
        start, end = a, b
        while start < b and channels[start] < low:
            start += one
        while end > start and channels[end - one] >= high:
            end -= one
        first[i] = start
        out[i + 1] = out[i] + np.int64(end - start)
    return GOOD


@inner_kernel()
def _problem(a: int, b: int, channels: np.ndarray, values: np.ndarray, n_channels: int) -> int:
    """Return what is wrong first with the entries from a to b."""
    for t in range(a, b):
        if channels[t] >= n_channels:
            return BEYOND_AXIS
        if t > a and channels[t] <= channels[t - 1]:
            return OUT_OF_ORDER
        if not values[t] > 0 or values[t] == np.inf:
            return NOT_POSITIVE
    return GOOD


@kernel()
def take_inside(
    channels: np.ndarray,
    values: np.ndarray,
    low: int,
    first: np.ndarray,
    starts: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
) -> None:
    """Copy the entries in a window of channels, counted from its first one.

    Parameters
    ----------
    channels, values : ndarray of shape (entries,)
    low : int
        First channel of the window.
    first, starts : ndarray of int64
        From `count_inside`.
    indices : ndarray of int32
    data : ndarray
        Receive channels and counts.
    """
    for i in range(first.size):
        shift = np.uint64(first[i] - starts[i])
        for t in range(np.uint64(starts[i]), np.uint64(starts[i + 1])):
            indices[t] = np.int32(channels[t + shift]) - np.int32(low)
        for t in range(np.uint64(starts[i]), np.uint64(starts[i + 1])):
            data[t] = values[t + shift]


FORMAT = "siftem sparse map"
VERSION = 1
#: The header of a damaged file may claim anything; no detector has more channels.
_MOST_CHANNELS = 2**20
_MOST_PIXELS = 2**40
#: Deflate gains at most 1032 to 1.
_BYTES_PER_BYTE = 1032
_BELIEVED_CHUNK = 2**26
_HUGE = 2**22
_PROBLEMS = {
    BEYOND_AXIS: "a channel lies beyond the energy axis",
    OUT_OF_ORDER: "the channels of a pixel are out of order",
    NOT_POSITIVE: "some stored counts are zero, negative, NaN or infinite",
}


@dataclass(frozen=True)
class MapHeader:
    """All of a spectrum image but its counts and its survey image.

    Parameters
    ----------
    shape : tuple of int
        (ny, nx).
    axis : EnergyAxis
    pixel_size : tuple of float, optional
        Height and width in nm.
    acquisition : Acquisition
    signal_type, title, survey_name : str
    notes, doubts : tuple of str
    pedestal : float
        See `siftem.SpectrumImage`.
    """

    shape: tuple[int, int]
    axis: EnergyAxis
    pixel_size: tuple[float, float] | None = None
    acquisition: Acquisition = field(default_factory=Acquisition)
    signal_type: str = "EDS_TEM"
    title: str = ""
    survey_name: str = "HAADF"
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    pedestal: float = 0.0

    @classmethod
    def of(cls, si: SpectrumImage) -> MapHeader:
        """Header of a spectrum image."""
        return cls(**{f.name: getattr(si, f.name) for f in fields(cls)})


def is_sparse_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file says that it is a sparse map file, by its content."""
    import h5py

    file = Path(path)
    try:
        if not file.is_file() or not h5py.is_hdf5(file):
            return False
        refuse_endless_hdf5(file)
        with h5py.File(file, "r", locking=False) as content:
            return _text(content.attrs.get("format")) == FORMAT
    except ReadError:
        raise
    except Exception:  # h5py raises several kinds on damage
        return False


@dataclass(frozen=True)
class SparseFile:
    """The counts of a sparse map file as a source of rows; opens the file for each block.

    Parameters
    ----------
    path : Path
        Absolute, since it may be read on another machine.
    shape : tuple of int
        Pixels and channels.
    edges : tuple of int
        First pixel of each block, and the number of pixels.
    identity : str
        SHA-256 of the counts and the header as they were written.
    """

    path: Path
    shape: tuple[int, int]
    edges: tuple[int, ...]
    identity: str

    def read(self, first: int, last: int, window: tuple[int, int] | None = None) -> sp.csr_array:
        """Pixels ``first`` to ``last`` (not included).

        Parameters
        ----------
        first, last : int
        window : tuple of int, optional
            Channels: first and last + 1; all by default.

        Returns
        -------
        scipy.sparse.csr_array
            Counts up to 65535 in single precision, which holds them exactly; larger ones as
            they are stored.

        Raises
        ------
        ReadError
            When the counts contradict the header.
        """
        import h5py

        try:
            with h5py.File(self.path, "r", locking=False) as content:
                group = content["counts"]
                # Differences of four bytes could wrap.
                starts = group["row_starts"][first : last + 1].astype(np.int64)
                a, b = int(starts[0]), int(starts[-1])
                if a < 0 or b > group["channels"].shape[0] or (np.diff(starts) < 0).any():
                    raise ReadError(f"{self.path.name}: the row starts are damaged")
                channels, values = group["channels"][a:b], group["values"][a:b]
        except ReadError:
            raise
        except Exception as error:  # h5py raises several kinds on damage
            raise ReadError(
                f"cannot read {self.path}: the file is damaged, incomplete or gone "
                f"({type(error).__name__})"
            ) from error
        starts -= a
        n_channels = self.shape[1]
        low, high = window or (0, n_channels)
        where, inside = np.empty(starts.size - 1, np.int64), np.empty_like(starts)
        problem = count_inside(starts, channels, values, n_channels, low, high, where, inside)
        if problem != GOOD:
            raise ReadError(f"{self.path.name}: {_PROBLEMS[problem]}, the file is damaged")
        if values.dtype.itemsize > 4:  # a block of smaller ones can't add up to so much
            self._refuse_absurd(values)
        indices = _allocated(int(inside[-1]), np.dtype(np.int32))
        data = _allocated(indices.size, _held_as(values.dtype))
        take_inside(channels, values, low, where, inside, indices, data)
        if indices.size < 2**31:  # one type of index spares scipy a copy
            inside = inside.astype(np.int32)
        return sp.csr_array((data, indices, inside), shape=(last - first, high - low))

    def _refuse_absurd(self, values: np.ndarray) -> None:
        try:
            refuse_absurd_total(total_of(values))
        except InputError as error:
            raise ReadError(f"{self.path.name}: {error}") from error


def _held_as(stored: np.dtype) -> np.dtype:
    """Type of counts in memory: small ones fit single precision exactly."""
    small = stored.kind == "u" and stored.itemsize <= 2
    return np.dtype(np.float32) if small else stored


def _allocated(size: int, dtype: np.dtype) -> np.ndarray:
    """Allocate an array, of huge pages where it is nearly large enough for them.

    NumPy asks for these from 4 MB on, which the arrays of a block stay just below: it would then
    cost more time in page faults than in reading.
    """
    enough = _HUGE // dtype.itemsize
    return np.empty(enough if enough // 2 < size < enough else size, dtype)[:size]


def open_sparse_file(
    path: str | os.PathLike[str],
) -> tuple[MapHeader, SparseFile, np.ndarray | None]:
    """Read the header of a sparse map file, and none of its counts.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    header : MapHeader
    source : SparseFile
    survey : ndarray of shape (ny, nx) or None

    Raises
    ------
    ReadError
        When there is no such file, or it is damaged or of a later version.
    """
    import h5py

    file = Path(path).absolute()
    if not file.is_file():
        raise ReadError(f"cannot read {path}: there is no such file")
    refuse_endless_hdf5(file)
    try:
        with h5py.File(file, "r", locking=False) as content:
            if _text(content.attrs.get("format")) != FORMAT:
                raise ReadError(
                    f"cannot read {path}: it is no sparse map file, make one with siftem convert"
                )
            version = int(content.attrs["version"])
            if version > VERSION:
                raise ReadError(
                    f"cannot read {path}: it has version {version} of the format, but this siftem "
                    f"knows {VERSION}: update siftem"
                )
            _refuse_foreign_data(content)
            header = _header(content)
            n = header.shape[0] * header.shape[1]
            _check_sizes(content, header, n)
            edges = content["counts/block_edges"][:].astype(np.int64)
            if edges[0] != 0 or edges[-1] != n or (np.diff(edges) <= 0).any():
                raise ValueError("block edges")
            survey = content["survey"][:] if "survey" in content else None
            digest = _text(content.attrs["content_sha256"])
    except (ReadError, InputError):
        raise
    except Exception as error:
        raise ReadError(
            f"cannot read {path}: it is damaged or incomplete ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:80]})"
        ) from error
    source = SparseFile(
        file,
        (n, header.axis.size),
        tuple(int(e) for e in edges),
        digest,
    )
    return header, source, survey


def read_sparse_file(path: str | os.PathLike[str]) -> SpectrumImage:
    """Read a sparse map file whole, into memory.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    SpectrumImage
        Counts are int32 or int64 when whole, else float64.
    """
    header, source, survey = open_sparse_file(path)
    counts = source.read(0, source.shape[0])
    whole = counts.dtype != np.float64
    kind = "int32" if whole else "float64"
    if whole and counts.nnz and counts.data.max() > np.iinfo(np.int32).max:
        kind = "int64"
    return spectrum_image(header, counts.astype(kind), survey)


def spectrum_image(header: MapHeader, counts: Any, survey: np.ndarray | None) -> SpectrumImage:
    """Put a header and counts together."""
    about = {f.name: getattr(header, f.name) for f in fields(header)}
    return SpectrumImage(counts=counts, survey=survey, **about)


def _header(content: Any) -> MapHeader:
    ny, nx = (int(n) for n in content.attrs["shape"])
    acquisition = json.loads(_text(content.attrs["acquisition"]))
    known = {k: v for k, v in acquisition.items() if k in Acquisition.__dataclass_fields__}
    elements = known.pop("elements", None) or ()
    if not all(isinstance(e, str) for e in elements) or isinstance(elements, str):
        raise ValueError("elements")
    for name, value in known.items():
        if name == "bulk":
            known[name] = bool(value)
        elif value is not None:
            number = float(value)
            if isinstance(value, str) or not np.isfinite(number):
                raise ValueError(name)
            # As in other formats: what cannot be is not said.
            known[name] = number if number > 0 else None
    known["elements"] = tuple(elements)
    size = content.attrs.get("pixel_size_nm")
    survey = content.get("survey")
    return MapHeader(
        shape=(ny, nx),
        axis=EnergyAxis(
            float(content.attrs["energy_offset"]),
            float(content.attrs["energy_scale"]),
            int(content.attrs["energy_size"]),
            _text(content.attrs["energy_unit"]),
        ),
        pixel_size=None if size is None else (float(size[0]), float(size[1])),
        acquisition=Acquisition(**known),
        signal_type=_text(content.attrs["signal_type"]),
        title=_text(content.attrs["title"]),
        survey_name="HAADF" if survey is None else _text(survey.attrs["name"]),
        notes=_texts(content.attrs["notes"]),
        doubts=_texts(content.attrs.get("doubts", "[]")),
        pedestal=_finite(content.attrs.get("pedestal", 0.0)),
    )


def _texts(stored: Any) -> tuple[str, ...]:
    return tuple(str(n) for n in json.loads(_text(stored)))


def _refuse_foreign_data(content: Any) -> None:
    """Refuse data that lie in other files, and types that counts don't have.

    A link may lead to a pipe that never answers, a virtual data set to itself.
    """
    import h5py

    names = ["counts", *(f"counts/{n}" for n in ("row_starts", "channels", "values"))]
    names += ["counts/block_edges", *(n for n in content if n == "survey")]
    for name in names:
        if not isinstance(content.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is missing or a link")
        if name == "counts":
            continue
        stored = content[name]
        if not isinstance(stored, h5py.Dataset) or stored.is_virtual or stored.external:
            raise ValueError(f"{name} lies in another file")
        kind, size = stored.dtype.kind, stored.dtype.itemsize
        if (
            kind not in ("iufb" if name == "survey" else "iuf")
            or size > 8
            or (kind == "f" and size < 4)
            or not stored.dtype.isnative
        ):
            raise ValueError(f"{name} of type {stored.dtype.str[:20]}")


def _check_sizes(content: Any, header: MapHeader, n: int) -> None:
    """Refuse a header that its own data contradict, before anything large is allocated."""
    group = content["counts"]
    entries = group["channels"].shape
    if not (0 < n <= _MOST_PIXELS and min(header.shape) > 0 and header.axis.size <= _MOST_CHANNELS):
        raise ValueError(f"{header.shape} pixels, {header.axis.size} channels")
    starts = group["row_starts"]
    if starts.shape != (n + 1,) or starts.id.get_storage_size() < n or len(entries) != 1:
        raise ValueError("row starts")
    if starts.dtype.kind != "i" or group["block_edges"].dtype.kind != "i":
        raise ValueError("types of the row starts")  # differences of unsigned ones never fall
    stored = Path(content.filename).stat().st_size
    if entries[0] > max(BELIEVED_ENTRIES, ENTRIES_PER_BYTE * stored):
        raise ValueError(f"{entries[0]} counts in {stored / 1e6:.3g} MB")
    for name in ("channels", "values", "block_edges", "row_starts"):
        chunk, kept = math.prod(group[name].chunks or ()), group[name].id.get_storage_size()
        if is_bloated(chunk, kept, _BELIEVED_CHUNK):
            raise ValueError(f"chunks of the {name}")
    if entries[0] > 0 and any(
        entries[0] * group[name].dtype.itemsize
        > _BYTES_PER_BYTE * group[name].id.get_storage_size()
        for name in ("channels", "values")
    ):
        raise ValueError("counts that are not stored")
    if group["values"].shape != entries or int(starts[0]) != 0 or int(starts[n]) != entries[0]:
        raise ValueError("number of counts")
    if group["channels"].dtype.kind != "u" or group["values"].dtype.kind not in "uif":
        raise ValueError("types of the counts")
    edges = group["block_edges"].shape
    if len(edges) != 1 or not 2 <= edges[0] <= n + 1:
        raise ValueError("block edges")
    if "survey" in content and content["survey"].shape != header.shape:
        raise ValueError("survey image")


def _finite(value: Any) -> float:
    if not np.isfinite(number := float(value)):
        raise ValueError(f"a number that is {number}")
    return number


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
