"""Painted traces of a recipe: shapes, label images, outlines, saved classifiers."""

import numpy as np
import pytest
import roifile
import tifffile
from small_demo import small_demo

from siftem.errors import InputError
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.recipe_sections import Shape
from siftem.pipeline.steps.segment import grain_traces, painted_masks, shape_mask
from siftem.pipeline.summary import summary_text
from siftem.pipeline.workflow import Workflow
from siftem.report.folder import export

SHAPE = (20, 30)
PHASES = ("Brg", "Fp", "Ca-Pv")


def test_a_polygon_holds_the_pixels_whose_centre_is_inside():
    square = Shape(polygon=[(1.5, 2.5), (1.5, 6.5), (4.5, 6.5), (4.5, 2.5)])
    expected = np.zeros(SHAPE, bool)
    expected[2:5, 3:7] = True
    assert np.array_equal(shape_mask(square, SHAPE), expected)


def test_a_line_holds_the_pixels_within_half_its_width():
    points = [(3.0, 4.0), (3.0, 12.0), (10.0, 12.0)]
    mask = shape_mask(Shape(line=points, width=3), SHAPE)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    near_first = np.hypot(y - 3, x - np.clip(x, 4, 12)) <= 1.5
    near_second = np.hypot(y - np.clip(y, 3, 10), x - 12) <= 1.5
    assert np.array_equal(mask, near_first | near_second)


def test_a_thin_line_has_no_holes():
    mask = shape_mask(Shape(line=[(0, 0), (13, 29)]), SHAPE)
    assert mask.any(axis=0).all()
    assert mask[0, 0] and mask[13, 29]
    assert mask.sum() < 45
    dot = shape_mask(Shape(line=[(4, 5)]), SHAPE)
    assert np.argwhere(dot).tolist() == [[4, 5]]


def test_runs_and_pixels():
    runs = shape_mask(Shape(runs=[(2, 3, 6), (4, 0, 0)]), SHAPE)
    pixels = shape_mask(Shape(pixels=[(2, 3), (2, 4), (2, 5), (2, 6), (4, 0)]), SHAPE)
    assert np.array_equal(runs, pixels)
    assert runs.sum() == 5


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"pixels": [(20, 0)]}, "does not have"),
        ({"runs": [(0, 5, 30)]}, "does not have"),
        ({"runs": [(0, 5, 3)]}, "does not have"),
        ({"line": [(-9, -9), (-5, -5)]}, "covers no pixel"),
        ({"line": [(2, 2), (2, 1e12)]}, "millions of pixels away"),
        ({"polygon": [(40, 40), (40, 50), (50, 50)]}, "covers no pixel"),
    ],
)
def test_shapes_outside_the_map(shape, message):
    with pytest.raises(InputError, match=message):
        shape_mask(Shape(**shape), SHAPE)


def test_a_pixel_painted_as_two_phases_holds_both():
    masks = painted_masks(
        {
            "Brg": [Shape(runs=[(0, 0, 4)])],
            "Fp": [Shape(runs=[(5, 0, 4)])],
            "Ca-Pv": [Shape(runs=[(5, 3, 8)])],
        },
        SHAPE,
        PHASES,
    )
    fp, ca_pv = grain_traces(masks, ("Fp", "Ca-Pv"))
    assert fp[5, 3] == ca_pv[5, 3] == 2
    assert (fp[5, 6], ca_pv[5, 6]) == (1, 2)
    assert fp[0, 0] == ca_pv[0, 0] == 1
    assert fp[10, 10] == 0


def test_outlines_of_imagej_by_name(tmp_path):
    rois = []
    for name, box in (("Fp", (2, 3, 6, 8)), ("Fp-1", (10, 3, 12, 8)), ("Brg 2", (14, 14, 16, 20))):
        top, left, bottom, right = box
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        roi = roifile.ImagejRoi.frompoints(corners, name=name)
        roi.roitype = roifile.ROI_TYPE.POLYGON
        rois.append(roi)
    path = tmp_path / "traces.zip"
    roifile.roiwrite(path, rois)
    masks = painted_masks(str(path), SHAPE, PHASES)
    assert set(masks) == {"Fp", "Brg"}
    assert masks["Fp"].sum() == 4 * 5 + 2 * 5
    assert masks["Fp"][2:6, 3:8].all()
    with pytest.raises(InputError, match="'Brg 2' bears no phase's name"):
        painted_masks(str(path), SHAPE, ("Fp", "X"))


