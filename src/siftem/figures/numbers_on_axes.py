"""Numbers beside axes."""

from __future__ import annotations

import math

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def short_number(value: float) -> str:
    """Return 0, 0.01, 1, 30 or 3×10³ for one digit times a power of ten."""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(value) + 1e-9)
    factor = round(value / 10.0**exponent)
    if -2 <= exponent <= 2:
        return f"{factor * 10.0**exponent:g}"
    power = "10" + str(exponent).translate(_SUPERSCRIPTS)
    return power if factor == 1 else f"{factor}×{power}"
