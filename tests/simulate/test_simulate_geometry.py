import numpy as np
import pytest

from siftem.simulate.geometry import (
    Ellipsoid,
    Polyhedron,
    block,
    needle,
    scatter_blocks,
    scatter_needles,
    thickness_fractions,
)

SLAB = np.array([[0, 0, 1], [0, 0, -1.0]])


def layer(bottom, top):
    """A plate that fills the whole map from ``bottom`` to ``top``."""
    half = (top - bottom) / 2
    return Polyhedron(np.array([0, 0, bottom + half]), SLAB, np.array([half, half]))


def test_overlapping_intervals_are_exact_in_any_order():
    # By hand: the first phase fills [.1,.25] and [.2,.42] = .32; the second [.05,.13] and
    # [.4,.9], less what is taken, [.1,.13] and [.4,.42]: .05 + .48.
    first = [layer(0.2, 0.42), layer(0.1, 0.25)]
    second = [layer(0.4, 0.9), layer(0.05, 0.13)]
    for a in (first, first[::-1]):
        for b in (second, second[::-1]):
            shares = thickness_fractions((2, 2), [a, b])
            np.testing.assert_allclose(shares[0], 0.32, atol=1e-12)
            np.testing.assert_allclose(shares[1], 0.53, atol=1e-12)


def test_an_interval_within_another_adds_nothing():
    shares = thickness_fractions((2, 2), [[layer(0.1, 0.9), layer(0.4, 0.5)], [layer(0.05, 0.95)]])
    np.testing.assert_allclose(shares[:, 0, 0], [0.8, 0.1], atol=1e-12)


def test_shares_agree_with_points_thrown_into_the_slab():
    rng = np.random.default_rng(7)
    shape = (24, 30)
    phases = [
        [needle(rng, (12, 14, 0.5), 18, 7, 0.6), needle(rng, (8, 20, 0.4), 14, 6, 0.5)],
        [block(rng, (13, 15, 0.6), 8, 0.7)],
    ]
    shares = thickness_fractions(shape, phases, subpixels=8)
    n = 400_000
    points = rng.random((n, 3)) * (*shape, 1) - (0.5, 0.5, 0)

    def holds(body):
        r = points - body.centre
        if isinstance(body, Ellipsoid):
            return ((r @ body.shape.T) ** 2).sum(axis=1) <= 1
        return (r @ body.normals.T <= body.distances).all(axis=1)

    first = np.any([holds(b) for b in phases[0]], axis=0)
    second = np.any([holds(b) for b in phases[1]], axis=0) & ~first
    for inside, share in zip((first, second), shares, strict=True):
        sigma = np.sqrt(inside.mean() * (1 - inside.mean()) / n)
        assert share.mean() == pytest.approx(inside.mean(), abs=5 * sigma)
    assert (first & np.any([holds(b) for b in phases[1]], axis=0)).mean() > 0.02


def test_a_leaning_needle_keeps_its_volume_and_its_height():
    # A shear along the beam changes neither: pi/6 times the three full axes.
    for seed in range(5):
        body = needle(np.random.default_rng(seed), (20, 20, 0.5), 26, 9, 0.5)
        share = thickness_fractions((41, 41), [[body]], subpixels=5)[0]
        assert share.sum() == pytest.approx(np.pi / 6 * 26 * 9 * 0.5, rel=2e-3)
        assert share.max() == pytest.approx(0.5, rel=0.01)


def test_blocks_are_as_high_as_asked_and_no_higher():
    y, x = np.mgrid[-70:70:281j, -70:70:281j]
    for seed in range(30):
        body = block(np.random.default_rng(seed), (0, 0, 0.5), 30, 0.4)
        enter, leave = body.chord(y, x)
        assert 0.38 < (leave - enter).max() <= 0.4 + 1e-9


def test_rows_at_a_time_do_not_change_the_shares(monkeypatch):
    rng = np.random.default_rng(2)
    bodies = [scatter_blocks(rng, (30, 20), coverage=0.3, most=0.8)]
    whole = thickness_fractions((30, 20), bodies)
    monkeypatch.setattr("siftem.simulate.geometry._CHORDS", 7)
    np.testing.assert_array_equal(thickness_fractions((30, 20), bodies), whole)


@pytest.mark.parametrize("scatter", [scatter_blocks, scatter_needles])
@pytest.mark.parametrize("shape", [(64, 64), (16, 200)])
def test_scattered_bodies_cover_what_is_asked(scatter, shape):
    for seed in range(5):
        bodies = scatter(np.random.default_rng(seed), shape, coverage=0.2, most=0.6)
        covered = (thickness_fractions(shape, [bodies], subpixels=1)[0] > 0).mean()
        without_last = thickness_fractions(shape, [bodies[:-1]], subpixels=1)[0] > 0
        assert covered >= 0.2 > without_last.mean()


def test_a_phase_without_bodies_is_empty():
    shares = thickness_fractions((5, 6), [[], [layer(0.0, 0.5)]])
    assert shares[0].max() == 0
    np.testing.assert_allclose(shares[1], 0.5)
