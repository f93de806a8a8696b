"""``siftem maps``."""

import numpy as np
import pytest
import tifffile

import siftem
from siftem.cli.main import main
from siftem.large.sparse_writer import write_sparse_file


@pytest.fixture(scope="module")
def phantom():
    return siftem.simulate_demo((24, 24), channels=1100, dose=200, random_state=1)


def test_maps_are_written_with_their_errors(phantom, tmp_path, capsys):
    path = write_sparse_file(phantom.spectrum_image, tmp_path / "map.sift")
    out = tmp_path / "maps"
    asked = ["--elements", "O,Mg,Al,Si,Ca,Fe", "--support", "Cu", "--signed", "--out", str(out)]
    assert main(["maps", str(path), *asked]) == 0
    maps = siftem.element_maps(
        phantom.spectrum_image,
        ["O", "Mg", "Al", "Si", "Ca", "Fe"],
        support=["Cu"],
        nonnegative=False,
    )
    for name, values in (("counts", maps.counts), ("sigma", maps.sigma)):
        with tifffile.TiffFile(out / f"{name}.tif") as file:
            np.testing.assert_array_equal(file.asarray(), values)
            assert tuple(file.imagej_metadata["Labels"]) == maps.names
    told = capsys.readouterr().out
    assert f"Mg K: {maps.totals[maps.index('Mg')]:.4g} counts in all, " in told
    assert maps["Cu"].min() < 0


def test_a_folder_that_can_not_be_written_is_told_in_one_line(phantom, tmp_path, capsys):
    path = write_sparse_file(phantom.spectrum_image, tmp_path / "map.sift")
    (tmp_path / "taken").write_text("")
    assert (
        main(["maps", str(path), "-q", "--elements", "Mg", "--out", str(tmp_path / "taken")]) == 1
    )
    assert "cannot write to" in capsys.readouterr().err
