"""Features computed strip by strip are those of the whole map."""

import numpy as np
import pytest

from siftem.segment import classifier, feature_strips
from siftem.segment.classifier import PixelClassifier
from siftem.segment.feature_strips import FeatureStrips
from siftem.segment.features import PixelFeatures, pixel_features
from siftem.segment.features import feature_strips as prepared


@pytest.fixture
def images():
    rng = np.random.default_rng(4)
    grains = np.zeros((230, 40))
    grains[20:90, 5:20] = grains[130:200, 15:35] = 3.0
    return {"Fp": grains + rng.standard_normal(grains.shape), "counts": rng.random(grains.shape)}


@pytest.mark.parametrize("sigmas", [(1.0, 2.0, 4.0, 8.0), (0.7, 3.1)])
def test_strips_have_the_features_of_the_whole(images, sigmas, monkeypatch):
    whole = pixel_features(images, sigmas=sigmas)
    monkeypatch.setattr(feature_strips, "_STRIP", 1)
    strips = prepared(images, sigmas=sigmas)
    assert strips.names == whole.names
    assert strips.shape == whole.shape
    found = list(strips.strips())
    assert len(found) > 2
    assert [first for first, _, _ in found[1:]] == [last for _, last, _ in found[:-1]]
    joined = np.concatenate([values for _, _, values in found])
    # The line filter goes through a Fourier transform, whose rounding depends on the size.
    np.testing.assert_allclose(joined, whole.values, atol=2e-5)
    where = np.zeros((230, 40), bool)
    where[[3, 117, 200], [1, 39, 5]] = True
    np.testing.assert_allclose(strips.at(where), whole.at(where), atol=2e-5)


def test_a_large_map_is_classified_strip_by_strip(images, monkeypatch):
    traces = np.zeros((230, 40), np.int8)
    traces[30:60, 8:15] = 2
    traces[100:120] = 1
    whole = PixelClassifier(random_state=0, n_trees=30)
    features = whole.compute_features(images)
    assert isinstance(features, PixelFeatures)
    expected = whole.fit(features, traces).predict_proba(features)
    monkeypatch.setattr(classifier, "LARGEST_WHOLE", 1000)
    monkeypatch.setattr(feature_strips, "_STRIP", 1)
    large = PixelClassifier(random_state=0, n_trees=30)
    strips = large.compute_features(images)
    assert isinstance(strips, FeatureStrips)
    found = large.fit(strips, traces).predict_proba(strips)
    # A feature on the very threshold of a tree may fall to the other side.
    assert (np.abs(found - expected) < 1e-6).mean() > 0.99
    assert (found.argmax(axis=0) == expected.argmax(axis=0)).mean() > 0.999
