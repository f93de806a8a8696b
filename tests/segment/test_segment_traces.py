import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from siftem.errors import InputError, SiftemWarning
from siftem.segment.traces import certain_pixels, grain_shares

SIZE = 80


def make_maps(counts=200.0, seed=0, mixing=0.4, thin=0.3):
    """Two grains in a matrix; the matrix' spectrum is shared out over two components."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    thick = 0.7 * (((y - 20) ** 2 + (x - 20) ** 2) < 12**2)
    faint = thin * ((np.abs(y - 55) < 10) & (np.abs(x - 50) < 15))
    fractions = np.array([1 - thick - faint, thick, faint])
    fractions = np.array([gaussian_filter(f, 0.7) for f in fractions])
    # What a rotated factorisation sees: the matrix is a mixture of components 0 and 1.
    mix = np.array([[1 - mixing, 0, 0], [mixing, 1, 0], [0, 0, 1.0]])
    maps = np.tensordot(mix, fractions, axes=1) * counts
    return rng.poisson(maps).astype(float), fractions


def test_the_matrix_ratio_is_found_and_grain_maps_scatter_around_zero():
    maps, fractions = make_maps()
    grains = grain_shares(maps, 0)
    np.testing.assert_allclose(grains.matrix_ratio, [0.6, 0.4, 0.0], atol=0.02)
    matrix = fractions[0] > 0.999
    for share, noise in zip(grains.shares, grains.noise, strict=True):
        assert abs(share[matrix].mean()) < 0.3 * noise
        assert share[matrix].std() < 1.35 * noise
    assert grains.shares[0][matrix].std() > 0.65 * grains.noise[0]


def test_a_map_that_is_exactly_zero_elsewhere_keeps_a_sensible_noise():
    maps, fractions = make_maps(mixing=0.0)
    grains = grain_shares(maps, 0)
    # One count in the smoothing window of 0.6 pixels at 200 counts a pixel.
    np.testing.assert_allclose(grains.noise, 1 / (4 * np.pi * 0.36 * 200), rtol=0.1)
    traces = certain_pixels(grains, at_most=10**6)
    assert (fractions[1][traces[0] == 2] > 0.15).all()


def test_shares_follow_the_true_fractions_whatever_the_rotation():
    for mixing in (0.0, 0.3, 0.6):
        maps, fractions = make_maps(counts=2000, mixing=mixing)
        shares = grain_shares(maps, 0).shares
        inside = fractions[1] > 0.69
        # A grain's share in a rotated basis differs by a factor only.
        assert shares[0][inside].std() < 0.1 * shares[0][inside].mean()
        assert shares[0][inside].mean() > 10 * abs(shares[0][fractions[0] > 0.999].mean())


def test_certain_pixels_are_right_for_thick_and_thin_grains():
    maps, fractions = make_maps()
    traces = certain_pixels(grain_shares(maps, 0))
    for trace, truth, height in zip(traces, fractions[1:], (0.7, 0.3), strict=True):
        present, absent = trace == 2, trace == 1
        assert present.sum() > 100
        assert absent.sum() > 1000
        assert (truth[present] > 0.3 * height).mean() > 0.99
        assert (truth[absent] < 0.5 * height).mean() > 0.99


def test_masks_follow_the_half_height_not_the_reach_of_the_noise():
    """More counts must not widen a grain: its border is at half its height."""
    for counts in (50, 5000):
        maps, fractions = make_maps(counts=counts)
        traces = certain_pixels(grain_shares(maps, 0), at_most=10**6)
        assert not (fractions[1][traces[0] == 2] < 0.15).sum() > 5


def test_rims_are_seen_but_are_no_trace():
    maps, fractions = make_maps(counts=3000)
    grains = grain_shares(maps, 0)
    rim = (fractions[1] > 0.08) & (fractions[1] < 0.2)
    assert grains.touched[0][rim].mean() > 0.9
    assert grains.touched[0][fractions[1] < 1e-4].mean() < 0.1


def test_vacuum_is_left_out():
    maps, _ = make_maps()
    maps[:, :, 60:] = 0
    grains = grain_shares(maps, 0)
    assert grains.vacuum[:, 64:].all()
    assert not grains.vacuum[:, :56].any()
    assert not certain_pixels(grains)[:, :, 64:].any()


def test_the_draw_is_seeded_and_bounded():
    maps, _ = make_maps()
    grains = grain_shares(maps, 0)
    first = certain_pixels(grains, at_most=100, random_state=1)
    np.testing.assert_array_equal(first, certain_pixels(grains, at_most=100, random_state=1))
    assert (first != certain_pixels(grains, at_most=100, random_state=2)).any()
    assert (first == 1).sum(axis=(1, 2)).max() == 100


def test_a_grain_that_is_nowhere_warns():
    maps, _ = make_maps(thin=0.0)
    maps[2] = np.random.default_rng(0).poisson(3.0, maps[2].shape)
    with pytest.warns(SiftemWarning, match="hardly anywhere"):
        certain_pixels(grain_shares(maps, 0))


def test_a_wrong_matrix_is_refused():
    maps, _ = make_maps(mixing=0.0)
    with pytest.raises(InputError, match="not what most pixels hold"):
        grain_shares(maps, 1)
    with pytest.raises(InputError, match="no counts"):
        grain_shares(np.zeros((2, 5, 5)), 0)
