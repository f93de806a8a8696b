"""Label images, regions and probabilities as image files that ImageJ and Fiji open."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from siftem.errors import InputError, ReadError
from siftem.io.atomic import replacing

#: Largest class number of a 16-bit label image.
_LARGEST_LABEL = 2**16 - 1
_TIFF = (".tif", ".tiff")


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


def write_label_image(path: str | os.PathLike[str], labels: np.ndarray) -> None:
    """Write class numbers as a TIFF of 8 or 16 bits.

    Parameters
    ----------
    path : str or path-like
        Must end in .tif or .tiff; an existing file is replaced.
    labels : ndarray of int or bool, shape (ny, nx)
        From 0 to 65535.

    Raises
    ------
    InputError
        When the labels do not fit.
    """
    import tifffile

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
    with replacing(path) as draft:
        tifffile.imwrite(draft, labels.astype(kind), compression="zlib", software="siftem")


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
    import tifffile

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
    metadata: dict[str, object] = {"axes": "ZYX", "Labels": list(masks), "mode": "grayscale"}
    resolution = None
    if pixel_size is not None:
        height, width = pixel_size
        metadata["unit"] = "nm"
        resolution = (1.0 / width, 1.0 / height)  # pixels per unit along x and y
    with replacing(path) as draft:
        tifffile.imwrite(draft, stack, imagej=True, resolution=resolution, metadata=metadata)


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


def _read_array(file: Path) -> np.ndarray:
    suffix = file.suffix.lower()
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
