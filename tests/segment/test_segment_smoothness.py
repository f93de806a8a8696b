"""The suggested smoothness against truth that it never sees, and its error by repetition."""

import numpy as np
import pytest
import scipy.sparse as sp

from siftem import EnergyAxis, SpectrumImage
from siftem.errors import Cancelled, InputError, SiftemWarning
from siftem.segment import smoothness as module
from siftem.segment.graph_cut import graph_cut
from siftem.segment.smoothness import suggest_smoothness

RATES = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])
CANDIDATES = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)


def truth_of(shape=(50, 50)):
    y, x = np.indices(shape)
    return ((np.hypot(y - 20, x - 20) < 11) | (np.abs(y - 42) < 2)).astype(int)


def images_of(counts=6.0, seed=0):
    truth = truth_of()
    rng = np.random.default_rng(seed)
    return rng.poisson(counts * np.moveaxis(RATES[truth], -1, 0)), truth


def by_likelihood(images):
    """Give each pixel its probabilities, alone: noisy labels that a cut must smooth."""
    stack = np.stack(list(images.values())) if isinstance(images, dict) else np.asarray(images)
    logs = np.einsum("cyx,kc->kyx", stack, np.log(RATES))
    p = np.exp(logs - logs.max(axis=0))
    return p / p.sum(axis=0)


@pytest.mark.parametrize("seed", range(4))
def test_the_suggestion_is_nearly_the_best_by_truth(seed):
    images, truth = images_of(seed=seed)
    choice = suggest_smoothness(images, by_likelihood, candidates=CANDIDATES, random_state=seed)
    p = by_likelihood(images)
    right = {s: (graph_cut(p, smoothness=s) == truth).mean() for s in CANDIDATES}
    assert right[choice.smoothness] > max(right.values()) - 0.01
    assert right[choice.smoothness] > max(right[0.0], right[10.0]) + 0.05
    assert choice.sure
    assert choice.smoothness >= choice.best


def test_the_standard_error_is_the_scatter_over_fresh_counts():
    rng = np.random.default_rng(5)
    given, truth = images_of(seed=1)
    p = by_likelihood(given)
    labels = np.array([graph_cut(p, smoothness=s).ravel() for s in (0.0, 1.0, 10.0)])
    flat = sp.csr_array(given.reshape(3, -1).T.astype(float))
    mean = 6.0 * RATES[truth].reshape(-1, 3)
    differences, variances = [], []
    for _ in range(400):
        judged = module._judge(flat, sp.csr_array(rng.poisson(mean).astype(float)), [p], labels)
        differences.append(judged.scores - judged.scores[1])
        variances.append(judged.variances(1))
    expected = np.std(differences, axis=0)
    # 400 draws know a standard deviation to 3.5%.
    for column in (0, 2):
        assert np.sqrt(np.mean(variances, axis=0))[column] == pytest.approx(
            expected[column], rel=0.12
        )
    assert variances[0][1] == 0


def test_scores_by_hand():
    given = np.array([[[4.0, 0.0]], [[0.0, 4.0]]])
    judging = np.array([[[3.0, 1.0]], [[1.0, 2.0]]])
    p = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    flat = [sp.csr_array(x.reshape(2, -1).T) for x in (given, judging)]
    labels = np.array([[0, 1], [0, 0]])
    judged = module._judge(*flat, [p], labels)
    # Two bins: 4 and 0 counts of each class, plus two counts of the whole, half each.
    high, low = np.log(5 / 6), np.log(1 / 6)
    own, wrong = 3 * high + 1 * low, 2 * high + 1 * low
    np.testing.assert_allclose(judged.scores, [own + wrong, own + 1 * high + 2 * low])
    np.testing.assert_allclose(judged.variances(0), [0.0, 3 * (high - low) ** 2])


def spectrum_image(images, channels=40):
    """Spread each image's counts over channels of its own."""
    stack = images.reshape(len(images), -1).T
    counts = np.zeros((len(stack), 3 * channels))
    for i in range(3):
        counts[:, i * channels] = stack[:, i]
    axis = EnergyAxis(0.2, 0.01, 3 * channels, "keV")
    return SpectrumImage(sp.csr_array(counts), images.shape[1:], axis)


def test_a_spectrum_image_and_images_of_the_same_counts_agree():
    images, _ = images_of()
    si = spectrum_image(images)

    def segment(half):
        maps = np.asarray(half.counts[:, [0, 40, 80]].todense()).T.reshape(3, *half.shape)
        return by_likelihood(maps)

    by_map = suggest_smoothness(images, by_likelihood, candidates=CANDIDATES, splits=3)
    by_spectra = suggest_smoothness(si, segment, candidates=CANDIDATES, splits=3)
    np.testing.assert_allclose(by_map.loss, by_spectra.loss, atol=3 * by_map.standard_error.max())
    assert by_map.smoothness == by_spectra.smoothness


