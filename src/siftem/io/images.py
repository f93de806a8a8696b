"""Label images, regions and probabilities as image files that ImageJ and Fiji open."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from siftem.errors import InputError, ReadError
from siftem.files.atomic import replacing
from siftem.files.file_headers import refuse_bad_tiff

#: Largest class number of a 16-bit label image.
_LARGEST_LABEL = 2**16 - 1
_TIFF = (".tif", ".tiff")
#: Names that ImageJ users give to lengths, in nm.
_UNITS = {"nm": 1.0, "µm": 1e3, "um": 1e3, "micron": 1e3, "microns": 1e3, "mm": 1e6}


def read_label_image(path: str | os.PathLike[str], shape: tuple[int, int]) -> np.ndarray:
    """Read an image whose values are class numbers, 0 meaning unlabelled.

    Parameters
    ----------
    path : str or path-like
        TIFF, PNG (grey, 16-bit or palette: then the index counts) or .npy.
    shape : tuple of int
        Scan size (ny, nx) it must have.

    Returns
    -------
    ndarray of int32, shape (ny, nx)

    Raises
    ------
    ReadError
        When the file is missing, damaged or of another kind.
    InputError
        When it has another size, is in colour, or holds something else than whole
        numbers from 0 to 65535.
    """
    file = _existing(path)
    image = _read_array(file)
    if image.ndim == 3 and image.shape[2] in (3, 4) and image.shape[:2] == tuple(shape):
        if not (image[..., :1] == image[..., :3]).all():
            raise InputError(
                f"{file.name} is a colour image: save the labels as one grey channel, "
                "with the class number as grey value"
            )
        image = image[..., 0]
    image = np.squeeze(image) if image.ndim > 2 else image
    _check_size(file, image.shape, shape)
    if image.dtype.kind not in "uibf":
        raise InputError(f"{file.name} must hold class numbers, got dtype {image.dtype}")
    if not np.isfinite(image).all() or (image != np.rint(image)).any():
        raise InputError(f"{file.name} must hold whole class numbers, but some values are not")
    if image.size and (image.min() < 0 or image.max() > _LARGEST_LABEL):
        raise InputError(
            f"{file.name} must hold class numbers from 0 to {_LARGEST_LABEL}, "
            f"got {image.min():g} to {image.max():g}"
        )
    return image.astype(np.int32)


def write_label_image(
    path: str | os.PathLike[str],
    labels: np.ndarray,
    pixel_size: tuple[float, float] | None = None,
) -> None:
    """Write class numbers as a TIFF of 8 or 16 bits.

    Parameters
    ----------
    path : str or path-like
        Must end in .tif or .tiff; an existing file is replaced.
    labels : ndarray of int or bool, shape (ny, nx)
        From 0 to 65535.
    pixel_size : tuple of float, optional
        Height and width of a pixel in nm, written as ImageJ keeps it.

    Raises
    ------
    InputError
        When the labels do not fit.
    """
    labels = np.asarray(labels)
    _check_tiff_name(path)
    if labels.ndim != 2 or labels.dtype.kind not in "uib" or labels.size == 0:
        raise InputError(
            f"labels must be a non-empty integer array (ny, nx), got {labels.dtype} {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= 2**16:
        raise InputError(
            f"labels must lie between 0 and 65535, got {labels.min()} to {labels.max()}"
        )
    kind = np.uint8 if labels.max() < 2**8 else np.uint16
    _write_imagej(path, labels.astype(kind), {"axes": "YX"}, pixel_size)


def write_values(
    path: str | os.PathLike[str],
    images: Mapping[str, np.ndarray],
    pixel_size: tuple[float, float] | None = None,
) -> None:
    """Write images of numbers as one ImageJ stack of 32 bits, a slice for each.

    Parameters
    ----------
    path : str or path-like
        Must end in .tif or .tiff; an existing file is replaced.
    images : mapping of str to ndarray of shape (ny, nx)
        By the label of the slice; NaN where nothing is known.
    pixel_size : tuple of float, optional
        Height and width of a pixel in nm.

    Raises
    ------
    InputError
        When there is none, or they have different sizes.
    """
    _check_tiff_name(path)
    values = {str(name): np.asarray(image, dtype=np.float32) for name, image in images.items()}
    sizes = {image.shape for image in values.values()}
    if len(sizes) != 1 or len(next(iter(sizes))) != 2:
        raise InputError(f"images must be at least one, all of one shape, got {sorted(sizes)}")
    metadata = {"axes": "ZYX", "Labels": list(values)}
    _write_imagej(path, np.stack(list(values.values())), metadata, pixel_size)


def write_regions(
    path: str | os.PathLike[str],
    regions: Mapping[str, np.ndarray],
    pixel_size: tuple[float, float] | None = None,
) -> None:
    """Write named masks as one ImageJ stack, a page for each.

    Pages are 255 inside the region (True, included) and 0 outside, with the name as
    slice label and the pixel size in nm as ImageJ keeps it.

    Parameters
    ----------
    path : str or path-like
        Must end in .tif or .tiff; an existing file is replaced.
    regions : mapping of str to ndarray of bool, shape (ny, nx)
        True means inside.
    pixel_size : tuple of float, optional
        Height and width of a pixel in nm.

    Raises
    ------
    InputError
        When there is no region, or they have different sizes.
    """
    _check_tiff_name(path)
    masks = {str(name): np.asarray(mask) for name, mask in regions.items()}
    if not masks:
        raise InputError("regions must hold at least one mask, got none")
    sizes = {mask.shape for mask in masks.values()}
    if len(sizes) > 1 or len(next(iter(sizes))) != 2:
        raise InputError(f"regions must all have one shape (ny, nx), got {sorted(sizes)}")
    if any(mask.dtype != np.bool_ for mask in masks.values()):
        raise InputError("regions must be boolean masks, True inside")
    stack = np.stack([mask.astype(np.uint8) * 255 for mask in masks.values()])
    _write_imagej(path, stack, {"axes": "ZYX", "Labels": list(masks)}, pixel_size)


def read_regions(path: str | os.PathLike[str], shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Read back what ``write_regions`` wrote, or any ImageJ stack of masks.

    Parameters
    ----------
    path : str or path-like
        A TIFF.
    shape : tuple of int
        Scan size (ny, nx) it must have.

    Returns
    -------
    dict of str to ndarray of bool, shape (ny, nx)
        By slice label, "region 1" ... without labels; whatever is not 0 is inside.

    Raises
    ------
    ReadError
        When the file is missing or damaged.
    InputError
        When it has another size.
    """
    import tifffile

    file = _existing(path)
    refuse_bad_tiff(file)
    try:
        with tifffile.TiffFile(file) as content:
            stack = content.asarray()
            labels = (content.imagej_metadata or {}).get("Labels", [])
    except Exception as error:
        raise ReadError(f"cannot read {file}: it is not a usable TIFF file") from error
    stack = stack[np.newaxis] if stack.ndim == 2 else stack
    _check_size(file, stack.shape[1:], shape)
    labels = [labels] if isinstance(labels, str) else labels  # of a single page
    names = [str(name) for name in labels] if len(labels) == len(stack) else []
    if len(set(names)) < len(stack):
        names = [f"region {number + 1}" for number in range(len(stack))]
    return {name: page != 0 for name, page in zip(names, stack, strict=True)}


