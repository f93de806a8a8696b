import numpy as np
import pytest

import siftem
from siftem.errors import InputError
from siftem.io.hyperspy_export import to_hyperspy, write_maps


@pytest.fixture
def si(counts):
    import scipy.sparse as sp

    return siftem.SpectrumImage(
        sp.csr_array(counts.reshape(20, 60).astype(np.int32)),
        (4, 5),
        siftem.EnergyAxis(-0.1, 0.01, 60),
        pixel_size=(3.0, 2.0),
        acquisition=siftem.Acquisition(200.0, 22.0, 130.0, 50.0, 0.2, ("Mg", "Si")),
        title="glass",
    )


def test_a_map_goes_to_hyperspy_and_back(si):
    signal = to_hyperspy(si)
    assert type(signal).__name__ == "LazyEDSTEMSpectrum"
    back = siftem.from_hyperspy(signal)
    assert (back.counts != si.counts).nnz == 0
    assert back.counts.dtype == si.counts.dtype
    assert (back.axis, back.pixel_size) == (si.axis, si.pixel_size)
    assert (back.acquisition, back.title) == (si.acquisition, "glass")
    assert signal.get_take_off_angle() == pytest.approx(22.0)


def test_no_dense_cube_before_it_is_asked_for(monkeypatch, si):
    from siftem.io import hyperspy_export

    made = []
    original = hyperspy_export._DenseOnDemand.__getitem__

    def watched(self, index):
        block = original(self, index)
        made.append(block.nbytes)
        return block

    monkeypatch.setattr(hyperspy_export._DenseOnDemand, "__getitem__", watched)
    monkeypatch.setattr(hyperspy_export, "_CHUNK_BYTES", 5 * 60 * 4)
    signal = to_hyperspy(si)
    part = signal.inav[1:3, 2].isig[10:20].data.compute()
    np.testing.assert_array_equal(part, si.counts.toarray().reshape(4, 5, 60)[2, 1:3, 10:20])
    assert max(made) <= 5 * 60 * 4


def test_what_is_not_known_is_not_filled_in(si):
    from dataclasses import replace

    bare = replace(si, acquisition=siftem.Acquisition(beam_energy=300.0))
    metadata = to_hyperspy(bare).metadata
    assert metadata.Acquisition_instrument.TEM.beam_energy == 300.0
    assert not metadata.has_item("Acquisition_instrument.TEM.Detector.EDS.elevation_angle")
    assert not metadata.has_item("Acquisition_instrument.TEM.Detector.EDS.energy_resolution_MnKa")


def test_eels_and_sem(si):
    from dataclasses import replace

    eels = replace(si, signal_type="EELS", axis=siftem.EnergyAxis(700.0, 2.0, 60, "eV"))
    signal = to_hyperspy(eels)
    assert type(signal).__name__ == "LazyEELSSpectrum"
    assert signal.axes_manager[-1].units == "eV"
    sem = to_hyperspy(replace(si, signal_type="EDS_SEM"))
    assert sem.metadata.Acquisition_instrument.SEM.beam_energy == 200.0


def test_spectrum_with_its_variance(si):
    spectrum = siftem.Spectrum(
        np.arange(60.0), si.axis, modes=np.full((1, 60), 2.0), name="Fp", n_pixels=3
    )
    signal = to_hyperspy(spectrum, like=si)
    assert type(signal).__name__ == "EDSTEMSpectrum"
    assert signal.axes_manager.navigation_dimension == 0
    assert signal.metadata.General.title == "Fp"
    np.testing.assert_array_equal(signal.data, np.arange(60.0))
    variance = signal.metadata.Signal.Noise_properties.variance
    np.testing.assert_allclose(variance.data, np.arange(60.0) + 4.0)
    assert signal.metadata.Sample.elements == ["Mg", "Si"]


def test_maps_and_wrong_sizes(si):
    signal = to_hyperspy(np.ones((3, 4, 5)), like=si, title="maps")
    x, y = signal.axes_manager.signal_axes
    assert (x.scale, y.scale, x.units) == (2.0, 3.0, "nm")
    assert signal.axes_manager.navigation_shape == (3,)
    with pytest.raises(InputError, match=r"\(4, 5\) pixels like the map"):
        to_hyperspy(np.ones((3, 5, 4)), like=si)
    with pytest.raises(InputError, match="got list"):
        to_hyperspy([1, 2])


def test_maps_file_opens_in_hyperspy(tmp_path, si):
    import hyperspy.api as hs

    rng = np.random.default_rng(0)
    maps, spectra = rng.random((2, 4, 5)), rng.random((2, 60))
    path = tmp_path / "maps.hspy"
    path.write_text("an older file")
    write_maps(path, maps, spectra, ["Brg", "Ca-Pv"], si)
    images, curves = hs.load(path)
    np.testing.assert_array_equal(images.data, maps)
    np.testing.assert_array_equal(curves.data, spectra)
    assert images.axes_manager.signal_axes[0].units == "nm"
    assert curves.axes_manager.signal_axes[0].offset == pytest.approx(-0.1)
    for signal in (images, curves):
        assert list(signal.metadata.Siftem.names) == ["Brg", "Ca-Pv"]
        tem = signal.metadata.Acquisition_instrument.TEM
        assert (tem.beam_energy, tem.Detector.EDS.elevation_angle) == (200.0, 22.0)
        assert tem.Detector.EDS.energy_resolution_MnKa == 130.0
        assert list(signal.metadata.Sample.elements) == ["Mg", "Si"]
    assert [p.name for p in tmp_path.iterdir()] == ["maps.hspy"]


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch, si):
    from siftem.io import hyperspy_export

    def fail(*args):
        raise OSError("no space left on device")

    path = tmp_path / "maps.hspy"
    path.write_text("an older file")
    monkeypatch.setattr(hyperspy_export, "_append_experiment", fail)
    with pytest.raises(OSError, match="no space"):
        write_maps(path, np.ones((1, 4, 5)), np.ones((1, 60)), ["A"], si)
    assert path.read_text() == "an older file"
    assert [p.name for p in tmp_path.iterdir()] == ["maps.hspy"]


@pytest.mark.parametrize(
    ("maps", "spectra", "names", "name", "match"),
    [
        ((2, 4, 5), (2, 60), ["A"], "a.hspy", "spectra must have shape"),
        ((1, 5, 4), (1, 60), ["A"], "a.hspy", "maps must have shape"),
        ((1, 4, 5), (1, 60), ["A"], "a.tif", "end in .hspy"),
        ((1, 4, 5), (1, 60), ["A"], "no/a.hspy", "does not exist"),
    ],
)
def test_what_does_not_fit(tmp_path, si, maps, spectra, names, name, match):
    with pytest.raises(InputError, match=match):
        write_maps(tmp_path / name, np.ones(maps), np.ones(spectra), names, si)
