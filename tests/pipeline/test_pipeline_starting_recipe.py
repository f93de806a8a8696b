"""A recipe to start from runs as it stands, says what the map shows; its schema fits."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import siftem
from siftem.cli.main import main
from siftem.decomposition.factors import Factors
from siftem.decomposition.layout import Lies, PhaseLayout
from siftem.pipeline.parts import recorded_warnings
from siftem.pipeline.recipe import Recipe, make_recipe, read_recipe, recipe_schema, schema_text
from siftem.pipeline.results import Matched
from siftem.pipeline.starting_recipe import _phases_text, starting_recipe
from siftem.pipeline.workflow import Workflow

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def map_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("map") / "a map.hspy"
    si = siftem.simulate_demo((32, 32), dose=900, channels=1100, random_state=1).spectrum_image
    signal = siftem.to_hyperspy(si)
    signal.compute(progressbar=False)
    signal.metadata.set_item("Sample.elements", ["Mg", "O", "Si", "Fe", "Ca", "Al"])
    signal.save(path)
    return path


@pytest.fixture(scope="module")
def written(map_file):
    """The recipe written beside its map, by the command."""
    target = map_file.with_name("start.yaml")
    arguments = ["recipe", str(map_file), "--phases", "3", "--out", str(target), "--quiet"]
    assert main(arguments) == 0
    return target


def test_it_says_what_is_found_and_runs_as_it_stands(written):
    text, recipe = written.read_text(encoding="utf-8"), read_recipe(written)
    assert set(recipe.elements) == {"Mg", "O", "Si", "Fe", "Ca", "Al"}
    assert "Cu" in recipe.support  # the grid: seen, not listed
    assert not set(recipe.support) & set(recipe.elements)
    assert list(recipe.phases) == ["A", "E", "G"]
    assert [p.component for p in recipe.phases.values()] == [1, 2, 3]
    assert 'file: "a map.hspy"' in text  # its map lies beside it
    workflow = Workflow(recipe)
    with recorded_warnings():
        matched = workflow.run("match")
    assert matched.factors.names == ("A", "E", "G")
    assert matched.matrix == recipe.matrix
    # Each phase with its share, and how they lie.
    shares = 100 * matched.factors.counts / matched.factors.counts.sum()
    told = [float(x) for x in re.findall(r"# ([\d.]+)% of the counts", text)]
    assert told == pytest.approx(shares, abs=0.06)
    assert matched.layout.sentence("AEG") in text


def test_what_is_commented_out_can_be_taken_in(written):
    text = written.read_text(encoding="utf-8")
    assert "take_off_angle" in text
    keys = "anchor|quantify|  thickness|  window|  ratios"
    opened = re.sub(rf"^( *)# ({keys}):", r"\1\2:", text, flags=re.M)
    recipe = make_recipe(yaml.safe_load(opened))
    grains = [p for n, p in recipe.phases.items() if n != recipe.matrix]
    assert all(p.anchor[0].absent for p in grains)
    assert recipe.quantify.thickness == 100
    assert recipe.quantify.window == "none"
    assert recipe.quantify.ratios == ("Mg/(Mg+Fe)",)


def test_elements_are_those_that_a_run_of_the_file_would_quantify(tmp_path):
    """A file lists what somebody clicked on: without the rest every phase is 100% of that."""
    path = tmp_path / "clicked.hspy"
    si = siftem.simulate_demo((24, 24), dose=600, channels=1100, random_state=1).spectrum_image
    signal = siftem.to_hyperspy(si)
    signal.compute(progressbar=False)
    signal.metadata.set_item("Sample.elements", ["Fe"])
    signal.save(path)
    recipe = make_recipe(yaml.safe_load(starting_recipe(path, components=2)))
    assert {"Fe", "O", "Mg", "Si"} <= set(recipe.elements)
    assert "Cu" in recipe.support
    bare = make_recipe({"input": {"file": str(path)}, "decompose": {"components": 2}})
    with recorded_warnings():
        assert Workflow(bare).run("match").elements == recipe.elements


def test_phases_side_by_side_and_other_signals_get_no_words_that_are_not_theirs():
    si = siftem.simulate_demo((16, 16), dose=20).spectrum_image
    spectra = np.ones((2, si.n_channels))
    maps = np.ones((2, 16, 16))
    names = ("A (O Mg)", "B (O Si)")
    alone = PhaseLayout("side by side", (Lies("pure", (), 0.0, 0.5, 9.0),) * 2, maps[0].astype(int))
    inside = replace(alone, phases=(alone.phases[0], replace(alone.phases[1], hosts=(0,))))

    def text(si, layout):
        factors = Factors(maps, spectra, si.axis, names, 1.0, 1, True, layout=layout)
        return _phases_text(si, Matched(factors, names[0], ("O", "Mg", "Si"), layout))

    assert "matrix: A" not in text(si, alone)
    assert "anchor" not in text(si, alone)
    assert "matrix: A" in text(si, inside)
    assert "# anchor: Mg" in text(si, inside)
    assert text(si, inside).count("# anchor:") == 1
    # An example of the signal's own kind where nothing tells one.
    names = ("A", "B")
    assert "# anchor: Si " in text(si, inside)
    assert "absent_edge" in text(replace(si, signal_type="EELS"), inside)
    bulk = replace(si, acquisition=replace(si.acquisition, bulk=True))
    assert "density" in text(si, alone)
    assert "density" not in text(bulk, alone)


def test_a_recipe_of_ones_own_is_not_written_over(written, map_file, capsys):
    before = written.read_bytes()
    assert main(["recipe", str(map_file), "--out", str(written)]) == 1
    assert "is there already" in capsys.readouterr().err
    assert written.read_bytes() == before
    assert main(["recipe"]) == 1
    assert "siftem recipe FILE" in capsys.readouterr().err


def fits(value, schema, root):
    """Whether plain data fits a JSON schema, as far as ours use the standard."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        return fits(value, root["$defs"][name], root)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return any(fits(value, one, root) for one in schema[key])
    if "const" in schema or "enum" in schema:
        return value in schema.get("enum", [schema.get("const")])
    kind = {
        "object": dict, "array": list, "string": str, "boolean": bool, "integer": int,
        "number": (int, float), "null": type(None),
    }[schema["type"]]  # fmt: skip
    if not isinstance(value, kind) or (isinstance(value, bool) and schema["type"] != "boolean"):
        return False
    if schema["type"] == "object":
        known, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        return all(
            fits(v, known[k], root) if k in known
            else more if isinstance(more, bool) else fits(v, more, root)
            for k, v in value.items()
        )  # fmt: skip
    if schema["type"] == "array" and "items" in schema:
        return all(fits(one, schema["items"], root) for one in value)
    return True


