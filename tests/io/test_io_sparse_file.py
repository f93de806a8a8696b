"""The sparse map file: what goes in comes out, and what is damaged is refused."""

import io
import json
import subprocess
import sys
from dataclasses import fields

import h5py
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import siftem
from siftem.errors import InputError, ReadError
from siftem.large.sparse_file import MapHeader, is_sparse_file, open_sparse_file, read_sparse_file
from siftem.large.sparse_writer import DiskFile, SparseFileWriter, write_sparse_file

ACQUISITION = siftem.Acquisition(beam_energy=200.0, take_off_angle=22.0, elements=("Mg", "Si"))


def image(cube, **more):
    ny, nx, m = cube.shape
    return siftem.SpectrumImage(
        sp.csr_array(cube.reshape(ny * nx, m)),
        (ny, nx),
        siftem.EnergyAxis(-0.1, 0.01, m),
        acquisition=ACQUISITION,
        **more,
    )


@pytest.fixture
def cube():
    return np.random.default_rng(3).poisson(0.2, (6, 7, 50)).astype(np.int32)


@pytest.fixture
def stored(cube, tmp_path):
    return write_sparse_file(image(cube), tmp_path / "map.sift", entries_per_block=60)


@pytest.mark.parametrize("compress", [False, True])
def test_everything_comes_back(cube, tmp_path, compress):
    si = image(
        cube,
        pixel_size=(1.5, 2.0),
        survey=np.arange(42.0).reshape(6, 7),
        survey_name="BF",
        signal_type="EDS_SEM",
        title="a map",
        notes=("one", "two µ"),
        doubts=("two µ",),
        pedestal=0.3,
    )
    path = write_sparse_file(si, tmp_path / "map.sift", compress=compress, entries_per_block=60)
    for back in (siftem.load(path), read_sparse_file(path)):
        np.testing.assert_array_equal(back.counts.toarray(), si.counts.toarray())
        np.testing.assert_array_equal(back.survey, si.survey)
        for name in {f.name for f in fields(si)} - {"counts", "survey"}:
            assert getattr(back, name) == getattr(si, name), name
            assert getattr(si, name) != getattr(image(cube), name) or name in {
                "shape", "axis", "acquisition",
            }, f"{name} has its default, so this shows nothing"  # fmt: skip


def test_a_pedestal_is_taken_off_however_a_map_is_kept(cube, tmp_path):
    si = image(cube, signal_type="EELS", pedestal=0.15)
    expected = cube.sum() - 0.15 * cube.size
    siftem.to_hyperspy(si).save(tmp_path / "map.hspy")
    siftem.convert(tmp_path / "map.hspy", tmp_path / "map.sift")
    write_sparse_file(si, tmp_path / "written.sift")
    everything = np.ones(si.shape, bool)
    for name in ("map.hspy", "map.sift", "written.sift"):
        read = siftem.load(tmp_path / name)
        assert siftem.integrate(read, everything).values.sum() == pytest.approx(expected), name
    with siftem.open_map(tmp_path / "map.sift") as on_disk:
        assert siftem.integrate(on_disk, everything).values.sum() == pytest.approx(expected)


def test_blocks_are_whole_pixels_of_about_the_wanted_size(stored, cube):
    _, source, _ = open_sparse_file(stored)
    assert source.edges[0] == 0
    assert source.edges[-1] == 42
    flat = cube.reshape(42, 50)
    for first, last in zip(source.edges[:-1], source.edges[1:], strict=True):
        rows = source.read(first, last)
        np.testing.assert_array_equal(rows.toarray(), flat[first:last])
        longest = (flat != 0).sum(axis=1).max()
        assert last == 42 or 60 <= rows.nnz < 60 + longest
    np.testing.assert_array_equal(source.read(10, 31).toarray(), flat[10:31])


@pytest.mark.parametrize(
    ("largest", "kind"),
    [(255, "u1"), (256, "u2"), (65536, "u4"), (2**32, "i8"), (0.5, "f8"), (2.0**60, "f8")],
)
def test_counts_are_kept_in_the_smallest_type_that_holds_them(tmp_path, largest, kind):
    axis = siftem.EnergyAxis(0, 1, 4)
    with SparseFileWriter(tmp_path / "a.sift", MapHeader((2, 2), axis)) as writer:
        # The large count comes last: what is written already has to be widened.
        writer.append(sp.csr_array(np.array([[1, 0, 2, 0], [0, 0, 0, 7]])))
        writer.append(sp.csr_array(np.array([[0, 0, 0, 0], [0, largest, 0, 0]])))
    with h5py.File(tmp_path / "a.sift") as file:
        assert file["counts/values"].dtype == np.dtype(kind)
    expected = np.array([[1, 0, 2, 0], [0, 0, 0, 7], [0, 0, 0, 0], [0, largest, 0, 0]])
    np.testing.assert_array_equal(siftem.load(tmp_path / "a.sift").counts.toarray(), expected)


