"""The pictures of a run."""

from dataclasses import replace

import pytest
from made_up_run import build_run

from siftem.errors import InputError
from siftem.pipeline.changes import merged_recipe
from siftem.report.folder import write_results
from siftem.report.pictures import (
    draw_figure1,
    draw_figure2,
    figure_jobs,
    fit_names,
    line_labels,
    trace_lines,
)


def draw_figures(run):
    return {name: draw() for name, draw in figure_jobs(run).items()}


@pytest.fixture(scope="module")
def figures(made_run):
    return draw_figures(made_run)


def size(png):
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def test_all_pictures_of_a_run(figures):
    fits = ["fit_Brg", "fit_Fp", "fit_Ca-Pv"]
    whole = ["figure1", "figure2", "figure_phases", "figure3", "figure_onuma"]
    assert list(figures) == [*whole, *fits]
    for name, png in figures.items():
        if name in ("figure_phases", "figure_onuma"):
            continue
        width, height = size(png)
        # 180 mm at 300 dots per inch, and not taller than a page.
        assert width == 2125
        assert 600 < height < 3508


def test_pictures_are_as_wide_as_the_recipe_says(made_run):
    chosen = made_run.recipe.figures.model_copy(update={"width_mm": 85.0})
    run = replace(made_run, recipe=made_run.recipe.model_copy(update={"figures": chosen}))
    for name, png in draw_figures(run).items():
        width, _ = size(png)
        small = name in ("figure_phases", "figure_onuma")
        assert width <= 1004 if small else abs(width - 1004) <= 1, name


def test_lines_of_the_elements_are_labelled(made_run):
    texts = {label.text for label in line_labels(made_run)}
    assert {"O Kα", "Mg Kα", "Si Kα", "Ca Kα", "Fe Kα", "Nd Lα"} <= texts


def test_trace_lines_carry_their_signal_to_noise(made_run):
    (line,) = trace_lines(made_run)
    assert line.text == "Nd Lα"
    assert line.whole == made_run.gains[0].whole
    assert line.rectangle == made_run.gains[0].rectangle
    # Nd La1 5.2304 keV (Bearden 1967, Rev. Mod. Phys. 39, 78), at its measured place.
    measured = 5.2304 * (1 + made_run.calibration.gain) + made_run.calibration.shift
    assert line.energy == pytest.approx(measured, abs=0.003)


def test_without_elements_there_are_two_pictures(made_run):
    bare = replace(
        made_run,
        compositions={},
        pure={"Brg": made_run.pure["Brg"]},
        calibration=None,
        gains=(),
        rectangles=(),
        rectangle_spectrum=None,
        unmixed=None,
        partition=(),
    )
    assert list(draw_figures(bare)) == ["figure1", "figure2", "figure_phases"]
    assert line_labels(bare) == ()


def test_without_compositions_lines_are_labelled_all_the_same(made_run):
    bulk = replace(made_run, compositions={})
    assert {"Mg Kα", "Fe Kα"} <= {label.text for label in line_labels(bulk)}


def test_phases_whose_file_names_coincide_keep_their_pictures():
    run = build_run(("Brg", "Ca/Pv", "Ca?Pv"))
    names = fit_names(run)
    assert set(names) == {"Brg", "Ca/Pv", "Ca?Pv"}
    assert len(set(names.values())) == 3
    assert all("/" not in key and "?" not in key for key in names.values())


@pytest.mark.real_data
@pytest.mark.slow
def test_the_real_map(map_71gpa, tmp_path):
    from pathlib import Path

    from siftem.pipeline.changes import recipe_for
    from siftem.pipeline.workflow import run
    from siftem.report.html import render_report

    example = Path(__file__).parents[2] / "examples" / "71gpa.yaml"
    recipe = recipe_for(example)
    recipe = recipe.model_copy(
        update={"input": recipe.input.model_copy(update={"file": str(map_71gpa), "example": None})}
    )
    result = run(recipe)
    figures = draw_figures(result)
    assert {"Nd Lα", "Sm Lα", "Ca Kα", "Si Kα"} <= {x.text for x in line_labels(result)}
    html = render_report(result, figures=figures)
    assert all(name in html for name in ("Brg", "Fp", "Ca-Pv"))
    assert all(size(png)[1] < 3508 for png in figures.values())


def test_figures_are_written_in_the_formats_of_the_recipe(made_run, monkeypatch, tmp_path):
    drawn = []

    def jobs(result, kind):
        drawn.append(kind)
        return {"figure1": kind.encode}

    monkeypatch.setattr("siftem.report.folder.figure_jobs", jobs)
    recipe = merged_recipe(made_run.recipe, {"figures": {"formats": ["svg", "pdf"]}})
    folder = write_results(replace(made_run, recipe=recipe), tmp_path / "out")
    assert drawn == ["png", "svg", "pdf"]
    for kind in drawn:
        assert (folder / f"figure1.{kind}").read_bytes() == kind.encode()
    assert (folder / "results.npz").is_file()
    # As the recipe has them by default; without what it takes to open the run again.
    write_results(made_run, folder, reopen=False)
    assert not (folder / "results.npz").exists()
    assert drawn[3:] == ["png"]
    assert sorted(p.name for p in folder.glob("figure1.*")) == ["figure1.png"]


def test_what_the_recipe_says_of_figures_reaches_them(made_run, monkeypatch):
    seen = {}

    def figure(*arguments, look, **options):
        seen["look"] = look
        raise InputError("seen")

    chosen = {"energy_range": [1, 5], "colour_map": "gray"}
    run = replace(made_run, recipe=merged_recipe(made_run.recipe, {"figures": chosen}))
    for name, draw in (("figure1", draw_figure1), ("figure2", draw_figure2)):
        monkeypatch.setattr(f"siftem.report.pictures.{name}", figure)
        with pytest.raises(InputError):
            draw(run)
        assert (seen["look"].energy_range, seen["look"].colour_map) == ((1.0, 5.0), "gray")
