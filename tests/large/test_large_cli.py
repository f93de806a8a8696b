"""``siftem convert``, and ``siftem run`` with the map left on disk."""

import json

import numpy as np
import pytest

import siftem
from siftem.cli.main import main
from siftem.errors import InputError
from siftem.large.batch_workers import checked_address
from siftem.large.sparse_writer import write_sparse_file
from siftem.pipeline.summary import summary_text
from siftem.report.folder import write_results

RECIPE = """
siftem: 1
input: {{file: {path}}}
elements: [O, Mg, Al, Si, Ca, Fe]
support: [Cu]
matrix: Brg
phases:
  Brg: {{high: [Si, Al], density: 4.25}}
  Fp: {{high: [Mg, Fe], absent: [Si], anchor: {{absent: [Si]}}, density: 4.1}}
segment: {{trees: 20}}
unmix: false
"""


@pytest.fixture(scope="module")
def phantom():
    return siftem.simulate_demo((40, 44), dose=250, random_state=2)


def test_convert_says_what_it_wrote(tmp_path, capsys, make_stack):
    make_stack.save(tmp_path / "frames.hspy")
    (tmp_path / "drift.txt").write_text("# dy dx\n0 0\n\n1, -1\n0;0\n")
    out = tmp_path / "map.sift"
    assert main(["convert", str(tmp_path / "frames.hspy"), str(out), "--frames", "0:2",
                 "--shifts", str(tmp_path / "drift.txt"), "--energies", "0:0.3",
                 "--memory", "1GB", "--compress"]) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "5 x 6 pixels, 31 channels, 1 blocks" in said
    assert "summed 2 of 3 frames" in said
    si = siftem.load(out)
    data = make_stack.data
    expected = data[0, 0:5, 1:7, 10:41].astype(int) + data[1, 1:6, 0:6, 10:41]
    np.testing.assert_array_equal(si.counts.toarray().reshape(expected.shape), expected)


@pytest.fixture
def make_stack():
    import hyperspy.api as hs

    signal = hs.signals.Signal1D(
        np.random.default_rng(1).poisson(0.2, (3, 6, 7, 60)).astype(np.uint8)
    )
    signal.set_signal_type("EDS_TEM")
    signal.axes_manager.navigation_axes[2].name = "frame"
    axis = signal.axes_manager.signal_axes[0]
    axis.offset, axis.scale, axis.units = -0.1, 0.01, "keV"
    return signal


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--frames", "a:b"], "--frames must be FIRST:LAST"),
        (["--frames", "0,x"], "--frames must be FIRST:LAST"),
        (["--energies", "3"], "--energies must be LOW:HIGH"),
        (["--shifts", "nothing.txt"], "cannot read the shifts"),
        (["--memory", "plenty"], "memory must be a size such as 2GB"),
    ],
)
def test_wrong_options_are_told_in_one_line(tmp_path, phantom, capsys, options, match):
    path = write_sparse_file(phantom.spectrum_image, tmp_path / "map.sift")
    assert main(["convert", str(path), str(tmp_path / "out.sift"), *options]) == 1
    said = capsys.readouterr().err
    assert match in said
    assert said.strip().count("\n") == 0
    assert not (tmp_path / "out.sift").exists()


def test_a_line_of_shifts_that_is_no_shift_is_named(tmp_path, phantom, capsys):
    path = write_sparse_file(phantom.spectrum_image, tmp_path / "map.sift")
    (tmp_path / "drift.txt").write_text("0 0\n1\n")
    assert main(["convert", str(path), "x.sift", "--shifts", str(tmp_path / "drift.txt")]) == 1
    assert "line 2" in capsys.readouterr().err


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.slow
def test_a_run_from_disk_gives_the_same_summary(tmp_path, phantom, capsys):
    write_sparse_file(phantom.spectrum_image, tmp_path / "map.sift", entries_per_block=30_000)
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(path=tmp_path / "map.sift"))
    whole = ["run", str(tmp_path / "recipe.yaml"), "-q", "--phases", "3", "--out"]
    assert main([*whole, str(tmp_path / "memory")]) == 0
    disk = [str(tmp_path / "disk"), "--memory", "1GB", "--checkpoints", str(tmp_path / "state")]
    assert main([*whole, *disk]) == 0
    found, expected = (
        json.loads((tmp_path / name / "summary.json").read_text()) for name in ("disk", "memory")
    )
    assert found == expected
    assert "Fp" in found["phases"]
    in_memory, opened = (siftem.open_run(tmp_path / name) for name in ("memory", "disk"))
    assert summary_text(opened).encode() == (tmp_path / "disk/summary.json").read_bytes()
    images = [run.spectrum_image for run in (opened, in_memory)]
    np.testing.assert_array_equal(*(si.total_map() for si in images))
    np.testing.assert_array_equal(*(si.sum_spectrum() for si in images))
    np.testing.assert_allclose(opened.factors.maps, in_memory.factors.maps, rtol=1e-8)
    write_results(opened, tmp_path / "again")
    assert siftem.open_run(tmp_path / "again").spectrum_image.total == images[1].total
    for refused in (
        lambda: siftem.integrate(images[0], images[0].total_map() > 3),
        lambda: images[0].window_map(1.0, 2.0),
        lambda: siftem.decompose(images[0], 2),
    ):
        with pytest.raises(InputError, match=r"open the map itself .* siftem.open_map"):
            refused()
    capsys.readouterr()
    assert main([*[a for a in whole if a != "-q"], *disk[:3]]) == 0
    assert "nothing has changed" in capsys.readouterr().out


def test_inspect_knows_sparse_files(tmp_path, phantom, capsys, monkeypatch):
    # Which elements it finds is looked at with the command.
    monkeypatch.setattr("siftem.fit.element_search.find_elements", lambda *given, **how: ())
    path = write_sparse_file(phantom.spectrum_image, tmp_path / "map.sift")
    assert main(["inspect", str(path), "-q"]) == 0
    assert "40 x 44 x 2048" in capsys.readouterr().out


@pytest.mark.usefixtures("no_pictures")
def test_folders_of_a_run_from_disk(phantom, tmp_path, capsys):
    stored = write_sparse_file(phantom.spectrum_image, tmp_path / "map.sift")
    (tmp_path / "run.yaml").write_text(RECIPE.format(path=stored))
    run = ["run", str(tmp_path / "run.yaml"), "--memory", "1GB", "-q"]
    for inside in ("out", "out/checkpoints"):
        given = ["--out", str(tmp_path / "out"), "--checkpoints", str(tmp_path / inside)]
        assert main([*run, *given]) == 1
        assert "choose a folder outside it" in " ".join(capsys.readouterr().err.split())
    assert main([*run, "--out", str(tmp_path / "new/and/newer")]) == 0
    assert (tmp_path / "new/and/newer/summary.json").exists()


@pytest.mark.parametrize(
    ("given", "good"),
    [("tcp://10.0.0.5:8786", True), ("127.0.0.1:8786", True), ("tls://[::1]:8786", True),
     ("node-1.cluster:8786 ", True), ("", False), ("foo://bar:1", False), ("host", False),
     ("tcp://host", False), ("tcp://a b:1", False)],
)  # fmt: skip
def test_addresses_of_schedulers(given, good):
    if good:
        assert checked_address(given) == given.strip()
    else:
        with pytest.raises(InputError, match="no address of a Dask scheduler"):
            checked_address(given)
