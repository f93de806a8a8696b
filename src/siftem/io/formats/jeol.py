"""JEOL .pts event streams, read line by line.

The data are 16-bit words whose upper four bits say what they are: 8 the column and 9 the line
of the beam in 4096ths of the scan, A a value of the electron detector, B the channel of an X-ray. A
frame ends where the line number falls.
"""

from __future__ import annotations

import contextlib
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from siftem.errors import ReadError
from siftem.io.cube_blocks import FrameChoice
from siftem.io.formats.vendor import EventFiles, Events, Vendor
from siftem.io.guarded_readers import ONE_AT_A_TIME
from siftem.io.signal_metadata import Layout

_COLUMN, _LINE, _IMAGE, _XRAY = 0x8000, 0x9000, 0xA000, 0xB000
_FULL_SCALE = 4096
_MAGIC = b"PTTDFILE"
_PIECE = 1 << 22
#: Position of the data, and length of the file, in the header.
_DATA_AT, _LENGTH_AT = 28, 32


def is_jeol_stream(path: Path) -> bool:
    """Whether a file is a JEOL .pts."""
    if path.suffix.lower() != ".pts" or not path.is_file():
        return False
    with path.open("rb") as stream:
        head = stream.read(12)
    return len(head) == 12 and head[:4] == struct.pack("<I", 304) and head[4:] == _MAGIC


def refuse_cut_short(path: Path) -> None:
    """Stop at a .pts file that is shorter than it says.

    Raises
    ------
    ReadError
    """
    if path.suffix.lower() != ".pts":
        return
    with path.open("rb") as stream:
        head = stream.read(_LENGTH_AT + 4)
    if len(head) == _LENGTH_AT + 4 and head[4:12] == _MAGIC:
        size, (length,) = path.stat().st_size, struct.unpack_from("<I", head, _LENGTH_AT)
        if size < length:
            raise ReadError(
                f"cannot read {path}: it is cut short, {size} of {length} bytes are there"
            )


@contextlib.contextmanager
def first_frame_only(path: Path) -> Iterator[Path]:
    """Give a copy of a .pts file that ends after its first frame, for its axes and metadata.

    Parameters
    ----------
    path : Path

    Yields
    ------
    Path
        Removed afterwards. The file itself when there is but one frame.
    """
    words = _words(path)
    at = _data_at(path)
    lines = np.zeros(0, np.uint16)
    end = words.size
    previous = 0
    for start in range(0, words.size, _PIECE):
        piece = words[start : start + _PIECE]
        where = np.flatnonzero((piece & 0xF000) == _LINE)
        lines = np.concatenate([[previous], piece[where] & 0xFFF]).astype(int)
        falls = np.flatnonzero(np.diff(lines) < 0)
        if falls.size:
            end = start + int(where[falls[0]])
            break
        previous = lines[-1]
    if end == words.size:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="siftem-") as folder:
        small = Path(folder) / path.name
        with path.open("rb") as stream:
            head = bytearray(stream.read(at))
        struct.pack_into("<I", head, _LENGTH_AT, at + 2 * end)
        with small.open("wb") as stream:
            stream.write(head)
            for start in range(0, end, _PIECE):
                stream.write(words[start : min(start + _PIECE, end)].tobytes())
        yield small


