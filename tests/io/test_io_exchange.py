import numpy as np
import pytest

import siftem
from siftem.errors import ReadError
from siftem.io.exchange import read_emsa, write_emsa


@pytest.fixture
def spectrum():
    return siftem.Spectrum(
        np.array([1.0, 2.5, -3.25, 1e6, 0.0, 1 / 3]),
        siftem.EnergyAxis(-0.47195, 0.01, 6),
        variance=np.array([1.0, 4.0, 9.0, 1e6, 0.0, 0.25]),
        modes=np.array([[0.0, 0.0, 4.0, 0.0, 0.0, 0.0]]),
        name="Ca-Pv",
        acquisition=siftem.Acquisition(200.0, 22.0, 130.0, 12.5, 0.3),
    )


def test_emsa_round_trip_is_exact(tmp_path, spectrum):
    write_emsa(tmp_path / "a.msa", spectrum)
    found = read_emsa(tmp_path / "a.msa")
    np.testing.assert_array_equal(found.values, spectrum.values)
    assert found.axis == spectrum.axis
    assert found.name == "Ca-Pv"
    expected = siftem.Acquisition(200.0, pytest.approx(22.0), None, 12.5, 0.3)
    assert found.acquisition == expected


def test_hyperspy_reads_what_we_write(tmp_path, spectrum):
    import hyperspy.api as hs

    write_emsa(tmp_path / "a.msa", spectrum)
    signal = hs.load(tmp_path / "a.msa")
    np.testing.assert_allclose(signal.data, spectrum.values, rtol=1e-6)
    axis = signal.axes_manager[0]
    assert (axis.offset, axis.scale, axis.units) == (-0.47195, 0.01, "keV")
    assert signal.metadata.Signal.signal_type == "EDS_TEM"
    assert signal.metadata.General.title == "Ca-Pv"
    tem = signal.metadata.Acquisition_instrument.TEM
    assert (tem.beam_energy, tem.beam_current) == (200.0, 0.3)
    assert (tem.Detector.EDS.elevation_angle, tem.Detector.EDS.live_time) == (22.0, 12.5)


@pytest.mark.parametrize("layout", ["Y", "XY"])
def test_we_read_what_hyperspy_writes(tmp_path, make_signal, layout):
    values = np.array([3.0, 0.0, 1e5, 7.5])
    signal = make_signal(values, energy=(100.0, 0.5, "eV"), signal_type="EELS", title="edge")
    signal.save(tmp_path / "a.msa", format=layout)
    found = read_emsa(tmp_path / "a.msa")
    np.testing.assert_allclose(found.values, values)
    assert (found.axis.offset, found.axis.scale, found.axis.unit) == (100.0, 0.5, "eV")
    assert found.name == "edge"


def test_a_hand_written_file(tmp_path):
    """Units in the keys, several values a line, high to low energies."""
    (tmp_path / "a.msa").write_text(
        "#FORMAT      : EMSA/MAS Spectral Data File\n#VERSION     : 1.0\n#TITLE       : x\n"
        "#NPOINTS     : 4.\n#NCOLUMNS    : 3.\n#XUNITS      : eV\n#YUNITS      : Intensity\n"
        "#DATATYPE    : Y\n#XPERCHAN    : -10.0\n#OFFSET      : 90.0\n#BEAMKV   -kV: 300.0\n"
        "#ELEVANGLE-dg: 18.0\n#XTILTSTGE-dg: 10.0\n"
        "#SPECTRUM    : Spectral Data Starts Here\n1., 2., 3.,\n4.0\n#ENDOFDATA   :\n"
    )
    found = read_emsa(tmp_path / "a.msa")
    assert found.values.tolist() == [4.0, 3.0, 2.0, 1.0]
    assert found.axis == siftem.EnergyAxis(60.0, 10.0, 4, "eV")
    assert found.acquisition.beam_energy == 300.0
    assert found.acquisition.take_off_angle == pytest.approx(28.0)


def test_a_long_title_with_line_breaks_stays_one_line(tmp_path, spectrum):
    from dataclasses import replace

    write_emsa(tmp_path / "a.msa", replace(spectrum, name="Ca\u2013Pv\n#NPOINTS : 1\n" + "x" * 99))
    found = read_emsa(tmp_path / "a.msa")
    assert len(found.values) == 6
    assert len(found.name) == 64


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("EMSA/MAS Spectral", "Something", "not an EMSA"),
        ("#NPOINTS     : 6", "#NPOINTS     : 9", "promises 9 channels and holds 6"),
        ("#XPERCHAN    : 0.01", "#XPERCHAN    : wide", "lacks a usable"),
        ("#OFFSET", "#OFFSIDE", "lacks a usable"),
        ("#XUNITS      : keV", "#XUNITS      : nm", "energies are in nm"),
        ("#XPERCHAN    : 0.01", "#XPERCHAN    : 0", "positive channel width"),
        ("1000000", "nothing", "promises 6 channels and holds 5"),
    ],
)
def test_damaged_emsa(tmp_path, spectrum, old, new, match):
    path = tmp_path / "a.msa"
    write_emsa(path, spectrum)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ReadError, match=match):
        read_emsa(path)


