"""The EDS detector: what it lets in, and how it blurs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
import xraylib

from siftem.acquisition import TYPICAL_RESOLUTION, Acquisition
from siftem.errors import InputError
from siftem.xray.absorption import element_attenuation
from siftem.xray.elements import symbol_of

MN_KA = 5.895  # keV
# FWHM^2 grows by 8 ln2 F epsilon per unit of energy: Fano factor 0.115, 3.66 eV a pair.
_BROADENING = 2.33  # eV^2 per eV
_SIGMA_PER_FWHM = 1 / math.sqrt(8 * math.log(2))
_SILICON_DENSITY = 2.33  # g/cm3
_CM_PER_NM = 1e-7
_CM_PER_MM = 0.1
#: With less than this (eV) at Mn Ka nothing would be left for the electronics at 0 keV.
SHARPEST = math.sqrt(_BROADENING * 1e3 * MN_KA)
_BLUNTEST = 500.0
# No electronics is quieter: eV at 0 keV.
_SHARPEST_AT_ZERO = 10.0

_SILICON = 14
SILICON_KA = 1.740  # keV
_K_EDGE = float(xraylib.EdgeEnergy(_SILICON, xraylib.K_SHELL))
_YIELD = float(xraylib.FluorYield(_SILICON, xraylib.K_SHELL))
_JUMP_RATIO = float(xraylib.JumpFactor(_SILICON, xraylib.K_SHELL))

Layer = tuple[str, float] | tuple[str, float, float]

#: In front of a crystal without a window: its contact.
BARE: tuple[Layer, ...] = (("Al", 10.0),)
#: A polymer window that holds the air: 300 nm of C8H8 with Al against light (as Moxtek's AP3, whose
#: data sheet has 42% at N K, 60% at O K, 70% at F K between the ribs of its grid).
POLYMER: tuple[Layer, ...] = (("C", 300.0, 1.1), ("Al", 40.0))


@dataclass(frozen=True)
class Detector:
    """A silicon drift detector (or Si(Li)).

    Parameters
    ----------
    resolution : float
        Full width at half maximum at Mn Ka in eV.
    window : tuple of (material, nm) or (material, nm, g/cm3), optional
        Layers in front of the crystal: an element, or a formula such as "Si3N4". The
        density is needed for a formula and for a gas. None: not known; `BARE` is reckoned with,
        and what is measured by soft lines is the less certain.
    dead_layer : float
        Silicon that absorbs without detecting, in nm.
    thickness : float
        Active silicon in mm.
    collection_depth : float
        Depth scale in nm of incomplete charge collection under the window, which gives
        soft lines a tail; 0 means none. See `siftem.xray.response`.
    broadening : float
        Growth of the widths with the energy, relative to silicon's Fano noise.

    Notes
    -----
    Frozen: ``dataclasses.replace(detector, resolution=128)`` makes another one.

    Examples
    --------
    >>> detector = siftem.Detector(resolution=128.0)
    >>> round(float(detector.fwhm(5.895)))  # eV
    128
    >>> f"{float(detector.sigma(5.895)):.4f}"  # keV
    '0.0544'
    >>> float(detector.efficiency(0.3)) < float(detector.efficiency(5.0)) < 1
    True
    >>> import numpy as np
    >>> detector.sigma_slopes(np.array([1.0, 5.9])).shape
    (2, 2)
    >>> siftem.Detector.of(siftem.Acquisition(resolution=125.0)).resolution
    125.0
    """

    resolution: float = TYPICAL_RESOLUTION
    window: tuple[Layer, ...] | None = None
    dead_layer: float = 30.0
    thickness: float = 0.45
    collection_depth: float = 0.0
    broadening: float = 1.0

    @classmethod
    def of(cls, acquisition: Acquisition) -> Detector:
        """Return the detector of an acquisition, as far as its file tells."""
        return cls(resolution=acquisition.fwhm)

    def __post_init__(self) -> None:
        if not SHARPEST < self.resolution <= _BLUNTEST:
            raise InputError(
                f"detector resolution must be the FWHM at Mn Kα in eV, between {SHARPEST:.1f} "
                f"(the limit of silicon) and {_BLUNTEST:g}, got {self.resolution}"
            )
        if not (math.isfinite(self.collection_depth) and self.collection_depth >= 0):
            raise InputError(
                f"detector collection_depth must be in nm and not negative, "
                f"got {self.collection_depth}"
            )
        if not (math.isfinite(self.dead_layer) and self.dead_layer >= 0):
            raise InputError(
                f"detector dead_layer must be in nm and not negative, got {self.dead_layer}"
            )
        if not (math.isfinite(self.thickness) and 0 < self.thickness <= 20):
            raise InputError(
                f"detector thickness must be in mm of silicon, above 0 and at most 20, "
                f"got {self.thickness}"
            )
        if isinstance(self.window, str):
            raise InputError(f"detector window must be layers like ('Al', 10), got {self.window!r}")
        if self.window is not None:
            checked = tuple(_checked_layer(layer) for layer in self.window)
            object.__setattr__(self, "window", checked)

    def efficiency(self, energy: float | np.ndarray) -> np.ndarray:
        """Return the share of the arriving photons that are detected.

        ``exp(-sum_layers mu rho t) (1 - exp(-mu_Si rho_Si t_Si))``, the layers being the
        window and the dead layer.

        Parameters
        ----------
        energy : float or ndarray
            In keV. Below 0.1 keV the attenuation at 0.1 keV is used.

        Returns
        -------
        ndarray
            Between 0 and 1, float64, in the shape of ``energy``. The solid angle is not
            in it.
        """
        energies = np.asarray(energy, dtype=np.float64)
        silicon = element_attenuation("Si", energies) * _SILICON_DENSITY
        depth = silicon * self.dead_layer * _CM_PER_NM
        for layer in BARE if self.window is None else self.window:
            depth = depth + _layer_depth(layer, energies)
        return np.exp(-depth) * -np.expm1(-silicon * self.thickness * _CM_PER_MM)

    def fwhm(self, energy: float | np.ndarray) -> np.ndarray:
        """Return the full width at half maximum of a line in eV.

        ``FWHM(E)^2 = FWHM(Mn Ka)^2 + 2.33 broadening (E - 5895 eV)``, all in eV; see
        Fiori & Newbury 1978, Scanning Electron Microscopy 1, 401.

        Parameters
        ----------
        energy : float or ndarray
            In keV. Below 0 the width at 0 is used.

        Returns
        -------
        ndarray
            eV, float64, in the shape of ``energy``.
        """
        above = np.maximum(np.asarray(energy, dtype=np.float64), 0.0) - MN_KA
        slope = self.broadening * _BROADENING * 1e3
        return np.sqrt(np.maximum(self.resolution**2 + slope * above, _SHARPEST_AT_ZERO**2))

    def sigma(self, energy: float | np.ndarray) -> np.ndarray:
        """Return the standard deviation of a line in keV; see `fwhm`.

        Parameters
        ----------
        energy : float or ndarray
            In keV.

        Returns
        -------
        ndarray
            keV, float64, in the shape of ``energy``.
        """
        return self.fwhm(energy) * (1e-3 * _SIGMA_PER_FWHM)

    def sigma_slopes(self, energy: np.ndarray) -> np.ndarray:
        """Return how `sigma` changes with ``resolution`` (eV) and with ``broadening``.

        Parameters
        ----------
        energy : ndarray of shape (n,)
            In keV.

        Returns
        -------
        ndarray of shape (n, 2)
            keV for one eV, and for a broadening of one; zero where the electronics can't be
            quieter.
        """
        fwhm = self.fwhm(energy)
        above = np.maximum(energy, 0.0) - MN_KA
        squares = np.stack([np.full_like(fwhm, 2 * self.resolution), _BROADENING * 1e3 * above])
        slopes = squares / (2 * fwhm) * (1e-3 * _SIGMA_PER_FWHM)
        return np.where(fwhm > _SHARPEST_AT_ZERO, slopes, 0.0).T


def _checked_layer(layer: Sequence[Any]) -> Layer:
    if isinstance(layer, str) or len(layer) not in (2, 3):
        raise InputError(
            f"a window layer must be (material, nm) or (material, nm, g/cm3), got {layer!r}"
        )
    material, sizes = str(layer[0]), [float(size) for size in layer[1:]]
    if not all(math.isfinite(size) for size in sizes) or sizes[0] < 0:
        raise InputError(f"the thickness of a window layer must be in nm, got {layer!r}")
    elements = _mass_fractions(material)
    if len(sizes) == 1 and (len(elements) > 1 or _solid_density(material) < 0.1):
        raise InputError(
            f"the window layer {material!r} needs its density in g/cm3: "
            f"write ({material!r}, {sizes[0]:g}, density)"
        )
    if len(sizes) == 2 and sizes[1] <= 0:
        raise InputError(f"the density of a window layer must be positive, got {layer!r}")
    return (material, sizes[0]) if len(sizes) == 1 else (material, sizes[0], sizes[1])


def _layer_depth(layer: Layer, energies: np.ndarray) -> np.ndarray:
    """Return mu rho t of a layer, in the shape of ``energies``."""
    density = layer[2] if len(layer) == 3 else _solid_density(layer[0])
    attenuation = sum(
        fraction * element_attenuation(element, energies)
        for element, fraction in _mass_fractions(layer[0]).items()
    )
    return np.asarray(attenuation * density * layer[1] * _CM_PER_NM)


def _solid_density(element: str) -> float:
    return float(xraylib.ElementDensity(xraylib.SymbolToAtomicNumber(element)))


@cache
def _mass_fractions(material: str) -> Mapping[str, float]:
    try:
        parsed = xraylib.CompoundParser(material)
    except ValueError:
        raise InputError(
            f"a window layer must be an element or a formula such as 'Si3N4', got {material!r}"
        ) from None
    shares = zip(parsed["Elements"], parsed["massFractions"], strict=True)
    return MappingProxyType({symbol_of(z): float(w) for z, w in shares})


def escape_fraction(energy: float | np.ndarray) -> np.ndarray:
    """Return the escape peak of a line as a share of its parent peak.

    A photon that ionises the K shell of the detector's silicon near its surface can lose
    a Si K photon through it; the count is then found 1.740 keV lower. The share of the
    absorbed photons is::

        f = 0.5 omega (1 - 1/r) [1 - (mu_Ka / mu) ln(1 + mu / mu_Ka)]

    with the K yield omega and the K jump ratio r of Si, and the attenuation of Si at the
    line and at Si Ka. Returned is ``f / (1 - f)``, escape over parent.

    Parameters
    ----------
    energy : float or ndarray
        Energy of the parent line in keV.

    Returns
    -------
    ndarray
        float64, in the shape of ``energy``; zero below the K edge of Si (1.839 keV).

    Notes
    -----
    For light that enters along the normal; the angle of entry changes it little.

    References
    ----------
    Reed & Ware 1972, J. Phys. E 5, 582.
    """
    energies = np.asarray(energy, dtype=np.float64)
    attenuation = element_attenuation("Si", energies)
    at_silicon = element_attenuation("Si", np.array(SILICON_KA))
    ratio = at_silicon / attenuation
    lost = 0.5 * _YIELD * (1 - 1 / _JUMP_RATIO) * (1 - ratio * np.log1p(1 / ratio))
    return np.where(energies > _K_EDGE, lost / (1 - lost), 0.0)
