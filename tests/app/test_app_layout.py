"""How the phases lie, seen and corrected; why pixels are left out; names that count at once."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

pytest.importorskip("panel")

from siftem.acquisition import Acquisition
from siftem.app.left_out import BORDER, INTERSECTION, VACUUM_REASON, LeftOut, left_out, rim_of
from siftem.app.overlays import (
    areas_html,
    left_out_overlay,
    mask_overlay,
    phases_overlay,
    reason_colours,
    region_counts_html,
)
from siftem.app.page import Page
from siftem.app.session import Session
from siftem.app.spectrum_figure import Curve, spectrum_figure
from siftem.decomposition.layout import MIXED, VACUUM
from siftem.energy_axis import EnergyAxis
from siftem.pipeline.layout import PhaseMap
from siftem.pipeline.results import FeatureImages, Matched
from siftem.pipeline.workflow import Workflow
from siftem.segment.regions import Regions
from siftem.segment.traces import GrainShares
from siftem.spectrum_image import SpectrumImage

N = 24


def two_halves():
    """Ca on the left, Fe on a third of the map at the right; 2 lines each on a flat ground."""
    energies = np.arange(0, 9, 0.02)
    spectra = []
    for lines in ({3.69: 1.0, 4.01: 0.15}, {6.40: 1.0, 7.06: 0.15}):
        peaks = sum(h * np.exp(-((energies - e) ** 2) / 0.006) for e, h in lines.items())
        spectra.append(peaks / peaks.sum() * 280 + 20 / energies.size)
    right = np.zeros((N, N), bool)
    right[:, 16:] = True
    counts = np.random.default_rng(4).poisson(np.where(right[..., None], spectra[1], spectra[0]))
    return SpectrumImage(
        sp.csr_array(counts.reshape(N * N, -1).astype(np.float32)),
        (N, N),
        axis=EnergyAxis(0.0, 0.02, energies.size),
        acquisition=Acquisition(beam_energy=200.0, elements=("Ca", "Fe")),
        signal_type="EDS_TEM",
    )


def losses():
    """The same counts, of energy losses; no edges are named."""
    si = two_halves()
    axis = EnergyAxis(400.0, 1.0, si.axis.size, "eV")
    return replace(si, axis=axis, signal_type="EELS", acquisition=Acquisition(beam_energy=200.0))


@pytest.fixture(scope="module")
def decomposed():
    """A map, and the work on it up to its components; tests take copies."""
    si = two_halves()
    made = Page(si)
    made.jobs.wait(240)
    made.views[1].number.value = 2
    made.go(1)
    made.attempt(made.views[1].decompose)
    made.jobs.wait(240)
    assert not made.jobs.state.failed, made._status.object
    return si, made.session.workflow


@pytest.fixture
def page(decomposed):
    si, done = decomposed
    made = Page(si)
    made.jobs.wait(240)
    made.session._workflow = Workflow(done.recipe, spectrum_image=si)
    made.session._workflow._results = dict(done._results)
    made.go(1)
    return made


def test_the_layout_is_told_with_a_phase_map_and_its_areas(page):
    view = page.views[1]
    assert "side by side" in view.lie.object
    table, image = view.areas.object, view.look.images["Phase map"]
    shown = page.session.phase_map()
    areas = shown.area_percent
    assert sorted(round(areas[n]) for n in shown.names) == [33, 67]
    for name in shown.names:
        assert f"{areas[name]:.1f}"[:2] in table
    # It is looked at as any other map: the cursor names the phase.
    view.look.choose("Phase map")
    assert (view.look.figure.overlaid[..., 3] != 0).all()
    assert {image.words(5, 2), image.words(5, 21)} == set(shown.names)
    view.look.figure.mouse.cursor.data = {"y": [5], "x": [2]}
    assert view.look.spectrum.figure.title.text.endswith(image.words(5, 2))
    view.look.choose("Total counts")
    assert not view.look.figure.overlaid.any()


def test_regions_that_no_classifier_made_are_not_said_to_be_trained(page):
    page.go(2)
    page.attempt(page.views[2].train)
    page.jobs.wait(240)
    assert "no classifier was needed" in page._status.object


def test_regions_that_are_there_lie_over_the_map_at_once(page):
    page.session.workflow.run("regions")
    page.go(2)
    segment = page.views[2]
    assert segment.overlay.value == "Regions" and segment.figure.overlaid.any()
    # What the colours mean is read under the cursor.
    cursor, title = segment.figure.mouse.cursor, lambda: segment.look.spectrum.figure.title.text
    cursor.data = {"y": [12], "x": [3]}
    first = page.session.result("match").factors.names[0]
    assert title().endswith(f"pure {first}") or title().endswith(f"region of {first}")
    cursor.data = {"y": [12], "x": [16]}
    assert title().endswith("left out: border of a mask")
    segment.overlay.value = "None"
    cursor.data = {"y": [12], "x": [3]}
    assert first not in title().split(";")[0] and "left out" not in title()


def test_done_is_not_said_where_nothing_was_quantified(page):
    page.go(4)
    page.views[4].quantify()
    page.jobs.wait(240)
    assert "Quantify: done" in page._status.object
    page.open("Open", lambda progress: page.session.open(losses(), progress=progress))
    page.jobs.wait(240)
    page.session.decompose(2)
    page.views[4].quantify()
    page.jobs.wait(240)
    assert 'role="alert"' in page._status.object
    assert "Nothing was quantified: name in Data what to quantify." in page._status.object


def test_rims_of_several_grains_have_colours_of_their_own():
    reasons = (rim_of("Fp"), rim_of("Ca-Pv"), BORDER)
    colours = reason_colours(LeftOut(reasons, np.zeros((2, 2), int)))
    assert len({colours[reason] for reason in reasons}) == 3


def test_side_by_side_nothing_is_said_of_a_matrix(page):
    decompose, segment, spectra = page.views[1:4]
    assert not decompose.matrix.visible
    assert "matrix" not in decompose._heads[0].object + decompose._heads[1].object
    page.go(2)
    assert "Train takes the classes of the pixels" in segment.counts.object
    page.session.workflow.run("regions")
    segment.refresh()
    assert "mixture" not in segment.counts.object
    # Pixels that bear a label are told apart from those that are summed.
    labels = page.session.result("match").layout.labels
    assert f"<td>{(labels == 0).sum():,}</td>" in segment.counts.object
    assert "labelled" in segment.counts.object
    assert "summed: the pixels of its spectrum, of which the purest may" in segment.counts.object
    assert "chosen; 1 pixel at borders is left" in segment.counts.object
    # Traces take the place of the labels, in the table as well.
    first, second = page.session.result("match").factors.names
    for name, pixel in zip((first, second), ((5, 2), (5, 6)), strict=True):  # both on the first
        page.session.paint(name, [pixel], 3)
    masks = page.session.workflow.run("regions").regions.masks
    segment.refresh()
    inside = int(next(iter(masks.values())).sum())
    assert inside not in {int((labels == i).sum()) for i in (0, 1)}
    assert f"<td>{inside:,}</td>" in segment.counts.object
    page.session.clear_traces()
    page.session.workflow.run("regions")
    page.go(3)
    assert not spectra.known.visible and "nothing is taken off" in spectra.alone.object
    assert spectra.do.name == "Sum the pixels"
    page.session.set_lies({page.session.result("match").factors.names[1]: "embedded"})
    page.go(1)
    page.go(3)
    spectra.choose_grain(page.session.result("match").grains[0])
    assert decompose.matrix.visible
    assert spectra.known.visible and spectra.do.name == "Subtract"


def test_a_spectrum_of_some_pixels_of_a_region_says_so(page):
    page.session.workflow.run("spectra")
    page.go(3)
    spectra, pure = page.views[3], page.session.result("spectra").pure
    regions = page.session.result("regions").regions
    for name in page.session.result("match").factors.names:
        whole = (regions.pure if name == regions.matrix else regions.mixture(name)).n_pixels
        spectra.choose_grain(name)
        for n_pixels in (7, whole):
            spectra._draw_residual(None, replace(pure[name], n_pixels=n_pixels), None)
            said = f"the sum of 7 of the {whole:,} pixels of its region"
            assert (said in spectra.found.object) == (n_pixels == 7)


def test_names_of_curves_stay_within_the_figure():
    figures = []
    for number, rows in ((2, 1), (8, 2)):
        curves = [Curve(f"pure {n}", np.ones(100), "#000000") for n in range(number)]
        plot = spectrum_figure(EnergyAxis(0.0, 0.1, 100), curves, size=(460, 300))
        (legend,) = plot.legend
        assert -(-number // legend.ncols) == rows
        figures.append(plot)
    assert figures[1].legend[0].ncols * 7 * len("pure 0") < 460


def test_a_single_phase_has_its_spectrum_on_the_page(page):
    page.session.decompose(1)
    page.session.workflow.run("spectra")
    page.go(3)
    spectra = page.views[3]
    assert spectra.grain == "A"
    assert [c.name for c in spectra.look.spectrum._curves] == ["pure A"]
    assert spectra.do.name == "Sum the pixels" and not spectra.known.visible
    # A stroke on it makes no mixture, and no border at which a pixel is left out.
    page.go(2)
    page.views[2].choose_phase("A")
    page.views[2].painted([(5, 5)])
    page.session.workflow.run("regions")
    page.views[2].refresh()
    said = page.views[2].counts.object
    assert "100.0%" in said and "mixture" not in said and "left out" not in said


def test_names_and_what_single_phases_are_count_as_soon_as_they_are_typed(page):
    view, session = page.views[1], page.session
    view.names[0].value = "calcite"
    view.names[1].value = "iron"
    assert list(session.recipe.phases) == ["calcite", "iron"]
    assert "calcite" in view.lie.object
    assert next(iter(page.views[1].matrix.options)).startswith("calcite")
    field = view.names[1]
    view.lies[1].value = "embedded"
    assert session.recipe.phases["iron"].lies == "embedded"
    assert "iron lies in calcite" in view.lie.object
    assert "with what the recipe says" in view.lie.object
    assert view.names[1] is field  # the cursor stays in its field
    view.names[1].value = "calcite"
    assert 'role="alert"' in page._status.object
    assert list(session.recipe.phases) == ["calcite", "iron"]
    # Typed, but not entered: the step is left by the keyboard.
    view.names[1].value = "iron"
    view.names[1].value_input = "native iron"
    page._key("Alt+ArrowRight")
    assert list(session.recipe.phases) == ["calcite", "native iron"]


def test_another_layout_keeps_names_anchors_and_traces_with_their_phases(page):
    view, session = page.views[1], page.session
    view.names[0].value, view.names[1].value = "first", "second"
    session.set_anchor("second", {"absent": ["Ca"]})
    session.paint("second", [(5, 20)], 3)
    spectra = dict(zip(("first", "second"), session.result("match").factors.spectra, strict=True))
    view.layout.value = "matrix"
    page.jobs.wait(240)
    assert session.recipe.layout == "matrix"
    assert "with what the recipe says" in view.lie.object
    assert session.recipe.phases["second"].anchor[0].absent == ("Ca",)
    assert set(session.recipe.segment.traces) == {"second"}
    found = session.result("match").factors
    for name, spectrum in zip(found.names, found.spectra, strict=True):
        assert spectrum @ spectra[name] > 0.95 * np.linalg.norm(spectrum) * np.linalg.norm(
            spectra[name]
        )


def test_a_cancelled_decomposition_leaves_all_as_it_was(page, monkeypatch):
    session, before = page.session, page.session.recipe

    def cancelled(*_args, **_options):
        page.jobs.cancel()
        raise MemoryError

    monkeypatch.setattr(type(session.workflow), "run", cancelled)
    page.views[1].layout.value = "matrix"
    page.jobs.wait(240)
    monkeypatch.undo()
    assert page.jobs.state.failed
    assert session.recipe == before
    assert page.views[1].layout.value == "auto"


def test_an_anchor_does_not_ask_for_another_decomposition(page):
    session = page.session
    for grain in session.result("match").grains:
        session.set_anchor(grain, {"absent": ["Ca"]})
    assert session.workflow.done("match")


def test_other_names_do_not_ask_for_another_decomposition():
    """The demo knows by its anchors how the phases lie; numbers of components do not."""
    session = Session()
    session.open_demo(size=32, dose=100.0)
    session.decompose(3)
    known, before = session.recipe.known_layout, session.result("decompose")
    session.name_components(["x", "y", "z"], "x")
    assert known == session.recipe.known_layout == "matrix"
    assert session.result("decompose") is before


def regions_with_rims():
    masks = {"a": np.zeros((9, 12), bool), "b": np.zeros((9, 12), bool)}
    masks["a"][2:7, 2:7], masks["b"][2:7, 6:10] = True, True
    excluded = np.zeros((9, 12), bool)
    excluded[0, :3] = excluded[3, 3] = True
    touched = np.zeros((2, 9, 12), bool)
    touched[1, 3, 3] = True
    vacuum = np.zeros((9, 12), bool)
    vacuum[0, :3] = True
    shares = GrainShares(
        np.zeros((2, 9, 12)), np.ones(2), vacuum, np.ones(3) / 3, np.ones(2), touched
    )
    regions = Regions((9, 12), matrix="m", masks=masks, margin=1, excluded=excluded)
    factors = type("F", (), {"names": ("m", "a", "b")})()
    return regions, Matched(factors, "m", ()), FeatureImages({}, shares, None)


def test_each_pixel_that_is_left_out_has_its_reason():
    regions, matched, features = regions_with_rims()
    left = left_out(regions, matched, features)
    name = dict(enumerate(left.reasons))
    assert name[left.numbers[0, 1]] == VACUUM_REASON
    assert name[left.numbers[3, 6]] == INTERSECTION
    assert name[left.numbers[3, 3]] == rim_of("b")
    assert name[left.numbers[1, 3]] == BORDER
    assert left.numbers[4, 4] == -1 and left.numbers[8, 11] == -1
    counts = regions.pixel_counts()
    assert sum(left.pixels.values()) == counts["left out"] + counts["intersection"]
    # Without the images the rest is still told.
    plain = left_out(regions, matched, None)
    assert plain.reasons[plain.numbers[3, 3]] == "excluded"
    rgba = left_out_overlay(left).rgba
    assert rgba[4, 4, 3] == 0 and rgba[3, 3, 3] == 255
    assert rgba[3, 3].tolist() != rgba[1, 3].tolist()
    table = region_counts_html(regions, {"m": "#111111", "a": "#222222", "b": "#333333"}, {}, left)
    assert "faint rim of b" in table and "vacuum" in table
    # A colour that is not on the map is no legend of it; what two grains share always is.
    names = {"m": "#111111", "a": "#222222", "b": "#333333"}
    assert table.count("swatch") == 3 + len(left.pixels)
    assert region_counts_html(regions, names, {}, left, reasons=False).count("swatch") == 3 + 1
    gone = counts["left out"] + counts["intersection"]
    assert f"In no spectrum</th><td></td><td></td><td>{gone}</td>" in table


def test_overlays_of_phases_and_masks():
    labels = np.array([[0, 1], [MIXED, VACUUM]])
    shown = PhaseMap(("a", "b"), labels)
    colours = {"a": "#102030", "b": "#405060"}
    rgba = phases_overlay(shown, colours).rgba
    assert rgba[0, 0].tolist() == [16, 32, 48, 255]
    assert rgba[0, 1].tolist() == [64, 80, 96, 255]
    assert rgba[1, 0].tolist() == [180, 180, 180, 255]
    assert rgba[1, 1].tolist() == [255, 255, 255, 255]
    assert "25.0" in areas_html(shown, colours) and "vacuum" in areas_html(shown, colours)
    assert mask_overlay(labels == 1, "#405060").rgba[..., 3].tolist() == [[0, 255], [0, 0]]
