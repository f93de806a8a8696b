"""A part that fails is told with its reason, and leaves the rest of the run standing."""

import json
from dataclasses import replace

import numpy as np
import pytest
from small_demo import small_demo

import siftem
from siftem.cli.commands import run_commands
from siftem.errors import Cancelled, InputError, RecipeError, SiftemWarning
from siftem.pipeline.changes import merged_recipe
from siftem.pipeline.fit_settings import FitSettings
from siftem.pipeline.parts import attempted
from siftem.pipeline.workflow import Workflow
from siftem.report.folder import write_results

ALWAYS = {"report.html", "summary.json", "recipe.yaml", "maps.hspy", "regions.tif", "spectra"}


def failing(error):
    def fail(*arguments, **options):
        raise error

    return fail


class TestAttempted:
    @pytest.mark.parametrize(
        ("error", "told"),
        [
            (InputError("no lines"), "the table is missing: no lines"),
            (np.linalg.LinAlgError("singular"), "unexpected LinAlgError, please report it: sing"),
            (ZeroDivisionError(), "unexpected ZeroDivisionError, please report it: ZeroDiv"),
            (KeyError("Fp"), "unexpected KeyError"),
            (ValueError("two\nlines"), "report it: two lines"),
        ],
    )
    def test_a_fault_is_told_and_something_stands_in(self, error, told):
        missing = {}
        with pytest.warns(SiftemWarning, match=told):
            assert attempted("the table", failing(error), "nothing", missing=missing) == "nothing"
        assert list(missing) == ["the table"]

    @pytest.mark.parametrize(
        "error", [Cancelled(), RecipeError("twice"), KeyboardInterrupt(), MemoryError(), OSError()]
    )
    def test_what_ends_a_run_ends_it(self, error):
        with pytest.raises(type(error)):
            attempted("the table", failing(error), None)

    def test_a_full_disk_ends_a_run_under_any_name(self):
        def write():
            try:
                raise OSError(28, "no space left")
            except OSError as error:
                raise siftem.SiftemError("cannot write") from error

        with pytest.raises(siftem.SiftemError, match="cannot write"):
            attempted("a file", write, None)

    def test_what_works_is_returned_without_a_word(self):
        assert attempted("the table", lambda: 3, None) == 3


@pytest.fixture(autouse=True)
def _quick_pictures(monkeypatch):
    """Figures are made, but not drawn in print quality."""
    monkeypatch.setattr("siftem.report.pictures.drawn_once", lambda figure, kind: b"PNG")


@pytest.fixture(scope="module")
def recipe():
    """Few elements: each is fitted many times."""
    elements = ["O", "Mg", "Si", "Ca", "Fe"]
    figures = {"trace_lines": ["Fe Ka"]}
    return merged_recipe(
        small_demo(shape=(40, 40), dose=400),
        {
            "elements": elements,
            "unmix": False,
            "figures": figures,
            "segment": {"trees": 10},
        },
    )


@pytest.fixture(scope="module")
def checkpoints(recipe, tmp_path_factory):
    """Decomposed once for all."""
    folder = tmp_path_factory.mktemp("checkpoints")
    Workflow(recipe, checkpoints=folder).run("decompose")
    return folder


def written(recipe, checkpoints, folder):
    result = Workflow(recipe, checkpoints=checkpoints).result()
    write_results(result, folder)
    names = {path.name for path in folder.iterdir()}
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    report = (folder / "report.html").read_text(encoding="utf-8")
    return result, names, summary, report


@pytest.mark.parametrize(
    ("place", "part", "compositions"),
    [
        ("siftem.pipeline.steps.match.matched_phases", "the names of the phases", True),
        ("siftem.pipeline.steps.segment.classify", "the classification of the pixels", True),
        ("siftem.pipeline.steps.regions.cut", "the masks of the grains", True),
        ("siftem.pipeline.steps.spectra.pure_phases", "every spectrum of a region", False),
        ("siftem.pipeline.steps.spectra.fit_settings", "every composition", False),
        ("siftem.pipeline.steps.composition.quantities", "every derived quantity", False),
        ("siftem.pipeline.steps.composition.line_gains", "the comparison of lines", True),
    ],
)
def test_whatever_fails_the_rest_is_written(
    recipe, checkpoints, tmp_path, monkeypatch, place, part, compositions
):
    monkeypatch.setattr(place, failing(np.linalg.LinAlgError("made to fail")))
    result, names, summary, report = written(recipe, checkpoints, tmp_path / "out")
    assert names >= ALWAYS
    assert part in report
    assert "made to fail" in report
    assert any("made to fail" in w for w in summary["warnings"])
    assert bool(result.compositions) == compositions
    assert result.quantified == compositions
    assert result.factors.maps.shape == (3, 40, 40)


