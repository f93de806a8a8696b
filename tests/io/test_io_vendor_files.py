"""Real files: skipped, with the reason, where they are not."""

import hashlib

import h5py
import numpy as np
import pytest

import siftem
from siftem.errors import ReadError
from siftem.io.signal_choice import list_signals


def against_hyperspy(path, position):
    """What HyperSpy reads itself, densely."""
    import hyperspy.api as hs

    found = hs.load(path)
    return found[position] if isinstance(found, list) else found


def same_as(si, signal):
    np.testing.assert_array_equal(si.counts.toarray().reshape(signal.data.shape), signal.data)


@pytest.mark.real_data
def test_71gpa(map_71gpa):
    from siftem.datasets import SHA256

    assert hashlib.sha256(map_71gpa.read_bytes()).hexdigest() == SHA256
    si = siftem.load(map_71gpa)
    # Figures of the file as its owners describe it: 201 x 201 pixels of 1.72 nm, 2048
    # channels of 10 eV, 200 keV, 22 degrees, 130 eV.
    assert (si.shape, si.n_channels) == ((201, 201), 2048)
    assert si.pixel_size == pytest.approx((1.7165, 1.7165), abs=1e-4)
    assert (si.axis.offset, si.axis.scale, si.axis.unit) == (-0.47195, 0.01, "keV")
    with h5py.File(map_71gpa) as file:
        cube = file["Experiments/EDX/data"][...]
    np.testing.assert_array_equal(si.total_map(), cube.sum(axis=2, dtype=float))
    np.testing.assert_array_equal(si.sum_spectrum(), cube.sum(axis=(0, 1), dtype=float))
    assert si.counts.nnz == np.count_nonzero(cube)
    assert si.acquisition.beam_energy == 200.0
    assert si.acquisition.take_off_angle == pytest.approx(22.0)
    assert si.acquisition.resolution == 130.0
    assert sorted(si.acquisition.elements) == sorted(
        ["O", "Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "Hf", "Lu", "U"]
    )
    assert (si.signal_type, si.survey, si.counts.dtype) == ("EDS_TEM", None, np.int32)


def test_bruker(vendor_file):
    path = vendor_file("P45_12bit_packed_8bit.bcf")
    si = siftem.load(path)
    same_as(si, against_hyperspy(path, -1))
    assert (si.shape, si.signal_type, si.survey_name) == ((75, 100), "EDS_SEM", "BSE")
    assert si.survey.shape == (75, 100)
    assert si.acquisition.beam_energy == 20.0
    assert [e.kind for e in list_signals(path)] == ["image", "image", "spectrum image"]
    with pytest.raises(siftem.InputError, match="two scan axes"):
        siftem.load(path, signal=0)


@pytest.mark.parametrize("fraction", [0.3, 0.8])
def test_bruker_cut_short(vendor_file, tmp_path, fraction):
    content = vendor_file("P45_12bit_packed_8bit.bcf").read_bytes()
    (tmp_path / "cut.bcf").write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(ReadError, match="cut short"):
        siftem.load(tmp_path / "cut.bcf")


def test_velox_stream(vendor_file):
    path = vendor_file("fei_SI_SuperX-HAADF_20frames_10x50.emd")
    si = siftem.load(path)
    same_as(si, against_hyperspy(path, -1))
    assert (si.shape, si.survey_name, si.survey.shape) == ((50, 10), "HAADF", (50, 10))
    # Four detectors at 22 degrees, specimen tilted by -35.3 and 2.5 degrees:
    # sin(angle) = sin 22 cos 35.343 cos 2.53 on average.
    assert si.acquisition.take_off_angle == pytest.approx(17.77, abs=0.01)
    assert si.acquisition.resolution is None


def test_velox_detectors_kept_apart_are_summed(vendor_file, tmp_path):
    import shutil

    path = tmp_path / "two.emd"
    shutil.copy(vendor_file("fei_SI_SuperX-HAADF_20frames_10x50.emd"), path)
    with h5py.File(path, "a") as file:
        streams = file["Data/SpectrumStream"]
        name = next(iter(streams))
        streams.copy(name, "f" + name[1:])
        # The same photons twice would be no Poisson counts: the second detector's are elsewhere.
        copy = streams["f" + name[1:]]["Data"]
        events = copy[:]
        events[events != 65535] = (events[events != 65535] + 100) % 4096
        copy[:] = events
    si = siftem.load(path)
    assert "summed 2 detectors" in si.notes
    assert [e.kind for e in list_signals(path)] == ["image", "spectrum image", "spectrum image"]
    one, two = (siftem.load(path, signal=i).counts for i in (1, 2))
    assert (one != two).nnz
    assert (si.counts != one + two).nnz == 0


def test_jeol(vendor_file):
    path = vendor_file("jeol_64.pts")
    si = siftem.load(path)
    import hyperspy.api as hs

    same_as(si, hs.load(path, SI_dtype=np.uint16))
    assert (si.shape, si.n_channels, si.survey_name) == ((64, 64), 4096, "STEM image")
    assert si.acquisition.take_off_angle == pytest.approx(21.5)


def test_eels(vendor_file):
    path = vendor_file("CuZn_EELS_mapping_tutorial.hspy")
    si = siftem.load(path)
    same_as(si, against_hyperspy(path, 0))
    assert (si.shape, si.signal_type, si.axis.unit) == ((50, 40), "EELS", "eV")
    assert si.acquisition.take_off_angle is None
    with pytest.raises(ReadError, match="no spectrum image"):
        siftem.load(vendor_file("CuZn_HAADF.hspy"))