def test_a_failed_write_leaves_what_was_there(stored, tmp_path):
    before = stored.read_bytes()
    header = MapHeader((2, 2), siftem.EnergyAxis(0, 1, 4))
    rows = sp.csr_array(np.ones((3, 4)))
    with (
        pytest.raises(InputError, match="only 3 of 4 pixels"),
        SparseFileWriter(stored, header) as writer,
    ):
        writer.append(rows)
    with pytest.raises(InputError, match="do not fit"), SparseFileWriter(stored, header) as writer:
        writer.append(rows)
        writer.append(rows)
    with pytest.raises(KeyboardInterrupt), SparseFileWriter(stored, header) as writer:
        writer.append(rows)
        raise KeyboardInterrupt
    assert stored.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["map.sift"]


def damage(path, change):
    with h5py.File(path, "r+") as file:
        change(file)


def replaced(name, values):
    def change(file):
        del file[name]
        file[name] = values

    return change


HEADERS = {
    "no shape": lambda f: f.attrs.__delitem__("shape"),
    "negative shape": lambda f: f.attrs.__setitem__("shape", [-6, -7]),
    "absurd shape": lambda f: f.attrs.__setitem__("shape", [2**30, 2**30]),
    "other shape": lambda f: f.attrs.__setitem__("shape", [6, 8]),
    "absurd axis": lambda f: f.attrs.__setitem__("energy_size", 2**40),
    "no unit": lambda f: f.attrs.__setitem__("energy_unit", "furlong"),
    "scale": lambda f: f.attrs.__setitem__("energy_scale", float("nan")),
    "acquisition": lambda f: f.attrs.__setitem__("acquisition", "{"),
    "notes": lambda f: f.attrs.__setitem__("notes", "["),
    "no counts": lambda f: f.__delitem__("counts"),
    "edges": replaced("counts/block_edges", np.array([0, 50, 42])),
    "no edges": replaced("counts/block_edges", np.zeros((0,), np.int64)),
    "row starts": replaced("counts/row_starts", np.arange(42)),
    "types": replaced("counts/channels", np.array(["a", "b"], "S1")),
    "survey": replaced("survey", np.zeros((3, 3))),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_damaged_header_is_refused_in_one_sentence(stored, kind):
    if kind == "survey":
        damage(stored, lambda f: f.__setitem__("survey", np.zeros((6, 7))))
    damage(stored, HEADERS[kind])
    with pytest.raises((ReadError, InputError)) as caught:
        open_sparse_file(stored)
    assert "\n" not in str(caught.value)
    with pytest.raises((ReadError, InputError)):
        siftem.load(stored)


def test_a_header_alone_cannot_ask_for_memory(tmp_path):
    """Datasets that claim 2**36 pixels without storing one: refused, not allocated."""
    path = tmp_path / "map.sift"
    write_sparse_file(image(np.ones((2, 2, 3), int)), path)
    n = 2**36

    def change(file):
        file.attrs["shape"] = [2**18, 2**18]
        del file["counts/row_starts"]
        file["counts"].create_dataset("row_starts", (n + 1,), "int64", chunks=(1024,))
        replaced("counts/block_edges", np.array([0, n]))(file)
        for name in ("channels", "values"):
            file[f"counts/{name}"].resize((0,))

    damage(path, change)
    with pytest.raises(ReadError, match="row starts"):
        siftem.load(path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda f: f["counts/channels"].__setitem__(3, 60), "beyond the energy axis"),
        (lambda f: f["counts/values"].__setitem__(3, 0), "zero, negative, NaN"),
        (lambda f: f["counts/channels"].__setitem__(slice(0, 2), [9, 9]), "out of order"),
        (lambda f: f["counts/row_starts"].__setitem__(5, 10**9), "row starts are damaged"),
    ],
)
def test_damaged_counts_are_refused(stored, change, match):
    damage(stored, change)
    with pytest.raises(ReadError, match=match):
        siftem.load(stored)


def test_nan_and_later_versions_are_refused(tmp_path):
    path = write_sparse_file(image(np.full((2, 2, 3), 0.5)), tmp_path / "map.sift")
    damage(path, lambda f: f["counts/values"].__setitem__(0, np.nan))
    with pytest.raises(ReadError, match="NaN"):
        siftem.load(path)
    damage(path, lambda f: f.attrs.__setitem__("version", 99))
    with pytest.raises(ReadError, match=r"version 99 .* update siftem"):
        open_sparse_file(path)


