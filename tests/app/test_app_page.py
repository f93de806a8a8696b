"""The page and its steps without a browser: what buttons do, what errors say."""

import io
import zipfile

import numpy as np
import pytest
from small_map import SMALL

pytest.importorskip("panel")

from siftem.app.map_figure import MapFigure, length_text
from siftem.app.map_images import map_images, mapped_line
from siftem.app.map_toolbar import PhaseButtons
from siftem.app.overlays import (
    mask_overlay,
    probability_overlay,
    regions_overlay,
    traces_overlay,
)
from siftem.app.page import Page
from siftem.app.spectra_view import AnchorForm, anchor_elements
from siftem.app.spectrum_figure import Curve, LineMark, spectrum_figure
from siftem.app.step_view import listed, numbers, put_text
from siftem.app.style import INK, PAPER
from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError
from siftem.pipeline.recipe_sections import Phase
from siftem.segment.regions import Regions


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    made = Page(SMALL)
    made.jobs.wait(240)
    made.refresh()
    made.views[5].folder.value = str(tmp_path_factory.mktemp("out") / "run")
    return made


def said(page):
    return page._status.object


def test_the_road_by_buttons(page):
    data, decompose, segment, spectra, composition, export = page.views
    assert not page.jobs.state.failed
    assert "32 × 32 pixels" in data.about.object
    page.go(1)
    page.attempt(decompose.decompose)
    page.jobs.wait(240)
    assert "Decompose: done" in said(page)
    assert [f.value for f in decompose.names] == ["Brg", "Fp", "Ca-Pv"]
    page.go(2)
    assert segment.figure.ranges == data.look.figure.ranges == decompose.look.figure.ranges
    for name, y, x in (("Brg", 2, 25), ("Fp", 14, 20), ("Ca-Pv", 15, 8)):
        if name == "Ca-Pv":  # nobody is to blame who has not come to the last phase yet
            page.jobs.wait(240)
            assert "all are painted; missing: Ca-Pv." in segment.counts.object
            assert not page.jobs.state.failed
        segment.choose_phase(name)
        segment.painted([(y, x)])
    assert segment.look.name.value == "Component Ca-Pv"  # the map follows the phase
    page.jobs.wait(240)
    live = page.session.workflow.get("regions")  # trained after the last stroke, unasked
    assert live is not None and segment.overlay.value == "Regions"
    assert segment.findings._words[0] is live  # the cursor need not wait for what it reads
    page.attempt(segment.train)
    page.jobs.wait(240)
    assert "Trained on painted traces" in said(page)
    assert segment.overlay.value == "Regions"
    before = segment.figure.overlaid
    segment.margin_slider.value = 3
    page.jobs.wait(240)
    assert (segment.figure.overlaid != before).any()
    counts = page.session.workflow.get("regions").regions.pixel_counts()
    assert f"{counts['pure Brg']:,}" in segment.counts.object
    segment.margin_slider.value = 1
    page.jobs.wait(240)
    page.go(3)
    page.attempt(spectra.subtract)
    page.jobs.wait(240)
    assert "Anchor: no Si in the grain" in spectra.found.object
    assert "Si K lines in pure Fp" in spectra.found.object
    spectra.element.value = spectra.element.options[-1]
    assert spectra.residual.object.title.text == "Fp: what the fit of all lines leaves"
    page.go(4)
    composition.form.ratios.value_input = "(Mg+Fe)/Si"
    page.attempt(composition.quantify)
    page.jobs.wait(240)
    assert "Quantify: done" in said(page)
    assert "Composition of the phases" in composition.tables.object
    assert "What the numbers rest on" in composition.tables.object
    assert "(Mg+Fe)/Si" in composition.tables.object
    composition.errors.value = "95% intervals, all errors"
    assert "95% intervals" in composition.tables.object and " to " in composition.tables.object
    composition.shown.value = "Fp"
    assert "wt%" in composition.tables.object
    composition.shown.value = "Minerals"
    assert "What the phases may be" in composition.tables.object
    page.go(5)
    page.attempt(export.write)
    page.jobs.wait(240)
    assert "Write the folder: done" in said(page)
    fetched = {row[0].filename: row[0].callback() for row in export.files}
    assert set(fetched) == {
        "report.html", "figures.zip", "spectra.zip", "regions.tif", "regions.zip", "maps.hspy",
        "summary.json", "siftem.zip",
    }  # fmt: skip
    with zipfile.ZipFile(io.BytesIO(fetched["spectra.zip"].getvalue())) as packed:
        assert "spectra/Fp.msa" in packed.namelist()
    # A change puts the files out of date.
    page.session.set_smoothness(3.0, 1)
    page.refresh()
    assert not len(export.files)
    page.session.set_smoothness(1.0, 1)


