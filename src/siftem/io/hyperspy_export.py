"""From siftem's maps and spectra to HyperSpy signals and .hspy files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.files.atomic import replacing
from siftem.io.signal_metadata import LIVE_TIME_NODE
from siftem.io.vendor_files import quiet
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage

#: Dense bytes of one lazy chunk of an exported spectrum image.
_CHUNK_BYTES = 16 * 2**20
#: Where a signal keeps what HyperSpy has no place for.
NODE = "Siftem"
#: What eXSpy fills in when it is not told; removed again, since nobody measured it.
_EXSPY_DEFAULTS = (
    "Stage.tilt_alpha",
    "Detector.EDS.elevation_angle",
    "Detector.EDS.azimuth_angle",
    "Detector.EDS.energy_resolution_MnKa",
)


def to_hyperspy(
    obj: SpectrumImage | Spectrum | np.ndarray,
    *,
    like: SpectrumImage | None = None,
    title: str = "",
) -> Any:
    """Make a HyperSpy signal, with calibrated axes and metadata.

    Parameters
    ----------
    obj : SpectrumImage, Spectrum or ndarray
        An array is a map (ny, nx) or a stack of maps (k, ny, nx).
    like : SpectrumImage, optional
        Where a spectrum or map comes from: its kind of signal, pixel size and (unless the
        spectrum has its own) acquisition go into the metadata. Without it, a spectrum in
        keV is taken as EDS_TEM, one in eV as a plain Signal1D.
    title : str
        Title of the signal; by default that of ``obj`` or of ``like``.

    Returns
    -------
    hyperspy.signals.BaseSignal
        For a SpectrumImage a lazy signal (LazyEDSTEMSpectrum, LazyEELSSpectrum ...),
        whose chunks become dense only when they are computed: calling ``compute()`` on
        it makes the dense cube. For a Spectrum a signal without navigation axes, with
        its variance in ``metadata.Signal.Noise_properties``; ``metadata.Siftem`` holds the
        parts of the covariance (variance, modes, pinned), background, pixels and notes, and the
        values that they belong to: they are saved with the signal, and siftem sees by them
        what HyperSpy has done to it. For maps a Signal2D.
        The take-off angle is given as the elevation of a detector at zero tilt.

    Raises
    ------
    InputError
        When ``obj`` is something else, or a map of another size than ``like``.

    Examples
    --------
    >>> phantom = siftem.simulate_demo((32, 32), dose=300)
    >>> si = phantom.spectrum_image.without_zero_peak()
    >>> signal = siftem.to_hyperspy(si)
    >>> signal.data.shape == (32, 32, si.n_channels)
    True
    """
    with quiet():
        if isinstance(obj, SpectrumImage):
            return _from_spectrum_image(obj, title or obj.title)
        if isinstance(obj, Spectrum):
            signal_type, acquisition = _origin(obj, like)
            named = title or obj.name or (like.title if like else "")
            signal = _spectral(np.array(obj.values), obj.axis, signal_type, acquisition, named)
            import hyperspy.api as hs

            noise = hs.signals.Signal1D(obj.standard_deviation**2)
            # HyperSpy cuts it where it cuts the signal: by energies, if these are given.
            mine, theirs = noise.axes_manager.signal_axes[0], signal.axes_manager.signal_axes[0]
            for part in ("name", "units", "scale", "offset"):
                setattr(mine, part, getattr(theirs, part))
            signal.metadata.set_item("Signal.Noise_properties.variance", noise)
            for key, value in _covariance_of(obj).items():
                signal.metadata.set_item(f"{NODE}.{key}", value)
            return signal
        if isinstance(obj, np.ndarray):
            return _from_maps(obj, like, title or (like.title if like else ""))
    raise InputError(
        f"obj must be a SpectrumImage, a Spectrum or an array of maps, got {type(obj).__name__}"
    )


def _covariance_of(spectrum: Spectrum) -> dict[str, Any]:
    """What is kept of a spectrum, with the values that it belongs to: HyperSpy may change these."""
    parts: dict[str, Any] = {
        "values": np.array(spectrum.values),
        "energies": spectrum.axis.centers,
        "variance": np.array(spectrum.variance),
        "background": np.array(spectrum.background),
        "n_pixels": int(spectrum.n_pixels),
        "notes": list(spectrum.notes),
        "bulk": bool(spectrum.acquisition.bulk),
    }
    if spectrum.absent:
        parts["absent"] = list(spectrum.absent)
    # HyperSpy files do not take empty arrays.
    for label in ("modes", "pinned"):
        rows = getattr(spectrum, label)
        if rows.size:
            parts[label] = np.array(rows)
    return parts


def write_maps(
    path: str | os.PathLike[str],
    maps: np.ndarray,
    spectra: np.ndarray,
    names: Sequence[str],
    si: SpectrumImage,
) -> None:
    """Write a factorisation to one .hspy file that HyperSpy opens as two signals.

    ``hs.load(path)`` gives ``[maps, spectra]``: a Signal2D stack over components with
    calibrated pixels, and spectra over components with calibrated energies. The names
    are in ``metadata.Siftem.names`` of both, in order. The file appears whole or not
    at all.

    Parameters
    ----------
    path : str or path-like
        Must end in .hspy; an existing file is replaced.
    maps : ndarray of shape (k, ny, nx)
    spectra : ndarray of shape (k, channels)
    names : sequence of str
        One for each component.
    si : SpectrumImage
        What was factorised: gives axes and metadata.

    Raises
    ------
    InputError
        When shapes and names do not fit each other or ``si``.
    """
    maps, spectra = np.asarray(maps), np.asarray(spectra)
    if not str(path).endswith(".hspy"):
        raise InputError(f"path must end in .hspy, got {os.fspath(path)}")
    if spectra.shape != (len(names), si.n_channels):
        raise InputError(
            f"spectra must have shape ({len(names)}, {si.n_channels}) for {len(names)} names, "
            f"got {spectra.shape}"
        )
    if maps.shape != (len(names), *si.shape):
        raise InputError(
            f"maps must have shape {(len(names), *si.shape)} for {len(names)} names, "
            f"got {maps.shape}"
        )
    with quiet(), replacing(path) as draft:
        images = _from_maps(maps, si, "maps")
        curves = _spectral(
            spectra, si.axis, si.signal_type, si.acquisition, "spectra", for_file=True
        )
        curves.axes_manager.navigation_axes[0].name = "component"
        for signal in (images, curves):
            signal.metadata.set_item("Siftem.names", list(names))
            signal.metadata.set_item("Siftem.source", si.title)
        images.save(draft, overwrite=True)
        second = draft.with_name(f"{draft.stem}-spectra.hspy")
        try:
            curves.save(second, overwrite=True)
            _append_experiment(second, draft)
        finally:
            second.unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class _DenseOnDemand:
    """Looks to dask like a dense cube; a slice of it is made dense when it is taken."""

    si: SpectrumImage

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.si.shape, self.si.n_channels)

    @property
    def dtype(self) -> np.dtype:
        return self.si.counts.dtype

    @property
    def ndim(self) -> int:
        return 3

    def __getitem__(self, index: tuple[slice, slice, slice]) -> np.ndarray:
        y, x, channels = index
        ny, nx = self.si.shape
        pixels = np.arange(ny * nx).reshape(ny, nx)[y, x]
        rows = self.si.counts[pixels.ravel()][:, channels]
        return rows.toarray().reshape(*pixels.shape, -1)


def _from_spectrum_image(si: SpectrumImage, title: str) -> Any:
    import dask.array as da

    ny, nx = si.shape
    row_bytes = nx * si.n_channels * si.counts.dtype.itemsize
    chunks = (max(1, min(ny, _CHUNK_BYTES // row_bytes)), nx, si.n_channels)
    cube = da.from_array(_DenseOnDemand(si), chunks=chunks, name=False, asarray=False)
    signal = _spectral(cube, si.axis, si.signal_type, _of_a_pixel(si), title)
    if si.acquisition.live_time is not None:
        signal.metadata.set_item(LIVE_TIME_NODE, "pixel")
    _calibrate_pixels(signal.axes_manager.navigation_axes, si.pixel_size)
    if si.pedestal:
        signal.metadata.set_item("Siftem.pedestal", float(si.pedestal))
    return signal


def _from_maps(maps: np.ndarray, like: SpectrumImage | None, title: str) -> Any:
    import hyperspy.api as hs

    if maps.ndim not in (2, 3):
        raise InputError(f"maps must have shape (ny, nx) or (k, ny, nx), got {maps.shape}")
    if like is not None and maps.shape[-2:] != like.shape:
        raise InputError(f"maps must be {like.shape} pixels like the map, got {maps.shape[-2:]}")
    signal = hs.signals.Signal2D(maps)
    signal.metadata.General.title = title
    if maps.ndim == 3:
        signal.axes_manager.navigation_axes[0].name = "component"
    _calibrate_pixels(signal.axes_manager.signal_axes, like.pixel_size if like else None)
    if like is not None:
        _describe_acquisition(signal, _of_a_pixel(like), like.signal_type)
    return signal


def _of_a_pixel(si: SpectrumImage) -> Acquisition:
    """The acquisition with the live time of a pixel, as HyperSpy's metadata mean it."""
    time = si.acquisition.live_time
    return si.acquisition if time is None else replace(si.acquisition, live_time=time / si.n_pixels)


