"""Step by step: what a change of the recipe costs, stopping, going on, checkpoints."""

import re
import threading
import time
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from pydantic import BaseModel
from small_demo import small_demo

import siftem
from siftem.decomposition.layout import Lies
from siftem.errors import Cancelled, DoubtWarning, InputError, ReadError, RecipeError, SiftemWarning
from siftem.fit.line_evidence import FoundElement
from siftem.minerals.phase_library import shipped_phases
from siftem.pipeline.changes import merged_recipe
from siftem.pipeline.composition_doubts import warn_of_window
from siftem.pipeline.file_contents import file_content
from siftem.pipeline.fit_settings import fit_settings
from siftem.pipeline.parts import recorded_warnings
from siftem.pipeline.recipe import Phase, Recipe, make_recipe
from siftem.pipeline.road import ROAD, STEPS
from siftem.pipeline.step_keys import step_keys
from siftem.pipeline.steps import composition, decompose, match, unmix
from siftem.pipeline.steps.match import run_elements
from siftem.pipeline.summary import summary_text
from siftem.pipeline.workflow import Workflow
from siftem.report.folder import export, exported_result, is_exported
from siftem.xray.detector import POLYMER, Detector

SHAPE = (48, 48)


def small_recipe():
    """The demo, small, with few trees and elements: what the steps find is not looked at here."""
    elements = ["O", "Mg", "Al", "Si", "Ca", "Fe", "Nd"]
    return merged_recipe(
        small_demo(shape=SHAPE, random_state=1), {"segment": {"trees": 20}, "elements": elements}
    )


@pytest.fixture(scope="module")
def done():
    found = Workflow(small_recipe())
    found.run()
    return found


def copy_of(done):
    """A workflow with the same results, which a test may change."""
    fresh = Workflow(done.recipe)
    fresh._results = dict(done._results)
    return fresh


def test_parents_come_before_their_children():
    for place, step in enumerate(ROAD):
        assert set(step.parents) <= set(STEPS[:place])
        assert set(step.needs) <= set(step.parents)


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ({"title": "another"}, None),
        ({"quantify": {"ratios": ["Mg/Fe"]}}, None),
        ({"quantify": {"wanted_limits": {"Nd": 0.01}}}, None),
        ({"phases": {"Fp": {"oxygens": 2}}}, None),
        ({"figures": {"trace_lines": ["Fe Ka"]}}, "composition"),
        ({"figures": {"formats": ["svg"]}}, None),
        ({"figures": {"energy_range": [1, 8]}}, None),
        ({"figures": {"colour_map": "viridis"}}, None),
        ({"quantify": {"partition": [["Ca-Pv", "Fp"]]}}, "composition"),
        ({"unmix": {"max_iter": 3}}, "unmix"),
        ({"unmix": False}, "unmix"),
        ({"quantify": {"thickness": 90}}, "spectra"),
        ({"quantify": {"window": "polymer"}}, "spectra"),
        ({"quantify": {"k_factors": {"values": {"Mg": 1.0}}}}, "spectra"),
        ({"phases": {"Fp": {"anchor": {"scale": {"value": 0.1}}}}}, "spectra"),
        ({"phases": {"Fp": {"density": 4.0}}}, "spectra"),
        ({"segment": {"smoothness": 2.0}}, "regions"),
        ({"segment": {"margin": 2}}, "regions"),
        ({"segment": {"trees": 10}}, "segment"),
        ({"segment": {"images": ["Mg"]}}, "features"),
        ({"segment": {"sigmas": [1, 3]}}, "features"),
        ({"segment": {"traces": {"Fp": {"pixels": [[1, 1]]}}}}, "segment"),
        ({"elements": ["O", "Mg", "Si", "Fe", "Ca"]}, "match"),
        ({"phases": {"Fp": {"high": ["Fe"]}}}, "match"),
        ({"decompose": {"random_state": 9}}, "decompose"),
        ({"decompose": {"components": 4}}, "decompose"),
        ({"acquisition": {"take_off_angle": 30}}, "prepare"),
        ({"energy_range": [0.3, 15]}, "prepare"),
        ({"input": {"demo": {"shape": SHAPE, "random_state": 2}}}, "load"),
    ],
)
def test_a_change_makes_only_what_depends_on_it_out_of_date(done, change, first):
    changed = copy_of(done)
    stale = changed.change(**change)
    expected = () if first is None else STEPS[STEPS.index(first) :]
    # Each step depends on the one before it, at least through another.
    assert stale == expected
    assert [s for s in STEPS if not changed.done(s)] == list(expected)
    assert [s for s in STEPS if changed.get(s) is None] == list(expected)


