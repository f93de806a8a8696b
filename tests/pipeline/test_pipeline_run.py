"""The whole road, on simulated maps against their truth and on the real 71 GPa map."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from small_demo import small_demo

from siftem.errors import InputError
from siftem.pipeline.recipe import make_recipe, read_recipe
from siftem.pipeline.starting_recipe import demo_recipe
from siftem.pipeline.summary import rounded, summarize
from siftem.pipeline.workflow import Workflow, run
from siftem.progress import silent

EXAMPLE = Path(__file__).parents[2] / "examples" / "71gpa.yaml"


@pytest.fixture(scope="module")
def demo_workflow():
    return Workflow(demo_recipe())


@pytest.fixture(scope="module")
def demo(demo_workflow):
    return demo_workflow.result()


def changed(workflow, **change):
    """A workflow that goes on from the results of another, with another recipe."""
    fresh = Workflow(workflow.recipe)
    fresh._results = dict(workflow._results)
    fresh.change(**change)
    return fresh


def test_the_demo_meets_its_bars(demo):
    truth = demo.truth
    assert min(truth.overlap.values()) >= 0.85
    assert truth.angles["Brg"] < 5
    assert truth.angles["Fp"] < 5
    assert truth.angles["Ca-Pv"] < 10


def test_weighted_sums_have_less_noise_and_hold_the_truth(demo_workflow, demo):
    found = changed(demo_workflow, quantify={"sums": "weighted"}, unmix=False).result()
    grains = ("Fp", "Ca-Pv")
    # Of Fp, which fills most of its pixels, they differ by less than noise.
    assert sum(found.truth.angles[g] for g in grains) < sum(demo.truth.angles[g] for g in grains)
    for grain in grains:
        assert found.truth.angles[grain] < 1.02 * demo.truth.angles[grain]
        composition, plain = found.compositions[grain], demo.compositions[grain]
        true = demo.truth.weight_fractions[grain]
        errors = [
            (composition.weight_fractions[i] - true.get(e, 0.0)) / composition.sigma[i]
            for i, e in enumerate(composition.elements)
        ]
        assert np.abs(errors).max() < 4.0
        assert np.mean(np.square(errors)) < 4
        assert composition.with_error("O").sigma < plain.with_error("O").sigma


@pytest.mark.parametrize("phase", ["Brg", "Fp", "Ca-Pv"])
def test_compositions_of_the_demo_hold_the_truth(demo, phase):
    """The simulation uses the same k-factors, so counting errors alone must cover it.

    Eleven elements a phase: a largest deviation above 4 sigma has a chance of 1e-3.
    """
    composition = demo.compositions[phase]
    true = demo.truth.weight_fractions[phase]
    deviations = []
    for element, value, sigma in zip(
        composition.elements, composition.weight_fractions, composition.sigma, strict=True
    ):
        deviations.append((value - true.get(element, 0.0)) / sigma)
    assert np.abs(deviations).max() < 4.0
    assert np.mean(np.square(deviations)) < 4


def test_traces_are_found_in_the_matrix(demo):
    composition = demo.compositions["Brg"]
    found = dict(zip(composition.elements, composition.found, strict=True))
    assert all(found[e] for e in ("Nd", "Sm", "Hf", "Lu"))
    fp = demo.compositions["Fp"]
    absent = dict(zip(fp.elements, fp.found, strict=True))
    assert not absent["Si"]


def test_the_whole_region_beats_the_rectangle_as_counting_promises(demo):
    for gain in demo.gains:
        assert gain.gain_at_equal_signal == pytest.approx(gain.area_ratio**0.5, rel=0.15)


def test_the_summary_holds_the_numbers_of_the_result(demo):
    summary = summarize(demo)
    c = demo.compositions["Fp"]
    i = c.elements.index("Mg")
    entry = summary["phases"]["Fp"]["elements"]["Mg"]
    assert entry["wt_percent"] == rounded(100 * c.weight_fractions[i])
    assert entry["at_sigma"] == rounded(100 * np.sqrt(c.atomic_covariance[i, i]))
    assert entry["at_interval_95"] == rounded((100 * c.atomic_interval_95[i]).tolist())
    assert summary["phases"]["Fp"]["subtraction"]["scale"] == rounded(demo.pure["Fp"].scale)
    assert sum(r["pixels"] for r in summary["regions"].values()) == 128 * 128
    ratio = summary["phases"]["Fp"]["atomic_ratios"]["Mg/(Mg+Fe)"]
    assert ratio["value"] == rounded(c.ratio("Mg/(Mg+Fe)").value)
    assert "seconds" not in str(summary)


def test_rounding():
    assert rounded(np.float64(1.23456789)) == 1.23457
    assert rounded(float("nan")) is None
    assert rounded([np.int64(3), True, np.bool_(False), None, "x", 2.0]) == [
        3, True, False, None, "x", 2,
    ]  # fmt: skip


@pytest.mark.slow
def test_low_doses_still_find_the_grains():
    work = Workflow(demo_recipe(dose=30, random_state=2))
    phantom = work.run("load").phantom
    for name, mask in work.run("regions").regions.masks.items():
        true = phantom.mask(name)
        assert (mask & true).sum() / (mask | true).sum() > 0.75


def test_painted_traces_are_used(tmp_path, demo_workflow, demo):
    truth = np.zeros((128, 128), np.uint8)
    rng = np.random.default_rng(0)
    regions = demo.segmentation.regions
    for label, region in enumerate(
        (regions.pure, regions.mixture("Fp"), regions.mixture("Ca-Pv")), start=1
    ):
        where = rng.choice(np.flatnonzero(region.mask), 80, replace=False)
        truth.ravel()[where] = label
    path = tmp_path / "traces.tif"
    tifffile.imwrite(path, truth)
    painted = changed(demo_workflow, segment={"traces": str(path)})
    segmentation = painted.run("regions")
    assert segmentation.painted
    phantom = painted.get("load").phantom
    for name, mask in segmentation.regions.masks.items():
        true = phantom.mask(name)
        assert (mask & true).sum() / (mask | true).sum() > 0.8
    truth[truth == 3] = 0
    tifffile.imwrite(path, truth)
    with pytest.raises(InputError, match="no pixel of Ca-Pv"):
        painted.result()


def test_progress_names_the_steps_and_can_stop_the_run():
    seen = []

    def note(step, fraction):
        assert 0 <= fraction <= 1
        seen.append(step)
        if step == "segment":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(small_demo(shape=(32, 32)), progress=note)
    assert list(dict.fromkeys(seen)) == [
        "load", "simulate", "prepare", "decompose", "match", "features", "segment",
    ]  # fmt: skip
    silent("anything", 0.5)


def test_a_matrix_without_markers_is_refused():
    recipe = make_recipe(
        {
            "input": {"demo": {"shape": [32, 32], "dose": 100, "channels": 1100}},
            "elements": ["O", "Mg", "Si"],
            "matrix": "A",
            "phases": {"A": {}, "B": {}},
        }
    )
    with pytest.raises(InputError, match="no markers"):
        run(recipe)


@pytest.fixture(scope="module")
def real_workflow(map_71gpa):
    recipe = read_recipe(EXAMPLE)
    given = recipe.input.model_copy(update={"example": None, "file": str(map_71gpa)})
    return Workflow(recipe.model_copy(update={"input": given}))


@pytest.fixture(scope="module")
def real(real_workflow):
    return real_workflow.result()


@pytest.mark.real_data
def test_ferropericlase_of_the_real_map(real):
    fp = real.compositions["Fp"]
    at = dict(zip(fp.elements, 100 * fp.atomic_fractions, strict=True))
    assert at["Si"] < 0.5
    assert 0.85 < fp.ratio("(Mg+Fe)/O").value < 1.35


@pytest.mark.real_data
def test_bridgmanite_of_the_real_map(real):
    brg = real.compositions["Brg"]
    assert 0.9 < brg.ratio("(Mg+Fe+Ca+Al/2)/(Si+Al/2)").value < 1.15


@pytest.mark.real_data
def test_traces_of_the_real_map_rise_out_of_the_noise(real):
    assert [g.line for g in real.gains] == ["Nd La", "Sm La"]
    for gain in real.gains:
        assert gain.gain > 3.5
        assert gain.gain > 0.9 * gain.area_ratio**0.5
        assert real.rectangles[0].fraction == pytest.approx(0.03, rel=0.05)


@pytest.mark.real_data
def test_the_detector_of_the_real_map_is_what_its_file_says(real):
    """The file states 130 eV at Mn Ka; the fit is free to find something else."""
    assert real.calibration.resolution == pytest.approx(130.0, abs=1.5)


@pytest.mark.real_data
def test_the_partition_of_the_real_map_has_the_known_direction(real):
    """Nd and Sm go to Ca-perovskite (Corgne et al. 2005), Fe to ferropericlase."""

    def at(phase, element):
        c = real.compositions[phase]
        return c.atomic_fractions[c.elements.index(element)]

    assert at("Ca-Pv", "Nd") > 20 * at("Brg", "Nd")
    assert at("Ca-Pv", "Sm") > 20 * at("Brg", "Sm")
    assert at("Fp", "Fe") > 2 * at("Brg", "Fe")
    assert at("Ca-Pv", "Ca") > 0.15


@pytest.mark.real_data
def test_ca_perovskite_of_the_real_map_is_a_perovskite_by_both_ways(real):
    """A/B of ABO3; its anchor says nothing of it."""
    ratio = "(Ca+Mg+Fe)/(Si+Al)"
    assert 0.85 < real.compositions["Ca-Pv"].ratio(ratio).value < 1.15
    assert 0.8 < real.unmixed_compositions["Ca-Pv"].ratio(ratio).value < 1.15


@pytest.mark.real_data
@pytest.mark.parametrize("element", ["Nd", "Sm"])
def test_partition_coefficients_of_the_real_map_by_both_ways(real, element):
    """Nd and Sm go to Ca-perovskite (Corgne et al. 2005)."""
    by_way = []
    for found in (real.partition, real.unmixed_partition):
        d = next(d for d in found if (d.element, d.phases) == (element, ("Ca-Pv", "Brg")))
        assert d.value > 20
        assert 0 < d.sigma < 0.3 * d.value
        by_way.append(d)
    first, second = by_way
    assert abs(first.value - second.value) < 3 * first.sigma


@pytest.mark.real_data
def test_no_ferropericlase_hides_in_the_ca_perovskite_of_the_real_map(real_workflow, real):
    other = read_recipe(EXAMPLE.with_name("71gpa_contaminant.yaml"))
    fresh = Workflow(real_workflow.recipe)
    fresh._results = dict(real_workflow._results)
    fresh.change(phases={"Ca-Pv": other.phases["Ca-Pv"]})
    assert fresh.done("regions")
    brg, fp = fresh.run("spectra").pure["Ca-Pv"].subtracted
    assert (brg.name, fp.name) == ("Brg", "Fp")
    assert abs(fp.scale) < 3 * max(np.hypot(fp.sigma, fp.systematic), 0.002)


def test_an_alloy_has_no_oxides(demo):
    from dataclasses import replace

    c = demo.compositions["Brg"]
    assert c.oxides()
    assert replace(c, elements=("Mo", *c.elements[1:])).oxides() == {}


def test_the_number_of_phases_can_be_left_to_the_counts():
    recipe = small_demo(shape=(64, 64))
    auto = recipe.model_copy(
        update={
            "decompose": recipe.decompose.model_copy(update={"components": "auto"}),
            "segment": recipe.segment.model_copy(update={"trees": 20}),
            "unmix": recipe.unmix.model_copy(update={"run": False}),
            "elements": ("O", "Mg", "Al", "Si", "Ca", "Fe"),
        }
    )
    result = run(auto)
    assert len(result.factors.names) == 3
    # What was chosen is written down, so that the recipe runs the same again.
    assert result.recipe.decompose.components == 3
