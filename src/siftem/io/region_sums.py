"""Sum spectra over regions of any kind: masks, labels, probabilities, and files of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from siftem.errors import InputError
from siftem.hyperspy_input import as_map
from siftem.io.imagej_rois import read_rois
from siftem.io.images import read_label_image, read_probabilities, read_regions
from siftem.segment.regions import Region, Regions
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.integrate import integrate

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