def _every_key():
    """Each key of the recipe, as (section, key); sections in sections count as one."""
    for name, field in Recipe.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield from ((name, key) for key in section.model_fields)
        elif name == "phases":
            yield from ((name, key) for key in Phase.model_fields)
        elif name != "siftem":
            yield (None, name)


@pytest.mark.parametrize(("section", "key"), list(_every_key()))
def test_no_key_of_the_recipe_is_forgotten(tmp_path, section, key):
    """A key that no step and no report depends on would change and leave old results valid."""
    path = tmp_path / "map.hspy"
    path.write_bytes(b"counts")
    recipe = make_recipe(
        {"input": {"file": str(path)}, "matrix": "A", "phases": {"A": {"high": ["Si"]}}}
    )
    changed = {key: "something else"}
    if section == "phases":
        changed = {section: {"A": recipe.phases["A"].model_copy(update=changed)}}
    elif section is not None:
        changed = {section: getattr(recipe, section).model_copy(update=changed)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of pydantic: not the declared type
        try:
            after = step_keys(recipe.model_copy(update=changed))
        except (ReadError, AttributeError):
            return  # it was looked at: a file that is not there, or a section that is text
    assert after != step_keys(recipe)


def test_what_does_not_change_is_not_done_again(done):
    changed = copy_of(done)
    changed.change(segment={"smoothness": 1.5})
    seen = []
    changed.run("regions", progress=lambda step, fraction: seen.append(step))
    assert set(seen) == {"regions"}
    assert changed.get("segment") is done.get("segment")
    assert changed.get("regions") is not done.get("regions")


@pytest.mark.slow
def test_a_detour_leads_back_to_the_same_numbers(done):
    changed = copy_of(done)
    before = summary_text(changed.result())
    changed.change(segment={"smoothness": 0.0, "margin": 3}, quantify={"thickness": 50})
    assert summary_text(changed.result()) != before
    changed.set_recipe(done.recipe)
    assert summary_text(changed.result()) == before


def test_cancelling_keeps_what_is_done_and_the_rest_goes_on_from_there():
    stopped = Workflow(small_recipe())

    def stop(step, fraction):
        if step == "segment" and fraction > 0:
            raise Cancelled

    with pytest.raises(Cancelled):
        stopped.run(progress=stop)
    assert [s for s in STEPS if stopped.done(s)] == list(STEPS[: STEPS.index("segment")])
    seen = []
    stopped.run("regions", progress=lambda step, fraction: seen.append(step))
    assert set(seen) == {"segment", "regions"}


def test_a_bad_change_leaves_the_recipe_as_it_was(done):
    changed = copy_of(done)
    with pytest.raises(RecipeError, match=r"segment.smoothness.*got -1"):
        changed.change(segment={"smoothness": -1})
    with pytest.raises(RecipeError, match="did you mean smoothness"):
        changed.change(segment={"smoothnes": 1})
    assert changed.recipe == done.recipe
    with pytest.raises(InputError, match="no step 'dance'; the steps are load, prepare"):
        changed.run("dance")


def test_a_change_while_it_works_makes_the_result_out_of_date(done):
    changed = copy_of(done)
    changed.change(segment={"margin": 2})

    def meanwhile(step, fraction):
        if step == "spectra" and fraction == 0:
            changed.change(segment={"margin": 3})

    changed.run("spectra", progress=meanwhile)
    assert not changed.done("regions")
    assert not changed.done("spectra")
    assert changed.run("regions").regions.margin == 3


def test_two_runs_of_one_workflow_wait_for_each_other(done):
    changed = copy_of(done)
    changed.change(segment={"smoothness": 1.5})
    inside, most = [], []

    def slow(step, fraction):
        if fraction == 0:
            inside.append(step)
            most.append(len(inside))
            time.sleep(0.01)
            inside.remove(step)

    threads = [
        threading.Thread(target=changed.run, args=("spectra",), kwargs={"progress": slow})
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert changed.done("spectra")


def test_a_given_map_takes_the_place_of_the_input(done):
    si = done.get("load").spectrum_image
    other = done.recipe.model_copy(
        update={"input": done.recipe.input.model_copy(update={"demo": None, "file": "no such"})}
    )
    given = Workflow(other, spectrum_image=si)
    assert given.run("load").spectrum_image is si
    assert given.key("load") != done.key("load")
    regions = given.run("regions").regions
    assert np.array_equal(regions.pure.mask, done.get("regions").regions.pure.mask)


def test_a_bulk_specimen_has_spectra_and_no_compositions(done):
    si = replace(done.get("load").spectrum_image, signal_type="EDS_SEM")
    result = Workflow(done.recipe, spectrum_image=si).result()
    assert set(result.pure) == {"Brg", "Fp", "Ca-Pv"}
    assert result.compositions == {}
    assert result.unmixed is None
    assert any("bulk specimen" in w for w in result.warnings)
    assert '"phases"' in summary_text(result)


def test_without_a_list_the_elements_that_show_are_quantified(done):
    si = done.get("load").spectrum_image
    si = replace(si, acquisition=replace(si.acquisition, elements=()))
    plain = make_recipe({"input": {"file": "given"}, "support": ["Cu"]})
    with pytest.warns(SiftemWarning, match=r"no elements are named: .* Si K \(\d+ sigma\)"):
        elements = set(run_elements(plain, si))
    assert {"O", "Mg", "Si", "Fe"} <= elements
    assert not {"Cu", "Ba", "Pt", "P"} & elements


@pytest.mark.parametrize(
    ("caveat", "told"),
    [
        ({"lacks": "K beta"}, r"Ca K \(30 sigma, its K beta does not show\)"),
        ({"may_hide": ("P K",)}, r"Ca K \(30 sigma, may hide P K\)"),
    ],
)
def test_elements_of_which_something_is_odd_are_quantified_with_a_doubt(
    done, monkeypatch, caveat, told
):
    si = done.get("load").spectrum_image
    si = replace(si, acquisition=replace(si.acquisition, elements=()))
    found = (
        FoundElement("O", "O K", 0.525, 9e3, 40.0),
        FoundElement("Ca", "Ca K", 3.691, 900.0, 30.0, **caveat),
    )
    monkeypatch.setattr(match, "shown_elements", lambda si: found)
    with pytest.warns(DoubtWarning, match=told):
        assert run_elements(make_recipe({"input": {"file": "given"}}), si) == ("O", "Ca")


def test_a_metal_of_the_grid_that_nobody_names_is_not_quantified(done):
    """All components hold the grid's Cu alike; in one of them only it would be the specimen's."""
    si, factors = done.get("load").spectrum_image, done.get("decompose").factors
    si = replace(si, acquisition=replace(si.acquisition, elements=()))
    plain = make_recipe({"input": {"file": "given"}})
    with pytest.warns(SiftemWarning, match="no elements are named"):
        elements = run_elements(plain, si, factors)
    assert "Cu" not in elements
    assert {"O", "Mg", "Si", "Fe"} <= set(elements)
    spectra = factors.spectra.copy()
    peak = abs(factors.axis.centers - 8.05) < 0.12
    spectra[0, peak] = spectra[0, ~peak & (abs(factors.axis.centers - 8.05) < 0.3)].mean()
    with pytest.warns(SiftemWarning, match="no elements are named"):
        assert "Cu" in run_elements(plain, si, replace(factors, spectra=spectra))


def test_a_list_of_a_file_that_lacks_strong_lines_is_made_whole(done):
    si = done.get("load").spectrum_image
    si = replace(si, acquisition=replace(si.acquisition, elements=("Fe", "Nd")))
    plain = make_recipe({"input": {"file": "given"}, "support": ["Cu"]})
    with pytest.warns(SiftemWarning, match=r"the file lists Fe, Nd only, .* Si K \("):
        elements = run_elements(plain, si)
    assert elements[:2] == ("Fe", "Nd")
    assert {"O", "Mg", "Si"} <= set(elements)
    assert "Cu" not in elements
    named = make_recipe({"input": {"file": "given"}, "elements": ["Fe"]})
    assert run_elements(named, si) == ("Fe",)


def test_components_are_named_by_what_marks_them_on_an_axis_that_is_off(done):
    """Grains hold their host's lines as well, and lines lie where the axis does not say."""
    si, factors = done.get("load").spectrum_image, done.get("decompose").factors
    fields = {"input": {"file": "given"}, "elements": ["O", "Mg", "Si", "Fe", "Ca"]}
    plain = make_recipe({**fields, "support": ["Cu"]})
    marks = {
        "Brg": {"absent": ["Ca"], "high": ["Si"]},
        "Fp": {"high": ["Fe"]},
        "Ca-Pv": {"high": ["Ca"]},
    }
    marked = make_recipe({**fields, "matrix": "Brg", "phases": marks})
    order = match.matched_phases(marked, si, factors).factors.maps
    for shift in (0.0, 0.1, -0.1):
        off = replace(si, axis=replace(si.axis, offset=si.axis.offset + shift))
        moved = replace(
            factors,
            axis=replace(factors.axis, offset=factors.axis.offset + shift),
            names=tuple("ABC"),
        )
        again = match.matched_phases(marked, off, moved).factors
        np.testing.assert_array_equal(again.maps, order)
        assert again.axis == moved.axis
        named = match.matched_phases(
            plain, off, again.reordered((0, 1, 2), tuple("ABC"))
        ).factors.names
        assert [set(n[3:-1].split()) for n in named] == [
            {"O", "Mg", "Si"},
            {"O", "Mg", "Fe"},
            {"O", "Ca", "Si"},
        ]


def test_a_shell_is_not_named_by_what_is_left_when_a_film_takes_its_only_line():
    """A film with a trace of Fe below a shell of Fe: were all Fe the film's, Pt would be left."""
    film, shell = Lies("support", (), 0.0, 0.5, 9.0), Lies("embedded", (0,), 0.0, 0.5, 9.0)
    layout = SimpleNamespace(phases=(film, shell))
    strengths = np.array([[0.03, 0.0], [0.15, 0.002]])  # Fe, Pt
    own = match._own_lines(strengths, SimpleNamespace(layout=layout))
    assert own[1] == pytest.approx([0.12, 0.002])


def test_strong_lines_that_nobody_listed_are_fitted_beside(done):
    """Without them the energy scale and the continuum of all phases would be spoilt."""
    si = done.get("load").spectrum_image
    whole = siftem.Spectrum(si.sum_spectrum(), si.axis, acquisition=si.acquisition)
    fields = {"input": {"file": "given"}, "support": ["Cu"]}
    every = ("O", "Mg", "Al", "Si", "Ca", "Fe")
    full = fit_settings(make_recipe(fields), si, every)
    assert full.unlisted == ()
    short = tuple(e for e in every if e not in ("Si", "Ca"))
    with pytest.warns(DoubtWarning, match=r"not listed .* Si K \(\d+%\)"):
        settings = fit_settings(make_recipe(fields), si, short)
    assert set(settings.unlisted) >= {"Si", "Ca"}
    assert settings.elements == short
    assert set(settings.support) == {"Cu", *settings.unlisted}
    expected = full.quantified(whole, look_for_others=False).ratio("Mg/Fe")
    found = settings.quantified(whole, look_for_others=False).ratio("Mg/Fe")
    assert abs(found.value - expected.value) < 0.5 * expected.sigma


def test_where_no_element_shows_there_are_spectra_without_compositions():
    """A continuum without lines."""
    counts = np.random.default_rng(0).poisson(0.2, (400, 300))
    axis = siftem.EnergyAxis(0.3, 0.02, 300)
    given = siftem.Acquisition(beam_energy=200.0)
    si = siftem.SpectrumImage(sp.csr_array(counts), (20, 20), axis, acquisition=given)
    recipe = make_recipe({"input": {"file": "given"}, "decompose": {"components": 1}})
    result = Workflow(recipe, spectrum_image=si).result()
    assert tuple(result.pure) == result.factors.names
    assert not result.quantified
    assert result.calibration is None
    assert any("a list of elements is missing: none is named" in w for w in result.warnings)
    assert '"unmixing": null' in summary_text(result)


def test_files_count_by_their_content(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"counts")
    second.write_bytes(b"counts")
    assert file_content(first) == file_content(second)
    second.write_bytes(b"other counts")
    assert file_content(first) != file_content(second)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "x.npz").write_bytes(b"1")
    before = file_content(folder)
    (folder / "y.npz").write_bytes(b"2")
    assert file_content(folder) != before


def test_a_missing_file_is_told_when_it_is_needed(tmp_path):
    recipe = small_recipe().model_copy()
    missing = Workflow(recipe)
    missing.change(segment={"classifier": str(tmp_path / "none")})
    assert not missing.done("segment")
    missing.run("features")
    with pytest.raises(Exception, match=r"cannot read .*none"):
        missing.run("segment")


class TestCheckpoints:
    @pytest.mark.usefixtures("fitted_anew")
    def test_step_by_step_and_from_disk_is_the_same_as_all_at_once(
        self, done, tmp_path, monkeypatch
    ):
        walked = Workflow(small_recipe(), checkpoints=tmp_path)
        for step in STEPS:
            walked.run(step)
        assert summary_text(walked.result()) == summary_text(done.result())
        assert walked.keys() == done.keys()
        assert sorted(p.name for p in tmp_path.iterdir()) == ["decompose.npz", "unmix.npz"]

        def never(*args, **kwargs):
            raise AssertionError("done again")

        monkeypatch.setattr(decompose, "decomposed", never)
        monkeypatch.setattr(unmix, "unmixed_phases", never)
        again = Workflow(done.recipe, checkpoints=tmp_path)
        assert summary_text(again.result()) == summary_text(done.result())

    @pytest.mark.slow
    def test_another_recipe_does_not_fit(self, done, tmp_path):
        Workflow(done.recipe, checkpoints=tmp_path).run("decompose")
        other = Workflow(done.recipe, checkpoints=tmp_path)
        other.change(decompose={"components": 4})
        assert len(other.run("decompose").factors.spectra) == 4

    @pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut off", b"not a zip at all"])
    def test_a_damaged_file_counts_as_none(self, done, tmp_path, damage):
        (tmp_path / "decompose.npz").write_bytes(damage)
        again = Workflow(done.recipe, checkpoints=tmp_path)
        factors = again.run("decompose").factors
        np.testing.assert_array_equal(factors.maps, done.get("decompose").factors.maps)

    def test_nothing_but_known_kinds_is_made(self, done, tmp_path):
        import json

        fresh = Workflow(done.recipe, checkpoints=tmp_path)
        about = {
            "format": "siftem checkpoint", "version": 1, "key": fresh.key("decompose"),
            "warnings": [], "result": {"kind": "Popen", "fields": {"args": ["true"]}},
        }  # fmt: skip
        np.savez(tmp_path / "decompose.npz", about=np.array(json.dumps(about)))
        assert fresh.run("decompose").factors.spectra.shape[0] == 3


@pytest.mark.usefixtures("no_pictures")
def test_an_exported_folder_knows_what_it_holds(done, tmp_path):
    changed = copy_of(done)
    folder = export(changed, tmp_path / "out")
    assert is_exported(changed, folder)
    assert summary_text(exported_result(changed, folder)) == (folder / "summary.json").read_text()
    # What is not whole, or damaged, is made again.
    (folder / "report.html").rename(tmp_path / "report.html")
    assert exported_result(changed, folder) is None
    (tmp_path / "report.html").rename(folder / "report.html")
    whole = (folder / "results.npz").read_bytes()
    (folder / "results.npz").write_bytes(whole[:1000])
    assert exported_result(changed, folder) is None
    (folder / "results.npz").write_bytes(whole)
    assert exported_result(changed, folder) is not None
    assert (folder / "classifier" / "Fp.npz").is_file()
    changed.change(title="another")
    assert not is_exported(changed, folder)
    assert exported_result(changed, folder) is None
    assert not is_exported(changed, tmp_path / "nowhere")
    (folder / "keys.json").write_text("{")
    changed.set_recipe(done.recipe)
    assert not is_exported(changed, folder)


def test_warnings_go_to_the_thread_that_gave_cause():
    found = {}
    ready = threading.Barrier(2)

    def work(name):
        with recorded_warnings() as notes:
            ready.wait()
            for i in range(50):
                warnings.warn(f"{name} {i % 3}", SiftemWarning, stacklevel=1)
                warnings.warn("not ours", RuntimeWarning, stacklevel=1)
        found[name] = list(notes)

    before = list(warnings.filters)
    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: [f"{name} {i}" for i in range(3)] for name in "ab"}
    assert warnings.filters == before


