"""Factors from files, standards and tables; oxygen, formula units, contaminants, unmixing."""

from dataclasses import replace

import numpy as np
import pytest
from small_demo import small_demo

from siftem.errors import DoubtWarning, InputError
from siftem.io.exchange import write_emsa
from siftem.pipeline.composition_doubts import differences, flagged
from siftem.pipeline.factor_sources import read_factors
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.steps.composition import partition_coefficients
from siftem.pipeline.subtraction import phase_anchors, pure_spectra
from siftem.pipeline.summary import summarize
from siftem.pipeline.workflow import Workflow
from siftem.quantification.detection_limit import QUANTILE
from siftem.quantification.partition import partition_coefficient
from siftem.simulate.spectra import MODEL_CASE
from siftem.xray.cross_sections import ionisation_cross_section

STOICHIOMETRY = {"stoichiometry": {"ratio": "(Ca+Mg+Fe)/(Si+Al)", "value": 1.0, "sigma": 0.05}}


@pytest.fixture(scope="module")
def base():
    work = Workflow(small_demo(shape=(64, 64), random_state=2))
    work.change(segment={"trees": 30})
    work.run()
    return work


@pytest.fixture
def work(base):
    """The same, for a test to change."""
    fresh = Workflow(base.recipe)
    fresh._results = dict(base._results)
    return fresh


def brg(work):
    return work.run("spectra").compositions["Brg"]


def test_k_factors_from_a_file_are_those_written_down(work, tmp_path):
    path = tmp_path / "k.csv"
    path.write_text("element,k,relative sigma\n# a note\nMg,1.1,0.02\n\nFe,1.9\nSi,1.0,0.01\n")
    assert read_factors(path) == ({"Mg": 1.1, "Fe": 1.9, "Si": 1.0}, {"Mg": 0.02, "Si": 0.01})
    work.change(quantify={"k_factors": {"file": str(path)}})
    by_file = brg(work)
    work.change(
        quantify={
            "k_factors": {
                "values": {"Mg": 1.1, "Fe": 1.9, "Si": 1.0},
                "relative_sigma": {"Mg": 0.02, "Si": 0.01},
            }
        }
    )
    assert np.array_equal(brg(work).weight_fractions, by_file.weight_fractions)
    assert by_file.k.source[by_file.index("Mg")] == "given"
    assert by_file.k.source[by_file.index("Ca")] == "computed"
    assert by_file.k.relative_sigma[by_file.index("Mg")] == 0.02


def test_a_film_known_to_lie_in_a_range(work):
    known = brg(work)
    work.change(quantify={"thickness": [60, 140]})
    ranged = brg(work)
    assert ranged.film == known.film
    assert (np.diff(ranged.atomic_interval_95) >= np.diff(known.atomic_interval_95)).all()
    o = ranged.index("O")
    assert ranged.film_ends[0, o] < known.weight_fractions[o] < ranged.film_ends[1, o]
    work.change(quantify={"thickness": 0})
    assert brg(work).film is None and brg(work).film_ends is None
    work.change(quantify={"thickness": None})
    assert len(brg(work).film_ends) == 1
    told = " ".join(work.warnings("spectra"))
    assert "Brg: absorption in the film is not known" in told


def test_anchors_use_the_k_factors_of_the_composition(work):
    """Also where one of its elements has a given factor and the other a computed one."""
    work.change(quantify={"k_factors": {"values": {"Mg": 2.0, "Si": 1.0}}})
    settings = work.run("spectra").settings
    composition = work.get("spectra").compositions["Brg"]
    fit = settings.fit(work.get("spectra").pure["Brg"])
    k = settings.k_of(("Mg", "Ca"), fit)
    for element, value in k.items():
        i = composition.index(element)
        assert value == pytest.approx(composition.k.values[i], rel=1e-12)
    (anchor,) = phase_anchors(work.recipe.phases["Ca-Pv"], settings, fit)
    assert anchor.k_factors == k


