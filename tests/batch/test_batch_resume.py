"""What is done again, and what is kept."""

import json
import os
import shutil

import pytest
from made_up_batch import recipe

from siftem.batch.folder import BatchFolder, Watcher, held, natural_order, taking_part
from siftem.batch.run import named_maps, run_batch
from siftem.errors import InputError, SiftemError, SiftemWarning

pytestmark = pytest.mark.usefixtures("stand_ins")


def statuses(result):
    return {o.name: o.status for o in result.outcomes}


def test_all_maps_are_done_and_a_second_call_keeps_them(maps, visits, tmp_path):
    out = tmp_path / "out"
    assert statuses(run_batch(recipe(), maps, out)) == dict.fromkeys(("a1", "a2", "a10"), "done")
    assert visits() == ["a1", "a2", "a10"]
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file() and p.suffix != ".lock"}
    assert statuses(run_batch(recipe(), maps, out)) == dict.fromkeys(("a1", "a2", "a10"), "kept")
    assert visits() == []
    assert {p: p.read_bytes() for p in before} == before


def test_only_what_changed_by_content_is_done_again(maps, visits, tmp_path):
    out = tmp_path / "out"
    run_batch(recipe(), maps, out)
    visits()
    # A new time alone is no change; new contents with the old time and size are.
    os.utime(maps[0])
    stat = maps[1].stat()
    maps[1].write_text("19.0")
    os.utime(maps[1], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    run_batch(recipe(), maps, out)
    assert visits() == ["a2"]
    run_batch(recipe(quantify={"ratios": ["Mg/Fe"]}), maps, out)
    assert sorted(visits()) == ["a1", "a10", "a2"]


def test_a_missing_or_cut_file_of_a_run_is_made_again(maps, visits, tmp_path):
    out = tmp_path / "out"
    run_batch(recipe(), maps, out)
    visits()
    (out / "maps/a1/spectra/Fp.msa").unlink()
    (out / "maps/a2/report.html").write_text("")
    run_batch(recipe(), maps, out)
    assert visits() == ["a1", "a2"]
    assert (out / "maps/a1/spectra/Fp.msa").exists()
    (out / ".siftem/records/a10.json").write_text("{ half")
    run_batch(recipe(), maps, out)
    assert visits() == ["a10"]


def test_moved_maps_and_a_moved_folder_are_still_up_to_date(maps, visits, tmp_path):
    out = tmp_path / "out"
    run_batch(recipe(), maps, out)
    visits()
    shutil.move(maps[0].parent, tmp_path / "elsewhere")
    shutil.move(out, tmp_path / "moved")
    moved = [tmp_path / "elsewhere" / p.name for p in maps]
    assert set(statuses(run_batch(recipe(), moved, tmp_path / "moved")).values()) == {"kept"}
    assert str(moved[0]) in (tmp_path / "moved/results.csv").read_text()


def test_a_failed_map_does_not_stop_the_rest_and_is_tried_again(maps, visits, tmp_path):
    out = tmp_path / "out"
    maps[0].write_text("bad nothing")
    maps[1].write_text("bug")
    result = run_batch(recipe(), [*maps, tmp_path / "none.txt"], out)
    assert statuses(result) == {"a1": "failed", "a2": "failed", "a10": "done", "none": "failed"}
    errors = {o.name: o.error for o in result.failed}
    assert errors["a1"] == "the map holds nothing"
    assert "unexpected ZeroDivisionError: division by zero" in errors["a2"]
    assert "none.txt" in errors["none"]
    assert all("\n" not in error for error in errors.values())
    assert "ZeroDivisionError" in (out / ".siftem/traces/a2.txt").read_text()
    visits()
    maps[0].write_text("10.0")
    assert statuses(run_batch(recipe(), maps, out))["a1"] == "done"
    assert visits() == ["a1", "a2"]


def test_files_of_one_name_get_folders_of_their_own(maps, visits, tmp_path):
    (tmp_path / "more").mkdir()
    twin = shutil.copy(maps[0], tmp_path / "more")
    place = BatchFolder(tmp_path / "out")
    both = named_maps([maps[0], twin, maps[0]], place)
    assert len(both) == len({m.name for m in both}) == 2
    assert all(m.name.startswith("a1-") for m in both)
    # One after the other: the first keeps its name.
    run_batch(recipe(), maps, place.root)
    visits()
    added = run_batch(recipe(), [*maps, twin], place.root)
    assert [o.status for o in added.outcomes] == ["kept", "kept", "kept", "done"]
    assert added.outcomes[0].name == "a1"
    assert visits() == []


def test_the_table_holds_earlier_maps_of_the_recipe_and_names_those_of_another(maps, tmp_path):
    out = tmp_path / "out"
    run_batch(recipe(), maps[:2], out)
    run_batch(recipe(), maps[2:], out)
    listed = list(json.loads((out / "summary.json").read_text())["maps"])
    assert listed == ["a1", "a2", "a10"]
    run_batch(recipe(elements=["Mg"]), maps[:1], out)
    data = json.loads((out / "summary.json").read_text())
    assert list(data["maps"]) == ["a1"]
    assert "a2, a10" in data["warnings"][0]


def test_names_sort_as_people_count():
    assert sorted(["m10", "m2", "M1", "x"], key=natural_order) == ["M1", "m2", "m10", "x"]


def test_a_folder_of_somebody_else_is_left_alone(maps, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("do not lose")
    with pytest.raises(InputError, match="choose another output folder"):
        run_batch(recipe(), maps, mine)
    assert [p.name for p in mine.iterdir()] == ["thesis.txt"]
    with pytest.raises(InputError, match="is a file"):
        run_batch(recipe(), maps, mine / "thesis.txt")
    with pytest.raises(InputError, match="at least one map"):
        run_batch(recipe(), [], tmp_path / "out")


def test_options_that_contradict_each_other(maps, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError, match="not both"):
        run_batch(recipe(), maps, out, joint=True, spectra="s.csv")
    with pytest.raises(InputError, match="give one"):
        run_batch(recipe(), maps, out, n_jobs=2, scheduler="tcp://127.0.0.1:1")
    with (
        pytest.warns(SiftemWarning, match="workers is called n_jobs now"),
        pytest.raises(InputError, match="n_jobs must be at least 1, got 0"),
    ):
        run_batch(recipe(), maps, out, workers=0)
    assert not out.exists()


def test_what_a_killed_run_left_is_cleared_and_a_set_aside_run_is_put_back(tmp_path):
    place = BatchFolder(tmp_path / "out")
    place.make()
    (tmp_path / "out/maps/.m.0123abcd.old").mkdir()
    (tmp_path / "out/maps/.m.0123abcd.old/summary.json").write_text("earlier")
    (tmp_path / "out/maps/.m.0123abcd.draft").mkdir()
    (tmp_path / "out/maps/.m.2.0123abcd.draft").mkdir()  # of another map, "m.2"
    (place.checkpoints("m")).mkdir()
    (place.checkpoints("m") / ".decompose.ab12.part.npz").write_text("half")
    place.tidy("m")
    assert place.results("m").joinpath("summary.json").read_text() == "earlier"
    names = sorted(p.name for p in (tmp_path / "out/maps").iterdir())
    assert names == [".m.2.0123abcd.draft", "m"]
    assert not list(place.checkpoints("m").iterdir())


def test_maps_that_another_batch_works_on_come_last(maps, visits, tmp_path):
    out = tmp_path / "out"
    place = BatchFolder(out)
    place.make()
    lock = held(place.lock("a1"), wait=0)
    assert lock.__enter__()

    class Releasing(Watcher):
        order = ()

        def finished(self, outcome):
            self.order += (outcome.name,)
            if outcome.name == "a10":
                lock.__exit__(None, None, None)

    watcher = Releasing()
    run_batch(recipe(), maps, out, watcher=watcher)
    assert watcher.order == ("a2", "a10", "a1")
    assert visits() == ["a2", "a10", "a1"]


def test_only_batches_of_one_recipe_work_in_a_folder_at_once(maps, tmp_path):
    place = BatchFolder(tmp_path / "out")
    place.make()
    with taking_part(place, "first"), taking_part(place, "first"):
        other = taking_part(place, "second")
        with pytest.raises(SiftemError, match="another recipe is at work"):
            other.__enter__()
        with pytest.raises(SiftemError, match="another recipe is at work"):
            run_batch(recipe(), maps, place.root)
    with taking_part(place, "second"):
        pass
    # What a killed batch left does not count.
    (place.private / "running" / "third.0123abcd.lock").touch()
    with taking_part(place, "second"):
        assert [p.name.split(".")[0] for p in (place.private / "running").iterdir()] == ["second"]
