"""Numbers that are no counts are brought back to counts or told; counts are never touched."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter, shift

import siftem
from siftem.counting.door import as_counted, common_step, row_steps, scatter_of
from siftem.errors import SiftemWarning
from siftem.thinning import thin

SHAPE = (48, 48)
AXIS = siftem.EnergyAxis(0.2, 0.02, 300)


def expected(dose, shape=SHAPE, axis=AXIS):
    """Two phases, one in a disc, with three lines and a continuum; (pixels, channels)."""
    e = axis.to_kev().centers
    lines = np.exp(-0.5 * ((e[:, None] - [0.8, 1.7, 4.0]) / 0.05) ** 2)
    spectra = np.array([[1.0, 0.5, 0.0], [0.3, 0.4, 0.9]]) @ lines.T + 0.05 * np.exp(-e / 2)
    spectra /= spectra.sum(axis=1, keepdims=True)
    y, x = np.mgrid[: shape[0], : shape[1]]
    grain = np.clip(1.2 - np.hypot(y - shape[0] / 3, x - shape[1] / 2) / (shape[0] / 4), 0, 1)
    shares = np.stack([1 - 0.6 * grain, 0.8 * grain], axis=-1).reshape(-1, 2)
    return dose * shares @ spectra


def counted(dose=300.0, seed=0, shape=SHAPE):
    return np.random.default_rng(seed).poisson(expected(dose, shape))


def image(values, shape=SHAPE, **more):
    return siftem.SpectrumImage(sp.csr_array(values), shape, AXIS, **more)


@pytest.fixture(scope="module")
def counts():
    return counted()


@pytest.mark.parametrize("dose", [1, 5, 30, 300, 3000, 20000])
@pytest.mark.parametrize("seed", range(4))
def test_counts_are_never_touched(dose, seed):
    si = image(counted(dose, seed))
    assert as_counted(si) is si
    floats = image(si.counts.toarray().astype(np.float32))
    assert as_counted(floats) is floats


@pytest.mark.parametrize("shape", [(4, 4), (3, 40), (10, 11)])
@pytest.mark.parametrize("dose", [0.3, 3, 300])
def test_counts_of_small_maps_are_never_touched(shape, dose):
    for seed in range(10):
        si = image(counted(dose, seed, shape), shape)
        assert as_counted(si) is si


@pytest.mark.parametrize(
    "scaled",
    [
        lambda n: n * 100,
        lambda n: (n * 7).astype(np.float32),
        lambda n: (n / 16).astype(np.float32),
        lambda n: n / 3,
        lambda n: (n / 3).astype(np.float32),
        lambda n: n / n.max(),
        lambda n: n / n.sum(),
        lambda n: n / 3600.0,
        lambda n: n + 3,
        lambda n: 4 * n + 12,
    ],
)
def test_a_common_step_or_offset_is_undone(counts, scaled):
    found = as_counted(image(scaled(counts)))
    np.testing.assert_array_equal(found.counts.toarray(), counts)
    assert len([n for n in found.notes if n.startswith("counts: ")]) >= 1
    assert as_counted(found) is found  # once is enough


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_pixels_with_numbers_of_their_own(counts, kind):
    times = np.random.default_rng(1).uniform(0.5, 2, (len(counts), 1))
    for divided in (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), counts / times):
        found = as_counted(image(divided.astype(kind)))
        np.testing.assert_array_equal(found.counts.toarray(), counts)
        assert "a number of its own" in found.notes[-1]


@pytest.mark.parametrize(
    ("scaled", "gain"),
    [
        (lambda n: np.rint(2.7 * n).astype(int), 2.7),
        (lambda n: np.round(n / 60, 3), 1 / 60),
        (lambda n: (n / 7).astype(np.float16).astype(float), 1 / 7),
    ],
)
def test_scatter_tells_a_scale_that_rounding_hid(counts, scaled, gain):
    found = as_counted(image(scaled(counts)))
    assert "scatter like counts times" in found.notes[-1]
    # A fifth in the scale is a tenth in each error bar.
    assert found.counts.sum() == pytest.approx(counts.sum(), rel=0.2)
    assert scatter_of(sp.csr_array(scaled(counts)), SHAPE).gain == pytest.approx(gain, rel=0.1)


@pytest.mark.parametrize(
    "changed",
    [
        lambda cube: shift(cube, (0.3, 0.41, 0), order=1).clip(0),
        lambda cube: gaussian_filter(cube, (0.6, 0.6, 0)),
        lambda cube: 0.63 * cube + 0.37 * np.roll(cube, 1, axis=2),
    ],
)
def test_interpolated_maps_keep_their_sums_and_are_told(counts, changed):
    """Sums over regions of interpolated counts have the errors of the counts."""
    cube = changed(counts.reshape(*SHAPE, -1).astype(float))
    si = image(cube.reshape(counts.shape))
    found = as_counted(si)
    np.testing.assert_array_equal(found.counts.data, si.counts.data)
    assert "share noise with their neighbours" in found.notes[-1]
    assert not found.doubts


def test_a_mean_of_interpolated_frames_gets_its_scale(counts):
    cube = shift(counts.reshape(*SHAPE, -1) / 16, (0.3, 0.41, 0), order=1).clip(0)
    found = as_counted(image(cube.reshape(counts.shape)))
    assert found.counts.sum() == pytest.approx(counts.sum(), rel=0.4)


def test_denoised_maps_are_told():
    mean = expected(300.0)
    found = as_counted(image(mean))
    np.testing.assert_array_equal(found.counts.toarray(), mean)
    assert "error bars mean nothing; use the raw counts" in found.notes[-1]
    assert found.doubts == found.notes[-1:]


def test_a_small_map_of_fractions_can_not_be_told():
    rng = np.random.default_rng(0)
    found = as_counted(image(rng.random((20, AXIS.size)), (4, 5)))
    assert "too small to tell" in found.notes[-1]


def test_other_signals_are_left_alone(counts):
    si = image(100 * counts, signal_type="EELS")
    assert as_counted(si) is si


def test_the_zero_peak_does_not_spoil_it(counts):
    """It is no Poisson noise: here each pixel has the same number."""
    axis = siftem.EnergyAxis(0.0, 0.02, AXIS.size + 10)
    whole = np.hstack([np.full((len(counts), 10), 900), counts])
    si = siftem.SpectrumImage(sp.csr_array(whole), SHAPE, axis)
    assert as_counted(si) is si


def test_scatter_of_counts_is_one():
    gains = [scatter_of(sp.csr_array(counted(d, s)), SHAPE).gain for d in (30, 300) for s in (1, 2)]
    np.testing.assert_allclose(gains, 1, atol=0.1)
    assert scatter_of(sp.csr_array(counted(300, 0, (5, 5))), (5, 5)) is None


def test_steps():
    values = np.random.default_rng(0).poisson(3.0, 5000)
    values = values[values > 0]
    assert common_step(values) == 1
    assert common_step(values * 12) == 12
    assert common_step(values * 0.37) == pytest.approx(0.37)
    assert common_step((values / 255).astype(np.float32)) == pytest.approx(1 / 255, rel=1e-5)
    assert common_step(np.random.default_rng(0).random(5000) + 0.1) == 0
    assert common_step(values[:20]) == 0  # too few to tell
    assert row_steps(sp.csr_array(np.random.default_rng(0).random((80, 30)))) is None


def test_hand_made_maps_are_warned_of_where_they_are_used(counts):
    with pytest.warns(SiftemWarning, match="multiples of 100"):
        factors = siftem.decompose(image(100 * counts), 2)
    plain = siftem.decompose(image(counts), 2)
    np.testing.assert_allclose(factors.maps, plain.maps, rtol=1e-6)


def test_fractions_can_be_split(counts):
    """The number of components of a drift-corrected map can be chosen, too."""
    si = image(counts * 0.5 + np.roll(counts, 1, axis=0) * 0.5)
    first, second = thin(si, share=0.5, random_state=1)
    assert first.counts.sum() + second.counts.sum() == pytest.approx(si.total, rel=0.005)
    assert replace(si, counts=first.counts).total == pytest.approx(si.total / 2, rel=0.01)


@pytest.mark.parametrize(
    ("change", "last"),
    [
        (lambda x: np.minimum(x, 60), 60),
        (lambda x: np.minimum(x, 4), 4),
        (lambda x: x % 16, 15),
        (lambda x: np.minimum(x, 60) / 60.0, 60),
        (lambda x: np.where((np.arange(x.size) == 99).reshape(x.shape), 500, np.minimum(x, 9)), 9),
    ],
)
def test_counts_that_end_at_any_number_are_told(change, last):
    values = counted(3000.0)
    told = as_counted(image(change(values)))
    assert any(f"would have lie beyond {last}: counts are cut off" in d for d in told.doubts)
    assert as_counted(told) is told
