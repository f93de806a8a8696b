"""What stands on top of a report, its contents, its tables as CSV."""

import base64
import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from test_report_html import FIGURES, Page

from siftem.cli.display import print_result
from siftem.errors import DoubtWarning
from siftem.pipeline.steps.composition import warn_of_poor_fits
from siftem.pipeline.summary import summarize
from siftem.printed_numbers import as_in_range, range_text, with_error
from siftem.report.composition_tables import composition_table, overview_table
from siftem.report.html import render_report, report_tables
from siftem.report.minerals import limit_table
from siftem.report.run_tables import summary_table, summary_tables, what_to_heed
from siftem.report.table import (
    INTERVALS,
    Cell,
    Table,
    abreast,
    content_cells,
    heading,
    interval_cells,
    name,
    value_cells,
    without_repeats,
)


@pytest.fixture(scope="module")
def page(made_run):
    figures = {**FIGURES, "figure_phases": b"the phase map"}
    return Page(render_report(made_run, figures=figures))


def columns(row):
    """The texts of a row, one for each column."""
    return [text for cell in row for text in (cell.text, *[""] * (cell.span - 1))]


def test_the_summary_holds_area_and_contents_with_intervals(made_run):
    (table,) = summary_tables(made_run)
    assert columns(table.head) == ["", "Brg", "95%", "Fp", "95%", "Ca-Pv", "95%"]
    rows = {row[0].text: columns(row) for row in table.rows}
    areas = made_run.phase_map.area_percent
    assert [float(rows["area, %"][i].split(" ")[0]) for i in (1, 3, 5)] == pytest.approx(
        [areas[n] for n in ("Brg", "Fp", "Ca-Pv")], abs=0.06
    )
    c = made_run.compositions["Brg"]
    for element in ("O", "Mg", "Si"):
        i = c.index(element)
        assert float(rows[element][1]) == pytest.approx(100 * c.atomic_fractions[i], rel=0.01)
        low, high = map(float, rows[element][2].split(" to "))
        assert low <= 100 * c.atomic_interval_95[i, 0] < 100 * c.atomic_interval_95[i, 1] <= high
    assert rows["Si"][3:5] == ["assumed absent", ""]
    assert rows["Mg"][5:] == ["assumed absent", ""]


def test_what_was_not_found_is_told_by_how_much_it_may_be(made_run):
    """A light element may be half of all atoms without a count above the noise."""
    c = made_run.compositions["Brg"]
    i = c.index("Ca")
    lost = replace(c, critical_levels=np.where(np.arange(len(c.elements)) == i, 1.0, 0.0))
    assert content_cells(lost, "Ca")[0].text == "< LOD"
    wide = c.covariance.copy()
    wide[i, i] += 0.2**2
    lost = replace(lost, covariance=wide)
    told = re.fullmatch(r"< LOD \(up to ([\d.]+)\)", content_cells(lost, "Ca")[0].text)
    assert float(told[1]) == pytest.approx(100 * lost.atomic_interval_95[i, 1], rel=0.05)


def test_what_several_notes_say_is_said_once():
    notes = [
        "A: O is 5.2 at% without any. The intervals hold both. Give thickness",
        "B: Al is 2 at% without any. The intervals hold both. Give thickness",
        "4 components: spectra differ",
    ]
    assert without_repeats(notes) == ["A: O is 5.2 at% without any", *notes[1:]]
    # What a note is about stays, even when another one is about the same.
    assert without_repeats(["A is poor", "A is poor"]) == ["A is poor", "A is poor"]


def test_what_makes_no_oxides_has_no_columns_for_them(made_run, monkeypatch):
    def widths(table):
        return {sum(cell.span for cell in row) for row in (table.head, *table.rows)}

    assert widths(composition_table(made_run, "Brg")) == {13}
    assert "Oxides: oxygen by" in render_report(made_run, figures={})
    monkeypatch.setattr("siftem.report.composition_tables.oxides_by_cation", lambda _: {})
    bare = composition_table(made_run, "Brg")
    assert widths(bare) == {9}
    assert "oxide" not in "".join(cell.text for cell in bare.head)
    assert "Oxides: oxygen by" not in render_report(made_run, figures={})


def test_many_phases_stand_in_several_tables_and_none_without_contents(made_run):
    assert [len(g) for g in abreast("ABCDEFG", 4)] == [4, 3]
    assert abreast((), 4) == []
    bare = replace(made_run, compositions={})
    (table,) = summary_tables(bare)
    assert [row[0].text for row in table.rows] == ["Brg", "Fp", "Ca-Pv"]
    assert "%" not in table.caption
    assert float(table.rows[1][1].text.split(" ")[0]) == pytest.approx(
        made_run.phase_map.area_percent["Fp"], abs=0.06
    )


def test_phase_map_and_summary_come_first(page):
    html_tags = [tag for tag, _ in page.tags]
    first = html_tags.index("img")
    assert page.tags[first][1]["alt"] == "Phase map"
    assert page.captions[0] == "The phases, at%"
    assert first < html_tags.index("details")


