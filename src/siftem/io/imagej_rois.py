"""Outlines of ImageJ and Fiji as masks and back; sums of spectra over regions of any kind."""

from __future__ import annotations

import itertools
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from siftem.errors import InputError, ReadError
from siftem.files.atomic import replacing
from siftem.hyperspy_input import as_map
from siftem.io.images import read_label_image, read_probabilities, read_regions
from siftem.segment.regions import Region, Regions
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.integrate import integrate


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


def stroke_mask(points: np.ndarray, width: float, shape: tuple[int, int]) -> np.ndarray:
    """Return the pixels of a line: within half its width, and those that it passes through.

    Parameters
    ----------
    points : ndarray of shape (n, 2)
        (y, x) of its corners, n >= 1; centres of pixels are whole numbers.
    width : float
        In pixels.
    shape : tuple of int
        Scan size (ny, nx); what lies outside is cut off.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
    """
    mask = np.zeros(shape, dtype=bool)
    points = points if len(points) > 1 else np.repeat(points, 2, axis=0)
    for start, end in itertools.pairwise(points):
        reach = width / 2 + 1
        first = np.maximum(np.floor(np.minimum(start, end) - reach), 0).astype(int)
        last = np.minimum(np.ceil(np.maximum(start, end) + reach).astype(int) + 1, shape)
        near = tuple(slice(a, max(a, b)) for a, b in zip(first, last, strict=True))
        y, x = np.mgrid[near]
        along = end - start
        length = max(float(along @ along), 1e-12)
        t = np.clip(((y - start[0]) * along[0] + (x - start[1]) * along[1]) / length, 0, 1)
        away = np.hypot(y - start[0] - t * along[0], x - start[1] - t * along[1])
        mask[near] |= away <= width / 2
        steps = int(4 * np.abs(along).max()) + 2
        mask |= _points(np.linspace(start, end, steps)[:, ::-1] + 0.5, shape)
    return mask


def _mask_of(roi: Any, shape: tuple[int, int]) -> np.ndarray:
    import roifile

    kind = roifile.ROI_TYPE
    if roi.roitype == kind.POINT:
        return _points(roi.coordinates(), shape)
    if roi.roitype in (kind.LINE, kind.POLYLINE, kind.FREELINE, kind.ANGLE):
        width = float(roi.stroke_width)
        corners = np.asarray(roi.coordinates(), dtype=np.float64)[:, ::-1] - 0.5
        return stroke_mask(corners, width if width > 1 else 0.0, shape)
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


def _points(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    x, y = np.floor(np.asarray(points, dtype=np.float64)).astype(int).T
    inside = (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])
    mask[y[inside], x[inside]] = True
    return mask


#: Commands of ImageJ's composite outlines.
_MOVE, _LINE, _CLOSE = 0, 1, 4
#: Steps (dy, dx) along the corners of pixels, each a quarter turn from the one before.
_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))


def write_rois(path: str | os.PathLike[str], masks: Mapping[str, np.ndarray]) -> None:
    """Write named masks as a .zip of the ROI Manager, one composite outline for each.

    Outlines run along the edges of pixels, holes the other way round, as after ImageJ's
    Create Selection: `siftem.io.imagej_rois.read_rois` gives the same masks back.

    Parameters
    ----------
    path : str or path-like
        Must end in .zip; an existing file is replaced.
    masks : mapping of str to ndarray of bool, shape (ny, nx)
        True means inside. A mask without pixels has no outline and is left out.

    Raises
    ------
    InputError
        When a mask is not boolean, or all are empty.
    """
    import roifile

    if Path(path).suffix.lower() != ".zip":
        raise InputError(f"path must end in .zip, got {os.fspath(path)}")
    outlines = {}
    for name, region in masks.items():
        mask = np.asarray(region)
        if mask.dtype != np.bool_ or mask.ndim != 2:
            raise InputError(
                f"the mask of {name!r} must be boolean (ny, nx), True inside, "
                f"got {mask.dtype} {mask.shape}"
            )
        if mask.any():
            outlines[str(name)] = mask_outlines(mask)
    if not outlines:
        raise InputError("there is nothing to outline: no mask holds any pixel")
    with replacing(path) as draft, zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as file:
        for number, (name, loops) in enumerate(outlines.items(), start=1):
            corners = np.concatenate(loops)
            roi = roifile.ImagejRoi()
            roi.roitype, roi.name, roi.version = roifile.ROI_TYPE.RECT, name, 228
            roi.left, roi.top = (int(n) for n in corners.min(axis=0))
            roi.right, roi.bottom = (int(n) for n in corners.max(axis=0))
            roi.multi_coordinates = _composite(loops)
            roi.shape_roi_size = roi.multi_coordinates.size
            # Names may repeat or hold what no file name can; without a time the bytes are the same.
            member = zipfile.ZipInfo(f"{number:04d}.roi")
            file.writestr(member, roi.tobytes(), zipfile.ZIP_DEFLATED)


