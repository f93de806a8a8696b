"""Files that nobody should trust: each gives one sentence, quickly, in little memory."""

import json
import os
import shutil
import struct
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest

import siftem
from siftem.errors import ReadError
from siftem.files.file_headers import is_absurd
from siftem.io.vendor_files import checked_path, stored_bytes


def refused(path, match):
    for read in (siftem.load, siftem.io.signal_choice.list_signals):
        with pytest.raises(ReadError, match=match) as caught:
            read(path)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400


@pytest.fixture(autouse=True)
def contents_imported():
    import siftem.io.fit_checkpoint
    import siftem.io.signal_choice  # noqa: F401


def test_missing_folder_and_empty(tmp_path):
    refused(tmp_path / "nothing.hspy", "there is no such file")
    refused(tmp_path, "it is a folder")
    (tmp_path / "empty.hspy").touch()
    refused(tmp_path / "empty.hspy", "the file is empty")
    refused("\0", "cannot read")
    with pytest.raises(siftem.InputError, match="file name, got int"):
        siftem.load(3)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs an ordinary user")
def test_no_permission(tmp_path):
    path = tmp_path / "locked.hspy"
    path.write_bytes(b"x")
    path.chmod(0)
    refused(path, "cannot read")


def test_unknown_endings(tmp_path):
    for name, match in (
        ("a.txt", r"ending in '\.txt'.*save it from its program"),
        ("noending", "without an ending"),
        ("a.h5oina", r"ending in '\.h5oina'.*AZtec as raw data"),
    ):
        (tmp_path / name).write_text("hello")
        refused(tmp_path / name, match)


@pytest.mark.parametrize(
    "ending",
    ["hspy", "bcf", "emd", "pts", "asw", "dm3", "dm4", "rpl", "h5", "hdf5", "ser", "emi",
     "spd", "tif", "png", "npy", "nxs", "zspy"],
)  # fmt: skip
@pytest.mark.parametrize("content", [b"hello, this is text\n" * 100, bytes(4096)])
def test_wrong_magic(tmp_path, ending, content):
    path = tmp_path / f"wrong.{ending}"
    path.write_bytes(content)
    refused(path, "cannot read|holds no spectrum image")


@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.99])
def test_truncated_hspy(tmp_path, make_signal, counts, fraction):
    path = tmp_path / "cut.hspy"
    make_signal(counts).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    refused(path, "damaged or incomplete")


