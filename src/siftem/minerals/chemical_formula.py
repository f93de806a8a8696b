"""Chemical formulas in writing, such as "Ca5(PO4)3F"."""

from __future__ import annotations

import re

from siftem.errors import InputError
from siftem.xray.elements import element_symbols

_PART = re.compile(r"([A-Z][a-z]?|\(|\))(\d*\.?\d*)")


def formula_atoms(text: str) -> dict[str, float]:
    """Return the atoms of a formula unit.

    Parameters
    ----------
    text : str
        Elements with numbers, which may have decimals; brackets may be nested.

    Returns
    -------
    dict of str to float

    Raises
    ------
    InputError
        When the text is no formula.
    """
    wrong = InputError(f"{text!r} is no formula such as 'Ca5(PO4)3F'")
    stack: list[dict[str, float]] = [{}]
    at = 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            raise wrong
        at = part.end()
        symbol, number = part.groups()
        if symbol == "(":
            if number:
                raise wrong
            stack.append({})
            continue
        count = float(number) if number not in ("", ".") else 1.0
        if number == "." or count <= 0:
            raise wrong
        inner = {symbol: 1.0}
        if symbol == ")":
            if len(stack) < 2 or not stack[-1]:
                raise wrong
            inner = stack.pop()
        for element, atoms in inner.items():
            stack[-1][element] = stack[-1].get(element, 0.0) + atoms * count
    if len(stack) != 1 or not stack[0]:
        raise wrong
    element_symbols(stack[0])
    return stack[0]