def mask_outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Return the closed outlines of a mask along the edges of its pixels.

    Parameters
    ----------
    mask : ndarray of bool, shape (ny, nx)

    Returns
    -------
    list of ndarray of int, shape (n, 2)
        Corners (x, y), pixel (x, y) covering x ... x + 1 and y ... y + 1. Outer outlines run
        clockwise on the screen and those of holes counter-clockwise; each point that is not a
        corner is left out. Pixels that touch at a corner only have outlines of their own.
    """
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    # Edges with the mask on their right hand, by where they begin: (y, x), direction.
    begins: dict[tuple[int, int], list[int]] = {}
    for direction, (outside, dy, dx) in enumerate(
        (
            (padded[:-2, 1:-1], 0, 0),
            (padded[1:-1, 2:], 0, 1),
            (padded[2:, 1:-1], 1, 1),
            (padded[1:-1, :-2], 1, 0),
        )
    ):
        for y, x in np.argwhere(inside & ~outside).tolist():
            begins.setdefault((y + dy, x + dx), []).append(direction)
    loops = []
    while begins:
        start = next(iter(begins))
        loops.append(_followed(begins, start))
    return loops


def _followed(begins: dict[tuple[int, int], list[int]], start: tuple[int, int]) -> np.ndarray:
    """Follow edges to a closed outline and take them away; corners (n, 2) as (x, y)."""
    corners: list[tuple[int, int]] = []
    first = begins[start][0]
    point, direction = start, first
    while True:
        begins[point].remove(direction)
        if not begins[point]:
            del begins[point]
        point = (point[0] + _STEPS[direction][0], point[1] + _STEPS[direction][1])
        options = [*begins.get(point, ()), *([first] if point == start else ())]
        # Turning right first keeps pixels apart that touch at a corner only.
        before = direction
        direction = next(d for d in _right_first(before) if d in options)
        if direction != before:
            corners.append((point[1], point[0]))
        if point == start and direction == first:
            return np.array(corners)


def _right_first(direction: int) -> tuple[int, int, int]:
    return (direction + 1) % 4, direction, (direction + 3) % 4


def _composite(loops: list[np.ndarray]) -> np.ndarray:
    path: list[float] = []
    for loop in loops:
        for i, (x, y) in enumerate(loop.tolist()):
            path += [_MOVE if i == 0 else _LINE, x, y]
        path.append(_CLOSE)
    return np.array(path, np.float32)


#: What stands for a set of regions.
RegionSource = str | os.PathLike[str] | Regions | Region | Mapping[str, Any] | np.ndarray


def sum_spectra(si: SpectrumImage, regions: RegionSource) -> dict[str, Spectrum]:
    """Sum the spectra of all pixels of each region.

    Parameters
    ----------
    si : SpectrumImage
    regions
        As in `region_masks`.

    Returns
    -------
    dict of str to Spectrum
        With Poisson errors, by the names of the regions; those without pixels are left out.

    Raises
    ------
    SiftemError
        When the regions cannot be read, are of another size, or are all empty.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> masks = {"Fp": phantom.mask("Fp"), "Ca-Pv": phantom.mask("Ca-Pv")}
    >>> regions = siftem.Regions(si.shape, matrix="Brg", masks=masks)
    >>> list(siftem.sum_spectra(si, regions))
    ['pure Brg', 'mixture Fp', 'mixture Ca-Pv', 'intersection']
    """
    si = as_map(si)
    masks = region_masks(regions, si.shape)
    if not any(mask.any() for mask in masks.values()):
        raise InputError("there is nothing to sum: no region holds any pixel")
    return {name: integrate(si, mask, name=name) for name, mask in masks.items() if mask.any()}


def region_masks(regions: RegionSource, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return regions of any kind as named masks.

    Parameters
    ----------
    regions
        - `Regions`: pure, mixtures and intersection; `Region`: itself;
        - mapping of str to masks;
        - ndarray (ny, nx), bool: "region";
        - ndarray (ny, nx), integer: labels, as of a napari layer (its ``.data``): "label 1",
          "label 2", ...; 0 is background;
        - ndarray (classes, ny, nx), float: probabilities; each pixel belongs to its most
          probable class: "class 1", "class 2", ...;
        - a file: ImageJ outlines (.zip, .roi), a label image (.png, .tif, .npy), an ImageJ
          stack of masks as `siftem run` writes it, or a stack of probabilities.
    shape : tuple of int
        Scan size (ny, nx).

    Returns
    -------
    dict of str to ndarray of bool, shape (ny, nx)
        True = included.
    """
    if isinstance(regions, str | os.PathLike):
        return _of_file(Path(regions), shape)
    if isinstance(regions, Region):
        masks: dict[str, np.ndarray] = {regions.name: regions.mask}
    elif isinstance(regions, Regions):
        masks = {name: region.mask for name, region in regions.as_dict().items()}
    elif isinstance(regions, Mapping):
        masks = {str(name): np.asarray(mask) for name, mask in regions.items()}
    else:
        masks = _of_array(np.asarray(regions))
    for name, mask in masks.items():
        if mask.dtype != np.bool_ or mask.shape != tuple(shape):
            raise InputError(
                f"region {name!r} must be boolean of shape {tuple(shape)}, "
                f"got {mask.dtype} of {mask.shape}"
            )
    return masks


