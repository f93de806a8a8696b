"""Names, structural formulas and the joint calibration, from the recipe to summary and report."""

import csv
import gc
import json
import weakref
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import yaml

from siftem.batch.calibration import calibrated_together, keep_phases
from siftem.batch.folder import BatchFolder, Record
from siftem.decomposition.layout import MIXED, Lies, PhaseLayout
from siftem.errors import InputError, RecipeError
from siftem.io.images import write_values
from siftem.minerals.identification import Candidate, Identification
from siftem.minerals.joint_calibration import JointCalibration
from siftem.minerals.structural_formula import Analysis
from siftem.pipeline.mass_thickness import film_map
from siftem.pipeline.minerals import (
    formulas_of,
    joint_calibration,
    mineral_compositions,
    mineral_data,
    names_of,
    onuma_diagrams,
)
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.step_keys import step_keys
from siftem.pipeline.summary import summary_text
from siftem.printed_numbers import significant
from siftem.quantification.partition import PartitionCoefficient
from siftem.report.folder import write_results
from siftem.report.html import render_report, report_tables
from siftem.report.minerals import film_table, strain_table
from siftem.report.phase_names import (
    calibration_lines,
    calibration_tables,
    mineral_notes,
    names_table,
    structure_table,
)

CALIBRATE = {
    "constraints": [
        {"phase": "Brg", "sites": "perovskite", "sigma": 0.02},
        {"phase": "Brg", "charge_balance": True, "sigma": 0.02, "iron": "free"},
        {"phase": "Fp", "ratio": "(Mg+Fe)/O", "sigma": 0.02},
        {"phase": "Ca-Pv", "ratio": "(Ca+Mg+Fe)/Si", "sigma": 0.05},
        {"phase": "Fp", "element": "Ca", "value": 0.0, "sigma": 0.5},
    ],
    "hold_out": ["Ca-Pv"],
    "thickness_sigma": 0.2,
    "slope_sigma": 0.2,
    "dead_layer_sigma": 10.0,
}


def with_minerals(run, **more):
    """The run as if its recipe asked for minerals."""
    data = run.recipe.model_dump(mode="json", exclude_none=True)
    data["phases"]["Brg"]["group"] = "perovskite"
    data["phases"]["Fp"]["group"] = "periclase"
    data["quantify"]["ratios"] = ["(Mg+Fe)/O", "Ca/Si"]
    data |= {"identify": {"settings": ["deep"]}, "calibrate": CALIBRATE} | more
    return replace(run, recipe=make_recipe(data))


@pytest.fixture(scope="module")
def minerals(made_run):
    return with_minerals(made_run)


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_no_phase_is_named_by_its_range_as_a_compound_that_another_one_is(made_run, monkeypatch):
    """Fp is bridgmanite at the end of its range, as Brg is by its own values."""

    def named(composition, *, without, **_):
        open_ = composition.identification_ends is not None
        names = ["MgSiO3" if open_ or composition.name == "Brg" else composition.name, "other"]
        shown = [Candidate(n, "", "", 1.0, 0.0, {"MgO": 1.0}) for n in names if n not in without]
        return Identification(composition.name, tuple(shown), 0.0)

    monkeypatch.setattr("siftem.pipeline.minerals.identify", named)
    closed = {n: replace(made_run.compositions[n], identification_ends=None) for n in made_run.pure}
    ends = np.eye(len(closed["Fp"].elements))[[0]]
    for some in ({}, {n: replace(closed[n], identification_ends=ends) for n in ("Brg", "Fp")}):
        found = names_of(replace(made_run, compositions=closed | some))
        assert found["Brg"].best == "MgSiO3"
        assert found["Fp"].best == ("other" if some else "Fp")
        assert found["Ca-Pv"].best == "Ca-Pv"


def test_lines_that_stand_out_are_certain_and_open_names_are_told(made_run, monkeypatch):
    certain = Analysis.of(made_run.compositions["Fp"]).certain
    assert {"Mg", "Fe"} <= set(certain)
    assert "Si" not in certain
    some = (Candidate("MgO", "", "", 0.4, 1.0, {"MgO": 1.0}),)
    monkeypatch.setattr(
        "siftem.pipeline.minerals.identify",
        lambda c, **_: Identification(c.name, some, 0.1, too_open=True),
    )
    # Names go with their compositions: new ones.
    fresh = replace(made_run, compositions={"Fp": replace(made_run.compositions["Fp"])})
    assert "composition too open for a name" in [row[1] for row in texts(names_table(fresh))]
    told = mineral_data(fresh, "Fp")["identified"]
    assert told["best"] is None
    assert told["too_open"]


