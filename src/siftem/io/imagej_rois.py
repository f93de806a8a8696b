"""Outlines drawn in ImageJ or Fiji, as masks."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np

from siftem.errors import InputError, ReadError


def read_rois(path: str | os.PathLike[str], shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Read the regions of interest of an ImageJ ROI file as masks.

    A pixel belongs to an outline when its centre lies inside; ImageJ puts the centre
    of pixel (x, y) at (x + 0.5, y + 0.5). Composite outlines follow the even-odd rule,
    so holes stay holes. Lines take the pixels within half their width (those they pass
    through for a width of 1), points the pixel they lie in. Parts outside the image
    are cut off.

    Parameters
    ----------
    path : str or path-like
        A .zip of the ROI Manager, or one .roi file.
    shape : tuple of int
        Scan size (ny, nx).

    Returns
    -------
    dict of str to ndarray of bool, shape (ny, nx)
        True inside, by the name in ImageJ; equal names get " 2", " 3" ... added.

    Raises
    ------
    ReadError
        When the file is missing or not an ImageJ ROI file.
    InputError
        When it holds no outline, or one lies wholly outside the image.
    """
    import roifile

    file = Path(path)
    if not file.is_file():
        raise ReadError(f"cannot read {file}: there is no such file")
    try:
        found = roifile.roiread(file)
    except Exception as error:  # roifile, zipfile and struct all have their own
        raise ReadError(f"cannot read {file}: it is not an ImageJ .roi or .zip file") from error
    masks: dict[str, np.ndarray] = {}
    for number, roi in enumerate(found if isinstance(found, list) else [found], start=1):
        base = (roi.name or "").strip() or f"region {number}"
        name, repeat = base, 1
        while name in masks:
            repeat += 1
            name = f"{base} {repeat}"
        mask = _mask_of(roi, shape)
        if not mask.any():
            raise InputError(
                f"{file.name}: the outline {name!r} covers no pixel of the {shape[0]} x {shape[1]} "
                "map: was it drawn on an image of another size?"
            )
        masks[name] = mask
    if not masks:
        raise InputError(f"{file.name} holds no outline")
    return masks


def _mask_of(roi: Any, shape: tuple[int, int]) -> np.ndarray:
    import roifile

    kind = roifile.ROI_TYPE
    if roi.roitype == kind.POINT:
        return _points(roi.coordinates(), shape)
    if roi.roitype in (kind.LINE, kind.POLYLINE, kind.FREELINE, kind.ANGLE):
        return _line(roi.coordinates(), max(1.0, float(roi.stroke_width)), shape)
    if roi.roitype == kind.OVAL:
        return _ellipse((roi.left, roi.top, roi.right, roi.bottom), shape)
    mask = np.zeros(shape, dtype=bool)
    for outline in roi.coordinates(multi=True):
        mask ^= _polygon(outline, shape)
    return mask


def _polygon(outline: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    from skimage.draw import polygon2mask

    if len(outline) < 3:
        return np.zeros(shape, dtype=bool)
    corners = np.asarray(outline, dtype=np.float64)[:, ::-1] - 0.5  # (y, x) of pixel centres
    return polygon2mask(shape, corners)


def _ellipse(box: tuple[float, float, float, float], shape: tuple[int, int]) -> np.ndarray:
    left, top, right, bottom = box
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    across = (x - (left + right) / 2) / max((right - left) / 2, 1e-9)
    down = (y - (top + bottom) / 2) / max((bottom - top) / 2, 1e-9)
    return across**2 + down**2 <= 1.0


def _line(points: np.ndarray, width: float, shape: tuple[int, int]) -> np.ndarray:
    points = np.asarray(points, dtype=np.float64)
    mask = np.zeros(shape, dtype=bool)
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if width > 1:
            length = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-12)
            along = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length, 0, 1)
            away = np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))
            mask |= away <= width / 2
        else:
            steps = int(4 * max(abs(x1 - x0), abs(y1 - y0))) + 2
            mask |= _points(np.linspace((x0, y0), (x1, y1), steps), shape)
    return mask


def _points(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    x, y = np.floor(np.asarray(points, dtype=np.float64)).astype(int).T
    inside = (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])
    mask[y[inside], x[inside]] = True
    return mask
