"""The table of all results, the means, the summary and the overview."""

import csv
import json
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
from made_up_batch import element, recipe
from pyarrow import parquet

from siftem.batch.folder import BatchFolder, Record
from siftem.batch.outputs import COLUMNS, rows_of, write_outputs
from siftem.batch.overview import _phase_tables, diagrams_of, partition_means, weighted_mean
from siftem.batch.run import run_batch

pytestmark = pytest.mark.usefixtures("stand_ins")


@pytest.fixture
def out(maps, tmp_path):
    maps[1].write_text('bad <b>\N{GREEK SMALL LETTER MU}, "odd"\nnews')
    run_batch(recipe(), maps, tmp_path / "out")
    return tmp_path / "out"


def table(out):
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_csv_and_parquet_hold_the_same(out):
    rows = table(out)
    stored = parquet.read_table(out / "results.parquet").to_pylist()
    assert tuple(stored[0]) == tuple(rows[0]) == COLUMNS
    assert len(rows) == len(stored) == 2 * (2 + 4 + 1 + 1) + 1
    for row, other in zip(rows, stored, strict=True):
        for name, text in row.items():
            value = other[name]
            if name in ("value", "sigma", "systematic", "detection_limit"):
                assert (float(text) if text else None) == value
            elif name in ("found", "assumed_absent"):
                assert text == {True: "true", False: "false", None: ""}[value]
            else:
                assert text == value


def test_every_quantity_has_its_row_with_unit_and_errors(out):
    rows = {(r["map"], r["quantity"], r["of"]): r for r in table(out)}
    mg = rows["a10", "atoms", "Mg"]
    assert (mg["value"], mg["sigma"], mg["systematic"]) == ("12", "0.5", "0.1")
    assert (mg["unit"], mg["found"], mg["phase"], mg["role"]) == ("at%", "true", "Brg", "matrix")
    weight = rows["a10", "weight", "Mg"]
    assert (weight["value"], weight["unit"], weight["detection_limit"]) == ("24", "wt%", "0.05")
    assert rows["a1", "ratio", "Mg/Fe"]["systematic"] == "0.125"
    assert rows["a1", "oxide", "MgO"]["sigma"] == "1"
    assert rows["a1", "weight", "Fe"]["found"] == "false"


def test_ratios_of_edges_and_of_lines_have_their_rows():
    by_atoms = {"O/Mn": {"value": 1.2, "sigma": 0.1, "systematic": 0.2, "edges": ["O_K", "Mn_L3"]}}
    by_lines = {"Fe K/Si K": {"value": 0.01, "sigma": 0.02, "found": False}}
    phases = {
        "oxide": {"role": "grain", "pixels": 3, "counts": 9.0, "elemental_ratios": by_atoms},
        "clay": {"role": "matrix", "pixels": 4, "counts": 8.0, "line_ratios": by_lines},
    }
    rows = rows_of(Record("a", "a.dm4", "batch", "key", "done"), {"phases": phases})
    atoms, lines = (r for r in rows if r.quantity == "ratio")
    assert (atoms.phase, atoms.of, atoms.systematic, atoms.found) == ("oxide", "O/Mn", 0.2, None)
    assert (lines.phase, lines.of, lines.value, lines.found) == ("clay", "Fe K/Si K", 0.01, False)


def test_minerals_and_partition_coefficients_have_their_rows():
    number = {"value": 0.9, "sigma": 0.01, "systematic": 0.02, "assumed_absent": False}
    gone = {**number, "assumed_absent": True}
    fp = {
        "role": "grain", "pixels": 3, "counts": 9.0,
        "identified": {
            "best": "ferropericlase", "none_probability": 0.1,
            "candidates": [{"name": "ferropericlase", "probability": 0.9}],
        },
        "structural_formula": {"numbers": {"Mg/(Mg+Fe)": number, "CaSiO3": gone}},
    }  # fmt: skip
    odd = {
        "role": "matrix", "pixels": 4, "counts": 8.0, "structural_formula": None,
        "identified": {"best": None, "none_probability": 0.95, "candidates": []},
    }  # fmt: skip
    at = {"at_percent": 50.0, "at_sigma": 0.1, "at_systematic": 0.2}
    pair = {
        "numerator": "Fp", "denominator": "Brg", "element": "Mg", "value_by_weight": 2.5,
        "sigma": 0.1, "systematic": 0.2, "limit": None, "is_range": False,
    }  # fmt: skip
    summary = {
        "phases": {"Fp": fp, "Brg": odd},
        "joint_calibration": {"phases": {"Fp": {"elements": {"O": at}}}},
        "partition": {"subtract": [pair, {**pair, "element": "Nd", "limit": "below"}]},
    }
    rows = rows_of(Record("a", "a.hspy", "batch", "key", "done"), summary)
    found = {(r.phase, r.quantity, r.of): r for r in rows}
    assert found["Fp", "name", "ferropericlase"].value == 0.9
    assert found["Brg", "name", "none of these"].value == 0.95
    magnesium = found["Fp", "formula", "Mg/(Mg+Fe)"]
    assert (magnesium.value, magnesium.sigma, magnesium.systematic) == (0.9, 0.01, 0.02)
    assert found["Fp", "formula", "CaSiO3"].value is None
    calibrated = found["Fp", "calibrated atoms", "O"]
    assert (calibrated.value, calibrated.unit, calibrated.role) == (50.0, "at%", "grain")
    assert found["Fp / Brg", "partition", "Mg"].systematic == 0.2
    limit = found["Fp / Brg", "partition", "Nd"]
    assert (limit.value, limit.found, limit.detection_limit) == (None, False, 2.5)
    missing = {"phases": {"Fp": fp}, "joint_calibration": {"missing": "why"}}
    assert not [r for r in rows_of(Record("a", "a", "b", "k", "done"), missing)
                if r.quantity == "calibrated atoms"]  # fmt: skip


