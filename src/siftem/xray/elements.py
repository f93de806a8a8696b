"""Elements by symbol, ratios of them in writing such as "(Mg+Fe)/O", and what is known of a shell.

Binding energies, fluorescence yields, vacancy transfer and lines come from xraylib (Schoonjans et
al. 2011, Spectrochim. Acta B 66, 776), which collects published tables; two gaps of it are closed
here, each with its reason. Names follow the table of Jenkins et al. 1991 (IUPAC), X-Ray Spectrom.
20, 149, with Latin letters for the Greek ones. What is asked of shells assumes clean input: atomic
numbers and subshell names of this module.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import xraylib

from siftem.errors import InputError

#: The last element (Cf) for which the line tables are complete enough to be used.
LAST_ATOMIC_NUMBER = 98

_NUMBER = {xraylib.AtomicNumberToSymbol(z): z for z in range(1, LAST_ATOMIC_NUMBER + 1)}


def atomic_number(symbol: str) -> int:
    """Return the atomic number Z of an element.

    Parameters
    ----------
    symbol : str
        Chemical symbol with its usual capitals, such as "Fe". H to Cf.

    Returns
    -------
    int

    Raises
    ------
    InputError
        When the symbol is not known; the message names close ones ("fe" is answered
        with "Fe"), because a silent correction would turn "CO" into cobalt.
    """
    try:
        return _NUMBER[symbol]
    except (KeyError, TypeError):
        pass
    hint = ""
    if isinstance(symbol, str) and symbol.strip():
        written = symbol.strip().capitalize()
        if written in _NUMBER:
            close = [written]
        else:
            close = difflib.get_close_matches(written, _NUMBER, n=3, cutoff=0.5)
        if close:
            hint = f"; did you mean {' or '.join(close)}?"
    raise InputError(f"element must be a chemical symbol such as 'Fe', got {symbol!r}{hint}")


def element_symbols(elements: Iterable[str]) -> tuple[str, ...]:
    """Return chemical symbols as a plain tuple, each once, in their order.

    Parameters
    ----------
    elements : iterable of str
        A list, tuple or NumPy array; also of bytes, as HDF5 files keep text.

    Returns
    -------
    tuple of str

    Raises
    ------
    InputError
        When it is a single text, or holds something that is no chemical symbol.
    """
    if isinstance(elements, (str, bytes)) or not isinstance(elements, Iterable):
        raise InputError(f"elements must be a list of symbols such as ['Fe'], got {elements!r}")
    found = []
    for element in np.asarray(elements).tolist() if hasattr(elements, "dtype") else elements:
        symbol = element.decode("utf-8", "replace") if isinstance(element, bytes) else element
        atomic_number(symbol)
        found.append(str(symbol))
    return tuple(dict.fromkeys(found))


def symbol_of(number: int) -> str:
    """Return the chemical symbol of atomic number ``number`` (1 to 98)."""
    if not 1 <= number <= LAST_ATOMIC_NUMBER:
        raise InputError(f"atomic number must lie between 1 and {LAST_ATOMIC_NUMBER}, got {number}")
    return str(xraylib.AtomicNumberToSymbol(int(number)))


@cache
def atomic_weight(symbol: str) -> float:
    """Return the atomic weight of an element in g/mol.

    Parameters
    ----------
    symbol : str
        Chemical symbol, such as "Fe".

    Returns
    -------
    float

    References
    ----------
    xraylib: Schoonjans et al. 2011, Spectrochim. Acta B 66, 776.
    """
    return float(xraylib.AtomicWeight(atomic_number(symbol)))


def parse_ratio(text: str, elements: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read a ratio such as "(Mg+Fe)/O" or "(Mg+Ca+Al/2)/(Si+Al/2)".

    Parameters
    ----------
    text : str
        Sums of elements, each with an optional divisor, on both sides of one slash that
        stands between brackets or single elements.
    elements : sequence of str
        Elements of the composition.

    Returns
    -------
    top, bottom : ndarray of shape (elements,)
        Coefficients of each element in the numerator and the denominator.

    Raises
    ------
    InputError
        When the text is no ratio, or names an element that is not among ``elements``.
    """
    top, bottom = (_coefficients(side, elements, text) for side in _sides(text))
    return top, bottom


