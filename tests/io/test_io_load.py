import logging
import subprocess
import sys
import warnings

import numpy as np
import pytest

import siftem
from siftem.errors import InputError, ReadError
from siftem.io.vendor_files import opened


def saved(signal, path):
    signal.save(path, overwrite=True)
    return path


def same_counts(si, cube):
    np.testing.assert_array_equal(si.counts.toarray().reshape(*si.shape, -1), cube)


def test_a_saved_map_comes_back_whole(tmp_path, make_signal, counts):
    si = siftem.load(saved(make_signal(counts), tmp_path / "map.hspy"))
    same_counts(si, counts)
    assert si.shape == (4, 5)
    assert si.counts.dtype == np.int32
    assert (si.axis.offset, si.axis.scale, si.axis.size, si.axis.unit) == (-0.1, 0.01, 60, "keV")
    assert si.pixel_size == (2.0, 2.0)
    assert (si.title, si.signal_type, si.notes) == ("map", "EDS_TEM", ())
    assert si.survey is None


@pytest.mark.parametrize("lazy", [False, True])
def test_from_hyperspy_lazy_or_not(make_signal, counts, lazy):
    signal = make_signal(counts)
    signal = signal.as_lazy() if lazy else signal
    si = siftem.from_hyperspy(signal)
    same_counts(si, counts)
    assert si.title == "EDS"
    assert bool(signal._lazy) is lazy


def test_ripple_and_hdf5_endings(tmp_path, make_signal, counts):
    same_counts(siftem.load(saved(make_signal(counts), tmp_path / "map.rpl")), counts)
    # Several readers match .hdf5; the content says that HyperSpy wrote it.
    saved(make_signal(counts), tmp_path / "map.hspy").rename(tmp_path / "map.hdf5")
    same_counts(siftem.load(tmp_path / "map.hdf5"), counts)


def test_zspy(tmp_path, make_signal, counts):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed: no .zspy files")
    if not hasattr(zarr.storage, "NestedDirectoryStore"):
        pytest.skip("RosettaSciIO writes .zspy files with zarr 2 only")
    same_counts(siftem.load(saved(make_signal(counts), tmp_path / "map.zspy")), counts)


def test_names_with_brackets_and_stars_are_just_names(tmp_path, make_signal, counts):
    saved(make_signal(counts), tmp_path / "map.hspy").rename(tmp_path / "map[1] *.hspy")
    same_counts(siftem.load(tmp_path / "map[1] *.hspy"), counts)
    same_counts(siftem.load(str(tmp_path / "map[1] *.hspy")), counts)


def test_data_set_without_chunks(tmp_path, make_signal, counts):
    import h5py

    path = saved(make_signal(counts), tmp_path / "map.hspy")
    with h5py.File(path, "a") as file:
        group = file["Experiments/EDS"]
        del group["data"]
        group.create_dataset("data", data=counts)
    same_counts(siftem.load(path), counts)


@pytest.mark.parametrize(
    ("unit", "nm"),
    [
        ("nm", 3.0),
        ("\u00b5m", 3e3),
        ("\u03bcm", 3e3),
        ("um", 3e3),
        ("m", 3e9),
        ("mm", 3e6),
        ("\u00c5", 0.3),
        ("px", None),
        ("", None),
        ("1/nm", None),
    ],
)
def test_pixel_size_in_any_unit(make_signal, counts, unit, nm):
    si = siftem.from_hyperspy(make_signal(counts, scan=(3.0, unit)))
    assert si.pixel_size == (None if nm is None else pytest.approx((nm, nm)))


def test_height_and_width_of_a_pixel_are_not_mixed_up(make_signal, counts):
    signal = make_signal(counts)
    x, y = signal.axes_manager.navigation_axes
    x.scale, y.scale = 1.0, -4.0
    assert siftem.from_hyperspy(signal).pixel_size == (4.0, 1.0)