def test_errors_are_one_sentence_on_the_page():
    page = Page()
    for view in page.views:
        page.go(page.views.index(view))  # nothing is open, and no step minds
        assert 'role="alert"' not in said(page)
    for action in (
        page.views[1].decompose, page.views[2].train, page.views[3].subtract,
        page.views[4].quantify, page.views[5].write,
    ):  # fmt: skip
        page.attempt(action)
        assert 'role="alert"' in said(page)
        assert "open a file or the demo" in said(page)
    page.views[0].path.value = "/nothing/at/all.hspy"
    page.attempt(page.views[0].open_file)
    page.jobs.wait(240)
    assert "Cannot read" in said(page) or "no such file" in said(page)


def test_a_name_with_html_in_it_is_only_text():
    page = Page()
    page.jobs.tell("<script>alert(1)</script>", failed=True)
    assert "<script>" not in said(page)


def test_one_class_only_is_told_in_a_sentence(page):
    session = page.session
    kept = session.traces
    session.clear_traces()
    session.paint("Fp", [(14, 20)], 5)
    page.attempt(page.views[2].train)
    page.jobs.wait(240)
    assert 'role="alert"' in said(page)
    assert "paint some" in said(page)
    session.undo()
    session.undo()
    assert session.traces is kept


def test_traces_on_the_wrong_phase_and_places_without_any_are_told(page):
    page.go(2)
    session, segment = page.session, page.views[2]
    kept = session.traces
    session.clear_traces()
    share = session.result("match").smooth_shares[0][0]
    matrix = np.argsort(-share, axis=None)[:40]
    for n, (y, x) in enumerate(zip(*np.unravel_index(matrix, (32, 32)), strict=True)):
        session.paint(("Brg", "Fp")[n % 2], [(y, x)], 1)  # every other as a grain
    segment._changed_traces()
    page.jobs.wait(240)
    assert "painted as Fp hold hardly any of its component" in segment.counts.object
    assert "paint some of them next" in segment.counts.object
    segment.overlay.value = "Paint next"
    shown = segment.figure.overlaid[..., 3] != 0
    np.testing.assert_array_equal(shown, segment.findings.unlike_painted())
    colours, place = segment.figure.overlaid[..., 1], segment.findings.place_to_paint()
    assert 1 <= (colours[shown] == colours[place]).sum() < 20 < shown.sum()  # a spot of its own
    segment.overlay.value = "None"
    session.paint("Ca-Pv", [(15, 8)], 5)
    page.attempt(segment.train)
    page.jobs.wait(240)
    assert 'role="alert"' in said(page) and "contradict" in said(page)
    told = session.workflow.warnings("segment")
    assert any("painted as Fp hold hardly any" in t for t in told)
    while session.traces.shapes != kept.shapes:
        assert session.undo()


