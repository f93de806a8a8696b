"""Where nobody fixes how much of another phase to take off, what follows is a range."""

from dataclasses import replace

import numpy as np
import pytest

from siftem.errors import InputError
from siftem.quantification.composition import quantify
from siftem.quantification.open_ranges import (
    atomic_ratio,
    ends_of,
    fieller,
    formula_atoms,
    interval_of,
    is_open,
    oxide_percent,
)
from siftem.quantification.partition import partition_coefficient

GARNET = {"O": 0.42, "Mg": 0.10, "Al": 0.12, "Si": 0.20, "Fe": 0.16}
HOST = {"O": 0.47, "Mg": 0.22, "Al": 0.04, "Si": 0.25, "Fe": 0.02}


def made(maker, weights, name, counts=1e6, elements=None):
    spectrum = maker.spectrum(maker.expected(weights, counts), name)
    return quantify(spectrum, elements or list(weights), calibration=maker.calibration, thickness=0)


def without(c, element, part=1.0):
    """Weight fractions with a part of an element taken away."""
    left = np.array(c.weight_fractions)
    left[c.index(element)] *= 1 - part
    return left / left.sum()


@pytest.fixture(scope="module")
def closed(maker):
    return made(maker, GARNET, "garnet")


@pytest.fixture(scope="module")
def opened(closed):
    return closed.with_range(without(closed, "Mg"))


def test_a_composition_is_open_where_what_is_not_fixed_dominates(closed, opened):
    assert not is_open(closed)
    assert is_open(opened)
    # An end that lies within the errors changes nothing.
    assert not is_open(closed.with_range(without(closed, "Mg", 0.001)))
    assert ends_of(closed).shape == (1, 5)
    np.testing.assert_array_equal(ends_of(opened)[0], closed.weight_fractions)


def test_the_models_errors_count_once(closed):
    """They are a part of the covariance, and told apart beside it."""
    ratio = atomic_ratio(closed, "Mg/Si")
    told = interval_of(replace(closed, model=closed.covariance), ratio)
    assert told == interval_of(replace(closed, model=None), ratio)


def test_a_ratio_reaches_from_end_to_end(closed, opened):
    ratio = closed.ratio("Mg/Si")
    error = np.hypot(ratio.sigma, closed.ratio_systematic("Mg/Si"))
    low, high = interval_of(closed, atomic_ratio(closed, "Mg/Si"))
    # By hand, ratio and denominator being nearly independent of each other's counting errors.
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert low < ratio.value < high
    now = interval_of(opened, atomic_ratio(opened, "Mg/Si"))
    assert now == pytest.approx((0.0, high), rel=1e-6)
    # Nothing takes Fe from Si: their ratio is as well known as before.
    pair = [interval_of(c, atomic_ratio(c, "Fe/Si")) for c in (closed, opened)]
    assert pair[1] == pytest.approx(pair[0], rel=0.1)


def test_a_denominator_that_may_vanish_has_no_upper_end(opened):
    low, high = interval_of(opened, atomic_ratio(opened, "Si/Mg"))
    assert high == np.inf
    assert 0 < low < opened.ratio("Si/Mg").value


def test_what_may_be_nothing_over_nothing_is_anything(closed):
    end = without(closed, "Mg") * (np.array(closed.elements) != "Fe")
    bare = closed.with_range(end / end.sum())
    assert interval_of(bare, atomic_ratio(bare, "Mg/Fe")) == (0.0, np.inf)


def test_oxides_and_formulas_hold_the_ends(closed, opened):
    shown = {
        "MgO": (closed.oxides()["MgO"].value, oxide_percent),
        "atoms": (
            closed.formula_units(12.0)["Mg"].value,
            lambda c, element: formula_atoms(c, element, 12.0),
        ),
    }
    for value, form in shown.values():
        low, high = interval_of(closed, form(closed, "Mg"))
        assert low < value < high
        assert interval_of(opened, form(opened, "Mg")) == pytest.approx((0.0, high))
    # What is left is richer in the others.
    wide = interval_of(opened, oxide_percent(opened, "Si"))
    assert wide[1] > interval_of(closed, oxide_percent(closed, "Si"))[1]
    assert wide[0] < closed.oxides()["SiO2"].value


def test_the_interval_of_a_ratio_covers_it_at_the_stated_rate():
    # Also where the denominator is two standard deviations from zero, unlike first order.
    rng = np.random.default_rng(0)
    for bottom in (2.0, 20.0):
        hits = 0
        for _ in range(2000):
            t, b = rng.normal((3.0, bottom), 1.0)
            low, high = fieller(t, b, np.eye(2))
            hits += low <= 3.0 / bottom <= high
        assert hits / 2000 >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 2000)
        assert hits / 2000 <= 0.985


def test_partition_coefficients_of_an_open_phase_are_ranges(maker, closed, opened):
    host = made(maker, HOST, "host")
    d = partition_coefficient(closed, host, "Mg")
    assert not d.is_range
    low, high = d.interval_95
    assert low < d.value < high
    # Far from zero Fieller's interval is the plain one.
    half = 1.96 * np.hypot(d.sigma, d.systematic)
    assert (low, high) == pytest.approx((d.value - half, d.value + half), rel=0.02)
    wide = partition_coefficient(opened, host, "Mg")
    assert wide.is_range
    assert wide.interval_95 == pytest.approx((0.0, high), rel=0.02)
    assert " to " in str(wide)
    upside_down = partition_coefficient(host, opened, "Mg")
    assert upside_down.interval_95[0] == pytest.approx(1 / high, rel=0.02)
    assert upside_down.interval_95[1] == np.inf


def test_an_element_found_at_one_end_only_is_told(maker, closed):
    elements = [*GARNET, "Nd"]
    host, grain = (made(maker, w, n, elements=elements) for w, n in ((HOST, "h"), (GARNET, "g")))
    with pytest.raises(InputError, match="below its critical level"):
        partition_coefficient(grain, host, "Nd")
    end = np.array(grain.weight_fractions)
    end[-1] = 0.05
    d = partition_coefficient(grain.with_range(end / end.sum()), host, "Nd")
    assert d.is_range
    assert np.isnan(d.value)
    assert d.interval_95 == (0.0, np.inf)
