"""Two parts of the counts: their sum, their means, and that they know nothing of each other."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from siftem import EnergyAxis, SpectrumImage
from siftem.errors import InputError
from siftem.thinning import split_counts, thin


def made_up(dtype=np.int32, seed=0):
    dense = np.random.default_rng(seed).poisson(1.5, (60, 40)).astype(dtype)
    return SpectrumImage(sp.csr_array(dense), (6, 10), EnergyAxis(0.2, 0.01, 40, "keV"))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float64])
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_the_parts_sum_to_the_whole(dtype, share):
    si = replace(made_up(dtype), pedestal=0.4)
    before = si.counts.toarray()
    first, second = thin(si, share=share, random_state=3)
    np.testing.assert_array_equal(first.counts.toarray() + second.counts.toarray(), before)
    np.testing.assert_array_equal(si.counts.toarray(), before)
    for part in (first, second):
        assert part.counts.dtype == dtype
        assert part.counts.data.min() > 0
        assert part.axis == si.axis
    assert (first.pedestal, second.pedestal) == pytest.approx((0.4 * share, 0.4 * (1 - share)))
    assert first.total / si.total == pytest.approx(share, abs=4 * np.sqrt(0.25 / si.total))


def test_the_parts_of_poisson_counts_are_independent():
    rng = np.random.default_rng(1)
    counts = sp.csr_array(rng.poisson(4.0, (1, 100_000)).astype(float))
    first, second = (part.toarray().ravel() for part in split_counts(counts, 0.5, rng))
    # Their correlation has a standard error of 1 / sqrt(n) = 0.003; halves of a fixed
    # number would have -1, copies 1. Means and variances are those of Poisson, 2.
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.013
    for part in (first, second):
        assert part.mean() == pytest.approx(2.0, abs=0.02)
        assert part.var() == pytest.approx(2.0, abs=0.05)


def test_a_seed_gives_the_same_parts():
    a, b, c = (thin(made_up(), random_state=s)[0].counts.toarray() for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_what_cannot_be_thinned():
    si = made_up(np.float64)
    with pytest.raises(InputError, match="between 0 and 1"):
        thin(si, share=1.0)


def test_fractions_are_rounded_by_chance_and_keep_their_mean():
    si = made_up(np.float64)
    half = SpectrumImage(si.counts * 0.3, si.shape, si.axis)
    parts = [thin(half, random_state=s) for s in range(400)]
    for first, second in parts[:3]:
        both = (first.counts + second.counts).toarray()
        assert np.abs(both - half.counts.toarray()).max() < 1
        np.testing.assert_array_equal(both, np.rint(both))
    mean = np.mean([first.counts.toarray() for first, _ in parts], axis=0)
    error = np.sqrt(np.maximum(half.counts.toarray(), 0.05) / 400)
    assert np.abs((mean - 0.5 * half.counts.toarray()) / error).max() < 5


@pytest.mark.parametrize("share_of_fractions", [0.0, 0.3])
def test_parts_of_the_counts_are_drawn_in_turn_and_empty_rows_stay(monkeypatch, share_of_fractions):
    rng = np.random.default_rng(5)
    dense = rng.poisson(0.7, (40, 30)).astype(np.float32)
    dense += share_of_fractions * (dense > 0)
    dense[[0, 1, 17, 39]] = 0
    counts = sp.csr_array(dense)
    at_once = split_counts(counts, 0.4, np.random.default_rng(2))
    monkeypatch.setattr("siftem.thinning._AT_ONCE", 7)
    in_turn = split_counts(counts, 0.4, np.random.default_rng(2))
    for a, b in zip(at_once, in_turn, strict=True):
        assert (a.toarray() == b.toarray()).all()
        assert b.has_canonical_format
        assert b.data.all()
        assert not b.toarray()[[0, 1, 17, 39]].any()
    whole = sum(part.toarray() for part in in_turn)
    assert (abs(whole - dense) < 1).all()
    if not share_of_fractions:
        assert (whole == dense).all()
