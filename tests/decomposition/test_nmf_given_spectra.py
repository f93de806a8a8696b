"""Maps for spectra that are known beforehand."""

from dataclasses import replace

import numpy as np
import pytest

from siftem.decomposition.factors import decompose
from siftem.decomposition.shared_spectra import fit_maps
from siftem.errors import InputError
from siftem.simulate.phantom import simulate_demo


@pytest.fixture(scope="module")
def phantom():
    return simulate_demo((16, 20), channels=300, dose=80, random_state=3)


def by_expectation_maximisation(counts, spectra, n=20000):
    """Slow and simple: multiplicative steps, which never raise the divergence."""
    weights = np.full((len(counts), len(spectra)), counts.sum(axis=1, keepdims=True) / 3)
    for _ in range(n):
        weights *= (counts / (weights @ spectra)) @ spectra.T
    return weights


def test_maps_are_those_of_the_greatest_likelihood(phantom):
    si, spectra = phantom.spectrum_image, phantom.spectra
    found = fit_maps(si, 7 * spectra, names=("a", "b", "c"))
    some = [0, 17, 100, 319]
    expected = by_expectation_maximisation(si.counts[some].toarray(), found.spectra)
    np.testing.assert_allclose(found.maps.reshape(3, -1).T[some], expected, atol=1e-3, rtol=1e-3)
    np.testing.assert_allclose(found.spectra.sum(axis=1), 1)
    np.testing.assert_allclose(found.maps.sum(axis=0), si.total_map(), rtol=1e-5)
    assert found.names == ("a", "b", "c")


def test_the_maps_of_a_factorisation_come_again_from_its_spectra(phantom):
    si = phantom.spectrum_image.without_zero_peak()
    whole = decompose(si, 3)
    again = fit_maps(si, whole.spectra)
    np.testing.assert_allclose(again.maps, whole.maps, atol=1e-5 * whole.maps.max())
    assert again.deviance == pytest.approx(whole.deviance, rel=1e-7)


def test_counts_where_all_spectra_are_empty_do_no_harm(phantom):
    si = phantom.spectrum_image
    spectra = phantom.spectra.copy()
    channel = int(si.sum_spectrum().argmax())
    spectra[:, channel] = 0
    found = fit_maps(si, spectra)
    assert np.isfinite(found.deviance)
    assert np.isfinite(found.maps).all()


def test_what_is_refused(phantom):
    si = phantom.spectrum_image
    with pytest.raises(InputError, match=r"must have shape \(k, 300\)"):
        fit_maps(si, phantom.spectra[:, 1:])
    for bad in (-phantom.spectra, phantom.spectra * np.nan, np.zeros((2, 300))):
        with pytest.raises(InputError, match="none of them empty"):
            fit_maps(si, bad)


def test_an_empty_map(phantom):
    si = phantom.spectrum_image
    empty = replace(si, counts=si.counts * 0)
    assert not fit_maps(empty, phantom.spectra).maps.any()
