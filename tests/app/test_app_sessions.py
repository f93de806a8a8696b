"""Sessions that are kept on disk: gone on with, shared by nobody, told when they fail."""

import datetime as dt
import json
import os
import shutil

import numpy as np
import pytest
from small_map import SMALL

pytest.importorskip("panel")

from siftem.app.files import RecentFiles
from siftem.app.page import Page
from siftem.app.saved_sessions import SavedSession, SavedSessions
from siftem.app.session import Session
from siftem.errors import Cancelled, SiftemError
from siftem.pipeline.recipe import make_recipe


@pytest.fixture
def sessions(tmp_path):
    return SavedSessions(tmp_path / "kept")


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """A session with strokes and regions; tests take copies."""
    session = Session(SavedSessions(tmp_path_factory.mktemp("by_hand") / "kept"))
    session.open(SMALL)
    session.decompose(3)
    for name, at in {"Brg": (2, 25), "Fp": (14, 20), "Ca-Pv": (15, 8)}.items():
        session.paint(name, [at], 5)
    session.workflow.run("regions")
    return session


@pytest.fixture
def worked(by_hand):
    """A function that leaves a session as a killed server does: it is not closed."""

    def left(sessions):
        session = Session(sessions)
        workflow, keeper = session._kept(by_hand.recipe)
        workflow._results = dict(by_hand.workflow._results)
        session._put(workflow, keeper)
        session.shown, session._touched = 2, True
        session.keep()
        keeper.wait()
        for path in by_hand._keeper.folder.glob("*.npz"):
            shutil.copy(path, keeper.folder)
        return session

    return left


def test_uploads_that_no_session_needs_go_a_day_after_they_were_opened(sessions, monkeypatch):
    folder = sessions.folder / "uploads"
    folder.mkdir(parents=True)
    old, new, needed, again = (folder / f"{name}.hspy" for name in ("old", "new", "need", "again"))
    for path in (old, new, needed, again):
        path.write_bytes(bytes(60_000))
    for path in (old, needed, again):
        os.utime(path, (1e9, 1e9))
    RecentFiles(sessions.folder).add(again)
    recipe = make_recipe({"input": {"file": str(needed)}})
    kept = SavedSession(folder, dt.datetime.now(dt.UTC), "", "", "match", 0, recipe)
    monkeypatch.setattr(sessions, "found", lambda: [kept])
    assert sessions.remove_uploads() == (
        "A copy of old.hspy (0.1 MB), sent from the browser, went from the disk: no session needs "
        "it any more."
    )
    assert sorted(folder.iterdir()) == sorted((new, needed, again))
    assert sessions.remove_uploads() == ""


def test_a_session_is_gone_on_with_where_it_was_left(sessions, monkeypatch, worked):
    before = worked(sessions)
    (saved,) = sessions.found()
    assert saved.title == "the demo, 32 × 32 pixels"
    assert saved.about == "Brg, Fp, Ca-Pv; painted; regions cut"
    assert saved.age() == "a moment ago"

    def fitted_again(*_args, **_options):
        raise AssertionError("the decomposition was made again")

    monkeypatch.setattr("siftem.pipeline.steps.decompose.decomposed", fitted_again)
    after = Session(sessions)
    after.go_on(saved)
    assert after.recipe == before.recipe
    assert after.shown == 2
    for name, mask in before.traces.masks().items():
        np.testing.assert_array_equal(after.traces.masks()[name], mask)
    found = after.workflow.get("regions").regions
    for name, mask in before.workflow.get("regions").regions.masks.items():
        np.testing.assert_array_equal(found.masks[name], mask)
    after._keeper.wait()
    assert len(sessions.found()) == 1


def test_components_that_were_named_are_there_again_without_another_word(sessions, worked):
    session = worked(sessions)
    names = session.result("match").factors.names
    for change in (
        lambda: session.name_components(("glass", *names[1:]), "glass"),
        lambda: session.set_lies({names[1]: "pure"}),
    ):
        change()  # nothing follows: the server is killed
        session._keeper.wait()
        (saved,) = sessions.found()
        assert saved.until == "match" and "glass" in saved.recipe.phases


def test_components_and_regions_stay_when_the_first_anchor_of_a_phase_is_given(sessions, worked):
    session = worked(sessions)
    grain = session.result("match").grains[0]
    for anchor in ({}, {"absent": ["Si"]}):
        session.set_anchor(grain, anchor)
        assert bool(session.recipe.phases[grain].anchor) == bool(anchor)
        assert session.result("match").grains and session.result("regions").regions.names
        session._keeper.wait()
        assert sessions.found()[0].until == "regions"


def test_each_stroke_is_kept_at_once(sessions, worked):
    session = worked(sessions)
    session.paint("Fp", [(20, 20)], 3)
    session._keeper.wait()
    (saved,) = sessions.found()
    assert len(saved.recipe.segment.traces["Fp"]) == 2


def test_a_map_that_was_only_looked_at_is_not_kept(sessions):
    session = Session(sessions)
    session.open(SMALL)
    session.keep()
    session._keeper.wait()
    session.close()
    assert sessions.found() == []


