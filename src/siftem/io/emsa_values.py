"""Numbers of EMSA/MAS files as programs really write them: decimal commas, rates."""

from __future__ import annotations

import re

import numpy as np

_POINT = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_COMMA = re.compile(r"[-+]?(?:\d+,?\d*|,\d+)(?:[eE][-+]?\d+)?")
_RATE = re.compile(r"^(cps|(counts?|c|cts?)(/|per)s(ec|econd)?s?)(?P<per>/?k?ev)?$")
#: Rates are written with some digits: counts this near to whole numbers are whole numbers.
_WHOLE = 0.1


def number_of(text: str) -> float:
    """Return the first number of a text, with a decimal point or comma.

    Raises
    ------
    ValueError
        When there is none.
    """
    for pattern in (_COMMA,) if "," in text and "." not in text else (_POINT,):
        found = pattern.match(text.strip())
        if found:
            return float(found.group().replace(",", "."))
    raise ValueError(f"no number in {text!r}")


def numbers_of(lines: list[str], expected: int) -> np.ndarray:
    """Return all numbers of the data lines.

    A comma between digits may part two numbers or be the decimal sign of one. It is the
    latter where that gives as many numbers as are expected and the former does not.

    Parameters
    ----------
    lines : list of str
    expected : int
        Numbers that the header promises.

    Returns
    -------
    ndarray of float64
    """
    text = "\n".join(lines)
    found = _POINT.findall(text)
    if len(found) > expected and "." not in text:
        by_comma = _COMMA.findall(text)
        if len(by_comma) == expected:
            found = [number.replace(",", ".") for number in by_comma]
    return np.array([float(number) for number in found])


def counts_of_rates(
    values: np.ndarray, units: str, live_time: float | None, width_ev: float
) -> tuple[np.ndarray, str]:
    """Bring rates back to counts by the live time.

    Parameters
    ----------
    values : ndarray of shape (channels,)
    units : str
        YUNITS of the header. Anything but a rate (CPS, counts/s, also per eV) leaves the
        values as they are.
    live_time : float or None
        s.
    width_ev : float
        Width of a channel, for rates per eV or keV.

    Returns
    -------
    values : ndarray of shape (channels,)
    note : str
        What was done; empty when nothing was.

    Raises
    ------
    ValueError
        When they are rates and the live time is not known.
    """
    plain = "".join(units.lower().split())
    rate = _RATE.match(plain)
    if rate is None:
        return values, ""
    if live_time is None:
        raise ValueError(
            f"its values are rates ({units}) without a live time, so that their errors cannot be "
            "known: add a line #LIVETIME (seconds) to its header, or export counts"
        )
    factor = live_time
    if rate.group("per"):
        factor *= width_ev / (1e3 if "k" in rate.group("per") else 1.0)
    counts = values * factor
    whole = np.rint(counts)
    if np.abs(counts - whole).max(initial=0.0) < _WHOLE:
        counts = whole
    return counts, f"rates ({units}) brought back to counts by the live time of {live_time:g} s"
