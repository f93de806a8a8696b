"""Features against direct convolution, closed forms and symmetries."""

import numpy as np
import pytest
from scipy import ndimage, stats

from siftem.errors import InputError
from siftem.segment import features as module
from siftem.segment.features import FEATURES, PixelFeatures, pixel_features
from siftem.segment.images import anscombe


def spread(image):
    low, high = np.percentile(image, (1, 99))
    return high - low


def named(stack):
    return {name: stack.values[..., i] for i, name in enumerate(stack.names)}


@pytest.fixture
def images():
    rng = np.random.default_rng(3)
    return {"Fp": rng.normal(5, 2, (23, 31)), "Ca-Pv": rng.random((23, 31))}


def test_every_feature_has_a_name_and_a_place(images):
    stack = pixel_features(images)
    values, names = stack
    # original 1, five each of Gaussian and gradient, ten eigenvalues, four differences, four
    # line statistics: 29 for each image.
    assert values.shape == (23, 31, 58)
    assert values.dtype == np.float32
    assert len(set(names)) == len(names) == 58
    assert np.isfinite(values).all()
    assert names[0] == "Fp: original"
    assert "Ca-Pv: difference 8 16" in names


@pytest.mark.parametrize("kind", FEATURES)
def test_one_kind_alone_is_the_same_as_among_all(images, kind):
    every = named(pixel_features(images))
    alone = named(pixel_features(images, features=(kind,)))
    assert set(alone) == {name for name in every if name.split(": ")[1].startswith(kind)}
    for name, values in alone.items():
        np.testing.assert_array_equal(values, every[name])


def test_array_channels_are_numbered(images):
    stack = pixel_features(np.stack(list(images.values())), features=("original",))
    assert stack.names == ("0: original", "1: original")
    by_name = pixel_features(images, features=("original",))
    np.testing.assert_array_equal(stack.values, by_name.values)


def test_gaussian_against_direct_sum():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(9, 12))
    scaled = (image - np.median(image)) / spread(image)
    sigma, reach = 2.0, 8
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(scaled, reach, mode="symmetric")
    expected = np.empty_like(image)
    for y, x in np.ndindex(image.shape):
        expected[y, x] = kernel @ padded[y : y + 17, x : x + 17] @ kernel
    result = pixel_features({"a": image}, features=("gaussian",), sigmas=(sigma,))
    np.testing.assert_allclose(result.values[..., 0], expected, atol=2e-6)


def test_gradient_and_hessian_of_a_quadratic_surface():
    # A Gaussian adds a constant to a quadratic, and central differences are exact for it.
    y, x = np.mgrid[:80, :80].astype(float)
    a, b, c = 0.03, -0.01, 0.02
    image = a * y**2 + b * x**2 + c * x * y + 0.5 * y - x
    scale, sigma = spread(image), 2.0
    result = named(pixel_features({"m": image}, sigmas=(sigma,)))
    inside = np.s_[12:-12, 12:-12]
    slope = np.hypot(2 * a * y + c * x + 0.5, 2 * b * x + c * y - 1.0)
    np.testing.assert_allclose(
        result["m: gradient 2"][inside], (sigma * slope / scale)[inside], rtol=1e-3, atol=1e-5
    )
    small, large = np.linalg.eigvalsh([[2 * a, c], [c, 2 * b]])
    for name, value in (("large", large), ("small", small)):
        expected = sigma**2 * value / scale
        np.testing.assert_allclose(
            result[f"m: hessian {name} 2"][inside], expected, atol=2e-2 * abs(small) * 4 / scale
        )


def test_difference_is_of_neighbouring_widths(images):
    result = named(pixel_features(images, sigmas=(4, 1, 2)))
    np.testing.assert_array_equal(
        result["Fp: difference 1 2"], result["Fp: gaussian 1"] - result["Fp: gaussian 2"]
    )
    assert "Fp: difference 1 4" not in result


@pytest.mark.parametrize("shape", [(40, 33), (5, 7), (1, 1)])
def test_line_filters_against_direct_convolution(shape):
    image = np.random.default_rng(1).normal(size=shape)
    result = named(pixel_features({"m": image}, features=("original", "membrane")))
    scaled = result["m: original"].astype(float)
    kernels = module._line_kernels()
    direct = np.stack([ndimage.convolve(scaled, kernel, mode="reflect") for kernel in kernels])
    for statistic in ("mean", "max", "min", "std"):
        expected = getattr(direct, statistic)(axis=0)
        np.testing.assert_allclose(result[f"m: membrane {statistic}"], expected, atol=3e-6)


def test_line_kernels_are_thin_lines_at_equal_angles():
    kernels = module._line_kernels()
    assert kernels.shape == (12, 19, 19)
    np.testing.assert_allclose(kernels.sum(axis=(1, 2)), 1.0)
    horizontal = np.zeros((19, 19))
    horizontal[9] = 1 / 19
    np.testing.assert_allclose(kernels[0], horizontal)
    y, x = np.mgrid[-9:10, -9:10]
    for i, kernel in enumerate(kernels):
        covariance = np.array(
            [[(kernel * x * x).sum(), (kernel * x * y).sum()], [0, (kernel * y * y).sum()]]
        )
        values, vectors = np.linalg.eigh(covariance, UPLO="U")
        direction = np.degrees(np.arctan2(*vectors[::-1, 1])) % 180
        assert min(abs(direction - 15 * i), 180 - abs(direction - 15 * i)) < 2.0
        # A line of 19 pixels has a variance of 30 along itself and next to none across.
        assert 24 < values[1] < 31
        assert values[0] < 0.3


