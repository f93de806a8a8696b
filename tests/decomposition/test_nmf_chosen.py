"""The chosen spectra at few counts: refined over smooth maps, freed from noise, none twice."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment, nnls
from scipy.special import xlogy

import siftem
from siftem import PoissonNMF, decompose
from siftem.decomposition import chosen_spectra
from siftem.decomposition.chosen_spectra import choose_spectra
from siftem.decomposition.detector_shapes import DetectorView, NonNegativeFit, detector_shapes
from siftem.decomposition.identify import refined_spectra
from siftem.decomposition.initialise import pooled_counts
from siftem.energy_axis import EnergyAxis
from siftem.simulate.phantom import simulate
from siftem.simulate.spectra import PhaseModel
from siftem.xray.detector import Detector

AXIS = EnergyAxis(0.2, 0.01, 800)


def angles(found, true):
    """Angle in degrees of each true spectrum to the found one assigned to it."""
    found = found / np.linalg.norm(found, axis=1, keepdims=True)
    true = true / np.linalg.norm(true, axis=1, keepdims=True)
    all_angles = np.degrees(np.arccos(np.clip(true @ found.T, -1, 1)))
    rows, columns = linear_sum_assignment(all_angles)
    return all_angles[rows, columns]


def peak(energy, resolution=130.0):
    sigma = 1e-3 * Detector(resolution=resolution).fwhm(energy) / 2.3548
    shape = np.exp(-0.5 * ((AXIS.centers - energy) / sigma) ** 2)
    return shape / shape.sum()


def lines(resolution=130.0):
    parts = [0.4 * peak(1.2, resolution), 0.3 * peak(1.74, resolution), 0.2 * peak(6.4, resolution)]
    return sum(parts) + 0.1 / AXIS.size


@pytest.mark.parametrize(
    ("dose", "bounds"), [(20, (1.0, 3.6, 9.6)), (50, (0.6, 2.4, 5.4)), (300, (0.4, 1.1, 3.0))]
)
def test_nearer_to_the_truth_than_true_maps_alone_would_bring_it(dose, bounds):
    """Each phase is nearer than the best fit of free channels to the true maps."""
    phantom = simulate(shape=(96, 96), dose=dose, random_state=12, max_fraction=0.5)
    factors = decompose(phantom.spectrum_image, 3)
    counts = phantom.spectrum_image.without_zero_peak().counts
    true = phantom.spectra[:, -factors.axis.size :]
    maps = phantom.abundances.reshape(3, -1)
    oracle = np.maximum(np.linalg.solve(maps @ maps.T, (counts.T @ maps.T).T), 0)
    found = angles(factors.spectra, true)
    assert (found < bounds).all()
    assert (found < 0.8 * angles(oracle, true)).all()


def test_smooth_maps_give_the_spectra_without_bias():
    """From a subspace that is off by 20 degrees back to a fraction of that."""
    rng = np.random.default_rng(3)
    share = np.clip(gaussian_filter(rng.standard_normal((80, 80)), 4) * 8, 0, 1).ravel()
    true = rng.dirichlet(np.full(60, 0.5), 2)
    counts = sp.csr_array(rng.poisson(40 * np.stack([1 - share, share]).T @ true))
    wrong = true + 0.5 * rng.dirichlet(np.full(60, 0.5), 2)
    wrong /= wrong.sum(axis=1, keepdims=True)
    refined = refined_spectra(counts, (80, 80), wrong)

    def off(spectra):
        """How far the true spectra are from the span, degrees."""
        basis = np.linalg.qr(spectra.T)[0]
        inside = np.linalg.norm(true @ basis, axis=1) / np.linalg.norm(true, axis=1)
        return np.degrees(np.arccos(np.minimum(inside, 1)))

    assert off(wrong).max() > 15
    assert off(refined).max() < 3
    np.testing.assert_allclose(refined.sum(axis=1), 1)


def test_alike_maps_leave_the_spectra_alone():
    spectra = np.random.default_rng(0).dirichlet(np.ones(30), 2)
    flat = sp.csr_array(np.tile(spectra.mean(axis=0) * 100, (100, 1)))
    np.testing.assert_array_equal(refined_spectra(flat, (10, 10), spectra), spectra)


def test_non_negative_fit_is_that_of_lawson_and_hanson():
    rng = np.random.default_rng(1)
    shapes = detector_shapes(AXIS, 130.0, 0.85)
    noisy = rng.poisson(2000 * lines()).astype(float)
    variance = 1 + 2000 * lines()
    fit = NonNegativeFit(shapes, variance)
    amplitudes, rest = nnls(shapes / np.sqrt(variance)[:, None], noisy / np.sqrt(variance))
    expected = shapes @ amplitudes
    found = fit(noisy)
    assert (found >= 0).all()
    assert ((noisy - found) ** 2 / variance).sum() < rest**2 + 1
    assert angles(found[None], expected[None])[0] < 1


def test_the_detector_sees_less_noise_and_the_same_lines():
    rng = np.random.default_rng(2)
    true = lines()
    view = DetectorView(rng.poisson(1e6 * true).astype(float), AXIS, 130.0)
    noisy = rng.poisson(3000 * true).astype(float)
    seen = view.of(noisy, 3000.0)
    assert angles(seen[None], true[None])[0] < 0.5 * angles(noisy[None], true[None])[0]
    # Without noise nothing changes, at whatever energy a line is.
    for energy in np.linspace(1.0, 1.05, 6):
        line = 0.9 * peak(energy) + 0.1 / AXIS.size
        assert angles(view.of(line, 1e6)[None], line[None])[0] < 0.3


def test_a_sharper_detector_than_was_said_is_noticed():
    rng = np.random.default_rng(2)
    sharp = 0.9 * np.eye(AXIS.size)[150] + 0.1 / AXIS.size
    view = DetectorView(rng.poisson(1e6 * sharp).astype(float), AXIS, 130.0)
    noisy = rng.poisson(1e5 * sharp) - 3.0
    np.testing.assert_array_equal(view.of(noisy, 1e5), np.maximum(noisy, 0))
    # At 180 eV instead of 130 sharper shapes are taken.
    true = lines()
    view = DetectorView(rng.poisson(1e6 * true).astype(float), AXIS, 180.0)
    assert len(view.fits) == 2
    assert angles(view.of(true, 1e6)[None], true[None])[0] < 0.5


@pytest.mark.parametrize("channel", [0.005, 0.1, 0.4])
def test_narrow_and_wide_channels(channel):
    axis = EnergyAxis(0.2, channel, int(8 / channel))
    shapes = detector_shapes(axis, 130.0, 0.85)
    assert (shapes.max(axis=0) > 0.8).all()
    # Every channel is reached.
    assert (shapes.sum(axis=1) > 0.5).all()


def test_every_start_is_returned(small):
    model = PoissonNMF(3, n_init=3, random_state=0).fit(small)
    assert model.components_of_starts_.shape == (3, 3, 40)
    best = model.deviances_of_starts_.argmin()
    np.testing.assert_allclose(model.components_of_starts_[best], model.components_)


def test_no_phase_twice_and_none_missed(monkeypatch):
    """Five phases, of which two have the same lines but one: single starts find a grain twice."""
    phases = (
        PhaseModel("Fsp", {"O": 48.8, "Na": 8.8, "Al": 10.3, "Si": 32.1}, 2.6, "matrix"),
        PhaseModel("Px", {"O": 44, "Mg": 10, "Ca": 16, "Fe": 7, "Si": 23}, 3.3, "block", 0.15),
        PhaseModel("Ilm", {"O": 31.6, "Ti": 31.6, "Fe": 36.8}, 4.7, "block", 0.1),
        PhaseModel("Ap", {"O": 38, "P": 18.4, "Ca": 39.7, "F": 3.9}, 3.2, "needle", 0.1),
        PhaseModel("Qz", {"O": 53.3, "Si": 46.7}, 2.65, "block", 0.15),
    )
    phantom = simulate(phases, (96, 96), dose=50, random_state=0)
    si = phantom.spectrum_image.without_zero_peak()
    model = PoissonNMF(5, tol=1e-7, random_state=0)
    # Told where they lie: which layout so few counts show is another question.
    chosen = choose_spectra(si, model, layout="matrix")
    # Six starts were compared, and the model is as it was asked for again.
    assert len(model.deviances_of_starts_) == 6
    assert model.n_init == 1
    true = phantom.spectra[:, -si.n_channels :]
    assert (angles(chosen.spectra, true) < 8).all()
    # And a decomposition has them: chosen once, handed over here.
    asked = []
    monkeypatch.setattr(
        "siftem.decomposition.factors.choose_spectra",
        lambda si, model, **how: asked.append(model) or chosen,
    )
    factors = decompose(si, 5)
    assert [(m.n_components, m.tol, m.random_state) for m in asked] == [(5, 1e-7, 0)]
    np.testing.assert_allclose(angles(factors.spectra, true), angles(chosen.spectra, true))


@pytest.mark.slow
def test_the_number_of_components_may_be_too_large():
    """Three asked of two phases: the third is a copy or noise, and the two are still found."""
    phases = (
        PhaseModel("Fe", {"Fe": 80, "Cr": 15, "Ni": 5}, 7.8, "matrix"),
        PhaseModel("NbC", {"Nb": 88.5, "C": 11.5}, 7.8, "block", 0.2),
    )
    phantom = simulate(phases, (64, 64), dose=100, random_state=1)
    factors = decompose(phantom.spectrum_image, 3, layout="matrix")
    assert np.isfinite(factors.spectra).all()
    true = phantom.spectra[:, -factors.axis.size :]
    assert (angles(factors.spectra, true) < 6).all()


def test_sweeps_and_convergence_are_those_of_the_fit_that_the_spectra_come_from():
    si = simulate(shape=(48, 48), dose=100, random_state=3).spectrum_image
    factors = decompose(si, 3, layout="matrix")
    assert factors.matrix is not None
    pooled, shape = pooled_counts(si.without_zero_peak().counts, si.shape, 3)
    fit = PoissonNMF(3, map_shape=shape, tol=1e-7).fit(pooled)
    assert factors.pooled_pixels == pooled.shape[0] < si.n_pixels
    assert (factors.n_iter, factors.converged) == (fit.n_iter_, True)
    # The deviance is of all pixels, and of these maps and spectra.
    cropped = si.without_zero_peak().counts
    mean = (factors.maps.reshape(3, -1).T @ factors.spectra).astype(float)
    y = cropped.toarray()
    deviance = 2 * (xlogy(y, y / mean) - y + mean).sum()
    assert factors.deviance == pytest.approx(deviance, rel=1e-7)
    plain = decompose(si, 3, identify=False)
    assert plain.pooled_pixels is None


def test_sweeps_are_those_of_the_chosen_start():
    """The likeliest start before the choice need not be the one that is taken."""
    si = simulate(shape=(48, 48), dose=100, random_state=3).spectrum_image.without_zero_peak()
    model = PoissonNMF(3, n_init=4, tol=1e-7)
    found = choose_spectra(si, model, layout="matrix")
    numbers = list(zip(model.n_iter_of_starts_, model.converged_of_starts_, strict=True))
    assert len(set(model.n_iter_of_starts_)) > 1
    chooser = chosen_spectra._Chooser(si)
    ones = [chooser(model, start, found.pooled_pixels) for start in range(4)]
    (same,) = [i for i, one in enumerate(ones) if np.array_equal(one.spectra, found.spectra)]
    assert numbers[same] == (found.n_iter, found.converged)


def test_a_stopped_fit_is_said_to_be_stopped():
    si = simulate(shape=(48, 48), dose=100, random_state=3).spectrum_image
    with pytest.warns(siftem.errors.SiftemWarning, match="stopped at max_iter=2"):
        factors = decompose(si, 3, max_iter=2, layout="matrix")
    assert (factors.n_iter, factors.converged) == (2, False)


@pytest.mark.parametrize(("asked", "tried"), [(1, 6), (2, 2)])
def test_many_phases_and_few_counts_get_several_starts(asked, tried):
    """Unless the number of starts is given."""
    si = simulate(shape=(24, 24), dose=100, random_state=1).spectrum_image.without_zero_peak()
    model = PoissonNMF(4, n_init=asked, tol=1e-2)
    choose_spectra(si, model, layout="matrix")
    assert model.deviances_of_starts_.shape == (tried,)
    assert model.n_init == asked
