"""``siftem batch`` as its users meet it."""

import pytest
import yaml
from made_up_batch import RECIPE, Workflow

from siftem.batch.run import run_batch
from siftem.cli.main import main
from siftem.pipeline.recipe import read_recipe

pytestmark = pytest.mark.usefixtures("stand_ins")


@pytest.fixture
def recipe_file(tmp_path):
    data = {k: v for k, v in RECIPE.items() if k != "input"}
    path = tmp_path / "oxides.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def call(capsys, *arguments):
    code = main(["batch", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_it_tells_what_was_done_and_where(capsys, recipe_file, maps, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, shown, told = call(capsys, recipe_file, *maps)
    assert code == 0
    assert shown.startswith("3 done, 0 were up to date, 0 failed; report: ")
    assert (tmp_path / "siftem-oxides/report.html").is_file()
    assert "a10: done in" in told
    code, shown, told = call(capsys, recipe_file, *maps)
    assert shown.startswith("0 done, 3 were up to date")
    assert "a1: up to date" in told


def test_figures_are_drawn_by_all_processors_where_maps_come_one_after_the_other(
    capsys, recipe_file, maps, tmp_path, monkeypatch
):
    monkeypatch.setattr("siftem.cli.runs.available", lambda: 3)
    call(capsys, recipe_file, *maps, "--out", tmp_path / "out")
    run_batch(read_recipe(recipe_file, for_many=True), maps, tmp_path / "quiet")
    for folder, drawn in (("out", 3), ("quiet", 1)):
        text = (tmp_path / folder / "maps" / "a1" / "report.html").read_text()
        assert text == f"<p>report, drawn by {drawn}</p>"


def test_patterns_are_resolved_where_no_shell_has_done_it(capsys, recipe_file, maps, tmp_path):
    (pattern,) = {m.parent / f"a*{m.suffix}" for m in maps}
    code, shown, _ = call(capsys, recipe_file, pattern, "--out", tmp_path / "out")
    assert code == 0
    assert shown.startswith("3 done")
    odd = maps[0].rename(maps[0].with_stem("a[1]"))  # a name that looks like a pattern
    code, shown, _ = call(capsys, recipe_file, odd, "--out", tmp_path / "other")
    assert (code, shown.split(",")[0]) == (0, "1 done")


def test_a_failed_map_is_told_in_one_line_and_by_the_exit_code(capsys, recipe_file, maps, tmp_path):
    maps[1].write_text("bad [news]")
    code, shown, told = call(capsys, recipe_file, *maps, "--out", tmp_path / "out")
    assert code == 1
    assert "a2: failed: the map holds [news]" in told
    assert "2 done, 0 were up to date, 1 failed" in shown
    code, shown, told = call(capsys, recipe_file, *maps, "--out", tmp_path / "out", "-q")
    assert (code, shown) == (1, "")
    assert told.strip() == "siftem: a2: the map holds [news]"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--n-jobs", "0"], ["n_jobs must be at least 1"]),
        (["--joint", "--spectra", "x.csv"], ["not both"]),
        (["--spectra", "none.csv"], ["cannot read", "none.csv"]),
        (["--workers", "1", "--scheduler", "tcp://127.0.0.1:9"], ["give one"]),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    capsys, recipe_file, maps, tmp_path, change, words
):
    code, shown, told = call(capsys, recipe_file, *maps, "--out", tmp_path / "out", "-q", *change)
    assert (code, shown) == (1, "")
    assert len(told.strip().splitlines()) == 1
    for word in words:
        assert word in told


def test_wrong_use_and_bad_recipes(capsys, recipe_file, maps, tmp_path):
    assert call(capsys, recipe_file)[0] == 2
    assert call(capsys)[0] == 2
    code, _, told = call(capsys, tmp_path / "none.yaml", *maps)
    assert code == 1
    assert "cannot read the recipe" in told
    recipe_file.write_text("phases: {A: {hihg: [Mg]}}\nmatrix: A\n")
    code, _, told = call(capsys, recipe_file, *maps)
    assert code == 1
    assert "did you mean high" in told


def test_an_interrupted_batch_goes_on(capsys, recipe_file, maps, visits, tmp_path, monkeypatch):
    work = Workflow.result

    def interrupted(self, *, progress):
        if "a2" in self.recipe.title:
            raise KeyboardInterrupt
        return work(self, progress=progress)

    with monkeypatch.context() as patch:
        patch.setattr(Workflow, "result", interrupted)
        code, _, told = call(capsys, recipe_file, *maps, "--out", tmp_path / "out", "-q")
    assert code == 130
    assert told.strip() == "siftem: interrupted; the same command goes on where it was"
    assert call(capsys, recipe_file, *maps, "--out", tmp_path / "out", "-q")[0] == 0
    assert visits() == ["a1", "a2", "a10"]