def test_what_is_no_sparse_file_is_said_so(tmp_path):
    (tmp_path / "text").write_text("hello")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    for name in ("text", "other.h5", "nothing"):
        assert not is_sparse_file(tmp_path / name)
        with pytest.raises(ReadError):
            open_sparse_file(tmp_path / name)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_random_damage_never_escapes_as_anything_but_one_sentence(stored, data):
    content = bytearray(stored.read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    path = stored.with_name("damaged.sift")
    path.write_bytes(content[:cut] if data.draw(st.booleans()) else content)
    try:
        read_sparse_file(path)
    except (ReadError, InputError) as error:
        assert "\n" not in str(error)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_wrong_numbers_in_the_right_places_are_refused_or_read(stored, data):
    """Datasets that are whole, with entries that contradict each other, or of another type."""
    path = stored.with_name("wrong.sift")
    path.write_bytes(stored.read_bytes())
    name = data.draw(st.sampled_from(["channels", "values", "row_starts", "block_edges"]))
    with h5py.File(path, "r+") as file:
        values = file[f"counts/{name}"][:]
        if data.draw(st.booleans()):
            kind = data.draw(st.sampled_from(["uint8", "uint64", "int64", "float32", "S3"]))
            values = values.astype(kind)
        for _ in range(data.draw(st.integers(0, 3))):
            at = data.draw(st.integers(0, values.size - 1))
            wrong = data.draw(st.sampled_from([0, 1, 2, 5, 41, 42, 49, 50, 255, 2**31, 2**62]))
            values[at] = np.array(wrong).astype(values.dtype)
        replaced(f"counts/{name}", values)(file)
    try:
        si = read_sparse_file(path)
        with siftem.open_map(path, scheduler="synchronous") as blocks:
            assert blocks.total_map() == pytest.approx(si.total_map(), rel=1e-6)
            found = blocks.counts[:, 3:40].in_memory()
    except (ReadError, InputError) as error:
        assert "\n" not in str(error)
        return
    assert (si.counts.data > 0).all()
    np.testing.assert_allclose(found.toarray(), si.counts[:, 3:40].toarray(), rtol=1e-6)


FILL = """
import resource, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from siftem.cli.main import main
sys.exit(main(["convert", sys.argv[2], sys.argv[3], "--quiet"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on files there")
@pytest.mark.parametrize("share", [0.002, 0.3, 0.98])
def test_a_full_disk_is_one_line_wherever_it_strikes(stored, tmp_path, share):
    """HDF5 ends the interpreter when it cannot write; the limit stands for a full disk."""
    big = tmp_path / "big.sift"
    counts = np.random.default_rng(1).poisson(0.3, (400, 1000))
    axis = siftem.EnergyAxis(0, 0.01, 1000)
    write_sparse_file(siftem.SpectrumImage(sp.csr_array(counts), (20, 20), axis), big)
    before = stored.read_bytes()
    limit = str(int(share * big.stat().st_size))
    ended = subprocess.run(
        [sys.executable, "-c", FILL, limit, str(big), str(stored)], capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
    assert "no space is left" in ended.stderr
    assert stored.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["big.sift", "map.sift"]


def test_a_disk_file_tells_the_first_error_only_when_asked(tmp_path):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"), DiskFile(tmp_path / "a") as file:
        assert file.write(b"abc") == 3
        file._file.close()
        file._file = Full(b"abc")
        file.seek(3)
        assert file.write(b"defg") == 4
        assert file.write(b"h") == 1
        assert file.tell() == 8
        file.seek(0)
        assert file.read(5) == b"abc\0\0"
        with pytest.raises(OSError, match="No space left"):
            file.check()


def instead_of(name, **how):
    """Put a data set of another kind in the place of one."""

    def spoil(content):
        old = content[name]
        data = old[:] if old.shape[0] < 10**6 else None
        del content[name]
        made = content.create_dataset(name, **{"data": data, **how})
        if name == "survey":
            made.attrs["name"] = "BF"

    return spoil


def linked(name, link):
    def spoil(content):
        del content[name]
        content[name] = link

    return spoil


def virtual(content):
    stored = content["counts/values"]
    layout = h5py.VirtualLayout(stored.shape, stored.dtype)
    layout[:] = h5py.VirtualSource(".", "counts/values", stored.shape)
    del content["counts/values"]
    content["counts"].create_virtual_dataset("values", layout)


def wrapping(content):
    starts = content["counts/row_starts"][:]
    starts[1:-1:2], starts[2:-1:2] = -(2**31), 2**31 - 1
    instead_of("counts/row_starts", data=starts.astype(np.int32))(content)


def late(content):
    content["counts/row_starts"][0] = 3


def unstored(content):
    number = 2 * 10**5
    for name in ("channels", "values"):
        kind = content[f"counts/{name}"].dtype
        how = {"shape": (number,), "dtype": kind, "chunks": (1000,), "fillvalue": 1, "data": None}
        instead_of(f"counts/{name}", **how)(content)
    content["counts/row_starts"][-1] = number


def acquired(**what):
    def spoil(content):
        content.attrs["acquisition"] = json.dumps(what)

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        linked("counts/values", h5py.ExternalLink("/dev/zero", "/values")),
        linked("counts", h5py.ExternalLink("other.sift", "/counts")),
        linked("counts/values", h5py.SoftLink("/counts/values")),
        linked("survey", h5py.ExternalLink("other.sift", "/survey")),
        virtual,
        wrapping,
        late,
        unstored,
        instead_of("counts/values", dtype=">u4"),
        instead_of("counts/values", dtype="f2"),
        instead_of("counts/values", dtype=np.longdouble),
        instead_of("survey", data=np.zeros((6, 7), "S50")),
        acquired(beam_energy="abc"),
        acquired(beam_energy=[200]),
        acquired(live_time=float("nan")),
        acquired(elements="Fe"),
        acquired(elements=[1, 2]),
    ],
)
def test_data_that_lie_elsewhere_or_make_no_sense_are_refused(cube, tmp_path, spoil):
    si = image(cube, survey=np.zeros((6, 7)))
    path = write_sparse_file(si, tmp_path / "map.sift", entries_per_block=60)
    with h5py.File(path, "r+") as content:
        spoil(content)
    with pytest.raises(ReadError, match="damaged"):
        read_sparse_file(path)


def test_a_file_is_not_replaced_by_its_own_conversion(stored, tmp_path):
    before = stored.read_bytes()
    link = tmp_path / "link.sift"
    link.symlink_to(stored)
    for out in (stored, link):
        with pytest.raises(InputError, match=r"map\.sift would be replaced"):
            siftem.convert(stored, out, energy_range=(0.0, 0.2))
    assert stored.read_bytes() == before


@pytest.mark.parametrize(
    ("kind", "value"), [("i8", 2**62), ("u8", 2**64 - 1), ("f8", 1e300), ("f8", 1.7e308)]
)
def test_more_counts_than_any_detector_counts_are_refused(stored, kind, value):
    with h5py.File(stored, "r+") as content:
        number = content["counts/values"].shape
        instead_of("counts/values", data=np.full(number, value, kind))(content)
    with pytest.raises(ReadError, match=r"map\.sift: the counts add up to .* than any detector"):
        siftem.load(stored)
    with siftem.open_map(stored) as si, pytest.raises(ReadError, match="than any detector"):
        si.sum_spectrum()


def test_a_damaged_file_is_told_to_be_damaged_and_not_of_an_unknown_kind(stored, tmp_path):
    content = stored.read_bytes()
    for name, part in (("cut", content[:2000]), ("text", b"hello " * 100)):
        path = tmp_path / f"{name}.sift"
        path.write_bytes(part)
        with pytest.raises(ReadError, match="damaged"):
            siftem.load(path)


def test_a_map_without_counts_is_refused(cube, tmp_path):
    path = write_sparse_file(image(0 * cube), tmp_path / "empty.sift")
    with pytest.raises(ReadError, match=r"empty\.sift: the map holds no counts at all"):
        siftem.load(path)
    cube[:, :, :10] = 0
    half = write_sparse_file(image(cube), tmp_path / "half.sift")
    for source, energies, where in (
        (path, None, "at all"),
        (image(0 * cube), None, "at all"),
        (half, (None, -0.05), r"below -0\.05"),
    ):
        with pytest.raises((ReadError, InputError), match=f"holds no counts {where}"):
            siftem.convert(source, tmp_path / "out.sift", energy_range=energies)
    assert not (tmp_path / "out.sift").exists()


def test_numbers_of_an_acquisition_that_cannot_be_are_not_said(stored):
    with h5py.File(stored, "r+") as content:
        acquired(beam_energy=-5, live_time=0, take_off_angle=22)(content)
    acquisition = siftem.load(stored).acquisition
    assert acquisition.beam_energy is None
    assert acquisition.live_time is None
    assert acquisition.take_off_angle == 22.0


@pytest.mark.parametrize("name", ["no/folder.sift", "/proc/map.sift", f"{300 * 'a'}.sift", ""])
def test_where_nothing_can_be_written_is_said_in_one_line(stored, cube, tmp_path, name):
    before = sorted(tmp_path.iterdir())
    for source in (stored, image(cube)):
        with pytest.raises(InputError, match="cannot write"):
            siftem.convert(source, tmp_path / name)
    assert sorted(tmp_path.iterdir()) == before


def test_a_name_may_be_as_long_as_the_system_lets_it(cube, tmp_path):
    path = siftem.convert(image(cube), tmp_path / f"{250 * 'a'}.sift")
    assert siftem.load(path).total == cube.sum()
