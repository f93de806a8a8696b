import zipfile

import numpy as np
import pytest
import roifile
import tifffile
from PIL import Image

from siftem.errors import InputError, ReadError
from siftem.io.imagej_rois import read_rois
from siftem.io.images import (
    read_label_image,
    read_probabilities,
    read_regions,
    write_label_image,
    write_regions,
)

SHAPE = (6, 9)


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, 4, SHAPE)


class TestLabels:
    @pytest.mark.parametrize("top", [3, 300])
    def test_round_trip(self, tmp_path, labels, top):
        labels = labels * top // 3
        write_label_image(tmp_path / "a.tif", labels)
        found = read_label_image(tmp_path / "a.tif", SHAPE)
        np.testing.assert_array_equal(found, labels)
        assert found.dtype == np.int32

    def test_png_npy_and_float_tiff(self, tmp_path, labels):
        Image.fromarray(labels.astype(np.uint8)).save(tmp_path / "grey.png")
        Image.fromarray(labels.astype(np.uint16) * 300).save(tmp_path / "deep.png")
        palette = Image.fromarray(labels.astype(np.uint8), mode="P")
        palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
        palette.save(tmp_path / "palette.png")
        Image.fromarray(np.stack([labels] * 3, -1).astype(np.uint8)).save(tmp_path / "rgb.png")
        np.save(tmp_path / "a.npy", labels)
        tifffile.imwrite(tmp_path / "fiji.tif", labels.astype(np.float32), imagej=True)
        for name in ("grey.png", "palette.png", "rgb.png", "a.npy", "fiji.tif"):
            np.testing.assert_array_equal(read_label_image(tmp_path / name, SHAPE), labels)
        deep = read_label_image(tmp_path / "deep.png", SHAPE)
        np.testing.assert_array_equal(deep, labels * 300)

    def test_what_is_not_a_label_image(self, tmp_path, labels):
        coloured = np.zeros((*SHAPE, 3), np.uint8)
        coloured[0, 0] = (255, 0, 0)
        Image.fromarray(coloured).save(tmp_path / "colour.png")
        np.save(tmp_path / "half.npy", labels + 0.5)
        np.save(tmp_path / "minus.npy", labels - 1)
        np.save(tmp_path / "turned.npy", labels.T)
        np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
        (tmp_path / "text.tif").write_text("hello")
        (tmp_path / "a.jpg").write_text("hello")
        for name, error, match in [
            ("colour.png", InputError, "colour image"),
            ("half.npy", InputError, "whole class numbers"),
            ("minus.npy", InputError, "from 0 to 65535, got -1 to 2"),
            ("turned.npy", InputError, r"must be 6 x 9 pixels \(y, x\) like the map, got 9 x 6"),
            ("objects.npy", ReadError, "usable .npy"),
            ("text.tif", ReadError, "usable .tif"),
            ("a.jpg", ReadError, "expected a .tif"),
            ("missing.tif", ReadError, "no such file"),
        ]:
            with pytest.raises(error, match=match):
                read_label_image(tmp_path / name, SHAPE)

    def test_labels_that_cannot_be_written(self, tmp_path, labels):
        for wrong, match in [
            (labels - 1, "between 0 and 65535"),
            (labels * 1e5, "integer array"),
            (labels[0], "integer array"),
        ]:
            with pytest.raises(InputError, match=match):
                write_label_image(tmp_path / "a.tif", wrong)
        with pytest.raises(InputError, match=r"end in \.tif"):
            write_label_image(tmp_path / "a.png", labels)


