"""Scale bars, colour limits and overlays."""

import math
import weakref

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from siftem.figures.maps import (
    add_scale_bar,
    bar_ticks,
    block_means,
    draw_image,
    image_limits,
    scale_bar,
)
from siftem.figures.page import image_aspect, image_grid, panel_letter
from siftem.figures.regions import draw_mask, draw_regions, overlay
from siftem.figures.style import drawn_once, new_figure, png_bytes
from siftem.segment.regions import Regions


@pytest.mark.parametrize(
    ("columns", "size", "label", "nm"),
    [
        (201, 1.717, "100 nm", 100),
        (128, 2.0, "50 nm", 50),
        (128, 20.0, "500 nm", 500),
        (512, 10.0, "1 µm", 1000),
        (100, 250.0, "5 µm", 5000),
        (64, 0.05, "500 pm", 0.5),
        (256, 0.02, "1 nm", 1),
        (1000, 1e5, "20 mm", 2e7),
    ],
)
def test_scale_bar_length_follows_the_pixel_size(columns, size, label, nm):
    bar = scale_bar(columns, (size, size))
    assert bar.label == label
    assert bar.pixels == pytest.approx(nm / size)


@given(st.integers(1, 10_000), st.floats(1e-3, 1e5))
def test_scale_bar_is_the_longest_round_length_that_fits(columns, size):
    bar = scale_bar(columns, (size, size))
    share = bar.pixels / columns
    # The next of 1, 2, 5, 10 is at most 2.5 times as long.
    assert 0.3 / 2.5 - 1e-9 < share <= 0.3 + 1e-9
    length = bar.pixels * size
    mantissa = length / 10 ** math.floor(math.log10(length) + 1e-9)
    assert min(abs(mantissa - m) for m in (1, 2, 5)) < 1e-6


def test_uncalibrated_scale_bar_is_in_pixels():
    assert scale_bar(128, None).label == "20 px"
    assert scale_bar(128, None).pixels == 20
    assert scale_bar(2, None).label == "1 px"


def test_scale_bar_is_drawn_as_long_as_it_says():
    figure = new_figure(50, 50)
    ax = figure.add_axes((0, 0, 1, 1))
    draw_image(ax, np.zeros((40, 80)), pixel_size=(2.0, 2.0))
    bar = next(p for p in ax.patches if p.get_gid() == "scale bar")
    label = next(t for t in ax.texts if t.get_gid() == "scale bar label")
    # 80 pixels of 2 nm are 160 nm; 20 nm is the longest of 10, 20, 50 within 48.
    assert label.get_text() == "20 nm"
    assert bar.get_width() == pytest.approx(10)
    assert bar.get_x() >= -0.5 and bar.get_x() + bar.get_width() <= 79.5


def test_oblong_pixels_use_the_width_for_the_bar_and_both_for_the_aspect():
    assert scale_bar(100, (7.0, 1.0)).pixels == 20
    assert image_aspect((10, 20), (3.0, 1.0)) == pytest.approx(1.5)
    grid = image_grid(1, (10, 20), (3.0, 1.0))
    assert grid.image_height / grid.image_width == pytest.approx(1.5)


def test_a_tall_map_is_made_narrower_not_squeezed():
    grid = image_grid(3, (100, 20), None, max_height=60)
    assert grid.image_height == 60
    assert grid.image_height / grid.image_width == pytest.approx(5)


@pytest.mark.parametrize("n", range(1, 17))
def test_image_grid_holds_all_images_on_the_page(n):
    grid = image_grid(n, (30, 30), None)
    assert grid.rows * grid.columns >= n
    assert (grid.rows - 1) * grid.columns < n
    for i in range(n):
        left, _ = grid.place(i, 0.0)
        assert left >= 0 and left + grid.image_width <= 180


def test_limits_ignore_a_few_hot_pixels_and_nan():
    image = np.arange(10_000.0).reshape(100, 100)
    image[0, 0], image[5, 5] = 1e9, np.nan
    low, high = image_limits(image)
    assert low == 0
    assert 9950 < high < 10_000
    assert image_limits(np.full((4, 4), np.nan)) == (0.0, 1.0)
    assert image_limits(np.zeros((4, 4))) == (0.0, 1.0)
    sparse = np.zeros((100, 100))
    sparse[3, 3] = 7
    assert image_limits(sparse) == (0.0, 7.0)


