"""The curve of the held-out deviance: what it shows is what was found, legibly at any scale."""

import numpy as np
import pytest
from test_figures_layout import assert_tidy

from siftem.decomposition.rank import RankChoice
from siftem.figures.curves import components_figure


@pytest.mark.parametrize(
    ("excess", "chosen", "sure"),
    [
        ([260000.0, 90000.0, 0.0, 40.0, 90.0], 3, True),
        ([8.0, 3.0, 0.0, 0.5, 1.0, 2.0, 4.0], 2, False),
        ([0.0], 1, True),
        (list(np.abs(np.arange(30) - 12) * 1e3), 13, True),
    ],
)
def test_the_curve_is_tidy_and_shows_excess_and_choice(excess, chosen, sure):
    candidates = tuple(range(1, len(excess) + 1))
    scatter = np.array([-1.0, 0.0, 1.0])[:, None] * np.arange(len(excess)) * 0.1
    choice = RankChoice(candidates, 1e6 + np.array(excess) + scatter, chosen, 1, sure, "")
    figure = components_figure(choice)
    assert_tidy(figure)
    (ax,) = figure.axes
    curve = next(line for line in ax.lines if line.get_marker() == "o")
    np.testing.assert_array_equal(curve.get_xdata(), candidates)
    np.testing.assert_allclose(curve.get_ydata(), excess, atol=1e-6)
    assert any(list(line.get_xdata()) == [chosen, chosen] for line in ax.lines)
    assert any(("not sure" in t.get_text()) != sure for t in figure.texts)
