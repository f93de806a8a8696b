"""What may be told of a vendor's format beyond what its reader does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from siftem.io.cube_blocks import EventStream, FrameChoice, PixelBlock
from siftem.io.signal_metadata import Layout


@dataclass(frozen=True)
class Events:
    """The events of a map.

    Parameters
    ----------
    streams : sequence of EventStream
        One for each detector; they are summed.
    notes : tuple of str
        What was assumed.
    image : callable, optional
        Returns the image of the same scan, summed over frames that were moved back.
    """

    streams: Sequence[EventStream]
    notes: tuple[str, ...] = ()
    image: Callable[[FrameChoice], np.ndarray | None] | None = None


@dataclass(frozen=True)
class EventFiles:
    """Files that list events, which are read as such where no cube of them fits in memory.

    Parameters
    ----------
    holds : callable
        Whether a file is one.
    few : callable
        Gives a small copy of a file for its axes and metadata, which goes away afterwards.
    opened : callable
        Gives the events of a file, of its layout and the places of the detectors among its maps.
    sized : bool
        Whether the header of a cube can be held against the size of the file.
    """

    holds: Callable[[Path], bool]
    few: Callable[[Path], AbstractContextManager[Path]]
    opened: Callable[[Path, Layout, Sequence[int]], AbstractContextManager[Events]]
    sized: bool = True


class BlockReader(Protocol):
    """Reads a map block by block in place of the reader, which would make a cube of it."""

    def __call__(
        self, filename: str, shape: tuple[int, int, int], *, map_number: int, budget: int
    ) -> Iterator[PixelBlock]:
        """Yield pixel numbers and their counts; ``map_number`` is that among the file's maps."""


@dataclass(frozen=True)
class Vendor:
    """What is known of a format.

    Parameters
    ----------
    reader : str
        RosettaSciIO's name of it.
    options : mapping of str to object
        For the reader: they keep counts sparse, or apart until siftem itself sums them.
    compiled : bool
        Whether the reader is compiled when it is first used, which takes a while.
    header : callable, optional
        Raises a ReadError for a file that its reader would read in part, or not at all.
    refusal : callable, optional
        Says why a map of a layout can't be read; empty when it can.
    no_counts : str
        What it means when a map of this format is empty.
    blocks : BlockReader, optional
        For maps of (y, x, energy).
    events : EventFiles, optional
    reached : callable
        While its context is entered, a function tells the fraction of a file that the reader has
        read; 0 where that is not known.
    """

    reader: str
    options: Mapping[str, Any] = field(default_factory=dict)
    compiled: bool = False
    header: Callable[[Path], None] | None = None
    refusal: Callable[[Layout], str] | None = None
    no_counts: str = ""
    blocks: BlockReader | None = None
    events: EventFiles | None = None
    reached: Callable[[], AbstractContextManager[Callable[[], float]]] = lambda: nullcontext(
        lambda: 0.0
    )
