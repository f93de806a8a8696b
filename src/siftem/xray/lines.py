"""X-ray lines by name, the families that rise and fall together, and how well these are known.

The lines of one vacancy have ratios that tables agree on within a few percent. Between the
vacancies of a shell they depend on cross-sections, Coster-Kronig transfers and fluorescence yields,
and tables differ: by the root mean square of the logarithm, eXSpy's table from xraylib's by 0.10
(Lb1), 0.11 (Ll), 0.25 (median of Lb3), 0.30 (Lb2), 0.5 (Mb), and by factors for Mg and Mz, where
textbooks lie in between. ``tests/xray/test_xray_line_groups.py`` computes these. Kb of light
elements differs by up to ten times between tables (Al 0.013 to 0.126 of Ka), and from Ca on by some
percent. L lines of elements before Rb come from the valence band: bonds change them.

References
----------
xraylib: Schoonjans et al. 2011, Spectrochim. Acta B 66, 776.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from siftem.errors import InputError
from siftem.xray.cross_sections import (
    CrossSectionTable,
    checked_beam_energy,
    shell_of,
    subshell_emission,
)
from siftem.xray.elements import ALPHA_LINES, SUBSHELLS, atomic_number, line_name, transitions

# Lines weaker than this share of their family are left out and the rest scaled to 1.
_NEGLIGIBLE_WEIGHT = 1e-5

# A family counts in an energy range when at least this share of its photons lies inside,
# and when those are at least this share of the element's strongest family there. Of a family whose
# alpha lines lie beyond the range Ll (2 to 3%) is all that is seen, and none of another element.
_RELEVANT_SHARE, _RELEVANT_BELOW_ALPHA = 0.05, 0.015
_RELEVANT_STRENGTH = 1e-4

# Doublets that no EDS detector separates carry one label.
_LABEL = {
    "Ka1": "Ka",
    "Ka2": "Ka",
    "Kb1": "Kb",
    "Kb3": "Kb",
    "La1": "La",
    "La2": "La",
    "Ma1": "Ma",
    "Ma2": "Ma",
}

# keV, see `valence_lines`.
_VALENCE_KB = {"Mg": 1.302}

# High enough for the K lines of every element.
_ANY_BEAM = 300.0


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


@dataclass(frozen=True)
class Line:
    """One X-ray line.

    Parameters
    ----------
    element : str
        Chemical symbol.
    name : str
        Siegbahn name ("Ka1", "Lb3"), or the two levels ("M3-N1") where there is none.
    subshell : str
        Where the vacancy was: "K", "L1" ... "M5".
    energy : float
        In keV.
    weight : float
        Photons of this line per photon of the family it belongs to.
    width : float
        Natural full width at half maximum in keV.
    """

    element: str
    name: str
    subshell: str
    energy: float
    weight: float
    width: float = 0.0


@dataclass(frozen=True)
class LineFamily:
    """The lines of one shell of an element, whose ratios physics fixes.

    Parameters
    ----------
    element : str
        Chemical symbol.
    shell : {"K", "L", "M", "L1", "L2", "L3"}
        The shell, or one subshell group of L.
    lines : tuple of Line
        Strongest first; the weights sum to 1.
    """

    element: str
    shell: str
    lines: tuple[Line, ...]

    @property
    def name(self) -> str:
        """Element and shell, such as "Fe K"."""
        return f"{self.element} {self.shell}"

    @cached_property
    def energies(self) -> np.ndarray:
        """Energies of the lines in keV, float64 (lines,)."""
        return _frozen(np.array([line.energy for line in self.lines]))

    @cached_property
    def weights(self) -> np.ndarray:
        """Photons of each line per photon of the family, float64 (lines,)."""
        return _frozen(np.array([line.weight for line in self.lines]))

    @cached_property
    def widths(self) -> np.ndarray:
        """Natural widths of the lines in keV, float64 (lines,)."""
        return _frozen(np.array([line.width for line in self.lines]))

    @cached_property
    def alpha_fraction(self) -> float:
        """Share of the alpha lines in the family; 0 if it has none (L1, L2).

        Ka = K-L2 + K-L3, La = L3-M4 + L3-M5, Ma = M5-N6 + M5-N7.
        """
        return float(sum(line.weight for line in self._alpha_lines))

    @cached_property
    def alpha_energy(self) -> float:
        """Mean energy of the alpha lines in keV; of the strongest line if there are none."""
        alpha = self._alpha_lines or self.lines[:1]
        total = sum(line.weight for line in alpha)
        return float(sum(line.weight * line.energy for line in alpha) / total)

    @property
    def _alpha_lines(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if line.name in ALPHA_LINES)


def line_family(
    element: str, shell: str, *, beam_energy: float, table: CrossSectionTable | None = None
) -> LineFamily:
    """Return the lines of one shell with their relative strengths as emitted.

    A line of subshell s has the weight ``emission_s rate / sum(emission)`` with the
    emission of `siftem.xray.cross_sections.subshell_emission` (ionisation cross-section,
    Coster-Kronig transfer, fluorescence yield) and the radiative rate.

    Parameters
    ----------
    element : str
        Chemical symbol.
    shell : {"K", "L", "M", "L1", "L2", "L3"}
        L1, L2 and L3 are the groups of lines of one L subshell.
    beam_energy : float
        In keV; it matters for L and M, through the subshell cross-sections.
    table : CrossSectionTable, optional
        Cross-sections that take over from the computed ones.

    Returns
    -------
    LineFamily

    Raises
    ------
    InputError
        When the element has no such lines, or the beam can't excite them.

    Notes
    -----
    Sources disagree on the L1 group by a factor of 1.5 to 1.7: a fit may free the groups
    L1, L2 and L3. The ratios within an M family are qualitative. The M lines from 4f of
    La to Eu are scaled from those of Gd by the number of 4f electrons; Nd and Sm have
    measured energies. L lines of K and Ca are those of a free atom, which has no 3d
    electron. Shifts by chemical bonds (some eV) are not included.

    References
    ----------
    xraylib: Schoonjans et al. 2011, Spectrochim. Acta B 66, 776.
    """
    atomic_number(element)
    shell_of(shell)
    family = _family(element, shell, checked_beam_energy(beam_energy), table)
    if family is None:
        raise InputError(
            f"{element} has no {shell} lines that a beam of {beam_energy:g} keV excites"
        )
    return family


@lru_cache(maxsize=4096)
def _family(
    element: str, shell: str, beam_energy: float, table: CrossSectionTable | None
) -> LineFamily | None:
    number = atomic_number(element)
    emission = subshell_emission(element, shell_of(shell), beam_energy, table)
    wanted = SUBSHELLS.get(shell, (shell,))
    strengths = [
        (transition, emission[subshell] * transition.rate)
        for subshell in wanted
        for transition in transitions(number, subshell)
    ]
    total = sum(strength for _, strength in strengths)
    if total <= 0:
        return None
    kept = [(t, s) for t, s in strengths if s > _NEGLIGIBLE_WEIGHT * total]
    total = sum(strength for _, strength in kept)
    lines = [
        Line(element, line_name(t.inner, t.outer), t.inner, t.energy, s / total, t.width)
        for t, s in kept
    ]
    return LineFamily(element, shell, tuple(sorted(lines, key=lambda line: -line.weight)))


def line_families(
    elements: Iterable[str],
    *,
    beam_energy: float,
    low: float,
    high: float,
    split_l: bool = False,
) -> list[LineFamily]:
    """Return every family of the elements that has lines within an energy range.

    Parameters
    ----------
    elements : iterable of str
        Chemical symbols; a repeated one counts once.
    beam_energy : float
        In keV.
    low, high : float
        The range in keV.
    split_l : bool
        Give the groups L1, L2 and L3 instead of one L family.

    Returns
    -------
    list of LineFamily
        In the order of the elements, K before L before M. A family is left out when less
        than 5% of its photons lie within the range (1.5% where its alpha lines lie above it),
        or when those are weaker than 1e-4 of the element's strongest family there: such a
        column would make a fit singular.
        An element without any line in the range gives nothing.
    """
    if isinstance(elements, str):
        raise InputError(f"elements must be a list of symbols such as ['Fe'], got {elements!r}")
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise InputError(
            f"low and high must be two energies in keV, the lower one first, got {low} and {high}"
        )
    beam_energy = checked_beam_energy(beam_energy)
    families: list[LineFamily] = []
    for element in dict.fromkeys(elements):
        found: list[tuple[LineFamily, float]] = []
        for shell in ("K", "L1", "L2", "L3", "M") if split_l else ("K", "L", "M"):
            family = _family(element, shell, beam_energy, None)
            if family is None:
                continue
            inside = (family.energies >= low) & (family.energies <= high)
            share = float(family.weights[inside].sum())
            if share >= (_RELEVANT_SHARE if family.alpha_energy <= high else _RELEVANT_BELOW_ALPHA):
                found.append((family, share * family_emission(family, beam_energy)))
        strongest = max((strength for _, strength in found), default=0.0)
        families += [f for f, strength in found if strength >= _RELEVANT_STRENGTH * strongest]
    return families


def valence_lines(elements: Iterable[str], *, low: float, high: float) -> list[LineFamily]:
    """Return lines that solids emit and free atoms, which the tables are of, do not.

    Mg has no 3p electron, but its compounds show Kb at 1.302 keV with somewhat less than 1% of
    Ka, from the valence band. How strong such a line is depends on the bonds: a fit leaves it
    free.

    Parameters
    ----------
    elements : iterable of str
    low, high : float
        The range in keV.

    Returns
    -------
    list of LineFamily
        Of the shell "Kb", one line each.
    """
    return [
        LineFamily(element, "Kb", (Line(element, "Kb1", "K", energy, 1.0),))
        for element, energy in _VALENCE_KB.items()
        if element in set(elements) and low <= energy <= high
    ]


def family_emission(
    family: LineFamily, beam_energy: float, table: CrossSectionTable | None = None
) -> float:
    """Return the photons x cm2 that a family emits per electron and atom."""
    number = atomic_number(family.element)
    by_subshell = subshell_emission(family.element, shell_of(family.shell), beam_energy, table)
    return float(
        sum(
            by_subshell[subshell]
            for subshell in SUBSHELLS.get(family.shell, (family.shell,))
            if transitions(number, subshell)
        )
    )


def parse_line(text: str, *, beam_energy: float = _ANY_BEAM) -> tuple[str, str, float]:
    """Read a line such as "Nd_La" or "Nd La".

    Parameters
    ----------
    text : str
        Element and line, joined by an underscore or a space: a Siegbahn name ("Lb1"), a
        group of them ("La" holds La1 and La2) or a shell ("L", its strongest line).
    beam_energy : float
        In keV; it only weighs the L and M subshells in groups that span several.

    Returns
    -------
    element : str
    shell : str
        "K", "L" or "M".
    energy : float
        keV; for a group, its strongest line.

    Raises
    ------
    InputError
        When the text is no line, or the element does not have it.
    """
    match = re.fullmatch(r"\s*([A-Za-z]+)[_\s]+([KLM])([A-Za-z]?\w*(?:-\w+)?)\s*", str(text))
    if match is None:
        raise InputError(f"a line must be written like 'Fe_Ka' or 'Nd La', got {text!r}")
    element, shell, rest = match.groups()
    atomic_number(element)
    family = line_family(element, shell, beam_energy=beam_energy)
    wanted = shell + rest
    exact = [line for line in family.lines if line.name == wanted]
    group = [line for line in family.lines if line.name.startswith(wanted)]
    if not exact and not group:
        known = ", ".join(sorted({line.name for line in family.lines[:8]}))
        raise InputError(
            f"{element} has no line {wanted!r} in its {shell} family, which has {known}"
        )
    return element, shell, (exact or group)[0].energy


def visible_name(line: Line) -> str:
    """Return the name of a line as a detector sees it: "Ka" for Ka1 and Ka2."""
    return _LABEL.get(line.name, line.name)


def visible_lines(
    element: str,
    *,
    beam_energy: float,
    low: float,
    high: float,
    min_weight: float = 0.05,
) -> tuple[Line, ...]:
    """Return the lines of an element worth a label in an energy range, strongest first.

    Parameters
    ----------
    element : str
        Chemical symbol.
    beam_energy : float
        In keV.
    low, high : float
        The range in keV.
    min_weight : float
        Weakest line to return, as a share of the strongest one of the range.

    Returns
    -------
    tuple of Line
        Here ``weight`` is relative to the strongest line (1.0), over all shells, as
        emitted, without detector and absorption. Doublets are merged (Ka, Kb, La, Ma) at
        their mean energy. Empty when the element has no line there.
    """
    atomic_number(element)
    beam_energy = checked_beam_energy(beam_energy)
    merged: dict[str, Line] = {}
    for family in line_families([element], beam_energy=beam_energy, low=low, high=high):
        emission = family_emission(family, beam_energy)
        for line in family.lines:
            if not low <= line.energy <= high:
                continue
            label = visible_name(line)
            strength = emission * line.weight
            known = merged.get(label)
            if known is None:
                merged[label] = replace(line, name=label, weight=strength)
            else:
                total = known.weight + strength
                mean = (known.energy * known.weight + line.energy * strength) / total
                merged[label] = replace(known, energy=mean, weight=total)
    strongest = max((line.weight for line in merged.values()), default=1.0)
    lines = [replace(line, weight=line.weight / strongest) for line in merged.values()]
    visible = [line for line in lines if line.weight >= min_weight]
    return tuple(sorted(visible, key=lambda line: -line.weight))


_CALCIUM, _RUBIDIUM = 20, 37
#: Groups with less than this share of their family are left out.
_NEGLIGIBLE = 3e-4
#: Further width for photons that come from deep inside: of Kb, and of all L lines.
_DEEP = {"K": 0.12, "L": 0.6, "M": 0.0}


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


@lru_cache(maxsize=256)
def line_groups(family: LineFamily, *, thick: bool = False) -> tuple[LineGroup, ...]:
    """Return the groups of a family but that of the alpha lines, which is what is measured.

    Parameters
    ----------
    family : LineFamily
        One shell, or one subshell of L.
    thick : bool
        Whether the photons may come from deep inside a thick piece, which absorbs the soft lines
        more: from bulk copper Kb over Ka is up to 1.3 times that of a film, from bulk lead
        Lb over La up to 1.6 times (the inverse ratios of the attenuations).

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
    deep = _DEEP[family.shell[0]] if thick else 0.0
    found = [
        LineGroup(
            LineFamily(family.element, family.shell, tuple(lines)), float(np.hypot(width, deep))
        )
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
