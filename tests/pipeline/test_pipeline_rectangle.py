import numpy as np
import pytest

from siftem.errors import InputError
from siftem.pipeline.steps.composition import confined_rectangles
from siftem.segment.regions import Region


def test_rectangles_lie_inside_are_disjoint_and_of_one_size():
    rng = np.random.default_rng(0)
    mask = np.ones((100, 120), bool)
    for _ in range(6):
        y, x = rng.integers(0, 80, 2)
        mask[y : y + 12, x : x + 12] = False
    found = confined_rectangles(Region("pure", mask))
    assert len(found) > 3
    total = sum(r.mask.astype(int) for r in found)
    assert total.max() == 1
    assert not (total > 0)[~mask].any()
    assert {r.n_pixels for r in found} == {found[0].n_pixels}
    assert found[0].fraction == pytest.approx(0.03, rel=0.05)


def test_the_first_is_the_innermost():
    mask = np.zeros((100, 100), bool)
    mask[:20, :20] = True  # just fits
    mask[40:100, 40:100] = True  # far more room
    first = confined_rectangles(Region("pure", mask), share=0.03)[0]
    ys, xs = np.nonzero(first.mask)
    assert ys.min() > 40
    assert xs.min() > 40
    assert ys.max() < 99


def test_small_regions_get_small_rectangles_and_tiny_ones_none():
    mask = np.zeros((100, 100), bool)
    mask[10:16, 10:16] = True
    found = confined_rectangles(Region("pure", mask))
    assert 9 <= found[0].n_pixels <= 36
    mask[:] = False
    mask[5, 5] = True
    assert confined_rectangles(Region("pure", mask)) == ()


def test_a_given_rectangle_is_taken_as_it_is():
    region = Region("pure", np.ones((20, 30), bool))
    (only,) = confined_rectangles(region, given=(2, 3, 4, 5))
    assert only.mask[2:6, 3:8].all()
    assert only.n_pixels == 20
    with pytest.raises(InputError, match="does not lie within the map"):
        confined_rectangles(region, given=(18, 0, 5, 5))
