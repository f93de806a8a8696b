from dataclasses import replace

import numpy as np
import pytest
import xraylib
from scipy.integrate import quad

from siftem.energy_axis import EnergyAxis
from siftem.xray.detector import Detector
from siftem.xray.lines import line_family
from siftem.xray.profiles import detected_lines, family_profile, line_profiles
from siftem.xray.response import collected_lines, normal_below

ENERGIES = np.array([0.277, 0.5249, 1.2536, 1.83, 1.85, 6.4])


def test_no_depth_leaves_the_lines_alone():
    energies, shares, origin, widths = collected_lines(ENERGIES, 0.0)
    assert (energies == ENERGIES).all()
    assert (shares == 1).all()
    assert (origin == np.arange(6)).all()
    assert (widths == 0).all()


@pytest.mark.parametrize("depth", [1.0, 89.0, 2000.0])
def test_no_photon_is_lost(depth):
    energies, shares, origin, _ = collected_lines(ENERGIES, depth)
    assert np.bincount(origin, shares) == pytest.approx(np.ones(6), abs=1e-12)
    assert (shares > 0).all()
    # At the surface half the charge is collected; nothing yields more than all of it.
    assert (energies <= ENERGIES[origin]).all()
    assert (energies >= 0.5 * ENERGIES[origin]).all()


@pytest.mark.parametrize("depth", [20.0, 89.0, 300.0])
def test_mean_energy_against_an_integral_over_the_depth(depth):
    energies, shares, origin, _ = collected_lines(ENERGIES, depth)
    for i, energy in enumerate(ENERGIES):
        mu = xraylib.CS_Total(14, float(energy)) * 2.33e-7  # 1/nm

        def collected(z, mu=mu):
            return mu * np.exp(-mu * z) * (1 - 0.5 * np.exp(-z / depth))

        near = 20 * depth
        share = quad(collected, 0, near)[0] + quad(collected, near, near + 40 / mu)[0]
        mean = (energies * shares)[origin == i].sum()
        # Lines that lose less than 1e-4 are left alone.
        assert mean / energy == pytest.approx(share, abs=1.1e-4)


def test_more_loss_where_silicon_absorbs_more():
    energies, shares, origin, _ = collected_lines(ENERGIES, 89.0)
    loss = 1 - np.bincount(origin, energies * shares) / ENERGIES
    assert loss[0] > loss[1] > loss[2] > loss[3] > loss[5]
    assert loss[4] > 5 * loss[3]  # across the K edge of Si at 1.839 keV
    deeper = collected_lines(ENERGIES, 200.0)
    assert (np.bincount(deeper[2], deeper[0] * deeper[1]) <= ENERGIES * (1 - loss) + 1e-12).all()


def test_a_soft_line_gets_a_tail_and_keeps_its_counts():
    axis = EnergyAxis(0.0, 0.01, 400)
    family = line_family("O", "K", beam_energy=200.0)
    sharp = family_profile(family, axis, Detector())
    tailed = family_profile(family, axis, Detector(collection_depth=89.0))
    assert tailed.sum() == pytest.approx(sharp.sum(), rel=1e-6)
    low = axis.window(0.2, 0.40)
    assert sharp[low].sum() < 1e-4 * sharp.sum()
    assert 0.03 < tailed[low].sum() / tailed.sum() < 0.15


def test_the_tail_of_a_hard_line_has_no_bumps():
    """P(loss > l) = 1 - (l / 0.5)^(1/p) with p = 1 / (mu depth), spread evenly."""
    axis = EnergyAxis(0.0, 0.01, 700)
    family = line_family("Fe", "K", beam_energy=200.0)
    # Without natural widths, whose wings reach as far.
    family = replace(family, lines=tuple(replace(line, width=0.0) for line in family.lines))
    tailed = family_profile(family, axis, Detector(collection_depth=89.0), escape=False)
    mu = xraylib.CS_Total(14, 6.4) * 2.33e-7
    for low, high in ((3.6, 4.0), (4.4, 4.8), (5.2, 5.6)):
        lost = 1 - np.array([high, low]) / 6.4
        share = np.diff((lost / 0.5) ** (mu * 89.0))[0]
        found = tailed[axis.window(low, high)] / tailed.sum()
        # Kb tails reach in, from 0.65 keV higher, and the slices are a little wider than wide.
        assert found.sum() == pytest.approx(share, rel=0.15)
        # The density falls as 1 / loss, by less than 1.6 over each window.
        assert found.max() < 1.6 * found.min()


def test_interpolated_normal_distribution():
    from scipy.stats import norm

    x = np.random.default_rng(0).uniform(-8.5, 8.5, 2000)
    x[:4] = -8, 0, 8, -20
    for f in (normal_below, normal_below.py_func):
        assert [f(float(v)) for v in x] == pytest.approx(norm.cdf(x), abs=2e-11)


def test_families_together_and_one_by_one():
    axis = EnergyAxis(0.1, 0.01, 1500)
    detector = Detector(collection_depth=60.0)
    families = [line_family(e, s, beam_energy=200.0) for e, s in (("Mg", "K"), ("U", "M"))]
    lines = detected_lines(families, detector)
    both = line_profiles(lines, axis, detector)
    for i, family in enumerate(families):
        assert both[:, i] == pytest.approx(family_profile(family, axis, detector), abs=1e-13)
    summed = line_profiles(lines.weighted(np.array([2e6, 5e6])), axis, detector)[:, 0]
    # Lines of less than a tenth of a count are left out.
    assert summed == pytest.approx(both @ [2e6, 5e6], abs=0.1)
    assert line_profiles(detected_lines([], detector), axis, detector).shape == (1500, 0)
