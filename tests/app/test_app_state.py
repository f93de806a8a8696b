"""The session, its traces and its jobs, without a browser."""

import queue
import threading
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from small_map import SMALL

pytest.importorskip("panel")

from siftem.app import overlays
from siftem.app.component_names import outstanding_elements
from siftem.app.jobs import JobRunner, error_sentence
from siftem.app.painting import PaintedTraces
from siftem.app.session import Session
from siftem.decomposition.factors import Factors
from siftem.energy_axis import EnergyAxis
from siftem.errors import Cancelled, InputError, ReadError, SiftemError
from siftem.pipeline.recipe import make_recipe, read_recipe
from siftem.pipeline.steps.segment import painted_masks
from siftem.pipeline.workflow import Workflow


@pytest.fixture(scope="module")
def decomposed():
    """One small map, decomposed; tests take copies of the session."""
    session = Session()
    session.open(SMALL)
    session.decompose(3)
    return session


@pytest.fixture
def session(decomposed):
    made = Session()
    made._workflow = Workflow(decomposed.recipe)
    made._workflow._results = dict(decomposed.workflow._results)
    made.traces = PaintedTraces((32, 32))
    return made


# Painting ---------------------------------------------------------------------------------


def test_places_to_paint_next_are_those_of_the_present_strokes(session, monkeypatch):
    monkeypatch.setattr(overlays, "unlike_painted", lambda _shares, _level, masks: masks)
    findings, name = overlays.MapFindings(session), session.result("match").factors.names[0]
    for y in range(4, 28, 4):
        session.paint(name, [(float(y), 4.0)], 3.0)
        assert findings.unlike_painted()[name][y, 4]
        session.undo()


def test_a_stroke_paints_the_pixels_that_the_recipe_paints():
    traces = PaintedTraces((20, 30))
    traces.paint("Fp", [(5.0, 4.0), (5.0, 12.0)], 3.0)
    expected = np.zeros((20, 30), bool)
    expected[4:7, 4:13] = True  # 1.5 pixels on each side of the line, whose ends are round
    expected[5, 3] = expected[5, 13] = True
    masks = traces.masks()
    np.testing.assert_array_equal(masks["Fp"][4:7, 4:13], True)
    assert not (masks["Fp"] & ~_grown(expected)).any()
    again = make_recipe(
        {
            "input": {"demo": {"shape": [32, 32]}},
            "segment": {
                "traces": {n: [s.model_dump() for s in v] for n, v in traces.for_recipe().items()}
            },
        }
    ).segment.traces
    np.testing.assert_array_equal(painted_masks(again, (20, 30), ["Fp"])["Fp"], masks["Fp"])


def _grown(mask):
    out = mask.copy()
    out[1:] |= mask[:-1]
    out[:-1] |= mask[1:]
    out[:, 1:] |= mask[:, :-1]
    out[:, :-1] |= mask[:, 1:]
    return out


def test_what_a_line_encloses_is_filled_and_undone_strokes_can_be_done_again():
    traces = PaintedTraces((20, 20))
    traces.fill("a", [(2, 2), (2, 8), (8, 8), (8, 2)])
    assert traces.masks()["a"][3:8, 3:8].all() and traces.pixels()["a"] <= 49
    traces.paint("b", [(15, 15)], 3)
    assert traces.undo() and traces.undo() and not traces.shapes
    assert traces.redo() and list(traces.shapes) == ["a"]
    assert traces.redo() and list(traces.shapes) == ["a", "b"] and not traces.redo()
    traces.undo()
    traces.paint("c", [(1, 1)], 1)  # another way: what was undone is gone
    assert not traces.redo()
    with pytest.raises(InputError, match="three points"):
        traces.fill("a", [(1, 1), (2, 2)])


def test_erasing_takes_pixels_from_all_phases_and_undo_gives_them_back():
    traces = PaintedTraces((20, 20))
    traces.paint("A", [(5, 2), (5, 17)], 1)
    traces.paint("B", [(2, 9), (17, 9)], 1)
    before = traces.masks()
    traces.erase([(5, 9)], 3)
    after = traces.masks()
    gone = before["A"] & ~after["A"]
    assert gone.sum() == 3
    assert (before["B"] & ~after["B"]).sum() == 3
    traces.erase([(5, 0), (5, 19)], 5)
    assert set(traces.masks()) == {"B"}  # nothing of A is left, so the recipe does not name it
    assert traces.undo() and traces.undo()
    for name, mask in before.items():
        np.testing.assert_array_equal(traces.masks()[name], mask)
    assert traces.undo() and traces.undo()
    assert not traces.undo()
    assert traces.for_recipe() is None


