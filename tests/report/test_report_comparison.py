"""What the report says of unmixing, partition, formula units and limits."""

from dataclasses import replace

import pytest
from made_up_run import build_run
from test_report_html import FIGURES, Page

from siftem.pipeline.composition_doubts import run_differences
from siftem.pipeline.steps.composition import counts_for_wanted_limits
from siftem.printed_numbers import plus_minus, signed, with_error
from siftem.report.composition_tables import comparison_tables, comparison_text, partition_tables
from siftem.report.html import render_report
from siftem.report.minerals import formula_table, limit_table, wanted_table
from siftem.report.run_tables import subtraction_table
from siftem.report.table import ASSUMED
from siftem.unmixing.subtract import Subtracted


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_both_ways_stand_side_by_side(made_run):
    tables = comparison_tables(made_run)
    assert [t.caption for t in tables] == ["Brg", "Fp", "Ca-Pv"]
    away = run_differences(made_run)
    c, other = made_run.compositions["Fp"], made_run.unmixed_compositions["Fp"]
    for row in texts(tables[1]):
        i = c.index(row[0])
        if row[0] == "Si":
            assert row[1:4] == ["assumed absent", "assumed absent", ""]
        elif c.found[i] and other.found[i]:
            for composition, start in ((c, 1), (other, 3)):
                sigma = composition.atomic_covariance[i, i] ** 0.5
                shown = " ".join(row[start : start + 2])
                assert shown == with_error(100 * composition.atomic_fractions[i], 100 * sigma)
            assert row[5] == signed(away["Fp"][row[0]])
    page = Page(render_report(made_run, figures=FIGURES))
    assert "Subtraction and unmixing, side by side" in page.text
    assert "no Si in the grain" in page.text


def test_a_disagreement_is_set_off_and_said(made_run):
    c = made_run.unmixed_compositions["Fp"]
    i = c.index("Mg")
    # The larger of both errors counts, whichever way it is.
    step = 5 * max(made_run.compositions["Fp"].sigma[i], c.sigma[i])
    moved = c.weight_fractions.copy()
    moved[i] = made_run.compositions["Fp"].weight_fractions[i] + step
    moved[c.index("O")] -= step
    far = replace(
        made_run,
        unmixed_compositions={
            **made_run.unmixed_compositions, "Fp": replace(c, weight_fractions=moved),
        },
    )  # fmt: skip
    row = next(r for r in comparison_tables(far)[1].rows if r[0].text == "Mg")
    assert row[-1].kind == "flag"
    assert "disagree by more than 3 σ on" in comparison_text(far)
    assert "Fp (O, Mg" in comparison_text(far) or "Fp (Mg" in comparison_text(far)
    assert "agree within 3 σ" in comparison_text(made_run)
    assert '<td class="flag">' in render_report(far, figures={})


def test_without_unmixing_nothing_is_compared(made_run):
    plain = replace(made_run, unmixed=None, unmixed_compositions={}, unmixed_partition=())
    assert comparison_tables(plain) == ()
    assert comparison_text(plain) == ""
    page = Page(render_report(plain, figures=FIGURES))
    assert "side by side" not in page.text
    assert page.table("Ca-Pv / Brg")[0] == ["element", "D"]


def test_partition_coefficients_of_both_ways(made_run):
    table = next(t for t in partition_tables(made_run) if t.caption == "Ca-Pv / Brg")
    by_element = {row[0]: row for row in texts(table)}
    d = next(d for d in made_run.partition if (d.phases[0], d.element) == ("Ca-Pv", "Ca"))
    other = next(
        d for d in made_run.unmixed_partition if (d.phases[0], d.element) == ("Ca-Pv", "Ca")
    )
    assert " ".join(by_element["Ca"][1:3]) == with_error(d.value, d.sigma)
    assert " ".join(by_element["Ca"][4:6]) == with_error(other.value, other.sigma)
    limit = next(d for d in made_run.partition if d.limit)
    row = next(
        r for t in partition_tables(made_run) if t.caption == " / ".join(limit.phases)
        for r in texts(t) if r[0] == limit.element
    )  # fmt: skip
    assert row[1].startswith("<" if limit.limit == "below" else ">")


def test_formula_units(made_run):
    table = formula_table(made_run)
    assert [c.text for c in table.head] == ["", "Brg, 3 O", "Fp, 1 O"]
    rows = {row[0]: row for row in texts(table)}
    units = made_run.compositions["Brg"].formula_units(3)
    assert " ".join(rows["Si"][1:3]) == with_error(units["Si"].value, units["Si"].sigma)
    assert rows["Si"][4] == ASSUMED
    total = sum(q.value for q in units.values())
    assert float(rows["cations"][1]) == pytest.approx(total, abs=6e-4)
    bare = made_run.recipe.model_copy(update={"phases": {}})
    assert formula_table(replace(made_run, recipe=bare)) is None


def test_limits_and_the_counts_they_need(made_run):
    rows = {row[0]: row for row in texts(limit_table(made_run))}
    c = made_run.compositions["Brg"]
    shown = float(rows["Nd"][1].replace(" ", ""))
    assert shown == pytest.approx(1e6 * c.detection_limits[c.index("Nd")], rel=0.06)
    table = wanted_table(made_run)
    counts = float(made_run.pure["Brg"].values.sum())
    needed = counts_for_wanted_limits(c, {"Nd": 0.01}, counts)["Nd"]
    row = texts(table)[0]
    assert row[:2] == ["Nd", "100"]
    assert float(row[2].replace(" ", "")) == pytest.approx(needed, rel=0.06)


def test_further_contaminants(made_run):
    spectrum = made_run.pure["Ca-Pv"]
    matrix = spectrum.subtracted[0]
    both = replace(spectrum, subtracted=(matrix, Subtracted("Fp", 0.02, 0.01, 0.003, 50.0)))
    with_fp = replace(made_run, pure={**made_run.pure, "Ca-Pv": both})
    row = texts(subtraction_table(with_fp))[-1]
    assert row[:2] == ["Ca-Pv", "Fp"]
    assert row[3:6] == ["0.020", "± 0.010", "(± 0.003)"]
    assert len(texts(subtraction_table(with_fp))) == len(texts(subtraction_table(made_run))) + 1


def test_signs():
    assert [signed(z) for z in (1.26, -0.04, -3.0, float("nan"))] == ["+1.3", "0.0", "-3.0", ""]
    assert plus_minus("Mg/Ca = 0.03 +- 0.02") == "Mg/Ca = 0.03 ± 0.02"


def test_hostile_names_do_not_get_through():
    nasty = build_run(("Brg", "<b>Fp</b>", "Ca-Pv"))
    html = render_report(nasty, figures={})
    assert "<b>Fp" not in html
    assert "&lt;b&gt;Fp" in html
