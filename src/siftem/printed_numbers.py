"""Numbers as they are printed, with as many digits as the error allows; and lists of names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Shown where there is no number.
MISSING = "–"
#: Decimals beyond these are written with a power of ten.
_MOST_DECIMALS = 6
_MOST_ZEROS = 6


@dataclass(frozen=True)
class Measured:
    """A value with its errors, as text.

    Parameters
    ----------
    value : str
        Rounded to the decimals of its statistical error.
    sigma : str
        Statistical error; empty if there is none.
    systematic : str
        Systematic error; empty if there is none.
    """

    value: str
    sigma: str = ""
    systematic: str = ""


def in_words(names: Sequence[str]) -> str:
    """Return names as a sentence lists them, such as "A, B and C"."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def with_error(value: float, sigma: float) -> str:
    """Return a value with its error, the error to two significant digits.

    Parameters
    ----------
    value, sigma : float

    Returns
    -------
    str
        Such as "12.34 ± 0.56", "(1.20 ± 0.30)e-08". Without a finite, positive error the
        value alone, to four significant digits; "–" when there is no value.
    """
    shown = measured(value, sigma)
    if not shown.sigma:
        return shown.value
    if "e" in shown.value:
        mantissa, power = shown.value.split("e")
        return f"({mantissa} ± {shown.sigma.split('e')[0]})e{power}"
    return f"{shown.value} ± {shown.sigma}"


def range_text(low: float, high: float) -> str:
    """Return a range such as "12.3 to 24.5", its width to two significant digits.

    Parameters
    ----------
    low, high : float
        ``high`` may be infinite: "above 12.3".

    Returns
    -------
    str
        "–" where there is nothing to say: no number, or anything from 0 on.
    """
    if math.isnan(low) or math.isnan(high):
        return MISSING
    if math.isinf(high):
        return f"above {significant(low, 2)}" if low > 0 else MISSING
    if not high > low:
        return significant(high, 2)
    decimals = decimals_of(high - low)
    if decimals > _MOST_DECIMALS or decimals < -_MOST_ZEROS:
        return f"{significant(low, 2)} to {significant(high, 2)}"
    # Outwards, so that nothing of the range is lost.
    unit = 10.0**-decimals
    ends = [math.floor(low / unit + 1e-9) * unit, math.ceil(high / unit - 1e-9) * unit]
    shown = [_fixed(end, decimals) for end in ends]
    return f"{'0' if float(shown[0]) == 0 else shown[0]} to {shown[1]}"


def as_in_range(value: float, low: float, high: float) -> str:
    """Return a value with the decimals that `range_text` gives its range."""
    if not math.isfinite(high - low):  # of a ratio whose denominator may be zero
        return significant(value, 2)
    decimals = decimals_of(high - low)
    if decimals > _MOST_DECIMALS or decimals < -_MOST_ZEROS:
        return significant(value, 2)
    return _fixed(value, decimals)


def measured(value: float, sigma: float, systematic: float | None = None) -> Measured:
    """Round a value and its errors together.

    Parameters
    ----------
    value : float
    sigma : float
        Statistical error, given to two digits; it sets the decimals of the value.
    systematic : float, optional
        Rounded to two digits as well, but to no more decimals than the value.

    Returns
    -------
    Measured
    """
    if not math.isfinite(value):
        return Measured(MISSING)
    if not (math.isfinite(sigma) and sigma > 0):
        if not _has_error(systematic):
            return Measured(significant(value, 4))
        assert systematic is not None
        decimals = decimals_of(systematic)
        return Measured(_fixed(value, decimals), "", _fixed(systematic, decimals))
    decimals = decimals_of(sigma)
    if decimals > _MOST_DECIMALS or decimals < -_MOST_ZEROS:
        # One power of ten for all of them, that of the larger of value and error.
        power = math.floor(math.log10(max(abs(value), sigma)))
        places = max(decimals + power, 0)
        parts = [_power(x, power, places) for x in (value, sigma)]
        if _has_error(systematic):
            assert systematic is not None
            parts.append(_power(systematic, power, places))
        return Measured(*parts)
    own = ""
    if _has_error(systematic):
        assert systematic is not None
        own = _fixed(systematic, min(decimals, decimals_of(systematic)))
    return Measured(_fixed(value, decimals), _fixed(sigma, decimals), own)


def decimals_of(sigma: float, digits: int = 2) -> int:
    """Return the decimals that show a positive number to some significant digits.

    Negative for numbers that are rounded to tens or more. A number that rounds up to the
    next power of ten (0.0996 to 0.10) is counted as that.
    """
    exponent = int(f"{sigma:.{digits - 1}e}".split("e")[1])
    return digits - 1 - exponent


def significant(value: float, digits: int = 3) -> str:
    """Return a number to some significant digits, trailing zeros kept, powers for extremes."""
    if not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    decimals = decimals_of(abs(value), digits)
    if decimals > _MOST_DECIMALS + 2 or decimals < -_MOST_ZEROS:
        return f"{value:.{digits - 1}e}"
    return _fixed(value, decimals)


def percent(part: float) -> str:
    """Return a part such as "12%", "0.48%" or "99.7%": two significant digits, three near all."""
    value = 100 * part
    return f"{value:.0f}%" if value > 999 else f"{value:.{2 if value < 99.5 else 3}g}%"


def whole_number(value: float) -> str:
    """Return a count with a thin space at each thousand."""
    return f"{round(value):,}".replace(",", "\u2009")


def _has_error(sigma: float | None) -> bool:
    return sigma is not None and math.isfinite(sigma) and sigma > 0


def _fixed(value: float, decimals: int) -> str:
    text = f"{round(value, decimals):.{max(decimals, 0)}f}"
    # A negative value that rounds to zero has no sign.
    return text.lstrip("-") if float(text) == 0 else text


def _power(value: float, power: int, places: int) -> str:
    return f"{_fixed(value / 10.0**power, places)}e{power:+03d}"


def signed(value: float) -> str:
    """Return a number with its sign and one decimal; "0.0" without one; empty if not finite."""
    if not math.isfinite(value):
        return ""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def plus_minus(text: str) -> str:
    """Return a text with the proper sign for "+-"."""
    return text.replace("+-", "±")
