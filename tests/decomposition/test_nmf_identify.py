"""Which answer is chosen, how open it was, and how many components the counts support."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import linear_sum_assignment
from scipy.special import xlogy

from siftem import PoissonNMF, SpectrumImage, choose_n_components, decompose, robust
from siftem.decomposition.detector_shapes import fitted_by, physics_basis
from siftem.decomposition.identify import identify, matrix_share, shear_freedom, signed_weights
from siftem.decomposition.initialise import pooled_counts
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError, SiftemWarning
from siftem.simulate.phantom import simulate, simulate_demo
from siftem.spectrum import spectral_angle


def angles(found, true):
    """Angle in degrees of each true spectrum to the found one assigned to it."""
    found = found / np.linalg.norm(found, axis=1, keepdims=True)
    true = true / np.linalg.norm(true, axis=1, keepdims=True)
    all_angles = np.degrees(np.arccos(np.clip(true @ found.T, -1, 1)))
    rows, columns = linear_sum_assignment(all_angles)
    return all_angles[rows, columns]


@pytest.fixture(scope="module", params=[300, 20])
def half_filled(request):
    """Grains that fill half of a pixel at the most, and the true spectra on the cropped axis."""
    phantom = simulate(shape=(96, 96), dose=request.param, random_state=11, max_fraction=0.5)
    factors = decompose(phantom.spectrum_image, 3)
    return phantom, factors, phantom.spectra[:, -factors.axis.size :]


def test_half_as_far_from_the_truth_as_the_plain_likelihood(half_filled):
    phantom, factors, true = half_filled
    plain = decompose(phantom.spectrum_image, 3, identify=False)
    assert factors.matrix == 0
    assert plain.matrix is None
    assert plain.deviance < factors.deviance
    # The plain answer has the higher likelihood and the wrong spectra.
    chosen, likely = angles(factors.spectra, true), angles(plain.spectra, true)
    assert (chosen < 0.4 * likely).all()
    assert np.median(chosen / likely) < 0.3


def test_a_physics_basis_takes_the_noise_away(half_filled):
    phantom, factors, true = half_filled
    elements = phantom.spectrum_image.acquisition.elements
    basis, names = physics_basis(
        factors.axis, elements, beam_energy=200.0, detector=phantom.microscope.detector
    )
    assert basis.shape == (factors.axis.size, len(names))
    fitted = decompose(phantom.spectrum_image, 3, basis=basis)
    # Of what the detector's resolution has left. The matrix has hardly any.
    assert (angles(fitted.spectra, true) < 0.95 * angles(factors.spectra, true))[1:].all()
    assert (angles(fitted.spectra, true) < 12).all()


def test_a_basis_that_lacks_elements_is_said():
    phantom = simulate(shape=(48, 48), dose=300, random_state=11, max_fraction=0.5)
    axis = phantom.spectrum_image.without_zero_peak().axis
    basis, _ = physics_basis(axis, ["O", "Mg", "Ca"], beam_energy=200.0)
    with pytest.warns(SiftemWarning, match="basis fits the spectra poorly"):
        decompose(phantom.spectrum_image, 3, basis=basis)


def test_matrix_follows_the_order(half_filled):
    _, factors, _ = half_filled
    turned = factors.reordered((2, 0, 1), ("C", "A", "B"))
    assert turned.matrix == 1
    np.testing.assert_array_equal(
        turned.indeterminacy.degrees[0, 1], factors.indeterminacy.degrees[2, 0]
    )


def test_the_answer_is_called_open_where_it_is(half_filled):
    _, factors, _ = half_filled
    open_by = factors.indeterminacy
    # No pixel is pure grain: matrix may go into a grain's spectrum, as much as it is wide.
    assert (open_by.degrees_high[1:, 0] > 10).all()
    # The matrix is pure in most pixels: no grain may go into it.
    assert (open_by.degrees_high[0, 1:] < 1).all()
    assert (open_by.low <= 0).all()
    assert (open_by.high >= 0).all()


def test_a_separable_map_is_hardly_open():
    spectra = np.full((2, 40), 1e-5)
    spectra[0, :20], spectra[1, 20:] = 0.05, 0.05
    spectra /= spectra.sum(axis=1, keepdims=True)
    share = np.zeros((40, 40))
    share[:, 20:] = 1
    weights = 500 * np.stack([1 - share, share]).reshape(2, -1).T
    counts = sp.csr_array(np.random.default_rng(0).poisson(weights @ spectra).astype(float))
    assert shear_freedom(counts, (40, 40), spectra).degrees.max() < 2


@pytest.mark.parametrize("dose", [10.0, 400.0])
def test_how_far_a_shear_goes_by_hand(dose):
    """Of a flat spectrum, as much of a block can be taken out as half its height, and noise."""
    channels, shape = 40, (12, 60)
    spectra = np.full((2, channels), 1 / channels)
    spectra[1] = np.where(np.arange(channels) < channels // 2, 2 / channels, 0)
    # Flat alone on the left; on the right three quarters of all counts are of the block.
    weights = np.zeros((*shape, 2))
    weights[:, :30, 0], weights[:, 30:] = dose, (dose / 4, 3 * dose / 4)
    weights = weights.reshape(-1, 2)
    counts = sp.csr_array(weights @ spectra)  # what is expected: the answer has no noise
    found = shear_freedom(counts, shape, spectra)
    total = weights.sum(axis=0)
    # Two standard deviations of nine channels of the counts that the component holds.
    noise = 2 * np.sqrt(1 / channels / 9 / total)
    block, flat = 2 / channels, 1 / channels
    assert found.low[0, 1] == pytest.approx(-(flat + noise[0]) / block, rel=1e-6)
    # Where the block is zero, nothing of the flat one can be taken out of it, and there is
    # no noise where nothing is expected.
    assert found.low[1, 0] == pytest.approx(0, abs=1e-9)
    # The flat one is pure on the left: only noise of the block can go with it.
    sigma = np.clip(np.sqrt(4000 / (4 * np.pi * dose)), 0.7, 4.0)
    mean = total @ spectra / len(weights)
    covariance = np.linalg.inv((spectra / mean) @ spectra.T)
    weight_noise = np.sqrt(np.diag(covariance) / max(4 * np.pi * sigma**2, 1))
    assert found.high[0, 1] == pytest.approx(2 * weight_noise[1] / dose, rel=1e-3)
    # The block comes with a third of the flat one wherever it is; and its noise.
    expected = (dose / 4 + 2 * weight_noise[0]) / (3 * dose / 4)
    assert found.high[1, 0] == pytest.approx(expected, rel=0.02)
    for g, degrees in ((found.high, found.degrees_high), (found.low, found.degrees_low)):
        sheared = np.maximum(spectra[0] + g[0, 1] * spectra[1], 0)
        assert degrees[0, 1] == pytest.approx(spectral_angle(spectra[0], sheared), rel=1e-6)


def test_signed_weights_are_unbiased():
    rng = np.random.default_rng(0)
    spectra = rng.dirichlet(np.ones(80), 3)
    weights = np.tile([20.0, 3.0, 0.0], (20000, 1))
    counts = sp.csr_array(rng.poisson(weights @ spectra).astype(float))
    found = signed_weights(counts, spectra).T
    error = found.std(axis=0) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - weights[0]) < 4 * error).all()


def test_matrix_share_is_what_was_put_in():
    channel = np.arange(300)

    def peak(at):
        return np.exp(-0.5 * ((channel - at) / 5) ** 2) / (5 * np.sqrt(2 * np.pi))

    slope = (400 - channel) / (400 - channel).sum()
    pure = 0.3 * slope + 0.4 * peak(80) + 0.3 * peak(150)
    grain = 0.3 * slope + 0.3 * peak(80) + 0.4 * peak(220)
    for share in (0.0, 0.2, 0.6):
        mixed = (1 - share) * grain + share * pure
        found, noise = matrix_share(mixed, pure, line_width=12, counts=1e7)
        assert found == pytest.approx(share, abs=0.003)
        assert 0 < noise < 0.01


def test_a_continuum_that_ends_at_the_axis_is_no_line():
    """Only lines tell how much matrix there is; continua may differ with what absorbs them."""
    channel = np.arange(300)
    line = np.exp(-0.5 * ((channel - 150) / 5) ** 2)
    line /= line.sum()
    pure = 0.97 / 300 + 0.03 * line
    taken, _ = matrix_share(0.3 * 0.03 * line, pure, line_width=13, counts=1e6)
    assert taken == pytest.approx(0.3, abs=0.01)


def test_without_a_matrix_nothing_is_identified():
    rng = np.random.default_rng(0)
    spectra = rng.dirichlet(np.ones(30), 2)
    few = sp.csr_array(rng.poisson(100 * rng.dirichlet(np.ones(2), 25) @ spectra).astype(float))
    assert identify(few, (5, 5), spectra, line_width=None) is None


def test_pooled_counts_keep_all_counts():
    rng = np.random.default_rng(0)
    counts = sp.csr_array(rng.poisson(0.5, (60 * 50, 20)))
    pooled, shape = pooled_counts(counts, (60, 50), 3)
    assert shape == (12, 10)
    assert pooled.sum() == counts.sum()


@pytest.mark.parametrize("dose", [18, 75, 300])
@pytest.mark.filterwarnings("ignore::siftem.errors.SiftemWarning")
def test_number_of_components_of_the_demo(dose):
    si = simulate(shape=(64, 64), dose=dose, random_state=2).spectrum_image
    choice = choose_n_components(si, range(1, 6), folds=3)
    assert choice.n_components == 3
    # With one more component, and one less, the held-out counts are predicted worse.
    assert choice.sure or dose < 300
    assert choice.deviances.shape == (3, 5)
    assert choice.excess.min() == 0


def test_too_few_counts_are_said():
    si = simulate(shape=(24, 24), dose=0.5, random_state=0).spectrum_image
    with pytest.warns(SiftemWarning, match="hardly tell"):
        choice = choose_n_components(si, range(1, 4), folds=4)
    assert not choice.sure
    assert choice.n_components < 3


def test_held_out_deviance_is_that_of_independent_counts():
    """A model with one component: thinning must agree with fresh counts of the same mean."""
    rng = np.random.default_rng(5)
    mean = np.outer(rng.uniform(1000, 3000, 400), rng.dirichlet(np.ones(30)))
    si = SpectrumImage(
        sp.csr_array(rng.poisson(mean)), (20, 20), EnergyAxis(0.0, 1.0, 30), signal_type=""
    )
    choice = choose_n_components(si, [1], folds=4)
    # What fresh counts deviate from their true mean, plus what 430 fitted numbers cost.
    true = 0.2 * mean
    fresh = [xlogy(y, y / true) - y + true for y in rng.poisson(true, (20, *mean.shape))]
    expected = 2 * np.sum(fresh) / 20 + 0.25 * 430
    assert choice.deviances.mean() == pytest.approx(expected, rel=0.015)
    # The seed splits the counts.
    again, other = (choose_n_components(si, [1], folds=4, random_state=seed) for seed in (0, 1))
    assert np.array_equal(again.deviances, choice.deviances)
    assert not np.array_equal(other.deviances, choice.deviances)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"candidates": []}, "candidates"),
        ({"candidates": [0, 1]}, "candidates"),
        ({"folds": 1}, "folds"),
        ({"test_share": 1.0}, "test_share"),
    ],
)
def test_wrong_choices_are_named(arguments, message):
    si = simulate(shape=(16, 16), dose=50, random_state=0).spectrum_image
    with pytest.raises(InputError, match=message):
        choose_n_components(si, **arguments)


@pytest.mark.parametrize("basis", [np.ones((5, 2)), np.zeros((40, 2)), -np.eye(40)])
def test_a_basis_of_no_use_is_named(basis):
    with pytest.raises(InputError, match="basis"):
        fitted_by(basis, np.ones((2, 40)) / 40, np.array([5.0, 5.0]))


def test_fractions_are_no_hindrance():
    """Interpolated counts, as a correction of drift leaves them."""
    si = simulate(shape=(24, 24), dose=400, random_state=0).spectrum_image.without_zero_peak()
    cube = si.counts.toarray().reshape(24, 24, -1) * 1.0
    cube = 0.5 * cube + 0.5 * np.roll(cube, 1, axis=0)
    drifted = replace(si, counts=sp.csr_array(cube.reshape(576, -1)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SiftemWarning)
        found = [choose_n_components(m, range(1, 6)).n_components for m in (si, drifted)]
    assert found[0] == found[1] == 3


def test_plain_estimator_and_front_door_agree():
    si = simulate(shape=(24, 24), dose=200, random_state=0).spectrum_image
    model = PoissonNMF(3, map_shape=(24, 24), tol=1e-7).fit(si.without_zero_peak().counts)
    assert decompose(si, 3, identify=False).deviance == pytest.approx(model.deviance_)


def test_of_a_large_map_every_other_pixel_tells_as_much(monkeypatch):
    """Smoothed weights are looked at on a grid; what they say does not depend on it."""
    si = simulate_demo((96, 96), dose=100, random_state=2).spectrum_image.without_zero_peak()
    whole = decompose(si, 3)
    monkeypatch.setattr(robust, "_ENOUGH_PIXELS", 96 * 96 / 3)
    assert robust.grid_step((96, 96)) == 2
    found = decompose(si, 3)
    assert found.matrix == whole.matrix
    for ours, theirs in zip(found.spectra, whole.spectra, strict=True):
        assert spectral_angle(ours, theirs) < 0.5
    assert found.indeterminacy.degrees == pytest.approx(whole.indeterminacy.degrees, abs=2.0)
    # Half of the lines and columns: the counts that were held are four times what is seen.
    arguments = (si.counts, si.shape, whole.spectra)
    grid = identify(*arguments, line_width=13)
    monkeypatch.undo()
    np.testing.assert_allclose(grid.counts, identify(*arguments, line_width=13).counts, rtol=0.05)
