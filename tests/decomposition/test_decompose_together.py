"""X-rays and energy losses of one scan in one factorisation."""

import numpy as np
import pytest

import siftem
from siftem.acquisition import Acquisition
from siftem.energy_axis import EnergyAxis
from siftem.simulate.elnes import simulate_elnes
from siftem.simulate.phantom import poisson_counts
from siftem.simulate.spectra import Microscope, PhaseModel, phase_spectrum
from siftem.spectrum import spectral_angle


@pytest.fixture(scope="module")
def dual():
    """X-rays (30 a pixel) and energy losses of the same grains, with truth."""
    return make_dual(30)


def make_dual(counts_a_pixel):
    phantom = simulate_elnes((48, 48), counts=20)
    axis = EnergyAxis(0.0, 0.02, 512, "keV")
    phases = (
        PhaseModel("titanate", {"Sr": 47.7, "Ti": 26.1, "O": 26.2}, 5.1, "matrix"),
        PhaseModel("Mn oxide", {"Mn": 77.4, "O": 22.6}, 5.4),
    )
    bright = np.array([phase_spectrum(p, axis, Microscope(support={})) for p in phases])
    spectra = bright / bright.sum(axis=1, keepdims=True)
    dose = counts_a_pixel * (bright.sum(axis=1) / bright.sum(axis=1).mean())[:, None, None]
    counts = poisson_counts(
        (phantom.abundances * dose).reshape(2, -1), spectra, np.random.default_rng(8)
    )
    eds = siftem.SpectrumImage(
        counts, phantom.spectrum_image.shape, axis, acquisition=Acquisition(beam_energy=200.0)
    )
    return phantom, eds, spectra


def test_one_factorisation_serves_both(dual):
    phantom, eds, spectra = dual
    of_eds, of_eels = siftem.decompose_together([eds, phantom.spectrum_image], 2)
    assert of_eds.names == of_eels.names
    assert of_eds.axis.unit == "keV"
    assert of_eels.axis == phantom.spectrum_image.axis
    # One map for both, each in its own counts.
    scaled = of_eds.maps / of_eds.maps.sum(axis=(1, 2), keepdims=True)
    assert scaled == pytest.approx(of_eels.maps / of_eels.maps.sum(axis=(1, 2), keepdims=True))
    assert of_eds.maps.sum() == pytest.approx(eds.without_zero_peak().total, rel=0.06)
    np.testing.assert_allclose(of_eds.spectra.sum(axis=1), 1)
    matrix = of_eds.spectra[of_eds.matrix]
    assert spectral_angle(matrix, spectra[0][-matrix.size :]) < 5


def test_what_a_few_x_rays_can_not_tell_both_signals_can():
    phantom, eds, _ = make_dual(1)
    true = phantom.abundances[1] > 0.05

    def overlap(factors, index):
        share = factors.shares[index]
        mask = share > 0.25 * np.quantile(share, 0.99)
        return (mask & true).sum() / (mask | true).sum()

    alone = siftem.decompose(eds, 2)
    both, _ = siftem.decompose_together([eds, phantom.spectrum_image], 2)
    together = overlap(both, 1 - both.matrix)
    assert together > 0.8
    assert together > max(overlap(alone, 0), overlap(alone, 1)) + 0.1


def test_both_spectra_over_the_same_regions(dual):
    phantom, eds, spectra = dual
    regions = siftem.Regions(
        eds.shape, matrix="titanate", masks={"Mn oxide": phantom.mask()}, margin=1
    )
    mixture = regions.mixture("Mn oxide")
    xray = siftem.integrate(eds, mixture)
    loss = siftem.integrate(phantom.spectrum_image, mixture)
    assert xray.n_pixels == loss.n_pixels
    pure = siftem.subtract(
        xray, siftem.integrate(eds, regions.pure), anchor=siftem.Absent("Ti"),
        elements=["O", "Ti", "Mn", "Sr"],
    )  # fmt: skip
    pure_loss = siftem.subtract_by_edges(
        loss,
        siftem.integrate(phantom.spectrum_image, regions.pure),
        anchor=siftem.AbsentEdge(siftem.Edge("Ti_L3", background=(402, 452), signal=(453, 500))),
    )
    # Both signals say the same of how much matrix the mixture holds.
    sigma = np.hypot(pure.scale_sigma, pure_loss.scale_sigma)
    assert abs(pure.scale - pure_loss.scale) < 3.5 * sigma
    assert pure.angle_to(spectra[1]) < 8


def test_wrong_use_is_told(dual):
    _, eds, _ = dual
    with pytest.raises(siftem.InputError, match="two signals"):
        siftem.decompose_together([eds], 2)
    small = simulate_elnes((16, 16), counts=5).spectrum_image
    with pytest.raises(siftem.InputError, match="48 x 48, 16 x 16"):
        siftem.decompose_together([eds, small], 2)
