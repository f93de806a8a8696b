"""Regions out to other programs and back, and spectra summed over any of them."""

import zipfile

import numpy as np
import pytest
import roifile
import scipy.sparse as sp
import tifffile

from siftem import EnergyAxis, Regions, SpectrumImage
from siftem.errors import InputError, ReadError
from siftem.io.imagej_rois import (
    mask_outlines,
    read_rois,
    region_masks,
    stroke_mask,
    sum_spectra,
    write_rois,
)
from siftem.io.images import (
    read_label_image,
    read_pixel_size,
    read_probabilities,
    write_label_image,
    write_probabilities,
    write_regions,
)

SHAPE = (6, 9)


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, 4, SHAPE)


@pytest.fixture
def si():
    counts = np.random.default_rng(1).poisson(2.0, (54, 30))
    return SpectrumImage(sp.csr_array(counts), SHAPE, EnergyAxis(0.2, 0.01, 30, "keV"))


class TestTiff:
    def test_labels_carry_their_pixel_size(self, tmp_path, labels):
        path = tmp_path / "labels.tif"
        write_label_image(path, labels, pixel_size=(2.0, 1.6))
        assert read_pixel_size(path) == pytest.approx((2.0, 1.6))
        np.testing.assert_array_equal(read_label_image(path, SHAPE), labels)
        with tifffile.TiffFile(path) as file:
            assert file.is_imagej
        write_label_image(path, labels)
        assert read_pixel_size(path) is None

    def test_probabilities_are_slices_with_names(self, tmp_path):
        p = np.random.default_rng(2).dirichlet((1, 1, 1), SHAPE).transpose(2, 0, 1)
        path = tmp_path / "p.tif"
        write_probabilities(path, p, ("Brg", "Fp", "Ca-Pv"), pixel_size=(1.72, 1.72))
        np.testing.assert_allclose(read_probabilities(path, SHAPE), p, atol=1e-6)
        assert read_pixel_size(path) == pytest.approx((1.72, 1.72))
        with tifffile.TiffFile(path) as file:
            assert file.imagej_metadata["Labels"] == ["Brg", "Fp", "Ca-Pv"]
            assert file.asarray().dtype == np.float32

    @pytest.mark.parametrize(
        ("unit", "nm"), [("nm", 1), ("\\u00B5m", 1e3), ("micron", 1e3), ("furlong", 0)]
    )
    def test_units_of_imagej(self, tmp_path, labels, unit, nm):
        image = labels.astype(np.uint8)
        tifffile.imwrite(
            tmp_path / "a.tif", image, imagej=True, resolution=(4, 2), metadata={"unit": unit}
        )
        expected = pytest.approx((nm / 2, nm / 4)) if nm else None
        assert read_pixel_size(tmp_path / "a.tif") == expected

    def test_what_cannot_be_written_or_read(self, tmp_path):
        good = np.full((2, *SHAPE), 0.5)
        for p, names, match in [
            (good[0], (), "shape"),
            (good * 3, (), "between 0 and 1"),
            (good * np.nan, (), "between 0 and 1"),
            (good, ("a",), "2 classes, got 1"),
        ]:
            with pytest.raises(InputError, match=match):
                write_probabilities(tmp_path / "p.tif", p, names)
        with pytest.raises(InputError, match="pixel_size"):
            write_probabilities(tmp_path / "p.tif", good, pixel_size=(0.0, 1.0))
        (tmp_path / "text.tif").write_text("hello")
        with pytest.raises(ReadError, match="usable TIFF"):
            read_pixel_size(tmp_path / "text.tif")