@pytest.mark.parametrize("named", [False, True])
def test_each_half_comes_as_it_was_given(named):
    images, _ = images_of()
    given = dict(zip("abc", images, strict=True)) if named else images
    halves = []

    def segment(half):
        halves.append(half)
        return by_likelihood(half)

    suggest_smoothness(given, segment, candidates=CANDIDATES, splits=2)
    assert len(halves) == 4
    for first, second in (halves[:2], halves[2:]):
        assert isinstance(first, dict) == named
        total = [
            a + b
            for a, b in zip(
                first.values() if named else first,
                second.values() if named else second,
                strict=True,
            )
        ]
        np.testing.assert_array_equal(total, images)


def test_overlapping_phases_are_judged_by_their_combinations():
    images, _ = images_of()

    def apart(half):
        p = by_likelihood(half)
        flipped = np.roll(p, 7, axis=1)
        return {"Fp": p, "Ca-Pv": flipped}

    def joined(half):
        a, b = apart(half).values()
        return (a[:, None] * b[None]).reshape(4, *a.shape[1:])

    options = {"candidates": CANDIDATES, "random_state": 3}
    one, other = (suggest_smoothness(images, segment, **options) for segment in (apart, joined))
    # Without smoothing, the most probable combination is that of the most probable labels.
    np.testing.assert_allclose(one.scores[:, 0], other.scores[:, 0])
    # Smoothed apart, a phase does not pay for the borders of the other.
    assert (one.scores[:, 1] != other.scores[:, 1]).all()


def test_smoothest_within_one_standard_error():
    scores = np.array([[0.0, 9.0, 10.0, 8.5, 2.0]] * 2)
    error = np.array([3.0, 2.0, 0.0, 2.0, 3.0])
    choice = module._chosen((0.0, 1.0, 2.0, 3.0, 4.0), scores, error)
    assert (choice.best, choice.smoothness) == (2.0, 3.0)
    np.testing.assert_allclose(choice.loss, [10.0, 1.0, 0.0, 1.5, 8.0])
    assert "less than its standard error" in choice.message
    assert choice.sure


def test_counts_that_cannot_tell_say_so():
    rng = np.random.default_rng(0)
    images = rng.poisson(2.0, (3, 20, 20))
    noise = rng.dirichlet((5, 5), (20, 20)).transpose(2, 0, 1)
    with pytest.warns(SiftemWarning, match="hardly tell"):
        choice = suggest_smoothness(images, lambda half: noise, candidates=(0.0, 0.01))
    assert not choice.sure


def test_channels_are_joined_to_bins_of_equal_counts():
    spectrum = np.random.default_rng(0).gamma(1.0, 50.0, 2000).round()
    counts = sp.csr_array(spectrum[None])
    bins = module._equal_bins(counts, 50.0 * 100)
    assert bins.shape == (2000, 100)
    np.testing.assert_array_equal(bins.sum(axis=1), 1)
    sums = np.asarray((counts @ bins).todense()).ravel()
    assert sums.sum() == spectrum.sum()
    # No bin is further from the mean than one channel.
    assert np.abs(sums - sums.mean()).max() <= spectrum.max()
    # Few images are never joined.
    assert module._equal_bins(sp.csr_array(np.ones((4, 3))), 1.0).shape == (3, 3)


def test_same_seed_same_choice_and_it_can_be_stopped():
    images, _ = images_of()
    a, b = (
        suggest_smoothness(images, by_likelihood, candidates=CANDIDATES, random_state=4)
        for _ in range(2)
    )
    np.testing.assert_array_equal(a.scores, b.scores)
    seen = []

    def stop(step, fraction):
        seen.append(fraction)
        if fraction > 0.4:
            raise Cancelled

    with pytest.raises(Cancelled):
        suggest_smoothness(images, by_likelihood, progress=stop)
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("counts", "segment", "options", "words"),
    [
        (np.ones((1, 8, 8)), by_likelihood, {}, "single image"),
        (np.full((2, 8, 8), 0.5), by_likelihood, {}, "whole counts"),
        (-np.ones((2, 8, 8)), by_likelihood, {}, "negative"),
        (np.full((2, 8, 8), np.nan), by_likelihood, {}, "NaN"),
        ({"a": np.ones((8, 8)), "b": np.ones((8, 9))}, by_likelihood, {}, "one shape"),
        (np.ones((3, 8, 8)), by_likelihood, {"candidates": (1.0,)}, "candidates"),
        (np.ones((3, 8, 8)), by_likelihood, {"candidates": (-1.0, 1.0)}, "candidates"),
        (np.ones((3, 8, 8)), by_likelihood, {"splits": 0}, "splits"),
        (np.ones((3, 8, 8)), lambda half: np.full((2, 8, 9), 0.5), {}, "shape"),
        (np.ones((3, 8, 8)), lambda half: np.full((8, 8), 0.5), {}, "shape"),
        (np.ones((3, 8, 8)), lambda half: {}, {}, "2 to 64 classes"),
        (np.ones((3, 8, 8)), lambda half: [np.full((2, 8, 8), 0.5)] * 7, {}, "got 128"),
    ],
)
def test_bad_input_is_one_plain_sentence(counts, segment, options, words):
    with pytest.raises(InputError, match=words) as error:
        suggest_smoothness(counts, segment, **options)
    assert "\n" not in str(error.value)
