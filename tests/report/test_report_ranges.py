"""What no anchor fixes is shown as a range, and what an anchor assumes as assumed."""

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from test_report_html import Page, phase_tables

from siftem.cli.display import print_result
from siftem.pipeline.steps.composition import partition_coefficients
from siftem.pipeline.summary import summarize
from siftem.printed_numbers import range_text
from siftem.report.html import render_report
from siftem.report.minerals import formula_table
from siftem.report.table import ASSUMED, BELOW_LIMIT


@pytest.fixture(scope="module")
def open_run(made_run):
    """The run with nothing known of how much Brg the mixture of Ca-Pv holds."""
    recipe = made_run.recipe.model_copy(
        update={
            "phases": {
                n: p.model_copy(update={"anchor": ()}) if n == "Ca-Pv" else p
                for n, p in made_run.recipe.phases.items()
            }
        }
    )
    c = made_run.compositions["Ca-Pv"]
    end = 0.5 * c.weight_fractions + 0.5 * made_run.compositions["Brg"].weight_fractions
    compositions = {**made_run.compositions, "Ca-Pv": c.with_range(end)}
    pairs = [("Fp", "Brg"), ("Ca-Pv", "Brg")]
    return replace(
        made_run,
        recipe=recipe,
        compositions=compositions,
        partition=partition_coefficients(compositions, pairs, "Brg", {}),
        unmixed=None,
        unmixed_compositions={},
        unmixed_partition=(),
    )


@pytest.fixture(scope="module")
def page(open_run):
    return Page(render_report(open_run, figures={}))


def test_all_contents_of_an_open_phase_are_ranges(open_run, page):
    c = open_run.compositions["Ca-Pv"]
    table = phase_tables(page)[2]
    assert BELOW_LIMIT not in [text for row in table for text in row]
    for i, row in enumerate(table[1:]):
        assert row[2] == range_text(*(100 * c.weight_interval_95[i]))
        assert row[3] == range_text(*(100 * c.atomic_interval_95[i]))
    magnesium = next(row for row in table if row[0] == "Mg")
    assert magnesium[3].startswith("0 to ")
    # Those of the others are values with errors, as before.
    assert "±" in phase_tables(page)[0][1][3]


def test_what_follows_is_a_range_too(open_run, page):
    (row,) = [r for r in page.table("Atomic ratios") if r[0] == "(Mg+Fe)/O"]
    assert " to " in row[-1]
    (row,) = [r for r in page.table("Ca-Pv / Brg") if r[0] == "Ca"]
    d = next(d for d in open_run.partition if d.element == "Ca" and d.phases[0] == "Ca-Pv")
    assert row[1] == range_text(*d.interval_95)
    with_formula = {**open_run.recipe.phases}
    with_formula["Ca-Pv"] = with_formula["Ca-Pv"].model_copy(update={"oxygens": 3.0})
    recipe = open_run.recipe.model_copy(update={"phases": with_formula})
    shown = {r[0].text: r[-1].text for r in formula_table(replace(open_run, recipe=recipe)).rows}
    assert " to " in shown["Ca"]
    assert shown["cations"] == ""


def test_an_anchor_s_element_is_assumed_absent(page):
    overview = page.table("Composition of the pure phases")
    silicon = next(row for row in overview if row[0] == "Si")
    assert silicon[3] == ASSUMED
    pairs = {row[0] for row in page.table("Fp / Brg")[1:]}
    assert "Mg" in pairs


def test_the_command_line_shows_the_same(open_run, tmp_path):
    console = Console(width=160, record=True, quiet=False, file=(tmp_path / "out").open("w"))
    print_result(console, open_run, tmp_path, {"seconds": 1.0, "peak_memory_MB": 1.0})
    text = console.export_text()
    row = next(line for line in text.splitlines() if " Si " in line)
    assert ASSUMED in row
    assert " to " in row
    ratio = next(line for line in text.splitlines() if line.startswith("(Mg+Fe)/O:"))
    assert "Ca-Pv" in ratio.split("; ")[-1]
    assert " to " in ratio.split("; ")[-1]
    assert any(line.startswith("D(Ca-Pv/Brg)") and " to " in line for line in text.splitlines())


def test_the_summary_holds_intervals(open_run):
    data = summarize(open_run)
    grain = data["phases"]["Ca-Pv"]
    assert grain["is_range"]
    assert not data["phases"]["Fp"]["is_range"]
    low, high = grain["atomic_ratios"]["(Mg+Fe)/O"]["interval_95"]
    assert low <= grain["atomic_ratios"]["(Mg+Fe)/O"]["value"] < high
    assert high > 0.1
    assert data["phases"]["Fp"]["elements"]["Si"]["assumed_absent"]
    assert not data["mixtures"]["Fp + Brg"]["elements"]["Si"]["assumed_absent"]
    ranges = [d for d in data["partition"]["subtract"] if d["is_range"]]
    assert {d["numerator"] for d in ranges} == {"Ca-Pv"}
    assert all(d["interval_95"][0] >= 0 for d in ranges)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (12.34, 24.51, "12 to 25"),
        (12.34, 13.51, "12.3 to 13.6"),
        (0.0, 24.5, "0 to 25"),
        (0.0004, 0.31, "0 to 0.31"),
        (1.2, np.inf, "above 1.2"),
        (0.0, np.inf, "–"),
        (1e-9, 3e-9, "1.0e-09 to 3.0e-09"),
        (np.nan, 1.0, "–"),
        (0.0, 0.0, "0"),
    ],
)
def test_a_range_is_rounded_outwards(low, high, text):
    assert range_text(low, high) == text
