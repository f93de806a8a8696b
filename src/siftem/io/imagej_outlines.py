"""Masks as outlines for ImageJ and Fiji."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from siftem.errors import InputError
from siftem.io.atomic import replacing

_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0


def write_rois(path: str | os.PathLike[str], regions: Mapping[str, np.ndarray]) -> None:
    """Write masks as composite outlines for ImageJ's ROI Manager.

    The outlines follow the edges of the pixels, holes included, so that `read_rois` and
    ImageJ give back the very same pixels.

    Parameters
    ----------
    path : str or path-like
        Must end in .zip; an existing file is replaced.
    regions : mapping of str to ndarray of bool, shape (ny, nx)
        True inside. Masks without a pixel have no outline and are left out.

    Raises
    ------
    InputError
        When no mask has a pixel, or one is not boolean.
    """
    import roifile

    if Path(path).suffix.lower() != ".zip":
        raise InputError(f"outlines are written to a .zip file, got {Path(path).name!r}")
    rois = []
    for name, mask in regions.items():
        mask = np.asarray(mask)
        if mask.dtype != np.bool_ or mask.ndim != 2:
            raise InputError(f"the region {name!r} must be a boolean mask (ny, nx), True inside")
        if mask.any():
            rois.append(_composite(roifile, str(name), mask))
    if not rois:
        raise InputError("none of the regions has a pixel: there is no outline to write")
    with replacing(path) as draft:
        roifile.roiwrite(draft, rois, mode="w")


def _composite(roifile: object, name: str, mask: np.ndarray) -> object:
    path: list[float] = []
    for loop in pixel_outlines(mask):
        for i, (x, y) in enumerate(loop):
            path += [_MOVE if i == 0 else _LINE, float(x), float(y)]
        path.append(_CLOSE)
    ys, xs = np.nonzero(mask)
    return roifile.ImagejRoi(  # type: ignore[attr-defined]
        name=name,
        roitype=roifile.ROI_TYPE.RECT,  # type: ignore[attr-defined]
        version=227,
        left=int(xs.min()),
        top=int(ys.min()),
        right=int(xs.max()) + 1,
        bottom=int(ys.max()) + 1,
        shape_roi_size=len(path),
        multi_coordinates=np.array(path, np.float32),
    )


def pixel_outlines(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """Return closed loops of corners (x, y) along the pixel edges of a mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (ny, nx)

    Returns
    -------
    list of list of (x, y)
        Pixel (y, x) reaches from corner (x, y) to (x + 1, y + 1). The inside is to the right
        of each edge; under the even-odd rule the loops give back the mask.
    """
    wide = np.pad(mask, 1)
    inside, above, left = wide[1:, 1:], wide[:-1, 1:], wide[1:, :-1]
    ends: dict[tuple[int, int], list[tuple[int, int]]] = {}

    def edge(start: tuple[int, int], end: tuple[int, int]) -> None:
        ends.setdefault(start, []).append(end)

    for y, x in np.argwhere(inside != above).tolist():
        first, last = (x, y), (x + 1, y)
        edge(first, last) if inside[y, x] else edge(last, first)
    for y, x in np.argwhere(inside != left).tolist():
        first, last = (x, y + 1), (x, y)
        edge(first, last) if inside[y, x] else edge(last, first)
    loops = []
    while ends:
        start = next(iter(ends))
        loop, here = [start], _step(ends, start)
        while here != start:
            loop.append(here)
            here = _step(ends, here)
        corners = zip(loop[-1:] + loop[:-1], loop, loop[1:] + loop[:1], strict=True)
        # Straight on is no corner.
        loops.append(
            [b for a, b, c in corners if (b[0] - a[0], b[1] - a[1]) != (c[0] - b[0], c[1] - b[1])]
        )
    return loops


def _step(
    ends: dict[tuple[int, int], list[tuple[int, int]]], here: tuple[int, int]
) -> tuple[int, int]:
    end = ends[here].pop()
    if not ends[here]:
        del ends[here]
    return end
