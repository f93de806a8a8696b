"""HyperSpy signals at the doors of siftem's own functions: no call of another module needed."""

import numpy as np
import pytest

import siftem
from siftem import signals as sft
from siftem.errors import InputError, SiftemWarning
from siftem.io.hyperspy_export import to_hyperspy

hs = pytest.importorskip("hyperspy.api")


@pytest.fixture(scope="module")
def eds():
    phantom = siftem.simulate_demo((24, 24), dose=900, random_state=3)
    si = phantom.spectrum_image.without_zero_peak().cropped(None, 8.5)
    return phantom, si, siftem.to_hyperspy(si)


def test_a_signal_is_decomposed_and_integrated_as_its_map(eds):
    phantom, si, signal = eds
    ours, theirs = (siftem.decompose(s, 2, identify=False) for s in (si, signal))
    np.testing.assert_array_equal(ours.spectra, theirs.spectra)
    mask = phantom.mask("Fp")
    image = hs.signals.Signal2D(mask)
    for region in (mask, image):
        found = siftem.integrate(signal, region, name="Fp")
        np.testing.assert_array_equal(found.values, si.sum_spectrum(mask.ravel()))
        assert found.acquisition.beam_energy == 200.0
    with pytest.warns(SiftemWarning, match="held-out"):
        assert siftem.choose_n_components(signal, (1, 2), folds=2).candidates == (1, 2)


def test_an_element_is_an_anchor_of_a_map_and_of_signals(eds):
    phantom, si, signal = eds
    masks = {"Fp": phantom.mask("Fp")}
    regions = siftem.Regions(si.shape, matrix="Brg", masks=masks, excluded=phantom.mask("Ca-Pv"))
    options = {"elements": ["O", "Mg", "Al", "Si", "Ca", "Fe"], "support": ["Cu"]}
    matrix, mixture = (sft.integrate(signal, r) for r in (regions.pure, regions.mixture("Fp")))
    pure = siftem.subtract(mixture, matrix, anchor="Si", **options)
    own = siftem.subtract(
        siftem.integrate(si, regions.mixture("Fp")),
        siftem.integrate(si, regions.pure),
        anchor=siftem.Absent("Si"),
        **options,
    )
    np.testing.assert_array_equal(pure.values, own.values)
    assert pure.scale == own.scale
    # Titled by its phase; what was assumed is said of it, also after a detour as a signal.
    assert pure.name == own.name == "Fp"
    assert pure.absent == ("Si",)
    for spectrum in (pure, to_hyperspy(pure)):
        c = siftem.quantify(spectrum, options["elements"], support=["Cu"], warn_above=None)
        assert c.assumed_absent == ("Si",)
        assert c.name == "Fp"
    unmixed = siftem.unmix(signal, regions, anchors={"Fp": "Si"}, **options)
    assert unmixed.anchors["Fp"] == "no Si in the grain"
    assert unmixed.spectra["Fp"].absent == ("Si",)
    assert unmixed.spectra["Brg"].absent == ()


def test_images_of_signals_are_classified_as_arrays(eds):
    phantom, si, signal = eds
    traces = np.zeros(si.shape, np.int64)
    traces[phantom.fractions[0] > 0.99] = 1
    traces[phantom.mask("Fp", at_least=0.3)] = 2
    arrays = {"Fe": si.window_map(6.2, 6.6), "Si": si.window_map(1.65, 1.85)}
    images = {
        "Fe": hs.signals.Signal2D(arrays["Fe"]),
        "Si": signal.isig[1.65:1.85].sum("Energy").T,  # an image of the navigation axes
    }
    images["Si"] = hs.signals.Signal2D(arrays["Si"]).as_lazy()
    a, b = (
        siftem.PixelClassifier(n_trees=5).fit(given, painted).predict_proba(given)
        for given, painted in ((arrays, traces), (images, hs.signals.Signal2D(traces)))
    )
    np.testing.assert_array_equal(a, b)
    stack = hs.signals.Signal2D(np.stack(list(arrays.values())))
    c = siftem.PixelClassifier(n_trees=5).fit(stack, traces).predict_proba(stack)
    np.testing.assert_array_equal(a, c)


def test_every_function_of_a_map_or_a_spectrum_takes_signals(eds):
    phantom, si, signal = eds
    masks = {"Fp": phantom.mask("Fp")}
    regions = siftem.Regions(si.shape, matrix="Brg", masks=masks)
    assert siftem.count_kinds(signal) == siftem.count_kinds(si)
    ours, theirs = (siftem.sum_spectra(s, regions) for s in (si, signal))
    np.testing.assert_array_equal(ours["pure Brg"].values, theirs["pure Brg"].values)
    first = {"Brg": ours["pure Brg"], "Fp": ours["mixture Fp"]}
    ours, theirs = (siftem.weighted_mixtures(s, regions, first) for s in (si, signal))
    np.testing.assert_array_equal(ours["Fp"].spectrum.values, theirs["Fp"].spectrum.values)
    ours, theirs = (siftem.decompose_together([s, s], 2) for s in (si, signal))
    np.testing.assert_array_equal(ours[1].spectra, theirs[1].spectra)
    elements = ["O", "Mg", "Al", "Si", "Ca", "Fe"]
    spectrum = siftem.integrate(si, regions.pure)
    of_signal = sft.integrate(signal, regions.pure)
    for door in (siftem.line_ratios, siftem.null_elements):
        known = [door(s, elements, support=["Cu"]) for s in (spectrum, of_signal)]
        assert known[0].describe() == known[1].describe()


def test_every_function_of_energy_losses_takes_signals():
    si = siftem.simulate_elnes((16, 16), counts=200).spectrum_image
    mask = np.ones(si.shape, bool)
    spectrum, signal = siftem.integrate(si, mask), sft.integrate(siftem.to_hyperspy(si), mask)
    ours, theirs = (siftem.remove_background(s, 402, 452) for s in (spectrum, signal))
    np.testing.assert_allclose(ours.values, theirs.values, rtol=1e-12)
    half = siftem.GivenScale(0.5)
    assert siftem.subtract_by_edges(signal, signal, anchor=half).scale == 0.5
    edges = [
        siftem.Edge("Mn_L3", background=(600, 634), signal=(636, 700)),
        siftem.Edge("O_K", background=(480, 528), signal=(530, 600)),
    ]
    ours, theirs = (siftem.elemental_ratios(s, edges).table() for s in (spectrum, signal))
    assert ours == theirs


def test_what_is_neither_is_refused_in_one_line(eds):
    _, si, signal = eds
    with pytest.raises(InputError, match=r"got ndarray of shape \(3, 4, 5\): siftem\.load"):
        siftem.decompose(np.ones((3, 4, 5)))
    with pytest.raises(InputError, match=r"got SpectrumImage of shape .*siftem\.integrate"):
        siftem.quantify(si, ["O"])
    with pytest.raises(InputError, match="integrate a region first"):
        siftem.quantify(signal, ["O"])
    spectrum = siftem.integrate(si, np.ones(si.shape, bool))
    with pytest.raises(InputError, match="float is no anchor on X-ray lines"):
        siftem.subtract(spectrum, spectrum, anchor=0.3)
    with pytest.raises(InputError, match="Sj"):
        siftem.subtract(spectrum, spectrum, anchor="Sj")
    with pytest.raises(InputError, match="an anchor is needed"):
        siftem.subtract(spectrum, spectrum, anchor=[])
