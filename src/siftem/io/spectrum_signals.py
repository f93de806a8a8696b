"""Spectra with their whole uncertainty, as HyperSpy signals and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from siftem.acquisition import plain_texts
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.io.hyperspy_export import NODE
from siftem.io.signal_metadata import energy_axis_of, read_acquisition, text_in
from siftem.io.vendor_files import quiet
from siftem.spectrum import Spectrum

#: Relative difference of data that are the same but for rounding (float32 has 6e-8).
_SAME = 1e-5
#: Counts scatter like Poisson's if the variance is the mean within this factor.
_POISSON = 1.6
#: Channels with at least this many counts tell how data scatter, if there are this many.
_FILLED, _ENOUGH = 5.0, 60


def signal_to_spectrum(signal: Any) -> Spectrum:
    """Read a spectrum out of a HyperSpy signal without navigation axes.

    Parameters
    ----------
    signal : hyperspy.signals.BaseSignal
        From `siftem.to_hyperspy`, also cropped, rebinned or multiplied: the covariance
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
    kept = signal.metadata.get_item(NODE)
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


def matching_parts(kept: Any, values: np.ndarray, axis: EnergyAxis) -> dict[str, Any] | None:
    """Return the parts of a covariance for data that HyperSpy may have changed.

    HyperSpy hands a signal's metadata on to whatever is computed from it. The values that
    the parts were made for are kept with them, and tell what was done: nothing, a crop, bins
    put together, a multiple, or several of these. The parts follow.

    Parameters
    ----------
    kept : DictionaryTreeBrowser
        ``metadata.Siftem``.
    values : ndarray of shape (channels,)
        Data of the signal, energies rising.
    axis : EnergyAxis
        Of the signal, in the unit of the stored one.

    Returns
    -------
    dict or None
        Arguments of `Spectrum`; None when the data are something else.
    """
    stored = kept.get_item("values")
    places = kept.get_item("energies")
    if stored is None or places is None:
        return None
    stored, places = np.asarray(stored, float), np.asarray(places, float)
    # All channels, whatever energies they have been given since, or some of them.
    bins = (0, 1) if values.size == stored.size else _bins(places, axis)
    if bins is None:
        return None
    first, width = bins

    def moved(rows: np.ndarray) -> np.ndarray:
        part = np.atleast_2d(rows)[:, first : first + width * axis.size]
        return np.asarray(part.reshape(len(part), axis.size, width).sum(axis=2))

    before = moved(stored)[0]
    norm = float(before @ before)
    factor = float(before @ values) / norm if norm > 0 else 0.0
    if factor == 0 or np.abs(values - factor * before).max() > _SAME * np.abs(values).max():
        return None
    if abs(factor - 1) < _SAME:
        factor = 1.0
    parts: dict[str, Any] = {
        "variance": factor**2 * moved(np.asarray(kept.get_item("variance")))[0],
        "background": factor * moved(np.asarray(kept.get_item("background")))[0],
        "n_pixels": int(kept.get_item("n_pixels") or 0) if factor == 1 else 0,
    }
    for label in ("modes", "pinned"):
        rows = kept.get_item(label)
        if rows is not None:
            parts[label] = factor * moved(np.asarray(rows))
    return parts


def counts_or_refuse(values: np.ndarray, name: str) -> np.ndarray:
    """Return the variance of data that were made out of ours, if they are plain counts.

    Raises
    ------
    InputError
        When they don't scatter like counts: their errors are not known.
    """
    whole = (values >= 0).all() and np.abs(values - np.rint(values)).max() < 1e-3
    if whole and 1 / _POISSON < _dispersion(values) < _POISSON:
        return values
    raise InputError(
        f"the spectrum {name!r} was computed from ones of siftem, and its errors are not those of "
        f"any of them: combine spectra with siftem (integrate, subtract), or give its variance in "
        f"metadata.Signal.Noise_properties.variance and delete metadata.Siftem"
    )


def _bins(places: np.ndarray, axis: EnergyAxis) -> tuple[int, int] | None:
    """First stored channel and number of stored channels in each of the signal's."""
    if places.size < 2:
        return None
    step = (places[-1] - places[0]) / (places.size - 1)
    width = round(axis.scale / step)
    if width < 1 or abs(axis.scale - width * step) * axis.size > 0.1 * step:
        return None
    # The centre of a channel that holds several is the mean of theirs.
    begin = (axis.offset - places[0]) / step - (width - 1) / 2
    first = round(begin)
    if abs(begin - first) > 0.1 or first < 0 or first + width * axis.size > places.size:
        return None
    return first, width


def _dispersion(values: np.ndarray) -> float:
    """Variance over mean, from what is left of smooth data in their fourth differences.

    1 if too few channels are filled to tell.
    """
    kernel = np.array([1.0, -4.0, 6.0, -4.0, 1.0])
    left = np.convolve(values, kernel, mode="valid") ** 2 / (kernel @ kernel)
    mean = np.convolve(values, np.ones(5) / 5, mode="valid")
    filled = mean > _FILLED
    if filled.sum() < _ENOUGH:
        return 1.0
    # The median of a squared standard normal is 0.455.
    return float(np.median(left[filled] / mean[filled]) / 0.4549)
