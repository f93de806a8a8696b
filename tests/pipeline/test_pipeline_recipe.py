import os

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import siftem
from siftem.errors import InputError, ReadError, RecipeError, SiftemWarning
from siftem.pipeline.changes import changed_recipe, merged_recipe, recipe_for
from siftem.pipeline.recipe import make_recipe, read_recipe
from siftem.pipeline.recipe_anchors import AnchorChoice, AnchorSettings
from siftem.pipeline.starting_recipe import demo_recipe
from siftem.pipeline.workflow import Workflow

ELEMENTS = ["O", "Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "Hf", "Lu", "U"]
PLAIN = {"input": {"file": "map.hspy"}}


def test_a_complete_recipe_survives_the_round_trip(tmp_path):
    recipe = demo_recipe(dose=50, random_state=3)
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml())
    assert read_recipe(path) == recipe


def test_paths_are_taken_from_the_recipe_s_folder(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(
        "input: {file: data/map.hspy}\nsegment: {traces: paint.tif}\n"
        "quantify: {standard: {file: s.msa, weight_percent: {O: 1, Si: 1}}, cross_sections: c.csv}"
    )
    recipe = read_recipe(path)
    assert recipe.input.file == str(tmp_path / "data/map.hspy")
    assert recipe.segment.traces == str(tmp_path / "paint.tif")
    assert recipe.quantify.standard.file == str(tmp_path / "s.msa")
    assert recipe.quantify.cross_sections == str(tmp_path / "c.csv")
    path.write_text("input: {file: a}\nsegment: {traces: {A: {pixels: [[1, 2]]}}}\n")
    assert read_recipe(path).segment.traces["A"][0].pixels == ((1, 2),)


def test_one_anchor_or_several_switches_and_shapes_are_read_as_meant():
    recipe = make_recipe(
        {
            **PLAIN,
            "matrix": "M",
            "unmix": False,
            "phases": {
                "M": {},
                "A": {"anchor": {"absent": ["Si"]}},
                "B": {
                    "anchor": [{"absent": ["Mg"]}, {"stoichiometry": {"ratio": "Ca/Si"}}],
                    "contaminants": ["A"],
                },
                "C": {"anchor": {}},
            },
            "segment": {"traces": {"A": {"line": [[0, 0.5], [2, 3]], "width": 3}}},
        }
    )
    assert recipe.unmix.run is False
    assert [len(p.anchor) for p in recipe.phases.values()] == [0, 1, 2, 0]
    assert recipe.phases["B"].anchor[1].on_lines
    assert recipe.segment.traces["A"][0].width == 3
    assert make_recipe(yaml.safe_load(recipe.to_yaml())) == recipe
    assert "null" not in recipe.to_yaml().replace("[0.2, null]", "").replace("[0.25, null]", "")


RATIO = {"numerator": "Ca", "denominator": "Si", "value": 1}
EDGES = {"numerator": "O_K", "denominator": "Mn_L3", "value": 1}


@pytest.mark.parametrize(
    ("anchor", "made", "on", "elements"),
    [
        ({"absent": ["Si", "Al"]}, "Absent", "lines", ("Si", "Al")),
        ({"ratio": RATIO}, "KnownRatio", "lines", ("Ca", "Si")),
        ({"stoichiometry": {"ratio": "(Ca+Mg)/Si"}}, "Stoichiometry", "lines", ("Ca", "Mg", "Si")),
        ({"scale": {"value": 0.4}}, "GivenScale", "", ()),
        ({"most_matrix": ["O"]}, "MostMatrix", "", ("O",)),
        ({}, "MostMatrix", "", ()),
        ({"absent_edge": "Ti_L3"}, "AbsentEdge", "edges", ()),
        ({"edge_ratio": EDGES}, "EdgeRatio", "edges", ()),
    ],
)
def test_each_kind_of_anchor_makes_its_own_and_tells_what_it_stands_on(anchor, made, on, elements):
    choice = AnchorChoice.model_validate(anchor)
    assert (choice.on_lines, choice.on_edges) == (on == "lines", on == "edges")
    assert choice.elements == elements
    if on == "edges":
        assert type(choice.make_for_losses()).__name__ == made
        with pytest.raises(InputError, match="edges of energy losses"):
            choice.make(AnchorSettings())
    else:
        assert type(choice.make(AnchorSettings())).__name__ == made


def test_sections_are_laid_over_key_by_key():
    recipe = demo_recipe()
    changed = merged_recipe(
        recipe,
        {
            "phases": {"Fp": {"density": 4.2}, "New": {"high": ["U"]}},
            "segment": {"margin": 2},
            "elements": ["O", "Mg"],
            "input": {"file": "map.hspy"},
        },
    )
    assert changed.phases["Fp"].density == 4.2
    assert changed.phases["Fp"].anchor == recipe.phases["Fp"].anchor
    assert tuple(changed.phases) == ("Brg", "Fp", "Ca-Pv", "New")
    assert (changed.segment.margin, changed.segment.trees) == (2, recipe.segment.trees)
    assert changed.elements == ("O", "Mg")
    assert changed.input.demo is None
    assert merged_recipe(recipe, {"segment": recipe.segment}) == recipe
    without = merged_recipe(recipe, {"phases": {"Ca-Pv": None}})
    assert tuple(without.phases) == ("Brg", "Fp")
    assert merged_recipe(recipe, {"quantify": {"thickness": None}}).quantify.thickness is None


def test_every_example_is_a_valid_recipe():
    from pathlib import Path

    found = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
    assert {"71gpa.yaml", "71gpa_contaminant.yaml"} <= {p.name for p in found}
    for path in found:
        assert read_recipe(path).title


def test_the_example_recipe_is_valid_and_as_the_model_case_asks():
    from pathlib import Path

    recipe = read_recipe(Path(__file__).parents[2] / "examples" / "71gpa.yaml")
    assert recipe.matrix == "Brg"
    assert tuple(recipe.phases) == ("Brg", "Fp", "Ca-Pv")
    assert recipe.elements == tuple(ELEMENTS)
    assert {"Cu", "Ga", "C"} <= set(recipe.support)
    assert recipe.quantify.thickness is not None
    assert all(p.density for p in recipe.phases.values())


@pytest.mark.parametrize(
    ("change", "key", "message"),
    [
        ({"elemets": ["Mg"]}, "elemets", "not a known key"),
        ({"elements": ["Mg", "Xx"]}, "elements", "Xx"),
        ({"input": {}}, "input", "one of file, demo and example"),
        ({"input": {"file": "a", "demo": {}}}, "input", "one of file, demo and example"),
        (
            {"segment": {"smoothness": -1}},
            "segment.smoothness",
            "number from 0 up, or auto, got -1",
        ),
        ({"decompose": {"components": 0}}, "decompose.components", ""),
        ({"quantify": {"thickness": float("nan")}}, "quantify.thickness", "finite"),
        ({"phases": {"A": {}}, "layout": "matrix"}, "recipe", "which of the phases is the matrix"),
        ({"phases": {"A": {}}, "matrix": "B"}, "recipe", "not among the phases"),
        (
            {"phases": {"A": {}, "B": {}}, "matrix": "A", "decompose": {"components": 1}},
            "recipe",
            "at least as many components",
        ),
        ({"elements": ["Cu"], "support": ["Cu"]}, "recipe", "both an element and support"),
        (
            {"phases": {"A": {"anchor": {"absent": ["Si"], "scale": {"value": 1}}}}, "matrix": "A"},
            "phases.A.anchor",
            "not several",
        ),
        ({"phases": {"A": {"high": ["Zz"]}}, "matrix": "A"}, "recipe", "Zz"),
        ({"siftem": 99}, "", "install a newer siftem"),
        ({"quantfy": {}}, "quantfy", "did you mean quantify"),
        ({"unmix": {"zzz": 1}}, "unmix.zzz", "known are run, max_iter"),
        ({"unmix": "maybe"}, "unmix", "true, false, auto"),
        ({"decompose": {"components": "three"}}, "decompose.components", "or auto, got 'three'"),
        ({"segment": {"smoothness": "much"}}, "segment.smoothness", "or auto, got 'much'"),
        ({"quantify": {"oxygen": "guessed"}}, "quantify.oxygen", "'measured' or 'stoichiometry'"),
        ({"quantify": {"ratios": ["Mg//Fe"]}}, "quantify.ratios", "(Mg+Fe)/O"),
        ({"quantify": {"k_factors": {}}}, "quantify.k_factors", "one of values and file"),
        (
            {"quantify": {"k_factors": {"file": "k"}, "zeta_factors": {"file": "z"}}},
            "quantify",
            "exclude each other",
        ),
        (
            {"quantify": {"standard": {"file": "s", "weight_percent": {"Si": 50}}}},
            "quantify.standard.weight_percent",
            "at least two",
        ),
        (
            {"segment": {"traces": {"A": [{"polygon": [[0, 0]]}]}}},
            "segment.traces.A.0",
            "at least 3",
        ),
        (
            {"segment": {"traces": {"A": [{"polgon": [[0, 0]]}]}}},
            "segment.traces.A.0.polgon",
            "did you mean polygon",
        ),
        (
            {"segment": {"traces": {"A": {"pixels": [[0, -1]]}}}},
            "segment.traces.A.0.pixels.0.1",
            "greater than or equal to 0",
        ),
        ({"segment": {"traces": "a", "classifier": "b"}}, "segment", "not both"),
        (
            {
                "phases": {"A": {"contaminants": ["B"]}, "B": {"contaminants": ["A"]}, "M": {}},
                "matrix": "M",
            },
            "recipe",
            "contaminate each other",
        ),
        (
            {"phases": {"A": {"contaminants": ["M"]}, "M": {}}, "matrix": "M"},
            "recipe",
            "must be other grains",
        ),
        (
            {"phases": {"A": {"component": 1}, "M": {"high": ["Si"]}}, "matrix": "M"},
            "recipe",
            "every phase or of none",
        ),
        (
            {"phases": {"A": {"component": 1}, "M": {"component": 1}}, "matrix": "M"},
            "recipe",
            "given to two phases",
        ),
        (
            {"phases": {"A": {"component": 9}, "M": {"component": 1}}, "matrix": "M"},
            "recipe",
            "only 2",
        ),
        (
            {"phases": {"A": {"component": 1, "high": ["Si"]}, "M": {}}, "matrix": "M"},
            "phases.A",
            "not both",
        ),
        (
            {"phases": {"A": {}}, "matrix": "A", "quantify": {"partition": [["A", "B"]]}},
            "recipe",
            "names 'B'",
        ),
        (
            {
                "phases": {"A": {}},
                "matrix": "A",
                "segment": {"traces": {"B": {"pixels": [[0, 0]]}}},
            },
            "recipe",
            "painted for 'B'",
        ),
    ],
)
def test_a_bad_recipe_names_the_key_in_one_line(change, key, message):
    with pytest.raises(RecipeError) as caught:
        make_recipe({**PLAIN, **change})
    text = str(caught.value)
    assert key in text
    assert message in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"input: [", "not valid YAML in line"),
        (b"- just\n- a list\n", "must hold keys and values"),
        (b"", "must hold keys and values"),
        (b"\xff\xfe\x00", "cannot read"),
        (b"!!python/object/apply:os.system ['true']", "not valid YAML"),
        (
            b"input: {file: a.hspy}\ntitle: x\ninput: {file: b.hspy}",
            "line 3: the key 'input' is gi",
        ),
        (b"input: {file: a.hspy, file: b.hspy}", "line 1: the key 'file' is given twice"),
        (b"#" + 5_000_000 * b"x", "no recipe: it has 5 MB"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path, content, message):
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=message):
        read_recipe(path)