def _spectral(
    data: Any,
    axis: EnergyAxis,
    signal_type: str,
    acquisition: Acquisition,
    title: str,
    *,
    for_file: bool = False,
) -> Any:
    import hyperspy.api as hs

    signal = hs.signals.Signal1D(data)
    if hasattr(data, "dask"):
        signal = signal.as_lazy()
    signal.metadata.General.title = title
    if for_file:
        # The class that belongs to the type is made on loading; eXSpy takes a second to import.
        signal.metadata.Signal.signal_type = signal_type
        of_counts = signal_type.startswith("EDS") or signal_type == "EELS"
        signal.axes_manager.signal_axes[0].is_binned = of_counts
    else:
        _set_class(signal, signal_type)
    _describe_acquisition(signal, acquisition, signal_type)
    energy = signal.axes_manager.signal_axes[0]
    energy.name = "Energy loss" if signal_type == "EELS" else "Energy"
    energy.offset, energy.scale, energy.units = axis.offset, axis.scale, axis.unit
    return signal


def _set_class(signal: Any, signal_type: str) -> None:
    signal.set_signal_type(signal_type)
    if signal_type.startswith("EDS"):
        root = f"Acquisition_instrument.{signal_type.removeprefix('EDS_')}"
        for key in _EXSPY_DEFAULTS:
            node, _, last = f"{root}.{key}".rpartition(".")
            if signal.metadata.has_item(f"{node}.{last}"):
                delattr(signal.metadata.get_item(node), last)