def test_the_contents_lead_to_each_section(page):
    targets = [a["href"] for tag, a in page.tags if tag == "a" and a["href"].startswith("#")]
    sections = [a["id"] for tag, a in page.tags if tag == "details" and "id" in a]
    assert [t for t in targets if t != "#warnings"] == [f"#{s}" for s in sections]
    assert {"run", "figures", "compositions", "two-ways", "settings"} <= set(sections)
    assert all("open" in a for tag, a in page.tags if tag == "details" and "id" in a)


def test_each_table_can_be_had_as_csv(made_run, page):
    links = [a for tag, a in page.tags if tag == "a" and "download" in a]
    assert len(links) == len(page.tables)
    start = "data:text/csv;charset=utf-8;base64,"
    texts = [base64.b64decode(a["href"].removeprefix(start)).decode() for a in links]
    for text, shown in zip(texts, page.tables, strict=True):
        rows = list(csv.reader(io.StringIO(text)))
        assert len({len(row) for row in rows}) == 1
        assert len(rows) == len(shown)
    assert {"phases.csv", "Fp.csv"} <= {a["download"] for a in links}
    rows = list(csv.reader(io.StringIO(composition_table(made_run, "Brg").as_csv())))
    titles = rows[0]
    assert titles[:6] == ["element", "line", "wt%", "wt% ±", "wt% 95%", "at%"]
    c = made_run.compositions["Brg"]
    i = c.index("Mg")
    row = next(r for r in rows if r[0] == "Mg")
    values = [float(row[titles.index(t)]) for t in ("wt%", "wt% ±")]
    assert values == pytest.approx([100 * c.weight_fractions[i], 100 * c.sigma[i]], rel=0.06)
    assert row[titles.index("wt% 95%")] == range_text(*(100 * c.weight_interval_95[i]))


def test_csv_keeps_names_as_they_are():
    odd = Table("", (name(""), heading('A, "B"', 2)), ((name("x (± y)"), Cell("1", "value", 2)),))
    assert list(csv.reader(io.StringIO(odd.as_csv()))) == [
        ["", 'A, "B"', 'A, "B" ±'],
        ["x (± y)", "1", ""],
    ]


def test_an_interval_stands_for_an_error_where_counting_tells_the_lesser_part(made_run):
    c = made_run.compositions["Brg"]
    i = c.index("Mg")
    value, low, high = (100 * float(x) for x in (c.atomic_fractions[i], *c.atomic_interval_95[i]))
    shown, behind = content_cells(c, "Mg")
    assert (behind.text, behind.kind) == (f"({range_text(low, high)})", "interval")
    assert shown.text == as_in_range(value, low, high)
    assert low <= float(shown.text) <= high
    known = replace(c, systematic=0 * c.systematic, by_ratios=None)
    shown, behind = content_cells(known, "Mg")
    sigma = 100 * float(known.atomic_covariance[i, i]) ** 0.5
    assert f"{shown.text} {behind.text}" == with_error(value, sigma)
    # A film that nobody knows leaves one side open.
    film = c.weight_fractions * np.where(np.array(c.elements) == "O", 2.0, 1.0)
    open_film = replace(known, film_ends=film[None] / film.sum())
    low, high = 100 * open_film.atomic_interval_95[c.index("O")]
    assert content_cells(open_film, "O")[1].text == f"({range_text(low, high)})"
    for errors, kinds in (
        ("counting", ["value", "error"]),
        ("systematic", ["value", "error", "systematic"]),
        ("interval", ["value", "error", "interval"]),
    ):
        assert [cell.kind for cell in content_cells(c, "Mg", errors=errors)] == kinds
    table = overview_table(made_run, ("Brg",), "")
    assert INTERVALS in table.note
    head, *rows = csv.reader(io.StringIO(table.as_csv()))
    assert head == ["at%", "Brg", "Brg ± or 95%"]
    assert next(row for row in rows if row[0] == "Mg")[2] == content_cells(c, "Mg")[1].text[1:-1]


def test_disagreements_and_errors_of_the_model_are_told(made_run):
    assert what_to_heed(made_run) == ()
    c = made_run.compositions["Brg"]
    poor = replace(c, model=0.6 * c.covariance)
    heeded = what_to_heed(replace(made_run, compositions={**made_run.compositions, "Brg": poor}))
    assert len(heeded) == 1
    assert re.search(r"larger error than counting in Brg \(O, Mg, Si", heeded[0])
    half = {**made_run.compositions, "Brg": replace(c, model=0.4 * c.covariance)}
    assert what_to_heed(replace(made_run, compositions=half)) == ()
    moved = c.weight_fractions + 12 * c.sigma * (np.array(c.elements) == "Mg")
    far = {"Brg": replace(c, weight_fractions=moved)}
    two = what_to_heed(replace(made_run, unmixed_compositions=far))
    assert len(two) == 1
    assert "Brg: unmixing and subtraction differ" in two[0]
    assert re.search(r"Mg \(\+\d+\.\d sigma\)", two[0])