def test_doubts_are_told_apart_where_they_arise_and_stay_so(done, tmp_path, monkeypatch):
    decomposed = decompose.decomposed

    def in_doubt(*given, **how):
        warnings.warn("any words at all", DoubtWarning, stacklevel=1)
        warnings.warn("the two disagree", SiftemWarning, stacklevel=1)
        return decomposed(*given, **how)

    monkeypatch.setattr(decompose, "decomposed", in_doubt)
    for _ in range(2):  # the second takes the decomposition from the disk
        fresh, changed = Workflow(done.recipe, checkpoints=tmp_path), copy_of(done)
        fresh.run("decompose")
        changed._results["decompose"] = fresh._results["decompose"]
        result = changed.result()
        assert {"any words at all", "the two disagree"} <= set(result.warnings)
        assert "any words at all" in result.doubts
        assert "the two disagree" not in result.doubts
        assert set(result.doubts) <= set(result.warnings)


def test_doubts_about_the_counts_are_doubts_of_the_run(done):
    changed = copy_of(done)
    prepared = changed._results["prepare"]
    si = prepared.result.spectrum_image
    cut_off = replace(si, notes=(*si.notes, "counts are cut off"), doubts=("counts are cut off",))
    result = replace(prepared.result, spectrum_image=cut_off)
    changed._results["prepare"] = replace(prepared, result=result)
    found = changed.result()
    assert found.doubts[0] == "counts are cut off"
    assert "counts are cut off" in found.warnings
    assert "counts are cut off" not in done.result().doubts


