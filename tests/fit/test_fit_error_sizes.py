"""Sizes of model errors from what bumps show of them."""

import numpy as np
import pytest

from siftem.fit.error_sizes import mean_shares, size_likelihood


def told(seen, bumps=60, noise=1e-3, share=0.0):
    """Of so many bumps whose mean squares are these multiples of their variance by noise."""
    total = noise + share
    square = noise * np.asarray(seen)
    fisher = np.full(square.size, bumps / total**2)
    return size_likelihood(
        np.full(square.size, share), fisher * (square - total), fisher, np.full(square.size, total)
    )


@pytest.mark.parametrize("share", [0.0, 4e-4, 3e-3])
def test_a_likelihood_is_the_same_wherever_its_slope_is_taken(share):
    there = told([0.7, 1.0, 3.0], share=share)
    assert there == pytest.approx(told([0.7, 1.0, 3.0]), abs=1e-9)
    # Three times the noise: the share is twice it, whose root is 4.5%.
    assert np.geomspace(1e-4, 1, 200)[there[:, 2].argmax()] == pytest.approx(0.0447, rel=0.03)


@pytest.mark.parametrize("seen", [3.0, 91.0])
def test_a_size_that_is_clear_is_what_bumps_show(seen):
    (mean,) = mean_shares([(told([seen], bumps=4000), 1.0)])
    assert mean == pytest.approx((seen - 1.0) * 1e-3, rel=0.05)


def test_a_true_model_is_found_to_be_true_by_all_bumps_together():
    rng = np.random.default_rng(0)
    one = [mean_shares([(told(x), 1.0)])[0] for x in rng.chisquare(60, (40, 1)) / 60]
    (together,) = mean_shares([(told(rng.chisquare(60, 40) / 60), 1.0)])
    # What a place by itself can't tell from noise, all forty can.
    assert together.mean() < 0.5 * np.mean(one)
    # Columns that say the same count as one.
    two, forty = (mean_shares([(np.repeat(told([1.0]), n, axis=1), n)])[0][0] for n in (2, 40))
    assert forty == pytest.approx(two)


def test_where_a_model_errs_it_does_so_where_counts_tell_little():
    clear, faint = told(np.full(8, 5.0)), told([1.0], bumps=5)
    alone = mean_shares([(faint, 1.0)])[0]
    beside = mean_shares([(clear, 1.0), (faint, 1.0)])[1]
    true = mean_shares([(told(np.full(200, 1.0)), 1.0), (faint, 1.0)])[1]
    assert true < 0.5 * alone < alone < beside