class TestRegions:
    def test_imagej_finds_names_and_pixel_size(self, tmp_path, labels):
        regions = {"pure Brg": labels == 0, "Fp": labels == 1, "Ca-Pv \u00d7 Fp": labels > 1}
        path = tmp_path / "regions.tif"
        write_regions(path, regions, pixel_size=(2.0, 1.6))
        with tifffile.TiffFile(path) as file:
            assert file.is_imagej
            assert file.imagej_metadata["unit"] == "nm"
            assert file.imagej_metadata["slices"] == 3
            assert file.imagej_metadata["Labels"] == list(regions)
            tags = file.pages[0].tags
            width = tags["XResolution"].value[1] / tags["XResolution"].value[0]
            height = tags["YResolution"].value[1] / tags["YResolution"].value[0]
            assert (height, width) == pytest.approx((2.0, 1.6))
            assert set(np.unique(file.asarray())) == {0, 255}
        found = read_regions(path, SHAPE)
        assert list(found) == list(regions)
        for name, mask in regions.items():
            np.testing.assert_array_equal(found[name], mask)

    def test_one_region_without_calibration(self, tmp_path, labels):
        write_regions(tmp_path / "a.tif", {"only": labels > 0})
        np.testing.assert_array_equal(read_regions(tmp_path / "a.tif", SHAPE)["only"], labels > 0)

    def test_stack_without_names(self, tmp_path, labels):
        tifffile.imwrite(tmp_path / "a.tif", np.stack([labels > 0, labels > 1]).astype(np.uint8))
        assert list(read_regions(tmp_path / "a.tif", SHAPE)) == ["region 1", "region 2"]
        with pytest.raises(InputError, match="like the map"):
            read_regions(tmp_path / "a.tif", (9, 6))

    @pytest.mark.parametrize(
        ("regions", "match"),
        [
            ({}, "at least one"),
            ({"a": np.ones((2, 2), bool), "b": np.ones((2, 3), bool)}, "one shape"),
            ({"a": np.ones((2, 2))}, "boolean"),
        ],
    )
    def test_wrong_regions(self, tmp_path, regions, match):
        with pytest.raises(InputError, match=match):
            write_regions(tmp_path / "a.tif", regions)


class TestProbabilities:
    @pytest.fixture
    def expected(self):
        p = np.random.default_rng(2).random((3, *SHAPE)) + 0.01
        return p / p.sum(axis=0)

    def test_classes_first_or_last_and_in_bytes(self, tmp_path, expected):
        np.save(tmp_path / "a.npy", expected)
        np.save(tmp_path / "ilastik.npy", np.moveaxis(expected, 0, -1))
        tifffile.imwrite(tmp_path / "fiji.tif", expected.astype(np.float32), imagej=True)
        as_bytes = np.rint(expected * 255).astype(np.uint8)
        tifffile.imwrite(tmp_path / "bytes.tif", as_bytes, photometric="minisblack")
        for name, tolerance in [
            ("a.npy", 1e-12),
            ("ilastik.npy", 1e-12),
            ("fiji.tif", 1e-6),
            ("bytes.tif", 5e-3),
        ]:
            found = read_probabilities(tmp_path / name, SHAPE)
            np.testing.assert_allclose(found, expected, atol=tolerance)
            np.testing.assert_allclose(found.sum(axis=0), 1.0)

    def test_what_is_not_a_probability(self, tmp_path, expected):
        cases = {
            "one.npy": (expected[:1], "two or more classes"),
            "size.npy": (expected[:, :4], "6 x 9 pixels"),
            "large.npy": (expected * 2, "between 0 and 1"),
            "nan.npy": (np.where(expected > 0.9, np.nan, -1.0), "between 0 and 1"),
            "zero.npy": (expected * 0, "every probability is 0"),
            "int.npy": ((expected * 9).astype(np.int64), "dtype int64"),
        }
        for name, (values, match) in cases.items():
            np.save(tmp_path / name, values)
            with pytest.raises(InputError, match=match):
                read_probabilities(tmp_path / name, SHAPE)