@pytest.fixture
def no_figures(monkeypatch):
    """They are tested elsewhere, and take long."""
    monkeypatch.setattr("siftem.report.folder.figure_jobs", lambda *_: {})


def test_phases_are_named_in_table_and_summary(minerals):
    names = names_of(minerals)
    # Its O was measured: no carbonate of the same Mg and Fe.
    assert names["Fp"].best == "ferropericlase"
    assert "magnesite deep" not in [c.name for c in names["Fp"].candidates]
    assert "bridgmanite" in [c.name for c in names["Brg"].candidates]
    rows = texts(names_table(minerals))
    assert rows[0][:2] == ["Brg", names["Brg"].candidates[0].name]
    assert [r[1] for r in rows if r[0] == "Fp"][-1] == "none of these"
    told = json.loads(summary_text(minerals))["phases"]["Fp"]["identified"]
    assert told["best"] == names["Fp"].best
    assert told["candidates"][0]["probability"] == pytest.approx(
        names["Fp"].candidates[0].probability, rel=1e-4
    )
    assert sum(c["probability"] for c in told["candidates"]) + told["none_probability"] <= 1.001


def test_formulas_stand_in_table_and_summary(minerals):
    formula = formulas_of(minerals)["Brg"]
    assert formula.group.name == "perovskite"
    rows = texts(structure_table(minerals))
    assert rows[0][:2] == ["Brg", f"perovskite: {formula}".replace("Fe2+", "Fe²⁺").replace(
        "Fe3+", "Fe³⁺")]  # fmt: skip
    assert not any(row[:3] == ["A", "Si", "0"] for row in rows)
    told = json.loads(summary_text(minerals))["phases"]["Brg"]["structural_formula"]
    assert told["ions"]["Mg"]["value"] == pytest.approx(formula.ions["Mg"].value, rel=1e-5)
    assert told["sites"]["B"]["sum"]["value"] == pytest.approx(1.0, abs=0.02)
    assert told["numbers"]["Fe3+/Fe"]["interval_95"][0] >= 0
    # Silicon of ferropericlase was assumed to be absent, not measured.
    fp = json.loads(summary_text(minerals))["phases"]["Fp"]["structural_formula"]
    assert fp["ions"]["Si"]["assumed_absent"]
    assert not told["ions"]["Si"]["assumed_absent"]


def test_a_formula_that_can_not_be_is_noted(made_run):
    run = with_minerals(made_run)
    data = run.recipe.model_dump(mode="json", exclude_none=True)
    data["phases"]["Fp"]["group"] = "olivine"
    run = replace(run, recipe=make_recipe(data))
    (note,) = (n for n in mineral_notes(run) if "Fp as olivine: site T" in n)
    told = json.loads(summary_text(run))["phases"]["Fp"]["structural_formula"]["doubts"]
    assert any(note.endswith(doubt) for doubt in told)
    assert not any("as perovskite" in n for n in mineral_notes(run))