def test_line_filter_finds_a_needle_that_a_blob_hides_from_a_gaussian():
    image = np.zeros((60, 60))
    image[30, 20:41] = 1.0
    result = named(pixel_features({"m": image}, features=("membrane",)))
    strongest = result["m: membrane max"]
    assert strongest[30, 30] == pytest.approx(strongest.max(), rel=1e-5)
    assert strongest[30, 30] > 5 * strongest[34, 30]


def test_a_turned_map_has_turned_features(images):
    straight = pixel_features(images).values
    turned = pixel_features({name: np.rot90(image) for name, image in images.items()}).values
    np.testing.assert_allclose(turned, np.rot90(straight), atol=2e-5)


def test_unit_and_zero_of_an_image_do_not_matter(images):
    other = {"Fp": 300 * images["Fp"] - 7, "Ca-Pv": 1e-3 * images["Ca-Pv"] + 2}
    np.testing.assert_allclose(
        pixel_features(other).values, pixel_features(images).values, atol=2e-5
    )


def test_a_rare_grain_still_sets_a_finite_scale():
    image = np.zeros((30, 30))
    image[4, 5] = 2.0
    result = named(pixel_features({"m": image}, features=("original",)))
    assert result["m: original"].max() == 1.0
    constant = pixel_features({"m": np.full((4, 4), 9.0)})
    np.testing.assert_array_equal(constant.values, 0.0)


@pytest.mark.parametrize("mean", [2.0, 5.0, 20.0])
def test_anscombe_makes_the_variance_one(mean):
    k = np.arange(300)
    weight = stats.poisson.pmf(k, mean)
    value = anscombe(k)
    variance = weight @ value**2 - (weight @ value) ** 2
    assert variance == pytest.approx(1.0, abs=0.1)


def test_only_the_named_maps_are_stabilised():
    counts = np.random.default_rng(0).poisson(4, (20, 20))
    images = {"a": counts, "b": counts}
    result = named(pixel_features(images, features=("original",), poisson=["b"]))
    stabilised = 2 * np.sqrt(counts + 0.375)
    expected = (stabilised - np.median(stabilised)) / spread(stabilised)
    np.testing.assert_allclose(result["b: original"], expected, atol=1e-6)
    plain = (counts - np.median(counts)) / spread(counts)
    np.testing.assert_allclose(result["a: original"], plain, atol=1e-6)


def test_threads_do_not_change_a_bit(images):
    one = pixel_features(images, n_jobs=1)
    many = pixel_features(images, n_jobs=5)
    assert isinstance(one, PixelFeatures)
    np.testing.assert_array_equal(one.values, many.values)


@pytest.mark.parametrize(
    ("images", "options", "words"),
    [
        ({}, {}, "empty"),
        (np.zeros((4, 4)), {}, "shape"),
        ({"a": np.zeros((4, 4)), "b": np.zeros((4, 5))}, {}, "'b'"),
        ({"a": np.zeros(4)}, {}, "'a'"),
        ({"a": np.full((4, 4), np.nan)}, {}, "NaN"),
        ({"a": np.array([[1.0, np.inf]])}, {}, "infinity"),
        ({"a": np.zeros((4, 4), complex)}, {}, "real"),
        ({"a": np.array([["x"]])}, {}, "real"),
        ({"a": np.zeros((0, 4))}, {}, "shape"),
        ({"a": np.eye(4)}, {"features": ("texture",)}, "texture"),
        ({"a": np.eye(4)}, {"features": ()}, "features"),
        ({"a": np.eye(4)}, {"sigmas": (0,)}, "sigmas"),
        ({"a": np.eye(4)}, {"sigmas": ()}, "sigmas"),
        ({"a": np.eye(4)}, {"sigmas": (2,), "features": ("difference",)}, "two sigmas"),
        ({"a": np.eye(4)}, {"poisson": ["b"]}, "poisson"),
        ({"a": -np.eye(4)}, {"poisson": True}, "negative"),
        ({"a": np.eye(4)}, {"n_jobs": 0}, "n_jobs"),
    ],
)
def test_bad_input_is_one_plain_sentence(images, options, words):
    with pytest.raises(InputError, match=words) as error:
        pixel_features(images, **options)
    assert "\n" not in str(error.value)


def test_anscombe_refuses_negative_counts():
    with pytest.raises(InputError, match="negative"):
        anscombe(np.array([1.0, -1.0]))


def test_gaussians_and_hessians_are_those_of_scikit_image(images):
    from skimage.feature import hessian_matrix_eigvals
    from skimage.filters import gaussian

    image = images["Fp"]
    scaled = (image - np.median(image)) / spread(image)
    found = named(pixel_features({"Fp": image}, sigmas=(1, 2)))
    for sigma in (1, 2):
        g = gaussian(scaled, sigma, mode="reflect", preserve_range=True)
        np.testing.assert_allclose(found[f"Fp: gaussian {sigma}"], g, atol=1e-5)
        dy = ndimage.correlate1d(g, [-0.5, 0, 0.5], axis=0, mode="reflect")
        hessian = np.stack(
            [
                ndimage.correlate1d(g, [1, -2, 1], axis=0, mode="reflect"),
                ndimage.correlate1d(dy, [-0.5, 0, 0.5], axis=1, mode="reflect"),
                ndimage.correlate1d(g, [1, -2, 1], axis=1, mode="reflect"),
            ]
        )
        large, small = sigma**2 * hessian_matrix_eigvals(hessian)
        np.testing.assert_allclose(found[f"Fp: hessian large {sigma}"], large, atol=1e-5)
        np.testing.assert_allclose(found[f"Fp: hessian small {sigma}"], small, atol=1e-5)
