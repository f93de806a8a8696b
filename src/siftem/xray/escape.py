"""Escape peaks: photons of silicon that leave the detector."""

from __future__ import annotations

import numpy as np
import xraylib

from siftem.xray.absorption import element_attenuation

_SILICON = 14
SILICON_KA = 1.740  # keV
_K_EDGE = float(xraylib.EdgeEnergy(_SILICON, xraylib.K_SHELL))
_YIELD = float(xraylib.FluorYield(_SILICON, xraylib.K_SHELL))
_JUMP_RATIO = float(xraylib.JumpFactor(_SILICON, xraylib.K_SHELL))


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