def ratio_elements(text: str) -> tuple[str, ...]:
    """Return the elements that a ratio names, in order and without repeats.

    Parameters
    ----------
    text : str
        See `parse_ratio`.

    Returns
    -------
    tuple of str

    Raises
    ------
    InputError
        When the text is no ratio, or names something that is no element.
    """
    found = tuple(dict.fromkeys(re.findall(r"[A-Za-z]+", text)))
    for element in found:
        atomic_number(element)
    parse_ratio(text, found)
    return found


def _sides(text: str) -> tuple[str, str]:
    depth = 0
    cuts = []
    for i, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == "/" and depth == 0:
            cuts.append(i)
    if len(cuts) != 1 or depth != 0:
        raise InputError(f"a ratio must look like '(Mg+Fe)/O' or 'Mg/(Mg+Fe)', got {text!r}")
    return text[: cuts[0]], text[cuts[0] + 1 :]


def _coefficients(side: str, elements: Sequence[str], whole: str) -> np.ndarray:
    out = np.zeros(len(elements))
    bare = side.strip()
    if bare.startswith("(") and bare.endswith(")"):
        bare = bare[1:-1]
    for term in bare.split("+"):
        name, _, divisor = (part.strip() for part in term.partition("/"))
        if name not in elements:
            raise InputError(
                f"the ratio {whole!r} names {name or 'nothing'}, which is not among the elements "
                f"{', '.join(elements)}"
            )
        try:
            weight = 1.0 / float(divisor) if divisor else 1.0
        except (ValueError, ZeroDivisionError):
            weight = np.nan
        if not (np.isfinite(weight) and weight > 0):
            raise InputError(f"the ratio {whole!r} has a bad divisor {divisor!r}")
        out[list(elements).index(name)] += weight
    return out


#: Subshells of each shell, innermost first.
SUBSHELLS: dict[str, tuple[str, ...]] = {
    "K": ("K",),
    "L": ("L1", "L2", "L3"),
    "M": ("M1", "M2", "M3", "M4", "M5"),
}

#: Number of electrons that fill each subshell.
OCCUPANCY = {"K": 2, "L1": 2, "L2": 2, "L3": 4, "M1": 2, "M2": 2, "M3": 4, "M4": 4, "M5": 6}

_LEVELS = (("L", 3), ("M", 5), ("N", 7), ("O", 7), ("P", 5), ("Q", 1))
# Some rates are tabulated for two levels, or for a whole shell, together.
_GROUPED_LEVELS = ("N67", "O45", "P23", "P45", "O", "P")
_OUTER = (
    *(f"{shell}{i}" for shell, count in _LEVELS for i in range(1, count + 1)),
    *_GROUPED_LEVELS,
)

# The table of M rates leaves out the decays from 4f (M4-N6, M5-N6, M5-N7) below Gd and
# shares their part among the rest. These are the Ma and Mb lines, the strongest that one
# sees, so they are put back with the share they have in Gd, in proportion to the number
# of 4f electrons (La, with none in the free atom, as Ce: its Ma line is seen in solids).
_FIRST_4F, _HALF_FILLED_4F = 57, 64
_ELECTRONS_4F = {57: 1, 58: 1, 59: 3, 60: 4, 61: 5, 62: 6, 63: 7, 64: 7}

# keV; the measured line lies off the difference of the tabulated levels.
_MEASURED_ENERGY = {
    (60, "M5", "N6"): 0.979,
    (60, "M5", "N7"): 0.979,
    (60, "M4", "N6"): 1.002,
    (62, "M5", "N6"): 1.078,
    (62, "M5", "N7"): 1.078,
    (62, "M4", "N6"): 1.106,
}


@dataclass(frozen=True)
class Transition:
    """A radiative decay that fills ``inner`` from ``outer``.

    ``rate`` is the share of the radiative decays of ``inner``; ``energy`` in keV, ``width`` the
    natural full width at half maximum in keV.
    """

    inner: str
    outer: str
    energy: float
    rate: float
    width: float


