"""Region algebra against sets of pixels and distances worked out one by one."""

import dataclasses

import numpy as np
import pytest

from siftem.errors import InputError
from siftem.segment import regions as region_module
from siftem.segment.regions import Region, Regions


def random_masks(seed=0, shape=(17, 21), grains=("Fp", "Ca-Pv", "St")):
    rng = np.random.default_rng(seed)
    masks = {}
    for name in grains:
        mask = np.zeros(shape, bool)
        for _ in range(2):
            y, x = rng.integers(0, shape[0] - 6), rng.integers(0, shape[1] - 7)
            mask[y : y + rng.integers(3, 9), x : x + rng.integers(3, 9)] = True
        masks[name] = mask
    return masks


def near(mask, n):
    """Pixels within n of a True one, by trying all pairs."""
    result = np.zeros_like(mask)
    there = np.argwhere(mask)
    for y, x in np.ndindex(*mask.shape):
        if len(there):
            result[y, x] = (((there - (y, x)) ** 2).sum(axis=1) <= n * n + 1e-9).any()
    return result


@pytest.mark.parametrize("strip", [1, 21 * 6, 250_000])
@pytest.mark.parametrize("margin", [0, 1, 1.5, 3])
@pytest.mark.parametrize("seed", range(3))
def test_regions_by_definition(margin, seed, strip, monkeypatch):
    monkeypatch.setattr(region_module, "_STRIP", strip)
    masks = random_masks(seed)
    excluded = np.zeros((17, 21), bool)
    excluded[:2, :5] = True
    regions = Regions((17, 21), matrix="Brg", masks=masks, margin=margin, excluded=excluded)
    union = np.any(list(masks.values()), axis=0)
    np.testing.assert_array_equal(regions.pure.mask, ~near(union, margin) & ~excluded)
    for name, mask in masks.items():
        others = np.any([m for other, m in masks.items() if other != name], axis=0)
        expected = mask & ~near(~mask, margin) & ~near(others, margin) & ~excluded
        np.testing.assert_array_equal(regions.mixture(name).mask, expected)
    depth = np.sum(list(masks.values()), axis=0)
    np.testing.assert_array_equal(regions.intersection.mask, (depth > 1) & ~excluded)
    np.testing.assert_array_equal(
        regions.intersection_of("St", "Fp").mask, masks["St"] & masks["Fp"] & ~excluded
    )


def test_without_margin_every_pixel_is_in_exactly_one_region():
    regions = Regions((17, 21), matrix="Brg", masks=random_masks(4))
    parts = list(regions.as_dict().values())
    assert (np.sum([part.mask for part in parts], axis=0) == 1).all()
    assert regions.pixel_counts()["left out"] == 0


def test_pixel_counts_by_hand():
    a, b = np.zeros((4, 5), bool), np.zeros((4, 5), bool)
    a[:, 1:3] = True
    b[:2, 2:] = True
    excluded = np.zeros((4, 5), bool)
    excluded[3, 0] = True
    regions = Regions((4, 5), matrix="Brg", masks={"Fp": a, "Ca-Pv": b}, excluded=excluded)
    assert regions.pixel_counts() == {
        "pure Brg": 7,
        "mixture Fp": 6,
        "mixture Ca-Pv": 4,
        "intersection": 2,
        "left out": 1,
    }
    assert regions.names == ("Fp", "Ca-Pv")
    assert regions.intersection_of("Fp", "Ca-Pv") == regions.intersection
    assert "mixture Fp: 6" in repr(regions)


def test_the_edge_of_the_map_is_no_border():
    mask = np.zeros((6, 6), bool)
    mask[:, 3:] = True
    regions = Regions((6, 6), matrix="M", masks={"g": mask}, margin=1)
    expected_pure, expected_mixture = np.zeros_like(mask), np.zeros_like(mask)
    expected_pure[:, :2] = True
    expected_mixture[:, 4:] = True
    np.testing.assert_array_equal(regions.pure.mask, expected_pure)
    np.testing.assert_array_equal(regions.mixture("g").mask, expected_mixture)


def test_no_grain_and_all_grain():
    alone = Regions((3, 4), matrix="M", masks={}, margin=2)
    assert alone.pure.n_pixels == 12
    full = Regions((3, 4), matrix="M", masks={"g": np.ones((3, 4), bool)}, margin=2)
    assert not full.pure
    assert full.mixture("g").n_pixels == 12


def test_an_empty_region_says_what_to_do():
    masks = {"Fp": np.ones((5, 5), bool)}
    regions = Regions((5, 5), matrix="Brg", masks=masks, margin=2)
    with pytest.raises(InputError, match=r"'pure Brg' holds no pixels: lower the margin \(now 2"):
        regions.pure.required()
    with pytest.raises(InputError, match="'intersection' holds no pixels: the masks do not"):
        regions.intersection.required()
    small = Region("spot", np.eye(3, dtype=bool))
    assert small.required() is small
    with pytest.raises(InputError, match="'spot' holds 3 pixels, 10 are needed"):
        small.required(10)