def _describe_acquisition(signal: Any, acquisition: Acquisition, signal_type: str) -> None:
    root = f"Acquisition_instrument.{'SEM' if signal_type == 'EDS_SEM' else 'TEM'}"
    stated = {
        "beam_energy": acquisition.beam_energy,
        "beam_current": acquisition.beam_current,
        "Detector.EDS.energy_resolution_MnKa": acquisition.resolution,
        "Detector.EDS.live_time": acquisition.live_time,
        "convergence_angle": acquisition.convergence_angle,
        "Detector.EELS.collection_angle": acquisition.collection_angle,
    }
    if acquisition.take_off_angle is not None:
        stated["Detector.EDS.elevation_angle"] = acquisition.take_off_angle
        stated["Detector.EDS.azimuth_angle"] = 0.0
        stated["Stage.tilt_alpha"] = 0.0
    for key, value in stated.items():
        if value is not None:
            signal.metadata.set_item(f"{root}.{key}", float(value))
    if acquisition.elements:
        signal.metadata.set_item("Sample.elements", list(acquisition.elements))


def _calibrate_pixels(axes: Any, pixel_size: tuple[float, float] | None) -> None:
    x, y = axes[:2]
    x.name, y.name = "x", "y"
    if pixel_size is not None:
        y.scale, x.scale = pixel_size
        x.units = y.units = "nm"


def _origin(spectrum: Spectrum, like: SpectrumImage | None) -> tuple[str, Acquisition]:
    acquisition = spectrum.acquisition
    if like is None:
        return ("EDS_TEM" if spectrum.axis.unit == "keV" else ""), acquisition
    return like.signal_type, like.acquisition if acquisition == Acquisition() else acquisition


def _append_experiment(source: os.PathLike[str], target: os.PathLike[str]) -> None:
    """Copy the signal of one .hspy file into another one."""
    import h5py

    with h5py.File(source, "r") as given, h5py.File(target, "a") as taking:
        for name in given["Experiments"]:
            given.copy(f"Experiments/{name}", taking["Experiments"])