def test_a_window_that_is_not_told_is_a_doubt_where_nothing_else_says_so(done):
    result = done.result()
    told_none = {n: result.compositions[n] for n in result.pure}

    def seen_through(c, detector):
        return replace(c, fit=replace(c.fit, model=replace(c.fit.model, detector=detector)))

    pure = {n: seen_through(c, Detector()) for n, c in told_none.items()}
    with pytest.warns(DoubtWarning, match="behind a polymer one") as told:
        warn_of_window(pure)
    words = r"one (\S+) holds (\S+) at% O for ([0-9.]+)"
    name, then, now = re.search(words, str(told[0].message)).groups()
    oxygen = float(pure[name].atomic_fractions[pure[name].index("O")])
    assert float(now) == pytest.approx(100 * oxygen, abs=0.1)
    # What the polymer lets through of O; it hardly touches the others.
    passed = Detector(window=POLYMER).efficiency(0.525) / Detector().efficiency(0.525)
    behind = oxygen / passed / (oxygen / passed + 1 - oxygen)
    assert float(then) == pytest.approx(100 * behind, abs=2.5)
    assert float(then) > float(now) + 5
    # Told, measured with the k-factors, or in the intervals of an unknown film: nothing to say.
    fp = pure["Fp"]
    factors = replace(fp, k=replace(fp.k, source=("given",) * len(fp.elements)))
    unknown = replace(fp, film=None, film_ends=fp.weight_fractions[None])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_window(told_none)
        warn_of_window({"Fp": factors})
        warn_of_window({"Fp": unknown})
    # A name allows for it: Fp may hold as much more O as the window keeps.
    table = [p for p in shipped_phases() if p.name == "brucite"]
    through, bare = (siftem.identify(c, table=table) for c in (fp, told_none["Fp"]))
    assert through.candidates[0].distance < 0.8 * bare.candidates[0].distance
    # The demo tells it.
    assert not any("window is not told" in w for w in result.warnings)


