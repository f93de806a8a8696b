"""Regions that counting noise does not move, and the smoothness that the counts suggest."""

from pathlib import Path

import numpy as np
import pytest

from siftem.io.hyperspy_bridge import load
from siftem.pipeline.changes import merged_recipe
from siftem.pipeline.recipe import read_recipe
from siftem.pipeline.starting_recipe import demo_recipe
from siftem.pipeline.workflow import Workflow
from siftem.thinning import thin

EXAMPLE = Path(__file__).parents[2] / "examples" / "71gpa.yaml"


@pytest.mark.slow
def test_the_suggestion_for_the_demo_is_nearly_the_best_by_truth():
    recipe = demo_recipe(shape=(64, 64))
    workflow = Workflow(recipe)
    choice = workflow.choose_smoothness()
    phantom = workflow.run("prepare").phantom
    overlap = {}
    for smoothness in choice.candidates:
        workflow.change(segment={"smoothness": smoothness})
        try:
            masks = workflow.run("regions").regions.masks
        except ValueError:  # nothing left of a grain
            continue
        truth = {name: phantom.mask(name) for name in masks}
        overlap[smoothness] = np.mean(
            [(masks[n] & truth[n]).sum() / (masks[n] | truth[n]).sum() for n in masks]
        )
    assert overlap[choice.smoothness] > max(overlap.values()) - 0.03
    assert choice.loss[-1] > 5 * choice.standard_error[-1]


@pytest.mark.slow
@pytest.mark.real_data
def test_labels_from_independent_halves_of_the_real_counts_agree(map_71gpa):
    recipe = merged_recipe(read_recipe(EXAMPLE), {"segment": {"trees": 30}})
    first, second = (
        Workflow(recipe, spectrum_image=half).run("regions").regions.masks
        for half in thin(load(map_71gpa), random_state=0)
    )
    for grain, least in (("Fp", 0.8), ("Ca-Pv", 0.7)):
        both, either = first[grain] & second[grain], first[grain] | second[grain]
        assert both.sum() / either.sum() > least
