from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import voigt_profile
from scipy.stats import norm

from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.xray.absorption import thin_film_absorption
from siftem.xray.detector import Detector, escape_fraction
from siftem.xray.lines import LineFamily, line_family
from siftem.xray.profiles import family_profile

AXIS = EnergyAxis(-0.47, 0.01, 2048)
DETECTOR = Detector()


def sharp(family):
    """The same family without natural widths."""
    return replace(family, lines=tuple(replace(line, width=0.0) for line in family.lines))


def plain_profile(family, axis, detector, shift=0.0, factor=1.0):
    """The same physics line by line, over the whole axis, without escape and natural widths."""
    total = np.zeros(axis.size)
    for line in family.lines:
        cdf = norm.cdf(axis.edges, line.energy + shift, factor * detector.sigma(line.energy))
        total += line.weight * detector.efficiency(line.energy) * np.diff(cdf)
    return total


@pytest.mark.parametrize(("element", "shell"), [("O", "K"), ("Fe", "K"), ("Nd", "L"), ("U", "M")])
def test_against_a_plain_sum(element, shell):
    family = sharp(line_family(element, shell, beam_energy=200.0))
    got = family_profile(
        family, AXIS, DETECTOR, escape=False, energy_shift=0.013, resolution_factor=1.1
    )
    want = plain_profile(family, AXIS, DETECTOR, 0.013, 1.1)
    assert got == pytest.approx(want, abs=1e-9)
    assert got.dtype == np.float64
    assert got.shape == (2048,)


@pytest.mark.parametrize(
    ("element", "shell", "share"), [("Cu", "K", 1.2e-3), ("Pt", "L", 6e-3), ("U", "L", 8e-3)]
)
def test_a_line_is_a_voigt_profile(element, shell, share):
    """Widths of levels by Campbell & Papp 2001; the integral is that of scipy's profile."""
    whole = line_family(element, shell, beam_energy=200.0)
    line = replace(whole.lines[0], weight=1.0)
    family = LineFamily(element, shell, (line,))
    found = family_profile(family, AXIS, DETECTOR, escape=False)
    found = found / DETECTOR.efficiency(line.energy)
    sigma, half = DETECTOR.sigma(line.energy), 0.5 * line.width
    assert 1e-3 < half < 8e-3
    for low, high in ((-0.05, 0.05), (0.1, 0.2), (0.25, 0.35), (0.4, 0.7), (-0.9, -0.6)):
        at = AXIS.window(line.energy + low, line.energy + high)
        edges = AXIS.edges[at.start] - line.energy, AXIS.edges[at.stop] - line.energy
        want = quad(voigt_profile, *edges, args=(sigma, half), epsabs=1e-12)[0]
        assert found[at].sum() == pytest.approx(want, rel=3e-3)
    wings = np.abs(AXIS.centers - line.energy) > 5 * sigma
    assert found[wings].sum() > share


def test_all_photons_are_counted_once():
    family = sharp(line_family("Fe", "K", beam_energy=200.0))
    detected = (family.weights * DETECTOR.efficiency(family.energies)).sum()
    for escape in (False, True):
        profile = family_profile(family, AXIS, DETECTOR, escape=escape)
        assert profile.sum() == pytest.approx(detected, rel=1e-8)
        assert (profile >= 0).all()
    blurred = family_profile(line_family("Fe", "K", beam_energy=200.0), AXIS, DETECTOR)
    assert blurred.sum() == pytest.approx(detected, rel=3e-5)
    assert (blurred >= 0).all()


def test_escape_peak():
    family = sharp(line_family("Ca", "K", beam_energy=200.0))
    profile = family_profile(family, AXIS, DETECTOR)
    energy = AXIS.centers
    alpha = family.alpha_energy
    peak = (energy > alpha - 1.740 - 0.15) & (energy < alpha - 1.740 + 0.15)
    share = profile[peak].sum() / profile.sum()
    # Ka and a part of Kb, whose escape peak lies 0.32 keV higher.
    expected = escape_fraction(alpha) * family.alpha_fraction
    assert share == pytest.approx(expected, rel=0.02)
    centre = (energy * profile)[peak].sum() / profile[peak].sum()
    assert centre == pytest.approx(alpha - 1.740, abs=0.002)
    assert family_profile(family, AXIS, DETECTOR, escape=False)[peak].sum() < 1e-9


def test_an_axis_in_ev_gives_the_same():
    family = line_family("Si", "K", beam_energy=200.0)
    in_ev = EnergyAxis(-470.0, 10.0, 2048, "eV")
    assert family_profile(family, in_ev, DETECTOR) == pytest.approx(
        family_profile(family, AXIS, DETECTOR), abs=1e-12
    )


def test_channels_are_integrated_not_sampled():
    # Wide channels hold the sum of the narrow ones that they cover.
    family = line_family("O", "K", beam_energy=200.0)
    narrow = family_profile(family, EnergyAxis(0.0025, 0.005, 400), DETECTOR)
    wide = family_profile(family, EnergyAxis(0.05, 0.1, 20), DETECTOR)
    assert wide == pytest.approx(narrow.reshape(20, 20).sum(axis=1), abs=1e-9)


def test_what_lies_outside_the_axis_is_lost():
    family = line_family("Fe", "K", beam_energy=200.0)
    whole = family_profile(family, AXIS, DETECTOR)
    window = AXIS.window(6.3, 6.6)
    part = family_profile(family, AXIS.cropped(window), DETECTOR)
    assert part == pytest.approx(whole[window], abs=1e-12)
    assert family_profile(family, EnergyAxis(20.0, 0.01, 50), DETECTOR).tolist() == [0.0] * 50


def test_shift_and_width():
    family = line_family("O", "K", beam_energy=200.0)
    energy = AXIS.centers

    def moments(**change):
        p = family_profile(family, AXIS, DETECTOR, **change)
        mean = (p * energy).sum() / p.sum()
        return mean, np.sqrt((p * (energy - mean) ** 2).sum() / p.sum())

    mean, width = moments()
    # Sheppard: a channel of width w adds w^2/12 to the variance.
    assert mean == pytest.approx(0.5249, abs=1e-4)
    assert width**2 == pytest.approx(DETECTOR.sigma(0.5249) ** 2 + 0.01**2 / 12, rel=1e-3)
    assert moments(energy_shift=0.02)[0] == pytest.approx(mean + 0.02, abs=1e-8)
    assert moments(resolution_factor=1.2)[1] == pytest.approx(1.2 * width, rel=1e-2)


def test_absorption_acts_line_by_line():
    def film(energies):
        return thin_film_absorption(
            {"O": 1.0}, energies, thickness=500.0, density=4.0, take_off_angle=22.0
        )

    family = sharp(line_family("Fe", "L", beam_energy=200.0))
    profile = family_profile(family, AXIS, DETECTOR, absorption=film)
    counted = family.weights * DETECTOR.efficiency(family.energies) * film(family.energies)
    # Every Fe L line lies above the lower edge of the axis but for two weak ones near 0.13.
    assert profile.sum() == pytest.approx(counted.sum(), rel=1e-6)


@pytest.mark.parametrize(
    "change", [{"resolution_factor": 0.0}, {"resolution_factor": np.nan}, {"energy_shift": np.inf}]
)
def test_bad_arguments(change):
    with pytest.raises(InputError):
        family_profile(line_family("O", "K", beam_energy=200.0), AXIS, DETECTOR, **change)