def test_runs_after_erasing_hold_the_very_pixels():
    rng = np.random.default_rng(3)
    traces = PaintedTraces((40, 50))
    for _ in range(12):
        line = [tuple(p) for p in rng.uniform((0, 0), (39, 49), (4, 2))]
        traces.paint("A", line, float(rng.uniform(1, 6)))
    before = traces.masks()["A"]
    eraser = PaintedTraces((40, 50))
    eraser.paint("x", [(3.0, 3.0), (30.0, 44.0)], 5)
    traces.erase([(3.0, 3.0), (30.0, 44.0)], 5)
    np.testing.assert_array_equal(traces.masks()["A"], before & ~eraser.masks()["x"])


@pytest.mark.parametrize("points", [[(-9.0, -9.0)], [], [(float("nan"), 1.0)]])
def test_a_stroke_that_paints_nothing_is_an_error_and_changes_nothing(points):
    traces = PaintedTraces((20, 20))
    with pytest.raises(InputError):
        traces.paint("A", points, 2)
    assert not traces.shapes and not traces.undo()


def test_traces_of_a_file_can_be_painted_on(tmp_path):
    from siftem.io.images import write_label_image

    labels = np.zeros((12, 15), np.uint8)
    labels[2, 3:7], labels[9, :] = 1, 2
    write_label_image(tmp_path / "labels.tif", labels)
    traces = PaintedTraces((12, 15), str(tmp_path / "labels.tif"), ["A", "B"])
    traces.paint("A", [(5, 5)], 1)
    expected = labels == 1
    expected[5, 5] = True
    np.testing.assert_array_equal(traces.masks()["A"], expected)
    np.testing.assert_array_equal(traces.masks()["B"], labels == 2)


# Session ----------------------------------------------------------------------------------


def test_nothing_can_be_done_before_a_map_is_open():
    session = Session()
    with pytest.raises(InputError, match="open a file or the demo"):
        session.decompose(3)


@pytest.mark.parametrize("name", ["nothing.hspy", "broken.hspy", "broken.yaml", "  "])
def test_a_wrong_file_is_one_sentence_and_the_map_stays(session, tmp_path, name):
    for ending in ("hspy", "yaml"):
        (tmp_path / f"broken.{ending}").write_text(": no: map: [")
    before = session.workflow
    with pytest.raises(SiftemError) as error:
        session.open(tmp_path / name if name.strip() else name)
    assert "\n" not in error_sentence(error.value)
    assert session.workflow is before


