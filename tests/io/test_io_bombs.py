"""Small files that would fill the memory, and stores that lack a part: refused before the data."""

import json
import shutil
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.sparse as sp
import tifffile

import siftem
from siftem.errors import ReadError
from siftem.files import file_headers
from siftem.io import counts as counts_module
from siftem.io import guarded_readers
from siftem.io.counts import CountsBuilder
from siftem.io.images import read_label_image, read_regions
from siftem.io.signal_choice import list_signals
from siftem.large import sparse_file
from siftem.large.sparse_writer import write_sparse_file
from siftem.machine import available_memory
from siftem.segment import classifier_file
from siftem.segment.classifier_file import read_classifier, write_classifier


def refused(path, match, read=siftem.load, most=50e6):
    """Refused in one sentence, and without memory for what is claimed."""
    tracemalloc.start()
    try:
        with pytest.raises(ReadError, match=match) as caught:
            read(path)
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.fixture
def small_limits(monkeypatch):
    """What is believed for its small size alone, in proportion to the files of these tests."""
    monkeypatch.setattr(file_headers, "_BELIEVED_CHUNK", 2**20)
    monkeypatch.setattr(file_headers, "_BELIEVED_NOTE", 2**16)
    monkeypatch.setattr(guarded_readers, "_BELIEVED_CHUNK", 2**20)
    monkeypatch.setattr(guarded_readers, "_BELIEVED_NOTE", 2**16)
    monkeypatch.setattr(sparse_file, "_BELIEVED_CHUNK", 2**20)
    monkeypatch.setattr(sparse_file, "BELIEVED_ENTRIES", 2**16)
    monkeypatch.setattr(siftem.io.vendor_files, "BELIEVED_ENTRIES", 2**16)
    monkeypatch.setattr(file_headers, "_BELIEVED_IMAGE", 2**20)
    monkeypatch.setattr(file_headers, "_PADDING", 2**10)
    monkeypatch.setattr(classifier_file, "_BELIEVED_BYTES", 2**20)


@pytest.fixture
def store(tmp_path, make_signal, counts):
    """A folder with a map in eight chunks."""
    path = tmp_path / "map.zspy"
    make_signal(counts).save(path, chunks=(2, 3, 30))
    return path


def packed(folder):
    whole = Path(shutil.make_archive(str(folder.with_name("packed")), "zip", folder))
    return whole.rename(folder.with_name("packed.zspy"))


def chunk_files(store):
    return sorted(p for p in (store / "Experiments/EDS/data").rglob("*") if p.name.isdigit()
                  and p.is_file())  # fmt: skip


def changed(store, **claims):
    note = store / "Experiments/EDS/data/.zarray"
    note.write_text(json.dumps(json.loads(note.read_text()) | claims))
    (store / ".zmetadata").unlink(missing_ok=True)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_store_without_some_of_its_chunks_is_not_read_as_zeros(store, counts, zipped):
    assert siftem.load(store).total == counts.sum()
    for lost in chunk_files(store)[2:5]:
        lost.unlink()
    path = packed(store) if zipped else store
    match = r"3 of 8 chunks of its 'Experiments/EDS/data' are missing"
    refused(path, match)
    refused(path, match, list_signals)


def test_a_note_of_all_arrays_is_checked_like_their_own(store):
    note = store / ".zmetadata"
    if not note.exists():
        note.write_text(json.dumps({"metadata": {
            "Experiments/EDS/data/.zarray":
                json.loads((store / "Experiments/EDS/data/.zarray").read_text()),
        }}))  # fmt: skip
    whole = json.loads(note.read_text())
    whole["metadata"]["Experiments/EDS/data/.zarray"]["shape"] = [40, 5, 60]
    note.write_text(json.dumps(whole))
    refused(store, "chunks of its 'Experiments/EDS/data' are missing")


def test_a_hyperspy_file_without_some_of_its_chunks_is_not_read_as_zeros(
    tmp_path, make_signal, counts
):
    path = tmp_path / "map.hspy"
    make_signal(counts).save(path, chunks=(2, 5, 60))
    assert siftem.load(path).total == counts.sum()
    with h5py.File(path, "a") as file:
        group = file["Experiments/EDS"]
        del group["data"]
        data = group.create_dataset("data", counts.shape, np.uint8, chunks=(2, 5, 60))
        data[:2] = counts[:2]
    refused(path, "1 of 2 chunks of its 'Experiments/EDS/data' are missing")


