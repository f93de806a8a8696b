from dataclasses import replace

import numpy as np
import pytest

from siftem.errors import InputError
from siftem.quantification.composition import quantify
from siftem.quantification.open_ranges import fraction_intervals, growth, reach_of

NONE = np.zeros((1, 2))


@pytest.fixture(scope="module")
def glass(maker):
    return quantify(
        maker.spectrum(maker.expected(maker.glass, 3e6), "glass"),
        list(maker.glass),
        calibration=maker.calibration,
        thickness=0,
    )


def one(value, noise=0.0, systematic=0.0, reach=(0.0, 0.0), level=0.95):
    ends = fraction_intervals(
        np.array([value]), np.array([noise]), np.array([systematic]), np.array([reach]), level
    )
    return ends[0]


def test_noise_alone_is_symmetric_and_cut_at_the_simplex():
    assert one(0.3, noise=0.02) == pytest.approx([0.3 - 0.0391993, 0.3 + 0.0391993])
    assert one(0.01, noise=0.02)[0] == 0
    assert one(0.99, noise=0.02)[1] == 1


@pytest.mark.parametrize(("value", "high"), [(-0.01, 0.0391993), (-0.03, 0.0391993), (-0.1, 0.1)])
def test_what_came_out_below_zero_says_no_more_than_zero(value, high):
    assert one(0.0, noise=0.02) == pytest.approx([0, 0.0391993])
    assert one(value, noise=0.02) == pytest.approx([0, high])


def test_errors_of_factors_are_symmetric_in_the_odds():
    """Two elements, one with a factor known to 30%: the ends follow from the factor itself."""
    low, high = one(0.4, systematic=0.3 * 0.4 * 0.6)
    odds = 0.4 / 0.6
    for end, sign in ((low, -1), (high, 1)):
        amount = odds * np.exp(sign * 1.959964 * 0.3)
        assert end == pytest.approx(amount / (1 + amount))