class TestEnergyAxis:
    def test_reversed_axis_is_turned_round(self, make_signal, counts):
        signal = make_signal(counts, energy=(5.9, -0.1, "keV"))
        si = siftem.from_hyperspy(signal)
        same_counts(si, counts[..., ::-1])
        assert si.axis.centers[[0, -1]] == pytest.approx([0.0, 5.9])
        assert "high to low" in si.notes[0]

    def test_energy_range_of_a_reversed_axis(self, make_signal, counts):
        signal = make_signal(counts, energy=(5.9, -0.1, "keV"))
        si = siftem.from_hyperspy(signal, energy_range=(1.0, 2.0))
        same_counts(si, counts[..., ::-1][..., 10:21])
        assert si.axis.centers[[0, -1]] == pytest.approx([1.0, 2.0])

    def test_energy_range_crops_while_reading(self, tmp_path, make_signal, counts):
        path = saved(make_signal(counts), tmp_path / "map.hspy")
        si = siftem.load(path, energy_range=(0.1, None))
        same_counts(si, counts[..., 20:])
        assert si.axis.centers[0] == pytest.approx(0.1)

    @pytest.mark.parametrize(
        ("unit", "scale", "centre"),
        [("eV", 10.0, 10.0), ("EV", 10.0, 10.0), ("meV", 1.0, 1e-3), ("KeV", 0.5, 0.5)],
    )
    def test_units(self, make_signal, counts, unit, scale, centre):
        axis = siftem.from_hyperspy(make_signal(counts, energy=(0.0, scale, unit))).axis
        assert axis.centers[1] == pytest.approx(centre)
        assert axis.unit == ("keV" if unit == "KeV" else "eV")

    @pytest.mark.parametrize(
        ("signal_type", "scale", "unit"),
        [("EDS_TEM", 0.01, "keV"), ("EDS_TEM", 20.0, "eV"), ("EELS", 0.5, "eV")],
    )
    def test_missing_unit_goes_by_the_kind_of_signal(
        self, make_signal, counts, signal_type, scale, unit
    ):
        energy = (0.2, scale, "")
        si = siftem.from_hyperspy(make_signal(counts, signal_type=signal_type, energy=energy))
        assert si.axis.unit == unit
        assert any("no unit" in note for note in si.notes)

    @pytest.mark.parametrize(
        ("signal_type", "energy", "match"),
        [
            ("EDS_TEM", (0.0, 1.0, ""), "not calibrated"),
            ("", (0.1, 0.01, ""), "no unit and the signal no type"),
            ("", (400.0, 1.0, "nm"), "'nm', not in keV or eV"),
            ("EDS_TEM", (0.0, np.nan, "keV"), "calibrate"),
        ],
    )
    def test_unusable_axes(self, make_signal, counts, signal_type, energy, match):
        with pytest.raises(InputError, match=match):
            siftem.from_hyperspy(make_signal(counts, signal_type=signal_type, energy=energy))

    def test_uneven_axis(self, make_signal, counts):
        signal = make_signal(counts)
        signal.axes_manager[-1].convert_to_non_uniform_axis()
        siftem.from_hyperspy(signal)  # even steps in the form of a list
        signal.axes_manager[-1].axis = np.linspace(1, 2, 60) ** 2
        with pytest.raises(InputError, match="not uniform"):
            siftem.from_hyperspy(signal)


