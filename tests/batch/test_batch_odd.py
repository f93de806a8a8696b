"""What could make a batch plausible and wrong, or stop it for one odd map."""

import json
import os
import shutil
from pathlib import Path

import pytest
from made_up_batch import recipe

import siftem.batch.folder as locks
import siftem.batch.map_job as map_job
import siftem.large.batch_workers as batch_workers
from siftem.batch.folder import BatchFolder, Watcher
from siftem.batch.joint import JointJob, find_shared_spectra
from siftem.batch.run import MapFile, map_recipe, named_maps, run_batch
from siftem.errors import ReadError, SiftemError
from siftem.pipeline.recipe import read_recipe
from siftem.progress import silent


def rows(out):
    lines = (out / "results.csv").read_text().splitlines()[1:]
    return [line.split(",") for line in lines]


def named(out):
    return sorted({row[0] for row in rows(out)})


def statuses(result):
    return {o.name: o.status for o in result.outcomes}


#: A record that is whole but for the type of its map's name.
NO_NAME = json.dumps(
    {"schema": 1, "map": 5, "file": "a", "batch": "b", "key": "", "status": "failed",
     "error": "", "files": {}}
)  # fmt: skip


@pytest.fixture
def classifier(tmp_path):
    folder = tmp_path / "project" / "clf"
    folder.mkdir(parents=True)
    (folder / "Fp.npz").write_text("one")
    return folder


@pytest.mark.usefixtures("stand_ins")
class TestWhatCountsAsTheSame:
    def test_maps_of_another_classifier_are_not_in_the_table(self, maps, classifier, tmp_path):
        out = tmp_path / "out"
        with_it = recipe(segment={"classifier": str(classifier)})
        run_batch(with_it, maps[:2], out)
        assert named(out) == ["a1", "a2"]
        (classifier / "Fp.npz").write_text("another one")
        run_batch(with_it, maps[:1], out)
        assert named(out) == ["a1"]
        assert "another recipe: a2" in json.loads((out / "summary.json").read_text())["warnings"][0]

    def test_nor_are_those_of_other_code(self, maps, tmp_path, monkeypatch):
        out = tmp_path / "out"
        run_batch(recipe(), maps[:2], out)
        monkeypatch.setattr(map_job, "code_state", lambda: "another")
        run_batch(recipe(), maps[:1], out)
        assert named(out) == ["a1"]

    def test_a_classifier_may_move(self, maps, classifier, visits, tmp_path):
        out = tmp_path / "out"
        run_batch(recipe(segment={"classifier": str(classifier)}), maps, out)
        visits()
        moved = tmp_path / "moved"
        shutil.move(classifier.parent, moved)
        again = run_batch(recipe(segment={"classifier": str(moved / "clf")}), maps, out)
        assert set(statuses(again).values()) == {"kept"}
        assert visits() == []

    def test_files_of_others_beside_a_run_do_not_matter(self, maps, tmp_path):
        out = tmp_path / "out"
        run_batch(recipe(), maps, out)
        notes = out / "maps/a1/my_notes.txt"
        notes.write_text("look at the left grain")
        for _ in range(2):
            assert statuses(run_batch(recipe(), maps, out))["a1"] == "kept"
        assert notes.exists()
        notes.unlink()
        assert statuses(run_batch(recipe(), maps, out))["a1"] == "kept"


@pytest.mark.usefixtures("stand_ins")
def test_a_map_that_changes_during_the_work_is_told_and_done_again(maps, visits, tmp_path):
    out = tmp_path / "out"

    class Recording(Watcher):
        def step(self, name, step, fraction):
            if name == "a2" and step == "decompose" and fraction == 0.4:
                maps[1].write_text("11.25 and more")

    result = run_batch(recipe(), maps, out, watcher=Recording())
    assert statuses(result) == {"a1": "done", "a2": "failed", "a10": "done"}
    assert "changed during the work on it" in result.failed[0].error
    assert not (out / "maps/a2").exists()
    visits()
    maps[1].write_text("11.5")
    assert statuses(run_batch(recipe(), maps, out)) == {"a1": "kept", "a2": "done", "a10": "kept"}
    assert visits() == ["a2"]


@pytest.mark.usefixtures("stand_ins")
def test_a_map_whose_workers_died_is_left_to_the_batch_that_works_on_it(
    maps, tmp_path, monkeypatch
):
    def all_die(function, jobs, *, finished, **options):
        for name in jobs:
            finished(name, None, "several workers died at this map")

    monkeypatch.setattr(batch_workers, "run_jobs", all_die)
    folder = BatchFolder(tmp_path / "out")
    folder.make()
    with locks.held(folder.lock("a1"), wait=0):
        result = run_batch(recipe(), maps, folder.root, n_jobs=2)
    assert statuses(result) == dict.fromkeys(("a1", "a2", "a10"), "failed")
    assert [record.map for record in folder.records()] == ["a2", "a10"]


