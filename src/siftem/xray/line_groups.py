"""How well the ratios within a family of lines are known.

The lines of one vacancy have ratios that tables agree on within a few percent. Between the
vacancies of a shell they depend on cross-sections, Coster-Kronig transfers and fluorescence
yields, and tables differ: by the root mean square of the logarithm, eXSpy's table from
xraylib's by 0.10 (Lb1), 0.11 (Ll), 0.25 (median of Lb3), 0.30 (Lb2), 0.5 (Mb), and by factors
for Mg and Mz, where textbooks lie in between. ``tests/xray/test_xray_line_groups.py`` computes
these. Kb of light elements differs by up to ten times between tables (Al 0.013 to 0.126 of
Ka), and from Ca on by some percent. L lines of elements before Rb come from the valence band:
bonds change them.

References
----------
xraylib: Schoonjans et al. 2011, Spectrochim. Acta B 66, 776.
"""

from __future__ import annotations

from dataclasses import dataclass

from siftem.xray.elements import atomic_number
from siftem.xray.lines import Line, LineFamily
from siftem.xray.siegbahn import ALPHA_LINES

_CALCIUM, _RUBIDIUM = 20, 37
#: Groups with less than this share of their family are left out.
_NEGLIGIBLE = 3e-4


@dataclass(frozen=True)
class LineGroup:
    """Lines of a family whose weight against the alpha lines is not known well.

    Parameters
    ----------
    family : LineFamily
        These lines alone, with the weights that they have in the whole family.
    width : float
        Standard deviation of the logarithm of their weight.
    """

    family: LineFamily
    width: float


def line_groups(family: LineFamily) -> tuple[LineGroup, ...]:
    """Return the groups of a family but that of the alpha lines, which is what is measured.

    Parameters
    ----------
    family : LineFamily
        One shell, or one subshell of L.

    Returns
    -------
    tuple of LineGroup
        Strongest first; none for L1 and L2 groups, which rise and fall as one.
    """
    if family.alpha_fraction == 0:
        return ()
    number = atomic_number(family.element)
    grouped: dict[tuple[str, float], list[Line]] = {}
    for line in family.lines:
        key = _group_of(line, number)
        if key is not None:
            grouped.setdefault(key, []).append(line)
    found = [
        LineGroup(LineFamily(family.element, family.shell, tuple(lines)), width)
        for (_, width), lines in grouped.items()
        if sum(line.weight for line in lines) > _NEGLIGIBLE
    ]
    return tuple(sorted(found, key=lambda g: -sum(line.weight for line in g.family.lines)))


def _group_of(line: Line, number: int) -> tuple[str, float] | None:
    """Name and width of a line's group; None for what goes with the alpha lines."""
    if line.name in ALPHA_LINES:
        return None
    shell = line.subshell[0]
    if shell == "K":
        return "beta", 0.3 if number < _CALCIUM else 0.03
    if shell == "L":
        soft = number < _RUBIDIUM
        if line.subshell == "L1":
            return "L1", 0.3
        if line.subshell == "L2":
            return "L2", 0.3 if soft else 0.12
        if line.name in ("Ll", "Lt", "Ls"):
            return "Ll", 0.4 if soft else 0.2
        return "outer", 0.3 if soft else 0.15
    if line.name == "Mb" or line.name.startswith("M4-O"):
        return "beta", 0.45
    if line.name in ("Mz1", "Mz2", "M4-N3"):
        return "zeta", 0.7
    if line.subshell == "M5":
        return None
    return ("gamma", 0.7) if line.subshell == "M3" else ("rest", 0.7)
