import math

import numpy as np
import pytest

import siftem
from siftem.acquisition import Acquisition
from siftem.io.signal_metadata import read_acquisition, take_off_angle, with_whole_live_time


@pytest.fixture
def signal(make_signal, counts):
    return make_signal(counts)


def describe(signal, **stated):
    for key, value in stated.items():
        path = key.replace("__", ".")
        signal.metadata.set_item(f"Acquisition_instrument.TEM.{path}", value)


def test_everything_stated(tmp_path, signal):
    describe(
        signal,
        beam_energy=200,
        beam_current="0.25",
        Detector__EDS__elevation_angle=22.0,
        Detector__EDS__azimuth_angle=45.0,
        Detector__EDS__energy_resolution_MnKa=127.5,
        Detector__EDS__live_time=100.0,
    )
    signal.metadata.set_item("Sample.elements", ["Mg", "Si"])
    signal.save(tmp_path / "a.hspy")
    a = siftem.load(tmp_path / "a.hspy").acquisition
    assert (a.beam_energy, a.beam_current, a.resolution) == (200.0, 0.25, 127.5)
    assert (a.take_off_angle, a.live_time) == (pytest.approx(22.0), 100.0)
    assert a.elements == ("Mg", "Si")


def test_what_a_file_does_not_say_is_none_and_not_a_default(tmp_path, make_signal, counts):
    """eXSpy would fill in 35 degrees and 130 eV on opening this file."""
    import h5py

    make_signal(counts).save(tmp_path / "a.hspy")
    with h5py.File(tmp_path / "a.hspy", "a") as file:
        del file["Experiments/EDS/metadata/Acquisition_instrument"]
    acquisition = siftem.load(tmp_path / "a.hspy").acquisition
    assert acquisition == siftem.Acquisition()


def test_zeros_and_nonsense_are_not_taken(signal):
    describe(signal, beam_energy=0.0, beam_current="n/a", Detector__EDS__live_time=float("nan"))
    acquisition, _ = read_acquisition(signal.metadata)
    assert acquisition.beam_energy is None
    assert acquisition.beam_current is None
    assert acquisition.live_time is None


@pytest.mark.parametrize(
    "stated",
    [
        np.array(["Fe", "Pt"]),
        np.array([b"Fe", b"Pt"]),
        np.array(["Fe", "Pt"], dtype=object),
        ("Fe", b"Pt"),
        "Fe, Pt",
        np.array("Fe Pt"),
    ],
)
def test_elements_as_older_files_keep_them(signal, stated):
    signal.metadata.set_item("Sample.elements", stated)
    assert siftem.from_hyperspy(signal).acquisition.elements == ("Fe", "Pt")


def test_arrays_through_a_file(tmp_path, signal):
    """HyperSpy 1.x wrote lists of text as arrays; h5py gives them back as such."""
    signal.metadata.set_item("Sample.elements", np.array([b"Fe", b"Pt"]))
    describe(signal, beam_energy=np.array([200.0]), Detector__EDS__live_time=np.array([1.0, 2.0]))
    signal.save(tmp_path / "a.hspy")
    si = siftem.load(tmp_path / "a.hspy")
    assert si.acquisition.elements == ("Fe", "Pt")
    assert si.acquisition.beam_energy == 200.0
    assert si.acquisition.live_time is None  # two times are none


def test_texts_as_arrays(signal):
    signal.metadata.set_item("General.title", np.array([b"a map"]))
    signal.metadata.set_item("Signal.signal_type", np.array(["EDS_TEM"]))
    si = siftem.from_hyperspy(signal)
    assert (si.title, si.signal_type) == ("a map", "EDS_TEM")


def test_what_is_no_element_in_the_list_is_told(signal):
    signal.metadata.set_item("Sample.elements", np.array(["Fe", "iron", ""]))
    si = siftem.from_hyperspy(signal)
    assert si.acquisition.elements == ("Fe",)
    assert any("iron, no chemical symbol" in note for note in si.notes)
    signal.metadata.set_item("Sample.elements", np.array([], dtype=str))
    assert siftem.from_hyperspy(signal).acquisition.elements == ()


@pytest.mark.parametrize(
    ("stated", "pixels", "counts", "whole"),
    [
        (0.1, 2304, 7e5, 230.4),  # 3000 counts a second in a pixel, 7 million in a map
        (0.02, 40_401, 7.1e6, 808.02),
        (600.0, 10_000, 1.2e7, 600.0),  # 2 counts a second in a pixel, 20,000 in a map
        (900.0, 500, 3e7, 900.0),
        (3.0, 1, 1e4, 3.0),
    ],
)
def test_a_live_time_is_that_of_a_pixel_or_of_the_map_by_the_rate(stated, pixels, counts, whole):
    acquisition, notes = with_whole_live_time(Acquisition(live_time=stated), pixels, counts)
    assert acquisition.live_time == pytest.approx(whole)
    assert len(notes) == (pixels > 1)


