"""What the numbers rest on stands where they are: fits, anchors, absent elements, intervals."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("panel")

import siftem
from siftem.app.reliability import (
    grave_notes,
    interval_table,
    marked,
    other_notes,
    poor_fit,
    reliability_table,
)
from siftem.app.style import paragraph
from siftem.pipeline.open_scales import OpenScale
from siftem.pipeline.starting_recipe import demo_recipe
from siftem.pipeline.workflow import Workflow
from siftem.report.composition_tables import overview_table
from siftem.unmixing.subtract import PureSpectrum


@pytest.fixture(scope="module")
def spectrum():
    recipe = demo_recipe(shape=(24, 24), dose=2000.0, random_state=3)
    si = Workflow(recipe).run("prepare").spectrum_image
    return siftem.integrate(si, np.ones(si.shape, bool))


@pytest.fixture(scope="module")
def result(spectrum):
    every = ["O", "Mg", "Al", "Si", "Ca", "Fe"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        good = siftem.quantify(spectrum, every, support=["Cu", "Nd", "Sm", "Hf", "Lu", "U", "C"])
        poor = siftem.quantify(spectrum, every[:-1])
    pure = PureSpectrum(
        spectrum.values, spectrum.axis, variance=spectrum.values, scale=0.4, scale_sigma=0.02,
        anchor="no Si in the grain", conflict=5.2,
    )  # fmt: skip
    recipe = demo_recipe(shape=(16, 16))
    return SimpleNamespace(
        compositions={"Brg": good, "Fp": poor},
        pure={"Brg": spectrum, "Fp": pure},
        open_scales={},
        scale_of=lambda name: pure if name == "Fp" else None,
        matrix="Brg",
        recipe=recipe,
        warnings=(
            "Fp: the model does not describe this spectrum",
            "Fp + Brg: the anchors disagree by 5.2 sigma",
            "Brg: absorption is not known",
            "cropped below 0.2 keV",
        ),
        doubts=(
            "Fp: the model does not describe this spectrum",
            "Fp + Brg: the anchors disagree by 5.2 sigma",
        ),
    )


def flags(table):
    return [[c.text for c in row if c.kind == "flag"] for row in table.rows]


def test_a_poor_fit_and_anchors_that_disagree_are_marked_where_the_numbers_are(result):
    table = reliability_table(result, ("Brg", "Fp"))
    good, poor = flags(table)
    assert not any("poor" in t for t in good)
    assert any("poor" in t and "keV" in t for t in poor)
    assert "5.2 σ" in poor
    assert [c.text for c in table.rows[1]][5:7] == ["no Si in the grain", "0.400 ± 0.020"]
    assert poor_fit(result.compositions["Brg"].fit) == ""
    head = marked(overview_table(result, ("Brg", "Fp"), "x"), result).head
    assert [c.text for c in head] == ["at%", "Brg", "Fp ⚠"]


def test_intervals_are_those_of_all_errors_and_what_is_assumed_is_told(result):
    table = interval_table(result, ("Brg", "Fp"))
    rows = {row[0].text: row for row in table.rows}
    c = result.compositions["Brg"]
    low, high = 100 * c.atomic_interval_95[c.index("Mg")]
    from siftem.printed_numbers import range_text

    assert rows["Mg"][1].text == range_text(low, high)
    assert rows["Si"][2].text == "assumed absent"
    assert rows["Fe"][2].text == ""  # not quantified there


def test_a_scale_without_an_anchor_is_a_range(result, spectrum):
    ends = SimpleNamespace(ends=(0.1, 0.3), vanishes="Si")
    open_scale = OpenScale("Fp", ("Brg",), (ends,), ())
    known = SimpleNamespace(**{**vars(result), "open_scales": {"Fp": open_scale}})
    row = [c.text for c in reliability_table(known, ("Fp",)).rows[0]]
    assert row[5:7] == ["none", "0.1 to 0.3"]


def test_what_was_told_in_plain_letters_has_the_proper_sign():
    assert (
        paragraph("gain 3.98 +- 0.03, R&D", "note")
        == '<p class="note">gain 3.98 ± 0.03, R&amp;D</p>'
    )


def test_what_was_warned_of_a_phase_stands_with_it(result):
    assert grave_notes(result, ("Fp",)) == list(result.warnings[:2])
    assert grave_notes(result, ("Brg",)) == []
    assert other_notes(result, ("Brg",))[0] == "Brg: absorption is not known"
    assert set(other_notes(result, ("Fp", "Brg"))) == set(result.warnings[2:])