def test_damaged_chunk_is_met_while_reading(tmp_path, make_signal, counts):
    path = tmp_path / "map.hspy"
    make_signal(counts).save(path)
    with h5py.File(path) as file:
        stored = file["Experiments/EDS/data"].id.get_chunk_info(0)
    with path.open("r+b") as stream:
        stream.seek(stored.byte_offset + stored.size // 2)
        stream.write(os.urandom(stored.size // 4))
    with pytest.raises(ReadError, match=r"map\.hspy: the map cannot be read, the file is damaged"):
        siftem.load(path)


@pytest.mark.parametrize(
    ("shape", "chunks"),
    [
        ((100_000, 100_000, 4096), (1, 1, 4096)),
        ((10**6, 10**6, 4096), None),
        ((1, 1, 10**10), None),
        ((30_000, 30_000, 1), (100, 100, 1)),
        ((20, 20, 10**6), (20, 20, 100)),
    ],
)
def test_absurd_shapes(tmp_path, make_signal, shape, chunks):
    path = tmp_path / "absurd.hspy"
    make_signal(np.ones((1, 1, 2), np.uint8)).save(path)
    with h5py.File(path, "a") as file:
        group = file["Experiments/EDS"]
        del group["data"]
        group.create_dataset("data", shape=shape, dtype="u1", chunks=chunks)
        for number, size in enumerate(shape):
            group[f"axis-{number}"].attrs["size"] = size
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ReadError, match=r"claims .* in a file of .* MB|chunks .* missing"):
        siftem.load(path)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300 * 1024  # kB


def test_a_hollow_map_takes_no_memory(tmp_path, make_signal):
    """A believable shape with nothing in it: no dense cube of its 400 MB."""
    path = tmp_path / "hollow.hspy"
    make_signal(np.ones((1, 1, 2), np.uint8)).save(path)
    with h5py.File(path, "a") as file:
        group = file["Experiments/EDS"]
        del group["data"]
        group.create_dataset("data", shape=(200, 500, 1000), dtype="f4", chunks=(200, 500, 1000))
        for number, size in enumerate((200, 500, 1000)):
            group[f"axis-{number}"].attrs["size"] = size
    tracemalloc.start()
    with pytest.raises(ReadError, match=r"1 of 1 chunks of its .* are missing"):
        siftem.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6


def test_ripple_header_that_promises_more_than_the_raw_file(tmp_path, make_signal, counts):
    path = tmp_path / "map.rpl"
    make_signal(counts).save(path)
    raw = path.with_suffix(".raw")
    raw.write_bytes(raw.read_bytes()[:-100])
    refused_reading = pytest.raises(ReadError, match=r"map\.rpl")
    with refused_reading:
        siftem.load(path)


@pytest.mark.parametrize("key", ["width", "height", "depth"])
def test_ripple_header_that_claims_an_absurd_map(tmp_path, make_signal, counts, key):
    path = tmp_path / "map.rpl"
    make_signal(counts).save(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    spoiled = [f"{key}\t1000000000" if line.startswith(f"{key}\t") else line for line in lines]
    assert spoiled != lines
    path.write_text("\n".join(spoiled) + "\n", encoding="utf-8")
    refused(path, r"map\.rpl: its header claims .*1000000000.* so it is damaged")
    # The readers are left as they were.
    from rsciio.utils.file import memmap_distributed

    assert memmap_distributed.__name__ == "memmap_distributed"


def test_a_jeol_stream_that_is_cut_short(tmp_path):
    path = tmp_path / "map.pts"
    header = struct.pack("<I8s6I", 304, b"PTTDFILE", 0, 0, 305, 100, 32768, 100_000)
    path.write_bytes(header + bytes(50_000))
    refused(path, "cut short, 50036 of 100000 bytes")


def test_size_of_a_file_counts_its_companions(tmp_path):
    for name, size in (("a.rpl", 10), ("a.raw", 1000), ("b.raw", 5000)):
        (tmp_path / name).write_bytes(bytes(size))
    assert stored_bytes(tmp_path / "a.rpl") == 1010
    assert checked_path(tmp_path / "a.rpl") == tmp_path / "a.rpl"


def test_what_counts_as_absurd():
    million = 10**6
    assert not is_absurd(1024 * 1024 * 4096, 2 * million)  # one byte in 20,000 is there
    assert is_absurd(1024 * 1024 * 4096, million // 10)
    assert not is_absurd(201 * 201 * 2048, 1)


def external_link(group):
    group["data"] = h5py.ExternalLink("other.hspy", "/Experiments/EDS/data")


def external_storage(group):
    group.create_dataset("data", (3, 4, 5), "u2", external=[("other.raw", 0, 120)])


def virtual(group):
    layout = h5py.VirtualLayout((3, 4, 5), "u2")
    layout[:] = h5py.VirtualSource("other.hspy", "/Experiments/EDS/data", (3, 4, 5))
    group.create_virtual_dataset("data", layout)


@pytest.mark.parametrize("elsewhere", [external_link, external_storage, virtual])
def test_data_in_another_file_are_not_followed(tmp_path, make_signal, elsewhere):
    """Behind a link may be a pipe that never answers; HDF5 crashes on some virtual data sets."""
    cube = np.ones((3, 4, 5), np.uint16)
    make_signal(cube).save(tmp_path / "other.hspy")
    (tmp_path / "other.raw").write_bytes(cube.tobytes())
    path = tmp_path / "map.hspy"
    make_signal(cube).save(path)
    with h5py.File(path, "a") as file:
        del file["Experiments/EDS/data"]
        elsewhere(file["Experiments/EDS"])
    refused(path, r"'Experiments/EDS/data' is only a link to data in another file")
    with pytest.raises(ReadError, match="link to data in another file"):
        siftem.convert(path, tmp_path / "map.sift")


def test_links_within_a_file_are_followed_once(tmp_path, make_signal, counts):
    path = tmp_path / "map.hspy"
    make_signal(counts).save(path)
    with h5py.File(path, "a") as file:
        group = file["Experiments/EDS"]
        group.move("data", "kept")
        group["data"] = h5py.SoftLink("/Experiments/EDS/kept")
        group["loop"] = file["Experiments"]
    assert siftem.load(path).total == counts.sum()


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"data": np.zeros((100, 1))}, "100 x 1 numbers of type <f8"),
        ({"data": np.full(100, 65535, "u2")}, "100 numbers of type <u2"),
        ({"data": np.full((100, 3), 65535, "u2")}, "100 x 3 numbers"),
        ({"shape": (10**9, 1), "dtype": "u2", "chunks": (10**6, 1)}, "claims 1000000000 x 1"),
    ],
)
def test_streams_that_velox_does_not_write(tmp_path, vendor_file, how, match):
    path = spoiled_velox(tmp_path, vendor_file)
    with h5py.File(path, "a") as file:
        for stream in file["Data/SpectrumStream"].values():
            del stream["Data"]
            stream.create_dataset("Data", **how)
    refused(path, match)