def test_a_label_image_by_number(tmp_path):
    labels = np.zeros(SHAPE, np.uint8)
    labels[1, 1], labels[2, 2] = 1, 3
    path = tmp_path / "labels.tif"
    tifffile.imwrite(path, labels)
    masks = painted_masks(str(path), SHAPE, PHASES)
    assert set(masks) == {"Brg", "Ca-Pv"}
    with pytest.raises(InputError, match="label 3, but there are only 2 phases"):
        painted_masks(str(path), SHAPE, ("Brg", "Fp"))


def test_what_must_be_painted():
    painted = {"Fp": np.eye(4, dtype=bool)}
    with pytest.raises(InputError, match="no pixel of Ca-Pv and Stv: paint"):
        grain_traces(painted, ("Ca-Pv", "Fp", "Stv"))
    with pytest.raises(InputError, match="Fp only"):
        grain_traces(painted, ("Fp",))
    with pytest.raises(InputError, match="traces are empty"):
        grain_traces({}, ("Fp",))
    with pytest.raises(InputError, match="painted for 'X'"):
        painted_masks({"X": [Shape(pixels=[(0, 0)])]}, SHAPE, PHASES)


@pytest.fixture(scope="module")
def painted():
    """A workflow of the demo, with strokes where its phases truly are."""
    work = Workflow(small_demo(shape=(64, 64), random_state=1))
    phantom = work.run("load").phantom
    traces = {}
    clear = [phantom.mask(n, at_least=0.3) for n in ("Fp", "Ca-Pv")]
    nothing = ~phantom.mask("Fp", at_least=0.02) & ~phantom.mask("Ca-Pv", at_least=0.02)
    rng = np.random.default_rng(0)
    for name, mask in zip(("Brg", "Fp", "Ca-Pv"), (nothing, *clear), strict=True):
        where = rng.choice(np.flatnonzero(mask), 60, replace=False)
        traces[name] = {"pixels": [[int(i // 64), int(i % 64)] for i in where]}
    # What the phases are made of is not looked at here.
    work.change(
        segment={"traces": traces, "trees": 30}, elements=["O", "Mg", "Al", "Si", "Ca", "Fe"]
    )
    return work


def test_painted_shapes_in_the_recipe_lead_to_the_grains(painted):
    result = painted.result()
    assert result.segmentation.painted
    assert min(result.truth.overlap.values()) > 0.75


@pytest.fixture(scope="module")
def exported(painted, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("siftem.report.folder.figure_jobs", lambda result, kind: {})
        return export(painted, tmp_path_factory.mktemp("painted") / "out")


@pytest.mark.usefixtures("fitted_anew")
def test_the_recipe_of_a_painted_run_gives_the_same_numbers(exported):
    from siftem.pipeline.recipe import read_recipe

    folder = exported
    again = Workflow(read_recipe(folder / "recipe.yaml"))
    assert summary_text(again.result()) == (folder / "summary.json").read_text()


def test_a_saved_classifier_stands_for_the_traces(painted, exported, tmp_path):
    data = painted.recipe.model_dump(mode="json", exclude_none=True)
    del data["segment"]["traces"]
    data["segment"]["classifier"] = str(exported / "classifier")
    other = Workflow(make_recipe(data))
    for grain, probability in other.run("segment").probabilities.items():
        assert np.array_equal(probability, painted.get("segment").probabilities[grain])
    other.change(segment={"classifier": str(tmp_path)})
    other.run("segment")  # a part that fails is told, the rest goes on
    assert "no classifier Fp.npz for Fp" in " ".join(other.warnings("segment"))


def test_phases_may_be_named_by_the_number_of_their_component(painted):
    plain = small_demo(shape=(64, 64), random_state=1)
    work = Workflow(plain)
    marked, solver = work.run("match").factors, work.run("decompose").factors
    order = [int(np.argmin([np.abs(s - m).sum() for s in solver.spectra])) for m in marked.spectra]
    data = plain.model_dump(mode="json", exclude_none=True)
    for name, number in zip(marked.names, order, strict=True):
        data["phases"][name] = {"component": number + 1}
    named = Workflow(make_recipe(data)).run("match")
    assert named.factors.names == marked.names
    assert np.array_equal(named.factors.maps, marked.maps)
