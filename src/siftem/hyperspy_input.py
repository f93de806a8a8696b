"""HyperSpy signals at the doors of functions that work on spectrum images and spectra."""

from __future__ import annotations

import importlib
from typing import Any

from siftem.errors import InputError
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage

#: Where they are read: layers above, imported only for a signal.
_MAPS, _SPECTRA = "siftem.io.hyperspy_bridge", "siftem.io.spectrum_signals"


def as_map(given: Any) -> SpectrumImage:
    """Return a spectrum image, also of a HyperSpy signal.

    Parameters
    ----------
    given : SpectrumImage or hyperspy.signals.BaseSignal

    Raises
    ------
    InputError
        When it is neither, or not a map of counts.
    """
    if isinstance(given, SpectrumImage):
        return given
    if _is_signal(given):
        found: SpectrumImage = importlib.import_module(_MAPS).from_hyperspy(given)
        return found
    raise InputError(
        f"a SpectrumImage or a HyperSpy signal is needed, got {_kind(given)}: "
        "siftem.load(file) reads one"
    )


def as_spectrum(given: Any) -> Spectrum:
    """Return a spectrum, also of a HyperSpy signal.

    Parameters
    ----------
    given : Spectrum or hyperspy.signals.BaseSignal

    Raises
    ------
    InputError
        When it is neither, or not a single spectrum.
    """
    if isinstance(given, Spectrum):
        return given
    if _is_signal(given):
        found: Spectrum = importlib.import_module(_SPECTRA).signal_to_spectrum(given)
        return found
    raise InputError(
        f"a Spectrum or a HyperSpy signal is needed, got {_kind(given)}: "
        "siftem.integrate(map, region) gives one"
    )


def _is_signal(given: Any) -> bool:
    return hasattr(given, "axes_manager") and hasattr(given, "metadata")


def _kind(given: Any) -> str:
    shape = getattr(given, "shape", None)
    return f"{type(given).__name__}{'' if shape is None else f' of shape {shape}'}"