@pytest.mark.parametrize("channels", [10**9, 0, -5, "abc", None, 1e300])
def test_velox_settings_that_ask_for_memory(tmp_path, vendor_file, channels):
    path = spoiled_velox(tmp_path, vendor_file)
    with h5py.File(path, "a") as file:
        for stream in file["Data/SpectrumStream"].values():
            settings = json.loads(stream["AcquisitionSettings"][0]) | {"bincount": channels}
            del stream["AcquisitionSettings"]
            stream["AcquisitionSettings"] = np.array([json.dumps(settings)], object)
    refused(path, "channels, so it is damaged")


def test_images_that_are_not_stored(tmp_path, vendor_file):
    path = spoiled_velox(tmp_path, vendor_file)
    with h5py.File(path, "a") as file:
        for image in file["Data/Image"].values():
            del image["Data"]
            image.create_dataset("Data", (30_000, 30_000, 60), "i2", chunks=(300, 300, 1))
    refused(path, "claims 30000 x 30000 x 60 values")


def spoiled_velox(tmp_path, vendor_file):
    path = tmp_path / "map.emd"
    shutil.copyfile(vendor_file("fei_SI_SuperX-HAADF_20frames_10x50.emd"), path)
    return path


def test_an_axis_that_is_longer_than_any(tmp_path, make_signal, counts):
    path = tmp_path / "map.hspy"
    make_signal(counts).save(path)
    with h5py.File(path, "a") as file:
        file["Experiments/EDS/axis-0"].attrs["size"] = 10**9
    refused(path, "'Experiments/EDS/axis-0' claims 1000000000 steps")


def test_more_counts_than_any_detector_counts(tmp_path, make_signal):
    for value in (2**62, 2**63 - 1):
        cube = np.full((3, 4, 5), value, np.int64)
        make_signal(cube).save(tmp_path / "map.hspy", overwrite=True)
        for read in (siftem.load, lambda p: siftem.convert(p, tmp_path / "map.sift")):
            with pytest.raises(siftem.InputError, match="more than any detector counts"):
                read(tmp_path / "map.hspy")
    assert not (tmp_path / "map.sift").exists()


def test_energies_that_no_detector_sees(tmp_path, make_signal, counts):
    make_signal(counts, energy=(0.0, 1e308, "keV")).save(tmp_path / "map.hspy")
    with pytest.raises(siftem.InputError, match="cannot be: correct its offset and scale"):
        siftem.load(tmp_path / "map.hspy")


# --- files that would run code --------------------------------------------------------------

FORMULA = '__import__("pathlib").Path({!r}).write_text("run")'


def with_formula(path, trace, axis="Experiments/EDS/axis-2"):
    with h5py.File(path, "a") as file:
        attributes = file[axis].attrs
        for name in ("scale", "offset"):
            del attributes[name]
        attributes["_type"] = "FunctionalDataAxis"
        attributes["expression"] = FORMULA.format(str(trace))
    return path