def test_the_calibration_stands_in_tables_and_summary(minerals):
    joint = joint_calibration(minerals)
    assert isinstance(joint, JointCalibration)
    assert joint_calibration(minerals) is joint  # made once
    known, factors, phases = calibration_tables(minerals)
    assert len(known.rows) == 5
    assert "held out" in texts(known)[-1][0]
    assert any(row[0] == "k of O K, factor" for row in texts(factors))
    assert any("Fe³⁺/Fe of Brg" in row[0] for row in texts(factors))
    free = {"film slope along y", "film slope along x", "window", "dead layer, nm"}
    assert free <= {row[0] for row in texts(factors)}
    own = minerals.segmentation.regions.own("Fp").mask
    places = joint.posterior.layout.positions
    for n, mean, at in zip(own.shape, np.argwhere(own).mean(axis=0), places["Fp"], strict=True):
        assert at == pytest.approx((mean - (n - 1) / 2) / max(own.shape))
    assert "Ca-Pv (predicted)" in [cell.text for cell in phases.head]
    # On the terminal, in the table, and what no one would have seen.
    (line,) = (x for x in calibration_lines(minerals) if "(Mg+Fe)/O" in x)
    cell = next(row for row in texts(phases) if row[0] == "(Mg+Fe)/O")
    assert "Ca-Pv (predicted)" in "".join(calibration_lines(minerals))
    assert any(text and f"Fp {text[:4]}" in line for text in cell)
    assert any("Fe3+/Fe of Brg" in x for x in calibration_lines(minerals))
    (note,) = (n for n in mineral_notes(minerals) if "hardly checked" in n)
    for c in joint.constraints:
        unseen = not c.held_out and c.shows_from > 3 * c.sigma
        assert (f"{c.text} ({c.off_by[0]})" in note) is unseen
    head = [cell.text for cell in known.head]
    for row, c in zip(texts(known), joint.constraints, strict=True):
        assert row[head.index("unnoticed below")].startswith(
            significant(100 * c.shows_from / (c.target or 1.0), 2)
        )
        assert row[head.index("told from")] == c.off_by[1]
    told = json.loads(summary_text(minerals))["joint_calibration"]
    for said, c in zip(told["constraints"], joint.constraints, strict=True):
        assert said["sure_from"] == pytest.approx(c.sure_from, rel=1e-4)
        assert said["unnoticed"] == c.unnoticed
        assert c.off_by[0] in c.unnoticed and c.off_by[1] in c.unnoticed
        assert c.unnoticed in joint.describe()
    assert told["phases"]["Ca-Pv"]["held_out"]
    assert set(told["instrument"]) == free
    assert all(c["disagrees"] is (abs(c["pull_sigma"]) > c["told_from_sigma"]) for c in
               told["constraints"])  # fmt: skip
    assert (
        told["k_factor_changes"]["O K"]["sigma"] < told["k_factor_changes"]["O K"]["sigma_before"]
    )
    ratio = told["phases"]["Fp"]["atomic_ratios"]["(Mg+Fe)/O"]
    assert ratio["value"] == pytest.approx(1.0, abs=0.04)
    before = json.loads(summary_text(minerals))["phases"]["Fp"]["atomic_ratios"]["(Mg+Fe)/O"]
    assert ratio["systematic"] < before["systematic"] / 2
    # Names and formulas are those of the calibrated compositions; measured ones stay as they are.
    assert mineral_compositions(minerals)["Fp"] is joint.compositions["Fp"]
    assert minerals.compositions["Fp"] is not joint.compositions["Fp"]


def test_a_batch_of_one_map_says_the_same(minerals, tmp_path):
    """By what it leaves of its phases, all numbers of the joint calibration come back."""
    data = minerals.recipe.model_dump(mode="json", exclude_none=True)
    data["calibrate"]["together"] = True
    run = replace(minerals, recipe=make_recipe(data))
    folder = BatchFolder(tmp_path)
    folder.results("m").mkdir(parents=True)
    keep_phases(minerals, folder, "m")
    assert not list(folder.results("m").iterdir())  # not asked for
    keep_phases(run, folder, "m")
    found = calibrated_together(folder, run.recipe, [Record("m", "m.hspy", "", "", "done")])
    joint = joint_calibration(minerals)
    for phase, c in joint.compositions.items():
        told = np.array([found.atoms["m"][phase][e] for e in c.elements]).T / 100
        assert told[0] == pytest.approx(c.atomic_fractions, abs=2e-4)
        assert told[1] == pytest.approx(np.sqrt(np.diag(c.atomic_covariance)), rel=0.05, abs=1e-5)
        assert told[2] == pytest.approx(np.sqrt(np.diag(c.atomic_systematic)), rel=0.05, abs=1e-5)
    for r, own in zip(found.constraints, joint.constraints, strict=True):
        assert (r.text, r.pull) == (f"m: {own.text}", pytest.approx(own.pull, abs=1e-3))