def test_an_edited_anchor_stays_when_another_grain_is_clicked(page):
    page.go(3)
    spectra, session = page.views[3], page.session
    before = session.recipe
    page.attempt(lambda: spectra.choose_grain("Fp"))
    put_text(spectra.anchor.elements, "Si, Al")
    page.attempt(lambda: spectra.choose_grain("Ca-Pv"))
    assert session.recipe.phases["Fp"].anchor[0].absent == ("Si", "Al")
    assert "anchor of Fp is taken" in said(page)
    assert spectra.anchor.choice()["ratio"]["numerator"] == "Mg"  # the grain's own
    put_text(spectra.anchor.ratio, "Mg")  # what cannot be read is not thrown away either
    page.attempt(lambda: spectra.choose_grain("Fp"))
    assert spectra.grain == "Ca-Pv" and "such as Mg/Ca" in said(page)
    put_text(spectra.anchor.ratio, "Fe/Ca")
    page.go(4)
    assert session.recipe.phases["Ca-Pv"].anchor[0].ratio.numerator == "Fe"
    # What was typed for one grain is not taken for another.
    spectra.anchor.elements.value_input = "Hf"
    page.attempt(lambda: spectra.choose_grain("Fp"))
    assert spectra.anchor.choice() == {"absent": ["Si", "Al"]}
    session.workflow.set_recipe(before)


def test_two_pages_have_two_states(page):
    other = Page()
    assert not other.session.is_open
    assert other.views[2].figure is None
    assert page.session.is_open


def test_keys_choose_phases_and_tools(page):
    page.go(2)
    page._key("3")
    assert page.views[2].phase == "Ca-Pv"
    page._key("e")
    assert page.views[2].mode.value == "Erase"
    page._key("p")
    assert page.views[2].mode.value == "Paint"
    page._key("Alt+ArrowLeft")
    assert page.active == 1
    page._key("Alt+ArrowRight")
    assert page.active == 2


def test_the_recipe_is_edited_as_text_and_figures_are_chosen(page):
    page.go(5)
    export, before = page.views[5], page.session.recipe
    put_text(export.text_of, export.text_of.value.replace("margin: 1", "margin: two"))
    page.attempt(export.take_recipe)
    assert "The recipe, segment.margin" in said(page) and page.session.recipe is before
    put_text(export.text_of, before.to_yaml().replace("shape: [32, 32]", "shape: [16, 16]"))
    page.attempt(export.take_recipe)
    assert "names another map" in said(page) and page.session.recipe is before
    put_text(export.text_of, before.to_yaml().replace("margin: 1", "margin: 4"))
    page.attempt(export.take_recipe)
    assert page.session.recipe.segment.margin == 4
    page.go(2)
    assert page.views[2].margin_slider.value == 4
    page.session.workflow.set_recipe(before)
    page.go(5)
    export.formats.value, export.width.value, export.lines.value = ["svg", "pdf"], 85.0, "Nd La"
    export.choose_figures()
    figures = page.session.recipe.figures
    assert figures.formats == ("svg", "pdf") and figures.width_mm == 85.0
    assert figures.trace_lines == ("Nd La",)
    page.session.workflow.set_recipe(before)


def test_the_pure_matrix_is_seen_and_has_no_anchor(page):
    page.go(3)
    spectra = page.views[3]
    page.attempt(spectra.subtract)
    page.jobs.wait(240)
    page._key("3")
    assert spectra.grain == "Brg" and not spectra.known.visible
    assert "Deviance of the fit" in spectra.found.object
    page._key("1")
    assert spectra.grain == "Fp" and spectra.known.visible


# Pieces -----------------------------------------------------------------------------------


def test_a_map_keeps_the_shape_of_its_pixels_within_its_box():
    figure = MapFigure((50, 100), (2.0, 1.0), box=(400, 300))
    width, height = figure.frame_size
    assert width == pytest.approx(height, abs=1)
    assert width <= 400 and height <= 300


