"""Chemical elements by symbol, and ratios of them in writing, such as "(Mg+Fe)/O"."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
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
