"""One calibration of all maps of a batch, from what each left of its phases."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from made_up_batch import recipe, summary

from siftem.batch.calibration import BatchCalibration, MapPhases, calibrated_together
from siftem.batch.folder import BatchFolder, Record
from siftem.batch.outputs import rows_of, write_outputs
from siftem.minerals.measured_phase import MeasuredPhase
from siftem.xray.elements import atomic_weight

KNOWN = {
    "constraints": [
        {"phase": "Fp", "ratio": "(Mg+Fe)/O", "sigma": 0.01},
        {"phase": "Brg", "ratio": "Mg/Si", "sigma": 0.01},
    ],
    "hold_out": ["Brg"],
    "together": True,
}


def oxide(name, **atoms):
    amounts = np.array([n * atomic_weight(e) for e, n in atoms.items()])
    n = len(atoms)
    mu = tuple(np.full((1, n), 5e3 if e == "O" else 0.0) for e in atoms)
    return MeasuredPhase(
        name, tuple(atoms), tuple(f"{e} K" for e in atoms), amounts,
        np.diag((3e-3 * amounts) ** 2), np.zeros((n, n)), np.full(n, 0.1), mu,
        tuple(np.ones(1) for _ in atoms), np.eye(n), None, window=np.zeros(n),
        dead_layer=np.zeros(n),
    )  # fmt: skip


def measured(too_much_o):
    """Phases behind a detector that sees too much O by a factor."""
    fp = oxide("Fp", O=too_much_o, Mg=0.8, Fe=0.2)
    brg = oxide("Brg", O=3 * too_much_o, Mg=1.0, Si=1.0)
    shared = {("Fp", "Brg"): np.full((3, 3), -1e-9)}
    return MapPhases((fp, brg), shared, {"Fp": (0.1, -0.2), "Brg": (0.0, 0.0)})


def wanted(**more):
    phases = {
        "Brg": {"high": ["Mg"], "density": 4.2},
        "Fp": {"high": ["Fe"], "density": 4.1, "anchor": {"absent": ["Mg"]}},
    }
    return recipe(calibrate=KNOWN | more, phases=phases)


def of_a_map():
    data = summary(wanted(), 10.0)
    return data | {"phases": dict.fromkeys(("Brg", "Fp"), data["phases"]["Brg"])}


@pytest.fixture
def folder(tmp_path):
    place = BatchFolder(tmp_path / "out")
    place.make()
    for of, factor in (("a", 1.04), ("b", 1.05)):
        own = place.results(of)
        own.mkdir(parents=True)
        (own / "measured_phases.json").write_text(json.dumps(measured(factor).data()))
        (own / "summary.json").write_text(json.dumps(of_a_map()))
        place.write_record(Record(of, f"{of}.hspy", "batch", "key", "done"))
    return place


def test_what_is_kept_of_phases_comes_back():
    given = measured(1.1)
    found = MapPhases.from_data(json.loads(json.dumps(given.data())))
    for p, q in zip(given.phases, found.phases, strict=True):
        for f in fields(p):
            a, b = getattr(p, f.name), getattr(q, f.name)
            if isinstance(a, tuple) and len(a) and isinstance(a[0], np.ndarray):
                assert all(np.array_equal(x, y) and x.shape == y.shape
                           for x, y in zip(a, b, strict=True))  # fmt: skip
            elif isinstance(a, np.ndarray):
                assert np.array_equal(a, b)
            else:
                assert a == b
    assert found.positions == given.positions
    assert np.array_equal(found.shared_noise["Fp", "Brg"], given.shared_noise["Fp", "Brg"])
    named = found.named("m")
    assert [p.name for p in named.phases] == ["m: Fp", "m: Brg"]
    assert set(named.shared_noise) == {("m: Fp", "m: Brg")}


def test_all_maps_of_a_batch_calibrate_one_instrument(folder):
    found = calibrated_together(folder, wanted(), folder.records())
    assert isinstance(found, BatchCalibration)
    assert set(found.film) == {"a: Fp", "a: Brg", "b: Fp", "b: Brg"}
    assert found.k_factors["O K"].sigma < found.k_factors["O K"].sigma_before
    for of in "ab":
        o, noise, rest = found.atoms[of]["Fp"]["O"]
        assert o == pytest.approx(50.0, abs=0.5)
        assert 0 < noise < rest < 1
    assert found.held_out == ("a: Brg", "b: Brg")
    assert any(c.text.endswith("(all maps)") for c in found.constraints)
    alone = calibrated_together(folder, wanted(), folder.records()[:1])
    assert found.k_factors["O K"].sigma <= alone.k_factors["O K"].sigma * 1.02


def test_it_stands_in_table_summary_and_overview(folder):
    write_outputs(folder, wanted(), "batch", ())
    html = (folder.root / "report.html").read_text(encoding="utf-8")
    assert "Joint calibration of all maps" in html
    assert "Fp, calibrated together" in html
    assert "a (predicted)" in html
    told = json.loads((folder.root / "summary.json").read_text())
    joint = told["joint_calibration"]
    assert joint["maps"]["b"]["Fp"]["O"]["at_percent"] == pytest.approx(50.0, abs=0.5)
    assert set(joint["k_factor_changes"]) == {"O K", "Mg K", "Fe K", "Si K"}
    (note,) = (w for w in told["warnings"] if "all maps together: what was said" in w)
    assert "(all maps) (" in note and "a: Fp" not in note
    found = calibrated_together(folder, wanted(), folder.records())
    rows = rows_of(folder.records()[0], of_a_map(), found)
    (o,) = (r for r in rows if (r.quantity, r.phase, r.of) ==
            ("atoms calibrated together", "Fp", "O"))  # fmt: skip
    assert (o.value, o.sigma, o.systematic) == found.atoms["a"]["Fp"]["O"]
    # Not asked for: nothing of it.
    write_outputs(folder, wanted(together=False), "batch", ())
    assert "calibration of all maps" not in (folder.root / "report.html").read_text("utf-8")
    assert json.loads((folder.root / "summary.json").read_text())["joint_calibration"] is None


def test_why_it_cannot_be_had_is_said(folder):
    (folder.results("b") / "measured_phases.json").write_text("{")
    assert "what was measured of b can't be read" in calibrated_together(
        folder, wanted(), folder.records()
    )
    write_outputs(folder, wanted(), "batch", ())
    assert "what was measured of b" in (folder.root / "report.html").read_text("utf-8")
    bad = {"constraints": [{"phase": "Fp", "ratio": "Ti/O", "sigma": 0.1}], "hold_out": []}
    text = calibrated_together(folder, wanted(**bad), folder.records()[:1])
    assert text.startswith("the calibration of all maps together is missing") and "Ti" in text


def test_maps_that_lack_a_phase_take_part(folder):
    lone = measured(1.0)
    lone = replace(lone, phases=lone.phases[:1])
    (folder.results("b") / "measured_phases.json").write_text(json.dumps(lone.data()))
    found = calibrated_together(folder, wanted(), folder.records())
    assert set(found.atoms["b"]) == {"Fp"}
