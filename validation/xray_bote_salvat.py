"""Reference cross-sections and k-factors of the X-ray layer, without the X-ray layer.

Ionisation cross-sections by Bote, Salvat, Jablonski & Powell 2009, At. Data Nucl. Data
Tables 95, 871 (distorted-wave Born approximation, analytic fits), and from them k-factors
by weight for alpha lines, Si Ka = 1, without detector. Yields, Coster-Kronig
probabilities and rates are read from xraylib directly.

    python validation/xray_bote_salvat.py            print the reference numbers
    python validation/xray_bote_salvat.py FILE.csv   also write the cross-sections

The CSV written by it is tests/xray/bote_salvat_2009.csv.
"""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path

import xraylib

REST = 5.10998918e5  # eV
FOUR_PI_A0_SQUARED = 4 * math.pi * 5.291772108e-9**2  # cm2

# The paper's table: (Z, subshell) -> b, A, (g1 ... g4), ionisation energy (eV), (a1 ... a5).
FITS = {
    (8, "K"): (1.19, 1.4e-6, (0.0258, 8.01, -0.0898, 0.0571), 537.276,
               (0.0541, 0.000281, -0.0743, 0.0782, -0.102)),
    (12, "K"): (1.16, 5.52e-7, (0.0486, 7.33, -0.165, 0.0855), 1294.51,
                (0.0222, 0.000136, -0.0294, 0.0299, -0.0334)),
    (13, "K"): (1.15, 4.51e-7, (0.0551, 7.23, -0.183, 0.0897), 1549.92,
                (0.0185, 0.000119, -0.0241, 0.0242, -0.0266)),
    (14, "K"): (1.14, 3.74e-7, (0.0621, 7.14, -0.207, 0.0953), 1828.50,
                (0.0156, 0.000106, -0.0201, 0.0202, -0.0225)),
    (20, "K"): (1.03, 1.56e-7, (0.129, 6.71, -0.44, 0.182), 4015.14,
                (0.00692, 6.73e-5, -0.00845, 0.0082, -0.00864)),
    (26, "K"): (0.863, 8.37e-8, (0.225, 6.39, -0.77, 0.317), 7083.48,
                (0.00383, 5.38e-5, -0.00451, 0.00429, -0.00451)),
    (28, "K"): (0.799, 7.04e-8, (0.273, 6.3, -0.931, 0.401), 8303.01,
                (0.00325, 5.11e-5, -0.00378, 0.00363, -0.00399)),
    (60, "L1"): (0.595, 6.11e-8, (0.0145, 6.89, -0.128, -0.296), 7101.50,
                 (0.00345, 4.73e-5, -0.00334, 0.00253, -0.00169)),
    (60, "L2"): (0.614, 8.47e-8, (0.486, 6.98, -1.63, 0.998), 6735.52,
                 (0.00408, 5.5e-5, -0.00395, 0.00665, -0.0104)),
    (60, "L3"): (0.65, 1.79e-7, (0.213, 7.04, -0.68, 0.266), 6208.24,
                 (0.00632, 7.87e-5, -0.00606, 0.0103, -0.0162)),
    (62, "L1"): (0.551, 5.58e-8, (-6.62e-6, 6.84, -0.104, -0.354), 7710.44,
                 (0.00317, 4.6e-5, -0.00306, 0.00241, -0.00192)),
    (62, "L2"): (0.571, 7.71e-8, (0.561, 6.96, -1.84, 1.16), 7326.25,
                 (0.00374, 5.34e-5, -0.00359, 0.00604, -0.00943)),
    (62, "L3"): (0.61, 1.64e-7, (0.233, 7.04, -0.75, 0.295), 6715.28,
                 (0.00582, 7.65e-5, -0.00552, 0.00919, -0.014)),
    (71, "L1"): (0.338, 3.8e-8, (-0.0646, 6.66, -0.0105, -0.615), 10845.6,
                 (0.00222, 4.17e-5, -0.0021, 0.00178, -0.00159)),
    (71, "L2"): (0.344, 5.25e-8, (0.946, 6.85, -2.99, 2.02), 10373.9,
                 (0.0026, 4.81e-5, -0.00243, 0.00409, -0.00632)),
    (71, "L3"): (0.422, 1.13e-7, (0.37, 6.97, -1.19, 0.539), 9243.05,
                 (0.00418, 6.88e-5, -0.00385, 0.00646, -0.00988)),
    (72, "L1"): (0.315, 3.64e-8, (-0.0653, 6.64, -0.0167, -0.632), 11246.0,
                 (0.00214, 4.12e-5, -0.00202, 0.00175, -0.00165)),
    (72, "L2"): (0.318, 5.04e-8, (1.01, 6.85, -3.16, 2.16), 10763.9,
                 (0.0025, 4.76e-5, -0.00233, 0.00393, -0.00611)),
    (72, "L3"): (0.399, 1.09e-7, (0.373, 6.97, -1.2, 0.532), 9557.98,
                 (0.00404, 6.82e-5, -0.0037, 0.00613, -0.00921)),
    (92, "L1"): (-0.186, 1.63e-8, (-0.056, 6.64, -0.299, -0.962), 21767.8,
                 (0.00108, 3.44e-5, -0.00101, 0.00142, -0.0023)),
    (92, "L2"): (-0.313, 2.4e-8, (2.07, 6.71, -6.36, 4.53), 21044.9,
                 (0.00123, 4.02e-5, -0.00111, 0.00214, -0.0037)),
    (92, "L3"): (-0.0661, 5.38e-8, (0.939, 7.13, -2.96, 1.66), 17181.2,
                 (0.0022, 5.78e-5, -0.00191, 0.00342, -0.00529)),
    (92, "M5"): (0.56, 6.75e-7, (0.102, 6.47, -0.25, 0.111), 3554.10,
                 (0.0149, 0.000136, -0.0147, 0.0335, -0.0665)),
}  # fmt: skip

