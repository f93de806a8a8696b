"""Spectra that many maps share: tables, maps.hspy, other axes."""

import numpy as np
import pytest

from siftem.energy_axis import EnergyAxis
from siftem.errors import InputError, ReadError
from siftem.io.fit_checkpoint import SpectraSet, read_spectra, write_spectra_table
from siftem.io.hyperspy_export import write_maps
from siftem.simulate.phantom import simulate_demo

AXIS = EnergyAxis(0.205, 0.01, 300)
NAMES = ("Brg", 'odd, "name"', "Ca-Pv")


@pytest.fixture
def spectra():
    values = np.random.default_rng(0).gamma(0.5, size=(3, AXIS.size))
    return SpectraSet(values / values.sum(axis=1, keepdims=True), AXIS, NAMES)


def test_a_table_is_read_as_it_was_written(spectra, tmp_path):
    write_spectra_table(tmp_path / "s.csv", spectra)
    found = read_spectra(tmp_path / "s.csv")
    np.testing.assert_array_equal(found.values, spectra.values)
    assert found.names == NAMES
    assert found.axis == AXIS
    np.testing.assert_allclose(found.on_axis(AXIS), spectra.values, rtol=1e-14)


def test_the_maps_file_of_a_run_gives_its_spectra(tmp_path):
    si = simulate_demo((16, 16), channels=200, dose=50, random_state=0).spectrum_image
    values = np.random.default_rng(0).uniform(0.1, 1, (2, si.n_channels))
    write_maps(tmp_path / "maps.hspy", np.ones((2, *si.shape)), values, ("Brg", "Fp"), si)
    found = read_spectra(tmp_path / "maps.hspy")
    np.testing.assert_allclose(found.values, values)
    assert found.names == ("Brg", "Fp")
    assert found.axis.offset == pytest.approx(si.axis.offset)
    assert found.axis.scale == pytest.approx(si.axis.scale)


def test_whole_channels_are_cut_out_as_they_are(spectra):
    cut = EnergyAxis(AXIS.offset + 0.2, 0.01, 100)
    expected = spectra.values[:, 20:120]
    found = spectra.on_axis(cut)
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), rtol=1e-12)


def test_other_channels_get_the_counts_that_lie_in_them(spectra):
    # Channels of twice the width that begin in the middle of one: sums by hand.
    wide = EnergyAxis(AXIS.first + 0.005 + 0.01, 0.02, 100)
    halves = np.repeat(spectra.values / 2, 2, axis=1)[:, 1:401]
    expected = halves.reshape(3, 100, 4).sum(axis=2)
    found = spectra.on_axis(wide)
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), rtol=1e-9)
    in_ev = EnergyAxis(wide.offset * 1e3, 20.0, 100, "eV")
    np.testing.assert_allclose(spectra.on_axis(in_ev), found, rtol=1e-9)


def test_spectra_that_do_not_cover_the_map(spectra):
    with pytest.raises(InputError, match="narrow the energy range"):
        spectra.on_axis(EnergyAxis(0.205, 0.01, 400))
    dark = SpectraSet(np.eye(1, AXIS.size), AXIS, ("one channel",))
    with pytest.raises(InputError, match="one channel holds nothing"):
        dark.on_axis(EnergyAxis(0.505, 0.01, 50))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "the first row must be energy_keV"),
        ("a,b\n1,2\n2,3\n", "the first row must be energy_keV"),
        ("energy_keV\n1\n2\n3\n", "every row needs an energy"),
        ("energy_keV,A\n1,2\n2\n", "inhomogeneous|every row"),
        ("energy_keV,A\n1,x\n2,3\n", "could not convert"),
        ("energy_keV,A\n1,2\n2,3\n4,3\n", "even steps"),
        ("energy_keV,A\n3,2\n2,3\n1,3\n", "even steps"),
        ("energy_keV,A\n1,2\n2,-3\n3,3\n", "not negative"),
        ("energy_keV,A\n1,2\n2,nan\n3,3\n", "not negative"),
        ("energy_keV,A,B\n1,2,0\n2,3,0\n3,3,0\n", "a spectrum is empty"),
        ("energy_K,A\n1,2\n2,3\n3,3\n", "energy unit"),
    ],
)
def test_tables_that_are_none(tmp_path, text, word):
    path = tmp_path / "s.csv"
    path.write_text(text)
    with pytest.raises(ReadError, match=word) as seen:
        read_spectra(path)
    assert "\n" not in str(seen.value)
    assert "s.csv" in str(seen.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(ReadError, match="there is no such file"):
        read_spectra(tmp_path / "none.csv")
    (tmp_path / "bad.hspy").write_bytes(b"no HDF5")
    with pytest.raises(ReadError, match=r"bad\.hspy"):
        read_spectra(tmp_path / "bad.hspy")
