"""Names of X-ray lines: levels to Siegbahn and back.

The names follow the table of Jenkins et al. 1991 (IUPAC), X-Ray Spectrom. 20, 149, with
Latin letters for the Greek ones.
"""

from __future__ import annotations

_SIEGBAHN = {
    "K-L3": "Ka1",
    "K-L2": "Ka2",
    "K-L1": "Ka3",
    "K-M3": "Kb1",
    "K-M2": "Kb3",
    "K-N3": "Kb2",
    "K-N2": "Kb2",
    "K-N4": "Kb4",
    "K-N5": "Kb4",
    "K-M4": "Kb5",
    "K-M5": "Kb5",
    "L3-M5": "La1",
    "L3-M4": "La2",
    "L2-M4": "Lb1",
    "L3-N5": "Lb2",
    "L1-M3": "Lb3",
    "L1-M2": "Lb4",
    "L3-O4": "Lb5",
    "L3-O5": "Lb5",
    "L3-O45": "Lb5",
    "L3-N1": "Lb6",
    "L3-O1": "Lb7",
    "L1-M5": "Lb9",
    "L1-M4": "Lb10",
    "L3-N4": "Lb15",
    "L2-M3": "Lb17",
    "L2-N4": "Lg1",
    "L1-N2": "Lg2",
    "L1-N3": "Lg3",
    "L1-O2": "Lg4",
    "L1-O3": "Lg4",
    "L2-N1": "Lg5",
    "L2-O4": "Lg6",
    "L2-O1": "Lg8",
    "L1-N5": "Lg11",
    "L3-M1": "Ll",
    "L2-M1": "Ln",
    "L3-M2": "Lt",
    "L3-M3": "Ls",
    "L3-N6": "Lu",
    "L3-N7": "Lu",
    "L2-N6": "Lv",
    "M5-N7": "Ma1",
    "M5-N6": "Ma2",
    "M4-N6": "Mb",
    "M3-N5": "Mg",
    "M5-N3": "Mz1",
    "M4-N2": "Mz2",
}

#: K-L2 and K-L3, L3-M4 and L3-M5, M5-N6 and M5-N7.
ALPHA_LINES = frozenset({"Ka1", "Ka2", "La1", "La2", "Ma1", "Ma2"})


def line_name(inner: str, outer: str) -> str:
    """Return the Siegbahn name of a transition, or "inner-outer" where there is none."""
    levels = f"{inner}-{outer}"
    return _SIEGBAHN.get(levels, levels)
