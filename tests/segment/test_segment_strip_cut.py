"""Cutting strip by strip gives the labels of the whole map."""

import numpy as np
import pytest
from potts import potts_energy
from scipy.ndimage import gaussian_filter

from siftem.segment import graph_cut as whole_cut
from siftem.segment import strip_cut
from siftem.segment.graph_cut import contrast_weights, graph_cut


@pytest.fixture
def probabilities():
    rng = np.random.default_rng(8)
    field = gaussian_filter(rng.standard_normal((300, 60)), 6)
    p = 1 / (1 + np.exp(-(60 * field + 2.5 * rng.standard_normal(field.shape))))
    return np.stack([1 - p, p])


def in_strips(monkeypatch, margin):
    monkeypatch.setattr(whole_cut, "LARGEST_WHOLE", 100)
    monkeypatch.setattr(strip_cut, "_STRIP", 60 * 50)
    monkeypatch.setattr(strip_cut, "_MARGIN", margin)


@pytest.mark.parametrize("margin", [1, 3, 20])
@pytest.mark.parametrize("smoothness", [0.3, 2.0, 8.0])
def test_strips_give_the_labels_of_the_whole(probabilities, monkeypatch, margin, smoothness):
    choices = [None, contrast_weights(gaussian_filter(probabilities[1], 2))]
    expected = [graph_cut(probabilities, smoothness=smoothness, weights=w) for w in choices]
    assert all(0.1 < labels.mean() < 0.9 for labels in expected)
    in_strips(monkeypatch, margin)
    for weights, labels in zip(choices, expected, strict=True):
        found = graph_cut(probabilities, smoothness=smoothness, weights=weights)
        np.testing.assert_array_equal(found, labels)


def test_where_labellings_are_equally_good_the_energy_is_that_of_the_whole(
    probabilities, monkeypatch
):
    rounded = np.clip(np.round(probabilities, 1), 0.1, 0.9)
    expected = graph_cut(rounded, smoothness=0.3)
    in_strips(monkeypatch, 3)
    found = graph_cut(rounded, smoothness=0.3)
    energies = [potts_energy(labels, rounded, 0.3) for labels in (found, expected)]
    assert energies[0] == pytest.approx(energies[1], rel=1e-9)


@pytest.mark.parametrize("neighbourhood", [4, 8])
def test_pixels_that_no_strip_settles_are_cut_together(monkeypatch, neighbourhood):
    """A flat map: whatever is held around a strip fills it, so that all is left to the end."""
    p = np.full((2, 40, 30), 0.5)
    p[1, 20, 10] = 0.9
    p[0, 20, 10] = 0.1
    expected = graph_cut(p, smoothness=1.0, neighbourhood=neighbourhood)
    in_strips(monkeypatch, 2)
    monkeypatch.setattr(strip_cut, "_STRIP", 30 * 12)
    found = graph_cut(p, smoothness=1.0, neighbourhood=neighbourhood)
    np.testing.assert_array_equal(found, expected)