def test_the_report_has_a_section_of_minerals(minerals, made_run):
    page = render_report(minerals, figures={})
    assert 'id="minerals"' in page
    for text in ("What the phases may be", "Structural formulas", "Calibrated compositions"):
        assert text in page
    bare = with_minerals(made_run, identify=False, calibrate={})
    bare = replace(
        bare,
        recipe=bare.recipe.model_copy(
            update={"phases": {n: p.model_copy(update={"group": None}) for n, p in
                               bare.recipe.phases.items()}}
        ),
    )  # fmt: skip
    parts = report_tables(bare)
    assert (parts["names"], parts["structures"], parts["joint"]) == (None, None, ())
    assert 'id="minerals"' not in render_report(bare, figures={}, tables=parts)
    assert json.loads(summary_text(bare))["joint_calibration"] is None
    assert json.loads(summary_text(bare))["phases"]["Fp"]["identified"] is None


def test_a_table_that_is_not_there_loses_nothing_else(made_run):
    run = with_minerals(made_run, identify={"table": "no such.csv"})
    assert names_of(run) == {}
    assert any("no such.csv" in note for note in mineral_notes(run))
    assert formulas_of(run)
    assert json.loads(summary_text(run))["phases"]["Fp"]["identified"] is None


def test_a_calibration_that_cannot_be_had_is_told(made_run):
    bad = {"constraints": [{"phase": "Fp", "ratio": "Ti/O", "sigma": 0.1}]}
    run = with_minerals(made_run, calibrate=bad)
    assert "Ti" in joint_calibration(run)
    assert any("Ti" in note for note in mineral_notes(run))
    assert "Ti" in json.loads(summary_text(run))["joint_calibration"]["missing"]
    assert mineral_compositions(run)["Fp"] is run.compositions["Fp"]
    bare = replace(with_minerals(made_run), compositions={})
    assert "no phase has a composition" in joint_calibration(bare)


def test_what_disagrees_is_to_be_heeded(made_run):
    false = {"phase": "Fp", "ratio": "Mg/Fe", "value": 40.0, "sigma": 0.1}
    run = with_minerals(made_run, calibrate={"constraints": [*CALIBRATE["constraints"], false]})
    assert any("Mg/Fe = 40" in note and "disagrees" in note for note in mineral_notes(run))
    assert any(cell.kind == "flag" for row in calibration_tables(run)[0].rows for cell in row)


def test_the_recipe_says_it_again(minerals):
    again = make_recipe(yaml.safe_load(minerals.recipe.to_yaml()))
    assert again.calibrate == minerals.recipe.calibrate
    assert again.identify == minerals.recipe.identify
    assert [c.made() for c in again.calibrate.constraints] == [
        c.made() for c in minerals.recipe.calibrate.constraints
    ]


def test_what_is_shown_depends_on_it(tmp_path):
    path = tmp_path / "map.hspy"
    path.write_bytes(b"counts")
    table = tmp_path / "mine.csv"
    table.write_text("name,members\nx,MgO\n")
    base = {"input": {"file": str(path)}, "matrix": "A", "phases": {"A": {"high": ["Si"]}}}
    keys = [
        step_keys(make_recipe(base | more))["export"]
        for more in ({}, {"identify": False}, {"identify": {"table": str(table)}})
    ]
    table.write_text("name,members\nx,CaO\n")
    keys.append(step_keys(make_recipe(base | {"identify": {"table": str(table)}}))["export"])
    assert len(set(keys)) == 4


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"calibrate": {"constraints": [{"phase": "Ol", "charge_balance": True, "sigma": 1}]}},
         "Ol"),
        ({"calibrate": {"constraints": [{"phase": "Fp", "sigma": 1}]}}, "exactly one of"),
        ({"calibrate": {"constraints": [
            {"phase": "Fp", "sigma": 1, "charge_balance": True, "element": "Si"}]}},
         "exactly one of"),
        ({"calibrate": {"constraints": [{"phase": "Fp", "sigma": 1, "sites": "mica"}]}}, "empty"),
        ({"calibrate": {"constraints": [{"phase": "Fp", "sigma": 0, "ratio": "Mg/O"}]}}, "sigma"),
        ({"calibrate": {"constraints": [{"phase": "Fp", "sigma": 1, "ratio": "Mg/O"}],
                        "hold_out": ["Fp"]}}, "held out"),
        ({"calibrate": {"hold_out": ["Ol"]}}, "Ol"),
        ({"identify": {"settings": ["moon"]}}, "moon|rock"),
        ({"identify": {"none_prior": 1.5}}, "none_prior"),
    ],
)  # fmt: skip
def test_bad_recipes_name_the_key(made_run, more, words):
    with pytest.raises(RecipeError, match=words):
        with_minerals(made_run, **more)


