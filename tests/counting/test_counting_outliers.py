"""Bright pixels, spikes and bad channels are left out and told; clean maps have none."""

import numpy as np
import pytest
import scipy.sparse as sp

import siftem
from siftem.counting.outliers import find_outliers, without_outliers
from siftem.errors import SiftemWarning
from siftem.spectrum import spectral_angle

SHAPE = (40, 40)
AXIS = siftem.EnergyAxis(0.2, 0.02, 300)


def spectra():
    e = AXIS.centers
    lines = np.exp(-0.5 * ((e[:, None] - [0.8, 1.7, 4.0]) / 0.05) ** 2)
    out = np.array([[1.0, 0.5, 0.0], [0.3, 0.4, 0.9]]) @ lines.T + 0.05 * np.exp(-e / 2)
    return out / out.sum(axis=1, keepdims=True)


def cube(dose=300.0, seed=0, grain=8.0):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    share = 0.8 * (np.hypot(y - 15, x - 20) < grain)
    mean = dose * np.stack([1 - share, share], axis=-1) @ spectra()
    return np.random.default_rng(seed).poisson(mean)


def image(values, **more):
    return siftem.SpectrumImage(sp.csr_array(values.reshape(-1, AXIS.size)), SHAPE, AXIS, **more)


@pytest.mark.parametrize("dose", [1, 10, 300, 20000])
@pytest.mark.parametrize("grain", [0.5, 1.1, 8.0])
def test_clean_maps_have_none(dose, grain):
    """Not even with a grain of one pixel or five."""
    for seed in range(3):
        assert not find_outliers(image(cube(dose, seed, grain)))


def test_a_bright_line_of_one_small_particle_is_no_spike():
    values = cube()
    e = AXIS.centers
    line = 3000 * np.exp(-0.5 * ((e - 2.3) / 0.05) ** 2) / 6
    values[5:7, 5:7] += np.random.default_rng(1).poisson(np.broadcast_to(line, (2, 2, e.size)))
    assert not find_outliers(image(values))


@pytest.mark.parametrize("height", [60, 2000, 10**6])
def test_a_spike_is_filled_from_beside(height):
    values = cube()
    clean = values.copy()
    values[30, 3, 250] = height
    values[0, 0, 0] = height  # at the rims, too
    values[-1, -1, -1] = height
    found = without_outliers(image(values))
    assert abs(found.counts.toarray().reshape(clean.shape) - clean).max() <= 5
    assert "3 single values far above" in found.notes[-1]
    assert f"{height:g} at" in found.notes[-1]


def test_a_bright_pixel_is_emptied():
    values = cube()
    values[5, 6] *= 50
    found = without_outliers(image(values))
    assert found.total_map()[5, 6] == 0
    values[5, 6] = 0
    np.testing.assert_array_equal(found.counts.toarray(), values.reshape(-1, AXIS.size))
    assert "1 pixel far brighter than all others left out (y, x): (5, 6)" in found.notes[-1]


@pytest.mark.parametrize("change", ["hot", "dead"])
def test_a_bad_channel_has_the_counts_of_its_neighbours(change):
    values = cube(3000)
    clean = values.copy()
    if change == "hot":
        values[:, :, 150] += np.random.default_rng(2).poisson(20.0, SHAPE)
    else:
        values[:, :, 75] = 0  # on a line
    found = without_outliers(image(values))
    assert "1 channel at" in found.notes[-1]
    sums = found.sum_spectrum()
    true = clean.sum(axis=(0, 1))
    channel = 150 if change == "hot" else 75
    near = true[[channel - 1, channel + 1]].mean()
    assert sums[channel] == pytest.approx(near, rel=0.1, abs=5 * near**0.5)
    others = np.arange(AXIS.size) != channel
    np.testing.assert_array_equal(sums[others], true[others])


def test_channels_wider_than_a_line_are_compared_with_pixels_alone():
    axis = siftem.EnergyAxis(0.3, 0.3, 30)
    values = np.random.default_rng(0).poisson(1.0, (*SHAPE, 30))
    values[10:20, 10:20, 12] += 300  # a line in one channel
    si = siftem.SpectrumImage(sp.csr_array(values.reshape(-1, 30)), SHAPE, axis)
    assert not find_outliers(si)
    values[30, 30, 20] = 500
    si = siftem.SpectrumImage(sp.csr_array(values.reshape(-1, 30)), SHAPE, axis)
    assert find_outliers(si).cells.size == 1


def test_energy_losses_are_left_alone():
    values = cube()
    values[30, 3, 250] = 2000
    si = image(values, signal_type="EELS")
    assert without_outliers(si) is si


@pytest.mark.parametrize("kind", ["spike", "pixel"])
def test_phases_are_found_in_spite_of_them(kind):
    values = cube()
    if kind == "spike":
        values[30, 3, 250] = 2000
    else:
        values[5, 6] *= 50
    with pytest.warns(SiftemWarning, match="left out"):
        factors = siftem.decompose(image(values), 2)
    clean = siftem.decompose(image(cube()), 2)
    for spectrum in clean.spectra:
        assert min(spectral_angle(s, spectrum) for s in factors.spectra) < 1


def test_a_component_that_lives_in_one_pixel_is_told_and_left_out():
    """Of other elements, and not so bright that it shows before."""
    values = cube()
    e = AXIS.centers
    values[5, 6] = np.random.default_rng(3).poisson(
        1100 * np.exp(-0.5 * ((e - 2.9) / 0.05) ** 2) / 6.3
    )
    si = image(values)
    assert not find_outliers(si)
    with pytest.warns(SiftemWarning, match=r"lived in one pixel alone, at \(y, x\) = \(5, 6\)"):
        factors = siftem.decompose(si, 3, identify=False)
    assert factors.maps[:, 5, 6].sum() == 0