def test_merged_keys_may_be_given_again(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(
        "input: {file: a.hspy}\nphases:\n  A: &a {high: [Si], absent: [Mg]}\n"
        "  B: {<<: *a, high: [Fe]}\n  C: {<<: *a}\nmatrix: A\n"
    )
    assert read_recipe(path).phases["B"].high == ("Fe",)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_no_recipe_and_no_map(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(RecipeError, match="it is no file"):
        read_recipe(pipe)
    for name, match in ((str(pipe), "a device or a pipe"), ("x" * 5000, "cannot read")):
        recipe = make_recipe({"input": {"file": name}})
        with pytest.raises(ReadError, match=match):
            Workflow(recipe).run("load")


def test_a_missing_recipe():
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        read_recipe("nowhere.yaml")


def test_options_change_the_recipe_and_nothing_else():
    recipe = recipe_for("map.hspy")
    assert recipe.input.file == "map.hspy"
    assert recipe.n_components == "auto"
    changed = changed_recipe(
        recipe, components="4", elements=("Mg", "Si"), support=("Cu",), signal=2
    )
    assert changed.n_components == 4
    assert changed.elements == ("Mg", "Si")
    assert changed.input.signal == 2
    assert changed_recipe(recipe) == recipe
    assert changed_recipe(recipe, components="auto").n_components == "auto"
    assert changed_recipe(recipe, unmix=True).unmix.run is True
    assert changed_recipe(recipe, unmix=False).unmix.run is False
    with pytest.raises(InputError, match="number such as 3"):
        changed_recipe(recipe, components="three")


def test_random_text_never_gets_past_the_reader(tmp_path):
    rng = np.random.default_rng(0)
    good = yaml.safe_dump(demo_recipe().model_dump(mode="json"))
    path = tmp_path / "r.yaml"
    for _ in range(100):
        letters = list(good)
        for place in rng.integers(0, len(letters), 5):
            letters[place] = chr(rng.integers(32, 126))
        path.write_text("".join(letters))
        try:
            read_recipe(path)
        except RecipeError as error:
            assert "\n" not in str(error)


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=8)
    | st.sampled_from(["auto", "Brg", "Fe", "1e400", "../../x", "\x00", "<", "int", "2026-11-23"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_recipe_with_values_of_the_wrong_kind_is_refused_in_one_line(data):
    """Any value in the place of any other: taken, or refused by name; never another error."""
    recipe = demo_recipe().model_dump(mode="json")
    place = recipe
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else [0]))
        inner = place[key]
        if not isinstance(inner, dict) or not inner or data.draw(st.integers(0, 3)) == 0:
            break
        place = inner
    how = data.draw(st.sampled_from(["replace", "remove", "add"]))
    if how == "replace":
        place[key] = data.draw(_VALUES)
    elif how == "remove":
        del place[key]
    else:
        place[data.draw(st.text(max_size=6) | st.sampled_from(["<", "a]", "int"]))] = data.draw(
            _VALUES
        )
    try:
        found = make_recipe(recipe)
    except (RecipeError, InputError) as error:
        assert "\n" not in str(error)
        return
    # What was taken can be written down and read again.
    assert make_recipe(found.model_dump(mode="json")) == found


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200) | st.text(alphabet="{}[]&*!|>-:, \n\taA1\"'%#", max_size=60))
def test_a_file_of_anything_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "r.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert "\n" not in str(caught.value)


