"""The page in its window: every size, light and dark; maps that are linked; the live spectrum."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

pytest.importorskip("panel")

import panel as pn
from bokeh.models import Label

from siftem.acquisition import Acquisition
from siftem.app.files import Reports
from siftem.app.gallery import Gallery, tile
from siftem.app.live_spectrum import LiveSpectrum, pixels_about
from siftem.app.map_and_spectrum import GAP, TOOLBAR, MapAndSpectrum, arrange
from siftem.app.map_figure import MapFigure, figure_size, short_number, small_title
from siftem.app.map_images import (
    MapImage,
    clicked_window,
    limits_of,
    map_images,
    window_maps,
    window_weights,
)
from siftem.app.map_mouse import PROFILE
from siftem.app.overlays import mask_overlay
from siftem.app.page import Page
from siftem.app.periodic_table import found_elements, places
from siftem.app.spectrum_figure import Curve, LineMark, spectrum_figure
from siftem.app.style import INK, PAPER, Room
from siftem.eels.edges import Edge, edge_signal
from siftem.energy_axis import EnergyAxis
from siftem.fit.line_evidence import FoundElement, SeenLine
from siftem.spectrum import Spectrum
from siftem.spectrum_image import SpectrumImage
from siftem.xray.elements import LAST_ATOMIC_NUMBER

WINDOWS = [(1280, 600), (1366, 650), (1920, 970), (2560, 1300), (3840, 2050)]


def image(ny=20, nx=30, channels=200, spacing=0.05):
    """A peak at channel 100 in the right half, on a ground that falls linearly."""
    ground = 40.0 - 20.0 * np.arange(channels) / channels
    peak = 30.0 * np.exp(-(((np.arange(channels) - 100) / 4) ** 2))
    counts = np.tile(ground, (ny, nx, 1))
    counts[:, nx // 2 :] += peak
    rows = sp.csr_array(np.rint(counts).reshape(ny * nx, channels).astype(np.float32))
    return SpectrumImage(rows, (ny, nx), axis=EnergyAxis(0.0, spacing, channels))


@pytest.fixture(scope="module")
def page():
    made = Page(image(), reports=Reports())
    made.jobs.wait(240)
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
    one, spectrum = data.look.figure.figure, data.look.spectrum.figure
    assert data.content.width - 40 <= one.width + spectrum.width <= data.content.width
    strip, below = data.look.histogram.pane.object, data.look.below
    columns = one.height + strip.height, spectrum.height
    under_map = data.look._at.under_map
    assert (
        max(columns[0] + below.height * under_map, columns[1] + below.height * (not under_map))
        <= data.content.min_height
    )
    data.shown.value = "All maps"
    assert list(data.look.below) == []  # no map is shown twice: the spectrum has their room
    assert data.look.spectrum.figure.height == data.room.height - TOOLBAR
    columns, maps = data.maps.grid.ncols, data.maps.maps
    assert columns * max(m.figure.width for m in maps) <= data.content.width
    maps[0].tapped.data = {"n": [window[0]]}
    assert data.shown.value == "Map and spectrum"  # a click enlarges
    data.shown.value = "All maps"
    data.scrolled[0][0].clicks += 1
    assert data.shown.value == "Map and spectrum"  # and a button goes back
    assert list(data.look.below) == [data.small]
    assert data.look.spectrum.figure.height == spectrum.height


def test_the_controls_and_what_is_in_them_grow_with_the_window(page):
    widths = []
    try:
        for window in (1148, 1366, 1920, 3840):
            page.resized(window, 900)
            view = page.views[page.active]
            assert view.controls.width == page.room.controls
            assert view.controls.width + view.content.width <= window
            widths.append(view.controls.width)
    finally:
        page.resized(1366, 650)
    assert widths[0] == widths[1] == widths[2] < 1.5 * widths[0] > widths[3] > 1.3 * widths[0]
    for view in page.views:
        fields = view.controls.select(lambda one: isinstance(one, pn.widgets.Widget))
        sized = {f.name for f in fields if f.width or f.sizing_mode != "stretch_width"}
        assert sized <= {"Figures as", "After each stroke", "Add the stroke"}  # of one length


def test_the_page_fits_the_cell_of_a_notebook(page):
    cell = 1148
    page.resized(cell, 720)
    try:
        assert page.panel.width <= cell
        steps = page.panel[0]
        taken = sum(part.width + part.margin[1] + part.margin[-1] for part in steps)
        assert taken <= page.panel.width
        page.go(2)
        view = page.views[2]
        assert view.controls.width + view.content.width + 12 <= cell
        fields = [*view.look.fields, *view._toolbar.fields]
        assert sum(f.width + f.margin[1] + f.margin[-1] for f in fields) <= view.content.width
    finally:
        page.go(0)
        page.resized(1366, 650)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("aspect", [0.2, 0.5, 1.0, 2.0, 5.0])
def test_map_spectrum_and_tables_have_the_window_to_themselves(window, aspect):
    room = Room(window)
    for part, most in ((0.4, 560), (0.5, 900)):
        at = arrange(room, aspect, part=part, most=most)
        width, height = figure_size(aspect, at.box)
        tall = room.height - TOOLBAR
        assert max(width, at.strip[0]) + GAP + at.spectrum[0] <= room.content
        assert height + at.strip[1] + at.below[1] * at.under_map <= tall
        assert at.spectrum[1] + at.below[1] * (not at.under_map) == tall
        # Of maps of any shape the larger side uses what there is.
        assert max(width / (0.55 * room.content), height / (tall - at.strip[1])) > 0.9
        assert at.spectrum[0] * at.spectrum[1] > 0.11 * window[0] * window[1]
        assert at.below[1] >= min(most, int(part * tall)) - 1 and at.below[0] >= 400


def test_maps_are_as_large_as_they_fit():
    assert tile(4, 1.0, (1000, 1000), largest=2000) == (462, 2)
    assert tile(2, 1.0, (1000, 400), largest=2000)[1] == 2
    assert tile(2, 1.0, (400, 1000), largest=2000)[1] == 1
    width, columns = tile(100, 1.0, (500, 300))
    assert width >= 80 and 400 < width * columns < 500  # the rest is scrolled to


def test_titles_of_small_maps_do_not_run_into_the_next_one():
    assert small_title("O Kα", (0.0, 61.2), 102) == "O Kα, 0–61.2"
    assert small_title("Total counts", (0.0, 351.0), 102) == "Total counts"
    assert small_title("HAADF (simulated)", (0.0, 1.0), 102) == "HAADF (simula…"
    assert small_title("HAADF (simulated)", (0.0, 1.0), 300) == "HAADF (simulated), 0–1"
    # Thousands have letters, as on the axes.
    assert small_title("Si Kα", (0.0, 1034.0), 102) == "Si Kα, 0–1.03k"
    numbers = [short_number(v) for v in (190200.0, -2.5e6, 3e9, 999.0, 0.0312, 0.0)]
    assert numbers == ["190k", "-2.5m", "3b", "999", "0.0312", "0"]


def test_light_and_dark(page):
    page.go(0)
    page.set_dark(True)
    assert page._window.dark
    look = page.views[0].look
    for plot in (look.spectrum.figure, look.figure.figure):
        assert plot.background_fill_color == PAPER[True]
        assert plot.title is None or plot.title.text_color == INK[True]
    page.set_dark(False)
    assert look.spectrum.figure.background_fill_color == PAPER[False]


def test_what_the_system_prefers_counts_until_the_user_chooses():
    page = Page(reports=Reports())
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


def test_maps_of_all_steps_are_zoomed_together(page):
    seen = page.map_ranges()
    assert page.views[0].look.figure.ranges == seen
    # Shown again, a range begins where it was left; a reset goes back to the whole map.
    seen[0].start = 5
    assert (seen[0].reset_start, seen[0].reset_end) == (-0.5, 29.5)
    assert (seen[1].reset_start, seen[1].reset_end) == (19.5, -0.5)
    assert page.map_ranges()[0].start == 5
    seen[0].start = -0.5


def test_another_size_keeps_the_map_its_shape_and_its_zoom():
    figure = MapFigure((50, 100), None, box=(400, 300))
    figure.figure.x_range.start = 20
    figure.resize((800, 900), True)
    width, height = figure.frame_size
    assert width == pytest.approx(2 * height, abs=1) and 700 < width <= 800
    assert figure.figure.x_range.start == 20


def test_the_spectrum_under_the_cursor_is_that_of_the_pixels_under_the_brush():
    si = image()
    live = LiveSpectrum(lambda low, high: None, lambda energy: None)
    live.open(si, [], size=(500, 200), dark=False)
    live.show(4, 20, 3.0)
    near = np.hypot(*(np.indices((20, 30)) - np.array([4, 20])[:, None, None])) <= 1.5
    np.testing.assert_allclose(live.shown, si.sum_spectrum(near.ravel()))
    assert "9 pixels" in live.figure.title.text
    before = live.shown.copy()
    live.show(99, 20, 3.0)
    np.testing.assert_array_equal(live.shown, before)
    assert pixels_about(0, 0, 1.0, (20, 30)).tolist() == [0]


def test_results_stand_beside_a_pixel_with_their_part_of_it():
    si = image()
    whole = si.sum_spectrum()
    half = Curve("half", whole / 2, "#000000", share=lambda rows: rows.size / 100)
    live = LiveSpectrum(lambda low, high: None, lambda energy: None)
    for log in (False, True):
        live.open(si, [], size=(500, 200), dark=False, curves=[half], log=log)
        drawn = live._source.data["curve0"]
        np.testing.assert_allclose(drawn, np.maximum(whole / 2, live._bottom), rtol=1e-5)
        assert np.isnan(live.shown).all()  # no pixel yet
        live.show(4, 20, 1.0)
        assert live.shown.sum() == pytest.approx(si.sum_spectrum(np.array([140])).sum())
        np.testing.assert_allclose(live._source.data["curve0"], drawn / 100, rtol=1e-5)
        live.rest()
        assert np.isnan(live.shown).all()
        np.testing.assert_allclose(live._source.data["curve0"], drawn)


def test_energies_that_were_zoomed_to_stay_when_other_spectra_are_shown():
    si = image()
    live = LiveSpectrum(lambda low, high: None, lambda energy: None)
    live.open(si, [], size=(500, 200), dark=False)
    home = (live.figure.x_range.start, live.figure.x_range.end)
    live.figure.x_range.update(start=4.0, end=6.0)
    live.open(
        si, [], size=(500, 200), dark=False, curves=[Curve("a", si.sum_spectrum(), "#000000")]
    )
    shown = live.figure.x_range
    assert (shown.start, shown.end) == (4.0, 6.0)
    assert (shown.reset_start, shown.reset_end) == home
    live.open(image(), [], size=(500, 200), dark=False)
    assert (live.figure.x_range.start, live.figure.x_range.end) == home


def test_channels_are_summed_for_the_screen_and_none_is_lost():
    si = image(channels=1999)
    live = LiveSpectrum(lambda low, high: None, lambda energy: None)
    live.open(si, [], size=(500, 200), dark=True)
    live.show(4, 20, 1.0)
    assert live.shown.size <= 700
    assert live.shown.sum() == pytest.approx(si.sum_spectrum(np.array([4 * 30 + 20])).sum())


def test_the_cursor_that_leaves_takes_its_pixel_from_results_only(look):
    look.figure.mouse.cursor.data = {"y": [7], "x": [22]}
    seen = look.spectrum.shown.copy()
    look.figure.mouse.cursor.data = {"y": [-1], "x": [-1]}
    np.testing.assert_array_equal(look.spectrum.shown, seen)  # to be looked at more closely
    look.beside([Curve("a", image().sum_spectrum(), "#000000")])
    look.figure.mouse.cursor.data = {"y": [7], "x": [22]}
    assert look.spectrum.shown.sum() == seen.sum()
    look.figure.mouse.cursor.data = {"y": [-1], "x": [-1]}
    assert np.isnan(look.spectrum.shown).all()
    # Also when no browser draws it: another step came to the front.
    plot = look.spectrum.figure
    home = plot.y_range.start, plot.y_range.end
    look.figure.mouse.cursor.data = {"y": [7], "x": [22]}
    plot.y_range.update(start=0.0, end=1.0)  # as the browser followed the pixel
    look.figure.mouse.cursor.data = {"y": [-1], "x": [-1]}
    assert (plot.y_range.start, plot.y_range.end) == pytest.approx(home)


def test_components_are_listed_by_their_names_alone(look):
    images = {n: MapImage(n, "counts", lambda: np.eye(20)) for n in ("Component Ca-Pv", "Ca Kα")}
    look.open(look._si, images, (), room=Room())
    assert look.name.options == {"Ca-Pv": "Component Ca-Pv", "Ca Kα": "Ca Kα"}
    images["Component Ca Kα"] = images["Ca Kα"]
    look.open(look._si, images, (), room=Room())
    assert list(look.name.options) == list(images)  # one could not be told from the other


@pytest.fixture
def look():
    """A map and a spectrum with Fe, whose line lies at the peak of the right half."""
    si = image(spacing=0.064)
    shown = MapAndSpectrum(lambda action: action(), palette="Grey", reach=lambda: 3.0)
    shown.open(si, map_images(si, None, ("Fe",)), ("Fe",), room=Room())
    return shown


def test_the_cursor_moves_the_spectrum(look):
    look.figure.mouse.cursor.data = {"y": [7], "x": [22]}
    assert look.spectrum.figure.title.text.startswith("y 7, x 22 (9 pixels)")
    assert look.spectrum.shown.sum() > 0


def test_a_window_dragged_in_the_spectrum_gives_its_map_without_the_ground(look):
    look.spectrum._asked.data = {"energies": [6.9, 5.9], "serial": [1, 1]}
    assert look.name.value == "5.9–6.9 keV"
    assert (look.spectrum._band.left, look.spectrum._band.right) == (5.9, 6.9)
    peak = 30 * 4 * np.sqrt(np.pi)
    assert np.abs(look.figure.image[:, :15]).max() < 0.05 * peak
    assert look.figure.image[:, 15:].mean() == pytest.approx(peak, rel=0.1)


def test_maps_of_windows_are_weighted_sums_of_counts_in_any_order():
    rng = np.random.default_rng(0)
    dense = rng.poisson(0.3, (6, 40))
    rows = sp.csr_array(dense.astype(np.uint16))
    axis, windows = EnergyAxis(0.0, 0.1, 40), [(1.0, 1.4), (0.0, 0.3), (3.0, 3.9)]
    weights = [window_weights(axis, *window, net=True) for window in windows]
    expected = (dense @ np.array(weights).T).T.reshape(-1, 2, 3)
    mixed = rows.copy()
    for a, b in zip(rows.indptr[:-1], rows.indptr[1:], strict=True):
        mixed.indices[a:b], mixed.data[a:b] = rows.indices[a:b][::-1], rows.data[a:b][::-1]
    mixed.has_sorted_indices = False
    for counts in (rows, mixed):
        np.testing.assert_allclose(
            window_maps(SpectrumImage(counts, (2, 3), axis=axis), windows), expected, atol=1e-9
        )


def test_a_line_clicked_in_the_spectrum_gives_its_map(look):
    look.spectrum._asked.data = {"energies": [6.45, 6.45], "serial": [1, 1]}
    assert look.name.value == "Fe Kα"
    assert look.figure.image[:, 15:].mean() > 20 * abs(look.figure.image[:, :15].mean())
    # Where no line of the elements is, a window as wide as a line about the energy itself.
    name, (low, high) = clicked_window(look._si, ("Fe",), 4.0)
    assert name == "4.000 keV" and (low + high) / 2 == pytest.approx(4.0)
    assert 0.09 < high - low < 0.13


def test_a_background_is_taken_off_as_far_as_there_are_sides():
    si = image()
    assert abs(window_maps(si, [(0.0, 1.0)])[0, 0, 0]) < 60
    whole, upper = window_maps(si, [(0.0, 10.0), (9.0, 10.0)])
    np.testing.assert_allclose(whole, si.total_map())
    assert abs(upper[0, 0]) < 60
    # Before an edge losses fall by a power law: what the line through both sides were, is left.
    losses = replace(si, signal_type="EELS", axis=EnergyAxis(700.0, 1.0, 200, "eV"))
    window = (780.0, 820.0)
    np.testing.assert_allclose(window_maps(losses, [window])[0], losses.window_map(*window))
    assert map_images(losses, None, ("Fe",)).keys() == {"Total counts"}


def losses(background=2e5, cu=900.0):
    """Energy losses with a Cu L3 edge in the right half; thickness and exponent vary a little."""
    axis = EnergyAxis(700.0, 4.0, 160, "eV")
    y, x = np.indices((20, 30))[..., None]
    law = background * (1 + y / 20) * (axis.centers / 700.0) ** -(3.0 + 0.01 * (x - 15) / 15)
    edge = Edge("Cu_L3")
    counts = law + np.where(axis.centers >= edge.onset, cu, 0.0) * (x >= 15)
    rows = sp.csr_array(counts.reshape(600, -1).astype(np.float32))
    return SpectrumImage(rows, (20, 30), axis=axis, signal_type="EELS"), edge


def test_edges_are_mapped_above_their_background_and_marked():
    si, edge = losses()
    images = map_images(si, None, (), (edge, Edge("Fe_L3"), Edge("O_K")))
    assert "O K" not in images  # its windows are not on the axis
    both = map_images(si, None, (), (edge, Edge("Zn_L3")))
    assert "Cu L3" in both and "Zn L3" not in both  # before which copper stands
    found = images["Cu L3"].pixels()
    first, last = edge.signal_window
    true = 900.0 * np.count_nonzero((si.axis.centers >= edge.onset) & (si.axis.centers < last))
    # The law of the sum, followed for each pixel: to .2% of what lies below the edge.
    below = si.window_map(first, last)
    assert np.abs(found[:, 15:] - true).max() < 0.002 * below.max()
    assert np.abs(found[:, :15]).max() < 0.002 * below.max()
    whole = edge_signal(Spectrum(si.sum_spectrum(), axis=si.axis), edge).value
    assert found.sum() == pytest.approx(whole, abs=1e-6 * below.sum())
    look = MapAndSpectrum(lambda action: action(), palette="Grey")
    look.open(si, images, (), room=Room(), edges=(edge,))
    assert "Cu L3" in [a.text for a in look.spectrum.figure.center if isinstance(a, Label)]
    assert look.spectrum.figure.title.text == "All pixels; drag over energies for their map"


def test_limits_of_colours_are_dragged_typed_and_kept_for_each_map(look):
    figure = look.figure
    first = (look.low.value, look.high.value)
    counts = figure.image  # of which much is everywhere
    assert first == pytest.approx((counts.min(), counts.max()), rel=0.05) and first[0] > 0
    figure.limits.start = 2900.0  # as the browser tells it
    assert look.low.value == 2900.0
    look.choose("Fe Kα")
    assert look.low.value == 0.0  # what lies below zero is noise
    assert limits_of(look.images["Fe Kα"])[0] == 0.0
    look.choose("Total counts")
    assert look.low.value == 2900.0
    look.high.value = 3000.0
    assert figure._linear.high == 3000.0
    look.low.value = 4000.0  # above the upper one
    assert figure._linear.high > figure._linear.low == 4000.0
    look._auto()
    assert (look.low.value, look.high.value) == first
    look.log.value, look.palette.value = True, "Viridis"
    assert figure._drawn.glyph.color_mapper is figure._log
    assert figure._log.palette[0] == "#440154" and 0 < figure._log.low < figure._log.high


def test_the_histogram_has_as_many_numbers_as_have_room_and_names_what_is_not_seen(look):
    for width in (1366, 1920, 3840):
        look.resized(Room((width, 900)))
        plot = look.histogram.pane.object
        frame = plot.width - plot.min_border_left - plot.min_border_right
        assert frame >= 150
        assert 2 <= plot.xaxis[0].ticker.desired_num_ticks <= frame / 45
    assert not plot.xaxis[0].axis_label
    overlay = mask_overlay(np.ones((20, 30), bool), "#405060")
    colours = MapImage("Phase map", "", look._si.total_map, over=lambda: overlay)
    look.images["Phase map"] = colours
    look._offer()
    look.choose("Phase map")
    assert plot.xaxis[0].axis_label == "Total counts beneath"
    assert 7 * len(plot.xaxis[0].axis_label) < 150  # as wide as a histogram in a notebook's cell
    look.resized(Room())
    assert look.histogram.pane.object.xaxis[0].axis_label == "Total counts beneath"
    look.choose("Total counts")
    assert not look.histogram.pane.object.xaxis[0].axis_label


def test_a_profile_is_the_mean_across_its_width_over_the_distance(look):
    look.profile.value = True
    assert look.figure.mouse.mode == PROFILE
    look.figure.mouse.profile.data = {"x": [2.0, 27.0], "y": [10.0, 10.0]}
    distance, values = look.line.shown
    expected = look.figure.image[9:12, 2:28].mean(axis=0)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert distance[0] == 0 and distance[-1] == 25  # pixels: their size is not known
    look.profile.value = False
    assert not look.figure.mouse.profile.data["x"]


def test_strokes_are_taken_once_however_often_they_are_sent():
    seen = []
    mouse = MapFigure((20, 30), None, box=(300, 300), tools=True).mouse
    mouse.draws(seen.append)
    first = {"xs": [[1, 2]], "ys": [[3, 3]], "serial": [1]}
    mouse.strokes.data = first
    # The next one followed before the browser knew that the first was taken.
    both = {name: [*of, *of] for name, of in first.items()}
    mouse.strokes.data = {**both, "serial": [1, 2]}
    assert seen == 2 * [[(3, 1), (3, 2)]]
    assert mouse._taken.data["serial"] == [2]


def test_lines_that_are_quantified_lie_in_view_and_the_axis_follows():
    axis = EnergyAxis(0.0, 0.01, 2000)
    values = np.exp(-np.arange(2000) / 100.0) * 1e4
    plot = spectrum_figure(
        axis, [Curve("a", values, "#000000")], marks=[LineMark("U Lα", 13.6)], size=(600, 300)
    )
    assert plot.x_range.end > 13.6
    callbacks = plot.x_range.js_property_callbacks
    assert callbacks["change:start"] and callbacks["change:end"]


def test_elements_are_chosen_on_a_periodic_table_with_what_is_seen_of_them(page):
    page.go(0)
    data = page.views[0]
    placed = {symbol: (row, column) for symbol, row, column in places()}
    assert len(placed) == LAST_ATOMIC_NUMBER and len(set(placed.values())) == len(placed)
    assert placed["Fe"][1] == placed["Os"][1] == placed["Ru"][1]
    assert placed["Hf"][1] == placed["Ti"][1] and placed["Lu"][0] == placed["La"][0]
    data.shown.value = "Elements"
    for field, state in ((data.elements, "quantify"), (data.support, "support")):
        data.table._chosen("Fe")
        assert field.value == "Fe" and data.table.states == {"Fe": state}
    data.table._chosen("Fe")
    assert data.absent.value == "Fe" and not data.elements.value and not data.support.value
    data.elements.value = "Si, Mg"  # by hand
    assert data.table.states == {"Si": "quantify", "Mg": "quantify", "Fe": "absent"}
    data.table._chosen("Fe")
    assert data.table.states.keys() == {"Si", "Mg"}
    seen = SeenLine("Ka", 6.4, 40.2)
    data._found = (FoundElement("Fe", "Fe K", 6.4, 1234.0, 35.0, (seen,)),)
    data._show_states()
    assert data.table.seen == {"Fe": 35.0}
    assert "Fe Kα 6.40 keV: 40 σ" in data.evidence.object and "1,234" in data.evidence.object
    data.elements.value, data.shown.value = "", "Map and spectrum"


def test_what_is_known_to_be_absent_is_not_found():
    peak = replace(image(spacing=0.064), acquisition=Acquisition(beam_energy=200.0))
    assert found_elements(peak)[0].element == "Fe"
    assert "Fe" not in [one.element for one in found_elements(peak, ("Fe",))]


def test_the_scale_bar_is_in_what_is_seen(look):
    figure = look.figure
    whole = figure._ends.data["x"], figure._length.text
    figure.ranges[0].update(start=10.0, end=14.0)
    figure.ranges[1].update(start=9.0, end=5.0)
    figure.place_scale_bar()  # as when the step comes to the front
    (left, right), (bottom, _) = figure._ends.data["x"], figure._ends.data["y"]
    assert 10.0 < left < right < 12.0 and 8.0 < bottom < 9.0
    assert figure._length.text != whole[1] and right - left < whole[0][1] - whole[0][0]
