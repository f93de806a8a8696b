import numpy as np
import pytest
import yaml

from siftem.errors import InputError, RecipeError
from siftem.pipeline.changes import changed_recipe, recipe_for
from siftem.pipeline.demo import demo_recipe
from siftem.pipeline.recipe import make_recipe, read_recipe

ELEMENTS = ["O", "Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "Hf", "Lu", "U"]
PLAIN = {"input": {"file": "map.hspy"}}


def test_a_complete_recipe_survives_the_round_trip(tmp_path):
    recipe = demo_recipe(dose=50, seed=3)
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml())
    assert read_recipe(path) == recipe


def test_paths_are_taken_from_the_recipe_s_folder(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("input: {file: data/map.hspy}\nsegment: {traces: paint.tif}\n")
    recipe = read_recipe(path)
    assert recipe.input.file == str(tmp_path / "data/map.hspy")
    assert recipe.segment.traces == str(tmp_path / "paint.tif")


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
        ({"segment": {"smoothness": -1}}, "segment.smoothness", "greater than or equal"),
        ({"decompose": {"components": 0}}, "decompose.components", ""),
        ({"quantify": {"thickness": float("nan")}}, "quantify.thickness", "finite"),
        ({"phases": {"A": {}}}, "recipe", "which of the phases is the matrix"),
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
    ],
)
def test_a_file_that_is_no_recipe(tmp_path, content, message):
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=message):
        read_recipe(path)


def test_a_missing_recipe():
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        read_recipe("nowhere.yaml")


def test_options_change_the_recipe_and_nothing_else():
    recipe = recipe_for("map.hspy")
    assert recipe.input.file == "map.hspy"
    assert recipe.n_components == 3
    changed = changed_recipe(
        recipe, components="4", elements=("Mg", "Si"), support=("Cu",), signal=2
    )
    assert changed.n_components == 4
    assert changed.elements == ("Mg", "Si")
    assert changed.input.signal == 2
    assert changed_recipe(recipe) == recipe
    assert changed_recipe(recipe, components="auto").n_components == "auto"
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
