"""Streams of X-ray events: pixel after pixel, frame after frame, each event its own.

A detector that writes events needs no cube at all. Each scan line of each frame is found once;
then bands of lines of the map are put together from the lines of all frames, moved back by the
drift of each frame, and nothing larger than a band is ever in memory.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from siftem.errors import InputError

#: Memory for one event on its way into a sparse block.
_BYTES_PER_EVENT = 80


class EventStream(Protocol):
    """The events of one detector."""

    shape: tuple[int, int]
    n_channels: int
    #: Position in the stream at which each line of each frame starts, (frames, ny + 1).
    line_starts: np.ndarray

    def events(self, frame: int, first: int, last: int) -> tuple[Any, Any, Any]:
        """Line, column and channel of the events of some lines of a frame, in any order."""


@dataclass(frozen=True, eq=False)
class FrameChoice:
    """Which frames are summed, and how far each has drifted.

    Parameters
    ----------
    frames : tuple of int
        Numbers, from 0.
    drift : ndarray of int, shape (frames, 2)
        Lines and columns by which the specimen has moved in each of them.
    """

    frames: tuple[int, ...]
    drift: np.ndarray

    @classmethod
    def checked(
        cls,
        n_frames: int,
        frames: slice | Sequence[int] | None,
        drift: Any,
        shape: tuple[int, int],
    ) -> FrameChoice:
        """Check what the user asks for against what is in the file.

        Parameters
        ----------
        n_frames : int
            Frames in the file.
        frames : slice or sequence of int, optional
            All by default.
        drift : array of shape (frames, 2), optional
            For each chosen frame, or for each frame of the file; rounded to whole pixels.
        shape : tuple of int
            (ny, nx).

        Returns
        -------
        FrameChoice
        """
        numbers = range(n_frames)
        if isinstance(frames, slice):
            chosen = tuple(numbers[frames])
        elif frames is None:
            chosen = tuple(numbers)
        else:
            chosen = tuple(int(f) for f in frames)
        wrong = [f for f in chosen if not 0 <= f < n_frames]
        if wrong or not chosen or len(set(chosen)) < len(chosen):
            raise InputError(
                f"frames must be different numbers from 0 to {n_frames - 1}, the file has "
                f"{n_frames} frames; got {wrong[0] if wrong else list(chosen)}"
            )
        if drift is None:
            return cls(chosen, np.zeros((len(chosen), 2), int))
        moved = np.asarray(drift, float)
        if moved.ndim != 2 or moved.shape[1] != 2 or not np.isfinite(moved).all():
            raise InputError(
                f"shifts must be two finite numbers (dy, dx) for each frame, got an array of shape "
                f"{moved.shape}"
            )
        if len(moved) == n_frames:
            moved = moved[list(chosen)]
        if len(moved) != len(chosen):
            raise InputError(
                f"{len(moved)} shifts are given for {len(chosen)} chosen frames of {n_frames}: "
                f"give one for each"
            )
        whole = np.rint(moved).astype(int)
        found = cls(chosen, whole)
        (y0, y1), (x0, x1) = found.common_area(shape)
        if y1 - y0 < 1 or x1 - x0 < 1:
            raise InputError(
                f"the shifts reach from {whole.min()} to {whole.max()} pixels: no pixel of the "
                f"{shape[0]} x {shape[1]} map is in all frames"
            )
        return found

    def common_area(self, shape: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Lines and columns of the first frame's scan, moved back, that all frames cover."""
        low, high = self.drift.min(axis=0), self.drift.max(axis=0)
        return (
            (max(0, -int(low[0])), shape[0] - max(0, int(high[0]))),
            (max(0, -int(low[1])), shape[1] - max(0, int(high[1]))),
        )

    def notes(self, n_frames: int, shape: tuple[int, int]) -> tuple[str, ...]:
        """What to say about it."""
        out = []
        if len(self.frames) == n_frames:
            out.append(f"summed {n_frames} frames")
        else:
            out.append(f"summed {len(self.frames)} of {n_frames} frames")
        if self.drift.any():
            (y0, y1), (x0, x1) = self.common_area(shape)
            out.append(
                f"frames moved back by up to {np.abs(self.drift).max()} pixels, "
                f"cropped to the {y1 - y0} x {x1 - x0} pixels that all of them cover"
            )
        return tuple(out)


def event_bands(
    streams: Sequence[EventStream],
    choice: FrameChoice,
    *,
    window: slice = slice(None),
    budget: int,
) -> Generator[sp.csr_array, None, None]:
    """Yield the map, some lines at a time, as sparse counts summed over frames and detectors.

    Parameters
    ----------
    streams : sequence of EventStream
        Detectors of the same scan.
    choice : FrameChoice
    window : slice
        Channels to take.
    budget : int
        Bytes that a band may need on the way; a single line may exceed it.

    Yields
    ------
    scipy.sparse.csr_array of shape (lines * columns, channels), int32
        Lines and columns of the common area, in scan order.
    """
    shape, n_channels = streams[0].shape, streams[0].n_channels
    (top, bottom), (left, right) = choice.common_area(shape)
    low, high, _ = window.indices(n_channels)
    columns = right - left
    for y0, y1 in _bands(streams, choice, (top, bottom), budget):
        parts = []
        for stream in streams:
            for frame, (dy, dx) in zip(choice.frames, choice.drift, strict=True):
                y, x, channel = stream.events(frame, y0 + int(dy), y1 + int(dy))
                x = x - (left + int(dx))
                kept = (x >= 0) & (x < columns) & (channel >= low) & (channel < high)
                row = (y[kept] - (y0 + int(dy))) * columns + x[kept]
                parts.append(row * (high - low) + (channel[kept] - low))
        yield _counted(np.concatenate(parts), ((y1 - y0) * columns, high - low))


def _bands(
    streams: Sequence[EventStream], choice: FrameChoice, lines: tuple[int, int], budget: int
) -> Iterator[tuple[int, int]]:
    """Cut lines into bands whose events fit the budget."""
    top, bottom = lines
    words = np.zeros(bottom - top, np.int64)
    for stream in streams:
        for frame, (dy, _) in zip(choice.frames, choice.drift, strict=True):
            starts = stream.line_starts[frame, top + dy : bottom + dy + 1]
            words += np.diff(starts)
    most = max(budget // _BYTES_PER_EVENT, 1)
    start, held = 0, 0
    for line, number in enumerate(words.tolist()):
        if line > start and held + number > most:
            yield top + start, top + line
            start, held = line, 0
        held += number
    yield top + start, bottom


def _counted(keys: np.ndarray, shape: tuple[int, int]) -> sp.csr_array:
    """Count equal events; ``keys`` are row * channels + channel."""
    keys.sort()
    first = np.flatnonzero(np.diff(keys, prepend=-1)) if keys.size else np.zeros(0, np.int64)
    number = np.diff(first, append=keys.size).astype(np.int32)
    row, channel = np.divmod(keys[first], shape[1])
    starts = np.zeros(shape[0] + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=shape[0]), out=starts[1:])
    return sp.csr_array((number, channel.astype(np.int32), starts), shape=shape)