@pytest.mark.usefixtures("stand_ins")
class TestNames:
    def test_batches_that_begin_at_once_see_each_others_names(self, tmp_path, monkeypatch):
        files = []
        for folder, number in (("x", "10.0"), ("y", "77.0")):
            (tmp_path / folder).mkdir()
            files.append(tmp_path / folder / "a.txt")
            files[-1].write_text(number)
        out = tmp_path / "out"
        # The second one begins while the first works.
        real, begun = map_job.make_recipe, []

        def second_meanwhile(data):
            if not begun:
                begun.append(True)
                run_batch(recipe(), files[1:], out)
            return real(data)

        monkeypatch.setattr(map_job, "make_recipe", second_meanwhile)
        run_batch(recipe(), files[:1], out)
        found = {row[1]: row[0] for row in rows(out)}
        assert set(found) == {str(f) for f in files}
        assert len(set(found.values())) == 2

    def test_one_file_in_several_spellings_counts_once(self, maps, tmp_path):
        (tmp_path / "link").symlink_to(maps[0].parent)
        (tmp_path / "maps/sub").mkdir()
        spelled = [maps[0], tmp_path / "maps/sub/../a1.txt", tmp_path / "link/a1.txt"]
        result = run_batch(recipe(), spelled, tmp_path / "out")
        assert statuses(result) == {"a1": "done"}
        assert str(maps[0]) in (tmp_path / "out/results.csv").read_text()

    def test_a_mistyped_name_is_told_once(self, maps, tmp_path):
        out = tmp_path / "out"
        run_batch(recipe(), [maps[0], tmp_path / "maps/aa.txt"], out)
        assert named(out) == ["a1", "aa"]
        run_batch(recipe(), maps[:1], out)
        assert named(out) == ["a1"]

    def test_long_names_are_cut(self, maps, tmp_path):
        long = [tmp_path / f"{letter * 120}.txt" for letter in ("ä", "ö")]
        for path in long:
            path.write_text("3.0")
        result = run_batch(recipe(), [*long, maps[0]], tmp_path / "out")
        assert set(statuses(result).values()) == {"done"}
        assert len(result.outcomes) == 3

    def test_names_that_are_no_text_and_folders_fail_alone(self, maps, tmp_path):
        odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xfcll.txt"))
        try:
            odd.write_text("3.0")
        except OSError:
            pytest.skip("the file system takes UTF-8 only")
        result = run_batch(recipe(), [odd, maps[0], tmp_path / "maps"], tmp_path / "out")
        assert sorted(statuses(result).values()) == ["done", "failed", "failed"]
        assert "UTF-8" in result.failed[0].error
        assert "is a folder" in result.failed[1].error
        assert len(rows(tmp_path / "out")) > 2

    def test_large_counts_are_not_rounded(self, maps, tmp_path):
        from siftem.batch.outputs import Row, write_csv_table

        numbers = [1048577.0, 105234567.0, 1.23456789]
        write_csv_table(tmp_path / "t.csv", [Row("a", "f", "done", value=v) for v in numbers])
        text = (tmp_path / "t.csv").read_text()
        assert all(written in text for written in ("1048577,", "105234567,", "1.23457,"))


