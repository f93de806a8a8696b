"""One line a step on HyperSpy signals: axes, units, metadata and covariance come back."""

import numpy as np
import pytest

import siftem
from siftem import signals as sft
from siftem.io.hyperspy_export import to_hyperspy
from siftem.io.spectrum_signals import signal_to_spectrum
from siftem.simulate.elnes import simulate_elnes

hs = pytest.importorskip("hyperspy.api")
TI = siftem.Edge("Ti_L3", background=(402, 452), signal=(453, 500))


@pytest.fixture(scope="module")
def eels():
    phantom = simulate_elnes((32, 32), counts=80)
    return phantom, siftem.to_hyperspy(phantom.spectrum_image)


@pytest.fixture(scope="module")
def eds():
    phantom = siftem.simulate_demo((48, 48), channels=1100, dose=400, random_state=2)
    return phantom, siftem.to_hyperspy(phantom.spectrum_image)


def test_decompose_gives_signals_and_fills_learning_results(eds):
    _, s = eds
    maps, spectra, factors = sft.decompose(s, 3)
    assert type(spectra).__name__ == "EDSTEMSpectrum"
    assert spectra.axes_manager.signal_axes[0].units == "keV"
    assert spectra.axes_manager.signal_axes[0].offset == pytest.approx(factors.axis.offset)
    assert maps.axes_manager.signal_axes[0].units == "nm"
    np.testing.assert_allclose(maps.data, factors.maps)
    assert list(maps.metadata.Siftem.names) == list(factors.names)
    assert s.learning_results.output_dimension == 3
    loadings = s.get_decomposition_loadings()
    np.testing.assert_allclose(loadings.data, factors.maps)
    assert loadings.axes_manager.signal_axes[0].units == "nm"
    # Cropped channels are zero; the rest is the spectra.
    channels = factors.axis.size
    stored = s.get_decomposition_factors().data
    np.testing.assert_allclose(stored[:, -channels:], factors.spectra)
    assert not stored[:, :-channels].any()


def test_learning_results_survive_saving_and_come_back(eds, tmp_path):
    _, s = eds
    small = s.inav[:16, :16]
    small.compute(show_progressbar=False)
    _, _, factors = sft.decompose(small, 2)
    small.save(tmp_path / "small.hspy")
    again = sft.factors_from(hs.load(tmp_path / "small.hspy"))
    np.testing.assert_allclose(again.maps, factors.maps)
    assert again.names == factors.names
    assert again.axis.size == small.data.shape[-1]
    model = small.get_decomposition_model()
    assert model.data.sum() == pytest.approx(factors.maps.sum(), rel=1e-6)


def test_the_road_on_x_rays_in_one_line_each(eds):
    _phantom, s = eds
    _, _, factors = sft.decompose(s, 3)
    regions = sft.find_regions(s, factors)
    assert regions.matrix == factors.names[factors.matrix]
    grain = regions.names[0]
    matrix = sft.integrate(s, regions.pure)
    mixture = sft.integrate(s, regions.mixture(grain))
    pure = sft.subtract(
        mixture, matrix, anchor=siftem.GivenScale(0.1, 0.01), elements=["O", "Mg", "Si"]
    )
    assert type(pure).__name__ == "EDSTEMSpectrum"
    assert pure.metadata.Siftem.anchor.startswith("given scale")
    direct = siftem.subtract(
        siftem.integrate(siftem.from_hyperspy(s), regions.mixture(grain)),
        siftem.integrate(siftem.from_hyperspy(s), regions.pure),
        anchor=siftem.GivenScale(0.1, 0.01),
    )
    np.testing.assert_allclose(pure.data, direct.values)
    np.testing.assert_allclose(
        signal_to_spectrum(pure).standard_deviation, direct.standard_deviation
    )
    elements = ["O", "Mg", "Al", "Si", "Ca", "Fe"]
    by_signal = sft.quantify(matrix, elements, support=["Cu"], warn_above=None)
    by_spectrum = siftem.quantify(
        siftem.integrate(siftem.from_hyperspy(s), regions.pure), elements, support=["Cu"],
        warn_above=None,
    )  # fmt: skip
    np.testing.assert_allclose(by_signal.weight_fractions, by_spectrum.weight_fractions)


