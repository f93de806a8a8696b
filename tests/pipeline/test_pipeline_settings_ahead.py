"""Fit settings that were made before their turn."""

from dataclasses import replace

import pytest

from siftem.datasets import simulate_demo
from siftem.errors import DoubtWarning, InputError, SiftemWarning
from siftem.pipeline.fit_settings import Ahead, fit_settings, keep_ahead, settings_ahead
from siftem.pipeline.recipe import make_recipe


def test_settings_made_ahead_are_told_at_their_turn_and_serve_their_own_recipe_alone():
    si = simulate_demo((8, 8), channels=64).spectrum_image
    si = replace(si, acquisition=replace(si.acquisition, beam_energy=None))
    recipe = make_recipe({"input": {"file": "map.hspy"}, "elements": ["O", "Si"]})
    assert settings_ahead(recipe, si) is None  # no beam energy: said when it is asked for
    made = Ahead("those", ("a note", "a doubt"), ("a doubt",))
    keep_ahead(recipe, si, made)
    with pytest.warns(SiftemWarning) as told:
        assert fit_settings(recipe, si, ("O", "Si")) == "those"
    kinds = {str(w.message): w.category for w in told}
    assert kinds == {"a note": SiftemWarning, "a doubt": DoubtWarning}
    for other, elements in ((recipe.model_copy(), ("O", "Si")), (recipe, ("O", "Mg"))):
        with pytest.raises(InputError, match="beam energy"):
            fit_settings(other, si, elements)
