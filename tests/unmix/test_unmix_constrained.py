"""The joint likelihood against the truth of a phantom, and against the plain subtraction."""

import numpy as np
import pytest

import siftem
from siftem.spectrum import spectral_angle

ANCHORS = {"Fp": siftem.Absent("Si"), "Ca-Pv": siftem.Absent("Mg")}


@pytest.fixture(scope="module")
def phantom():
    return siftem.simulate_demo((40, 40), dose=300, seed=1)


@pytest.fixture(scope="module")
def si(phantom):
    return phantom.spectrum_image.without_zero_peak()


@pytest.fixture(scope="module")
def regions(phantom, si):
    masks = {n: phantom.fractions[i] > 0.02 for i, n in enumerate(phantom.names) if i}
    return siftem.Regions(si.shape, matrix="Brg", masks=masks)


@pytest.fixture(scope="module")
def unmixed(phantom, si, regions):
    elements = list(phantom.weight_fractions[0])
    return siftem.unmix(si, regions, anchors=ANCHORS, elements=elements, support=["Cu"])


def true_spectrum(phantom, name, size):
    return phantom.spectra[phantom.names.index(name)][-size:]


def test_spectra_are_nearer_to_the_truth_than_by_subtraction(phantom, si, regions, unmixed):
    elements = list(phantom.weight_fractions[0])
    matrix = siftem.integrate(si, regions.pure)
    for name, anchor in ANCHORS.items():
        mixture = siftem.integrate(si, regions.mixture(name))
        plain = siftem.subtract(mixture, matrix, anchor=anchor, elements=elements, support=["Cu"])
        far = spectral_angle(plain.values, true_spectrum(phantom, name, si.n_channels))
        joint = unmixed.spectra[name]
        near = spectral_angle(joint.values, true_spectrum(phantom, name, joint.axis.size))
        assert near < 0.6 * far


def test_maps_agree_with_the_true_abundances_within_their_errors(phantom, unmixed):
    for c, name in enumerate(unmixed.names):
        i = phantom.names.index(name)
        seen = np.isfinite(unmixed.maps[c]) & (unmixed.maps_sigma[c] > 0)
        pull = (unmixed.maps[c] - phantom.abundances[i])[seen] / unmixed.maps_sigma[c][seen]
        assert abs(np.median(pull)) < 0.5
        assert 0.55 < (np.abs(pull) < 1).mean() < 0.85


def test_what_was_assumed_is_kept(unmixed):
    assert unmixed.names[0] == "Brg"
    assert unmixed.converged
    assert unmixed.anchors["Fp"] == "no Si in the grain"
