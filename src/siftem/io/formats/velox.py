"""Velox .emd event streams, read line by line.

A stream is one long list of 16-bit numbers: 65535 ends a pixel, every other number is one count
in that channel. RosettaSciIO expands a whole stream into coordinates of 8 bytes each; here it
stays as it is. Axes and metadata are read by HyperSpy from a small copy of the file that
holds the first line of the stream only.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from siftem.errors import ReadError
from siftem.files.file_headers import VELOX_STREAMS, is_hdf5
from siftem.io.formats.vendor import EventFiles, Events, Vendor
from siftem.io.signal_metadata import Layout

_NEXT_PIXEL = 65535
#: Numbers that are looked through at a time.
_PIECE = 1 << 22


def is_velox_stream(path: Path) -> bool:
    """Whether a file is a Velox .emd with spectrum streams."""
    import h5py

    if path.suffix.lower() != ".emd" or not is_hdf5(path):
        return False
    try:
        with h5py.File(path, "r") as content:
            streams = content.get(VELOX_STREAMS)
            return bool(streams) and all("Data" in streams[key] for key in streams)
    except (OSError, KeyError, TypeError):
        return False


@contextlib.contextmanager
def without_events(path: Path) -> Iterator[Path]:
    """Give a copy of a Velox file with hardly any events, for its axes, metadata and images.

    Parameters
    ----------
    path : Path

    Yields
    ------
    Path
        Removed afterwards.
    """
    import h5py

    with tempfile.TemporaryDirectory(prefix="siftem-") as folder:
        small = Path(folder) / path.name
        with h5py.File(path, "r") as source, h5py.File(small, "w") as target:
            for name in source:
                if name != "Data":
                    source.copy(name, target)
            for kind in source["Data"]:
                if kind not in ("SpectrumStream", "SpectrumImage"):
                    target[f"Data/{kind}"] = h5py.ExternalLink(str(path.absolute()), f"Data/{kind}")
                    continue
                for key, group in source[f"Data/{kind}"].items():
                    for part in group:
                        if part == "Data":
                            few = group[part][: 1 << 12]
                            target.create_dataset(
                                f"Data/{kind}/{key}/Data", data=few, maxshape=(None, few.shape[1])
                            )
                        else:
                            source.copy(group[part], target.require_group(f"Data/{kind}/{key}"))
        yield small


class VeloxStream:
    """The events of one detector in a Velox file.

    Parameters
    ----------
    content : h5py.File
        Open for as long as the stream is used.
    key : str
        Name of the stream.
    shape : tuple of int
        (ny, nx).
    """

    def __init__(self, content: Any, key: str, shape: tuple[int, int]) -> None:
        group = content[f"{VELOX_STREAMS}/{key}"]
        settings = json.loads(_as_text(group["AcquisitionSettings"][0]))
        self.shape = shape
        self.n_channels = int(settings["bincount"])
        self._data = group["Data"]
        self.line_starts = _line_starts(self._data, shape, _last_frame(content))

    def events(
        self, frame: int, first: int, last: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Line, column and channel of the events of some lines of a frame."""
        starts = self.line_starts[frame]
        words = self._data[starts[first] : starts[last]].ravel()
        ends = words == _NEXT_PIXEL
        pixel = np.cumsum(ends)[~ends]
        channel = words[~ends].astype(np.int64)
        if channel.size and int(channel.max()) >= self.n_channels:
            raise ReadError(
                f"the spectrum stream holds channel {channel.max()} of {self.n_channels}: "
                "the file is damaged"
            )
        y, x = np.divmod(pixel, self.shape[1])
        return y + first, x, channel


def velox_streams(content: Any, shape: tuple[int, int]) -> list[VeloxStream]:
    """Index all streams of an open Velox file."""
    streams = [VeloxStream(content, key, shape) for key in content[VELOX_STREAMS]]
    frames = min(len(s.line_starts) for s in streams)
    for stream in streams:
        stream.line_starts = stream.line_starts[:frames]
    return streams


def _line_starts(data: Any, shape: tuple[int, int], most: int | None) -> np.ndarray:
    """Find where each line of each frame starts, (frames, ny + 1), in one look at the stream."""
    ny, nx = shape
    found = [np.zeros(1, np.int64)]
    pixels = 0
    for start in range(0, data.shape[0], _PIECE):
        ends = np.flatnonzero(data[start : start + _PIECE].ravel() == _NEXT_PIXEL)
        number = pixels + np.arange(1, ends.size + 1)
        found.append(start + ends[number % nx == 0] + 1)
        pixels += ends.size
    starts = np.concatenate(found)
    frames = -(-pixels // (ny * nx))
    if frames < 1:
        raise ReadError("the spectrum stream ends before its first pixel: the file is cut short")
    # Lines that were never scanned are empty.
    whole = np.full(frames * ny + 1, data.shape[0], np.int64)
    whole[: min(starts.size, whole.size)] = starts[: whole.size]
    index = np.arange(frames)[:, None] * ny + np.arange(ny + 1)
    return whole[index][:most]


def _last_frame(content: Any) -> int | None:
    """Frames by the settings of the map; None when they don't say."""
    try:
        images = content["Data/SpectrumImage"]
        settings = json.loads(_as_text(images[next(iter(images))]["SpectrumImageSettings"][0]))
        last = int(settings["endFramePosition"])
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError, StopIteration):
        return None
    return last if last > 0 else None


def _as_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


@contextlib.contextmanager
def _opened(path: Path, layout: Layout, places: Sequence[int]) -> Iterator[Events]:
    import h5py

    with h5py.File(path, "r") as content:
        streams = velox_streams(content, layout.shape)
        yield Events([streams[place] for place in places], layout.notes)


VELOX = Vendor(
    "EMD",
    options={"sum_EDS_detectors": False, "SI_dtype": "uint32"},
    compiled=True,
    events=EventFiles(is_velox_stream, without_events, _opened, sized=False),
)
