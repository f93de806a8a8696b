"""Conversion to sparse map files: the same counts as by loading, frames chosen and aligned."""

import json
import struct

import h5py
import numpy as np
import pytest

import siftem
from siftem.errors import InputError, ReadError
from siftem.io.convert import convert
from siftem.io.cube_blocks import FrameChoice, event_bands
from siftem.io.formats.jeol import JeolStream
from siftem.io.formats.velox import velox_streams


def same_map(a, b):
    assert abs(a.counts - b.counts).max() == 0
    for name in ("shape", "axis", "pixel_size", "acquisition", "signal_type", "title"):
        assert getattr(a, name) == getattr(b, name), name
    assert (a.survey is None) == (b.survey is None)
    if a.survey is not None:
        np.testing.assert_array_equal(a.survey, b.survey)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("chunks", [(1, 5, 60), (2, 2, 30), (4, 1, 60)])
def test_hyperspy_files_and_signals(tmp_path, make_signal, counts, lazy, chunks):
    signal = make_signal(counts)
    signal.save(tmp_path / "map.hspy", chunks=chunks)
    si = siftem.load(tmp_path / "map.hspy")
    same_map(siftem.load(convert(tmp_path / "map.hspy", tmp_path / "a.sift")), si)
    direct = siftem.load(
        convert(signal.as_lazy() if lazy else signal, tmp_path / "b.sift", energy_range=(0.0, 0.2))
    )
    np.testing.assert_array_equal(direct.counts.toarray(), counts.reshape(20, 60)[:, 10:31])


def test_a_reversed_axis_is_turned_round(tmp_path, make_signal, counts):
    signal = make_signal(counts, energy=(0.5, -0.01, "keV"))
    si = siftem.load(convert(signal, tmp_path / "a.sift"))
    assert si.axis.scale > 0
    np.testing.assert_array_equal(si.counts.toarray(), counts.reshape(20, 60)[:, ::-1])


def test_a_sparse_file_is_cropped_and_compressed(tmp_path, make_signal, counts):
    first = convert(make_signal(counts), tmp_path / "a.sift")
    second = convert(first, tmp_path / "b.sift", energy_range=(0.0, None), compress=True)
    same_map(siftem.load(second), siftem.load(first).cropped(0.0, None))


DRIFT = np.array([[0, 0], [2, -1], [-1, 1]])


@pytest.fixture
def drifted(make_signal):
    """Three frames of one specimen that moves by DRIFT, and the specimen in the common area."""
    rng = np.random.default_rng(5)
    specimen = rng.poisson(0.5, (20, 20, 40))
    frames = np.stack(
        [specimen[5 - dy : 5 - dy + 9, 5 - dx : 5 - dx + 8] for dy, dx in DRIFT]
    ).astype(np.uint8)
    signal = make_signal(frames)
    axis = signal.axes_manager.navigation_axes[2]
    axis.name, axis.units = "frame", "s"
    # Lines 1 to 6 and columns 1 to 6 of the first frame are in all three.
    return signal, 3 * specimen[6:12, 6:12]


@pytest.mark.parametrize("lazy", [False, True])
def test_frames_are_moved_back_by_their_drift(tmp_path, drifted, lazy):
    signal, expected = drifted
    signal = signal.as_lazy() if lazy else signal
    si = siftem.load(convert(signal, tmp_path / "a.sift", shifts=DRIFT))
    assert si.shape == expected.shape[:2]
    np.testing.assert_array_equal(si.counts.toarray().reshape(expected.shape), expected)
    assert "cropped to the 6 x 6 pixels that all of them cover" in " ".join(si.notes)


def test_frames_are_chosen(tmp_path, drifted):
    signal, _ = drifted
    for frames in (slice(1, None), [1, 2], (2, 1)):
        si = siftem.load(convert(signal, tmp_path / "a.sift", frames=frames))
        expected = signal.data[1:].sum(axis=0, dtype=int)
        np.testing.assert_array_equal(si.counts.toarray().reshape(expected.shape), expected)
    one = siftem.load(convert(signal, tmp_path / "a.sift", frames=[1], shifts=DRIFT))
    assert one.shape == (7, 7)  # the drift of a single frame crops what it moved out