def test_what_was_assumed_absent_has_no_numbers():
    elements = {"Si": {**element(0.1, 0.02), "assumed_absent": True}, "Mg": element(12.0, 0.5)}
    phases = {"Fp": {"role": "grain", "pixels": 3, "counts": 9.0, "elements": elements}}
    rows = rows_of(Record("a", "a.hspy", "batch", "key", "done"), {"phases": phases})
    si, mg = ([r for r in rows if r.of == e and r.quantity == "atoms"] for e in ("Si", "Mg"))
    assert [(r.assumed_absent, r.value, r.sigma, r.found) for r in si] == [(True, None, None, None)]
    assert [(r.assumed_absent, r.value) for r in mg] == [(False, 12.0)]


def test_a_failed_map_has_one_row_with_its_error(out):
    (row,) = [r for r in table(out) if r["map"] == "a2"]
    assert row["status"] == "failed"
    assert row["error"] == "the map holds <b>\N{GREEK SMALL LETTER MU},"
    assert row["value"] == row["phase"] == ""


def test_the_weighted_mean_and_its_widened_error():
    rng = np.random.default_rng(0)
    values, sigmas = rng.normal(5, 1, 6), rng.uniform(0.5, 2, 6)
    found = weighted_mean([*values, math.nan, 3.0], [*sigmas, 1.0, 0.0])
    assert found.n == 6
    # By least squares for one constant.
    fitted, covariance = np.polyfit(np.arange(6.0), values, 0, w=1 / sigmas, cov="unscaled")
    assert found.value == pytest.approx(fitted[0])
    chi = (((values - fitted[0]) / sigmas) ** 2).sum() / 5
    assert found.reduced_chi_square == pytest.approx(chi)
    assert found.sigma == pytest.approx(np.sqrt(covariance[0, 0] * max(chi, 1)))
    far = weighted_mean([0.0, 10.0], [1.0, 1.0])
    assert far.sigma == pytest.approx(np.sqrt(0.5) * np.sqrt(50))
    assert weighted_mean([math.nan], [1.0]) is None


def test_the_summary_tells_status_and_means(out):
    data = json.loads((out / "summary.json").read_text())
    assert {n: m["status"] for n, m in data["maps"].items()} == {
        "a1": "done", "a2": "failed", "a10": "done",
    }  # fmt: skip
    assert re.fullmatch("[0-9a-f]{64}", data["maps"]["a1"]["key"])
    mean = data["means"]["Brg"]["Mg"]
    assert mean["at_percent"] == 11
    assert mean["maps"] == 2
    # 10 and 12, each with 0.5: chi-square 8 for one degree of freedom.
    assert mean["reduced_chi_square"] == 8
    assert mean["at_sigma"] == pytest.approx(0.5 / np.sqrt(2) * np.sqrt(8), rel=1e-5)


