"""What comes in by the door of a run: kinds of signal, paths that moved, names of files."""

import shutil

import numpy as np
import pytest
import scipy.sparse as sp

import siftem
from siftem.errors import SiftemWarning
from siftem.pipeline.file_contents import file_name, file_names
from siftem.pipeline.recipe import make_recipe, read_recipe
from siftem.pipeline.recipe_parts import with_absolute_paths
from siftem.pipeline.results import Loaded
from siftem.pipeline.steps.prepare import prepare


def flat(signal_type, axis):
    counts = np.random.default_rng(0).poisson(2.0, (36, axis.size))
    return siftem.SpectrumImage(sp.csr_array(counts), (6, 6), axis, signal_type=signal_type)


def prepared(si, **sections):
    recipe = make_recipe({"input": {"file": "a"}, **sections})
    return prepare(recipe, Loaded(si, None)).spectrum_image


class TestZeroPeak:
    """0.2 keV is where the zero peak of X-ray detectors ends; energy losses have edges there."""

    @pytest.mark.parametrize("kind", ["EELS", ""])
    @pytest.mark.parametrize(
        "axis",
        [
            siftem.EnergyAxis(60.0, 1.0, 400, "eV"),
            siftem.EnergyAxis(-20.0, 0.5, 400, "eV"),
            siftem.EnergyAxis(0.06, 0.001, 400, "keV"),
        ],
    )
    def test_other_signals_are_kept_whole(self, kind, axis):
        assert prepared(flat(kind, axis)).axis == axis

    @pytest.mark.parametrize(
        "axis", [siftem.EnergyAxis(0.0, 0.01, 400), siftem.EnergyAxis(0.0, 10.0, 400, "eV")]
    )
    def test_x_rays_are_cropped_in_either_unit(self, axis):
        found = prepared(flat("EDS_TEM", axis))
        assert found.axis.to_kev().centers[0] == pytest.approx(0.2)
        assert "zero peak" in found.notes[-1]

    def test_a_chosen_range_holds_for_all(self):
        axis = siftem.EnergyAxis(60.0, 1.0, 400, "eV")
        found = prepared(flat("EELS", axis), energy_range=[0.1, 0.3])
        assert (found.axis.centers[0], found.axis.centers[-1]) == (100.0, 300.0)

    def test_the_recipe_says_what_kind_it_is(self):
        axis = siftem.EnergyAxis(0.0, 10.0, 250, "eV")
        found = prepared(flat("", axis), acquisition={"signal_type": "EDS_SEM"})
        assert (found.signal_type, found.acquisition.bulk) == ("EDS_SEM", True)
        assert found.axis.centers[0] == 200.0
        found = prepared(flat("EDS_SEM", axis), acquisition={"signal_type": "EDS_TEM"})
        assert (found.signal_type, found.acquisition.bulk) == ("EDS_TEM", False)


class TestPaths:
    def write(self, folder, text):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.yaml").write_text(text)
        return folder / "recipe.yaml"

    def test_a_moved_project_is_found_and_told(self, tmp_path):
        old = tmp_path / "old"
        recipe = self.write(
            old / "results" / "out",
            f"input: {{file: {old / 'data' / 'map.hspy'}}}\n"
            f"segment: {{classifier: {old / 'models' / 'c'}}}\n",
        )
        for there in (old / "data", old / "models" / "c"):
            there.mkdir(parents=True)
        (old / "data" / "map.hspy").write_text("x")
        assert read_recipe(recipe).input.file == str(old / "data" / "map.hspy")
        shutil.move(old, tmp_path / "new")
        with pytest.warns(SiftemWarning) as told:
            found = read_recipe(tmp_path / "new" / "results" / "out" / "recipe.yaml")
        first = str(told[0].message)
        assert f"{old / 'data' / 'map.hspy'}, which the recipe names, is not there" in first
        assert str(tmp_path / "new" / "data" / "map.hspy") in first
        assert found.input.file == str(tmp_path / "new" / "data" / "map.hspy")
        assert found.segment.classifier == str(tmp_path / "new" / "models" / "c")

    def test_results_alone_may_move(self, tmp_path):
        (tmp_path / "map.hspy").write_text("x")
        recipe = self.write(tmp_path / "out", f"input: {{file: {tmp_path / 'map.hspy'}}}\n")
        shutil.move(recipe.parent, tmp_path / "elsewhere" / "deep" / "out")
        found = read_recipe(tmp_path / "elsewhere" / "deep" / "out" / "recipe.yaml")
        assert found.input.file == str(tmp_path / "map.hspy")

    def test_what_is_nowhere_keeps_its_name_for_the_message(self, tmp_path):
        recipe = self.write(tmp_path / "out", "input: {file: gone/map.hspy}\n")
        assert read_recipe(recipe).input.file == str(tmp_path / "out" / "gone" / "map.hspy")

    def test_paths_of_a_finished_run_hold_from_anywhere(self, tmp_path, monkeypatch):
        (tmp_path / "map.hspy").write_text("x")
        monkeypatch.chdir(tmp_path)
        data = with_absolute_paths({"input": {"file": "map.hspy"}, "decompose": {"spectra": "no"}})
        assert data["input"]["file"] == str(tmp_path / "map.hspy")
        assert data["decompose"]["spectra"] == "no"  # no file: perhaps a name in memory


class TestFileNames:
    @pytest.mark.parametrize(
        "names",
        [
            ("γ", "γ'", "γ''"),
            ("phase 1", "phase_1"),
            ("A/B", "A:B", "A?B"),
            ("Fe", "fe", "FE"),
            ("?", "!", ""),
            ("x" * 300, "x" * 301),
        ],
    )
    def test_each_phase_has_a_file_of_its_own(self, names):
        found = file_names(names)
        assert list(found) == list(names)
        assert len({f.casefold() for f in found.values()}) == len(names)
        assert all(0 < len(f.encode()) < 200 and "/" not in f for f in found.values())
        assert file_names(reversed(names)) == found

    def test_a_plain_name_stays(self):
        assert file_names(["phase 1", "phase_1"])["phase_1"] == "phase_1"
        assert file_names(["Ca-Pv + Brg"])["Ca-Pv + Brg"] == file_name("Ca-Pv + Brg") == "Ca-Pv_Brg"