def test_the_sign_of_the_shifts_is_that_of_hyperspy(tmp_path, make_signal):
    import hyperspy.api as hs

    rng = np.random.default_rng(2)
    specimen = rng.random((60, 60))
    images = np.stack([specimen[10:50, 10:50], specimen[7:47, 12:52]])
    found = hs.signals.Signal2D(images).estimate_shift2D(show_progressbar=False)
    signal = make_signal(np.rint(50 * images)[..., None].repeat(3, axis=-1).astype(np.uint8))
    signal.axes_manager.navigation_axes[2].name = "frame"
    si = siftem.load(convert(signal, tmp_path / "a.sift", shifts=found))
    ny, nx = si.shape
    assert (ny, nx) == (37, 38)
    expected = 2 * np.rint(50 * specimen[10 : 10 + ny, 12 : 12 + nx])
    np.testing.assert_array_equal(si.window_map(-0.1, -0.09) / 2, expected)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"frames": [0, 3]}, "numbers from 0 to 2, the file has 3 frames"),
        ({"frames": []}, "numbers from 0 to 2"),
        ({"frames": [1, 1]}, "different numbers"),
        ({"shifts": [[0, 0]] * 2}, "2 shifts are given for 3 chosen frames"),
        ({"shifts": [0, 1, 2]}, "two finite numbers"),
        ({"shifts": [[0, 0], [np.nan, 0], [0, 0]]}, "two finite numbers"),
        ({"shifts": [[0, 0], [9, 0], [0, 0]]}, "no pixel of the 9 x 8 map is in all frames"),
    ],
)
def test_frames_and_shifts_that_do_not_fit_are_refused(tmp_path, drifted, options, match):
    with pytest.raises(InputError, match=match):
        convert(drifted[0], tmp_path / "a.sift", **options)
    assert not list(tmp_path.iterdir())


def test_frames_of_a_map_without_frames_are_refused(tmp_path, make_signal, counts):
    with pytest.raises(InputError, match="keeps no frames apart"):
        convert(make_signal(counts), tmp_path / "a.sift", frames=[0])
    with pytest.raises(InputError, match="memory budget of 100 MB is too small"):
        convert(make_signal(counts), tmp_path / "a.sift", memory="100 MB")


def bad(value):
    data = np.ones((3, 4, 5))
    data[1, 2, 3] = value
    return data


@pytest.mark.parametrize("value", [-1.0, np.nan])
def test_what_are_no_counts_is_refused_and_nothing_is_left(tmp_path, make_signal, value):
    with pytest.raises(InputError, match="raw counts"):
        convert(make_signal(bad(value)), tmp_path / "a.sift")
    assert not list(tmp_path.iterdir())


# --- streams of events -------------------------------------------------------------------

SHAPE, CHANNELS, FRAMES = (6, 8), 30, 4


@pytest.fixture(scope="module")
def events():
    """Counts of four frames, (frames, ny, nx, channels), with empty pixels and lines."""
    rng = np.random.default_rng(11)
    cube = rng.poisson(0.15, (FRAMES, *SHAPE, CHANNELS))
    cube[1, 2] = 0
    cube[:, 0, 0] = 0
    return cube


def shuffled_channels(rng, spectrum):
    return rng.permutation(np.repeat(np.arange(spectrum.size), spectrum)).tolist()


@pytest.fixture
def velox(tmp_path, events):
    """The part of a Velox file that holds the events, for two detectors."""
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "stream.emd", "w") as file:
        for name in ("a", "b"):
            words = []
            for spectrum in events.reshape(-1, CHANNELS):
                words += [*shuffled_channels(rng, spectrum), 65535]
            group = file.create_group(f"Data/SpectrumStream/{name}")
            group["Data"] = np.array(words, np.uint16)[:, None]
            group["AcquisitionSettings"] = [json.dumps({"bincount": str(CHANNELS)})]
    with h5py.File(tmp_path / "stream.emd") as file:
        yield velox_streams(file, SHAPE)


