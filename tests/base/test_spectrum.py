import numpy as np
import pytest

from siftem import EnergyAxis, InputError, Spectrum
from siftem.spectrum import spectral_angle

AXIS = EnergyAxis(-0.47, 0.01, 100)


def test_axis_windows_are_closed_and_find_what_they_should():
    assert AXIS.window(0.0, 0.1) == slice(47, 58)
    assert AXIS.window(None, None) == slice(0, 100)
    cropped = AXIS.cropped(AXIS.window(0.2, None))
    assert cropped.centers[0] == pytest.approx(0.2)
    assert cropped.last == pytest.approx(AXIS.last)


def test_axis_refuses_what_makes_no_sense():
    with pytest.raises(InputError, match="positive channel width"):
        EnergyAxis(0, -0.01, 10)
    with pytest.raises(InputError, match="unit"):
        EnergyAxis(0, 0.01, 10, "J")
    with pytest.raises(InputError, match="no channel lies between 5 and 6 keV"):
        AXIS.window(5, 6)


def test_axis_in_ev_is_the_same_axis():
    ev = EnergyAxis(-470, 10, 100, "eV")
    np.testing.assert_allclose(ev.to_kev().centers, AXIS.centers, atol=1e-12)


def test_variance_of_counts_is_the_counts():
    values = np.arange(100.0)
    spectrum = Spectrum(values, AXIS)
    np.testing.assert_array_equal(spectrum.variance, values)
    total, sigma = spectrum.sum(slice(10, 20))
    assert total == values[10:20].sum()
    assert sigma == pytest.approx(np.sqrt(values[10:20].sum()))


def test_modes_enter_sums_and_covariance_as_common_noise():
    rng = np.random.default_rng(0)
    variance, modes = rng.random(100), rng.normal(size=(2, 100))
    spectrum = Spectrum(np.zeros(100), AXIS, variance=variance, modes=modes)
    weights = np.zeros(100)
    weights[20:40] = 1
    expected = np.sqrt(weights @ spectrum.covariance @ weights)
    assert spectrum.sum(slice(20, 40))[1] == pytest.approx(expected)
    np.testing.assert_allclose(spectrum.standard_deviation, np.sqrt(np.diag(spectrum.covariance)))


def test_pinned_modes_leave_the_covariance():
    rng = np.random.default_rng(0)
    modes, pinned = rng.normal(size=(2, 100)), 0.05 * rng.normal(size=(1, 100))
    spectrum = Spectrum(np.zeros(100), AXIS, variance=np.ones(100), modes=modes, pinned=pinned)
    expected = np.eye(100) + modes.T @ modes - pinned.T @ pinned
    np.testing.assert_allclose(spectrum.covariance, expected)
    weights = np.zeros(100)
    weights[20:40] = 1
    total = spectrum.sum(slice(20, 40))[1]
    assert total == pytest.approx(np.sqrt(weights @ expected @ weights))
    np.testing.assert_allclose(spectrum.standard_deviation, np.sqrt(np.diag(expected)))
    assert spectrum.cropped(0.0, 0.1).pinned.shape == (1, 11)
    response = rng.normal(size=(3, 100))
    np.testing.assert_allclose(
        spectrum.propagate(response), response @ expected @ response.T, rtol=1e-10, atol=1e-10
    )


def test_a_spectrum_is_immutable_and_keeps_its_own_copy():
    values = np.ones(100)
    spectrum = Spectrum(values, AXIS)
    values[:] = 7
    assert spectrum.values[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        spectrum.values[0] = 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.ones(99)}, "shape"),
        ({"values": np.full(100, np.nan)}, "NaN"),
        ({"variance": np.full(100, -1.0)}, "variance"),
        ({"modes": np.ones((1, 3))}, "columns"),
        ({"pinned": np.ones((1, 3))}, "pinned"),
        ({"background": np.ones(3)}, "background"),
    ],
)
def test_bad_spectra_are_refused(change, message):
    arguments = {"values": np.ones(100), "axis": AXIS, **change}
    with pytest.raises(InputError, match=message):
        Spectrum(**arguments)


def test_cropping_keeps_everything_aligned():
    modes = np.arange(100.0)[None, :]
    spectrum = Spectrum(np.arange(100.0), AXIS, modes=modes, background=np.arange(100.0) * 2)
    cut = spectrum.cropped(0.0, 0.1)
    np.testing.assert_array_equal(cut.values, np.arange(47.0, 58))
    np.testing.assert_array_equal(cut.modes[0], np.arange(47.0, 58))
    np.testing.assert_array_equal(cut.counts, 3 * np.arange(47.0, 58))
    assert cut.axis.centers[0] == pytest.approx(0.0)


def test_spectral_angle_limits():
    a = np.array([1.0, 0, 0])
    assert spectral_angle(a, 5 * a) == 0
    assert spectral_angle(a, np.array([0, 1.0, 0])) == pytest.approx(90)
    assert spectral_angle(a, np.array([1.0, 1, 0])) == pytest.approx(45)
    assert spectral_angle(a, np.zeros(3)) == 90