def test_a_fit_that_misses_its_counts_is_told_once(made_run):
    c = made_run.compositions["Fp"]
    wrong = c.fit.closest * (1 + 0.8 * (np.abs(c.fit.spectrum.axis.centers - 4.0) < 0.1))
    poor = replace(c, fit=replace(c.fit, closest=wrong))
    run = replace(made_run, compositions={**made_run.compositions, "Fp": poor})
    (told,) = what_to_heed(run)
    assert told.startswith("Fp: the model does not describe its spectrum at")
    warned = replace(run, warnings=("Fp: the model does not describe this spectrum",))
    assert what_to_heed(warned) == ()
    with pytest.warns(
        DoubtWarning, match="^Fp by unmixing: the model does not .* 4.0. keV"
    ) as made:
        warn_of_poor_fits({"Fp by unmixing": poor, "Fp": c})
    assert len(made) == 1


def test_a_limit_above_the_pure_element_is_none(made_run):
    c = made_run.compositions["Brg"]
    limits = np.where(np.arange(len(c.elements)) == c.index("Nd"), 9.6, c.detection_limits)
    poor = replace(c, detection_limits=limits, critical_levels=limits / 2)
    run = replace(made_run, compositions={**made_run.compositions, "Brg": poor})
    rows = {row[0].text: row for row in composition_table(run, "Brg").rows}
    assert rows["Nd"][-1].text == "no limit"
    assert float(rows["Mg"][-1].text) > 0
    shown = {row[0].text: row[1].text for row in limit_table(run).rows}
    assert shown["Nd"] == "no limit"
    assert np.isnan(poor.to_pandas().loc["Nd", "detection_limit_wt_percent"])
    elements = summarize(run)["phases"]["Brg"]["elements"]
    assert elements["Nd"]["detection_limit_wt_percent"] is None
    assert elements["Mg"]["detection_limit_wt_percent"] > 0
    assert "960" not in repr(poor)


def test_contents_between_both_limits_are_set_apart(made_run):
    c = made_run.compositions["Brg"]
    i = c.index("Ca")
    limits = c.detection_limits.copy()
    limits[i] = 2 * c.weight_fractions[i]
    run = replace(
        made_run,
        compositions={**made_run.compositions, "Brg": replace(c, detection_limits=limits)},
    )
    table = summary_table(run, ("Brg", "Fp"))
    kinds = {row[0].text: row[1].kind for row in table.rows}
    assert kinds["Ca"] == "between"
    assert kinds["Mg"] == "value"
    assert "Dotted" in table.note
    assert "Dotted" not in summary_tables(made_run)[0].note
    parts = report_tables(run)
    assert any(c.kind == "between" for row in parts["overview"][0].rows for c in row)


def test_text_marks_what_is_found_below_its_detection_limit(made_run):
    c = made_run.compositions["Brg"]
    mg = np.array(c.elements) == "Mg"
    between = replace(c, detection_limits=np.where(mg, 1.0, 0.0))
    marked = [line for line in repr(between).splitlines() if "*" in line]
    assert [line.split()[0] for line in marked[:-1]] == ["Mg"]
    assert "*: above the critical level, below the detection limit" in marked[-1]
    assert "*" not in repr(replace(c, detection_limits=np.zeros(len(mg))))
    run = replace(made_run, compositions={**made_run.compositions, "Brg": between})
    console = Console(file=io.StringIO(), width=200)
    print_result(console, run, Path("out"), {"seconds": 1.0, "peak_memory_MB": 1.0})
    printed = console.file.getvalue()
    for text in (repr(run), printed):
        assert any(" * " in line for line in text.splitlines() if "Mg" in line)
        assert "*: above the critical level" in text


@pytest.mark.parametrize("width", [60, 200])
def test_a_terminal_shows_as_many_phases_abreast_as_its_width_holds(made_run, width):
    console = Console(file=io.StringIO(), width=width)
    print_result(console, made_run, Path("out"), {"seconds": 1.0, "peak_memory_MB": 1.0})
    printed = console.file.getvalue()
    heads = [line for line in printed.splitlines() if line.startswith("\u2503")]
    assert len(heads) == (2 if width == 60 else 1)
    for c in (made_run.compositions[n] for n in ("Brg", "Fp", "Ca-Pv")):
        for cell in (content_cells(c, "O"), content_cells(c, "Fe")):
            assert " ".join(part.text for part in cell if part.text) in printed
    assert printed.count("Composition, at%") == 1


def test_a_ratio_whose_denominator_may_be_zero_has_no_upper_end():
    assert [c.text for c in value_cells(1.0, 0.2, 0.3, np.inf)] == ["1.0", "(above 0.30)"]
    # An error that reaches below nothing and beyond all says less than the interval.
    assert [c.text for c in value_cells(55.0, 80.0, 0.0, 100.0)] == ["60", "(0 to 100)"]
    assert [c.text for c in value_cells(1.8, 1.1, 0.0, 3.95)] == ["1.8", "± 1.1"]
    assert [c.text for c in interval_cells(1.0, 0.2, 0.3, np.inf)] == [
        "1.00", "± 0.20", "(above 0.30)"
    ]  # fmt: skip