def test_overlays_have_the_colours_of_their_phases():
    masks = {"a": np.zeros((4, 4), bool), "b": np.zeros((4, 4), bool)}
    masks["a"][0, :2], masks["b"][0, 1:3] = True, True
    regions = Regions((4, 4), matrix="m", masks=masks)
    colours = {"m": "#010203", "a": "#102030", "b": "#405060"}
    rgba = regions_overlay(regions, colours).rgba
    assert rgba[0, 0].tolist() == [16, 32, 48, 255]
    assert rgba[0, 2].tolist() == [64, 80, 96, 255]
    assert rgba[3, 3].tolist() == [1, 2, 3, 255]
    assert rgba[0, 1].tolist() == [125, 249, 255, 255]  # seen on dark maps
    painted = traces_overlay(masks, colours).rgba
    assert painted[0, 0, :3].tolist() == [16, 32, 48] and painted[3, 3, 3] == 0
    half = probability_overlay(np.array([[0.0, 0.5, 1.0]]), "#102030").rgba
    assert half[0, :, 3].tolist() == [0, 128, 255]


def test_a_stroke_waits_for_a_byte_a_pixel_and_no_layout_of_the_page():
    plot = MapFigure((4, 4), None, box=(400, 300))
    plot.overlay(mask_overlay(np.eye(4, dtype=bool), "#405060"), 0.5)
    sources = [r.data_source for r in plot.figure.renderers if hasattr(r.glyph, "color_mapper")]
    over = sources[1].data["image"][0]
    assert over.dtype == np.uint8 and over.shape == (4, 4)
    assert plot.overlaid[1, 1].tolist() == [64, 80, 96, 255] and not plot.overlaid[0, 1].any()
    plot.overlay(None)
    assert not plot.overlaid.any()
    # Another class, or another style sheet, makes Bokeh lay the whole page out anew.
    buttons = PhaseButtons(Page().views[2].button, print)
    seen = []
    for chosen in ("a", "b"):
        buttons.show({"a": "#102030", "b": "#405060"}, chosen)
        seen.append([(b.css_classes, b.stylesheets) for b in buttons.grid])
        assert [b.styles["--chosen"] for b in buttons.grid] == [
            "true" if name == chosen else "false" for name in "ab"
        ]
    assert seen[0] == seen[1]


def test_elements_are_mapped_by_the_lines_that_quantify_them(page):
    si = page.session.spectrum_image
    lines = {e: mapped_line(si, e)[0] for e in ("Mg", "Fe", "Nd", "Hf")}
    assert {e: line.subshell[0] for e, line in lines.items()} == {
        "Mg": "K", "Fe": "K", "Nd": "L", "Hf": "L",
    }  # fmt: skip
    images = map_images(si, None, ("Mg",))
    assert next(iter(images)) == "Total counts"
    np.testing.assert_array_equal(images["Total counts"].pixels(), si.total_map())
    assert images["Mg Kα"].pixels().sum() < si.total


def test_maps_by_fit_stand_beside_those_of_windows(page):
    data = page.views[0]
    before = list(data.look.name.options)
    page.attempt(data.fit_maps)
    page.jobs.wait(240)
    assert not page.jobs.state.failed
    added = [name for name in data.look.name.options if name not in before]
    assert {"Mg K by fit", "Nd L by fit", "continuum by fit"} <= set(added)
    shown = data.look.images["Mg K by fit"].pixels()
    assert np.corrcoef(shown.ravel(), data.look.images["Mg Kα"].pixels().ravel())[0, 1] > 0.7


@pytest.mark.parametrize("log", [True, False])
def test_spectra_have_named_axes_and_marks(log):
    axis = EnergyAxis(0.0, 0.01, 1000)
    rng = np.random.default_rng(0)
    curves = [Curve("a", rng.normal(0, 3, 1000), "#000000"), Curve("b", np.zeros(1000), "#111111")]
    plot = spectrum_figure(axis, curves, marks=[LineMark("Si Kα", 1.74)], size=(600, 300), log=log)
    assert plot.xaxis[0].axis_label == "Energy (keV)"
    assert plot.yaxis[0].axis_label
    assert plot.y_range.start < plot.y_range.end
    if log:
        assert plot.y_range.start > 0