def read_probabilities(path: str | os.PathLike[str], shape: tuple[int, int]) -> np.ndarray:
    """Read class probabilities, as Fiji, ilastik or numpy save them.

    Parameters
    ----------
    path : str or path-like
        A TIFF stack or .npy; classes first, or last as in ilastik. Integers are
        taken as fractions of the largest number of their type.
    shape : tuple of int
        Scan size (ny, nx) it must have.

    Returns
    -------
    ndarray of float64, shape (classes, ny, nx)
        Divided by their sum, so that each pixel adds up to 1.

    Raises
    ------
    ReadError
        When the file is missing, damaged or of another kind.
    InputError
        When it has another size, fewer than two classes, or values that are not
        probabilities.
    """
    file = _existing(path)
    stack = np.squeeze(_read_array(file))
    if stack.ndim == 3 and stack.shape[1:] != tuple(shape) and stack.shape[:2] == tuple(shape):
        stack = np.moveaxis(stack, -1, 0)
    if stack.ndim != 3 or stack.shape[0] < 2:
        raise InputError(
            f"{file.name} must hold two or more classes of {shape[0]} x {shape[1]} pixels, "
            f"got an array of {stack.shape}"
        )
    _check_size(file, stack.shape[1:], shape)
    if stack.dtype.kind == "u":
        values = stack / np.iinfo(stack.dtype).max
    elif stack.dtype.kind == "f":
        values = stack.astype(np.float64)
    else:
        raise InputError(f"{file.name} must hold probabilities, got dtype {stack.dtype}")
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1 + 1e-6:
        raise InputError(f"{file.name} must hold probabilities between 0 and 1")
    total = values.sum(axis=0)
    if total.min() <= 0:
        raise InputError(f"{file.name} has pixels where every probability is 0")
    return values / total


