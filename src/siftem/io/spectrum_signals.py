"""Spectra with their whole uncertainty, as HyperSpy signals and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from siftem.acquisition import plain_texts
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.io.acquisition_metadata import read_acquisition, text_in
from siftem.io.hyperspy_export import to_hyperspy
from siftem.io.library_messages import quiet
from siftem.io.signal_axes import energy_axis_of
from siftem.io.stored_errors import counts_or_refuse, matching_parts
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage

#: Where a signal keeps what HyperSpy has no place for.
_NODE = "Siftem"


def spectrum_to_signal(spectrum: Spectrum, like: SpectrumImage | None = None) -> Any:
    """Make a HyperSpy signal that keeps the covariance of a spectrum.

    Parameters
    ----------
    spectrum : Spectrum
    like : SpectrumImage, optional
        As for :func:`siftem.to_hyperspy`.

    Returns
    -------
    hyperspy.signals.BaseSignal
        As from :func:`siftem.to_hyperspy`. ``metadata.Siftem`` holds the parts of the
        covariance (variance, modes, pinned), background, pixels and notes, and the values
        that they belong to; they are saved with the signal and survive ``hs.load``.
    """
    signal = to_hyperspy(spectrum, like=like)
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
    for key, value in parts.items():
        signal.metadata.set_item(f"{_NODE}.{key}", value)
    return signal


def signal_to_spectrum(signal: Any) -> Spectrum:
    """Read a spectrum out of a HyperSpy signal without navigation axes.

    Parameters
    ----------
    signal : hyperspy.signals.BaseSignal
        From `spectrum_to_signal`, also cropped, rebinned or multiplied: the covariance
        follows. Or any single spectrum in eV or keV; then the variance is that in
        ``metadata.Signal.Noise_properties``, else the counts themselves.

    Returns
    -------
    Spectrum

    Raises
    ------
    InputError
        When it is not a single spectrum with a uniform energy axis, or was computed from
        spectra of siftem in a way that leaves its errors unknown.
    """
    if not (hasattr(signal, "axes_manager") and hasattr(signal, "metadata")):
        raise InputError(f"signal must be a HyperSpy signal, got {type(signal).__name__}")
    manager = signal.axes_manager
    if len(manager.signal_axes) != 1 or manager.navigation_size > 1:
        raise InputError(
            f"a single spectrum is needed, but the signal has "
            f"{len(manager.navigation_axes)} navigation and {len(manager.signal_axes)} signal "
            f"axes: integrate a region first"
        )
    signal_type = text_in(signal.metadata, "Signal.signal_type")
    with quiet():
        axis, turned, _ = energy_axis_of(manager.signal_axes[0], signal_type)
        acquisition, _ = read_acquisition(signal.metadata, signal.original_metadata)
    data = signal.data.compute() if hasattr(signal.data, "dask") else signal.data
    values = np.asarray(data, dtype=np.float64).reshape(-1)
    values = values[::-1] if turned else values
    name = text_in(signal.metadata, "General.title")
    kept = signal.metadata.get_item(_NODE)
    if kept is None or kept.get_item("variance") is None:
        stated = _stated_variance(signal, axis, turned)
        return Spectrum(
            values,
            axis,
            variance=values.clip(min=0) if stated is None else stated,
            name=name,
            acquisition=replace(acquisition, bulk=signal_type == "EDS_SEM"),
        )
    parts = matching_parts(kept, values, axis)
    if parts is None:
        parts = {"variance": counts_or_refuse(values, name)}
    return Spectrum(
        values,
        axis,
        name=name,
        acquisition=replace(acquisition, bulk=bool(kept.get_item("bulk"))),
        notes=plain_texts(kept.get_item("notes")),
        absent=plain_texts(kept.get_item("absent")),
        **parts,
    )


def _stated_variance(signal: Any, axis: EnergyAxis, turned: bool) -> np.ndarray | None:
    stated = signal.metadata.get_item("Signal.Noise_properties.variance")
    data = getattr(stated, "data", stated)
    if data is None or np.size(data) not in (1, axis.size):
        return None
    variance = np.broadcast_to(np.asarray(data, float).reshape(-1), (axis.size,)).copy()
    return variance[::-1] if turned else variance