class TestShapes:
    def test_one_pixel(self, tmp_path, make_signal):
        cube = np.arange(6, dtype=np.uint16).reshape(1, 1, 6)
        same_counts(siftem.load(saved(make_signal(cube), tmp_path / "one.hspy")), cube)

    def test_frames_are_summed(self, tmp_path, make_signal, counts):
        signal = make_signal(np.stack([counts, counts, counts]))
        signal.axes_manager.navigation_axes[2].name = "Frame"
        si = siftem.load(saved(signal, tmp_path / "frames.hspy"))
        same_counts(si, 3 * counts.astype(int))
        assert "summed 3 frames" in si.notes

    def test_a_time_axis_means_frames_and_detectors_are_said_to_be_detectors(
        self, make_signal, counts
    ):
        signal = make_signal(np.stack([counts, counts]))
        axis = signal.axes_manager.navigation_axes[2]
        axis.name, axis.units = "", "s"
        assert "summed 2 frames" in siftem.from_hyperspy(signal).notes
        axis.name = "EDS detector"
        assert "summed 2 detectors" in siftem.from_hyperspy(signal).notes

    def test_an_unknown_third_axis_is_refused(self, make_signal, counts):
        signal = make_signal(np.stack([counts, counts]))
        axis = signal.axes_manager.navigation_axes[2]
        axis.name, axis.units = "z", "nm"
        with pytest.raises(InputError, match="third navigation axis 'z' of 2 steps"):
            siftem.from_hyperspy(signal)

    def test_energy_filtered_images_are_a_map_turned_round(self, tmp_path, make_signal, counts):
        signal = make_signal(counts.transpose(2, 0, 1), kind="Signal2D", signal_type="")
        axis = signal.axes_manager.navigation_axes[0]
        axis.offset, axis.scale, axis.units = 700.0, 2.0, "eV"
        si = siftem.load(saved(signal, tmp_path / "efi.hspy"))
        same_counts(si, counts)
        assert (si.axis.offset, si.pixel_size) == (700.0, (2.0, 2.0))

    def test_line_scans_and_single_spectra(self, make_signal, counts):
        with pytest.raises(InputError, match="a line scan of 5 points, not a map"):
            siftem.from_hyperspy(make_signal(counts[0]))
        with pytest.raises(InputError, match="single spectrum"):
            siftem.from_hyperspy(make_signal(counts[0, 0]))

    def test_not_a_signal(self):
        with pytest.raises(InputError, match="HyperSpy signal, got ndarray"):
            siftem.from_hyperspy(np.zeros((2, 2, 3)))


class TestSignalType:
    @pytest.mark.parametrize(
        ("stated", "unit", "kev", "expected"),
        [
            ("EDS_SEM", "keV", 15, "EDS_SEM"),
            ("EELS", "eV", 200, "EELS"),
            ("", "keV", 200, "EDS_TEM"),
            ("", "keV", 15, "EDS_SEM"),
            ("", "eV", 200, ""),
            ("EDS", "eV", 200, "EDS_TEM"),
        ],
    )
    def test_stated_or_assumed_with_a_note(self, make_signal, counts, stated, unit, kev, expected):
        signal = make_signal(counts, signal_type=stated, energy=(0.5, 0.1, unit))
        signal.metadata.set_item(
            f"Acquisition_instrument.{'SEM' if stated == 'EDS_SEM' else 'TEM'}.beam_energy", kev
        )
        si = siftem.from_hyperspy(signal)
        assert si.signal_type == expected
        assert any("kind of signal" in n for n in si.notes) == (stated in ("", "EDS"))

    @pytest.mark.parametrize(
        ("energy", "name", "detector", "expected"),
        [
            ((0.0, 100.0, "eV"), "Energy", None, "EDS_TEM"),  # 6 keV: too far for losses
            ((0.0, 30.0, "eV"), "Energy", None, ""),
            ((0.0, 30.0, "eV"), "Energy", "EDS.live_time", "EDS_TEM"),
            ((0.0, 30.0, "eV"), "Energy", "EELS.exposure", "EELS"),
            ((0.0, 100.0, "eV"), "Energy loss", None, "EELS"),
            ((0.0, 0.01, "keV"), "Energy loss", None, "EELS"),
        ],
    )
    def test_without_a_type_axis_and_detectors_tell(
        self, make_signal, counts, energy, name, detector, expected
    ):
        signal = make_signal(counts, signal_type="", energy=energy)
        signal.axes_manager.signal_axes[0].name = name
        if detector:
            signal.metadata.set_item(f"Acquisition_instrument.TEM.Detector.{detector}", 1.0)
        si = siftem.from_hyperspy(signal)
        assert si.signal_type == expected
        assert ("acquisition: {signal_type" in " ".join(si.notes)) == (expected == "")