@pytest.fixture
def jeol(tmp_path, events):
    """A header of zeros with the position of the data, and four frames and a half."""
    rng = np.random.default_rng(0)
    words = []
    for frame in [*events, events[0][:3]]:
        for y, line in enumerate(frame):
            words.append(0x9000 + y * (4096 // SHAPE[0]))
            for x, spectrum in enumerate(line):
                words.append(0x8000 + x * (4096 // SHAPE[1]))
                words.append(0xA000 + x + y)
                words += [0xB000 + c for c in shuffled_channels(rng, spectrum)]
    head = bytearray(64)
    struct.pack_into("<I", head, 28, 64)
    path = tmp_path / "stream.pts"
    path.write_bytes(bytes(head) + np.array(words, "<u2").tobytes())
    return JeolStream(path, SHAPE, CHANNELS)


def assembled(streams, choice, budget, **options):
    bands = list(event_bands(streams, choice, budget=budget, **options))
    dense = np.concatenate([b.toarray() for b in bands])
    return dense, len(bands)


@pytest.mark.parametrize("budget", [1, 10_000, 10**9])
@pytest.mark.parametrize("kind", ["velox", "jeol"])
def test_a_stream_becomes_the_sum_of_its_frames(request, events, kind, budget):
    streams = request.getfixturevalue(kind)
    streams = streams if kind == "velox" else [streams]
    choice = FrameChoice.checked(FRAMES, None, None, SHAPE)
    found, n_bands = assembled(streams, choice, budget)
    expected = events.sum(axis=0).reshape(-1, CHANNELS) * len(streams)
    np.testing.assert_array_equal(found, expected)
    assert n_bands == {1: SHAPE[0], 10**9: 1}.get(budget, n_bands)


@pytest.mark.parametrize("kind", ["velox", "jeol"])
def test_frames_of_a_stream_are_chosen_cropped_and_moved_back(request, events, kind):
    streams = request.getfixturevalue(kind)
    streams = streams[:1] if kind == "velox" else [streams]
    drift = [[0, 0], [1, 0], [-1, 2]]
    choice = FrameChoice.checked(FRAMES, [0, 1, 3], drift, SHAPE)
    found, _ = assembled(streams, choice, 5000, window=slice(4, 20))
    # The first frame's lines 1 to 4 and columns 0 to 5 are in all three frames.
    expected = events[0, 1:5, 0:6] + events[1, 2:6, 0:6] + events[3, 0:4, 2:8]
    np.testing.assert_array_equal(found, expected[..., 4:20].reshape(-1, 16))


def test_an_unfinished_frame_of_a_jeol_stream_is_left_out_and_its_image_is_summed(jeol):
    assert jeol.dropped == 1
    choice = FrameChoice.checked(FRAMES, slice(0, 2), [[0, 0], [0, 1]], SHAPE)
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1] - 1]
    np.testing.assert_array_equal(jeol.image(choice), 2 * (x + y) + 1)


def test_an_unfinished_frame_of_a_velox_stream_counts(tmp_path, events):
    words = []
    for spectrum in events[:2].reshape(-1, CHANNELS)[: 48 + 20]:
        words += [*np.repeat(np.arange(CHANNELS), spectrum).tolist(), 65535]
    with h5py.File(tmp_path / "s.emd", "w") as file:
        group = file.create_group("Data/SpectrumStream/a")
        group["Data"] = np.array(words, np.uint16)[:, None]
        group["AcquisitionSettings"] = [json.dumps({"bincount": str(CHANNELS)})]
        streams = velox_streams(file, SHAPE)
        found, _ = assembled(streams, FrameChoice.checked(2, None, None, SHAPE), 10**6)
    expected = events[0].reshape(-1, CHANNELS).copy()
    expected[:20] += events[1].reshape(-1, CHANNELS)[:20]
    np.testing.assert_array_equal(found, expected)


def test_a_channel_beyond_the_axis_is_damage(tmp_path):
    with h5py.File(tmp_path / "s.emd", "w") as file:
        group = file.create_group("Data/SpectrumStream/a")
        group["Data"] = np.array([[40], [65535]] * 48, np.uint16)
        group["AcquisitionSettings"] = [json.dumps({"bincount": str(CHANNELS)})]
        streams = velox_streams(file, SHAPE)
        with pytest.raises(ReadError, match="channel 40 of 30"):
            list(event_bands(streams, FrameChoice.checked(1, None, None, SHAPE), budget=10**6))


def test_a_hostile_jeol_stream_is_refused_before_it_fills_the_memory(tmp_path):
    head = bytearray(64)
    struct.pack_into("<I", head, 28, 64)
    path = tmp_path / "stream.pts"
    lines = np.tile(np.array([0x9FFF, 0x9000], "<u2"), 50_000)
    path.write_bytes(bytes(head) + lines.tobytes())
    with pytest.raises(ReadError, match="more frames than lines"):
        JeolStream(path, (512, 512), 4096)
    path.write_bytes(bytes(head) + b"ab")
    with pytest.raises(ReadError, match="not even the first frame"):
        JeolStream(path, (512, 512), 4096)


@pytest.mark.parametrize("content", [b"", b"nonsense" * 1000])
@pytest.mark.parametrize("name", ["a.emd", "a.pts", "a.bcf", "a.sift", "a.hspy"])
def test_what_is_no_map_is_refused_in_one_sentence(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ReadError) as caught:
        convert(path, tmp_path / "out.sift")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.sift").exists()


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
@pytest.mark.parametrize(
    "name",
    [
        "fei_SI_SuperX-HAADF_20frames_10x50.emd",
        "jeol_64.pts",
        "P45_12bit_packed_8bit.bcf",
    ],
)
def test_files_that_are_cut_short_are_refused(tmp_path, vendor_file, name, share):
    content = vendor_file(name).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises((ReadError, InputError)) as caught:
        convert(path, tmp_path / "out.sift")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.sift").exists()


@pytest.mark.parametrize(
    "name",
    [
        "fei_SI_SuperX-HAADF_20frames_10x50.emd",
        "jeol_64.pts",
        "P45_12bit_packed_8bit.bcf",
    ],
)
def test_vendor_files_give_what_loading_gives(tmp_path, vendor_file, name):
    path = vendor_file(name)
    same_map(siftem.load(convert(path, tmp_path / "a.sift", memory="600MB")), siftem.load(path))


def test_frames_of_a_velox_file_agree_with_rosettasciio(tmp_path, vendor_file):
    import hyperspy.api as hs

    path = vendor_file("fei_SI_SuperX-HAADF_20frames_10x50.emd")
    found = siftem.load(convert(path, tmp_path / "a.sift", frames=slice(3, 7)))
    signals = hs.load(path, first_frame=3, last_frame=7, sum_frames=True)
    expected = next(s for s in signals if s.data.ndim == 3).data
    np.testing.assert_array_equal(found.counts.toarray(), expected.reshape(500, -1))