def test_a_run_looks_at_the_window(done, monkeypatch):
    seen = []
    monkeypatch.setattr(composition, "warn_of_window", lambda *given: seen.append(given))
    # Mixtures are not looked at, and take long.
    monkeypatch.setattr(composition, "compositions_of", lambda *_: {})
    changed = copy_of(done)
    del changed._results["composition"]
    changed.run()
    ((pure,),) = seen
    assert set(pure) == {"Brg", "Fp", "Ca-Pv"}


def test_the_choice_of_components_is_kept(done):
    changed = copy_of(done)
    first = changed.choose_components((2, 3, 4))
    assert first.candidates == (2, 3, 4)
    assert first.n_components == 3
    assert changed.choose_components((2, 3, 4)) is first


def test_faint_lines_that_nobody_listed_go_to_the_support(done, monkeypatch):
    si = done.get("load").spectrum_image
    recipe = make_recipe({"input": {"file": "given"}, "support": ["Cu"]})
    every = ("O", "Mg", "Al", "Si", "Ca", "Fe")
    place = "siftem.pipeline.fit_settings.contaminants_of"

    def found(fit, refit):
        more = refit(("Cl",))
        assert more.calibration is not None and "Cl K" in more.names
        return (FoundElement("Cl", "Cl K", 2.622, 900.0, 5.0),), more

    monkeypatch.setattr(place, found)
    with pytest.warns(SiftemWarning, match=r"Cl K \(2.62 keV, 5.0 sigma\): faint"):
        settings = fit_settings(recipe, si, every)
    assert (settings.support, settings.unlisted) == (("Cu", "Cl"), ("Cl",))

    def failing(fit, refit):
        raise np.linalg.LinAlgError("made to fail")

    monkeypatch.setattr(place, failing)
    with pytest.warns(DoubtWarning, match="nobody lists is missing: .*made to fail"):
        assert fit_settings(recipe, si, every).unlisted == ()