class TestBadCounts:
    def test_all_zero(self, tmp_path, make_signal):
        signal = make_signal(np.zeros((3, 3, 8), np.uint8))
        with pytest.raises(InputError, match="no counts at all"):
            siftem.from_hyperspy(signal)
        path = saved(signal, tmp_path / "zero.hspy")
        with pytest.raises(ReadError, match=r"zero\.hspy: the map holds no counts at all"):
            siftem.load(path)

    def test_an_energy_range_without_counts(self, tmp_path, make_signal):
        cube = np.zeros((2, 2, 60), np.uint8)
        cube[..., :10] = 1
        path = saved(make_signal(cube), tmp_path / "low.hspy")
        with pytest.raises(ReadError, match=r"no counts between 0\.2 and 0\.4"):
            siftem.load(path, energy_range=(0.2, 0.4))
        with pytest.raises(InputError, match="no channel lies between"):
            siftem.load(path, energy_range=(20, 40))

    def test_negative_and_nan(self, tmp_path, make_signal, counts):
        cube = counts.astype(np.float32)
        cube[0, 0, :3] = [-1, np.nan, -4]
        path = saved(make_signal(cube), tmp_path / "bad.hspy")
        with pytest.raises(InputError, match=r"bad\.hspy: .*1 NaN .* 2 negative \(lowest -4\)"):
            siftem.load(path)

    def test_halves_are_brought_back_to_counts(self, make_signal, counts):
        si = siftem.from_hyperspy(make_signal(counts / 2, energy=(0.2, 0.02, "keV")))
        same_counts(si, counts)
        assert any("multiples of 0.5" in note for note in si.notes)

    def test_other_fractions_are_kept_with_a_note(self, make_signal, counts):
        odd = counts * np.random.default_rng(0).random(counts.shape)
        si = siftem.from_hyperspy(make_signal(odd))
        assert si.counts.dtype == np.float64
        assert any("use the raw counts" in note for note in si.notes)
        same_counts(si, odd)


class TestManners:
    def test_progress_runs_to_one(self, tmp_path, make_signal, counts):
        path = saved(make_signal(counts), tmp_path / "map.hspy")
        seen = []
        siftem.load(path, progress=lambda step, fraction: seen.append((step, fraction)))
        # A file that opens slowly says so before.
        read = [fraction for step, fraction in seen if step != "opening the file"]
        assert (read[0], read[-1]) == (0.0, 1.0)
        assert seen[-1][0] == "reading counts"

    def test_what_the_callback_raises_stops_the_work_unchanged(self, tmp_path, make_signal, counts):
        class Cancelled(Exception):
            pass

        def cancel(step, fraction):
            raise Cancelled

        path = saved(make_signal(counts), tmp_path / "map.hspy")
        with pytest.raises(Cancelled):
            siftem.load(path, progress=cancel)

    def test_nothing_is_printed_and_the_loggers_come_back(self, tmp_path, make_signal, counts):
        path = saved(make_signal(counts, signal_type="unheard of"), tmp_path / "map.hspy")
        script = (
            "import sys, siftem\n"
            "siftem.load(sys.argv[1])\n"
            "try: siftem.load(sys.argv[2])\n"
            "except siftem.SiftemError: pass\n"
        )
        wrong = tmp_path / "wrong.pts"
        wrong.write_bytes(b"no such thing" * 50)
        done = subprocess.run(
            [sys.executable, "-c", script, path, wrong],
            capture_output=True,
            text=True,
            check=True,
        )
        assert (done.stdout, done.stderr) == ("", "")

        logger = logging.getLogger("hyperspy")
        before = (logger.handlers[:], logger.propagate, logger.level)
        with opened(path):
            assert logger.handlers != before[0]
        assert (logger.handlers[:], logger.propagate, logger.level) == before

    def test_the_file_is_closed_again(self, tmp_path, make_signal, counts):
        path = saved(make_signal(counts), tmp_path / "map.hspy")
        siftem.load(path)
        import h5py

        with h5py.File(path, "r+") as file:  # fails while somebody still reads it
            assert "Experiments" in file

    def test_warning_filters_are_restored(self, tmp_path, make_signal, counts):
        path = saved(make_signal(counts), tmp_path / "map.hspy")
        before = warnings.filters[:]
        siftem.load(path)
        assert warnings.filters == before