K_ELEMENTS = (8, 12, 13, 14, 20, 26, 28)
L_ELEMENTS = (60, 62, 72, 71, 92)
BEAMS = (200.0, 300.0)  # keV


def cross_section(number: int, subshell: str, beam_energy: float) -> float:
    """Cross-section in cm2; beam energy in keV (equations 3 to 6 of the paper)."""
    b, anlj, g, edge, a = FITS[number, subshell]
    energy = 1e3 * beam_energy
    u = energy / edge
    if u <= 1:
        return 0.0
    if u <= 16:
        v = 1 + u
        shape = a[0] + a[1] * u + a[2] / v + a[3] / v**3 + a[4] / v**5
        return FOUR_PI_A0_SQUARED * (u - 1) / u**2 * shape**2
    beta_squared = energy * (energy + 2 * REST) / (energy + REST) ** 2
    momentum = math.sqrt(energy * (energy + 2 * REST)) / REST
    shape = (2 * math.log(momentum) - beta_squared) * (1 + g[0] / momentum) + g[1]
    shape += g[2] * math.sqrt(REST / (energy + REST)) + g[3] / momentum
    return FOUR_PI_A0_SQUARED * u / (u + b) * anlj / beta_squared * shape


def alpha_photons(number: int, beam_energy: float, coster_kronig: bool = True) -> float:
    """Ka photons x cm2 per electron and atom, or La for the elements measured by L."""
    if number in K_ELEMENTS:
        rates = (xraylib.KL2_LINE, xraylib.KL3_LINE)
        shell, vacancies = xraylib.K_SHELL, cross_section(number, "K", beam_energy)
    else:
        rates = (xraylib.L3M4_LINE, xraylib.L3M5_LINE)
        shell = xraylib.L3_SHELL
        one, two, vacancies = (cross_section(number, s, beam_energy) for s in ("L1", "L2", "L3"))
        if coster_kronig:
            f12, f13, f23, f13r = (
                xraylib.CosKronTransProb(number, getattr(xraylib, name))
                for name in ("FL12_TRANS", "FL13_TRANS", "FL23_TRANS", "FLP13_TRANS")
            )
            vacancies += (f13 + f13r) * one + f23 * (two + f12 * one)
    rate = sum(xraylib.RadRate(number, line) for line in rates)
    return vacancies * xraylib.FluorYield(number, shell) * rate


def k_factor(number: int, beam_energy: float) -> float:
    weight = xraylib.AtomicWeight(number) / xraylib.AtomicWeight(14)
    return weight * alpha_photons(14, beam_energy) / alpha_photons(number, beam_energy)


def main() -> None:
    print("cross-sections, cm2")
    for number, subshell in ((12, "K"), (14, "K"), (26, "K"), (60, "L3"), (92, "M5")):
        values = "  ".join(f"{cross_section(number, subshell, e):.4e}" for e in BEAMS)
        print(f"{xraylib.AtomicNumberToSymbol(number):>3} {subshell:<2}  {values}")
    print("k-factors by weight, alpha lines, Si Ka = 1, no detector")
    for number in K_ELEMENTS + L_ELEMENTS:
        values = "  ".join(f"{k_factor(number, e):.4f}" for e in BEAMS)
        print(f"{xraylib.AtomicNumberToSymbol(number):>3}  {values}")
    gain = alpha_photons(60, 200.0) / alpha_photons(60, 200.0, coster_kronig=False)
    print(f"Coster-Kronig gain of Nd La at 200 keV: {gain:.4f}")
    if len(sys.argv) > 1:
        with Path(sys.argv[1]).open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["Z", "shell", "beam energy (keV)", "cross-section (cm2)"])
            for number, subshell in FITS:
                for beam in BEAMS:
                    value = f"{cross_section(number, subshell, beam):.6e}"
                    writer.writerow([number, subshell, f"{beam:g}", value])


if __name__ == "__main__":
    main()