def test_the_road_on_energy_losses_in_one_line_each(eels):
    phantom, s = eels
    _, spectra, factors = sft.decompose(s, 2)
    assert type(spectra).__name__ == "EELSSpectrum"
    regions = sft.find_regions(s, factors, names={"A": "titanate", "E": "Mn oxide"})
    found = regions.mask("Mn oxide").mask
    true = phantom.mask(0.05)
    assert (found & true).sum() / (found | true).sum() > 0.75
    matrix = sft.integrate(s, regions.pure)
    assert matrix.metadata.Acquisition_instrument.TEM.beam_energy == 200.0
    mixture = sft.integrate(s, regions.mixture("Mn oxide"))
    pure = sft.subtract(mixture, matrix, anchor=siftem.AbsentEdge(TI))
    assert type(pure).__name__ == "EELSSpectrum"
    assert signal_to_spectrum(pure).angle_to(phantom.spectra[1]) < 3
    edges = sft.remove_background(pure, 480, 528)
    assert edges.axes_manager.signal_axes[0].offset == pytest.approx(480)
    ratios = sft.elemental_ratios(
        pure,
        [
            siftem.Edge("O_K", background=(480, 528), signal=(530, 600)),
            siftem.Edge("Mn_L3", background=(600, 634), signal=(636, 700)),
        ],
    )
    assert ratios["Mn"] > 0
    with pytest.raises(siftem.InputError, match="AbsentEdge"):
        sft.subtract(mixture, matrix, anchor=siftem.Absent("Ti"))


def test_analogue_signals_become_counts_and_tell_hyperspy_their_noise():
    phantom = simulate_elnes((24, 24), counts=60, gain=5.0, readout=10.0)
    s = hs.signals.Signal1D(phantom.data - 20)
    s.set_signal_type("EELS")
    axis = s.axes_manager.signal_axes[0]
    axis.offset, axis.scale, axis.units, axis.name = 400.0, 1.0, "eV", "Energy loss"
    with pytest.raises(siftem.InputError, match="negative"):
        s2 = s.deepcopy()
        s2.data[0, 0, 0] = -5
        siftem.from_hyperspy(s2)
    counted = sft.as_counts(s)
    assert type(counted).__name__ == "LazyEELSSpectrum"
    assert "estimated from the data" in counted.metadata.Siftem.notes[0]
    model = s.metadata.Signal.Noise_properties.Variance_linear_model
    assert model.gain_factor == pytest.approx(5.0, rel=0.05)
    # HyperSpy's own estimate of the variance now agrees with truth.
    s.estimate_poissonian_noise_variance()
    variance = s.metadata.Signal.Noise_properties.variance.data.mean()
    assert variance == pytest.approx(25 * 60 * (1 - 0.0) + 100, rel=0.15)
    _, _, factors = sft.decompose(counted, 2)
    assert factors.spectra.shape == (2, 320)
    # The pedestal is in the counts, and not in a region's spectrum.
    whole = sft.integrate(counted, np.ones((24, 24), bool))
    true = phantom.data.sum(axis=(0, 1)) / 5 - 24 * 24 * 4  # 20 units were taken off above
    assert whole.data.sum() == pytest.approx(true.sum(), rel=0.03)
    assert counted.metadata.Siftem.pedestal > 0


def test_several_signals_of_one_scan(eels):
    phantom, s = eels
    other = siftem.to_hyperspy(phantom.spectrum_image.cropped(430, 600))
    one, two = sft.decompose_together([s, other], 2)
    assert one.factors.names == two.factors.names
    assert other.learning_results.factors.shape == (171, 2)


