"""What a report says of phases that lie side by side, on a support, or in each other."""

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from test_report_html import Page

from siftem.cli.display import print_result
from siftem.decomposition.layout import MIXED, VACUUM, Lies, PhaseLayout
from siftem.io.images import read_label_image
from siftem.pipeline.open_scales import OpenScale
from siftem.pipeline.store import write_data
from siftem.pipeline.summary import summarize
from siftem.report.html import figure1_caption, figure2_caption, render_report
from siftem.report.phase_names import phase_table
from siftem.report.pictures import draw_figure1, draw_figure2
from siftem.report.run_tables import subtraction_table
from siftem.unmixing.scale_range import ScaleRange

NAMES = ("Brg", "Fp", "Ca-Pv")


def laid_out(run, kind, *lies):
    """The run with its phases side by side in stripes; without anything of the matrix road."""
    labels = np.zeros(run.spectrum_image.shape, int)
    labels[:, 10:20], labels[:, 20:] = 1, 2
    labels[:, 19], labels[0, 20:] = MIXED, VACUUM
    pure = {n: replace(run.spectra[n if n == "Brg" else f"{n} + Brg"], name=n) for n in run.pure}
    return replace(
        run,
        layout=PhaseLayout(kind, lies, labels),
        pure=pure,
        spectra=pure,
        compositions={n: run.compositions[n] for n in pure},
        gains=(),
        rectangles=(),
        truth=None,
        unmixed=None,
        unmixed_compositions={},
        unmixed_partition=(),
        recipe=run.recipe.model_copy(update={"phases": {}}),
    )


PURE = "Brg, Fp and Ca-Pv are pure in their own pixels"


@pytest.fixture(scope="module")
def beside(made_run):
    own = Lies("pure", (), 0.0, 0.3, 4000.0)
    return laid_out(made_run, "side by side", own, own, own)


def test_what_may_lie_evenly_above_a_phase_is_told_beside_it(beside):
    first, second, third = beside.layout.phases
    layout = replace(beside.layout, phases=(first, replace(second, perhaps=(0,)), third))
    table = phase_table(replace(beside, layout=layout))
    rows = {row[0].text: [cell.text for cell in row] for row in table.rows}
    assert rows["Fp"][1] == "pure, unless Brg lies above it"
    assert rows["Ca-Pv"][1] == "pure in its own pixels"


def test_no_word_of_a_matrix_where_there_is_none(beside):
    page = Page(render_report(beside, figures={"figure1": b"1", "figure2": b"2"}))
    # The table of settings is the recipe as it is, with the names of its keys.
    text = page.text[: page.text.index("Settings and versions")].lower()
    for word in ("matrix", "grain", "subtract", "mixture"):
        assert word not in text, text[text.index(word) - 60 :][:120]
    assert f"Layout of the phases: side by side: {PURE}" in page.text


def test_phases_with_their_pixels_counts_and_areas(beside):
    table = phase_table(beside)
    rows = {row[0].text: [cell.text for cell in row] for row in table.rows}
    assert list(rows) == ["Brg", "Fp", "Ca-Pv", "mixed", "vacuum"]
    total = beside.spectrum_image.total_map()
    for i, name in enumerate(NAMES):
        own = beside.layout.labels == i
        assert rows[name][1:3] == ["pure in its own pixels", "nothing else"]
        assert float(rows[name][3]) == pytest.approx(100 * own.mean(), abs=0.1)
        assert rows[name][4].startswith("± ")
        assert int(rows[name][5].replace("\u2009", "")) == own.sum()
        assert int(rows[name][6].replace("\u2009", "")) == round(float(total[own].sum()))


def test_particles_lie_on_their_support(made_run):
    run = laid_out(
        made_run,
        "particles on a support",
        Lies("support", (), 0.0, 0.3, 400.0),
        Lies("embedded", (0,), 0.0, 0.3, 4000.0),
        Lies("uneven", (1,), 0.1, 0.3, 4000.0),
    )
    rows = {row[0].text: [cell.text for cell in row] for row in phase_table(run).rows}
    assert rows["Brg"][1:3] == ["support", "nothing else"]
    assert rows["Fp"][1:3] == ["on Brg", "Brg"]
    assert rows["Ca-Pv"][1:3] == ["mixed with Fp", "Fp"]


def test_a_matrix_is_called_one(made_run):
    rows = {row[0].text: [cell.text for cell in row] for row in phase_table(made_run).rows}
    assert rows["Brg"][1] == "matrix"
    assert rows["Fp"][1:3] == ["grain", "Brg"]


def test_the_command_line_says_the_layout(beside, tmp_path):
    with (tmp_path / "out").open("w") as file:
        console = Console(width=200, record=True, file=file)
        print_result(console, beside, tmp_path, {"seconds": 1.0, "peak_memory_MB": 1.0})
    assert console.export_text().startswith(f"layout: side by side: {PURE}")


def test_the_summary_and_the_files_hold_the_phase_map(beside, tmp_path):
    data = summarize(beside)
    for i, name in enumerate(NAMES):
        share = 100 * (beside.layout.labels == i).mean()
        assert data["phases"][name]["area_percent"] == pytest.approx(share, rel=1e-5)
        assert data["phases"][name]["area_percent_sigma"] > 0
    assert data["layout"]["kind"] == "side by side"
    write_data(beside, tmp_path)
    saved = read_label_image(tmp_path / "phase_map.tif", beside.spectrum_image.shape)
    labels = beside.layout.labels
    assert (saved[labels == VACUUM] == 0).all()
    assert (saved[labels == MIXED] == 255).all()
    np.testing.assert_array_equal(saved[labels >= 0], labels[labels >= 0] + 1)


def test_figures_and_captions_tell_of_the_phases(beside):
    for draw in (draw_figure1, draw_figure2):
        assert draw(beside).startswith(b"\x89PNG")
    assert "Phase map" in figure1_caption(beside)
    caption = figure2_caption(beside)
    assert caption.startswith("(a–c) Pixels of each phase")
    assert "(d) Pure spectra of the phases" in caption


def test_the_range_of_a_scale_stands_in_its_place(made_run):
    scaled = made_run.scale_of("Fp")
    found = ScaleRange(0.2, 0.01, 0.6, 0.02, "Si K")
    known = OpenScale("Fp", ("Brg",), (found,), (scaled,))
    run = replace(made_run, open_scales={"Fp": known})
    table = subtraction_table(run)
    rows = {row[0].text: [cell.text for cell in row] for row in table.rows}
    assert rows["Fp"][1:4] == ["Brg", "none", "0.18 to 0.64"]
    assert rows["Ca-Pv"][2] == "no Mg in the grain"
    assert "at the upper end nothing of Si K would be left" in table.note
    assert summarize(run)["phases"]["Fp"]["scale_ranges"] == {
        "Brg": {
            "low": 0.18,
            "high": 0.64,
            "taken": 0.2,
            "vanishes_at_high": "Si K",
            "vanish_together": [],
            "as_beside": False,
        }
    }
    assert "Dashed" in figure2_caption(run)
