"""Absorption of X-rays on their way out of the film."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import xraylib

from siftem.errors import InputError
from siftem.xray.elements import atomic_number

#: The attenuation tables begin here (keV); softer photons get the value at this energy.
SOFTEST = 0.1
_HARDEST = 800.0

# Below this chi the exact form loses digits and the series is exact to 1e-13.
_SMALL_CHI = 1e-4
_CM_PER_NM = 1e-7


def mass_attenuation(
    weight_fractions: Mapping[str, float], energy: float | np.ndarray
) -> np.ndarray:
    """Return the mass attenuation coefficient of a compound, ``sum_i w_i (mu/rho)_i``.

    Parameters
    ----------
    weight_fractions : mapping of str to float
        Element -> share by weight, in any common unit: they are normalised to 1.
    energy : float or ndarray
        In keV. Outside 0.1 to 800 keV, where there are no tables, the value at the
        nearest end is used.

    Returns
    -------
    ndarray
        cm2/g, float64, in the shape of ``energy``.

    References
    ----------
    Total cross-sections (photoelectric, coherent, incoherent) of xraylib, Schoonjans et
    al. 2011, Spectrochim. Acta B 66, 776. For O near its own K line tables differ by 15%.
    """
    fractions = _checked_fractions(weight_fractions)
    energies = np.asarray(energy, dtype=np.float64)
    if not np.isfinite(energies).all():
        raise InputError("energy must be finite numbers in keV, got NaN or infinity")
    total = np.zeros(energies.shape)
    for element, fraction in fractions.items():
        total += fraction * element_attenuation(element, energies)
    return total


def element_attenuation(element: str, energies: np.ndarray) -> np.ndarray:
    """Return the mass attenuation of one element in cm2/g, in the shape of ``energies`` (keV)."""
    flat = np.ascontiguousarray(energies, dtype=np.float64).ravel()
    return _element_attenuation(atomic_number(element), flat.tobytes()).reshape(np.shape(energies))


@lru_cache(maxsize=1024)
def _element_attenuation(number: int, energies: bytes) -> np.ndarray:
    # A fit asks for the same energies over and over; one look-up costs as much as a copy.
    clipped = np.frombuffer(energies, dtype=np.float64).clip(SOFTEST, _HARDEST)
    # One by one: xraylib's form for arrays works on OpenMP threads, and a copy of a process (see
    # `siftem.pipeline.side_processes`) waits for ever for those of its parent.
    values = np.array([xraylib.CS_Total(number, e) for e in clipped.tolist()], dtype=np.float64)
    values.flags.writeable = False
    return values


def thin_film_absorption(
    weight_fractions: Mapping[str, float],
    energy: float | np.ndarray,
    *,
    thickness: float,
    density: float,
    take_off_angle: float,
) -> np.ndarray:
    """Return the share of the photons that leave a film in which they are born evenly.

    ``A = (1 - exp(-chi)) / chi`` with ``chi = (mu/rho) rho t / sin(take-off angle)`` and
    mu/rho of the whole compound.

    Parameters
    ----------
    weight_fractions : mapping of str to float
        Element -> share by weight; normalised to 1.
    energy : float or ndarray
        In keV.
    thickness : float
        t in nm; 0 means no absorption.
    density : float
        rho of the compound in g/cm3.
    take_off_angle : float
        Between the film's surface and the detector, in degrees; above 0 and at most 90.

    Returns
    -------
    ndarray
        Between 0 and 1, float64, in the shape of ``energy``.

    References
    ----------
    Goldstein, Costley, Lorimer, Reed 1977, Scanning Electron Microscopy 1, 315.
    """
    if not (np.isfinite(thickness) and thickness >= 0):
        raise InputError(f"thickness must be in nm and not negative, got {thickness}")
    if not (np.isfinite(density) and density > 0):
        raise InputError(f"density must be a positive number in g/cm3, got {density}")
    if not 0 < take_off_angle <= 90:
        raise InputError(
            f"take_off_angle must be in degrees, above 0 and at most 90, got {take_off_angle}"
        )
    path = density * thickness * _CM_PER_NM / np.sin(np.radians(take_off_angle))
    return escaping_share(mass_attenuation(weight_fractions, energy) * path)


def escaping_share(chi: np.ndarray) -> np.ndarray:
    """Return ``(1 - exp(-chi)) / chi`` for chi >= 0, 1 at chi = 0, without loss of digits."""
    chi = np.asarray(chi, dtype=np.float64)
    small = chi < _SMALL_CHI
    safe = np.where(small, 1.0, chi)
    return np.where(small, 1 - chi / 2 + chi**2 / 6, -np.expm1(-safe) / safe)


def _checked_fractions(weight_fractions: Mapping[str, float]) -> dict[str, float]:
    for element, fraction in weight_fractions.items():
        atomic_number(element)
        if not (np.isfinite(fraction) and fraction >= 0):
            raise InputError(
                f"weight fractions must be finite and not negative, got {fraction} for {element}"
            )
    total = float(sum(weight_fractions.values()))
    if total <= 0:
        raise InputError("weight fractions must hold at least one element above zero")
    return {e: float(f) / total for e, f in weight_fractions.items() if f > 0}
