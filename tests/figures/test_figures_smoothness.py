"""The curve of the smoothness and the picture of agreement: what they show is what was found."""

import numpy as np
import pytest
from test_figures_layout import assert_tidy, images, letters

from siftem.errors import InputError
from siftem.figures.curves import smoothness_figure
from siftem.figures.regions import agreement_figure
from siftem.segment.smoothness import CANDIDATES, SmoothnessChoice


def choice_of(loss, error, chosen, candidates=CANDIDATES):
    loss = np.asarray(loss, float)
    best = candidates[int(loss.argmin())]
    scores = np.stack([-loss, -loss])
    return SmoothnessChoice(candidates, scores, np.asarray(error, float), chosen, best, True, "")


@pytest.mark.parametrize(
    ("loss", "error"),
    [
        (np.abs(np.arange(13) - 4) * 50.0, np.abs(np.arange(13) - 4) * 3.0),
        (np.arange(13) ** 4, np.arange(13)),
        (np.zeros(13), np.zeros(13)),
        (1e-4 * np.arange(13), np.full(13, 1e-5)),
    ],
)
def test_the_curve_is_tidy_and_shows_loss_and_choice(loss, error):
    choice = choice_of(loss, error, 0.7)
    figure = smoothness_figure(choice)
    assert_tidy(figure)
    (ax,) = figure.axes
    curve = next(line for line in ax.lines if len(line.get_xdata()) == 13)
    np.testing.assert_array_equal(curve.get_xdata(), CANDIDATES)
    np.testing.assert_allclose(curve.get_ydata(), loss)
    assert any(list(line.get_xdata()) == [0.7, 0.7] for line in ax.lines)


def test_two_candidates_suffice():
    assert_tidy(smoothness_figure(choice_of([0.0, 5.0], [0.0, 1.0], 0.5, (0.5, 2.0))))


@pytest.mark.parametrize(("n", "shape"), [(1, (20, 30)), (2, (30, 30)), (6, (40, 12))])
def test_agreement_is_tidy_and_tells_the_iou(n, shape):
    rng = np.random.default_rng(0)
    first = {f"phase {i}": rng.random(shape) < 0.5 for i in range(n)}
    second = {name: mask ^ (rng.random(shape) < 0.1) for name, mask in first.items()}
    figure = agreement_figure(first, second, background=rng.random(shape), pixel_size=(2.0, 2.0))
    assert_tidy(figure)
    assert len(letters(figure)) == len(images(figure)) == n
    written = [t.get_text() for t in figure.texts]
    for name, mask in first.items():
        iou = (mask & second[name]).sum() / (mask | second[name]).sum()
        assert any(name in text and f"IoU {iou:.2f}" in text for text in written)
    # Four kinds of pixel, four colours over a flat background.
    flat = agreement_figure(first, second)
    colours = np.unique(np.asarray(images(flat)[0].get_array()).reshape(-1, 3), axis=0)
    assert len(colours) == 4


def test_agreement_of_nothing_and_of_strangers():
    empty = {"Fp": np.zeros((5, 5), bool)}
    figure = agreement_figure(empty, empty)
    assert any("nowhere" in t.get_text() for t in figure.texts)
    with pytest.raises(InputError, match="same phases"):
        agreement_figure(empty, {"Ca-Pv": empty["Fp"]})
    with pytest.raises(InputError, match="one shape"):
        agreement_figure(empty, {"Fp": np.zeros((5, 6), bool)})
