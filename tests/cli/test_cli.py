"""The command line as its users meet it: messages, exit codes, folders."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import hyperspy.api as hs
import numpy as np
import pytest
import yaml

import siftem
from siftem.cli.main import main
from siftem.pipeline.summary import summary_text
from siftem.simulate.phantom import simulate_demo

CHANNELS = 1100


@pytest.fixture(scope="module")
def small_map(tmp_path_factory):
    """A small simulated map as a HyperSpy file."""
    return save(simulate_demo((40, 40), channels=CHANNELS, dose=400, random_state=1).spectrum_image,
                tmp_path_factory.mktemp("map") / "map.hspy")  # fmt: skip


def save(si, path):
    from siftem import to_hyperspy

    signal = to_hyperspy(si)
    signal.compute(progressbar=False)
    signal.save(path)
    return path


def save_dense(data, path, signal_type="EDS_TEM", scale=0.01, offset=-0.47):
    signal = hs.signals.Signal1D(data)
    signal.set_signal_type(signal_type)
    axis = signal.axes_manager.signal_axes[0]
    axis.scale, axis.offset, axis.units = scale, offset, "keV"
    signal.metadata.set_item("Acquisition_instrument.TEM.beam_energy", 200.0)
    signal.save(path)
    return path


def recipe_file(tmp_path, source, **changes):
    data = {
        "input": {"file": str(source)},
        "elements": ["O", "Mg", "Al", "Si", "Ca", "Fe"],
        "support": ["Cu"],
        "matrix": "Brg",
        "phases": {
            "Brg": {"high": ["Si", "Al"]},
            "Fp": {"high": ["Mg", "Fe"], "absent": ["Si"], "anchor": {"absent": ["Si"]}},
            "Ca-Pv": {"high": ["Ca"], "anchor": {"absent": ["Mg"]}},
        },
        # How well grains are found is not looked at here.
        "segment": {"trees": 20},
    }
    for key, value in changes.items():
        if isinstance(value, dict) and key in data:
            data[key] = {**data[key], **value}
        else:
            data[key] = value
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def fails(capsys, arguments, *words, code=1, out=None):
    assert main([str(a) for a in arguments]) == code
    captured = capsys.readouterr()
    text = captured.err.strip()
    assert text.count("\n") == 0, text
    for word in words:
        assert word in text, text
    if out is not None:
        assert not out.exists()
        assert not list(out.parent.glob(f".{out.name}*"))


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture(scope="module")
def finished(small_map, tmp_path_factory):
    """A folder with a whole run, and what was said of it; tests work on copies."""
    folder = tmp_path_factory.mktemp("finished")
    recipe = recipe_file(folder, small_map)
    said, opened = io.StringIO(), []
    with contextlib.redirect_stdout(said), pytest.MonkeyPatch.context() as patch:
        patch.setattr("webbrowser.open", opened.append)
        assert main(["run", str(recipe), "--out", str(folder / "out")]) == 0
    assert opened == []
    return folder / "out", said.getvalue()


@pytest.mark.usefixtures("no_pictures", "fitted_anew")
def test_a_run_writes_all_that_is_promised_and_runs_again_to_the_same_numbers(
    finished, out, capsys, monkeypatch
):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    shutil.copytree(finished[0], out)
    shown = finished[1]
    recipe = finished[0].parent / "recipe.yaml"
    assert "report:" in shown
    assert " s, " in shown
    assert "MB at the most" in shown
    names = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert names >= {
        "report.html", "figure1.png", "figure2.png", "summary.json", "recipe.yaml",
        "resources.json", "maps.hspy", "regions.tif", "phase_map.tif", "figure_phases.png",
        "spectra/Brg.msa", "spectra/Fp.msa", "spectra/Ca-Pv.msa", "spectra/Fp_unmixed.msa",
        "unmixed.hspy", "figure3.png", "keys.json", "classifier/Fp.npz", "results.npz",
    }  # fmt: skip
    before = (out / "summary.json").read_bytes()
    # The same recipe again: what is there is taken, and tells the same.
    when = (out / "results.npz").stat().st_mtime_ns
    assert main(["run", str(recipe), "--out", str(out), "--open"]) == 0
    assert opened == [(out / "report.html").as_uri()]
    again = capsys.readouterr().out
    assert again.startswith("nothing has changed")
    assert again.splitlines()[1:-1] == shown.splitlines()[:-1]
    assert (out / "results.npz").stat().st_mtime_ns == when
    assert summary_text(siftem.open_run(out)).encode() == before
    (out / "maps.hspy").write_bytes(b"of an earlier run")
    # Into the same folder: the earlier run is replaced.
    arguments = ["run", str(out / "recipe.yaml"), "--out", str(out), "--quiet", "--again"]
    assert main(arguments) == 0
    assert capsys.readouterr().out == ""
    assert (out / "summary.json").read_bytes() == before
    assert h5py.is_hdf5(out / "maps.hspy")
    again = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert again == {name for name in names if not name.endswith(".png")}
    summary = json.loads(before)
    assert summary["phases"]["Fp"]["subtraction"]["anchor"] == "no Si in the grain"
    assert set(summary["phases"]) == {"Brg", "Fp", "Ca-Pv"}


@pytest.mark.usefixtures("no_pictures")
def test_checkpoints_and_no_unmixing(small_map, tmp_path, out, capsys):
    recipe = recipe_file(tmp_path, small_map)
    kept = tmp_path / "kept"
    arguments = ["run", str(recipe), "--checkpoints", str(kept), "--no-unmix"]
    assert main([*arguments, "--out", str(out)]) == 0
    assert "D(Ca-Pv/Brg), by weight: " in capsys.readouterr().out
    assert json.loads((out / "summary.json").read_text())["unmixing"] is None
    assert not (out / "unmixed.hspy").exists()
    again = tmp_path / "again"
    assert main([*arguments, "--out", str(again), "--quiet"]) == 0
    assert (again / "summary.json").read_bytes() == (out / "summary.json").read_bytes()
    assert (again / "keys.json").read_bytes() == (out / "keys.json").read_bytes()
    assert (kept / "decompose.npz").is_file()


def test_a_file_alone_runs_with_letters_for_phases(small_map, out):
    arguments = ["run", small_map, "--phases", "3", "--elements", "O,Mg,Si,Ca,Fe"]
    assert main([str(a) for a in [*arguments, "--support", "Cu", "--out", out, "-q"]]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert [name[:2] for name in summary["phases"]] == ["A ", "E ", "G "]
    assert all("(" in name for name in summary["phases"])


@pytest.mark.slow
def test_the_demo_twice_on_one_thread_or_two_gives_the_same_bytes():
    """Of the summary: what the pictures show is not drawn for this."""
    code = (
        "from siftem.pipeline.starting_recipe import demo_recipe; "
        "from siftem.pipeline.workflow import *; "
        "from siftem.pipeline.summary import summary_text; "
        "work = Workflow(demo_recipe(shape=(40, 40), dose=200)); "
        "work.change(segment={'trees': 20}, elements=['O', 'Mg', 'Al', 'Si', 'Ca', 'Fe']); "
        "print(summary_text(work.result()))"
    )
    texts = []
    for threads in ("1", "2"):
        env = {**os.environ, "NUMBA_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        ended = subprocess.run(
            [sys.executable, "-c", code], check=True, env=env, capture_output=True
        )
        texts.append(ended.stdout)
    assert b"Ca-Pv" in texts[0]
    assert texts[0] == texts[1]


def test_version_and_help(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("siftem 0.")
    assert main(["--help"]) == 0
    assert "demo" in capsys.readouterr().out


def test_inspect_tells_what_is_in_a_file(small_map, capsys):
    assert main(["inspect", str(small_map), "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "Mn Kα" in shown
    assert "Mn Ka" not in shown
    assert "40 x 40 pixels" in shown
    assert "beam 200 keV" in shown
    for line in ("Mg K", "Si K", "Fe K"):
        assert line in shown


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["run"], "Missing argument"),
        (["fly"], "No such command"),
        (["demo", "--dose", "much"], "Invalid value"),
    ],
)
def test_wrong_use(capsys, arguments, word):
    fails(capsys, arguments, word, code=2)


def test_unreadable_files(tmp_path, out, capsys):
    fails(capsys, ["run", tmp_path / "none.hspy", "--out", out, "-q"], "none.hspy", out=out)
    broken = tmp_path / "broken.hspy"
    broken.write_bytes(b"not an HDF5 file")
    fails(capsys, ["run", broken, "--out", out, "-q"], "broken.hspy", out=out)
    fails(capsys, ["inspect", broken, "-q"], "broken.hspy")
    fails(capsys, ["run", tmp_path / "none.yaml", "--out", out, "-q"], "cannot read", out=out)


def test_no_spectrum_image_in_the_file(tmp_path, out, capsys):
    path = tmp_path / "image.hspy"
    hs.signals.Signal2D(np.ones((5, 5))).save(path)
    fails(capsys, ["run", path, "--out", out, "-q"], "no spectrum image", out=out)


def test_unknown_element(small_map, out, capsys):
    arguments = ["run", small_map, "--elements", "Mg,Xq", "--out", out, "-q"]
    fails(capsys, arguments, "Xq", out=out)


@pytest.mark.usefixtures("no_pictures")
def test_an_anchor_element_that_is_not_in_range(small_map, tmp_path, out, capsys):
    phases = {
        "Brg": {"high": ["Si", "Al"]},
        "Fp": {"high": ["Mg", "Fe"], "anchor": {"absent": ["Si"]}},
        "Ca-Pv": {"high": ["Ca"], "anchor": {"absent": ["H"]}},
    }
    recipe = recipe_file(tmp_path, small_map, phases=phases)
    assert main(["run", str(recipe), "--out", str(out), "-q"]) == 0
    told = capsys.readouterr().err
    assert "the pure spectrum of Ca-Pv is missing: element H" in told
    assert "widen" in told
    assert (out / "spectra" / "Fp.msa").exists()


def test_an_empty_region(small_map, tmp_path, out, capsys):
    recipe = recipe_file(tmp_path, small_map, segment={"margin": 30})
    assert main(["run", str(recipe), "--out", str(out), "-q"]) == 3
    told = capsys.readouterr().err
    assert "the spectrum of Brg is missing" in told
    assert "holds no pixels" in told
    assert "margin" in told
    assert (out / "maps.hspy").exists()


def test_more_phases_than_channels_or_pixels(tmp_path, out, capsys):
    data = np.random.default_rng(0).poisson(2.0, (2, 2, 200)).astype(np.uint16)
    path = save_dense(data, tmp_path / "tiny.hspy")
    fails(capsys, ["run", path, "--phases", "9", "--out", out, "-q"], "9 phases", "4 pixels",
          out=out)  # fmt: skip


def test_all_zero_data(tmp_path, out, capsys):
    path = save_dense(np.zeros((6, 6, 200), np.uint8), tmp_path / "zero.hspy")
    fails(capsys, ["run", path, "--out", out, "-q"], "zero", out=out)


def test_nan_and_negative_counts(tmp_path, out, capsys):
    data = np.ones((6, 6, 200))
    data[1, 2, 100] = np.nan
    path = save_dense(data, tmp_path / "nan.hspy")
    fails(capsys, ["run", path, "--out", out, "-q"], "NaN", out=out)
    data[1, 2, 100] = -3
    path = save_dense(data, tmp_path / "negative.hspy")
    fails(capsys, ["run", path, "--out", out, "-q"], "negative", out=out)


def test_an_output_folder_that_is_not_ours_is_left_alone(small_map, tmp_path, capsys):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("do not lose")
    fails(capsys, ["run", small_map, "--out", mine, "-q"], "choose another output folder")
    assert [p.name for p in mine.iterdir()] == ["thesis.txt"]
    file = tmp_path / "file"
    file.write_text("x")
    fails(capsys, ["run", small_map, "--out", file, "-q"], "is a file")


def test_a_failed_run_keeps_the_earlier_one(finished, tmp_path, out, capsys):
    shutil.copytree(finished[0], out)
    before = (out / "summary.json").read_bytes()
    recipe = recipe_file(tmp_path, tmp_path / "none.hspy")
    assert main(["run", str(recipe), "--out", str(out), "-q"]) == 1
    capsys.readouterr()
    assert (out / "summary.json").read_bytes() == before
    assert not list(tmp_path.glob(".out*"))


def test_unknown_example(capsys):
    fails(capsys, ["example", "72gpa"], "71gpa")


def test_a_missing_beam_energy_says_what_to_do(tmp_path, out, capsys):
    data = np.random.default_rng(0).poisson(2.0, (12, 12, 900)).astype(np.uint16)
    signal = hs.signals.Signal1D(data)
    axis = signal.axes_manager.signal_axes[0]
    axis.scale, axis.units = 0.01, "keV"
    path = Path(tmp_path / "bare.hspy")
    signal.save(path)
    arguments = ["run", path, "--phases", "1", "--elements", "Si", "--out", out, "-q"]
    assert main([str(a) for a in arguments]) == 3
    assert "acquisition.beam_energy" in capsys.readouterr().err
    assert (out / "maps.hspy").exists()


def test_damaged_counts_fail_an_inspection(tmp_path, capsys):
    data = np.ones((6, 6, 200))
    data[1, 2, 100] = np.nan
    for name in ("nan.hspy", "nan.sift"):
        path = tmp_path / name
        if name.endswith("hspy"):
            save_dense(data, path)
        else:
            siftem.convert(save_dense(np.nan_to_num(data, nan=7.0), tmp_path / "a.hspy"), path)
            with h5py.File(path, "r+") as content:
                content["counts/channels"][0] = 3  # out of order
        fails(capsys, ["inspect", path, "-q"], name)


def test_several_maps_are_listed_to_choose_from(small_map, tmp_path, capsys):
    both = tmp_path / "both.hspy"
    with h5py.File(small_map) as source, h5py.File(both, "w") as target:
        target.attrs.update(source.attrs)
        (name,) = source["Experiments"]
        for copy in ("one", "two"):
            source.copy(f"Experiments/{name}", target.require_group("Experiments"), name=copy)
            target[f"Experiments/{copy}/metadata/General"].attrs["title"] = copy
    assert main(["inspect", str(both), "-q"]) == 0
    assert "choose with --signal N" in capsys.readouterr().out


def test_where_nothing_can_be_written(small_map, capsys):
    for arguments in (
        ["convert", small_map, "/proc/map.sift"],
        ["run", small_map, "--memory", "1GB", "--out", "/proc/out"],
        ["run", small_map, "--memory", "1GB", "--checkpoints", "/proc/keep"],
        ["run", small_map, "--checkpoints", "/proc/keep"],
    ):
        fails(capsys, [*arguments, "-q"], "cannot write")


def test_an_interruption_is_told(small_map, tmp_path, capsys, monkeypatch):
    def interrupted(*args, **how):
        raise KeyboardInterrupt

    monkeypatch.setattr("siftem.io.convert.convert", interrupted)
    assert main(["convert", str(small_map), str(tmp_path / "map.sift"), "-q"]) == 130
    assert capsys.readouterr().err.strip() == "siftem: interrupted, nothing was written"


STOPPED = """
import os, signal, sys
import siftem.io.convert
from siftem.cli.main import entry
from siftem.files.atomic import replacing

kind = getattr(signal, sys.argv.pop())
# Whoever runs the tests in the background of a shell has it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

def convert(file, out, **options):
    with replacing(out) as draft:
        draft.write_bytes(b"half")
        os.kill(os.getpid(), kind)

siftem.io.convert.convert = convert
entry()
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("kind", ["SIGINT", "SIGTERM"])
def test_a_stopped_conversion_leaves_what_was_there(tmp_path, kind):
    script, out = tmp_path / "stopped.py", tmp_path / "map.sift"
    script.write_text(STOPPED)
    out.write_text("before")
    ended = subprocess.run(
        [sys.executable, str(script), "convert", "map.hspy", str(out), "-q", kind],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 130
    assert ended.stderr.strip() == "siftem: interrupted, nothing was written"
    assert out.read_text() == "before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map.sift", "stopped.py"]