class TestOutlines:
    @pytest.mark.parametrize("seed", range(6))
    def test_masks_come_back_pixel_for_pixel(self, tmp_path, seed):
        rng = np.random.default_rng(seed)
        masks = {
            "holes and islands": rng.random((13, 17)) < (0.5, 0.2, 0.9)[seed % 3],
            "all": np.ones((13, 17), bool),
            "one": np.eye(13, 17, dtype=bool) & (np.arange(17) == 4),
        }
        write_rois(tmp_path / "a.zip", masks)
        found = read_rois(tmp_path / "a.zip", (13, 17))
        assert list(found) == list(masks)
        for name, mask in masks.items():
            np.testing.assert_array_equal(found[name], mask)

    def test_a_ring_has_two_outlines_that_run_opposite_ways(self):
        ring = np.ones((3, 3), bool)
        ring[1, 1] = False
        outer, hole = mask_outlines(ring)
        assert {tuple(c) for c in outer.tolist()} == {(0, 0), (3, 0), (3, 3), (0, 3)}
        assert {tuple(c) for c in hole.tolist()} == {(1, 1), (2, 1), (2, 2), (1, 2)}
        areas = []
        for loop in (outer, hole):
            x, y = loop.T
            areas.append((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)
        # With y downwards, a clockwise outline has a positive area.
        assert areas == [9.0, -1.0]

    def test_pixels_that_touch_at_a_corner_have_outlines_of_their_own(self):
        loops = mask_outlines(np.eye(2, dtype=bool))
        assert [len(loop) for loop in loops] == [4, 4]

    def test_the_box_is_that_of_the_outline(self, tmp_path):
        mask = np.zeros(SHAPE, bool)
        mask[1:4, 2:8] = True
        write_rois(tmp_path / "a.zip", {"box": mask})
        with zipfile.ZipFile(tmp_path / "a.zip") as file:
            roi = roifile.ImagejRoi.frombytes(file.read("0001.roi"))
        assert (roi.left, roi.top, roi.right, roi.bottom) == (2, 1, 8, 4)
        assert roi.name == "box"

    def test_what_has_no_outline(self, tmp_path):
        empty = np.zeros(SHAPE, bool)
        with pytest.raises(InputError, match="nothing to outline"):
            write_rois(tmp_path / "a.zip", {"a": empty})
        with pytest.raises(InputError, match="boolean"):
            write_rois(tmp_path / "a.zip", {"a": empty.astype(int)})
        with pytest.raises(InputError, match=r"end in \.zip"):
            write_rois(tmp_path / "a.roi", {"a": ~empty})


class TestSums:
    def expected(self, si, mask):
        return np.asarray(si.counts.todense())[np.asarray(mask).ravel()].sum(axis=0)

    def check(self, si, found, masks):
        assert list(found) == list(masks)
        for name, mask in masks.items():
            np.testing.assert_array_equal(found[name].values, self.expected(si, mask))
            assert found[name].n_pixels == mask.sum()

    def test_arrays(self, si, labels):
        by_label = {f"label {n}": labels == n for n in (1, 2, 3)}
        self.check(si, sum_spectra(si, labels), by_label)
        self.check(si, sum_spectra(si, labels > 1), {"region": labels > 1})
        self.check(si, sum_spectra(si, {"Fp": labels == 2}), {"Fp": labels == 2})
        p = np.random.default_rng(3).random((2, *SHAPE))
        self.check(si, sum_spectra(si, p), {"class 1": p[0] >= p[1], "class 2": p[1] > p[0]})

    def test_regions(self, si, labels):
        regions = Regions(SHAPE, matrix="Brg", masks={"Fp": labels == 1, "Ca": labels >= 2})
        masks = {name: r.mask for name, r in regions.as_dict().items() if r}
        assert "intersection" not in masks
        self.check(si, sum_spectra(si, regions), masks)
        self.check(si, sum_spectra(si, regions.pure), {regions.pure.name: regions.pure.mask})

    def test_files(self, si, labels, tmp_path):
        by_label = {f"label {n}": labels == n for n in (1, 2, 3)}
        write_label_image(tmp_path / "labels.tif", labels)
        np.save(tmp_path / "labels.npy", labels)
        for name in ("labels.tif", "labels.npy"):
            self.check(si, sum_spectra(si, tmp_path / name), by_label)
        masks = {"Fp": labels == 1, "Ca-Pv": labels > 1}
        write_regions(tmp_path / "regions.tif", masks)
        self.check(si, sum_spectra(si, str(tmp_path / "regions.tif")), masks)
        write_rois(tmp_path / "rois.zip", masks)
        self.check(si, sum_spectra(si, tmp_path / "rois.zip"), masks)
        p = np.random.default_rng(3).dirichlet((1, 1), SHAPE).transpose(2, 0, 1)
        write_probabilities(tmp_path / "p.tif", p)
        np.save(tmp_path / "p.npy", p)
        most = {"class 1": p[0] > p[1], "class 2": p[1] > p[0]}
        for name in ("p.tif", "p.npy"):
            self.check(si, sum_spectra(si, tmp_path / name), most)

    @pytest.mark.parametrize(
        ("regions", "match"),
        [
            (np.zeros(SHAPE, int), "no region holds any pixel"),
            (np.zeros(SHAPE), "must be masks"),
            (np.full(SHAPE, -1), "negative"),
            (np.zeros((6, 8), bool), "boolean of shape"),
            ({"a": np.zeros(SHAPE, int)}, "boolean"),
            (np.full((2, *SHAPE), np.nan), "NaN"),
            (np.array("x"), "must be masks"),
        ],
    )
    def test_what_is_no_region(self, si, regions, match):
        with pytest.raises(InputError, match=match):
            sum_spectra(si, regions)

    def test_a_missing_or_damaged_file(self, tmp_path):
        (tmp_path / "text.tif").write_text("hello")
        (tmp_path / "text.npy").write_text("hello")
        for name in ("none.tif", "none.npy", "none.zip", "text.tif", "text.npy", "a.doc"):
            with pytest.raises(ReadError, match="cannot read"):
                region_masks(tmp_path / name, SHAPE)


@pytest.mark.parametrize("row", [1.5, 2.5])
def test_a_stroke_along_the_border_of_two_rows_takes_the_second(row):
    found = stroke_mask(np.array([[row, 0.0], [row, 3.0]]), 0.0, (5, 5))
    expected = np.zeros((5, 5), bool)
    expected[int(row + 0.5), :4] = True
    np.testing.assert_array_equal(found, expected)