def test_set_operators():
    rng = np.random.default_rng(1)
    x, y = rng.random((2, 6, 7)) > 0.5
    a, b = Region("a", x), Region("b", y)
    for result, expected, name in (
        (a & b, x & y, "a & b"),
        (a | b, x | y, "a | b"),
        (a ^ b, x ^ y, "a ^ b"),
        (a - b, x & ~y, "a - b"),
        (~a, ~x, "~a"),
        ((a | b) - (a & b), x ^ y, "(a | b) - (a & b)"),
    ):
        np.testing.assert_array_equal(result.mask, expected)
        assert result.name == name
    assert a - b == (a & ~b).renamed("whatever")
    assert a != b
    assert len({a, a.renamed("c"), b}) == 2
    assert a.fraction == pytest.approx(x.mean())
    assert a.n_pixels == x.sum()
    np.testing.assert_array_equal(np.asarray(a), x)


def test_operators_refuse_what_is_no_region_of_this_map():
    a = Region("a", np.ones((2, 3), bool))
    with pytest.raises(InputError, match="of one map"):
        _ = a & Region("b", np.ones((3, 2), bool))
    for other in (np.ones((2, 3), bool), 1):
        with pytest.raises(TypeError):
            _ = a & other
        with pytest.raises(TypeError):
            _ = other | a


@pytest.mark.parametrize("n", [0, 1, np.sqrt(2), 2.5, np.sqrt(13), 7])
def test_erosion_and_dilation_are_euclidean(n):
    mask = random_masks(2)["Fp"]
    region = Region("g", mask)
    np.testing.assert_array_equal(region.dilated(n).mask, near(mask, n))
    np.testing.assert_array_equal(region.eroded(n).mask, mask & ~near(~mask, n) if n else mask)
    with pytest.raises(InputError, match="distance"):
        region.eroded(-1)


def test_nothing_can_be_changed():
    mask = np.zeros((3, 3), bool)
    regions = Regions((3, 3), matrix="M", masks={"g": mask})
    mask[1, 1] = True
    assert regions.mask("g").n_pixels == 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        regions.margin = 3
    with pytest.raises(TypeError):
        regions.masks["h"] = mask
    for array in (regions.masks["g"], regions.pure.mask, regions.mask("g").mask):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = True
    with pytest.raises(dataclasses.FrozenInstanceError):
        regions.pure.name = "other"


def test_from_labels():
    labels = np.array([[0, 0, 1], [2, 3, 1], [7, 3, 0]])
    excluded = labels == 7
    regions = Regions.from_labels(
        labels,
        matrix="Brg",
        classes={0: "Brg", 1: "Fp", 2: "Ca-Pv", 3: "Fp"},
        excluded=excluded,
    )
    assert regions.names == ("Fp", "Ca-Pv")
    np.testing.assert_array_equal(regions.mask("Fp").mask, (labels == 1) | (labels == 3))
    np.testing.assert_array_equal(regions.mask("Ca-Pv").mask, labels == 2)
    np.testing.assert_array_equal(regions.pure.mask, labels == 0)


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        (np.array([[0, 5]]), {}, "labels hold 5"),
        (np.array([[0.0, 1.0]]), {}, "integers"),
        (np.array([0, 1]), {}, "shape"),
        (np.array([[0, 1]]), {"matrix": "Pv"}, "name the matrix 'Pv'"),
        (np.array([[0, 1]]), {"excluded": np.zeros((2, 2), bool)}, "excluded"),
    ],
)
def test_labels_that_do_not_fit(labels, options, words):
    with pytest.raises(InputError, match=words):
        Regions.from_labels(labels, **{"matrix": "Brg", "classes": {0: "Brg", 1: "Fp"}} | options)


GOOD = np.zeros((4, 5), bool)


@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [
        ((4, 5), {"masks": {"Fp": GOOD[:3]}}, r"'Fp' must have shape \(4, 5\), got \(3, 5\)"),
        ((4, 5), {"masks": {"Fp": GOOD.astype(int)}}, "'Fp' must be boolean"),
        ((4, 5), {"masks": {"Brg": GOOD}}, "is the matrix"),
        ((4, 5), {"masks": {"": GOOD}}, "non-empty"),
        ((4, 5), {"masks": {2: GOOD}}, "non-empty"),
        ((4, 5), {"masks": [GOOD]}, "mapping"),
        ((4, 5), {"margin": -1}, "margin"),
        ((4, 5), {"margin": np.nan}, "margin"),
        ((4, 5), {"excluded": GOOD.T}, "excluded must have shape"),
        ((4, 5, 6), {}, "shape must be"),
        ((0, 5), {}, "shape must be"),
    ],
)
def test_bad_input_is_one_plain_sentence(shape, options, words):
    with pytest.raises(InputError, match=words) as error:
        Regions(shape, **{"matrix": "Brg", "masks": {"Fp": GOOD}} | options)
    assert "\n" not in str(error.value)


def test_unknown_and_repeated_phases():
    regions = Regions((4, 5), matrix="Brg", masks={"Fp": GOOD})
    with pytest.raises(InputError, match="no grain phase 'Brg': the grains are 'Fp'"):
        regions.mixture("Brg")
    with pytest.raises(InputError, match="no grain phase"):
        regions.mask("St")
    with pytest.raises(InputError, match="two different"):
        regions.intersection_of("Fp", "Fp")
