"""Sum the spectra of all pixels of a region."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from siftem.errors import InputError
from siftem.hyperspy_input import as_map
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage


def integrate(si: SpectrumImage, region: ArrayLike, *, name: str | None = None) -> Spectrum:
    """Sum all pixels of a region, with Poisson errors.

    Parameters
    ----------
    si : SpectrumImage
        The counts; or a HyperSpy signal of them.
    region : array of bool, shape (ny, nx)
        True = included (HyperSpy's masks mean the opposite). A ``Region`` is one, a HyperSpy
        signal counts by its data.
    name : str, optional
        Name of the spectrum; the region's own name by default.

    Returns
    -------
    Spectrum
        Counts of each channel; the variance of a sum of Poisson counts is the sum itself.

    Raises
    ------
    InputError
        When the region has another shape than the map, is not boolean, or is empty.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> spectrum = siftem.integrate(si, phantom.mask("Fp"), name="Fp")
    >>> spectrum.n_pixels == int(phantom.mask("Fp").sum())
    True
    >>> ax = spectrum.plot()
    """
    si, mask = as_map(si), np.asarray(region)
    label = name if name is not None else getattr(region, "name", "") or "region"
    if mask.dtype != bool:
        raise InputError(
            f"a region must be a boolean array (True = included), got {mask.dtype}: "
            f"compare labels with a class, e.g. labels == 1"
        )
    if mask.shape != si.shape:
        raise InputError(f"region {label!r} has shape {mask.shape}, the map has {si.shape}")
    n_pixels = int(np.count_nonzero(mask))
    if n_pixels == 0:
        raise InputError(
            f"region {label!r} is empty: paint more traces, lower the smoothness or the margin"
        )
    counts = si.sum_spectrum(mask.ravel())
    pedestal = np.full(si.n_channels, n_pixels * si.pedestal)
    return Spectrum(
        counts - pedestal,
        si.axis,
        variance=counts,
        background=pedestal,
        name=label,
        n_pixels=n_pixels,
        acquisition=si.acquisition.over(n_pixels / si.n_pixels),
    )
