"""The sparse map file: counts by pixel in one HDF5 file that is read block by block.

The layout is described in docs/file-format.md.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError, ReadError
from siftem.spectrum_image import SpectrumImage

FORMAT = "siftem sparse map"
VERSION = 1
#: The header of a damaged file may claim anything; no detector has more channels.
_MOST_CHANNELS = 2**20
_MOST_PIXELS = 2**40
#: Deflate gains at most 1032 to 1.
_ENTRIES_PER_BYTE = 1032


@dataclass(frozen=True)
class MapHeader:
    """All of a sparse map file but its counts.

    Parameters
    ----------
    shape : tuple of int
        (ny, nx).
    axis : EnergyAxis
    pixel_size : tuple of float, optional
        Height and width in nm.
    acquisition : Acquisition
    signal_type, title, survey_name : str
    notes : tuple of str
    """

    shape: tuple[int, int]
    axis: EnergyAxis
    pixel_size: tuple[float, float] | None = None
    acquisition: Acquisition = field(default_factory=Acquisition)
    signal_type: str = "EDS_TEM"
    title: str = ""
    survey_name: str = "HAADF"
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, si: SpectrumImage) -> MapHeader:
        """Header of a spectrum image."""
        return cls(
            si.shape,
            si.axis,
            si.pixel_size,
            si.acquisition,
            si.signal_type,
            si.title,
            si.survey_name,
            si.notes,
        )


def is_sparse_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file says that it is a sparse map file, by its content."""
    import h5py

    file = Path(path)
    try:
        if not file.is_file() or not h5py.is_hdf5(file):
            return False
        with h5py.File(file, "r", locking=False) as content:
            return _text(content.attrs.get("format")) == FORMAT
    except OSError:
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
        Of this content of this file.
    """

    path: Path
    shape: tuple[int, int]
    edges: tuple[int, ...]
    identity: str

    def read(self, first: int, last: int) -> sp.csr_array:
        """Pixels ``first`` to ``last`` (not included).

        Raises
        ------
        ReadError
            When the counts contradict the header.
        """
        import h5py

        try:
            with h5py.File(self.path, "r", locking=False) as content:
                group = content["counts"]
                starts = group["row_starts"][first : last + 1]
                a, b = int(starts[0]), int(starts[-1])
                steps = np.diff(starts)
                if a < 0 or b > group["channels"].shape[0] or (steps < 0).any():
                    raise ReadError(f"{self.path.name}: the row starts are damaged")
                channels = group["channels"][a:b].astype(np.int32)
                values = group["values"][a:b]
        except ReadError:
            raise
        except Exception as error:  # h5py raises several kinds on damage
            raise ReadError(
                f"cannot read {self.path}: the file is damaged, incomplete or gone "
                f"({type(error).__name__})"
            ) from error
        if channels.size:
            _refuse_bad_counts(self.path, channels, values, steps, self.shape[1])
        starts = starts - a
        return sp.csr_array((values, channels, starts), shape=(last - first, self.shape[1]))


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
            header = _header(content)
            n = header.shape[0] * header.shape[1]
            _check_sizes(content, header, n)
            edges = content["counts/block_edges"][:]
            if edges[0] != 0 or edges[-1] != n or (np.diff(edges) <= 0).any():
                raise ValueError("block edges")
            survey = content["survey"][:] if "survey" in content else None
    except (ReadError, InputError):
        raise
    except Exception as error:
        raise ReadError(
            f"cannot read {path}: it is damaged or incomplete ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:80]})"
        ) from error
    status = file.stat()
    source = SparseFile(
        file,
        (n, header.axis.size),
        tuple(int(e) for e in edges),
        f"{file} {status.st_size} {status.st_mtime_ns}",
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
    kind = "float64" if counts.dtype.kind == "f" else "int32"
    if kind == "int32" and counts.nnz and counts.data.max() > np.iinfo(np.int32).max:
        kind = "int64"
    return spectrum_image(header, counts.astype(kind), survey)


def spectrum_image(header: MapHeader, counts: Any, survey: np.ndarray | None) -> SpectrumImage:
    """Put a header and counts together."""
    return SpectrumImage(
        counts=counts,
        shape=header.shape,
        axis=header.axis,
        pixel_size=header.pixel_size,
        acquisition=header.acquisition,
        survey=survey,
        survey_name=header.survey_name,
        signal_type=header.signal_type,
        title=header.title,
        notes=header.notes,
    )


def _header(content: Any) -> MapHeader:
    ny, nx = (int(n) for n in content.attrs["shape"])
    acquisition = json.loads(_text(content.attrs["acquisition"]))
    known = {k: v for k, v in acquisition.items() if k in Acquisition.__dataclass_fields__}
    known["elements"] = tuple(known.get("elements") or ())
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
        notes=tuple(str(n) for n in json.loads(_text(content.attrs["notes"]))),
    )


def _check_sizes(content: Any, header: MapHeader, n: int) -> None:
    """Refuse a header that its own data contradict, before anything large is allocated."""
    group = content["counts"]
    entries = group["channels"].shape
    if not (0 < n <= _MOST_PIXELS and min(header.shape) > 0 and header.axis.size <= _MOST_CHANNELS):
        raise ValueError(f"{header.shape} pixels, {header.axis.size} channels")
    starts = group["row_starts"]
    if starts.shape != (n + 1,) or starts.id.get_storage_size() < n or len(entries) != 1:
        raise ValueError("row starts")
    if entries[0] > _ENTRIES_PER_BYTE * Path(content.filename).stat().st_size:
        raise ValueError(f"{entries[0]} counts")
    if group["values"].shape != entries or int(starts[n]) != entries[0]:
        raise ValueError("number of counts")
    if group["channels"].dtype.kind != "u" or group["values"].dtype.kind not in "uif":
        raise ValueError("types of the counts")
    edges = group["block_edges"].shape
    if len(edges) != 1 or not 2 <= edges[0] <= n + 1:
        raise ValueError("block edges")
    if "survey" in content and content["survey"].shape != header.shape:
        raise ValueError("survey image")


def _refuse_bad_counts(
    path: Path, channels: np.ndarray, values: np.ndarray, steps: np.ndarray, m: int
) -> None:
    if int(channels.max()) >= m or int(channels.min()) < 0:
        raise ReadError(f"{path.name}: a channel lies beyond the energy axis, the file is damaged")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ReadError(f"{path.name}: some counts are NaN or infinite, the file is damaged")
    if not values.min() > 0:
        raise ReadError(f"{path.name}: some stored counts are zero or negative, it is damaged")
    falls = np.flatnonzero(np.diff(channels) <= 0) + 1
    row_starts = np.cumsum(steps)
    if falls.size and not np.isin(falls, row_starts, assume_unique=False).all():
        raise ReadError(f"{path.name}: the channels of a pixel are out of order, it is damaged")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
