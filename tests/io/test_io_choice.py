import numpy as np
import pytest

import siftem
from siftem.errors import InputError, ReadError
from siftem.io.signal_choice import list_signals


@pytest.fixture
def image(make_signal):
    def make(title, shape=(4, 5)):
        data = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
        return make_signal(data, kind="Signal2D", signal_type="", title=title)

    return make


def test_the_map_is_found_among_images_and_spectra(
    tmp_path, make_signal, save_together, image, counts
):
    path = save_together(
        tmp_path / "all.hspy",
        image("Al"),
        image("BF"),
        make_signal(counts, title="map"),
        make_signal(counts[0, 0], title="sum"),
        image("HAADF wide", (8, 10)),
        image("STEM HAADF"),
    )
    si = siftem.load(path)
    np.testing.assert_array_equal(si.counts.toarray(), counts.reshape(20, 60))
    assert si.survey_name == "HAADF"
    np.testing.assert_array_equal(si.survey, np.arange(20).reshape(4, 5))


@pytest.mark.parametrize(
    ("titles", "expected"),
    [
        (["SE", "BSE"], "BSE"),
        (["BSE", "ABF"], "BF"),
        (["DF4", "BF"], "ADF"),
        (["Si", "Base"], None),
    ],
)
def test_order_of_survey_images(
    tmp_path, make_signal, save_together, image, counts, titles, expected
):
    signals = [image(title) for title in titles]
    si = siftem.load(save_together(tmp_path / "a.hspy", make_signal(counts), *signals))
    assert (si.survey_name if si.survey is not None else None) == expected


def test_several_maps_ask_for_a_choice(tmp_path, make_signal, save_together, counts):
    path = save_together(
        tmp_path / "two.hspy",
        make_signal(counts, title="Area 1"),
        make_signal(counts[::-1], title="Area 2"),
    )
    with pytest.raises(ReadError, match=r"--signal N: 0: 'Area 1' .*; 1: 'Area 2' spectrum image"):
        siftem.load(path)
    si = siftem.load(path, signal=1)
    np.testing.assert_array_equal(si.counts.toarray(), counts[::-1].reshape(20, 60))
    with pytest.raises(InputError, match="no signal 2"):
        siftem.load(path, signal=2)
    with pytest.raises(InputError, match="no signal -1"):
        siftem.load(path, signal=-1)


def test_no_map_says_what_there_is(tmp_path, make_signal, save_together, image, counts):
    path = save_together(tmp_path / "none.hspy", image("HAADF"), make_signal(counts[0]))
    with pytest.raises(ReadError, match=r"no spectrum image; .*'EDS' line scan 5 x 60"):
        siftem.load(path)
    with pytest.raises(InputError, match="not a map"):
        siftem.load(path, signal=0)


class TestDetectors:
    def save(self, tmp_path, make_signal, save_together, cubes, titles, **options):
        signals = [
            make_signal(cube, title=title, **options)
            for cube, title in zip(cubes, titles, strict=True)
        ]
        return save_together(tmp_path / "detectors.hspy", *signals)

    def test_are_summed(self, tmp_path, make_signal, save_together, counts):
        other = np.roll(counts, 3, axis=2) * 200
        path = self.save(
            tmp_path, make_signal, save_together, [counts, other], ["SuperXG11", "SuperXG12"]
        )
        si = siftem.load(path)
        expected = counts.astype(int) + other
        np.testing.assert_array_equal(si.counts.toarray(), expected.reshape(20, 60))
        assert si.counts.dtype == np.int32
        assert "summed 2 detectors" in si.notes
        alone = siftem.load(path, signal=0)
        np.testing.assert_array_equal(alone.counts.toarray(), counts.reshape(20, 60))

    def test_a_stored_sum_is_not_added_again(self, tmp_path, make_signal, save_together, counts):
        path = self.save(
            tmp_path,
            make_signal,
            save_together,
            [counts, counts[::-1], counts + counts[::-1]],
            ["EDX 1", "EDX 2", "EDX 3"],
        )
        si = siftem.load(path)
        assert si.total == 2 * counts.sum()
        assert "signal 3 of 3 is the sum of the other detectors" in si.notes

    @pytest.mark.parametrize(
        ("titles", "second_energy"),
        [
            (["EDS 1", "EDS 2"], (-0.1, 0.02, "keV")),
            (["EDS 1", "EDS 2"], (-0.05, 0.01, "keV")),
            (["EDS 1", "EDS area 2"], (-0.1, 0.01, "keV")),
        ],
    )
    def test_different_axes_or_names_are_not_detectors(
        self, tmp_path, make_signal, save_together, counts, titles, second_energy
    ):
        path = save_together(
            tmp_path / "a.hspy",
            make_signal(counts, title=titles[0]),
            make_signal(counts, title=titles[1], energy=second_energy),
        )
        with pytest.raises(ReadError, match="several spectrum images"):
            siftem.load(path)

    def test_eels_maps_are_never_summed(self, tmp_path, make_signal, save_together, counts):
        path = self.save(
            tmp_path,
            make_signal,
            save_together,
            [counts, counts],
            ["EDS 1", "EDS 2"],
            signal_type="EELS",
            energy=(0.0, 0.5, "eV"),
        )
        with pytest.raises(ReadError, match="several"):
            siftem.load(path)


def test_list_signals(tmp_path, make_signal, save_together, image, counts):
    path = save_together(
        tmp_path / "all.hspy",
        make_signal(counts, title="a map"),
        image("b image"),
        make_signal(counts[0], title="c line"),
        make_signal(counts, title="d other", energy=(400.0, 1.0, "nm"), signal_type=""),
    )
    entries = list_signals(path)
    assert [e.index for e in entries] == [0, 1, 2, 3]
    assert [e.kind for e in entries] == ["spectrum image", "image", "line scan", "spectrum image"]
    assert [e.usable for e in entries] == [True, False, False, False]
    first = entries[0]
    assert (first.title, first.signal_type) == ("a map", "EDS_TEM")
    assert (first.shape, first.dtype, first.reason) == ((4, 5, 60), "uint8", "")
    assert first.axes[2].endswith("60 steps of 0.01 keV from -0.1")
    assert "line scan" in entries[2].reason
    assert "'nm'" in entries[3].reason
