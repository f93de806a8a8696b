"""Gain and noise floor from the data themselves."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from siftem.eels.noise import NoiseModel, as_counts, counted, estimate_noise
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.simulate.elnes import simulate_elnes
from siftem.spectrum_image import SpectrumImage
from siftem.unmixing.integrate import integrate


@pytest.mark.parametrize(
    ("gain", "readout", "offset"),
    [(1.0, 0.0, 0.0), (4.0, 0.0, 0.0), (3.0, 8.0, 0.0), (3.0, 0.0, 50.0), (0.2, 0.3, 0.0)],
)
def test_gain_and_floor_are_found(gain, readout, offset):
    phantom = simulate_elnes((32, 32), counts=200, gain=gain, readout=readout, offset=offset)
    found = estimate_noise(phantom.data)
    assert found.gain == pytest.approx(gain, rel=0.03)
    # Var = gain (mean - offset) + readout^2, so the floor is readout^2 - gain offset.
    assert found.floor == pytest.approx(
        readout**2 - gain * offset, abs=max(4 * found.floor_sigma, 0.05 * gain**2)
    )
    assert found.correlation_factor == pytest.approx(1.0, abs=0.02)
    assert found.rank == 2


def test_equivalent_counts_have_equal_mean_and_variance():
    phantom = simulate_elnes((32, 32), counts=100, gain=5.0, readout=12.0)
    si, noise = as_counts(phantom.data, phantom.spectrum_image.axis)
    expected = np.einsum("kyx,kc->yxc", phantom.abundances, phantom.spectra)
    counts = si.counts.toarray().reshape(phantom.data.shape)
    pedestal = noise.pedestal / noise.electron
    chi2 = ((counts - pedestal - expected) ** 2).mean() / counts.mean()
    assert chi2 == pytest.approx(1.0, abs=0.02)
    assert "estimated from the data" in si.notes[0]
    assert si.signal_type == "EELS"


def test_smeared_charge_is_seen_in_the_correlation_and_sums_get_the_right_error():
    phantom = simulate_elnes((40, 40), counts=400, gain=2.0)
    kernel = np.array([0.15, 0.7, 0.15])
    smeared = np.apply_along_axis(np.convolve, 2, phantom.data, kernel, mode="same")[..., 2:-2]
    noise = estimate_noise(smeared, rank=2)
    # Channel variance falls to sum(kernel^2); the electron's charge stays 2 units.
    assert noise.gain == pytest.approx(2.0 * (kernel**2).sum(), rel=0.03)
    assert noise.electron == pytest.approx(2.0, rel=0.05)


def test_integration_takes_the_pedestal_off_again():
    phantom = simulate_elnes((32, 32), counts=100, gain=5.0, readout=12.0)
    si, _ = as_counts(phantom.data, phantom.spectrum_image.axis)
    region = np.ones(si.shape, bool)
    spectrum = integrate(si, region)
    true = phantom.data.sum(axis=(0, 1)) / 5.0
    assert spectrum.values.sum() == pytest.approx(true.sum(), rel=0.03)
    assert si.pedestal > 0
    np.testing.assert_allclose(spectrum.variance, spectrum.values + spectrum.background)


def test_a_known_model_is_used_and_said():
    phantom = simulate_elnes((16, 16), counts=20)
    si, _ = as_counts(phantom.data, phantom.spectrum_image.axis, noise=NoiseModel(1.0, 0.0))
    assert (si.counts != phantom.spectrum_image.counts).nnz == 0
    assert "given" in si.notes[0]


def test_values_below_zero_are_told():
    axis, noise = EnergyAxis(400.0, 1.0, 5, "eV"), NoiseModel(2.0, 0.0)
    data = np.array([[[-6.0, 4.0, 0.0, 7.0, 2.0], [10.0, -2.0, 6.0, 0.0, 4.0]]])
    si, _ = as_counts(data, axis, noise=noise)
    # Half to even: 3.5 electrons become 4.
    np.testing.assert_array_equal(si.counts.toarray(), [[0, 2, 0, 4, 1], [5, 0, 3, 0, 2]])
    assert si.notes[1] == "20% of the values lay below zero: set to zero"
    assert len(as_counts(np.abs(data), axis, noise=noise)[0].notes) == 1


def test_what_can_not_be_known_is_refused():
    rng = np.random.default_rng(0)
    # Constant noise on signals of all sizes: the variance does not grow.
    cube = 100 * rng.random((20, 20, 1)) * np.linspace(1, 3, 40) + rng.normal(0, 1, (20, 20, 40))
    with pytest.raises(InputError, match="does not grow"):
        estimate_noise(cube)
    with pytest.raises(InputError, match="30 pixels"):
        estimate_noise(cube[0, :5])
    with pytest.raises(InputError, match="NaN"):
        estimate_noise(np.full((40, 20), np.nan))
    with pytest.raises(InputError, match="shape"):
        as_counts(cube, EnergyAxis(0, 1, 7, "eV"))


def test_maps_of_counts_stay_as_they_are_and_others_are_converted():
    phantom = simulate_elnes((32, 32), counts=60, gain=5.0, readout=4.0)
    si = phantom.spectrum_image
    same = counted(si)
    assert (same.counts != si.counts).nnz == 0
    assert "are counts" in same.notes[-1]
    analogue = replace(si, counts=sp.csr_array(np.rint(phantom.data).clip(0).reshape(1024, -1)))
    found = counted(analogue)
    assert found.total == pytest.approx(si.total, rel=0.03)
    assert "estimated from the data" in found.notes[0]
    xray = replace(si, signal_type="EDS_TEM")
    assert counted(xray) is xray


def test_counts_beside_vacuum_are_counts():
    """Much of the map holds nothing, and the estimate comes out a seventh too low."""
    y, x = np.mgrid[:40, :40]
    disc = ((y - 20) ** 2 + (x - 20) ** 2 < 130).astype(float)
    energy = 300.0 + np.arange(500)
    mean = 3e-3 + 2 * disc[..., None] * (energy / 300) ** -3
    counts = np.random.default_rng(1).poisson(mean).reshape(1600, -1)
    si = SpectrumImage(
        sp.csr_array(counts), (40, 40), EnergyAxis(300, 1, 500, "eV"), signal_type="EELS"
    )
    same = counted(si)
    assert (same.counts != si.counts).nnz == 0
    assert "are counts" in same.notes[-1]


@pytest.mark.parametrize("jitter", [0.0, 0.1])
def test_low_loss_maps_whose_zero_loss_peak_moves(jitter):
    """A zero-loss peak of a hundred times the plasmons, at energies that scatter."""
    rng = np.random.default_rng(6)
    energy = -5 + 0.25 * np.arange(180)
    share = np.clip((np.mgrid[0:40, 0:40][1] - 8) / 10, 0, 0.8)
    moved = rng.normal(0, jitter, share.shape)
    expected = 3e4 * np.exp(-0.5 * ((energy - moved[..., None]) / 0.5) ** 2)
    thickness = rng.uniform(0.3, 0.6, share.shape)
    for weight, centre, width in ((1 - share, 15, 2), (share, 22, 4)):
        plasmon = 600 * (energy > 1) / (1 + ((energy - centre) / width) ** 2)
        expected = expected + (thickness * weight)[..., None] * plasmon
    found = estimate_noise(5 * rng.poisson(expected) + rng.normal(0, 20, expected.shape))
    assert found.gain == pytest.approx(5, rel=0.03)
    assert found.floor == pytest.approx(400, rel=0.05)