def test_the_overview_needs_nothing_else_and_leads_to_the_reports(out):
    html = (out / "report.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert not re.findall(r'(?:src|href)="(?!data:|maps/|results\.csv)', html)
    for target in re.findall(r'href="((?!data:)[^"]+)"', html):
        assert (out / target).is_file(), target
    assert "failed: the map holds &lt;b&gt;" in html
    assert html.index("a1<") < html.index("a10<")
    assert "&lt; LOD" in html  # Fe was not found in any map, nor in the mean
    assert len(re.findall("11.0 ± |11.0</td>", html)) == 1


def test_results_that_were_removed_count_as_failed(out, maps):
    (out / "maps/a1/summary.json").unlink()
    # Another map is added; a1 is not given again.
    (maps[0].parent / "b.txt").write_text("14.0")
    run_batch(recipe(), [maps[0].parent / "b.txt"], out)
    rows = [r for r in table(out) if r["map"] == "a1"]
    assert [r["status"] for r in rows] == ["failed"]
    assert "run the batch again" in rows[0]["error"]


def coefficient(element, value, relative=0.1, **more):
    return {
        "element": element, "numerator": "Ca-Pv", "denominator": "Brg", "value_by_weight": value,
        "sigma": value * relative, "systematic": 0.02 * value, "limit": None,
        "interval_95": [0.8 * value, 1.2 * value], "is_range": False,
    } | more  # fmt: skip


def with_partition(*coefficients):
    return {"partition": {"subtract": list(coefficients)}}


def test_partition_coefficients_over_the_maps():
    limit = {"limit": "below", "sigma": None, "systematic": None}
    wide = {"is_range": True, "interval_95": [1.0, None]}
    maps = [
        with_partition(coefficient("Nd", 80.0), coefficient("Hf", 3.0, **limit)),
        with_partition(coefficient("Nd", 60.0, 0.2), coefficient("Hf", 2.0, **limit)),
        with_partition(coefficient("Nd", 9.0, **limit), coefficient("U", 2.0, **wide)),
        {},
    ]
    found = {m.coefficient.element: m for m in partition_means(maps)}
    nd = found["Nd"].coefficient
    # Weights 1/0.1^2 and 1/0.2^2 of ln D; the third map has only a limit.
    assert np.log(nd.value) == pytest.approx(0.8 * np.log(80) + 0.2 * np.log(60))
    chi = 0.8 * 0.2 * np.log(80 / 60) ** 2 * (100 + 25)
    assert found["Nd"].reduced_chi_square == pytest.approx(chi)
    assert nd.sigma / nd.value == pytest.approx((125 / max(chi, 1)) ** -0.5)
    # What is the same in every map does not average out.
    assert nd.systematic / nd.value == pytest.approx(0.02)
    assert np.log(nd.interval_95[1] / nd.value) == pytest.approx(
        1.96 * np.hypot(nd.sigma / nd.value, 0.02), rel=1e-3
    )
    assert found["Nd"].maps == 2
    assert (found["Hf"].coefficient.value, found["Hf"].maps) == (2.0, 2)
    assert found["U"].coefficient.interval_95 == (1.0, np.inf)
    other = with_partition(coefficient("Hf", 1.0, **{**limit, "limit": "above"}))
    assert "Hf" not in {m.coefficient.element for m in partition_means([*maps, other])}


@pytest.mark.slow
def test_the_overview_holds_an_onuma_diagram(out):
    folder = BatchFolder(out)
    done = [r for r in folder.records() if r.status == "done"]
    for i, record in enumerate(done):
        path = folder.results(record.map) / "summary.json"
        measured = {"Nd": 80.0 + i, "Sm": 57.0, "Lu": 7.0, "Ca": 18.0}
        more = with_partition(*(coefficient(e, d) for e, d in measured.items()))
        path.write_text(json.dumps(json.loads(path.read_text()) | more))
    write_outputs(folder, recipe(), done[0].batch, ())
    assert (folder.root / "figure_onuma.png").read_bytes().startswith(b"\x89PNG")
    html = (folder.root / "report.html").read_text(encoding="utf-8")
    assert "Onuma diagram" in html
    assert "Ca-Pv / Brg" in html
    told = json.loads((folder.root / "summary.json").read_text())
    assert [c["elements"] for c in told["lattice_strain"]] == [["Nd", "Sm", "Lu"]]
    assert "Lattice strain" in html
    means = told["partition_means"]
    assert {m["element"]: m["maps"] for m in means} == dict.fromkeys(measured, len(done))
    # Three trivalent ions have a curve.
    (diagram,) = diagrams_of(partition_means([with_partition(
        *(coefficient(e, d) for e, d in measured.items())
    )]), 8, None)  # fmt: skip
    assert [c.elements for c in diagram.curves] == [("Nd", "Sm", "Lu")]
    write_outputs(folder, recipe(), "another recipe", ())
    assert not (folder.root / "figure_onuma.png").exists()


def test_at_percent_have_the_intervals_of_their_maps_and_ranges_no_mean():
    def told(is_range=False):
        wide = element(10.0, 0.1) | {"at_interval_95": [6.0, 15.0]}
        narrow = element(20.0, 0.5) | {"at_interval_95": [19.0, 21.0]}
        phases = {"Fp": {"elements": {"Mg": wide, "Fe": narrow}, "is_range": is_range}}
        done = [(SimpleNamespace(map=n, folder=n), {"phases": phases}) for n in "ab"]
        (table,) = _phase_tables(done)
        return [[cell.text for cell in row] for row in table.table.rows]

    a, _, mean = told()
    assert a == ["a", "10.0", "(6.0 to 15.0)", "20.00", "± 0.50"]
    assert mean == ["mean", "10.0", "(6.0 to 15.0)", "20.00", "± 0.35"]
    a, _, mean = told(is_range=True)
    assert a == ["a", "6.0 to 15.0", "19.0 to 21.0"]
    assert mean == ["mean", "", ""]
