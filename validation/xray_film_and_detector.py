"""Reference numbers for absorption, detector and escape peaks, from xraylib alone.

    python validation/xray_film_and_detector.py

The formulas are written out once more here, scalar by scalar, so that the tests of
siftem.xray do not compare the layer with itself.
"""

from __future__ import annotations

import math

import xraylib

O_K, MG_K, SI_K, CA_K, FE_K, P_K, U_LA = 0.5249, 1.2536, 1.7400, 3.6905, 6.3996, 2.0137, 13.600


def attenuation(formula: str, energy: float) -> float:
    return xraylib.CS_Total_CP(formula, energy)


def film(formula: str, energy: float, nm: float, density: float, degrees: float) -> float:
    path = density * nm * 1e-7 / math.sin(math.radians(degrees))
    chi = attenuation(formula, energy) * path
    return (1 - math.exp(-chi)) / chi


def efficiency(energy: float) -> float:
    """10 nm Al, 30 nm dead Si, 0.45 mm Si."""
    depth = attenuation("Al", energy) * xraylib.ElementDensity(13) * 10e-7
    depth += attenuation("Si", energy) * 2.33 * 30e-7
    return math.exp(-depth) * (1 - math.exp(-attenuation("Si", energy) * 2.33 * 0.045))


def escape(energy: float) -> float:
    """Reed & Ware 1972, J. Phys. E 5, 582: escape peak over parent peak."""
    ratio = attenuation("Si", energy) / attenuation("Si", SI_K)
    jump = xraylib.JumpFactor(14, xraylib.K_SHELL)
    lost = 0.5 * xraylib.FluorYield(14, xraylib.K_SHELL) * (1 - 1 / jump)
    lost *= 1 - math.log(1 + ratio) / ratio
    return lost / (1 - lost)


def main() -> None:
    print("MgSiO3, 100 nm, 4.1 g/cm3, 22 degrees: keV, cm2/g, escaping share")
    for energy in (O_K, MG_K, SI_K, CA_K):
        share = film("MgSiO3", energy, 100, 4.1, 22)
        print(f"{energy:.4f}  {attenuation('MgSiO3', energy):8.1f}  {share:.4f}")
    print("efficiency: ", {e: round(efficiency(e), 4) for e in (O_K, SI_K, FE_K, U_LA)})
    print("escape/parent: ", {e: round(escape(e), 5) for e in (P_K, CA_K, FE_K)})
    widths = {e: round(math.sqrt(130**2 + 2.33 * 1e3 * (e - 5.895)), 1) for e in (O_K, SI_K, FE_K)}
    print("FWHM in eV: ", widths)


if __name__ == "__main__":
    main()