def test_names_follow_their_components(session):
    session.set_anchor("Fp", {"absent": ["Si"]})
    session.paint("Fp", [(5, 5)], 3)
    maps = dict(
        zip(
            session.result("match").factors.names, session.result("match").factors.maps, strict=True
        )
    )
    painted = session.traces.masks()["Fp"]
    new = [n if n != "Fp" else "ferropericlase" for n in session.result("match").factors.names]
    session.name_components(new, "Brg")
    recipe, factors = session.recipe, session.result("match").factors
    assert list(recipe.phases) == new
    assert recipe.phases["ferropericlase"].anchor[0].absent == ("Si",)
    assert recipe.phases["ferropericlase"].density == 4.1
    np.testing.assert_array_equal(factors.maps[new.index("ferropericlase")], maps["Fp"])
    np.testing.assert_array_equal(session.traces.masks()["ferropericlase"], painted)
    # It is a recipe that stands by itself.
    assert make_recipe(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize("names", [["A", "A", "B"], ["A", "", "B"]])
def test_bad_names_are_refused_and_the_recipe_stays(session, names):
    before = session.recipe
    with pytest.raises(InputError):
        session.name_components(names, "A")
    with pytest.raises(InputError, match="matrix"):
        session.name_components(["A", "B", "C"], "D")
    assert session.recipe is before


def test_a_component_is_not_said_to_hold_what_is_noise_beside_its_lines():
    axis = EnergyAxis(0.0, 0.01, 1000)
    energies, rng = {"O": 0.525, "Mg": 1.254, "Si": 1.740, "Ni": 7.472}, np.random.default_rng(0)
    peaks = {e: np.exp(-(((axis.centers - at) / 0.045) ** 2)) for e, at in energies.items()}
    held = ({"O": 1.0, "Si": 0.5}, {"O": 1.0, "Mg": 0.5, "Si": 0.1}, {"Ni": 1.0})
    true = np.array([sum(v * peaks[e] for e, v in one.items()) + 0.01 for one in held])
    counts = rng.poisson(1e4 * true).astype(float)
    spectra = counts / counts.sum(axis=1, keepdims=True)
    factors = Factors(np.ones((3, 2, 2)), spectra, axis, ("A", "E", "G"), 0.0, 1, True)
    found = outstanding_elements(factors, tuple(energies), 200.0, 130.0)
    assert found == ("O Si", "O Mg Si", "Ni")


def test_another_number_of_components_forgets_phases_that_do_not_fit(session):
    session.paint("Fp", [(5, 5)], 3)
    session.decompose(2)
    assert list(session.recipe.phases) == ["A", "E"]
    assert session.recipe.matrix in ("A", "E")
    assert session.recipe.segment.traces is None
    assert not session.traces.shapes


def test_painting_needs_two_classes_and_a_known_phase(session):
    with pytest.raises(InputError, match="no phase"):
        session.paint("gold", [(3, 3)], 2)
    session.paint("Fp", [(5, 5), (8, 8)], 3)
    with pytest.raises(InputError, match=r"Fp only|no pixel of Ca-Pv"):
        session.workflow.run("segment")
    session.clear_traces()
    assert session.recipe.segment.traces is None
    assert session.undo()
    assert set(session.recipe.segment.traces) == {"Fp"}


def test_two_sessions_share_nothing(session):
    other = Session()
    other.open(SMALL)
    session.paint("Fp", [(5, 5)], 3)
    session.set_smoothness(4.0, 2)
    assert other.recipe.segment.traces is None
    assert other.recipe.segment.smoothness == 1.0
    assert other.workflow.get("match") is None
    assert not other.traces.shapes


def test_the_recipe_on_paper_gives_the_same_regions(session, tmp_path):
    for name, at in {"Brg": (2, 25), "Fp": (14, 20), "Ca-Pv": (15, 8)}.items():
        session.paint(name, [at], 5)
    session.set_smoothness(0.7, 1)
    regions = session.workflow.run("regions").regions
    path = tmp_path / "recipe.yaml"
    path.write_text(session.recipe.to_yaml())
    read = Workflow(read_recipe(path))
    read._results = {s: session.workflow._results[s] for s in ("prepare", "decompose", "match")}
    assert read.done("match")  # on paper, too: these steps need not be done again
    again = read.run("regions").regions
    assert again.pixel_counts() == regions.pixel_counts()
    for name in regions.names:
        np.testing.assert_array_equal(again.masks[name], regions.masks[name])


def test_elements_that_the_components_show_are_offered_beside_those_of_the_file(
    session, monkeypatch
):
    session.workflow.change(elements=[], support=["Cu"])
    session.workflow.run("prepare")
    in_file = session.spectrum_image.acquisition.elements
    assert session.elements() == tuple(dict.fromkeys((*in_file, "Cu")))
    matched = SimpleNamespace(elements=(*in_file, "Zr"))
    get = session.workflow.get
    monkeypatch.setattr(
        session.workflow, "get", lambda step: matched if step == "match" else get(step)
    )
    assert "Zr" in session.elements()
    session.workflow.change(elements=["Mg"])
    assert session.elements() == ("Mg", "Cu")  # what is listed stays as it is


# Jobs -------------------------------------------------------------------------------------


def runner():
    states = []
    jobs = JobRunner(lambda action: action(), states.append)
    return jobs, states


def test_a_job_runs_in_a_thread_tells_its_progress_and_gives_its_result():
    jobs, states = runner()
    seen = []

    def work(progress):
        progress("decompose", 0.25)
        return threading.current_thread()

    jobs.start("Decompose", work, seen.append)
    jobs.wait(10)
    assert seen[0] is not threading.main_thread()
    assert any(s.running and s.fraction == 0.25 and s.step == "decomposing" for s in states)
    assert states[-1].message == "Decompose: done." and not states[-1].running


def test_edges_that_stay_keep_their_windows(session):
    session.workflow.change(quantify={"edges": [{"edge": "O_K", "signal": [535, 560]}]})
    session.set_edges(["Mn_L3", "O_K"])
    first, second = session.recipe.quantify.edges
    assert (first.edge, first.signal) == ("Mn_L3", None)
    assert (second.edge, second.signal) == ("O_K", (535, 560))


def test_a_job_tells_that_it_waits_for_a_compiler():
    jobs, states = runner()
    kernel = numba.njit(lambda x: x + 1)

    def work(progress):
        progress("load", 0.25)
        return kernel(1)

    jobs.start("Open file", work)
    jobs.wait(240)
    told = [(s.step, s.fraction) for s in states if s.running and s.step]
    assert [step.split(",")[0] for step, _ in told] == ["reading the map", "compiling", told[0][0]]
    assert told[2] == told[0]


def test_one_job_at_a_time_and_cancel_stops_at_the_next_progress():
    jobs, states = runner()
    begun, seen = threading.Event(), []

    def work(progress):
        begun.set()
        while True:
            progress("decompose", 0.5)

    jobs.start("Decompose", work, seen.append)
    assert begun.wait(10)
    with pytest.raises(InputError, match="still running"):
        jobs.start("Train", work)
    jobs.cancel()
    jobs.wait(10)
    assert states[-1].failed and "Cancelled" in states[-1].message
    assert not seen and not jobs.busy
    jobs.start("Again", lambda progress: progress("load", 0.0), seen.append)
    jobs.wait(10)
    assert seen == [None]


def test_what_is_told_while_a_job_runs_stays_until_its_end():
    jobs, states = runner()
    told, gate = threading.Event(), threading.Event()

    def work(progress):
        assert told.wait(10)
        progress("decompose", 0.5)
        assert gate.wait(10)

    jobs.start("Decompose", work)
    jobs.tell("Elements: Mg.")
    told.set()
    for _ in range(1000):
        if states[-1].fraction:
            break
        gate.wait(0.01)
    shown = states[-1]
    gate.set()
    jobs.wait(10)
    assert (shown.running, shown.fraction, shown.message) == (True, 0.5, "Elements: Mg.")
    assert states[-1].message == "Decompose: done."


def test_what_can_wait_begins_when_the_result_is_shown():
    pushed, done = queue.Queue(), []
    jobs = JobRunner(pushed.put, lambda _state: None)
    jobs.latest(lambda _progress: "labels", done.append, (lambda _progress: len(done), done.append))
    pushed.get(timeout=10)()
    pushed.get(timeout=10)()
    assert done == ["labels", 1]


def test_of_quick_work_the_last_wins():
    jobs, _ = runner()
    gate, done, made = threading.Event(), [], []

    def work(n):
        def run(_progress):
            made.append(n)
            gate.wait(10)
            return n

        return run

    for n in range(20):
        jobs.latest(work(n), done.append)
    gate.set()
    jobs.wait(10)
    assert done[-1] == 19
    assert len(made) <= 2


def test_quick_work_gives_way_to_newer_work_at_its_next_progress():
    jobs, _ = runner()
    begun, gate, done, ended = threading.Event(), threading.Event(), [], []

    def slow(progress):
        begun.set()
        gate.wait(10)
        progress("segment", 0.5)
        ended.append("slow")
        return "slow"

    jobs.latest(slow, done.append)
    assert begun.wait(10)
    jobs.latest(lambda _progress: "new", done.append)
    gate.set()
    jobs.wait(10)
    assert done == ["new"] and not ended


def test_what_can_wait_comes_after_the_result_or_the_error_and_not_before_newer_work():
    jobs, _ = runner()
    done, begun, gate = [], threading.Event(), threading.Event()

    def fails(_progress):
        raise InputError("no")

    for first in (lambda _progress: "labels", fails):
        jobs.latest(first, done.append, (lambda _progress: "tables", done.append))
        jobs.wait(10)
    assert done == ["labels", "tables", "tables"]

    def waits(_progress):
        begun.set()
        gate.wait(10)
        return "labels"

    jobs.latest(waits, done.append, (lambda _progress: "old", done.append))
    assert begun.wait(10)
    jobs.latest(lambda _progress: "new", done.append)
    gate.set()
    jobs.wait(10)
    assert done[3:] == ["labels", "new"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InputError("name the elements (--elements)"), "Name the elements."),
        (ReadError("cannot read x: no such file"), "Cannot read x: no such file."),
        (Cancelled(), "Cancelled; what was done before stays."),
        (MemoryError(), "Out of memory: crop the map or its energy range."),
        (KeyError("k\nl"), "Unexpected KeyError: 'k\\nl' (please report this)."),
    ],
)
def test_an_error_is_one_sentence(error, said):
    assert error_sentence(error) == said


def test_an_error_in_a_job_reaches_the_status_line():
    jobs, states = runner()

    def work(_progress):
        raise InputError("paint some pixels of each phase")

    jobs.start("Train", work)
    jobs.wait(10)
    assert states[-1].failed
    assert states[-1].message == "Paint some pixels of each phase."