def test_spectra_survive_a_file_with_their_covariance(eels, tmp_path):
    phantom, _ = eels
    mask = phantom.mask()
    mixture = siftem.integrate(phantom.spectrum_image, mask)
    matrix = siftem.integrate(phantom.spectrum_image, ~mask)
    pure = siftem.subtract_by_edges(mixture, matrix, anchor=siftem.AbsentEdge(TI))
    to_hyperspy(pure, like=phantom.spectrum_image).save(tmp_path / "pure.hspy")
    again = signal_to_spectrum(hs.load(tmp_path / "pure.hspy"))
    np.testing.assert_allclose(again.covariance, pure.covariance)
    np.testing.assert_allclose(again.values, pure.values)
    assert again.n_pixels == pure.n_pixels
    assert again.acquisition == pure.acquisition
    assert again.notes == pure.notes


def test_a_plain_spectrum_counts_as_poisson():
    s = hs.signals.Signal1D(np.arange(50.0))
    s.axes_manager.signal_axes[0].units = "eV"
    spectrum = signal_to_spectrum(s)
    np.testing.assert_allclose(spectrum.variance, np.arange(50.0))


def test_the_whole_road_on_a_signal():
    phantom = siftem.simulate_demo((32, 32), channels=1100, dose=500, random_state=1)
    s = siftem.to_hyperspy(phantom.spectrum_image)
    result = sft.run(
        s, elements=["O", "Mg", "Al", "Si", "Ca", "Fe"], support=["Cu"], unmix=False,
        decompose={"components": 2},
    )  # fmt: skip
    assert s.learning_results.output_dimension == 2
    assert result.compositions
    with pytest.raises(siftem.InputError, match="leave input out"):
        sft.run(s, input={"file": "x"})


@pytest.mark.parametrize(
    ("shape", "dims", "message"),
    [((20, 30), 1, "line scan of 20 points"), ((30,), 0, "single spectrum")],
)
def test_line_scans_and_single_spectra_are_refused_in_one_sentence(shape, dims, message):
    s = hs.signals.Signal1D(np.ones(shape))
    s.axes_manager.signal_axes[0].units = "keV"
    with pytest.raises(siftem.InputError, match=message) as caught:
        sft.decompose(s, 2)
    assert "\n" not in str(caught.value)


def test_a_leading_frame_axis_is_summed_and_any_other_is_refused():
    rng = np.random.default_rng(0)
    s = hs.signals.Signal1D(rng.poisson(2.0, (4, 6, 7, 30)))
    s.axes_manager.signal_axes[0].units = "keV"
    s.set_signal_type("EDS_TEM")
    slowest = s.axes_manager.navigation_axes[-1]
    slowest.name = "frame"
    si = siftem.from_hyperspy(s)
    assert si.shape == (6, 7)
    assert si.total == s.data.sum()
    assert "summed 4 frames" in si.notes
    # What is put back into the signal has no place for frames: said before any work.
    for step in (sft.decompose, sft.run):
        with pytest.raises(siftem.InputError, match=r"not a stack of frames.*s\.sum\('frame'\)"):
            step(s)
    maps = sft.decompose(s.sum("frame"), 2).maps
    assert maps.data.shape == (2, 6, 7)
    slowest.name = "tilt"
    with pytest.raises(siftem.InputError, match=r"third navigation axis 'tilt'.*inav"):
        siftem.from_hyperspy(s)


def test_wrong_use_is_told(eds):
    phantom, s = eds
    with pytest.raises(siftem.InputError, match="single spectrum is needed"):
        sft.quantify(s, ["O"])
    with pytest.raises(siftem.InputError, match="holds no decomposition"):
        sft.factors_from(hs.signals.Signal1D(np.ones((3, 3, 5))))
    svd = hs.signals.Signal1D(np.random.default_rng(0).random((6, 6, 30)))
    svd.axes_manager.signal_axes[0].units = "keV"
    svd.decomposition(print_info=False)
    with pytest.raises(siftem.InputError, match="negative"):
        sft.factors_from(svd)
    si = phantom.spectrum_image
    factors = siftem.decompose(si, 2)
    with pytest.raises(siftem.InputError, match="no component"):
        sft.find_regions(si, factors, names={"Z": "Brg"})
    with pytest.raises(siftem.InputError, match="is not among"):
        sft.find_regions(si, factors, matrix="Brg")
