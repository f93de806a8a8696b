"""Ratios of elements in writing, such as "(Mg+Fe)/O"."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from siftem.errors import InputError
from siftem.xray.elements import atomic_number


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
