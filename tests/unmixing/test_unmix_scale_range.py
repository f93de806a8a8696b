"""The range of a host's scale without an anchor, and what its ends are."""

from types import SimpleNamespace

import numpy as np
import pytest

from siftem.energy_axis import EnergyAxis
from siftem.spectrum import Spectrum
from siftem.unmixing.scale_range import (
    BY_CHANCE,
    ScaleRange,
    _lines,
    matching_scale,
    most_scale,
    vanishing_together,
)

AXIS = EnergyAxis(0.2, 0.02, 300, "keV")
ENERGY = AXIS.centers


def shape(*lines):
    out = 20 * np.exp(-ENERGY)
    for energy, weight in lines:
        out = out + weight * np.exp(-0.5 * ((ENERGY - energy) / 0.05) ** 2)
    return out


HOST, GRAIN = shape((1.25, 300), (1.74, 500)), shape((1.25, 90), (3.69, 400))


def drawn(mean, rng, name=""):
    return Spectrum(rng.poisson(mean).astype(float), AXIS, name=name)


def test_purer_pixels_tell_the_least_scale():
    """A mixture of 40% host whose purest pixels hold 10%: the scale that takes it there."""
    deviations = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        mixture = drawn(0.6 * GRAIN + 0.4 * HOST, rng)
        host = drawn(3 * HOST, rng)
        purer = drawn(0.2 * (0.9 * GRAIN + 0.1 * HOST), rng)
        scale, sigma = matching_scale(mixture, host, purer)
        true = (0.4 - 0.6 / 9) / 3
        deviations.append((scale - true) / sigma)
    assert abs(np.mean(deviations)) < 0.6
    assert np.std(deviations) < 1.3


def test_the_upper_end_is_where_the_first_thing_vanishes():
    rng = np.random.default_rng(1)
    mixture, host = drawn(100 * (GRAIN + 0.5 * HOST), rng), drawn(100 * HOST, rng)
    scale, sigma, what = most_scale(mixture, host, window=0.04)
    assert scale + 2 * sigma > 0.5
    assert scale == pytest.approx(0.5, abs=0.06)  # the grain has no line at 1.74 keV
    assert "1.7" in what


def test_the_continuum_bounds_where_no_line_does():
    rng = np.random.default_rng(2)
    flat = 200 * np.exp(-ENERGY)
    mixture, host = drawn(0.3 * flat + GRAIN, rng), drawn(flat, rng)
    assert most_scale(mixture, host)[0] < 0.45


@pytest.mark.parametrize("counts", [1.0, 300.0])
def test_the_least_of_many_windows_holds_the_truth(counts):
    """Of a mixture that is all host, no window tells more; at 1 count most windows are empty."""
    held = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        mixture = drawn(counts * HOST / HOST.mean(), rng)
        host = drawn(1000 * HOST, rng)
        scale, sigma, _ = most_scale(mixture, host, window=0.1)
        held.append(scale + 2 * sigma >= counts / HOST.mean() / 1000)
    assert np.mean(held) >= 0.95


def test_ends_hold_two_standard_deviations_and_stay_above_zero():
    assert ScaleRange(0.1, 0.1, 0.5, 0.05, "Si K").ends == pytest.approx((0.0, 0.6))
    assert ScaleRange(0.4, 0.01, 0.3, 0.01, "").ends == pytest.approx((0.38, 0.38))


def fitted(names, photons, sigmas):
    """What bounds need of a fit of lines."""
    return SimpleNamespace(
        model=SimpleNamespace(names=names),
        names=names,
        unbounded=np.array(photons, float),
        covariance=np.diag(np.square(sigmas)),
    )


def test_a_soft_family_beside_strong_neighbours_does_not_bound_what_a_clear_one_tells():
    """Cu L may come out as nothing below the edge of Ni L, where a model is wrong there."""
    names = ("Cu K", "Cu L", "Ni K", "continuum 0")
    mixture = fitted(names, [5e4, -200.0, 3e3, 1e4], [300.0, 50.0, 100.0, 100.0])
    host = fitted(names, [1e4, 6e3, 9e4, 1e4], [150.0, 300.0, 350.0, 100.0])
    found = {name: ratio for ratio, _, name in _lines(mixture, host)}
    assert found == {"Cu K": pytest.approx(5.0), "Ni K": pytest.approx(3e3 / 9e4)}


