"""Front door, names and matching of components."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from siftem import decompose, match_phases
from siftem.decomposition.factors import component_name
from siftem.decomposition.matching import Markers, line_strengths
from siftem.errors import InputError, SiftemWarning
from siftem.simulate.phantom import simulate

MARKERS = {
    "Ca-Pv": Markers(high=("Ca", "Nd"), absent=("Mg",)),
    "Fp": Markers(high=("Fe",), absent=("Si",)),
    "Brg": Markers(high=("Si", "Mg")),
}


@pytest.fixture(scope="module")
def phantom():
    return simulate(shape=(32, 32), dose=400, random_state=1)


@pytest.fixture(scope="module")
def factors(phantom):
    return decompose(phantom.spectrum_image, 3)


def test_shapes_names_and_totals(phantom, factors):
    assert factors.maps.shape == (3, 32, 32)
    assert factors.spectra.shape == (3, factors.axis.size)
    assert factors.axis.centers[0] >= 0.2 - 1e-9
    assert factors.names == ("A", "E", "G")
    np.testing.assert_allclose(factors.spectra.sum(axis=1), 1)
    totals = factors.maps.sum(axis=(1, 2))
    assert (np.diff(totals) <= 0).all()
    kept = phantom.spectrum_image.without_zero_peak().total_map()
    np.testing.assert_allclose(factors.maps.sum(axis=0), kept, rtol=0.02)
    np.testing.assert_allclose(factors.shares.sum(axis=0), 1, rtol=1e-9)


def test_match_finds_the_true_phases(phantom, factors):
    matched = match_phases(factors, MARKERS, beam_energy=200.0)
    assert matched.names == ("Ca-Pv", "Fp", "Brg")
    true = phantom.spectra[:, phantom.spectra.shape[1] - factors.axis.size :]
    true = true / np.linalg.norm(true, axis=1, keepdims=True)
    found = matched.spectra / np.linalg.norm(matched.spectra, axis=1, keepdims=True)
    rows, columns = linear_sum_assignment(-found @ true.T)
    assert tuple(phantom.names[c] for c in columns[np.argsort(rows)]) == matched.names


def test_match_does_not_depend_on_the_order(factors):
    straight = match_phases(factors, MARKERS, beam_energy=200.0)
    turned = match_phases(factors.reordered((2, 0, 1), ("A", "B", "C")), MARKERS, beam_energy=200.0)
    np.testing.assert_array_equal(straight.spectra, turned.spectra)


def test_unmatched_components_keep_a_letter(factors):
    matched = match_phases(factors, {"Fp": MARKERS["Fp"]}, beam_energy=200.0)
    assert matched.names[0] == "Fp"
    assert set(matched.names[1:]) <= {"A", "E", "G"}


def test_ambiguous_markers_are_said(factors):
    with pytest.warns(SiftemWarning, match="barely tell"):
        match_phases(
            factors,
            {"one": Markers(high=("O",)), "two": Markers(high=("O",))},
            beam_energy=200.0,
        )


def test_more_phases_than_components(factors):
    with pytest.raises(InputError, match="4 phases are named but there are only 3"):
        match_phases(factors, {**MARKERS, "more": Markers(high=("U",))}, beam_energy=200.0)


def test_line_strength_of_an_absent_element_is_small(phantom):
    true = line_strengths(
        phantom.spectra, phantom.spectrum_image.axis, ["Si", "Ca", "Fe"], beam_energy=200.0
    )
    names = list(phantom.names)
    assert true[names.index("Fp"), 0] < 0.01 * true[names.index("Brg"), 0]
    assert names[int(np.argmax(true[:, 1]))] == "Ca-Pv"
    assert names[int(np.argmax(true[:, 2]))] == "Fp"


def test_element_without_a_line_is_named(phantom):
    with pytest.raises(InputError, match="element H"):
        line_strengths(phantom.spectra, phantom.spectrum_image.axis, ["H"], beam_energy=200.0)


@pytest.mark.parametrize(
    ("k", "message"), [(0, "positive integer"), (2.5, "positive integer"), (5000, "fewer")]
)
def test_wrong_numbers_of_components(phantom, k, message):
    with pytest.raises(InputError, match=message):
        decompose(phantom.spectrum_image, k)


def test_component_names():
    assert [component_name(i) for i in (0, 1, 10, 11, 23)] == ["A", "E", "Z", "A2", "E3"]