def test_an_anchor_on_an_edge_is_none_on_x_ray_lines(work):
    found, regions, missing = work.run("spectra"), work.get("regions").regions, {}
    work.change(phases={"Fp": {"anchor": {"absent_edge": "Ti_L3"}}, "Ca-Pv": {"anchor": []}})
    settings = replace(found.settings, recipe=work.recipe)
    with pytest.warns(DoubtWarning, match="the pure spectrum of Fp is missing"):
        pure = pure_spectra(found.integrated, regions, settings, missing)
    assert tuple(pure) == ("Brg",)
    assert "give one on X-ray lines" in missing["the pure spectrum of Fp"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no values"),
        ("element,k\nMg,much\n", "line 2 of .* must hold element, factor"),
        ("Mg,1\nMg,2\n", "gives Mg twice"),
        ("Xx,1\n", "Xx"),
        ("Mg,1\nFe,nan\n", "line 2"),
    ],
)
def test_tables_of_factors_that_are_none(tmp_path, text, message):
    path = tmp_path / "k.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_factors(path)
    with pytest.raises(InputError, match="can't be read"):
        read_factors(tmp_path / "none.csv")


def test_a_changed_table_is_read_again(work, tmp_path):
    path = tmp_path / "k.csv"
    path.write_text("Mg,1.0\nSi,1.0\n")
    work.change(quantify={"k_factors": {"file": str(path)}})
    before = brg(work).weight_fractions
    path.write_text("Mg,1.30\nSi,1.0\n")
    assert not work.done("spectra")
    assert work.done("regions")
    assert brg(work).weight_fractions[1] > 1.1 * before[1]


def test_own_cross_sections_move_the_k_factor_in_proportion(work, tmp_path):
    """k goes with 1 / cross-section (Cliff & Lorimer 1975)."""
    path = tmp_path / "sigma.csv"
    path.write_text(
        f"Z,shell,keV,cm2\n26,K,200,{1.25 * ionisation_cross_section('Fe', 'K', 200.0)}\n"
    )
    before = brg(work)
    work.change(quantify={"cross_sections": str(path)})
    after = brg(work)
    i = before.index("Fe")
    assert after.k.values[i] == pytest.approx(before.k.values[i] / 1.25, rel=1e-12)
    assert after.k.source[i] == "table"
    assert after.k.values[before.index("Mg")] == before.k.values[before.index("Mg")]


def test_a_standard_gives_its_own_composition_back(work, tmp_path):
    """The pure matrix as a standard of a made-up composition."""
    matrix = work.run("spectra").pure["Brg"]
    path = tmp_path / "standard.msa"
    write_emsa(path, matrix)
    wrong = {"O": 40.0, "Mg": 25.0, "Al": 3.0, "Si": 26.0, "Ca": 1.0, "Fe": 5.0}
    work.change(
        quantify={
            "standard": {
                "file": str(path), "weight_percent": wrong, "relative_sigma": 0.01,
                "support": ["Cu", "Nd", "Sm", "Hf", "Lu", "U"], "thickness": 100, "density": 4.25,
            }
        }
    )  # fmt: skip
    found = brg(work)
    share = {e: found.weight_fractions[found.index(e)] for e in wrong}
    total = sum(share.values())
    for element, value in wrong.items():
        assert share[element] / total == pytest.approx(value / 100, rel=0.02)
    assert found.k.relative_sigma[found.index("Mg")] == pytest.approx(0.01, rel=0.3)