def test_emsa_cut_short_missing_or_binary(tmp_path, spectrum):
    path = tmp_path / "a.msa"
    write_emsa(path, spectrum)
    path.write_text(path.read_text()[:-40])
    with pytest.raises(ReadError, match="cut short"):
        read_emsa(path)
    with pytest.raises(ReadError, match="no such file"):
        read_emsa(tmp_path / "b.msa")
    path.write_bytes(bytes(range(256)) * 10)
    with pytest.raises(ReadError, match="not an EMSA"):
        read_emsa(path)


def emsa(path, lines, *, n_points=4, kind="Y", width="10", units="counts", extra=""):
    """An EMSA file with the given data lines, from 0 eV on."""
    head = (
        f"#FORMAT      : EMSA/MAS Spectral Data File\n#VERSION     : 1.0\n#TITLE       : t\n"
        f"#NPOINTS     : {n_points}\n#NCOLUMNS    : 1\n#XUNITS      : eV\n#YUNITS      : {units}\n"
        f"#DATATYPE    : {kind}\n#XPERCHAN    : {width}\n#OFFSET      : 0\n{extra}"
        f"#SPECTRUM    : Spectral Data Starts Here\n"
    )
    path.write_bytes((head + "\n".join(lines) + "\n#ENDOFDATA   : \n").encode("latin-1"))
    return path


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("Y", ["1.5", "0.0", "12.25", "3.0"]),
        ("Y", ["1,5", "0,0", "12,25", "3,0"]),
        ("Y", ["1,5", "0", "12,25", "3"]),  # some are whole
        ("Y", ["1,5, 0,0, 12,25, 3,0"]),  # a comma and a space part them
        ("Y", ["1,5;0,0;12,25;3,0"]),
        ("Y", ["1,5\t0,0", "12,25E+00\t3,0e0"]),
        ("Y", ["1.5,0.0,12.25,3.0"]),  # commas alone part them
        ("XY", ["0.0, 1.5", "10.0, 0.0", "20.0, 12.25", "30.0, 3.0"]),
        ("XY", ["0,0; 1,5", "10,0; 0,0", "20,0; 12,25", "30,0; 3,0"]),
        ("XY", ["0 1,5", "10 0,0", "20 12,25", "30 3,0"]),
    ],
)
def test_numbers_with_points_and_commas(tmp_path, kind, lines):
    found = read_emsa(emsa(tmp_path / "a.msa", lines, kind=kind))
    assert found.values.tolist() == [1.5, 0.0, 12.25, 3.0]


def test_commas_part_whole_numbers(tmp_path):
    found = read_emsa(emsa(tmp_path / "a.msa", ["1,2,3,4"]))
    assert found.values.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_a_header_with_commas_and_a_byte_order_mark(tmp_path):
    path = emsa(
        tmp_path / "a.msa",
        ["1", "2", "3", "4"],
        width="2,5",
        n_points="4,0",
        extra="#BEAMKV   -kV: 200,0\n",
    )
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    found = read_emsa(path)
    assert found.axis == siftem.EnergyAxis(0.0, 2.5, 4, "eV")
    assert found.acquisition.beam_energy == 200.0


@pytest.mark.parametrize(
    ("units", "width_ev"),
    [("CPS", None), ("counts/s", None), ("Counts per second", None), ("cps/eV", 10.0),
     ("cps/keV", 0.01)],
)  # fmt: skip
def test_rates_become_counts_by_the_live_time(tmp_path, units, width_ev):
    """Counts of 60 s: only they have the variance of a counted spectrum."""
    counts = np.array([0, 7, 100, 12345])
    lines = [f"{c / 60 / (width_ev or 1.0):.5f}" for c in counts]
    extra = "#LIVETIME -s : 60,0\n"
    found = read_emsa(emsa(tmp_path / "a.msa", lines, units=units, extra=extra))
    np.testing.assert_allclose(found.values, counts, atol=0.05)
    np.testing.assert_allclose(found.variance, counts, atol=0.05)
    assert "live time of 60 s" in found.notes[0]


def test_rates_without_a_live_time_are_refused(tmp_path):
    with pytest.raises(ReadError, match=r"rates \(CPS\) without a live time.*#LIVETIME"):
        read_emsa(emsa(tmp_path / "a.msa", ["0.1", "0.2", "0.3", "0.4"], units="CPS"))


def test_more_channels_than_promised(tmp_path):
    """1,024 is a thousand and one channel in two: neither is guessed."""
    lines = [str(n % 7) for n in range(1024)]
    with pytest.raises(ReadError, match="promises 1 channels and holds 1024"):
        read_emsa(emsa(tmp_path / "a.msa", lines, n_points="1,024"))
    padded = read_emsa(emsa(tmp_path / "a.msa", ["1, 2, 3", "4, 0, 0"]))
    assert padded.values.tolist() == [1.0, 2.0, 3.0, 4.0]