@pytest.mark.parametrize(("phase", "words"), [
    ({"group": "felspar"}, "feldspar"), ({"group": "oxide"}, "oxygens"),
])  # fmt: skip
def test_bad_groups_name_the_key(phase, words):
    with pytest.raises(RecipeError, match=words):
        make_recipe({"input": {"file": "x"}, "matrix": "A", "phases": {"A": phase}})


@pytest.mark.usefixtures("no_figures")
def test_partition_coefficients_and_oxides_as_tables_for_others(minerals, tmp_path):
    folder = write_results(minerals, tmp_path / "out", reopen=False)
    rows = list(csv.DictReader((folder / "oxides.csv").read_text("utf-8").splitlines()))
    assert [row["Sample"] for row in rows] == list(mineral_compositions(minerals))
    fp = rows[1]
    assert fp["Mineral"] == names_of(minerals)["Fp"].best
    oxides = mineral_compositions(minerals)["Fp"].oxides()
    assert float(fp["FeOt"]) == pytest.approx(oxides["FeO"].value, rel=1e-4)
    assert float(fp["FeOt_sigma"]) > oxides["FeO"].sigma
    assert fp["SiO2"] == ""  # assumed absent, not measured
    assert list(rows[0])[:4] == ["Sample", "Mineral", "SiO2", "SiO2_sigma"]
    rows = list(csv.DictReader((folder / "partition.csv").read_text("utf-8").splitlines()))
    assert len(rows) == len(minerals.partition)
    by_key = {(r["element"], r["numerator"]): r for r in rows}
    for d in minerals.partition:
        row = by_key[d.element, d.phases[0]]
        assert row["D"] == (f"{d.value:.6g}" if d.value == d.value else "")
        assert row["limit"] == d.limit
    assert by_key["Ca", "Ca-Pv"]["radius_A"] == "1.12"
    told = json.loads((folder / "summary.json").read_text("utf-8"))
    assert told["lattice_strain"] == []  # fewer than three cations of a charge in both


def test_lattice_strain_of_a_run_stands_in_figure_table_and_summary(made_run):
    elements = {"Nd": 80.0, "Sm": 56.0, "Gd": 35.0, "Lu": 7.0}
    made = tuple(
        PartitionCoefficient(e, ("Ca-Pv", "Brg"), d, 0.1 * d, 0.05 * d, "", (0.8 * d, 1.2 * d))
        for e, d in elements.items()
    )
    data = made_run.recipe.model_dump(mode="json", exclude_none=True)
    data["quantify"]["onuma"] = {"temperature": 2400}
    run = replace(made_run, partition=made, recipe=make_recipe(data))
    table = texts(strain_table(onuma_diagrams(run)))
    assert table[0][:2] == ["Ca-Pv / Brg", "3+: Nd, Sm, Gd, Lu"]
    (told,) = json.loads(summary_text(run))["lattice_strain"]
    assert told["elements"] == list(elements)
    assert told["young_modulus_GPa"] == pytest.approx(2400 * told["stiffness_GPa_K"], rel=1e-4)
    assert "Lattice strain" in render_report(run, figures={})
    assert strain_table(onuma_diagrams(made_run)) is None


