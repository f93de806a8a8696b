"""Masks written as ImageJ outlines come back as the very same pixels."""

import numpy as np
import pytest
import roifile

from siftem.errors import InputError
from siftem.io.imagej_outlines import pixel_outlines, write_rois
from siftem.io.imagej_rois import read_rois


def test_outlines_of_one_pixel_and_of_a_hole():
    one = np.zeros((3, 4), bool)
    one[1, 2] = True
    (loop,) = pixel_outlines(one)
    assert sorted(loop) == [(2, 1), (2, 2), (3, 1), (3, 2)]
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    assert sorted(len(loop) for loop in pixel_outlines(ring)) == [4, 4]


@pytest.mark.parametrize("seed", range(5))
def test_masks_come_back(tmp_path, seed):
    rng = np.random.default_rng(seed)
    shape = (23, 31)
    masks = {f"mixture {i}": rng.random(shape) < p for i, p in enumerate((0.02, 0.5, 0.9))}
    masks["everything"] = np.ones(shape, bool)
    masks["nothing"] = np.zeros(shape, bool)
    write_rois(tmp_path / "regions.zip", masks)
    found = read_rois(tmp_path / "regions.zip", shape)
    assert set(found) == set(masks) - {"nothing"}
    for name, mask in found.items():
        np.testing.assert_array_equal(mask, masks[name])
    roi = roifile.roiread(tmp_path / "regions.zip")[0]
    assert roi.composite


def test_what_cannot_be_written_is_told(tmp_path):
    with pytest.raises(InputError, match=r"\.zip"):
        write_rois(tmp_path / "a.roi", {"a": np.ones((2, 2), bool)})
    with pytest.raises(InputError, match="none of the regions"):
        write_rois(tmp_path / "a.zip", {"a": np.zeros((2, 2), bool)})
    with pytest.raises(InputError, match="boolean"):
        write_rois(tmp_path / "a.zip", {"a": np.ones((2, 2))})