def test_an_axis_that_is_a_formula_is_not_evaluated(tmp_path, make_signal, counts):
    trace = tmp_path / "trace"
    make_signal(counts).save(tmp_path / "map.hspy")
    path = with_formula(tmp_path / "map.hspy", trace)
    refused(path, "one of its axes is a formula")
    with pytest.raises(ReadError, match="is a formula"):
        siftem.convert(path, tmp_path / "map.sift")
    with pytest.raises(ReadError, match="is a formula"):
        siftem.io.fit_checkpoint.read_spectra(path)
    assert not trace.exists()


def test_objects_in_the_metadata_are_not_made(tmp_path, make_signal, counts):
    """HyperSpy makes signals and axes of what is stored in the metadata."""
    trace = tmp_path / "trace"
    signal = make_signal(counts)
    signal.metadata.set_item("Siftem.reference", make_signal(counts[0, 0]))
    signal.original_metadata.set_item("Old.reference", make_signal(counts[0, 0]))
    signal.save(tmp_path / "map.hspy")
    inside = []
    with h5py.File(tmp_path / "map.hspy") as file:
        file.visit(lambda name: inside.append(name) if name.endswith("_axes/0") else None)
    assert len(inside) == 2
    for axis in inside:
        with_formula(tmp_path / "map.hspy", trace, axis)
    assert siftem.load(tmp_path / "map.hspy").total == counts.sum()
    assert not trace.exists()


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return exec, (FORMULA.format(str(self.trace)),)


@pytest.mark.parametrize("packed", [False, True])
def test_a_store_of_pickles_is_not_unpacked(tmp_path, make_signal, counts, packed):
    zarr = pytest.importorskip("zarr")
    numcodecs = pytest.importorskip("numcodecs")
    trace, path = tmp_path / "trace", tmp_path / "map.zspy"
    make_signal(counts).save(path)
    group = zarr.open_group(str(path), mode="a")["Experiments/EDS"]
    del group["data"]
    data = group.create_dataset(
        "data", shape=counts.shape, dtype=object, object_codec=numcodecs.Pickle()
    )
    data[0, 0, 0] = Bomb(trace)
    (path / ".zmetadata").unlink(missing_ok=True)
    if packed:
        whole = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", path))
        path = whole.rename(tmp_path / "packed.zspy")
    refused(path, "its data are pickles")
    assert not trace.exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_pipes_and_devices_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.hspy")
    refused(tmp_path / "pipe.hspy", "a device or a pipe")
    refused("/dev/zero", "a device or a pipe")
    # Nor is what belongs to a file waited for.
    (tmp_path / "map.rpl").write_text("key\tvalue\nwidth\t4\nheight\t4\ndepth\t10\n")
    os.mkfifo(tmp_path / "map.raw")
    refused(tmp_path / "map.rpl", "map.raw is a device or a pipe")


def test_a_map_without_pixels(tmp_path, make_signal, counts):
    make_signal(counts).save(tmp_path / "map.hspy")
    with h5py.File(tmp_path / "map.hspy", "a") as file:
        group = file["Experiments/EDS"]
        del group["data"]
        group.create_dataset("data", (0, 7, 200), "u2")
    for read in (siftem.load, lambda path: siftem.convert(path, tmp_path / "map.sift")):
        with pytest.raises(siftem.SiftemError, match=r"map\.hspy: the map is empty"):
            read(tmp_path / "map.hspy")


@pytest.mark.parametrize("last", [-1, -100, 0, "x", 1e400])
def test_frames_of_a_velox_file_that_says_nonsense_of_them(tmp_path, vendor_file, last):
    path = spoiled_velox(tmp_path, vendor_file)
    with h5py.File(path, "a") as file:
        for image in file["Data/SpectrumImage"].values():
            settings = json.loads(image["SpectrumImageSettings"][0]) | {"endFramePosition": last}
            del image["SpectrumImageSettings"]
            image["SpectrumImageSettings"] = np.array([json.dumps(settings)], object)
    out = siftem.convert(path, tmp_path / "map.sift")
    assert "summed 20 frames" in siftem.load(out).notes