class JeolStream:
    """The events of a .pts file.

    Parameters
    ----------
    path : Path
    shape : tuple of int
        (ny, nx).
    n_channels : int

    Raises
    ------
    ReadError
        When not even one frame is complete.
    """

    def __init__(self, path: Path, shape: tuple[int, int], n_channels: int) -> None:
        self.shape = shape
        self.n_channels = n_channels
        self._words = _words(path)
        self._step = (_FULL_SCALE // shape[0], _FULL_SCALE // shape[1])
        starts, complete = _line_starts(self._words, shape[0], self._step[0])
        #: Frames that were stopped half way are left out.
        self.dropped = len(starts) - complete
        self.line_starts = starts[:complete]
        if complete < 1:
            raise ReadError("not even the first frame is complete: the file is cut short")

    def image(self, choice: FrameChoice) -> np.ndarray | None:
        """Electron image summed over frames, moved back by their drift; None without one.

        Parameters
        ----------
        choice : FrameChoice

        Returns
        -------
        ndarray of uint32 or None
            Of the common area.
        """
        (y0, y1), (x0, x1) = choice.common_area(self.shape)
        total = np.zeros((y1 - y0, x1 - x0), np.uint32)
        seen = False
        for frame, (dy, dx) in zip(choice.frames, choice.drift, strict=True):
            starts = self.line_starts[frame]
            words = np.asarray(self._words[starts[0] : starts[-1]])
            y, x, value = self._placed(words, _IMAGE)
            y, x = y - y0 - int(dy), x - x0 - int(dx)
            inside = (y >= 0) & (y < total.shape[0]) & (x >= 0) & (x < total.shape[1])
            np.add.at(total, (y[inside], x[inside]), value[inside].astype(np.uint32))
            seen = seen or bool(value.size)
        return total if seen else None

    def _placed(self, words: np.ndarray, wanted: int) -> tuple[Any, Any, Any]:
        """Line, column and value of the words of one kind."""
        kind = words & 0xF000
        value = (words & 0xFFF).astype(np.int64)
        where = np.flatnonzero(kind == wanted)
        y = _latest(kind == _LINE, value, where) // self._step[0]
        x = _latest(kind == _COLUMN, value, where) // self._step[1]
        return y, x, value[where]

    def events(
        self, frame: int, first: int, last: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Line, column and channel of the events of some lines of a frame."""
        starts = self.line_starts[frame]
        words = np.asarray(self._words[starts[first] : starts[last]])
        y, x, channel = self._placed(words, _XRAY)
        # A line beyond the map would be a scan of another shape than the header has.
        inside = (channel < self.n_channels) & (x >= 0) & (y >= first) & (y < last)
        return y[inside], x[inside], channel[inside]


def _latest(marks: np.ndarray, value: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Value of the last mark before each place; -1 where there is none."""
    at = np.flatnonzero(marks)
    index = np.searchsorted(at, where) - 1
    return np.where(index >= 0, value[at[np.maximum(index, 0)]] if at.size else -1, -1)


def _line_starts(words: np.ndarray, ny: int, step: int) -> tuple[np.ndarray, int]:
    """Where each line of each frame starts, (frames, ny + 1), and the number of whole frames."""
    frames: list[np.ndarray] = []
    current = np.full(ny + 1, -1, np.int64)
    reached = -1
    previous = 0

    def close(end: int) -> None:
        # Each line of a true frame takes a word; a hostile file could make a frame of each word.
        if len(frames) * ny > 2 * words.size:
            raise ReadError("the event stream holds more frames than lines: the file is damaged")
        current[reached + 1 :] = end
        frames.append(current.copy())

    for start in range(0, words.size, _PIECE):
        piece = words[start : start + _PIECE]
        where = np.flatnonzero((piece & 0xF000) == _LINE)
        values = (piece[where] & 0xFFF).astype(int)
        # Only words that begin another line matter.
        new = np.flatnonzero(np.diff(values, prepend=-1 if start == 0 else previous))
        for at, value in zip((start + where[new]).tolist(), values[new].tolist(), strict=True):
            if value < previous:
                close(at)
                current[:] = -1
                reached = -1
            previous = value
            line = min(value // step, ny - 1)
            current[reached + 1 : line + 1] = at
            reached = max(reached, line)
        if values.size:
            previous = int(values[-1])
    close(words.size)
    whole = len(frames) - (0 if reached == ny - 1 else 1)
    return np.array(frames), whole


def _data_at(path: Path) -> int:
    with path.open("rb") as stream:
        stream.seek(_DATA_AT)
        (at,) = struct.unpack("<I", stream.read(4))
    if not 0 < at < path.stat().st_size:
        raise ReadError(f"{path.name}: its data should start beyond its end, the file is damaged")
    return int(at)


def _words(path: Path) -> np.ndarray:
    at = _data_at(path)
    number = (path.stat().st_size - at) // 2
    return np.memmap(path, dtype="<u2", mode="r", offset=at, shape=(number,))


@contextlib.contextmanager
def _opened(path: Path, layout: Layout, places: Sequence[int]) -> Iterator[Events]:
    stream = JeolStream(path, layout.shape, layout.axis.size)
    notes = ("the last frame was stopped half way: left out",) if stream.dropped else ()
    yield Events([stream], notes, stream.image)


@contextlib.contextmanager
def _reached() -> Iterator[Callable[[], float]]:
    """Note, before each frame that RosettaSciIO decodes, how much of the stream lies behind."""
    from rsciio.jeol import _api as reader

    length, left = 0, 0

    def noted(decode: Callable[..., Any]) -> Callable[..., Any]:
        def frame(words: np.ndarray, *rest: Any) -> Any:
            nonlocal length, left
            left = words.size
            length = max(length, left)
            return decode(words, *rest)

        return frame

    names = ("_readframe_lazy", "_readframe_dense")
    before = {name: getattr(reader, name) for name in names if hasattr(reader, name)}
    with ONE_AT_A_TIME:
        for name, decode in before.items():
            setattr(reader, name, noted(decode))
        try:
            yield lambda: 1.0 - left / length if left else 0.0  # what comes then is not known
        finally:
            for name, decode in before.items():
                setattr(reader, name, decode)


def _refusal(layout: Layout) -> str:
    if layout.shape[0] <= layout.shape[1]:
        return ""
    return (
        f"this JEOL map is higher than wide ({layout.shape[0]} x {layout.shape[1]} pixels), "
        "and RosettaSciIO loses its lower rows: export it in another format"
    )


JEOL = Vendor(
    "JEOL",
    options={"read_em_image": True},
    compiled=True,
    header=refuse_cut_short,
    refusal=_refusal,
    no_counts="RosettaSciIO cannot decode this kind of .pts file (DigiLine, for example), "
    "export the map in another format",
    events=EventFiles(is_jeol_stream, first_frame_only, _opened),
    reached=_reached,
)
