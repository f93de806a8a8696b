"""Energy losses through recipe and workflow: noise, anchor on an edge, ratios, report."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import siftem
from siftem.errors import DoubtWarning, RecipeError
from siftem.pipeline.recipe import make_recipe, read_recipe
from siftem.pipeline.steps.spectra import loss_ratios
from siftem.pipeline.subtraction import pure_losses
from siftem.pipeline.summary import summarize
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
    return simulate_elnes((40, 40), counts=60, gain=4.0, readout=8.0, random_state=5)


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


def test_windows_that_hold_another_edge_are_a_doubt(phantom):
    spectrum = siftem.integrate(phantom.spectrum_image, np.ones((40, 40), bool))
    edges = {**RECIPE, "quantify": {"edges": ["Ti_L3", "O_K"]}}
    with pytest.warns(DoubtWarning, match="background window of O_K.*holds the onset of Ti_L3"):
        loss_ratios(make_recipe(edges), {}, {"titanate": spectrum}, {})


def test_the_report_is_written(result, tmp_path):
    siftem.write_results(result, tmp_path / "run")
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "no Ti_L3 edge in the grain" in html
    assert "Ratios of elements by atoms" in html
    assert (tmp_path / "run" / "spectra" / "Mn_oxide.msa").is_file()


def test_ratios_are_keys_of_the_summary(result, phantom):
    found = summarize(result)
    ratio = found["phases"]["Mn oxide"]["elemental_ratios"]["O/Mn"]
    assert ratio["edges"] == ["O_K", "Mn_L3"]
    assert ratio["value"] == pytest.approx(true_ratio(phantom), abs=3 * ratio["sigma"])
    assert 0 < ratio["sigma"] < 0.1 * ratio["value"]
    assert ratio["systematic"] == pytest.approx(
        result.ratios["Mn oxide"].systematic_sigma[1], rel=1e-5
    )
    # The matrix' share brings oxygen and no manganese.
    mixture = found["mixtures"]["Mn oxide + titanate"]["elemental_ratios"]["O/Mn"]
    assert mixture["value"] > ratio["value"] + 3 * ratio["sigma"]
    assert "elemental_ratios" not in found["phases"]["titanate"]


def true_ratio(phantom):
    """O/Mn as the noiseless spectrum of the grain would give it."""
    spectrum = siftem.Spectrum(
        phantom.spectra[1] * 1e6,
        phantom.spectrum_image.axis,
        acquisition=phantom.spectrum_image.acquisition,
    )
    edges = [edge.made() for edge in make_recipe(RECIPE).quantify.edges]
    # The phantom's tails are made up, which is told.
    with pytest.warns(DoubtWarning, match="by the shapes of all edges"):
        return siftem.elemental_ratios(spectrum, edges)["O"]


def ratio_recipe(value, sigma=0.0):
    """The grain is anchored by O/Mn instead of by what it lacks."""
    mn, oxygen = RECIPE["quantify"]["edges"]
    anchor = {"numerator": oxygen, "denominator": mn, "value": value, "sigma": sigma}
    grain = {"component": 2, "anchor": {"edge_ratio": anchor}}
    return make_recipe({**RECIPE, "phases": {"titanate": {"component": 1}, "Mn oxide": grain}})


def test_a_ratio_of_edges_anchors_a_grain(phantom, result):
    recipe = ratio_recipe(true_ratio(phantom))
    spectra = Workflow(recipe, spectrum_image=phantom.spectrum_image).run("spectra")
    pure = spectra.pure["Mn oxide"]
    assert pure.anchor.startswith("O/Mn = ")
    assert pure.angle_to(phantom.spectra[1]) < 3
    other = result.pure["Mn oxide"]
    # The same amount of matrix as from the absent edge, in equal units, within both errors.
    assert pure.scale == pytest.approx(
        other.scale, abs=4 * np.hypot(pure.scale_sigma, other.scale_sigma)
    )
    # What was put in comes out, but for the background, which is fitted to the difference anew.
    assert spectra.ratios["Mn oxide"]["O"] == pytest.approx(true_ratio(phantom), rel=0.01)


def test_a_grain_whose_subtraction_fails_leaves_the_rest(result):
    mn = RECIPE["quantify"]["edges"][0]  # of which the matrix holds none, either
    grain = {"component": 2, "anchor": {"absent_edge": mn}}
    recipe = make_recipe({**RECIPE, "phases": {"titanate": {"component": 1}, "Mn oxide": grain}})
    mixture, missing = result.spectra["Mn oxide + titanate"], {}
    with pytest.warns(DoubtWarning, match="the pure spectrum of Mn oxide is missing"):
        pure = pure_losses(recipe, {"Mn oxide": mixture}, result.pure["titanate"], missing)
    assert tuple(pure) == ("titanate",)
    assert "the matrix itself fulfils" in missing["the pure spectrum of Mn oxide"]


def test_the_error_of_a_ratio_of_edges_is_carried(phantom):
    image, value = phantom.spectrum_image, true_ratio(phantom)
    sigmas = [
        Workflow(ratio_recipe(value, s), spectrum_image=image).run("spectra").pure["Mn oxide"]
        for s in (0.0, 0.2 * value)
    ]
    assert sigmas[1].scale_sigma > 1.5 * sigmas[0].scale_sigma


def test_a_ratio_of_edges_survives_the_written_recipe(tmp_path):
    recipe = ratio_recipe(1.5, 0.1)
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    again = read_recipe(path)
    assert again.phases == recipe.phases
    (anchor,) = again.phases["Mn oxide"].anchor
    assert anchor.edge_ratio.numerator.signal == (530, 600)
    short = make_recipe({**RECIPE, "phases": {"titanate": {"component": 1}, "Mn oxide": {
        "component": 2, "anchor": {
            "edge_ratio": {"numerator": "O_K", "denominator": "Mn_L3", "value": 1}}}}})  # fmt: skip
    assert short.phases["Mn oxide"].anchor[0].edge_ratio.denominator.edge == "Mn_L3"


@pytest.mark.parametrize(
    ("anchor", "message"),
    [
        ({"numerator": "O_K", "denominator": "Mn_L3"}, "value"),
        ({"numerator": "O_K", "denominator": "Mn_L3", "value": -1}, "value"),
        ({"numerator": "O", "denominator": "Mn_L3", "value": 1}, "element and subshell"),
        ({"numerator": "Mn_L2", "denominator": "Mn_L3", "value": 1}, "two elements"),
    ],
)
def test_a_bad_ratio_of_edges_is_named(anchor, message):
    grain = {"component": 2, "anchor": {"edge_ratio": anchor}}
    with pytest.raises(RecipeError, match=message):
        make_recipe({**RECIPE, "phases": {"titanate": {"component": 1}, "Mn oxide": grain}})


def test_what_energy_losses_cannot_do_is_told(phantom):
    """A second anchor and a contaminant would else be passed over in silence."""
    phases = {
        "titanate": {"component": 1},
        "Mn oxide": {"component": 2, "anchor": [{"absent_edge": TI}, {"scale": {"value": 0.1}}]},
    }
    workflow = Workflow(
        make_recipe({**RECIPE, "phases": phases}), spectrum_image=phantom.spectrum_image
    )
    workflow.run("spectra")
    assert "several anchors, energy losses take one" in " ".join(workflow.warnings("spectra"))


def test_a_grain_without_an_anchor_is_left_open(phantom):
    recipe = make_recipe({**RECIPE, "phases": {
        "titanate": {"component": 1}, "Mn oxide": {"component": 2}}})  # fmt: skip
    spectra = Workflow(recipe, spectrum_image=phantom.spectrum_image)
    found = spectra.run("spectra")
    assert set(found.ratios) == {"Mn oxide + titanate"}  # and not those of one end of a range
    assert "Mn oxide: no ratios of elements, which its scale" in " ".join(
        spectra.warnings("spectra")
    )
    assert list(found.pure) == ["titanate", "Mn oxide"]
    low, high = found.open_scales["Mn oxide"].ranges[0].ends
    with_anchor = Workflow(make_recipe(RECIPE), spectrum_image=phantom.spectrum_image)
    assert low < with_anchor.run("spectra").pure["Mn oxide"].scale < high
    assert "Mn oxide: no anchor" in " ".join(spectra.warnings("spectra"))


def test_edges_are_checked_when_the_recipe_is_read():
    with pytest.raises(RecipeError, match="element and subshell"):
        make_recipe({**RECIPE, "quantify": {"edges": ["Ti"]}})
    assert make_recipe({**RECIPE, "quantify": {"edges": ["Ti_L3", "O_K"]}}).quantify.edges[1].made()
    with pytest.raises(RecipeError, match="not several"):
        make_recipe({**RECIPE, "phases": {
            "titanate": {"component": 1},
            "Mn oxide": {"component": 2, "anchor": {"absent_edge": "Ti_L3", "absent": ["Ti"]}},
        }})  # fmt: skip
