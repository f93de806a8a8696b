import numpy as np
import pytest
import scipy.sparse as sp

from siftem import EnergyAxis, InputError, SpectrumImage

AXIS = EnergyAxis(-0.47, 0.01, 200)


def make(dense, **more):
    ny, nx, channels = dense.shape
    counts = sp.csr_array(dense.reshape(ny * nx, channels))
    return SpectrumImage(counts, (ny, nx), AXIS, **more)


@pytest.fixture
def dense():
    return np.random.default_rng(0).poisson(0.2, (5, 7, 200))


def test_sums_agree_with_the_dense_cube(dense):
    si = make(dense)
    assert si.total == dense.sum()
    np.testing.assert_array_equal(si.total_map(), dense.sum(axis=2))
    np.testing.assert_array_equal(si.sum_spectrum(), dense.sum(axis=(0, 1)))
    np.testing.assert_array_equal(si.window_map(0.5, 0.7), dense[:, :, 97:118].sum(axis=2))
    assert si.density == pytest.approx((dense > 0).mean())


def test_the_zero_peak_is_cropped_from_x_ray_maps_only_and_said(dense):
    si = make(dense).without_zero_peak()
    assert si.axis.centers[0] == pytest.approx(0.2)
    np.testing.assert_array_equal(si.sum_spectrum(), dense.sum(axis=(0, 1))[67:])
    assert "zero peak" in si.notes[-1]
    assert si.without_zero_peak() is si
    eels = make(dense, signal_type="EELS")
    assert eels.without_zero_peak() is eels


def test_small_integer_counts_do_not_overflow_in_sums():
    dense = np.full((2, 2, 200), 200, np.uint8)
    assert make(dense).total == 2 * 2 * 200 * 200


@pytest.mark.parametrize(
    ("data", "message"), [(np.nan, "NaN"), (np.inf, "NaN or infinity"), (-1.0, "negative")]
)
def test_impossible_counts_are_refused(data, message):
    dense = np.ones((2, 2, 200))
    dense[0, 0, 3] = data
    with pytest.raises(InputError, match=message):
        make(dense)


def test_shapes_must_fit():
    with pytest.raises(InputError, match="counts must have shape"):
        SpectrumImage(sp.csr_array((10, 200)), (3, 3), AXIS)
    with pytest.raises(InputError, match="survey"):
        SpectrumImage(sp.csr_array((9, 200)), (3, 3), AXIS, survey=np.zeros((2, 2)))


def test_the_representation_tells_the_essentials(dense):
    assert "5 x 7 pixels, 200 channels" in repr(make(dense))