def test_the_live_time_of_our_own_maps_and_of_regions(make_signal, counts):
    """As eXSpy means it: of each spectrum, multiplied where spectra are summed."""
    signal = make_signal(counts)
    describe(signal, Detector__EDS__live_time=0.5)
    si = siftem.from_hyperspy(signal)
    ny, nx = si.shape
    exported = siftem.to_hyperspy(si)
    assert exported.metadata.Acquisition_instrument.TEM.Detector.EDS.live_time == pytest.approx(
        si.acquisition.live_time / (ny * nx)
    )
    assert siftem.from_hyperspy(exported).acquisition.live_time == pytest.approx(
        si.acquisition.live_time
    )
    half = np.zeros((ny, nx), bool)
    half[: ny // 2] = True
    part = siftem.integrate(si, half).acquisition.live_time
    assert part == pytest.approx(si.acquisition.live_time * half.mean())


class TestTakeOffAngle:
    def test_simple_geometry(self):
        assert take_off_angle(22.0) == pytest.approx(22.0)
        assert take_off_angle(22.0, tilt_alpha=10.0) == pytest.approx(32.0)
        # Tilting away from a detector on the other side.
        assert take_off_angle(22.0, azimuth=180.0, tilt_alpha=10.0) == pytest.approx(12.0)
        assert take_off_angle(22.0, azimuth=90.0, tilt_beta=10.0) == pytest.approx(32.0)

    def test_is_the_angle_between_detector_and_rotated_plane(self):
        """Against rotation matrices, for a detector that lies askew."""
        e, p, a, b = (math.radians(v) for v in (18.0, 30.0, 12.0, -7.0))
        detector = [
            math.cos(e) * math.cos(p),
            math.cos(e) * math.sin(p),
            math.sin(e),
        ]
        about_y = np.array(
            [[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]]
        )
        about_x = np.array(
            [[1, 0, 0], [0, math.cos(b), math.sin(b)], [0, -math.sin(b), math.cos(b)]]
        )
        # The beta axis sits on the alpha holder and is tilted first.
        normal = about_y @ about_x @ [0, 0, 1]
        expected = math.degrees(math.asin(np.dot(detector, normal)))
        found = take_off_angle(18.0, azimuth=30.0, tilt_alpha=12.0, tilt_beta=-7.0)
        assert found == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize("angles", [(22, 45, 0, 0), (18, 30, 12, -7), (35, 200, -20, 5)])
    def test_agrees_with_exspy(self, signal, angles):
        elevation, azimuth, alpha, beta = (float(v) for v in angles)
        describe(
            signal,
            Detector__EDS__elevation_angle=elevation,
            Detector__EDS__azimuth_angle=azimuth,
            Stage__tilt_alpha=alpha,
            Stage__tilt_beta=beta,
        )
        found = take_off_angle(elevation, azimuth=azimuth, tilt_alpha=alpha, tilt_beta=beta)
        assert found == pytest.approx(signal.get_take_off_angle(), abs=1e-9)

    def test_unknown_azimuth_with_a_tilt_is_noted(self, signal):
        describe(signal, Detector__EDS__elevation_angle=20.0, Stage__tilt_alpha=15.0)
        del signal.metadata.Acquisition_instrument.TEM.Detector.EDS.azimuth_angle
        acquisition, notes = read_acquisition(signal.metadata)
        assert acquisition.take_off_angle == 20.0
        assert "elevation" in notes[0]

    def test_a_detector_below_the_specimen_gives_none(self, signal):
        describe(
            signal,
            Detector__EDS__elevation_angle=20.0,
            Detector__EDS__azimuth_angle=180.0,
            Stage__tilt_alpha=30.0,
        )
        acquisition, notes = read_acquisition(signal.metadata)
        assert acquisition.take_off_angle is None
        assert "below the specimen" in notes[0]

    def test_velox_detectors_are_in_radians(self, signal):
        for number, azimuth in enumerate((45, 135, 225, 315)):
            signal.original_metadata.set_item(
                f"Detectors.Detector-{number}",
                {
                    "DetectorType": "AnalyticalDetector",
                    "Inserted": "true",
                    "ElevationAngle": str(math.radians(18)),
                    "AzimuthAngle": str(math.radians(azimuth)),
                },
            )
        signal.original_metadata.set_item(
            "Detectors.Detector-9",
            {"DetectorType": "AnalyticalDetector", "Inserted": "false", "ElevationAngle": "1"},
        )
        # 35 is eXSpy's default for Velox files; RosettaSciIO may hand on radians.
        for hollow in (35.0, 0.314):
            describe(signal, Detector__EDS__elevation_angle=hollow)
            acquisition, notes = read_acquisition(signal.metadata, signal.original_metadata)
            assert acquisition.take_off_angle == pytest.approx(18.0)
            assert "mean over 4 detectors" in notes[0]
        describe(signal, Detector__EDS__elevation_angle=25.0)  # set by the user
        acquisition, _ = read_acquisition(signal.metadata, signal.original_metadata)
        assert acquisition.take_off_angle == pytest.approx(25.0)