class TestRois:
    def rect(self, left, top, right, bottom, name, kind=roifile.ROI_TYPE.RECT):
        roi = roifile.ImagejRoi()
        roi.roitype, roi.name = kind, name
        roi.version, roi.left, roi.top, roi.right, roi.bottom = 228, left, top, right, bottom
        return roi

    def save(self, path, *rois):
        with zipfile.ZipFile(path, "w") as file:
            for number, roi in enumerate(rois):
                file.writestr(f"{number}.roi", roi.tobytes())
        return path

    def test_rectangle_polygon_and_ellipse(self, tmp_path):
        corners = np.array([[1, 1], [7, 1], [7, 4], [1, 4]])
        path = self.save(
            tmp_path / "a.zip",
            self.rect(2, 1, 6, 4, "box"),
            roifile.ImagejRoi.frompoints(corners, name="polygon"),
            self.rect(0, 0, 6, 6, "disc", roifile.ROI_TYPE.OVAL),
        )
        masks = read_rois(path, SHAPE)
        assert list(masks) == ["box", "polygon", "disc"]
        box = np.zeros(SHAPE, bool)
        box[1:4, 2:6] = True
        np.testing.assert_array_equal(masks["box"], box)
        polygon = np.zeros(SHAPE, bool)
        polygon[1:4, 1:7] = True
        np.testing.assert_array_equal(masks["polygon"], polygon)
        # Centres within 3 of (3, 3): the 6 x 6 square without one pixel at each corner.
        disc = np.zeros(SHAPE, bool)
        disc[:6, :6] = True
        disc[[0, 0, 5, 5], [0, 5, 0, 5]] = False
        np.testing.assert_array_equal(masks["disc"], disc)

    def test_composite_keeps_its_hole(self, tmp_path):
        roi = self.rect(1, 1, 7, 6, "ring")
        moves = [(1, 1), (7, 1), (7, 6), (1, 6)], [(3, 2), (5, 2), (5, 4), (3, 4)]
        path = []
        for corners in moves:
            for number, (x, y) in enumerate(corners):
                path += [0 if number == 0 else 1, x, y]
            path.append(4)
        roi.multi_coordinates = np.array(path, np.float32)
        roi.shape_roi_size = len(path)
        roi.roitype = roifile.ROI_TYPE.RECT
        ring = np.zeros(SHAPE, bool)
        ring[1:6, 1:7] = True
        ring[2:4, 3:5] = False
        found = read_rois(self.save(tmp_path / "a.zip", roi), SHAPE)["ring"]
        np.testing.assert_array_equal(found, ring)

    def test_lines_and_points(self, tmp_path):
        line = self.rect(0, 0, 0, 0, "line", roifile.ROI_TYPE.LINE)
        line.x1, line.y1, line.x2, line.y2 = 1.5, 2.5, 7.5, 2.5
        thick = self.rect(0, 0, 0, 0, "thick", roifile.ROI_TYPE.LINE)
        thick.x1, thick.y1, thick.x2, thick.y2 = 1.5, 2.5, 7.5, 2.5
        thick.stroke_width = 3
        points = roifile.ImagejRoi.frompoints(np.array([[0, 0], [8, 5]]), name="points")
        points.roitype = roifile.ROI_TYPE.POINT
        masks = read_rois(self.save(tmp_path / "a.zip", line, thick, points), SHAPE)
        thin = np.zeros(SHAPE, bool)
        thin[2, 1:8] = True
        np.testing.assert_array_equal(masks["line"], thin)
        assert masks["thick"][1:4, 2:7].all()
        assert not masks["thick"][[0, 4], :].any()
        assert np.argwhere(masks["points"]).tolist() == [[0, 0], [5, 8]]

    def test_names_single_files_and_clipping(self, tmp_path):
        path = self.save(
            tmp_path / "a.zip", self.rect(0, 0, 2, 2, "Fp"), self.rect(7, 4, 30, 30, "Fp")
        )
        masks = read_rois(path, SHAPE)
        assert list(masks) == ["Fp", "Fp 2"]
        assert masks["Fp 2"].sum() == 2 * 2
        (tmp_path / "one.roi").write_bytes(self.rect(0, 0, 2, 1, "x").tobytes())
        assert next(iter(read_rois(tmp_path / "one.roi", SHAPE).values())).sum() == 2

    def test_errors(self, tmp_path):
        with pytest.raises(InputError, match="covers no pixel of the 6 x 9 map"):
            read_rois(self.save(tmp_path / "far.zip", self.rect(50, 50, 60, 60, "x")), SHAPE)
        with pytest.raises(InputError, match="no outline"):
            read_rois(self.save(tmp_path / "empty.zip"), SHAPE)
        (tmp_path / "text.zip").write_text("hello")
        with pytest.raises(ReadError, match="not an ImageJ"):
            read_rois(tmp_path / "text.zip", SHAPE)
        with pytest.raises(ReadError, match="no such file"):
            read_rois(tmp_path / "missing.zip", SHAPE)
