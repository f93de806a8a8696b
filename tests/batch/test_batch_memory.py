"""Maps that stay on disk while they are worked on."""

import json

import numpy as np
import pytest

from siftem.batch.run import run_batch
from siftem.pipeline.recipe import read_recipe


@pytest.mark.slow
def test_maps_on_disk_give_the_same_results(real_maps, tmp_path):
    recipe, files = read_recipe(real_maps[0], for_many=True), real_maps[1]
    run_batch(recipe, files[:1], tmp_path / "whole")
    result = run_batch(recipe, files[:1], tmp_path / "blocks", memory="1GB")
    assert [o.status for o in result.outcomes] == ["done"]
    whole, blocks = (
        json.loads((tmp_path / name / "summary.json").read_text())["means"]
        for name in ("whole", "blocks")
    )
    for phase, elements in whole.items():
        for element, mean in elements.items():
            expected = (mean["at_percent"], mean["at_sigma"])
            found = blocks[phase][element]
            np.testing.assert_allclose(
                (found["at_percent"], found["at_sigma"]), expected, rtol=1e-4, atol=1e-5
            )
    # Intermediate files are gone, and it is up to date for both.
    assert not list((tmp_path / "blocks").rglob("blocks"))
    again = run_batch(recipe, files[:1], tmp_path / "blocks")
    assert [o.status for o in again.outcomes] == ["kept"]