def test_a_damaged_zip_is_one_sentence_wherever_it_is_damaged(store):
    path = packed(store)
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    told = 0
    for _ in range(60):
        damaged = content.copy()
        for place in rng.integers(0, len(content), 3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            siftem.load(path)
        except siftem.SiftemError as error:
            told += 1
            assert "\n" not in str(error)
    assert told > 10


@pytest.mark.parametrize(
    ("claims", "match"),
    [
        ({"chunks": [2000, 3000, 30]}, "is damaged|missing|claims"),
        ({"shape": [4, 5]}, "is damaged"),
        ({"shape": "wide"}, "is damaged"),
        ({"chunks": [0, 3, 30]}, "is damaged"),
        ({"dtype": "nonsense"}, "is damaged"),
        ({"filters": [{"id": "zlib", "level": 1}]}, "packed in a way"),
    ],
)
def test_notes_that_claim_nonsense(small_limits, store, claims, match):
    changed(store, **claims)
    refused(store, match)


@pytest.mark.parametrize("codec", ["blosc", "zlib", "gzip", "bz2", "lzma", "zstd", "lz4"])
def test_a_chunk_that_becomes_longer_than_a_chunk(store, codec):
    numcodecs = pytest.importorskip("numcodecs")
    numcodecs.registry.codec_registry  # noqa: B018 - loaded with the codecs
    packer = numcodecs.get_codec({"id": codec})
    changed(store, compressor=packer.get_config())
    for file in chunk_files(store):
        file.write_bytes(packer.encode(np.ones((2, 3, 30), np.uint8)))
    assert siftem.load(store).counts.data.max() == 1
    chunk_files(store)[1].write_bytes(packer.encode(np.zeros(10**6, np.uint8)))
    refused(store, "becomes longer than a chunk is")


def test_metadata_of_a_store_that_claim_much(small_limits, store):
    import zarr

    group = zarr.open_group(str(store), mode="a")["Experiments/EDS/metadata"]
    group.create_dataset("_list_long", data=np.zeros(10**6), chunks=(10**5,))
    refused(store, "'Experiments/EDS/metadata/_list_long' claims 1000000 values")


def test_a_zip_that_unpacks_to_much_more(small_limits, store):
    path = store.with_name("bomb.zspy")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as whole:
        for file in sorted(store.rglob("*")):
            if file.is_file():
                whole.write(file, file.relative_to(store).as_posix())
        whole.writestr("Experiments/EDS/.zattrs", " " * 10**6)
    refused(path, r"its Experiments/EDS/.zattrs claims 1 MB")


@pytest.mark.parametrize("part", [slice(0, -30), slice(None, None, -1)])
def test_a_zip_without_an_end_is_damaged_and_no_folder(store, part):
    path = packed(store)
    path.write_bytes(path.read_bytes()[part])
    refused(path, "damaged or incomplete, its ZIP archive")


def test_a_damaged_store_is_not_laid_on_the_libraries(store):
    (store / "Experiments/EDS/data/.zarray").write_text("{}")
    refused(store, "damaged")


def test_a_deflated_map_full_of_ones(small_limits, tmp_path, make_signal):
    """Every value is a count: as sparse counts they take a hundred times the file."""
    path = tmp_path / "ones.hspy"
    make_signal(np.ones((50, 50, 400), np.uint8)).save(path, chunks=(10, 50, 400))
    assert path.stat().st_size < 100_000
    refused(path, "more than .* values are not zero, which no measured map")
    refused(
        path,
        "more than .* values are not zero",
        lambda p: siftem.convert(p, tmp_path / "out.sift"),
    )
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("name", ["data", "metadata/long"])
def test_a_deflated_data_set_that_is_read_at_once(
    small_limits, tmp_path, make_signal, counts, name
):
    path = tmp_path / "map.hspy"
    make_signal(counts).save(path)
    with h5py.File(path, "a") as file:
        group = file["Experiments/EDS"]
        if name in group:
            del group[name]
        shape = (100, 50, 1000)
        group.create_dataset(name, shape, "u1", np.zeros(shape, "u1"), chunks=shape,
                             compression="gzip")  # fmt: skip
    refused(path, f"'Experiments/EDS/{name}' claims 100 x 50 x 1000 values")


def test_a_deflated_sparse_file_full_of_ones(small_limits, tmp_path):
    counts = sp.csr_array(np.ones((2500, 400), np.uint8))
    si = siftem.SpectrumImage(counts, (50, 50), siftem.EnergyAxis(0, 0.01, 400))
    path = write_sparse_file(si, tmp_path / "ones.sift", compress=True)
    assert path.stat().st_size < 125_000
    refused(path, "1000000 counts in")


def test_a_sparse_file_of_huge_chunks(small_limits, tmp_path):
    path = tmp_path / "map.sift"
    si = siftem.SpectrumImage(sp.csr_array(np.eye(4, 5)), (2, 2), siftem.EnergyAxis(0, 0.01, 5))
    write_sparse_file(si, path)
    with h5py.File(path, "a") as file:
        values = file["counts/values"][:]
        del file["counts/values"]
        file["counts"].create_dataset(
            "values", data=values, maxshape=(None,), chunks=(2**24,), compression="gzip"
        )
    refused(path, "chunks of the values")


@pytest.mark.parametrize("read", [read_label_image, read_regions])
def test_a_tiff_that_claims_much_more_than_it_holds(small_limits, tmp_path, read):
    path = tmp_path / "traces.tif"
    tifffile.imwrite(path, np.zeros((3000, 3000), np.uint8), compression="zlib")
    refused(path, "far more memory than", lambda p: read(p, (3000, 3000)))
    with pytest.raises(ReadError, match=r"far more memory than|cannot read"):
        siftem.load(path)


def test_a_tiff_whose_strip_becomes_longer_than_the_image(small_limits, tmp_path):
    path = tmp_path / "traces.tif"
    tifffile.imwrite(path, np.zeros((200, 200), np.uint8), compression="zlib", rowsperstrip=200)
    with tifffile.TiffFile(path) as content:
        page = content.pages[0]
        tag = page.tags["StripByteCounts"]
        offset = page.tags["StripOffsets"]
        bomb = zlib.compress(bytes(3 * 10**6))
        places = (tag.valueoffset, tag.dtype), (offset.valueoffset, offset.dtype)
    data = bytearray(path.read_bytes())
    for (place, dtype), value in zip(places, (len(bomb), len(data)), strict=True):
        size = {3: 2, 4: 4}[int(dtype)]
        data[place : place + size] = value.to_bytes(size, "little")
    path.write_bytes(data + bomb)
    refused(path, "far more memory than", lambda p: read_label_image(p, (200, 200)))


def test_an_empty_label_image_of_a_large_map_is_fine(tmp_path):
    path = tmp_path / "traces.tif"
    tifffile.imwrite(path, np.zeros((3000, 3000), np.uint8), compression="zlib")
    assert read_label_image(path, (3000, 3000)).shape == (3000, 3000)


def saved_classifier(path, traces):
    write_classifier(
        path, settings={"classifier": None}, names=("a",), samples=np.zeros((3, 1), np.float32),
        labels=np.arange(3), traces=traces,
    )  # fmt: skip
    return path


def test_a_classifier_that_unpacks_to_much_more(small_limits, tmp_path):
    path = saved_classifier(tmp_path / "pixels.npz", [np.zeros((2000, 2000), np.int64)])
    refused(path, "not a saved pixel classifier: it claims", read_classifier)


def test_a_damaged_classifier_is_one_sentence_wherever_it_is_damaged(tmp_path):
    path = saved_classifier(tmp_path / "pixels.npz", [np.arange(400).reshape(20, 20)])
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        for value in (0, 255, content[place] ^ 1):
            path.write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
            try:
                read_classifier(path)
            except ReadError as error:
                assert "\n" not in str(error)


def test_counts_that_do_not_fit_into_memory(monkeypatch):
    monkeypatch.setattr(counts_module, "available_memory", lambda: 10_000)
    builder = CountsBuilder(100, 10)
    builder.add(np.arange(50), np.ones((50, 10)))
    with pytest.raises(ReadError, match="siftem convert, and give a budget"):
        builder.add(np.arange(50, 100), np.ones((50, 10)))


def test_available_memory_is_a_number_of_bytes_or_unknown():
    found = available_memory()
    assert found is None or 10**6 < found < 10**15