def test_zeta_factors_give_the_mass_thickness(work):
    """rho t = zeta I / (C D) by definition (Watanabe & Williams 2006)."""
    work.change(unmix=False)
    before = brg(work)
    photons = before.fit.amplitudes[before.fit.index("Si")]
    pixels = before.fit.spectrum.n_pixels
    c = before.weight_fractions[before.index("Si")]
    electrons = 1e9
    zeta = 4.25e3 * 100e-9 * c * electrons * pixels / photons
    work.change(
        quantify={
            "thickness": None,
            "electrons_per_pixel": electrons,
            "zeta_factors": {"values": {"Si": zeta}, "line": "family", "detector": "apart"},
        }
    )
    found = brg(work)
    assert found.mass_thickness.value == pytest.approx(4.25e3 * 100e-9, rel=0.02)
    assert found.weight_fractions == pytest.approx(before.weight_fractions, rel=0.02, abs=1e-5)
    mass = summarize(work.result())["phases"]["Brg"]["mass_thickness_kg_m2"]
    assert mass["value"] == pytest.approx(4.25e-4, rel=0.02)
    work.change(quantify={"electrons_per_pixel": None})
    assert not work.run("spectra").compositions
    assert "beam_current" in " ".join(work.warnings("spectra"))


def test_oxygen_by_stoichiometry(work):
    work.change(quantify={"oxygen": "stoichiometry"})
    found = brg(work)
    atoms = dict(zip(found.elements, found.atomic_fractions, strict=True))
    charges = {"Mg": 2, "Al": 3, "Si": 4, "Ca": 2, "Fe": 2, "Nd": 3, "Sm": 3, "Hf": 4, "Lu": 3,
               "U": 4}  # fmt: skip
    assert 2 * atoms["O"] == pytest.approx(sum(q * atoms[e] for e, q in charges.items()))


def test_formula_units_stand_in_the_summary(work):
    summary = summarize(work.result())
    fp = summary["phases"]["Fp"]["formula_units"]
    assert fp["oxygens"] == 1
    assert sum(a["value"] for a in fp["atoms"].values()) == pytest.approx(1.0, abs=0.01)
    assert summary["mixtures"]["Fp + Brg"]["formula_units"]["oxygens"] == 1


def test_counts_for_a_wanted_limit(work):
    work.change(quantify={"wanted_limits": {"Nd": 0.01, "Zr": 0.1}})
    assert work.done("composition")
    data = summarize(work.result())["phases"]["Brg"]
    assert list(data["counts_for_wanted_limits"]) == ["Nd"]
    # To first order limits fall with the root of the counts.
    ratio = data["elements"]["Nd"]["detection_limit_wt_percent"] / 0.01
    assert data["counts_for_wanted_limits"]["Nd"] / data["counts"] == pytest.approx(
        ratio**2, rel=0.05
    )


def test_partition_coefficients_share_the_noise_of_the_matrix(work):
    done = work.run("composition")
    spectra = work.get("spectra")
    d = next(d for d in done.partition if (d.element, d.phases[0]) == ("Ca", "Ca-Pv"))
    a, b = done.compositions["Ca-Pv"], done.compositions["Brg"]
    scale = spectra.pure["Ca-Pv"].scale
    expected = partition_coefficient(a, b, "Ca", subtracted=scale)
    assert (d.value, d.sigma) == (expected.value, expected.sigma)
    assert d.sigma != partition_coefficient(a, b, "Ca").sigma
    true = [dict(p.weight_fractions) for p in MODEL_CASE if p.name in ("Ca-Pv", "Brg")]
    truth = {p.name: dict(p.weight_fractions) for p in MODEL_CASE}
    assert len(true) == 2
    assert abs(d.value - truth["Ca-Pv"]["Ca"] / truth["Brg"]["Ca"]) < 4 * d.sigma
    work.change(quantify={"partition": [["Ca-Pv", "Fp"]]})
    assert {d.phases for d in work.run().partition} == {("Ca-Pv", "Fp")}
    assert partition_coefficients(done.compositions, [("Ca-Pv", "none")], "Brg", {}) == ()