def test_the_schema_fits_recipes_and_nothing_else(written, tmp_path, capsys):
    schema = recipe_schema()
    examples = [yaml.safe_load(p.read_text("utf-8")) for p in sorted(EXAMPLES.glob("*.yaml"))]
    assert examples
    for data in (*examples, yaml.safe_load(written.read_text("utf-8"))):
        assert fits(data, schema, schema)
        complete = make_recipe(data) if "input" in data else None
        if complete is not None:
            assert fits(yaml.safe_load(complete.to_yaml()), schema, schema)
    good = {"input": {"file": "a"}, "unmix": False, "phases": {"Fp": {"anchor": "Si"}}}
    for more in ({}, {"unmix": "auto"}, {"segment": {"traces": {"Fp": {"line": [[0, 1]]}}}}):
        assert fits({**good, **more}, schema, schema)
    for bad in (
        {"inptu": {}},
        {"elements": "O"},
        {"unmix": "sometimes"},
        {"phases": {"Fp": {"anchor": {"absnt": ["Si"]}}}},
        {"layout": "nowhere"},
    ):
        assert not fits({**good, **bad}, schema, schema)
    assert set(schema["properties"]) == set(Recipe.model_fields)
    target = tmp_path / "schema.json"
    assert main(["recipe", "--schema", "--out", str(target)]) == 0
    assert capsys.readouterr().out.strip() == str(target)
    assert json.loads(target.read_text("utf-8")) == schema == json.loads(schema_text())