@pytest.mark.usefixtures("stand_ins")
class TestDamage:
    def test_drafts_of_a_killed_batch_are_no_records(self, maps, tmp_path):
        out = tmp_path / "out"
        run_batch(recipe(), maps, out)
        record = json.loads((out / ".siftem/records/a1.json").read_text())
        draft = out / ".siftem/records/.a1.2ea98db7.part.json"
        draft.write_text(json.dumps(record | {"status": "failed", "error": "old"}))
        (out / ".results.2ea98db7.part.csv").write_text("half")
        run_batch(recipe(), maps, out)
        assert "failed" not in {row[2] for row in rows(out)}
        assert not (out / ".results.2ea98db7.part.csv").exists()
        maps[0].write_text("12.5")
        run_batch(recipe(), maps, out)
        assert not draft.exists()

    @pytest.mark.parametrize("text", ["null", "1", NO_NAME])
    def test_damaged_records_are_none(self, text, maps, tmp_path):
        out = tmp_path / "out"
        run_batch(recipe(), maps, out)
        (out / ".siftem/records/a2.json").write_text(text)
        run_batch(recipe(), maps[:1], out)
        assert named(out) == ["a1", "a10"]

    def test_damaged_results_of_an_earlier_call_are_told(self, maps, tmp_path):
        out = tmp_path / "out"
        run_batch(recipe(), maps, out)
        summary = json.loads((out / "maps/a2/summary.json").read_text())
        del summary["regions"]
        (out / "maps/a2/summary.json").write_text(json.dumps(summary))
        (out / "maps/a10/figure1.png").write_text("")
        run_batch(recipe(), maps[:1], out)
        found = json.loads((out / "summary.json").read_text())["maps"]
        assert "removed or damaged" in found["a2"]["error"]
        assert found["a10"]["status"] == "done"

    def test_a_file_system_without_locks_is_refused(self, maps, tmp_path, monkeypatch):
        fcntl = pytest.importorskip("fcntl")

        def unknown(*args):
            raise OSError(38, "Function not implemented")

        monkeypatch.setattr(fcntl, "flock", unknown)
        with (
            pytest.raises(SiftemError, match="knows no file locks"),
            locks.held(tmp_path / "a.lock", wait=0),
        ):
            pass


def joint_job(real_maps, tmp_path, chosen=slice(0, 2)):
    recipe_file, files = real_maps
    base = read_recipe(recipe_file, for_many=True)
    folder = BatchFolder(tmp_path / "out")
    folder.make()
    maps = named_maps(files[chosen], folder)
    recipes = {m.name: map_recipe(base, m).model_dump(mode="json") for m in maps}
    return JointJob(recipes, str(folder.root))


class TestJoint:
    @pytest.mark.usefixtures("no_pictures")
    @pytest.mark.slow
    def test_maps_with_more_channels_than_all_have_are_done_too(self, real_maps, tmp_path):
        import hyperspy.api as hs

        recipe_file, files = real_maps
        short = hs.load(files[0]).isig[:900]
        short.save(tmp_path / "short.hspy")
        result = run_batch(
            read_recipe(recipe_file, for_many=True),
            [files[1], tmp_path / "short.hspy"],
            tmp_path / "out",
            joint=True,
        )
        assert statuses(result) == {"map2": "done", "short": "done"}, result.failed
        kept = statuses(
            run_batch(
                read_recipe(recipe_file, for_many=True),
                [files[1], tmp_path / "short.hspy"],
                tmp_path / "out",
                joint=True,
            )
        )
        assert kept == {"map2": "kept", "short": "kept"}

    def test_a_failure_is_tried_again_and_stops_no_other(self, real_maps, tmp_path, monkeypatch):
        from siftem.batch import joint

        job = joint_job(real_maps, tmp_path)
        real = joint._prepared

        def failing(error):
            def prepared(job, name, *rest):
                if name == "map2":
                    raise error
                return real(job, name, *rest)

            return prepared

        monkeypatch.setattr(joint, "_prepared", failing(MemoryError()))
        assert "out of memory" in find_shared_spectra(job, silent).failed["map2"]
        monkeypatch.setattr(joint, "_prepared", failing(ReadError("gone for a moment")))
        first = find_shared_spectra(job, silent)
        assert first.failed == {"map2": "gone for a moment"}
        # The same failure again: nothing is factorised anew.
        monkeypatch.setattr(joint, "decomposed", None)
        assert find_shared_spectra(job, silent) == first
        monkeypatch.undo()
        mended = find_shared_spectra(job, silent)
        assert not mended.failed
        assert mended.content != first.content


def test_the_name_of_a_map_says_where_it_is(tmp_path):
    folder = BatchFolder(tmp_path / "out")
    folder.make()
    file = tmp_path / "a.txt"
    file.write_text("1")
    assert named_maps([file], folder) == (MapFile("a", file),)
    folder.keep_names({"a": file})
    other = tmp_path / "b" / "a.txt"
    other.parent.mkdir()
    other.write_text("2")
    assert named_maps([other], folder)[0].name.startswith("a-")
    file.unlink()
    assert named_maps([other], folder)[0].name == "a"


@pytest.mark.usefixtures("stand_ins")
def test_one_callback_sees_the_share_of_all_maps(maps, tmp_path):
    told = []
    run_batch(recipe(), maps, tmp_path / "out", progress=lambda *now: told.append(now))
    ends = [now for now in told if ":" not in now[0]]
    assert ends == [("a1", 1 / 3), ("a2", 2 / 3), ("a10", 1.0)]
    assert [share for _, share in told] == sorted(share for _, share in told)