def test_a_soft_family_of_an_element_that_the_host_lacks_does_not_bound():
    """What a model gets wrong may look like Cu L though no Cu K is there."""
    names = ("Cu K", "Cu L", "Ni K")
    mixture = fitted(names, [6e4, -200.0, 3e3], [300.0, 50.0, 100.0])
    host = fitted(names, [40.0, 900.0, 9e4], [50.0, 60.0, 350.0])
    assert [name for _, _, name in _lines(mixture, host)] == ["Ni K"]


NAMES = ("Al K", "Ca K", "Si K", "Fe K")
HOSTS = fitted(NAMES, [1e4, 2e4, 3e4, 0.0], [100.0, 140.0, 170.0, 20.0])


def mixed(photons, sigmas=(30.0, 40.0, 60.0, 200.0)):
    return fitted(NAMES, photons, sigmas)


def taken(found):
    """The elements that are taken for absent."""
    return set(found.elements) if found is not None and found.chance <= BY_CHANCE else set()


def test_elements_that_vanish_at_one_scale_are_taken_for_absent():
    found = vanishing_together((mixed([3000, 6050, 15000, 4e4]), HOSTS), 1.0)
    assert taken(found) == {"Al", "Ca"} and not found.as_beside
    assert found.scale == pytest.approx(0.301, abs=2e-3)
    assert 0.001 < found.sigma < 0.003


@pytest.mark.parametrize(("size", "is_taken"), [(1.0, True), (1.4, False)])
def test_what_agrees_is_taken_when_it_is_twice_as_likely_as_chance(size, is_taken):
    """Densities of the difference are 2.35 and 1.7 times those of scales that are anywhere."""
    sigmas = tuple(size * s for s in (360.0, 720.0, 60.0, 200.0))
    found = vanishing_together((mixed([3000, 6050, 15000, 4e4], sigmas), HOSTS), 1.0)
    assert bool(taken(found)) == is_taken


@pytest.mark.parametrize(
    ("photons", "sigmas", "most"),
    [
        ([3000, 7000, 15000, 4e4], (30.0, 40.0, 60.0, 200.0), 1.0),  # Al goes first, alone
        ([3000, 6050, 15000, 4e4], (900.0, 1200.0, 60.0, 200.0), 1.0),  # any two would agree
        ([3000, 6050, 15000, 4e4], (30.0, 40.0, 60.0, 200.0), 0.2),  # something goes before
        ([0, 0, 15000, 4e4], (30.0, 40.0, 60.0, 200.0), 1.0),  # they are not in the mixture
    ],
)
def test_one_that_vanishes_alone_tells_nothing(photons, sigmas, most):
    assert not taken(vanishing_together((mixed(photons, sigmas), HOSTS), most))


@pytest.mark.parametrize(
    ("beside", "is_taken"),
    [(None, False), (0.31, True), (0.36, False), (0.25, False)],
)
def test_one_that_vanishes_where_the_host_is_as_thick_as_beside_is_taken(beside, is_taken):
    """Al goes at 0.3, all else later: a film of that thickness lies below the grain."""
    known = None if beside is None else (beside, 0.02)
    found = vanishing_together((mixed([3000, 7000, 15000, 4e4]), HOSTS), 1.0, known)
    assert taken(found) == ({"Al"} if is_taken else set())
    assert found.as_beside == is_taken
    assert found.scale == pytest.approx(0.3, abs=5e-3)


def test_two_scales_that_are_equal_within_their_errors_are_found_as_often_as_they_should_be():
    rng = np.random.default_rng(3)
    errors = np.array([30.0, 40.0, 60.0, 200.0])

    def share(means):
        drawn = (mixed(means + errors * rng.standard_normal(4), errors) for _ in range(300))
        return np.mean([bool(taken(vanishing_together((m, HOSTS), 2.0))) for m in drawn])

    assert share(np.array([3000, 6000, 15000, 4e4])) > 0.9
    anywhere = [share(np.array([3000, 6000 * k, 2e4, 4e4])) for k in np.linspace(1.1, 2, 5)]
    assert np.mean(anywhere) < 0.05
