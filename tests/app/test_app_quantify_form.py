"""The fields of a quantification: what they say in the recipe, and what they leave alone."""

import pytest

pytest.importorskip("panel")

from siftem.app.composition_view import QuantifyForm, read_factors
from siftem.errors import InputError
from siftem.pipeline.changes import merged_recipe
from siftem.pipeline.recipe import make_recipe

PLAIN = {"input": {"demo": {}}, "phases": {"Brg": {}, "Fp": {}}, "matrix": "Brg"}


def shown(**quantify):
    recipe = make_recipe({**PLAIN, "quantify": quantify})
    form = QuantifyForm()
    form.show(recipe)
    return form, recipe


def test_fields_become_a_recipe():
    form, recipe = shown()
    assert not form.edited
    form.thickness.value, form.oxygen.value = 80.0, "stoichiometry"
    form.oxygens["Fp"].value, form.densities["Brg"].value = 1, 4.1
    form.ratios.value_input = "(Mg+Fe)/Si; Ca/Si"
    form.factors.value_input = "Fe 1.21 ± 3%; Ba La 2.31\nO:1.9"
    form.factors_of.value, form.reference.value_input = "family", "Fe"
    assert form.edited
    said = merged_recipe(recipe, form.choice(recipe))
    assert said.quantify.ratios == ("(Mg+Fe)/Si", "Ca/Si")
    assert (said.quantify.thickness, said.quantify.oxygen) == (80.0, "stoichiometry")
    factors = said.quantify.k_factors
    assert factors.values == {"Fe": 1.21, "Ba La": 2.31, "O": 1.9}
    assert factors.relative_sigma == {"Fe": 0.03}
    assert (factors.line, factors.reference) == ("family", "Fe")
    assert (said.phases["Fp"].oxygens, said.phases["Brg"].density) == (1, 4.1)
    # Shown again, the fields say the same; emptied, factors are computed ones again.
    form.show(said)
    assert not form.edited and merged_recipe(said, form.choice(said)) == said
    form.factors.value_input = form.factors.value = ""
    assert merged_recipe(said, form.choice(said)).quantify.k_factors is None


def test_what_no_field_can_tell_stays(tmp_path):
    given = {"file": str(tmp_path / "k.csv"), "detector": "apart"}
    form, recipe = shown(k_factors=given, thickness=(50.0, 90.0))
    assert "k.csv" in form.factors.placeholder
    form.ratios.value_input = "Mg/Si"
    said = merged_recipe(recipe, form.choice(recipe)).quantify
    assert said.k_factors == recipe.quantify.k_factors
    assert said.thickness == (50.0, 90.0) and said.ratios == ("Mg/Si",)


@pytest.mark.parametrize("text", ["Fe", "Fe 1,2", "1.2", "Fe 1.2 ± 3", "iron 1.2", "Fe -1"])
def test_factors_that_cannot_be_read(text):
    with pytest.raises(InputError, match=r"like Fe 1\.21"):
        read_factors(text)


def test_two_factors_of_one_line():
    with pytest.raises(InputError, match="two k-factors of Fe"):
        read_factors("Fe 1.2; Fe 1.3")
