"""Chemical elements by symbol."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
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
