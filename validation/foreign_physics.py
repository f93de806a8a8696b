"""X-ray spectra of thin films by physics that siftem does not use.

NumPy, SciPy and xraylib only. Where siftem models a detector and a film in one way, this does so
in another: ionisation by Gryzinski's formula, a response of a Gaussian with an exponential tail
and a shelf, a continuum of two terms that depends on the atomic number, a polymer window, lines
that lie where the axis of the file does not say. Agreement of siftem with what is simulated here
is then no agreement with itself.

Lengths in nm, energies in keV, densities in g/cm3.

References
----------
M. Gryzinski, Phys. Rev. 138 (1965) A336: cross-sections, with his relativistic factor.
T. Schoonjans et al., Spectrochim. Acta B 66 (2011) 776: xraylib's yields, rates, attenuation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import xraylib
from scipy.special import erfcx, ndtr

#: keV; and the rest energy of the electron.
BEAM_ENERGY, REST_ENERGY = 200.0, 511.0
#: Degrees.
TAKE_OFF_ANGLE = 25.0
#: The axis that a file tells: keV per channel from 0, channels.
CHANNEL_WIDTH, N_CHANNELS = 0.010, 1500
#: A line of energy E appears at E * GAIN + SHIFT; and eV at Mn Ka as a file tells it, and in truth.
GAIN, SHIFT = 0.9975, 0.003
TOLD_RESOLUTION, TRUE_RESOLUTION = 130.0, 134.0
#: Films in front of and in the detector: (atomic number, density, nm).
WINDOW = ((6, 1.3, 180.0), (8, 1.3, 40.0), (13, 2.7, 40.0), (14, 2.33, 90.0))
#: nm of silicon.
DETECTOR_DEPTH = 0.45e6
#: Strength of the continuum: about a seventh of the counts of an oxide.
CONTINUUM = 5e-27
#: Electrons in each subshell that ionises.
_ELECTRONS = {
    xraylib.K_SHELL: 2,
    xraylib.L1_SHELL: 2,
    xraylib.L2_SHELL: 2,
    xraylib.L3_SHELL: 4,
    xraylib.M4_SHELL: 4,
    xraylib.M5_SHELL: 6,
}
_GRID = np.geomspace(0.1, 30.0, 500)


@dataclass(frozen=True)
class Material:
    """A phase: its name, atoms (element -> any common unit) and density."""

    name: str
    atoms: Mapping[str, float]
    density: float
    at_percent: Mapping[str, float] = field(init=False)
    weight_fractions: Mapping[str, float] = field(init=False)

    def __post_init__(self) -> None:
        total = sum(self.atoms.values())
        object.__setattr__(self, "at_percent", {e: 100 * a / total for e, a in self.atoms.items()})
        mass = {e: a * atomic_weight(e) for e, a in self.atoms.items()}
        whole = sum(mass.values())
        object.__setattr__(self, "weight_fractions", {e: m / whole for e, m in mass.items()})


def energies() -> np.ndarray:
    """Energies of the channels as the file tells them, keV."""
    return CHANNEL_WIDTH * np.arange(N_CHANNELS)


def atomic_weight(element: str) -> float:
    """Molar mass, g."""
    return xraylib.AtomicWeight(xraylib.SymbolToAtomicNumber(element))


def ionisation(z: int, shell: int) -> float:
    """Cross-section of a subshell for the beam, cm2, by Gryzinski; 0 where it is not ionised."""
    edge = _or_zero(xraylib.EdgeEnergy, z, shell)
    if edge <= 0.01 or edge >= BEAM_ENERGY / 1.2:
        return 0.0
    u = BEAM_ENERGY / edge
    j, t = edge / REST_ENERGY, BEAM_ENERGY / REST_ENERGY
    relativistic = (
        (2 + j)
        / (2 + t)
        * ((1 + t) / (1 + j)) ** 2
        * ((j + t) * (2 + t) * (1 + j) ** 2 / (t * (2 + t) * (1 + j) ** 2 + j * (2 + j))) ** 1.5
    )
    g = (1 / u) * ((u - 1) / (u + 1)) ** 1.5
    g *= 1 + 2 / 3 * (1 - 1 / (2 * u)) * np.log(2.7 + np.sqrt(u - 1))
    return 6.51e-20 * _ELECTRONS[shell] / edge**2 * relativistic * g


def lines(element: str) -> list[tuple[float, float]]:
    """Lines of an element: energy in keV, cross-section for their emission in cm2."""
    z = xraylib.SymbolToAtomicNumber(element)
    holes = {shell: ionisation(z, shell) for shell in _ELECTRONS}
    # Vacancies that move within the L shell before they are filled.
    f12, f13, f23 = (
        _or_zero(xraylib.CosKronTransProb, z, t)
        for t in (xraylib.FL12_TRANS, xraylib.FL13_TRANS, xraylib.FL23_TRANS)
    )
    holes[xraylib.L2_SHELL] += f12 * holes[xraylib.L1_SHELL]
    holes[xraylib.L3_SHELL] += f13 * holes[xraylib.L1_SHELL] + f23 * holes[xraylib.L2_SHELL]
    found = []
    for shell, prefix in _PREFIX.items():
        emitted = holes[shell] * _or_zero(xraylib.FluorYield, z, shell)
        for line in _lines_of(prefix) if emitted else ():
            rate, energy = _or_zero(xraylib.RadRate, z, line), _or_zero(xraylib.LineEnergy, z, line)
            if rate > 0 and energy > 0.1:
                found.append((energy, emitted * rate))
    return found


def attenuation(weights: Mapping[str, float], energy: np.ndarray) -> np.ndarray:
    """Mass attenuation of a material, cm2/g."""
    total = np.zeros(np.shape(energy))
    for element, w in weights.items():
        z = xraylib.SymbolToAtomicNumber(element)
        total += w * np.array([xraylib.CS_Total(z, float(e)) for e in energy])
    return total


def escaping(material: Material, thickness: float, energy: np.ndarray) -> np.ndarray:
    """Share of the photons made evenly in a film that leave it towards the detector."""
    path = material.density * thickness * 1e-7 / np.sin(np.radians(TAKE_OFF_ANGLE))
    depth = path * attenuation(material.weight_fractions, _GRID)
    share = np.where(depth > 1e-9, -np.expm1(-depth) / np.maximum(depth, 1e-12), 1.0)
    return np.interp(energy, _GRID, share)


def efficiency(energy: np.ndarray) -> np.ndarray:
    """Share of the photons that pass the window and are stopped in the detector."""
    through = np.zeros(_GRID.size)
    for z, density, thickness in WINDOW:
        through += density * thickness * 1e-7 * np.array([xraylib.CS_Total(z, e) for e in _GRID])
    stopped = 2.33 * DETECTOR_DEPTH * 1e-7 * np.array([xraylib.CS_Total(14, e) for e in _GRID])
    return np.interp(energy, _GRID, np.exp(-through) * -np.expm1(-stopped))


def response(energy: float) -> np.ndarray:
    """Counts per channel for one photon that is stopped: Gaussian, tail and shelf; sums to one."""
    x = energies()
    centre = energy * GAIN + SHIFT
    fwhm = np.sqrt(max(TRUE_RESOLUTION**2 + 2380.0 * (energy - 5.895), 40.0**2)) / 1e3
    sigma = fwhm / 2.35482
    u = (x - centre) / sigma
    gauss = np.exp(-0.5 * u**2) / (sigma * np.sqrt(2 * np.pi))
    slope = 0.03 + 0.8 * sigma  # keV over which the tail falls off
    v = (u + sigma / slope) / np.sqrt(2)
    # exp(...) erfc(v), in a form that neither overflows far below nor far above the line.
    below = np.exp(np.minimum((x - centre) / slope + 0.5 * (sigma / slope) ** 2, 50.0))
    tail = np.where(
        v > 0, erfcx(np.maximum(v, 0)) * np.exp(-0.5 * u**2), 2 * below * ndtr(-v * 2**0.5)
    )
    tail = 0.5 / slope * tail
    shelf = ndtr(-u) * (x > 0.1) / max(centre - 0.1, 0.1)
    lost = 0.012 + 0.09 * np.exp(-energy / 0.7)
    return CHANNEL_WIDTH * ((1 - lost - 0.003) * gauss + lost * tail + 0.003 * shelf)


def continuum(material: Material, thickness: float, energy: np.ndarray) -> np.ndarray:
    """Photons of bremsstrahlung per keV that leave the film, per electron."""
    z = sum(w * xraylib.SymbolToAtomicNumber(e) for e, w in material.weight_fractions.items())
    fall = (1 - energy / BEAM_ENERGY) * (
        energy**-0.85 + (0.15 + 0.004 * z) * energy**-1.6 * np.exp(-energy / 2.5)
    )
    made = CONTINUUM * 6.022e23 * material.density * thickness * 1e-7 * z**1.15 * fall
    return made * escaping(material, thickness, energy)


def film_spectrum(material: Material, thickness: float) -> np.ndarray:
    """Expected counts per electron (a common scale) of a film, for each channel.

    Parameters
    ----------
    material : Material
    thickness : float
        nm.

    Returns
    -------
    ndarray of shape (N_CHANNELS,)
    """
    per_area = 6.022e23 * material.density * thickness * 1e-7
    found = np.zeros(N_CHANNELS)
    for element, w in material.weight_fractions.items():
        shown = [(e, s) for e, s in lines(element) if e < CHANNEL_WIDTH * N_CHANNELS + 1]
        at = np.array([e for e, _ in shown])
        kept = efficiency(at) * escaping(material, thickness, at)
        for (energy, section), share in zip(shown, kept, strict=True):
            made = per_area * w / atomic_weight(element) * section
            found += made * share * response(energy)
    true = np.maximum((energies() - SHIFT) / GAIN, 0.1)
    smooth = continuum(material, thickness, true) * efficiency(true) * CHANNEL_WIDTH
    return found + np.where(energies() > 0.15, smooth, 0.0)


def _or_zero(ask: object, *arguments: int) -> float:
    """Value of one of xraylib's functions, 0 for what it does not know."""
    try:
        return float(ask(*arguments))
    except ValueError:
        return 0.0


def _lines_of(prefix: str) -> list[int]:
    """Lines of xraylib that fill a hole of a subshell, one by one."""
    import re

    return [
        getattr(xraylib, name)
        for name in dir(xraylib)
        if re.fullmatch(rf"{prefix}[LMNO]\d_LINE", name)
        and not name.startswith(f"{prefix}{prefix[0]}")
    ]


_PREFIX = {
    xraylib.K_SHELL: "K",
    xraylib.L1_SHELL: "L1",
    xraylib.L2_SHELL: "L2",
    xraylib.L3_SHELL: "L3",
    xraylib.M4_SHELL: "M4",
    xraylib.M5_SHELL: "M5",
}