def write_probabilities(
    path: str | os.PathLike[str],
    probabilities: np.ndarray,
    names: Sequence[str] = (),
    pixel_size: tuple[float, float] | None = None,
) -> None:
    """Write class probabilities as one ImageJ stack of 32-bit images, a slice for each class.

    Fiji's own classifier writes such stacks, and its Graph Cut reads a slice of them.

    Parameters
    ----------
    path : str or path-like
        Must end in .tif or .tiff; an existing file is replaced.
    probabilities : ndarray of shape (classes, ny, nx)
        From 0 to 1.
    names : sequence of str, optional
        Slice labels.
    pixel_size : tuple of float, optional
        Height and width of a pixel in nm.

    Raises
    ------
    InputError
        When these are no probabilities, or there are more or fewer names than classes.
    """
    _check_tiff_name(path)
    p = np.asarray(probabilities)
    if p.ndim != 3 or p.dtype.kind != "f" or p.size == 0:
        raise InputError(
            f"probabilities must be floats of shape (classes, ny, nx), got {p.dtype} {p.shape}"
        )
    if not np.isfinite(p).all() or p.min() < 0 or p.max() > 1 + 1e-6:
        raise InputError("probabilities must lie between 0 and 1")
    if names and len(names) != len(p):
        raise InputError(f"names must be one for each of {len(p)} classes, got {len(names)}")
    labels = [str(name) for name in names] or [f"class {i + 1}" for i in range(len(p))]
    metadata = {"axes": "ZYX", "Labels": labels, "min": 0.0, "max": 1.0}
    _write_imagej(path, p.astype(np.float32), metadata, pixel_size)


def read_pixel_size(path: str | os.PathLike[str]) -> tuple[float, float] | None:
    """Return height and width of a pixel in nm as ImageJ keeps them; None without calibration.

    Parameters
    ----------
    path : str or path-like
        A TIFF.

    Raises
    ------
    ReadError
        When the file is missing or damaged.
    """
    import tifffile

    file = _existing(path)
    try:
        with tifffile.TiffFile(file) as content:
            unit = str((content.imagej_metadata or {}).get("unit", ""))
            tags = content.pages[0].tags
            along = [tags[name].value for name in ("YResolution", "XResolution") if name in tags]
    except Exception as error:
        raise ReadError(f"cannot read {file}: it is not a usable TIFF file") from error
    # ImageJ writes the micro sign as an escape.
    nm = _UNITS.get(unit.replace("\\u00B5", "µ").replace("μ", "µ").strip())
    if nm is None or len(along) < 2 or not all(n > 0 and d > 0 for n, d in along):
        return None
    (down, per_down), (across, per_across) = along
    return nm * per_down / down, nm * per_across / across


def _write_imagej(
    path: str | os.PathLike[str],
    image: np.ndarray,
    metadata: dict[str, Any],
    pixel_size: tuple[float, float] | None,
) -> None:
    import tifffile

    resolution = None
    metadata = {**metadata, "mode": "grayscale"}
    if pixel_size is not None:
        height, width = pixel_size
        if not (height > 0 and width > 0 and np.isfinite(height) and np.isfinite(width)):
            raise InputError(f"pixel_size must be positive lengths in nm, got {pixel_size!r}")
        metadata["unit"] = "nm"
        resolution = (1.0 / width, 1.0 / height)  # pixels per unit along x and y
    with replacing(path) as draft:
        tifffile.imwrite(draft, image, imagej=True, resolution=resolution, metadata=metadata)


def _read_array(file: Path) -> np.ndarray:
    suffix = file.suffix.lower()
    if suffix in _TIFF:
        refuse_bad_tiff(file)
    try:
        if suffix == ".npy":
            return np.load(file, allow_pickle=False)
        if suffix in _TIFF:
            import tifffile

            return np.asarray(tifffile.imread(file))
        if suffix == ".png":
            from PIL import Image

            with Image.open(file) as image:
                return np.asarray(image)
    except Exception as error:  # each library has errors of its own
        raise ReadError(f"cannot read {file}: it is not a usable {suffix} file") from error
    raise ReadError(f"cannot read {file}: expected a .tif, .tiff, .png or .npy image")


def _existing(path: str | os.PathLike[str]) -> Path:
    file = Path(path)
    if not file.is_file():
        raise ReadError(f"cannot read {file}: there is no such file")
    return file


def _check_size(file: Path, found: tuple[int, ...], shape: tuple[int, int]) -> None:
    if tuple(found) != tuple(shape):
        got = " x ".join(str(n) for n in found)
        raise InputError(
            f"{file.name} must be {shape[0]} x {shape[1]} pixels (y, x) like the map, got {got}"
        )


def _check_tiff_name(path: str | os.PathLike[str]) -> None:
    if Path(path).suffix.lower() not in _TIFF:
        raise InputError(f"path must end in .tif or .tiff, got {os.fspath(path)}")