class TestUnmixing:
    def test_both_ways_agree_on_the_demo(self, work):
        result = work.result()
        assert flagged(result) == {}
        assert result.truth.unmixed_angles["Ca-Pv"] < result.truth.angles["Ca-Pv"]
        data = summarize(result)["unmixing"]
        assert data["converged"]
        # Assumed, so not measured.
        assert "Si" not in data["phases"]["Fp"]["difference_from_subtract_sigma"]
        assert not any(
            d["element"] == "Si" and d["numerator"] == "Fp"
            for d in summarize(result)["partition"]["unmix"]
        )

    def test_it_can_be_switched_off(self, work):
        work.change(unmix=False)
        result = work.result()
        assert result.unmixed is None
        assert summarize(result)["unmixing"] is None
        assert work.done("unmix")

    def test_without_an_anchor_on_lines_it_is_left_out_and_said(self, work):
        work.change(phases={"Fp": {"anchor": {"most_matrix": ["Si", "Ca"]}}})
        assert work.run("unmix") is None
        assert any("Fp has no anchor on its lines" in w for w in work.warnings("unmix"))
        work.change(unmix=True)
        assert work.run("unmix") is None
        assert "unmixing of all pixels is missing" in work.warnings("unmix")[0]

    def test_large_maps_are_left_out_unless_asked_for(self, work, monkeypatch):
        monkeypatch.setattr("siftem.pipeline.steps.unmix.MOST_NONZERO", 10)
        work.change(unmix={"max_iter": 59})
        assert work.run("unmix") is None
        assert "would take minutes" in work.warnings("unmix")[0]
        work.change(unmix=True)
        assert work.run("unmix") is not None


def test_differences_are_in_the_larger_error(work):
    done = work.run("composition")
    first, second = done.compositions["Fp"], done.unmixed["Fp"]
    away = differences(first, second)
    i = first.index("Mg")
    j = second.index("Mg")
    # Fractions add up to one: what an error of Mg adds to the sum is shared by all.
    at_zero = (1 - first.weight_fractions[i]) * first.critical_levels[i] / QUANTILE
    larger = max(first.sigma[i], second.sigma[j], at_zero)
    expected = (second.weight_fractions[j] - first.weight_fractions[i]) / larger
    assert away["Mg"] == pytest.approx(expected)
    assert "Mg" not in differences(first, second, ("Mg",))


class TestContaminants:
    def test_two_spectra_are_subtracted_with_two_anchors(self, work):
        work.change(
            phases={
                "Ca-Pv": {"contaminants": ["Fp"], "anchor": [{"absent": ["Mg"]}, STOICHIOMETRY]}
            },
            unmix=False,
        )
        spectrum = work.run("spectra").pure["Ca-Pv"]
        assert [part.name for part in spectrum.subtracted] == ["Brg", "Fp"]
        found = summarize(work.result())["phases"]["Ca-Pv"]["subtraction"]["subtracted"]
        assert set(found) == {"Brg", "Fp"}
        # The demo's mixtures hold no ferropericlase.
        assert abs(found["Fp"]["scale"]) < 4 * max(found["Fp"]["scale_sigma"], 0.01)

    def test_each_contaminant_needs_an_anchor(self, work):
        work.change(phases={"Ca-Pv": {"contaminants": ["Fp"], "anchor": {"absent": ["Mg"]}}})
        assert "Ca-Pv" not in work.run("spectra").pure
        assert "one anchor for each" in " ".join(work.warnings("spectra"))

    def test_the_order_of_the_phases_does_not_matter(self, work):
        data = work.recipe.model_dump(mode="json", exclude_none=True)
        data["phases"]["Ca-Pv"].update(
            contaminants=["Fp"], anchor=[{"absent": ["Mg"]}, STOICHIOMETRY]
        )
        order = ("Ca-Pv", "Brg", "Fp")
        data["phases"] = {n: data["phases"][n] for n in order}
        turned = Workflow(make_recipe(data)).run("spectra")
        assert list(turned.pure) == ["Brg", "Ca-Pv", "Fp"]


def test_a_smoothness_may_be_left_to_the_counts(work):
    work.change(segment={"smoothness": "auto"}, unmix=False)
    result = work.result()
    assert work.choose_smoothness().smoothness == result.segmentation.smoothness
    assert result.recipe.segment.smoothness == result.segmentation.smoothness
    assert min(result.truth.overlap.values()) > 0.8
