"""Bulk specimens: the road up to pure spectra, ratios of net lines, no compositions."""

from dataclasses import replace

import pytest
from small_demo import small_demo

import siftem
from siftem.pipeline.changes import changed_recipe, recipe_for
from siftem.pipeline.summary import summarize
from siftem.pipeline.workflow import Workflow


@pytest.fixture(scope="module")
def bulk():
    """The model case as a scanning microscope or an X-ray tube would have it."""
    si = siftem.simulate_demo((48, 48), channels=1100, dose=500).spectrum_image
    si = replace(si, signal_type="EDS_SEM", acquisition=replace(si.acquisition, bulk=True))
    return Workflow(small_demo(shape=(48, 48)), spectrum_image=si)


def test_pure_spectra_without_compositions(bulk):
    spectra = bulk.run("spectra")
    assert set(spectra.pure) == {"Brg", "Fp", "Ca-Pv"}
    assert not spectra.compositions
    assert spectra.pure["Fp"].anchor == "no Si in the grain"


def test_the_message_says_why_and_offers_ratios(bulk):
    told = bulk.warnings("spectra")
    assert any("bulk specimen" in t and "k-factors of thin films do not hold" in t for t in told)
    (ratios,) = [t for t in told if t.startswith("Brg: net lines relative to")]
    assert "Mg K" in ratios
    assert "Fe K" in ratios


def test_ratios_are_keys_of_the_summary(bulk):
    result = bulk.result()
    found = summarize(result)
    ratios = found["phases"]["Fp"]["line_ratios"]
    si = siftem.line_ratios(
        result.pure["Fp"], result.recipe.elements, support=result.recipe.support,
        calibration=result.calibration,
    )  # fmt: skip
    assert si.reference == "Mg"  # ferropericlase is (Mg,Fe)O
    # Oxygen is strong in all three: ratios to it can be compared.
    assert {r.reference for r in result.ratios.values()} == {"O"}
    assert ratios["Fe K/O K"]["value"] == pytest.approx(si.relative_to("O")["Fe"], rel=0.02)
    assert ratios["Fe K/O K"]["found"]
    assert 0 < ratios["Fe K/O K"]["sigma"] < ratios["Fe K/O K"]["value"]
    assert "O K/O K" not in ratios
    assert "elements" not in found["phases"]["Fp"]
    assert "line_ratios" in found["mixtures"]["Fp + Brg"]
    assert found["partition"] == {"subtract": [], "unmix": []}


def test_a_real_dacite_map_goes_up_to_pure_spectra(vendor_file):
    path = vendor_file("P45_12bit_packed_8bit.bcf")
    elements = ("O", "Si", "Al", "Na", "K", "Ca", "Fe", "Mg", "Ti")
    recipe = changed_recipe(recipe_for(path), components=4, elements=elements)
    workflow = Workflow(recipe)
    spectra = workflow.run("spectra")
    assert len(spectra.pure) >= 3
    assert not spectra.compositions
    assert any("net lines relative to Si K" in t for t in workflow.warnings("spectra"))
