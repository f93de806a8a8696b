"""The page in its window: every size, light and dark; maps that are linked; the live spectrum."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

pytest.importorskip("panel")

from siftem.app.gallery import Gallery, tile
from siftem.app.live_spectrum import LiveSpectrum, pixels_about
from siftem.app.map_figure import MapFigure
from siftem.app.map_images import MapImage, net_window_map
from siftem.app.page import Page
from siftem.app.spectrum_figure import Curve, LineMark, spectrum_figure
from siftem.app.style import INK, PAPER, Room
from siftem.energy_axis import EnergyAxis
from siftem.spectrum_image import SpectrumImage

WINDOWS = [(1280, 600), (1366, 650), (1920, 970), (2560, 1300), (3840, 2050)]


def image(ny=20, nx=30, channels=200):
    """A peak at channel 100 in the right half, on a ground that falls linearly."""
    ground = 40.0 - 20.0 * np.arange(channels) / channels
    peak = 30.0 * np.exp(-(((np.arange(channels) - 100) / 4) ** 2))
    counts = np.tile(ground, (ny, nx, 1))
    counts[:, nx // 2 :] += peak
    rows = sp.csr_array(np.rint(counts).reshape(ny * nx, channels).astype(np.float32))
    return SpectrumImage(rows, (ny, nx), axis=EnergyAxis(0.0, 0.05, channels))


@pytest.fixture(scope="module")
def page():
    made = Page(image(), fill=True)
    made.jobs.wait(60)
    made.refresh()
    return made


@pytest.mark.parametrize("window", WINDOWS)
def test_a_step_fills_the_window_and_never_more(page, window):
    page.go(0)
    page.resized(*window)
    data = page.views[0]
    beside = data.controls.width + data.content.width
    assert window[0] - 60 <= beside <= window[0]
    assert window[1] - 120 <= data.content.min_height <= window[1]
    spectrum = data.spectrum.object
    assert data.content.width - 40 <= spectrum.width <= data.content.width
    columns, maps = data.maps.grid.ncols, data.maps.maps
    assert columns * max(m.figure.width for m in maps) <= data.content.width
    assert data.scrolled.height + spectrum.height <= window[1] - 100


def test_maps_are_as_large_as_they_fit():
    assert tile(4, 1.0, (1000, 1000), largest=2000) == (462, 2)
    assert tile(2, 1.0, (1000, 400), largest=2000)[1] == 2
    assert tile(2, 1.0, (400, 1000), largest=2000)[1] == 1
    width, columns = tile(100, 1.0, (500, 300))
    assert width * columns < 500 and width >= 96  # the rest is scrolled to


def test_light_and_dark(page):
    page.go(0)
    page.set_dark(True)
    assert page._window.dark
    for plot in (page.views[0].spectrum.object, page.views[0].maps.maps[0].figure):
        assert plot.background_fill_color == PAPER[True]
        assert plot.title is None or plot.title.text_color == INK[True]
    page.set_dark(False)
    assert page.views[0].spectrum.object.background_fill_color == PAPER[False]


def test_what_the_system_prefers_counts_until_the_user_chooses():
    page = Page(fill=True)
    page.resized(1500, 900, True)
    assert page.room == Room((1500, 900), True)
    page.set_dark(False)
    page.resized(1600, 900, True)
    assert page.room == Room((1600, 900), False)


def test_maps_of_a_gallery_are_zoomed_together():
    images = [MapImage(n, "counts", lambda: np.eye(600)) for n in "ab"]
    first, second = Gallery(images, None, room=(800, 400)).maps
    assert first.figure.x_range is second.figure.x_range
    assert first.figure.y_range is second.figure.y_range
    assert first.figure.x_range.end == 599.5  # in pixels of the map, of which fewer are sent
    assert first.image.shape == (300, 300)


def test_another_size_keeps_the_map_its_shape_and_its_zoom():
    figure = MapFigure((50, 100), None, box=(400, 300))
    figure.figure.x_range.start = 20
    figure.resize((800, 900), True)
    width, height = figure.frame_size
    assert width == pytest.approx(2 * height, abs=1) and 700 < width <= 800
    assert figure.figure.x_range.start == 20


def test_the_spectrum_under_the_cursor_is_that_of_the_pixels_under_the_brush():
    si = image()
    live = LiveSpectrum(lambda low, high: None)
    live.open(si, [], size=(500, 200), dark=False)
    live.show(4, 20, 3.0)
    near = np.hypot(*(np.indices((20, 30)) - np.array([4, 20])[:, None, None])) <= 1.5
    np.testing.assert_allclose(live.shown, si.sum_spectrum(near.ravel()))
    assert "9 pixels" in live.figure.title.text
    before = live.shown.copy()
    live.show(99, 20, 3.0)
    np.testing.assert_array_equal(live.shown, before)
    assert pixels_about(0, 0, 1.0, (20, 30)).tolist() == [0]


def test_channels_are_summed_for_the_screen_and_none_is_lost():
    si = image(channels=1999)
    live = LiveSpectrum(lambda low, high: None)
    live.open(si, [], size=(500, 200), dark=True)
    live.show(4, 20, 1.0)
    assert live.shown.size <= 700
    assert live.shown.sum() == pytest.approx(si.sum_spectrum(np.array([4 * 30 + 20])).sum())


def test_the_cursor_moves_the_spectrum():
    seen = []
    figure = MapFigure((20, 30), None, box=(300, 300))
    figure.follow(lambda y, x: seen.append((y, x)))
    figure.cursor.data = {"y": [7], "x": [12]}
    assert seen == [(7, 12)]


def test_a_window_dragged_in_the_spectrum_gives_its_map_without_the_ground():
    windows = []
    live = LiveSpectrum(lambda low, high: windows.append((low, high)))
    rect = {"type": "rect", "x0": 5.6, "x1": 4.4}
    live._dragged(SimpleNamespace(final=False, geometry=rect))
    live._dragged(SimpleNamespace(final=True, geometry=rect))
    assert windows == [(4.4, 5.6)]
    net = net_window_map(image(), 4.4, 5.6)
    peak = 30 * 4 * np.sqrt(np.pi)
    assert np.abs(net[:, :15]).max() < 0.05 * peak
    assert net[:, 15:].mean() == pytest.approx(peak, rel=0.1)
    # At an end of the axis one side does, and without any nothing is taken off.
    assert abs(net_window_map(image(), 0.0, 1.0)[0, 0]) < 60
    whole = net_window_map(image(), 0.0, 10.0)
    np.testing.assert_allclose(whole, image().total_map())


def test_the_contrast_of_a_map_is_a_part_of_its_range_and_stays():
    figure = MapFigure((20, 30), None, box=(300, 300))
    pixels = np.arange(600.0).reshape(20, 30)
    figure.show(3 * pixels, title="a", unit="counts")
    low, high = figure._colours.low, figure._colours.high
    assert high > 1500
    figure.show(pixels, title="b", unit="counts")
    figure.contrast(0.25, 0.5)
    figure.show(3 * pixels, title="a", unit="counts")
    assert figure._colours.low == pytest.approx(low + 0.25 * (high - low))
    assert figure._colours.high == pytest.approx(low + 0.5 * (high - low))
    figure.contrast(0.5, 0.5)
    assert figure._colours.high > figure._colours.low


def test_lines_that_are_quantified_lie_in_view_and_the_axis_follows():
    axis = EnergyAxis(0.0, 0.01, 2000)
    values = np.exp(-np.arange(2000) / 100.0) * 1e4
    plot = spectrum_figure(
        axis, [Curve("a", values, "#000000")], marks=[LineMark("U Lα", 13.6)], size=(600, 300)
    )
    assert plot.x_range.end > 13.6
    callbacks = plot.x_range.js_property_callbacks
    assert callbacks["change:start"] and callbacks["change:end"]
