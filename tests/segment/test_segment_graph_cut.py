"""Cuts against brute force, an independent max-flow, and Fiji's plugin."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from potts import potts_energy
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_flow

from siftem.errors import InputError
from siftem.segment.graph_cut import OFFSETS, contrast_weights, graph_cut

FIJI = Path(__file__).with_name("fiji_graph_cut.npz")


def random_probabilities(rng, classes, shape, concentration=0.7):
    return np.moveaxis(rng.dirichlet(np.full(classes, concentration), shape), -1, 0)


def neighbour_pairs(shape, neighbourhood=8):
    """List all (k, pixel, pixel), written independently of the module's array views."""
    ny, nx = shape
    pairs = []
    for y, x in np.ndindex(*shape):
        for k, (dy, dx) in enumerate(OFFSETS[neighbourhood]):
            if 0 <= y + dy < ny and 0 <= x + dx < nx:
                pairs.append((k, (y, x), (y + dy, x + dx)))
    return pairs


def lowest_energy(p, smoothness, weights=None, neighbourhood=8):
    """Try every labelling."""
    classes, *shape = p.shape
    n = int(np.prod(shape))
    every = np.array(list(itertools.product(range(classes), repeat=n))).reshape(-1, *shape)
    energy = np.zeros(len(every))
    for y, x in np.ndindex(*shape):
        energy -= np.log(p[every[:, y, x], y, x])
    for k, (y, x), (v, u) in neighbour_pairs(shape, neighbourhood):
        w = 1.0 if weights is None else weights[k, y, x]
        energy += smoothness * w * (every[:, y, x] != every[:, v, u])
    return energy.min()