def test_parts_figures_tables_and_files_fail_one_by_one(recipe, checkpoints, tmp_path, monkeypatch):
    for place in ("report.pictures.draw_figure1", "report.pictures.draw_fit",
                  "report.html.ratio_table", "pipeline.store.write_rois",
                  "pipeline.store.write_maps", "pipeline.subtraction.subtract",
                  "pipeline.steps.unmix.unmix"):  # fmt: skip
        monkeypatch.setattr(f"siftem.{place}", failing(np.linalg.LinAlgError("made to fail")))
    recipe = merged_recipe(recipe, {"unmix": True})
    result, names, summary, report = written(recipe, checkpoints, tmp_path / "out")
    assert (ALWAYS | {"figure2.png"}) - {"maps.hspy"} <= names
    told = [w for w in summary["warnings"] if "made to fail" in w]
    for part in ("figure1.png", "fit_Brg.png", "the part 'ratios' of the report",
                 "regions.zip", "maps.hspy", "the pure spectrum of Fp",
                 "the unmixing of all pixels"):  # fmt: skip
        assert any(w.startswith(f"{part} is missing") for w in told), part
        assert part.replace("'", "&#39;") in report
    assert result.quantified


def test_one_phase_without_a_composition_says_why(recipe, checkpoints, tmp_path, monkeypatch):
    whole = FitSettings.quantified

    def only_some(self, spectrum, *arguments, **options):
        if spectrum.name == "Fp":
            raise InputError("none of its elements was found")
        return whole(self, spectrum, *arguments, **options)

    monkeypatch.setattr(FitSettings, "quantified", only_some)
    result, names, summary, report = written(recipe, checkpoints, tmp_path / "out")
    assert {"fit_Brg.png", "fit_Ca-Pv.png", "figure1.png", "figure2.png"} <= names
    assert "fit_Fp.png" not in names
    assert (tmp_path / "out" / "spectra" / "Fp.msa").exists()
    assert summary["missing"]["the composition of Fp"] == "none of its elements was found"
    assert "elements" not in summary["phases"]["Fp"]
    assert "elements" in summary["phases"]["Brg"]
    assert "the composition of Fp is missing: none of its elements was found" in report
    assert result.quantified


def test_a_matrix_without_pure_pixels_leaves_mixtures_and_masks(
    recipe, checkpoints, tmp_path, monkeypatch
):
    """Grains all over, as with a matrix that is none."""
    from siftem.pipeline.steps import regions

    cut = regions.cut

    def covered(*arguments, **options):
        found = cut(*arguments, **options)
        r = found.regions
        masks = {g: r.mask(g).mask for g in r.names}
        masks["Fp"] = ~masks["Ca-Pv"]
        full = type(r)(r.shape, matrix=r.matrix, masks=masks, margin=0)
        return replace(found, regions=full)

    monkeypatch.setattr(regions, "cut", covered)
    result, names, summary, _ = written(recipe, checkpoints, tmp_path / "out")
    assert names >= ALWAYS
    assert "the spectrum of Brg" in summary["missing"]
    assert "Fp + Brg" in result.spectra
    assert "Fp + Brg" in result.compositions


@pytest.mark.usefixtures("no_pictures")
def test_exit_codes(tmp_path, capsys):
    """0 with compositions, 3 when all but these was written, 1 when nothing was."""
    phantom = siftem.simulate_demo((32, 32), channels=1100, dose=300)
    si = replace(phantom.spectrum_image, survey=None)
    known = siftem.to_hyperspy(si)
    known.save(tmp_path / "known.hspy")
    del known.metadata.Acquisition_instrument.TEM.beam_energy
    known.save(tmp_path / "unknown.hspy")
    common = ["--phases", "2", "--elements", "O,Mg,Si,Fe", "--no-unmix", "-q"]

    def code(name, *more):
        return run_commands(
            ["run", str(tmp_path / name), *common, *more, "-o", str(tmp_path / f"{name}-out")]
        )

    assert code("known.hspy") == 0
    assert code("unknown.hspy") == 3
    assert "nothing was quantified" in capsys.readouterr().err
    assert (tmp_path / "unknown.hspy-out" / "report.html").exists()
    assert code("none.hspy") == 1
    assert not (tmp_path / "none.hspy-out").exists()
