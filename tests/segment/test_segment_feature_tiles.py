"""Features computed tile by tile are those of the whole map."""

import numpy as np
import pytest

from siftem.segment import classifier, features
from siftem.segment.classifier import PixelClassifier
from siftem.segment.features import FeatureTiles, PixelFeatures, pixel_features
from siftem.segment.features import feature_tiles as prepared


@pytest.fixture
def images():
    rng = np.random.default_rng(4)
    grains = np.zeros((230, 40))
    grains[20:90, 5:20] = grains[130:200, 15:35] = 3.0
    return {"Fp": grains + rng.standard_normal(grains.shape), "counts": rng.random(grains.shape)}


@pytest.mark.parametrize("sigmas", [(1.0, 2.0, 4.0, 8.0), (0.7, 3.1)])
@pytest.mark.parametrize("bytes_", [1, 30_000_000])
def test_tiles_have_the_features_of_the_whole(images, sigmas, bytes_, monkeypatch):
    whole = pixel_features(images, sigmas=sigmas)
    monkeypatch.setattr(features, "_TILE", bytes_)
    tiles = prepared(images, sigmas=sigmas)
    assert tiles.names == whole.names
    assert tiles.shape == whole.shape
    joined = np.full(whole.shape, np.nan, np.float32)
    found = 0
    for lines, columns, values in tiles.tiles():
        assert np.isnan(joined[lines, columns]).all()
        joined[lines, columns] = values
        found += 1
    assert found > 4 if bytes_ == 1 else found == 1
    # The line filter goes through a Fourier transform, whose rounding depends on the size.
    np.testing.assert_allclose(joined, whole.values, atol=2e-5)
    where = np.zeros((230, 40), bool)
    where[[3, 117, 200, 3], [1, 39, 5, 38]] = True
    np.testing.assert_allclose(tiles.at(where), whole.at(where), atol=2e-5)


@pytest.mark.parametrize(("size", "cuts_lines"), [(1024, False), (4096, True)])
def test_tiles_of_wide_maps_keep_their_size(size, cuts_lines, monkeypatch):
    """Their margins must not grow with the width of the map."""
    tiles = prepared({"Fp": np.random.default_rng(0).random((size, size), np.float32)})
    sizes = []

    def measured(scaled):
        sizes.append(scaled.size)
        return np.zeros((*scaled.shape[1:], len(tiles.names)), np.float32)

    monkeypatch.setattr(tiles, "compute", measured)
    assert any(columns.stop < size for _, columns, _ in tiles.tiles()) == cuts_lines
    assert max(sizes) * 4 * len(tiles.names) <= 1.1 * features._TILE
    assert sum(sizes) < 2 * size**2


def test_a_large_map_is_classified_tile_by_tile(images, monkeypatch):
    traces = np.zeros((230, 40), np.int8)
    traces[30:60, 8:15] = 2
    traces[100:120] = 1
    whole = PixelClassifier(random_state=0, n_trees=30)
    computed = whole.compute_features(images)
    assert isinstance(computed, PixelFeatures)
    expected = whole.fit(computed, traces).predict_proba(computed)
    monkeypatch.setattr(classifier, "LARGEST_WHOLE", 1000)
    monkeypatch.setattr(features, "_TILE", 1)
    large = PixelClassifier(random_state=0, n_trees=30)
    tiles = large.compute_features(images)
    assert isinstance(tiles, FeatureTiles)
    found = large.fit(tiles, traces).predict_proba(tiles)
    # A feature on the very threshold of a tree may fall to the other side.
    assert (np.abs(found - expected) < 1e-6).mean() > 0.99
    assert (found.argmax(axis=0) == expected.argmax(axis=0)).mean() > 0.999