@cache
def binding_energy(number: int, subshell: str) -> float:
    """Return the binding energy of a subshell in keV; 0 where none is tabulated."""
    try:
        return float(xraylib.EdgeEnergy(number, getattr(xraylib, f"{subshell}_SHELL")))
    except (ValueError, AttributeError):
        return 0.0


@cache
def level_width(number: int, subshell: str) -> float:
    """Return the natural width of a level in keV; 0 where none is tabulated.

    References
    ----------
    Campbell & Papp 2001, At. Data Nucl. Data Tables 77, 1, by way of xraylib.
    """
    try:
        return float(xraylib.AtomicLevelWidth(number, getattr(xraylib, f"{subshell}_SHELL")))
    except (ValueError, AttributeError):
        return 0.0


@cache
def fluorescence_yield(number: int, subshell: str) -> float:
    """Return the photons per vacancy of a subshell; 0 where none is tabulated."""
    try:
        value = float(xraylib.FluorYield(number, getattr(xraylib, f"{subshell}_SHELL")))
    except ValueError:
        value = 0.0
    if value == 0.0 and subshell == "M5" and number >= _FIRST_4F:
        # La lacks M5 alone; M4 and M5 fill from the same 4f electrons.
        value = fluorescence_yield(number, "M4")
    return value


@cache
def vacancy_transfer(number: int, inner: str, outer: str) -> float:
    """Return the probability that a vacancy moves from ``inner`` to ``outer``, one shell.

    The Coster-Kronig probability, plus the radiative one for L1 to L3; 0 where none is
    tabulated (M shells of light elements).
    """
    shell, i, j = inner[0], inner[1], outer[1]
    names = [f"F{shell}{i}{j}_TRANS"]
    if (shell, i, j) == ("L", "1", "3"):
        names.append("FLP13_TRANS")
    total = 0.0
    for name in names:
        try:
            total += float(xraylib.CosKronTransProb(number, getattr(xraylib, name)))
        except ValueError:
            continue
    return total


@cache
def transitions(number: int, subshell: str) -> tuple[Transition, ...]:
    """Return the radiative decays of a subshell, rates summing to 1; empty if unknown.

    Where the table gives a rate but no energy (electrons from the valence band), the
    energy is the difference of the binding energies.
    """
    rates: dict[str, float] = {}
    for outer in _OUTER:
        code = getattr(xraylib, f"{subshell}{outer}_LINE", None)
        if code is None:
            continue
        try:
            rate = float(xraylib.RadRate(number, code))
        except ValueError:
            continue
        if rate > 0:
            rates[outer] = rate
    if subshell in ("M4", "M5") and _FIRST_4F <= number < _HALF_FILLED_4F:
        rates = _rates_with_4f(number, subshell)
    total = sum(rates.values())
    found = [
        Transition(
            subshell,
            outer,
            _line_energy(number, subshell, outer),
            rate / total,
            level_width(number, subshell) + level_width(number, outer),
        )
        for outer, rate in rates.items()
    ]
    return tuple(t for t in found if t.energy > 0)


def _rates_with_4f(number: int, subshell: str) -> dict[str, float]:
    filling = _ELECTRONS_4F[number] / _ELECTRONS_4F[_HALF_FILLED_4F]
    return {
        t.outer: t.rate * (filling if t.outer in ("N6", "N7") else 1.0)
        for t in transitions(_HALF_FILLED_4F, subshell)
    }


def _line_energy(number: int, inner: str, outer: str) -> float:
    if (number, inner, outer) in _MEASURED_ENERGY:
        return _MEASURED_ENERGY[number, inner, outer]
    try:
        energy = float(xraylib.LineEnergy(number, getattr(xraylib, f"{inner}{outer}_LINE")))
    except ValueError:
        energy = 0.0
    if energy > 0:
        return energy
    return binding_energy(number, inner) - binding_energy(number, outer)


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
