"""Errors of our spectra after HyperSpy has computed with them."""

import numpy as np
import pytest

import siftem
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.io.hyperspy_export import to_hyperspy
from siftem.io.spectrum_signals import signal_to_spectrum
from siftem.spectrum import Spectrum

hs = pytest.importorskip("hyperspy.api")

CHANNELS = 400
AXIS = EnergyAxis(0.2, 0.01, CHANNELS)


def counted(seed, scale=1.0):
    kev = AXIS.centers
    mean = scale * (300 * np.exp(-kev / 2) + 4000 * np.exp(-0.5 * ((kev - 1.74) / 0.04) ** 2))
    return Spectrum(np.random.default_rng(seed).poisson(mean), AXIS, name="region", n_pixels=7)


@pytest.fixture
def plain():
    return counted(0)


@pytest.fixture
def subtracted(plain):
    """With a common mode, a pinned one and a known background."""
    taken = 0.3 * counted(1).values
    rng = np.random.default_rng(2)
    return Spectrum(
        plain.values - taken,
        AXIS,
        variance=plain.values + 0.09 * taken,
        modes=rng.normal(size=(2, CHANNELS)),
        pinned=0.1 * rng.normal(size=CHANNELS),
        background=taken,
        n_pixels=7,
    )


def covariance_of(signal):
    return signal_to_spectrum(signal).covariance


@pytest.mark.parametrize("factor", [4, 0.1, 1 / 3])
def test_a_multiple_has_the_covariance_of_a_multiple(plain, subtracted, factor):
    for spectrum in (plain, subtracted):
        signal = to_hyperspy(spectrum) * factor
        again = signal_to_spectrum(signal)
        np.testing.assert_allclose(again.covariance, factor**2 * spectrum.covariance, rtol=1e-6)
        np.testing.assert_allclose(again.counts, factor * spectrum.counts, rtol=1e-6)
        assert again.n_pixels == 0


def test_a_crop_has_the_covariance_of_the_crop(subtracted):
    signal = to_hyperspy(subtracted).isig[1.0:2.5]
    again = signal_to_spectrum(signal)
    window = slice(80, 80 + again.axis.size)
    assert again.axis.offset == pytest.approx(1.0)
    np.testing.assert_allclose(again.covariance, subtracted.covariance[window, window])
    np.testing.assert_array_equal(again.background, subtracted.background[window])
    assert again.n_pixels == 7


def test_bins_put_together(subtracted):
    signal = to_hyperspy(subtracted).rebin(scale=[2])
    summing = np.kron(np.eye(CHANNELS // 2), np.ones(2))
    np.testing.assert_allclose(
        covariance_of(signal), summing @ subtracted.covariance @ summing.T, atol=1e-9
    )
    half = signal.isig[10:50] * 0.5
    part = (0.5 * summing @ subtracted.covariance @ summing.T * 0.5)[10:50, 10:50]
    np.testing.assert_allclose(covariance_of(half), part, atol=1e-9)


def test_the_sum_of_two_counted_spectra_is_counted(plain):
    other = counted(3, 2.0)
    total = signal_to_spectrum(to_hyperspy(plain) + to_hyperspy(other))
    np.testing.assert_array_equal(total.variance, plain.values + other.values)
    assert total.background.sum() == 0
    assert total.n_pixels == 0


@pytest.mark.parametrize(
    "combine",
    [
        lambda a, b, s: a - b * 0.4,  # a subtraction by hand
        lambda a, b, s: s + a,
        lambda a, b, s: a * 9 + b * 12,  # whole numbers that are no counts
        lambda a, b, s: s + 5.0,
    ],
)
def test_errors_that_nobody_knows_are_not_made_up(plain, subtracted, combine):
    signals = [to_hyperspy(s) for s in (plain, counted(3), subtracted)]
    with pytest.raises(InputError, match="its errors are not those of any of them"):
        signal_to_spectrum(combine(*signals))


def test_a_variance_of_the_user_counts_when_ours_is_gone(plain):
    signal = to_hyperspy(plain) - to_hyperspy(counted(3)) * 0.4
    del signal.metadata.Siftem
    signal.metadata.set_item(
        "Signal.Noise_properties.variance", hs.signals.Signal1D(np.full(CHANNELS, 3.0))
    )
    assert (signal_to_spectrum(signal).variance == 3.0).all()


def test_unchanged_spectra_keep_everything_also_on_a_new_axis(subtracted, tmp_path):
    signal = to_hyperspy(subtracted)
    signal.save(tmp_path / "pure.hspy")
    signal.axes_manager[0].offset += 0.03  # calibrated since
    for changed in (signal, hs.load(tmp_path / "pure.hspy")):
        again = signal_to_spectrum(changed)
        np.testing.assert_allclose(again.covariance, subtracted.covariance)
        assert again.n_pixels == 7


def test_the_variance_that_hyperspy_knows_is_cut_with_the_signal(plain):
    signal = to_hyperspy(plain)
    for cut, first in ((signal.isig[1.0:2.5], 80), (signal.isig[80:230], 80)):
        noise = cut.metadata.get_item("Signal.Noise_properties.variance")
        np.testing.assert_allclose(noise.data, plain.variance[first : first + cut.data.size])


def test_what_was_multiplied_in_place_has_no_stale_errors(plain):
    signal = siftem.to_hyperspy(plain)
    signal *= 2
    np.testing.assert_allclose(signal_to_spectrum(signal).variance, 4 * plain.variance)
    signal = siftem.to_hyperspy(plain)
    signal += siftem.to_hyperspy(counted(3)) * 0.5
    with pytest.raises(InputError, match="not those of"):
        signal_to_spectrum(signal)