@pytest.mark.usefixtures("no_figures")
def test_the_film_stands_in_file_table_and_summary(minerals, made_run, tmp_path):
    found = film_map(made_run)
    assert found is film_map(made_run)  # made once
    pure = np.asarray(made_run.segmentation.regions.pure.mask)
    told = json.loads(summary_text(made_run))["film"]
    assert told["reference"] == "Brg"
    assert told["scale_relative_sigma"] == 0
    brg = told["regions"]["Brg"]
    assert brg["mean"] == pytest.approx(100 * 4.2e-6, rel=0.02)
    assert brg["mean"] == pytest.approx(np.nanmean(found.mass[pure]), rel=1e-4)
    assert [r[0] for r in texts(film_table(made_run))] == list(told["regions"])
    folder = write_results(made_run, tmp_path / "out", reopen=False)
    stack = tifffile.imread(folder / "mass_thickness.tif")
    assert stack.shape == (2, *found.mass.shape)
    np.testing.assert_allclose(stack[0], found.mass, rtol=1e-5)
    np.testing.assert_allclose(stack[1], found.sigma, rtol=1e-5)
    # A calibrated film sets the scale, with its error.
    joint = joint_calibration(minerals)
    scaled = json.loads(summary_text(minerals))["film"]
    assert scaled["scale_relative_sigma"] == pytest.approx(
        joint.film["Brg"].sigma / joint.film["Brg"].value, rel=1e-4
    )
    # By the image of the same scan, where there is one.
    data = made_run.recipe.model_dump(mode="json", exclude_none=True)
    by_image = replace(made_run, recipe=make_recipe(data | {"calibrate": {"film_map": "haadf"}}))
    si = made_run.spectrum_image
    none = replace(by_image, spectrum_image=replace(si, survey=None))
    assert film_map(none) is None
    assert any("the file holds none" in note for note in mineral_notes(none))
    seen = replace(si, survey=np.full(si.shape, 100.0), survey_name="HAADF")
    shown = replace(by_image, spectrum_image=seen, unmixed=replace(made_run.unmixed))
    assert np.nanmean(film_map(shown).mass[pure]) == pytest.approx(brg["mean"], rel=1e-4)
    assert json.loads(summary_text(shown))["film"]["by"] == "haadf"
    # Without a film, or without unmixing of what overlaps, nothing is said of it.
    bare = replace(made_run, unmixed=None)
    assert film_map(bare) is None
    assert film_table(bare) is None
    assert json.loads(summary_text(bare))["film"] is None
    unknown = {n: replace(c, film=None) for n, c in made_run.compositions.items()}
    assert film_map(replace(made_run, compositions=unknown)) is None
    # Unless an image was asked for.
    assert any("unmixing is missing" in n for n in mineral_notes(replace(by_image, unmixed=None)))
    (note,) = (n for n in mineral_notes(replace(shown, compositions=unknown)) if "HAADF" in n)
    assert "nothing is known of the film" in note
    # Phases side by side need no unmixing.
    names = made_run.factors.names
    lies = tuple(Lies("pure", (), 0.0, 0.5, 9.0) for _ in names)
    labels = np.where(pure, names.index("Brg"), MIXED)
    beside = replace(bare, layout=PhaseLayout("side by side", lies, labels))
    np.testing.assert_array_equal(np.isfinite(film_map(beside).mass), pure)
    assert json.loads(summary_text(beside))["film"]["regions"].keys() == {"Brg"}
    counts = np.asarray(si.total_map())[pure]
    assert np.corrcoef(film_map(beside).mass[pure], counts)[0, 1] > 0.99


def test_a_range_of_thicknesses_is_an_error_of_the_scale(made_run):
    data = made_run.recipe.model_dump(mode="json", exclude_none=True)
    data["quantify"]["thickness"] = [80, 120]
    run = replace(made_run, recipe=make_recipe(data))
    assert film_map(run).scale_sigma == pytest.approx(0.4 / 12**0.5, rel=1e-3)


def test_images_of_numbers_are_checked(tmp_path):
    with pytest.raises(InputError, match="one shape"):
        write_values(tmp_path / "x.tif", {"a": np.ones((2, 2)), "b": np.ones((2, 3))})
    with pytest.raises(InputError, match="at least one"):
        write_values(tmp_path / "x.tif", {})
    with pytest.raises(InputError, match="tif"):
        write_values(tmp_path / "x.png", {"a": np.ones((2, 2))})


def test_names_and_formulas_are_made_once_and_go_with_their_compositions(minerals):
    assert names_of(minerals)["Fp"] is names_of(minerals)["Fp"]
    assert formulas_of(minerals)["Brg"] is formulas_of(minerals)["Brg"]
    copy = replace(mineral_compositions(minerals)["Fp"])
    names_of(replace(with_minerals(minerals, calibrate={}), compositions={"Fp": copy}))
    gone = weakref.ref(copy)
    del copy
    gc.collect()
    assert gone() is None