def test_both_kinds_add_in_quadrature():
    low, high = one(0.4, noise=0.03, systematic=0.02)
    assert high - 0.4 == pytest.approx(1.959964 * np.hypot(0.03, 0.02), rel=0.02)
    assert 0.4 - low == pytest.approx(1.959964 * np.hypot(0.03, 0.02), rel=0.02)


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("width", [0.0, 0.01, 0.1])
def test_a_range_is_held_wherever_the_truth_lies_in_it(width, place):
    """At least 95% over the range, and exactly 95% at its ends."""
    sigma, truth = 0.02, 0.4
    rng = np.random.default_rng(3)
    # The estimate takes the lower end of the range, the truth lies somewhere in it.
    estimates = truth - place * width + sigma * rng.normal(size=20_000)
    n = estimates.size
    ends = fraction_intervals(
        estimates, np.full(n, sigma), np.zeros(n), np.tile([0.0, width], (n, 1)), 0.95
    )
    held = ((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean()
    # Three standard deviations of a share of 0.95 in 20,000 draws are 0.005.
    if place != 0.5:
        assert held == pytest.approx(0.95, abs=0.005)
    else:
        assert held > 0.945


def test_reach_of_compositions():
    values = np.array([0.5, 0.3, 0.2])
    ends = np.array([[0.6, 0.3, 0.1], [0.55, 0.2, 0.25]])
    assert reach_of(values, ends) == pytest.approx(
        np.array([[0.0, 0.1], [-0.1, 0.0], [-0.1, 0.05]])
    )
    assert (reach_of(values, np.zeros((0, 3))) == 0).all()


def test_intervals_of_a_composition_hold_counting_and_systematic_errors(glass):
    for ends, middle, covariance in (
        (glass.weight_interval_95, glass.unbounded, glass.covariance + glass.systematic),
        (
            glass.atomic_interval_95,
            glass.atomic_fractions,
            glass.atomic_covariance + glass.atomic_systematic,
        ),
    ):
        assert ends.shape == (len(glass.elements), 2)
        assert (ends >= 0).all() and (ends <= 1).all()
        width = np.diff(ends)[:, 0]
        clear = middle > 5 * np.sqrt(np.diag(covariance))
        assert clear.sum() >= 5
        assert width[clear] == pytest.approx(
            2 * 1.959964 * np.sqrt(np.diag(covariance))[clear], rel=0.03
        )


def test_model_errors_widen_the_intervals(glass):
    larger = replace(glass, covariance=4 * glass.covariance)
    silent = replace(glass, systematic=0 * glass.systematic, by_ratios=None)
    both = replace(larger, systematic=silent.systematic, by_ratios=None)
    assert np.diff(both.weight_interval_95)[4] == pytest.approx(
        2 * np.diff(silent.weight_interval_95)[4]
    )
    assert (np.diff(larger.weight_interval_95) >= np.diff(glass.weight_interval_95)).all()


def test_what_came_out_below_zero_moves_no_other_out_of_its_interval(glass):
    """With an absent element at -3%, all others are larger by as much in all: both may be true."""
    i, j = glass.index("Si"), glass.index("Nd")
    fractions = glass.weight_fractions.copy()
    fractions[j] = 0.0
    fractions = fractions / fractions.sum()
    below = fractions.copy()
    below[j] = -0.03
    found = replace(glass, weight_fractions=fractions, unbounded=below / below.sum())
    low, high = found.intervals(atomic=False)[i]
    assert low < fractions[i] < found.unbounded[i] < high
    half = 1.96 * glass.sigma[i]
    assert low < fractions[i] - 0.9 * half
    assert high > found.unbounded[i] + 0.9 * half
    # Of an absent one that came out far below zero no proof that there is none.
    assert found.intervals(atomic=False)[j] == pytest.approx([0, -found.unbounded[j]])


def test_with_range_holds_other_compositions(glass):
    less = glass.weight_fractions.copy()
    si, o = glass.index("Si"), glass.index("O")
    less[si] -= 0.05
    less[o] += 0.05
    wide = glass.with_range(less)
    assert wide.weight_interval_95[si, 0] < less[si] < glass.weight_interval_95[si, 0]
    assert wide.weight_interval_95[o, 1] > less[o]
    assert wide.atomic_interval_95[si, 0] < glass.atomic_interval_95[si, 0]
    nd = glass.index("Nd")
    # By its noise alone, since less may be left of what was measured.
    assert wide.weight_interval_95[nd] == pytest.approx(glass.weight_interval_95[nd], rel=2e-3)
    low, high = (wide.weight_interval_95 - glass.weight_interval_95)[nd]
    assert low <= 0 <= high
    more = 2 * glass.weight_fractions - less
    both = wide.with_range(more)
    assert both.weight_interval_95[si, 0] == pytest.approx(wide.weight_interval_95[si, 0], abs=1e-3)
    assert both.weight_interval_95[si, 1] > more[si]
    # Errors of other kinds stay what they were.
    assert (both.covariance == glass.covariance).all()
    assert both.systematic_sigma == pytest.approx(glass.systematic_sigma)


@pytest.mark.parametrize("ends", [np.ones(3), np.zeros(3)])
def test_what_is_no_composition_is_refused(glass, ends):
    with pytest.raises(InputError, match="sum to one"):
        glass.with_range(ends)
    with pytest.raises(InputError, match="sum to one"):
        glass.with_range(np.full(len(glass.elements), 0.5))


def test_level(glass):
    narrow, wide = glass.intervals(0.68), glass.intervals(0.95)
    assert (narrow[:, 0] >= wide[:, 0]).all() and (narrow[:, 1] <= wide[:, 1]).all()
    with pytest.raises(InputError, match="level"):
        glass.intervals(0.0)


@pytest.mark.parametrize("atomic", [False, True])
def test_a_phase_that_is_a_hundredth_of_what_was_measured_has_its_errors(glass, atomic):
    """Ca beside Fe is known to 25%, however much of the rest is another phase's."""
    fe, ca = glass.index("Fe"), glass.index("Ca")
    rest = glass.weight_fractions.copy()
    rest[[fe, ca]] = 0.0
    mixed = 0.99 * rest / rest.sum()
    mixed[[fe, ca]] = 0.008, 0.002
    variance = np.zeros((rest.size, rest.size))
    variance[ca, ca] = 0.0005**2
    alone = np.zeros(rest.size)
    alone[[fe, ca]] = 0.8, 0.2
    found = replace(
        glass, weight_fractions=mixed, unbounded=None, covariance=variance, by_ratios=None,
        systematic=0 * glass.systematic,
    ).with_range(alone)  # fmt: skip
    low, high = found.intervals(atomic=atomic)[ca]
    assert low < 0.002
    value = replace(found, weight_fractions=alone)
    value = (value.atomic_fractions if atomic else value.weight_fractions)[ca]
    assert value * (1 + 1.6 * 0.25) < high < value * (1 + 2.3 * 0.25)
    ratio = found.ratio("Ca/Fe")
    assert ratio.range_95[1] > 1.4 * ratio.value


def test_what_is_left_of_a_phase_is_told_from_more_of_another():
    """PtRh on alumina and ceria, all of which is taken off; silica with more of its carbon film."""
    alone = growth(np.array([0.11, 0.56, 0.27, 0.048, 0.012]), np.array([0, 0, 0, 0.8, 0.2]))
    assert alone == pytest.approx(0.8 / 0.048)
    assert growth(np.array([0.43, 0.55, 0.02]), np.array([0.33, 0.43, 0.24])) == 1.0
    # What is left of noise alone tells nothing.
    assert growth(np.array([0.4998, 0.4998, 4e-4]), np.array([0.49, 0.49, 0.02])) == 1.0
