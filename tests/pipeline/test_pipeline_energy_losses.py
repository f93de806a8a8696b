"""Energy losses through recipe and workflow: noise, anchor on an edge, ratios, report."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import siftem
from siftem.errors import RecipeError
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.workflow import Workflow
from siftem.simulate.elnes import simulate_elnes

TI = {"edge": "Ti_L3", "background": [402, 452], "signal": [453, 500]}
RECIPE = {
    "input": {"file": "map.dm4"},
    "matrix": "titanate",
    "phases": {
        "titanate": {"component": 1},
        "Mn oxide": {"component": 2, "anchor": {"absent_edge": TI}},
    },
    "quantify": {
        "edges": [
            {"edge": "Mn_L3", "background": [600, 634], "signal": [636, 700]},
            {"edge": "O_K", "background": [480, 528], "signal": [530, 600]},
        ]
    },
}


@pytest.fixture(scope="module")
def phantom():
    return simulate_elnes((40, 40), counts=60, gain=4.0, readout=8.0, seed=5)


@pytest.fixture(scope="module")
def result(phantom):
    """Of the map as a camera records it, not of the counts."""
    counts = sp.csr_array(np.rint(phantom.data).clip(0).reshape(1600, -1))
    recorded = replace(phantom.spectrum_image, counts=counts)
    return Workflow(make_recipe(RECIPE), spectrum_image=recorded).result()


def test_pure_spectrum_is_within_three_degrees(phantom, result):
    assert result.pure["Mn oxide"].angle_to(phantom.spectra[1]) < 3
    assert result.pure["titanate"].angle_to(phantom.spectra[0]) < 1
    assert result.pure["Mn oxide"].anchor == "no Ti_L3 edge in the grain"


def test_noise_and_ratios_are_told(result):
    told = " ".join(result.warnings)
    assert "noise estimated from the data" in told
    assert "Mn oxide: O/Mn = " in told
    assert "titanate: no ratios of elements" in told  # it holds no Mn to compare with


def test_the_report_is_written(result, tmp_path):
    siftem.write_results(result, tmp_path / "run")
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "no Ti_L3 edge in the grain" in html
    assert (tmp_path / "run" / "spectra" / "Mn_oxide.msa").is_file()


def test_a_grain_without_an_anchor_keeps_its_mixture(phantom):
    recipe = make_recipe({**RECIPE, "phases": {
        "titanate": {"component": 1}, "Mn oxide": {"component": 2}}, "quantify": {}})  # fmt: skip
    spectra = Workflow(recipe, spectrum_image=phantom.spectrum_image)
    assert list(spectra.run("spectra").pure) == ["titanate"]
    assert "no anchor on an edge" in " ".join(spectra.warnings("spectra"))


def test_edges_are_checked_when_the_recipe_is_read():
    with pytest.raises(RecipeError, match="element and subshell"):
        make_recipe({**RECIPE, "quantify": {"edges": ["Ti"]}})
    assert make_recipe({**RECIPE, "quantify": {"edges": ["Ti_L3", "O_K"]}}).quantify.edges[1].made()
    with pytest.raises(RecipeError, match="not several"):
        make_recipe({**RECIPE, "phases": {
            "titanate": {"component": 1},
            "Mn oxide": {"component": 2, "anchor": {"absent_edge": "Ti_L3", "absent": ["Ti"]}},
        }})  # fmt: skip
