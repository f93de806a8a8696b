"""Products between neighbouring pixels, against sums over all pairs."""

import numpy as np
import pytest

from siftem.decomposition.neighbours import ALONG, AROUND, ROWS, Near, Neighbours


@pytest.mark.parametrize("shape", [(9, 14), (2, 30), (6, 5)])
@pytest.mark.parametrize("near", [AROUND[1], ROWS[1], ALONG[2], Near(0.7, 2.0, 30.0)])
def test_products_are_those_of_all_pairs(shape, near):
    images = np.random.default_rng(4).normal(size=(shape[0] * shape[1], 3))
    y, x = (a.ravel() for a in np.mgrid[: shape[0], : shape[1]])
    weights = np.zeros((y.size, y.size))
    kernel = near.weights()
    for p in range(y.size):
        dy, dx = y - y[p] + near.reach, x - x[p] + near.reach
        there = (dy >= 0) & (dx >= 0) & (dy <= 2 * near.reach) & (dx <= 2 * near.reach)
        weights[p, there] = kernel[dy[there], dx[there]]
    np.fill_diagonal(weights, 0.0)
    found = Neighbours(images, shape, (near, ALONG[0])).in_common(near)
    np.testing.assert_allclose(found, images.T @ weights @ images, atol=1e-5)


def test_a_mean_over_neighbours_can_leave_the_pixel_out():
    image = np.zeros((21, 21))
    image[10, 10] = 1.0
    near = Near(0.6, 3.0)
    assert near.smoothed(image)[10, 10] == pytest.approx(near.weights()[near.reach, near.reach])
    alone = near.smoothed(image, itself=False)
    assert alone[10, 10] == pytest.approx(0.0, abs=1e-12)
    assert alone.sum() == pytest.approx(1.0, rel=0.01)
    assert alone[10, 13] > 100 * alone[13, 10]