@pytest.mark.parametrize("smoothness", [0.1, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("neighbourhood", [4, 8])
def test_two_classes_are_exact(smoothness, seed, neighbourhood):
    rng = np.random.default_rng(seed)
    p = random_probabilities(rng, 2, (3, 4))
    weights = rng.random((neighbourhood // 2, 3, 4)) if seed % 2 else None
    options = {"weights": weights, "neighbourhood": neighbourhood}
    labels = graph_cut(p, smoothness=smoothness, **options)
    reached = potts_energy(labels, p, smoothness, **options)
    expected = lowest_energy(p, smoothness, weights, neighbourhood)
    assert reached == pytest.approx(expected, abs=1e-5)


def test_three_classes_reach_or_nearly_reach_the_optimum():
    exact = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        p = random_probabilities(rng, 3, (2, 4))
        smoothness = (0.2, 0.6, 1.5)[seed % 3]
        labels = graph_cut(p, smoothness=smoothness)
        reached = potts_energy(labels, p, smoothness)
        expected = lowest_energy(p, smoothness)
        assert reached <= 2 * expected + 1e-6
        exact += reached <= expected + 1e-5
    assert exact >= 10


def minimum_cut(p, smoothness):
    """Value of the minimum cut by SciPy's max-flow, on integer capacities."""
    unit = 1e5
    shape = p.shape[1:]
    n = int(np.prod(shape))
    node = np.arange(n).reshape(shape)
    data = np.round(-np.log(p.reshape(2, n)) * unit).astype(np.int32)
    ends = [(node[a], node[b]) for _, a, b in neighbour_pairs(shape)]
    i, j = np.array(ends).T
    pair = np.full(len(i), round(smoothness * unit), np.int32)
    source, sink = n, n + 1
    # Earlier versions of SciPy take indices of four bytes only.
    rows = np.concatenate([i, j, np.full(n, source), np.arange(n)]).astype(np.int32)
    columns = np.concatenate([j, i, np.arange(n), np.full(n, sink)]).astype(np.int32)
    capacities = np.concatenate([pair, pair, data[0], data[1]])
    graph = coo_array((capacities, (rows, columns)), shape=(n + 2, n + 2)).tocsr()
    return maximum_flow(graph, source, sink).flow_value / unit


@pytest.mark.parametrize("smoothness", [0.3, 2.0])
def test_a_larger_grid_against_an_independent_max_flow(smoothness):
    p = random_probabilities(np.random.default_rng(5), 2, (18, 25))
    reached = potts_energy(graph_cut(p, smoothness=smoothness), p, smoothness)
    assert reached == pytest.approx(minimum_cut(p, smoothness), abs=450 * 1e-5)


@pytest.mark.parametrize("kind", ["float", "votes", "bytes"])
def test_labels_of_fiji_pixel_for_pixel(kind):
    # Made by validation/segment_fiji_graph_cut.py.
    with np.load(FIJI) as reference:
        values, smoothness = reference[kind], reference["smoothness"]
        black = reference[f"{kind}_black"]
    largest = 256 if kind == "bytes" else values.max()
    p = (values.astype(np.float32) / np.float32(largest)).astype(np.float64)
    probabilities = np.stack([1.0 - p, p])
    for s, expected in zip(smoothness, black, strict=True):
        labels = graph_cut(probabilities, smoothness=float(s))
        np.testing.assert_array_equal(labels, expected, err_msg=f"smoothness {s}")
    # The comparison would mean little if every smoothness gave the same labels.
    assert len({labels.tobytes() for labels in black}) == len(smoothness)


def test_expansion_lowers_the_energy_and_no_single_move_lowers_it_further():
    rng = np.random.default_rng(8)
    p = random_probabilities(rng, 4, (20, 17))
    weights = rng.random((4, 20, 17))
    labels = graph_cut(p, smoothness=0.8, weights=weights)
    reached = potts_energy(labels, p, 0.8, weights=weights)
    assert reached < potts_energy(p.argmax(axis=0), p, 0.8, weights=weights)
    for alpha in range(4):
        for y, x in np.ndindex(20, 17):
            trial = labels.copy()
            trial[y, x] = alpha
            assert potts_energy(trial, p, 0.8, weights=weights) >= reached - 1e-6


def test_an_impossible_third_class_changes_nothing():
    p = random_probabilities(np.random.default_rng(2), 2, (25, 25))
    three = np.concatenate([p, np.zeros((1, 25, 25))])
    np.testing.assert_array_equal(graph_cut(three, smoothness=1.0), graph_cut(p, smoothness=1.0))


@pytest.mark.parametrize("classes", [2, 3])
def test_no_smoothness_is_the_most_probable_class(classes):
    p = random_probabilities(np.random.default_rng(1), classes, (9, 11))
    np.testing.assert_array_equal(graph_cut(p, smoothness=0), p.argmax(axis=0))


@pytest.mark.parametrize("classes", [2, 3])
def test_great_smoothness_is_the_best_single_class(classes):
    p = random_probabilities(np.random.default_rng(1), classes, (9, 11), concentration=3.0)
    best = np.log(p).sum(axis=(1, 2)).argmax()
    assert (graph_cut(p, smoothness=1e3) == best).all()


@pytest.mark.parametrize("smoothness", [0.0, 1.0])
def test_ties_go_to_the_later_class(smoothness):
    assert (graph_cut(np.full((2, 4, 4), 0.5), smoothness=smoothness) == 1).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_probability_zero_is_never_overturned(classes):
    p = np.full((classes, 7, 7), 1e-6)
    p[0] = 1.0 - 1e-6 * (classes - 1)
    p[:, 3, 3] = np.arange(classes) == 1
    labels = graph_cut(p, smoothness=50.0)
    # Either the one certain pixel stands alone or all others follow it: both respect it.
    assert labels[3, 3] == 1
    assert np.isfinite(potts_energy(labels, p, 50.0))


def test_an_isolated_pixel_goes_and_a_patch_stays():
    p1 = np.full((30, 30), 0.1)
    p1[5, 5] = 0.9
    p1[15:25, 15:25] = 0.9
    labels = graph_cut(np.stack([1 - p1, p1]), smoothness=0.5)
    # The pixel saves 8 pairs of 0.5 = 4 for 2 log 3 = 2.2.
    assert labels[5, 5] == 0
    assert labels[16:24, 16:24].all()
    assert labels.sum() <= 100


def test_free_pairs_let_labels_change_at_an_edge():
    p1 = np.full((6, 8), 0.55)
    p1[:, 4:] = 0.45
    p = np.stack([1 - p1, p1])
    assert np.unique(graph_cut(p, smoothness=2.0)).size == 1
    image = np.zeros((6, 8))
    image[:, 4:] = 1.0
    weights = contrast_weights(image, contrast=0.05)
    labels = graph_cut(p, smoothness=2.0, weights=weights)
    np.testing.assert_array_equal(labels, (p1 > 0.5).astype(int))


def test_contrast_weights_by_hand():
    image = np.array([[0.0, 1.0], [3.0, 3.0]])
    weights = contrast_weights(image)
    # Steps: right 1, 0; down left 2; down 3, 2; down right 3.
    variance = (1 + 0 + 4 + 9 + 4 + 9) / 6
    factor = np.exp(-(np.arange(4) ** 2) / (2 * variance))
    assert weights.shape == (4, 2, 2)
    np.testing.assert_allclose(weights[0, :, 0], factor[[1, 0]])
    np.testing.assert_allclose(weights[1, 0, 1], factor[2])
    np.testing.assert_allclose(weights[2, 0], factor[[3, 2]])
    np.testing.assert_allclose(weights[3, 0, 0], factor[3])
    assert (contrast_weights(np.full((3, 3), 7.0)) == 1).all()
    assert contrast_weights(image, neighbourhood=4).shape == (2, 2, 2)


def test_energy_by_hand():
    p = np.array([[[0.5, 0.25]], [[0.5, 0.75]]])
    expected = -np.log(0.5) - np.log(0.75) + 1.5
    assert potts_energy(np.array([[0, 1]]), p, 1.5) == pytest.approx(expected)


def test_a_single_row_and_a_single_pixel():
    row = np.array([[[0.9, 0.4, 0.9]], [[0.1, 0.6, 0.1]]])
    assert graph_cut(row, smoothness=1.0).tolist() == [[0, 0, 0]]
    assert graph_cut(row[..., 1:2], smoothness=1.0).tolist() == [[1]]


@pytest.mark.parametrize(
    ("p", "options", "words"),
    [
        (np.full((1, 3, 3), 1.0), {}, "two classes"),
        (np.full((3, 3), 1.0), {}, "shape"),
        (np.full((2, 3, 3), np.nan), {}, "NaN"),
        (np.full((2, 3, 3), 127.0), {}, "256"),
        (np.full((2, 3, 3), -0.5), {}, "between 0 and 1"),
        (np.full((2, 3, 3), 1), {}, "float"),
        (np.zeros((2, 3, 3)), {}, "zero for every class"),
        (np.full((2, 3, 3), 0.5), {"smoothness": -1}, "smoothness"),
        (np.full((2, 3, 3), 0.5), {"smoothness": np.inf}, "smoothness"),
        (np.full((2, 3, 3), 0.5), {"neighbourhood": 6}, "neighbourhood"),
        (np.full((2, 3, 3), 0.5), {"weights": np.ones((3, 3))}, "weights"),
        (np.full((2, 3, 3), 0.5), {"weights": -np.ones((4, 3, 3))}, "weights"),
    ],
)
def test_bad_input_is_one_plain_sentence(p, options, words):
    with pytest.raises(InputError, match=words) as error:
        graph_cut(p, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("image", [np.zeros(3), np.full((2, 2), np.nan)])
def test_contrast_image_must_be_a_finite_map(image):
    with pytest.raises(InputError, match="contrast image"):
        contrast_weights(image)


def test_contrast_must_be_positive():
    with pytest.raises(InputError, match="positive"):
        contrast_weights(np.eye(3), contrast=0.0)
