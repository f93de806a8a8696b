"""Rounding to the error: worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siftem.printed_numbers import (
    MISSING,
    decimals_of,
    measured,
    percent,
    significant,
    whole_number,
    with_error,
)


@pytest.mark.parametrize(
    ("value", "sigma", "expected"),
    [
        (12.3456, 0.561, "12.35 ± 0.56"),
        (12.3456, 0.0996, "12.35 ± 0.10"),
        (12.3456, 0.0994, "12.346 ± 0.099"),
        (12.3456, 9.96, "12 ± 10"),
        (12345.6, 678.0, "12350 ± 680"),
        (0.0, 0.0123, "0.000 ± 0.012"),
        (-0.001, 0.12, "0.00 ± 0.12"),
        (-3.21, 0.12, "-3.21 ± 0.12"),
        (1.0, 0.5, "1.00 ± 0.50"),
        (99.999, 0.010, "99.999 ± 0.010"),
        (1.2e-8, 3e-9, "(1.20 ± 0.30)e-08"),
        (1e-10, 3e-8, "(0.0 ± 3.0)e-08"),
        (1.234e12, 5.6e9, "(1.2340 ± 0.0056)e+12"),
        (3.14159, 0.0, "3.142"),
        (3.14159, math.nan, "3.142"),
        (3.14159, math.inf, "3.142"),
        (math.nan, 0.1, MISSING),
        (math.inf, 0.1, MISSING),
    ],
)
def test_value_and_error_share_their_decimals(value, sigma, expected):
    assert with_error(value, sigma) == expected


def test_a_systematic_error_has_its_own_digits_but_no_more_decimals():
    shown = measured(46.0712, 0.0312, 5.234)
    assert (shown.value, shown.sigma, shown.systematic) == ("46.071", "0.031", "5.2")
    shown = measured(46.0712, 0.312, 0.0123)
    assert (shown.value, shown.sigma, shown.systematic) == ("46.07", "0.31", "0.01")
    shown = measured(46.0712, 0.0, 0.123)
    assert (shown.value, shown.sigma, shown.systematic) == ("46.07", "", "0.12")


@given(st.floats(-1e6, 1e6), st.floats(1e-5, 1e5))
def test_rounding_moves_nothing_by_more_than_a_twentieth_of_the_error(value, sigma):
    text = with_error(value, sigma)
    if "e" in text:
        left, right = text.strip("(").split(" ± ")
        mantissa, power = right.split(")e")
        shown, error = float(left) * 10 ** int(power), float(mantissa) * 10 ** int(power)
    else:
        shown, error = (float(part) for part in text.split(" ± "))
    # Half a unit of the second digit of an error of 10 to 99 units is at most 5% of it.
    assert abs(shown - value) <= 0.0501 * sigma + 1e-9 * abs(value)
    assert abs(error - sigma) <= 0.0501 * sigma


@pytest.mark.parametrize(
    ("sigma", "decimals"), [(0.0996, 2), (0.0994, 3), (1.0, 1), (9.96, 0), (10.0, 0), (123.0, -1)]
)
def test_decimals_after_carrying(sigma, decimals):
    assert decimals_of(sigma) == decimals


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (0.02395, 2, "0.024"),
        (1234.5, 2, "1200"),
        (0.5, 2, "0.50"),
        (0, 3, "0"),
        (-2.346, 3, "-2.35"),
        (1e-12, 2, "1.0e-12"),
        (math.nan, 2, MISSING),
    ],
)
def test_significant_digits(value, digits, expected):
    assert significant(value, digits) == expected


def test_thousands_are_spaced():
    assert whole_number(7134567.2) == "7\u2009134\u2009567"
    assert whole_number(12) == "12"


def test_parts_near_all_are_no_powers_of_ten():
    parts = [0.0, 0.0048, 0.126, 0.994, 0.9966, 0.9999, 1.46, 24.3]
    told = ["0%", "0.48%", "13%", "99%", "99.7%", "100%", "146%", "2430%"]
    assert [percent(part) for part in parts] == told