@given(st.floats(-1e4, 1e6), st.floats(1e-3, 1e6))
def test_colour_bar_has_two_numbers_within_its_ends(low, span):
    high = low + span
    first, last = bar_ticks(low, high)
    slack = 1e-6 * (abs(low) + span)
    assert low - slack <= first < last <= high + slack


def test_colour_bar_numbers_are_round():
    assert bar_ticks(0, 137) == [0, 100]
    assert bar_ticks(133, 238) == [150, 200] or bar_ticks(133, 238) == [150, 225]
    assert bar_ticks(0, 5.2) == [0, 5]


def test_overlay_colours_the_mask_and_nothing_else():
    mask = np.zeros((4, 5), bool)
    mask[1, 2] = True
    rgb = overlay((4, 5), {"Fp": (mask, "#D55E00")})
    np.testing.assert_allclose(rgb[~mask], 1.0)
    np.testing.assert_allclose(rgb[1, 2], 0.38 + 0.62 * np.array(to_rgb("#D55E00")))


def test_later_layers_lie_on_top():
    mask = np.ones((2, 2), bool)
    first = overlay((2, 2), {"b": (mask, "#0072B2")})
    both = overlay((2, 2), {"a": (mask, "#D55E00"), "b": (mask, "#0072B2")})
    np.testing.assert_allclose(first, both)


def test_panel_letters_go_on_after_z():
    assert [panel_letter(i) for i in (0, 25, 26, 27, 52)] == ["a", "z", "aa", "ab", "ba"]


def test_scale_bar_can_be_added_to_axes_of_ones_own():
    figure = new_figure(30, 30)
    ax = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    ax.imshow(np.zeros((10, 10)))
    add_scale_bar(ax, (10, 10), None)
    assert [t.get_text() for t in ax.texts] == ["2 px"]


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_block_means(step):
    image = np.random.default_rng(1).random((8, 13))
    found = block_means(image, step)
    assert found.shape == (-(-8 // step), -(-13 // step))
    for (i, j), value in np.ndenumerate(found):
        part = image[i * step : (i + 1) * step, j * step : (j + 1) * step]
        assert value == pytest.approx(part.mean())
    image[7, 12] = np.nan
    assert np.isnan(block_means(image, step)[-1, -1])


def test_large_scans_are_drawn_as_means_of_blocks_at_the_same_place():
    shape = (700, 2501)
    image = np.zeros(shape, np.float32)
    image[300:310, 1200:1210] = 5.0
    mask = image > 0
    regions = Regions(shape, matrix="M", masks={"g": mask})
    figure = plt.figure()
    axes = figure.subplots(3)
    draw_image(axes[0], image, pixel_size=(2.0, 2.0))
    draw_mask(axes[1], mask, "#D55E00", background=image)
    draw_regions(axes[2], regions, {"M": "#000000", "g": "#D55E00"}, background=image)
    for ax in axes:
        drawn = ax.images[0]
        assert max(drawn.get_size()) <= 1024
        assert ax.get_xlim() == (-0.5, 2500.5)
        assert ax.get_ylim() == (699.5, -0.5)
        # Blocks are squares of three pixels, from the corner on.
        left, right, bottom, top = drawn.get_extent()
        assert (left, top) == (-0.5, -0.5)
        assert (right + 0.5) / drawn.get_size()[1] == (bottom + 0.5) / drawn.get_size()[0] == 3
    y, x = np.argwhere(np.asarray(axes[0].images[0].get_array()) > 4).mean(axis=0)
    assert (3 * y + 1, 3 * x + 1) == pytest.approx((304.5, 1204.5), abs=3)
    plt.close(figure)


def test_a_figure_that_is_drawn_once_lets_go_of_its_images():
    figure = new_figure(80.0, 60.0)
    image = np.random.default_rng(0).random((30, 40))
    drawn = figure.add_subplot().imshow(image)
    assert png_bytes(figure)[:4] == b"\x89PNG"
    canvas = weakref.ref(figure.canvas)
    assert drawn_once(figure)[:4] == b"\x89PNG"
    assert drawn.get_array().size == 1
    assert canvas() is None