@pytest.mark.parametrize("dark", [False, True])
def test_marks_are_nearer_to_the_ground_than_to_the_ink(dark):
    axis, curves = EnergyAxis(0.0, 0.01, 1000), [Curve("a", np.ones(1000), "#000000")]
    marks = [LineMark("Si Kα", 1.74)]
    plot = spectrum_figure(axis, curves, marks=marks, size=(600, 300), dark=dark)
    span = next(one for one in plot.center if one.__class__.__name__ == "Span")
    grey, paper, ink = (int(c[1:3], 16) for c in (span.line_color, PAPER[dark], INK[dark]))
    assert 2 * abs(grey - paper) < abs(ink - paper)


@pytest.mark.parametrize(
    "anchor",
    [
        {"absent": ["Si"]},
        {"ratio": {"numerator": "Mg", "denominator": "Ca", "value": 0.03, "sigma": 0.02}},
        {"stoichiometry": {"ratio": "(Ca+Mg+Fe)/(Si+Al)", "value": 1.0, "sigma": 0.05}},
        {"scale": {"value": 0.4, "sigma": 0.1}},
        {"most_matrix": ["Si", "Mg"]},
        {"absent_edge": "Ti_L3"},
        {"edge_ratio": {"numerator": "O_K", "denominator": "Mn_L3", "value": 1.2, "sigma": 0.1}},
        {},
    ],
)
def test_an_anchor_goes_through_its_fields_unchanged(anchor):
    form = AnchorForm()
    phase = Phase.model_validate({"anchor": [anchor]})
    form.show(phase)
    assert Phase.model_validate({"anchor": [form.choice()]}) == phase
    assert anchor_elements(phase) is not None


def test_what_the_fields_cannot_tell_stays_until_they_are_edited():
    by_weight = {"numerator": "Mg", "denominator": "Ca", "value": 0.1, "by": "weight"}
    phase = Phase.model_validate({"anchor": [{"ratio": by_weight}, {"absent": ["Si"]}]})
    form = AnchorForm()
    form.show(phase)
    assert not form.edited
    assert "1 more" in form.others.object
    form.value.value = 0.2
    assert form.edited


def test_bad_anchors_are_told():
    form = AnchorForm()
    form.elements.value = " "
    with pytest.raises(InputError, match="such as Si"):
        form.choice()
    form.kind.value = form.kind.options[1]
    form.ratio.value = "Mg"
    with pytest.raises(InputError, match="Mg/Ca"):
        form.choice()


def test_typed_lists_and_points():
    assert listed(" Mg, Si;".replace(";", "") + " Mg Fe") == ("Mg", "Si", "Fe")
    assert numbers("1, 2; 3.5, 4", "the stroke") == [(1.0, 2.0), (3.5, 4.0)]
    for text in ("", "1", "1,2,3", "a,b"):
        with pytest.raises(InputError, match="the stroke must be like"):
            numbers(text, "the stroke")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        ((8740.0, 8740.0), "8.74 × 8.74 µm"),
        ((1.72, 1.72), "1.72 × 1.72 nm"),
        ((0.05, 0.04), "50 × 40 pm"),
        ((2e6, 1e6), "2 × 1 mm"),
    ],
)
def test_pixels_have_units_that_can_be_read(size, text):
    assert length_text(size) == text


def test_a_file_is_found_by_its_folder(tmp_path):
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "a.hspy").write_text("")
    (tmp_path / "maps" / "notes.txt").write_text("")
    data = Page().views[0]
    data.folder.value = str(tmp_path)
    assert data.listing.options[1:] == ["↑ folder above", "maps/"]
    data.listing.value = "maps/"
    assert data.listing.options[2:] == ["a.hspy"]
    data.path.value_input = "typed before"
    data.listing.value = "a.hspy"
    assert data.path.value == data.path.value_input == str(tmp_path / "maps" / "a.hspy")
    data.listing.value = "↑ folder above"
    assert data.folder.value == str(tmp_path)
