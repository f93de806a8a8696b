"""Components that live in one pixel."""

from __future__ import annotations

import numpy as np

from siftem.counting.outliers import emptied
from siftem.spectrum_image import SpectrumImage

#: A component lives in a pixel that holds this share of it ...
_SHARE = 0.05
#: ... and so many times what any other pixel has.
_TIMES = 5.0


def lone_pixels(maps: np.ndarray) -> np.ndarray:
    """Find the pixels that have a component to themselves.

    Parameters
    ----------
    maps : ndarray of shape (k, ny, nx)

    Returns
    -------
    ndarray of int
        Their rows, without repeats. A map of few pixels has none: a grain may be one of them.
    """
    flat = maps.reshape(len(maps), -1)
    if flat.shape[1] < 100:
        return np.zeros(0, int)
    brightest = flat.argmax(axis=1)
    first = flat.max(axis=1)
    second = np.partition(flat, -2, axis=1)[:, -2]
    total = flat.sum(axis=1)
    alone = (first > _TIMES * second) & (first > _SHARE * total)
    return np.unique(brightest[alone])


def left_out(si: SpectrumImage, pixels: np.ndarray) -> tuple[SpectrumImage, str]:
    """Empty some pixels; return the map and one sentence about it."""
    places = ", ".join("({}, {})".format(*divmod(int(p), si.shape[1])) for p in pixels[:3])
    more = ", ..." if pixels.size > 3 else ""
    note = (
        f"a component lived in one pixel alone, at (y, x) = {places}{more}: a bright speck or a "
        f"fault of the detector; left out, and decomposed again"
    )
    return emptied(si, pixels, note), note
