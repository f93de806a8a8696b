"""What the keys of steps see of files: shared spectra, and maps in several files."""

from dataclasses import fields, replace

import numpy as np
import pytest
import scipy.sparse as sp

import siftem
from siftem.pipeline.file_contents import code_state
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.road import STEPS
from siftem.pipeline.step_keys import step_key

DATA = {"input": {"demo": {"shape": [16, 16]}}}


def keys(**decompose):
    recipe = make_recipe({**DATA, "decompose": decompose})
    return {step: step_key(step, recipe) for step in STEPS}


CHANGES = {
    "counts": sp.csr_array(np.ones((6, 4))),
    "shape": (3, 2),
    "axis": siftem.EnergyAxis(0.0, 0.02, 4),
    "pixel_size": (1.0, 2.0),
    "acquisition": siftem.Acquisition(beam_energy=200.0),
    "survey": np.ones((2, 3)),
    "survey_name": "BF",
    "signal_type": "EELS",
    "title": "another",
    "notes": ("a note",),
    "doubts": ("a doubt",),
    "pedestal": 0.5,
}


@pytest.mark.parametrize("name", [f.name for f in fields(siftem.SpectrumImage)])
def test_all_that_a_given_map_says_counts(name):
    recipe = make_recipe(DATA)
    plain = siftem.SpectrumImage(
        sp.csr_array(np.eye(6, 4)), (2, 3), siftem.EnergyAxis(0.0, 0.01, 4)
    )
    same, other = replace(plain), replace(plain, **{name: CHANGES[name]})
    assert step_key("load", recipe, plain) == step_key("load", recipe, same)
    assert step_key("load", recipe, plain) != step_key("load", recipe, other)


def test_shared_spectra_count_by_content_and_replace_the_settings_of_the_solver(tmp_path):
    table, moved = tmp_path / "s.csv", tmp_path / "t.csv"
    for path in (table, moved):
        path.write_text("energy_keV,A\n1,2\n2,3\n3,3\n")
    plain, given = keys(), keys(spectra=str(table))
    assert plain["prepare"] == given["prepare"]
    assert all(plain[step] != given[step] for step in STEPS[STEPS.index("decompose") :])
    assert keys(spectra=str(moved), random_state=7) == given
    moved.write_text("energy_keV,A\n1,2\n2,3\n3,4\n")
    assert keys(spectra=str(moved))["decompose"] != given["decompose"]


@pytest.mark.parametrize(
    ("index", "counts", "other"),
    [
        ("map.rpl", "map.raw", "map2.raw"),
        ("map.emi", "map_1.ser", "mapping.ser"),
        ("map.asw", "Sample/View/x.pts", "notes.txt"),
    ],
)
def test_counts_in_a_file_beside_the_named_one_count(tmp_path, index, counts, other):
    for name in (index, counts, other):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    recipe = make_recipe({"input": {"file": str(tmp_path / index)}})
    first = step_key("load", recipe)
    (tmp_path / other).write_text("something else")
    assert step_key("load", recipe) == first
    (tmp_path / counts).write_text("other counts")
    assert step_key("load", recipe) != first


def test_results_of_other_code_are_others(tmp_path):
    states = []
    for number, (name, text) in enumerate(
        [("a.py", "x = 1"), ("a.py", "x = 2"), ("b.py", "x = 1"), ("a.py", "x = 1")]
    ):
        package = tmp_path / str(number)
        (package / "part").mkdir(parents=True)
        (package / "part" / name).write_text(text)
        (package / "part" / "compiled.nbi").write_text(str(number))
        states.append(code_state(package))
    assert len(set(states)) == 3
    assert states[0] == states[3]
