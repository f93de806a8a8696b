"""Where map, spectrum and tables of a step stand: every step has the same frame.

The map stands at the left, its contrast under it, the spectrum beside it, and what else the step
has to tell under the spectrum; under a wide map, which leaves room there.
"""

from __future__ import annotations

from dataclasses import dataclass

from siftem.app.map_figure import FIGURE_TOOLS, figure_size
from siftem.app.style import Room

#: Height of the histogram under the map, and of the fields above it, screen pixels.
STRIP, TOOLBAR = 92, 56
#: The part of the width that is the spectrum's at least, and what a contrast needs.
_BESIDE, _NARROWEST = 0.45, 440
#: Between map and spectrum, screen pixels.
GAP = 12
#: A spectrum that is lower shows nothing.
_LOWEST = 170


@dataclass(frozen=True)
class Arrangement:
    """Sizes (width, height) on the screen.

    Parameters
    ----------
    box : tuple of int
        The largest map with its colour bar, without its tools.
    strip, spectrum, below : tuple of int
    under_map : bool
        Whether what else there is stands under the map.
    """

    box: tuple[int, int]
    strip: tuple[int, int]
    spectrum: tuple[int, int]
    below: tuple[int, int]
    under_map: bool


def arrange(room: Room, aspect: float, *, part: float, most: int) -> Arrangement:
    """Give the map what room it can use, and the spectrum the rest.

    Parameters
    ----------
    room : Room
    aspect : float
        Height of the map over its width.
    part : float
        Part of the height that tables take of the spectrum.
    most : int
        They need no more than this, screen pixels; with 0 there are none.
    """
    wide, tall = room.content, room.height - TOOLBAR
    widest = wide - GAP - int(_BESIDE * wide)
    box = (widest - FIGURE_TOOLS, tall - STRIP)
    width, height = figure_size(aspect, box)
    column = max(width, _NARROWEST)
    side, left = wide - column - GAP, tall - STRIP - height
    wanted = min(int(part * tall), most)
    if wanted and left >= wanted:
        return Arrangement(box, (column, STRIP), (side, tall), (column, left), True)
    spectrum = max(_LOWEST, tall - wanted)
    return Arrangement(box, (column, STRIP), (side, spectrum), (side, tall - spectrum), False)
