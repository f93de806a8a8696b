"""Mode, spread and mixing ratio of samples with contamination, against what made them."""

import numpy as np
import pytest

from siftem.robust import half_sample_mode, lower_spread, most_common_ratio


def test_the_mode_is_where_a_skewed_law_has_its_maximum():
    # A gamma law of shape k has its mode at k - 1, its mean at k: far apart in its widths.
    modes = [half_sample_mode(np.random.default_rng(s).gamma(3.0, size=40000)) for s in range(20)]
    assert np.mean(modes) == pytest.approx(2.0, abs=0.1)


def test_the_mode_of_few_values_is_their_mean():
    assert half_sample_mode(np.array([1.0, 2.0, 6.0])) == pytest.approx(3.0)


def test_the_spread_below_zero_ignores_the_signal_above():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.03, 20000)
    noise[:6000] += rng.random(6000)
    assert lower_spread(noise) == pytest.approx(0.03, rel=0.05)


def test_the_spread_of_clipped_noise_is_of_its_order():
    clipped = np.abs(np.random.default_rng(1).normal(0, 0.03, 20000))
    # Quartile of a half-normal law: 0.3186 standard deviations.
    assert lower_spread(clipped) == pytest.approx(2 * 0.3186 * 0.03, rel=0.05)
    assert lower_spread(np.zeros(100)) == 1e-9


def test_the_most_common_ratio_is_that_of_the_pure_pixels():
    rng = np.random.default_rng(2)
    grain = np.where(rng.random(8000) < 0.4, rng.random(8000), 0.0)
    shares = np.array([0.7 - 0.7 * grain, 0.3 + 0.7 * grain]) + rng.normal(0, 0.02, (2, 8000))
    ratio, common = most_common_ratio(shares, [1], fewest=20)
    np.testing.assert_allclose(ratio, [0.7, 0.3], atol=0.005)
    # 95% of the pure pixels lie within two standard deviations, and few others.
    assert common == pytest.approx(0.6 * 0.954, abs=0.04)


def test_too_few_near_pixels_are_none():
    shares = np.random.default_rng(3).random((2, 30))
    assert most_common_ratio(shares, [0, 1], fewest=31)[1] == 0.0
