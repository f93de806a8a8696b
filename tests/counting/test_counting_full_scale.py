"""Counts cut off at, or wrapped round, the top of their type are told."""

import numpy as np
import pytest

import siftem

E = np.arange(400) * 0.02


def cube(height, seed=0):
    """Lines of 0.13 keV in 400 channels, ``height`` counts in the strongest."""
    mean = np.exp(-0.5 * ((E[:, None] - [1.0, 3.0, 5.0]) / 0.055) ** 2) @ [1.0, 0.6, 0.2] + 0.01
    return np.random.default_rng(seed).poisson(height * mean, (12, 12, 400))


def notes(data):
    import hyperspy.api as hs

    signal = hs.signals.Signal1D(data)
    signal.set_signal_type("EDS_TEM")
    axis = signal.axes_manager.signal_axes[0]
    axis.scale, axis.units = 0.02, "keV"
    si = siftem.from_hyperspy(signal)
    assert si.doubts == tuple(n for n in si.notes if "export the counts with more bits" in n)
    return " ".join(si.notes)


@pytest.mark.parametrize(
    ("kind", "top"), [(np.uint8, 255), (np.int8, 127), (np.uint16, 65535), (np.int16, 32767)]
)
def test_cut_off_at_the_top_of_the_type(kind, top):
    told = notes(np.minimum(cube(1.3 * top), top).astype(kind))
    assert f"stand at {top}, the largest number of" in told
    assert "cut off" in told


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_cut_off_before_it_was_stored(kind):
    assert "4095, the largest number of 12 bits" in notes(np.minimum(cube(6000), 4095).astype(kind))


@pytest.mark.parametrize("height", [300, 600, 2000])
def test_wrapped_round(height):
    told = notes(cube(height).astype(np.uint8))
    assert "wrapped round" in told


@pytest.mark.parametrize("height", [0.5, 20, 100, 190, 200, 215])
@pytest.mark.parametrize("seed", range(3))
def test_counts_below_the_top_are_not(height, seed):
    data = cube(height, seed)
    assert "largest number" not in notes(np.minimum(data, 255).astype(np.uint8))


@pytest.mark.parametrize("most", [63, 127, 255])
def test_a_largest_count_that_looks_like_a_top_is_none(most):
    data = cube(0.6 * most)
    data = np.minimum(data, most - 1)
    data[3, 3, 50] = most
    data[4, 4, 50] = most
    assert "largest number" not in notes(data.astype(np.uint16))