def _of_array(array: np.ndarray) -> dict[str, np.ndarray]:
    if array.ndim == 2 and array.dtype == np.bool_:
        return {"region": array}
    if array.ndim == 2 and array.dtype.kind in "iu":
        if array.size and array.min() < 0:
            raise InputError(f"labels must not be negative (0 is background), got {array.min()}")
        return {f"label {n}": array == n for n in np.unique(array).tolist() if n > 0}
    if array.ndim == 3 and array.dtype.kind == "f" and len(array) > 1:
        if not np.isfinite(array).all():
            raise InputError("probabilities hold NaN or infinity: replace those pixels")
        best = array.argmax(axis=0)
        return {f"class {k + 1}": best == k for k in range(len(array))}
    raise InputError(
        "regions must be masks (bool, (ny, nx)), labels (integer, (ny, nx)) or probabilities "
        f"(float, (classes, ny, nx)), got {array.dtype} of {array.shape}"
    )


def _of_file(file: Path, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    suffix = file.suffix.lower()
    if suffix in (".zip", ".roi"):
        return read_rois(file, shape)
    if suffix in (".tif", ".tiff") and file.is_file():
        kind, pages = _tiff_content(file)
        if kind == "f" and pages > 1:
            return _of_array(read_probabilities(file, shape))
        if pages > 1:
            return read_regions(file, shape)
    if suffix == ".npy" and file.is_file():
        array = _npy_header(file)
        if array is not None and len(array) == 3:
            return _of_array(read_probabilities(file, shape))
    return _of_array(read_label_image(file, shape))


def _tiff_content(file: Path) -> tuple[str, int]:
    """Return the kind of numbers of a TIFF, and how many images of one size it holds."""
    import tifffile

    try:
        with tifffile.TiffFile(file) as content:
            series = content.series[0]
            axes = dict(zip(series.axes, series.shape, strict=True))
            pages = int(np.prod([n for axis, n in axes.items() if axis not in "YXS"]))
            return np.dtype(series.dtype).kind, pages
    except Exception:  # what is wrong with the file is said by who reads it
        return "", 1


def _npy_header(file: Path) -> tuple[int, ...] | None:
    try:
        return tuple(np.load(file, mmap_mode="r", allow_pickle=False).shape)
    except (OSError, ValueError):
        return None