def test_who_goes_on_owns_the_session_and_the_other_loses_nothing(sessions, worked):
    first = worked(sessions)
    second = Session(sessions)
    second.go_on(sessions.found()[0])
    second.set_smoothness(7.0, 1)
    second._keeper.wait()
    first.set_smoothness(3.0, 1)
    first._keeper.wait()
    kept = {s.recipe.segment.smoothness: s for s in sessions.found()}
    assert set(kept) == {7.0, 3.0}
    assert (kept[3.0].folder / "decompose.npz").is_file()
    second.set_smoothness(8.0, 1)
    second._keeper.wait()
    assert {s.recipe.segment.smoothness for s in sessions.found()} == {8.0, 3.0}


def state(**changes):
    now = dt.datetime.now(dt.UTC).isoformat()
    recipe = SMALL.model_dump(mode="json", exclude_none=True)
    known = {
        "format": "siftem session", "version": 1, "saved": now, "title": "t", "about": "a",
        "until": "match", "shown": 1, "recipe": recipe,
    }  # fmt: skip
    return {**known, **changes}


def put(sessions, name, data):
    folder = sessions.folder / name
    folder.mkdir(parents=True)
    (folder / "session.json").write_text(data if isinstance(data, str) else json.dumps(data))
    return folder


def test_damaged_and_foreign_files_are_no_sessions(sessions):
    put(sessions, "good", state())
    put(sessions, "half", json.dumps(state())[:200])
    put(sessions, "later", state(version=2))
    put(sessions, "step", state(until="__import__('os')"))
    put(sessions, "recipe", state(recipe={"input": {}}))
    put(sessions, "time", state(saved="yesterday"))
    put(sessions, "list", "[]")
    (sessions.folder / "empty").mkdir()
    assert [s.folder.name for s in sessions.found()] == ["good"]


def test_old_names_of_keys_in_what_was_kept_are_not_told(sessions):
    recipe = state()["recipe"]
    recipe["decompose"] = {"seed": 3, "tolerance": 1e-3}
    put(sessions, "older", state(recipe=recipe))
    (saved,) = sessions.found()  # a warning would be an error here
    assert (saved.recipe.decompose.random_state, saved.recipe.decompose.tol) == (3, 1e-3)


def test_ages_are_in_words_and_the_oldest_go(sessions):
    now = dt.datetime.now(dt.UTC)
    for n in range(12):
        saved = now - dt.timedelta(minutes=(10, 90, 60 * 50)[n % 3] + 200 * n)
        put(sessions, f"s{n:02d}", state(saved=saved.isoformat(), title=f"map {n}"))
    found = sessions.found()
    assert found[0].title == "map 0"
    assert found[0].age() == "10 minutes ago"
    assert any(s.age() == "2 days ago" for s in found)
    sessions.prune()
    left = sessions.found()
    assert [s.title for s in left] == [s.title for s in found[:10]]
    sessions.forget(left[0])
    assert not left[0].folder.exists()


def test_a_map_that_is_gone_is_told_and_what_is_open_stays(sessions, tmp_path, worked):
    gone = make_recipe({"input": {"file": str(tmp_path / "gone.hspy")}})
    put(sessions, "s", state(recipe=gone.model_dump(mode="json", exclude_none=True)))
    session = worked(sessions)
    before = session.recipe
    lost = next(s for s in sessions.found() if s.folder.name == "s")
    with pytest.raises(SiftemError, match=r"gone\.hspy"):
        session.go_on(lost)
    assert session.recipe is before


def test_a_folder_that_cannot_be_written_is_told_and_work_goes_on(tmp_path):
    (tmp_path / "file").write_text("")
    said = []
    session = Session(SavedSessions(tmp_path / "file" / "sessions"))
    session.on_trouble = said.append
    session.open(SMALL)
    session.decompose(3)
    session._keeper.wait()
    assert session.workflow.done("match")
    assert said and all("not kept" in text for text in said)


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_nobody_else_reads_what_is_kept(sessions, worked):
    worked(sessions)
    (saved,) = sessions.found()
    assert saved.folder.stat().st_mode & 0o077 == 0


def test_the_page_offers_earlier_work_and_opens_it_at_its_step(tmp_path, monkeypatch, worked):
    monkeypatch.setenv("SIFTEM_SESSIONS", str(tmp_path / "kept"))
    worked(SavedSessions())
    page = Page()
    data = page.views[0]
    _heading, rows = data.earlier
    go_on, _forget, about = rows[0]
    assert go_on.name == "Go on with the demo, 32 × 32 pixels, a moment ago"
    assert "regions cut" in about.object
    # The size of the window comes a moment later: the button under the mouse stays.
    page.resized(1500, 900)
    assert data.earlier[1][0][0] is go_on
    go_on.clicks += 1
    page.jobs.wait(240)
    assert page.active == 2
    assert page.session.workflow.done("regions")
    page.close()
    other = Page()
    _heading, rows = other.views[0].earlier
    rows[0][1].clicks += 1
    assert SavedSessions().found() == []
    assert len(other.views[0].earlier[-1]) == 0


def test_opening_ends_with_the_page(sessions, worked):
    worked(sessions)
    session = Session(sessions)
    session.close()
    with pytest.raises(Cancelled):
        session.go_on(sessions.found()[0])