def test_a_recipe_that_multiplies_itself_is_refused_at_once(tmp_path):
    """Nine lines of YAML that stand for a thousand million entries."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    path = tmp_path / "r.yaml"
    path.write_text("\n".join([*lines, "elements: *a8", "phases: *a8"]))
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "value",
    ["2001-13-45", '!!int "abc"', "9" * 6000, '"\\ud800"', '"a\\0b"', '["x", {k: "a\\0b"}]'],
)
def test_values_that_cannot_be_read_are_one_line(value, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(f"title: {value}\ninput: {{file: a.hspy}}\n")
    with pytest.raises(RecipeError, match=r"r\.yaml") as seen:
        read_recipe(path)
    assert "\n" not in str(seen.value)


def test_an_element_alone_is_an_anchor():
    def anchors(value):
        phases = {"Brg": {"high": ["Si"]}, "Fp": {"high": ["Fe"], "anchor": value}}
        data = {"input": {"file": "a.hspy"}, "matrix": "Brg", "phases": phases}
        return make_recipe(data).phases["Fp"].anchor

    assert anchors("Si") == anchors({"absent": ["Si"]})
    assert anchors(["Si", {"ratio": RATIO}]) == anchors([{"absent": ["Si"]}, {"ratio": RATIO}])
    with pytest.raises(RecipeError, match="Sj"):
        anchors("Sj")
    with pytest.raises(RecipeError):
        anchors(3)


def test_old_names_of_keys_are_taken_and_told():
    data = {
        "input": {"demo": {"seed": 4}},
        "decompose": {"seed": 3, "starts": 2, "tolerance": 1e-3, "max_sweeps": 50},
        "segment": {"seed": 5},
        "unmix": {"max_steps": 7},
    }
    with pytest.warns(SiftemWarning, match="is called") as told:
        found = make_recipe(data)
    assert len(told) == 7
    assert found == make_recipe(
        {
            "input": {"demo": {"random_state": 4}},
            "decompose": {"random_state": 3, "n_init": 2, "tol": 1e-3, "max_iter": 50},
            "segment": {"random_state": 5},
            "unmix": {"max_iter": 7},
        }
    )
    assert "seed" not in found.to_yaml()
    with pytest.raises(RecipeError, match=r"segment.*seed is the old name of random_state"):
        make_recipe({"input": {"demo": {}}, "segment": {"seed": 5, "random_state": 6}})


def test_old_names_of_parameters_are_taken_and_told():
    with pytest.warns(SiftemWarning, match=r"simulate_demo\(\): seed is called random_state now"):
        old = siftem.datasets.simulate_demo((16, 16), dose=20, channels=64, seed=3)
    new = siftem.simulate_demo((16, 16), dose=20, channels=64, random_state=3)
    assert (old.spectrum_image.counts != new.spectrum_image.counts).nnz == 0


RATIO = {"numerator": "Mg", "denominator": "O", "value": 1.0}
