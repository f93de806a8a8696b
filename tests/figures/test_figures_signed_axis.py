"""What scatters about zero after a subtraction is shown about zero, not as strokes to an end."""

import numpy as np
import pytest

from siftem.energy_axis import EnergyAxis
from siftem.figures.page import Page, linear_end
from siftem.figures.spectra import Curve, Strip, draw_stack

AXIS = EnergyAxis(1.0, 0.01, 400)


def stack(values, sigma, *behind):
    page = Page(80.0)
    curves = (Curve(values, "black", "Fp", sigma), *behind)
    (ax,) = draw_stack(page, AXIS, [Strip(curves)], top=5.0)
    return ax


@pytest.fixture(scope="module")
def subtracted():
    rng = np.random.default_rng(0)
    sigma = np.full(400, 5.0)
    values = rng.normal(0.0, sigma)
    values[200:220] = 4000.0
    return values, sigma


def test_noise_about_zero_is_drawn_where_it_is(subtracted):
    values, sigma = subtracted
    ax = stack(values, sigma)
    assert ax.get_yscale() == "symlog"
    (line,) = (x for x in ax.lines if len(x.get_ydata()) == 401)
    # Three standard deviations are linear; nothing of the noise lies at the end of the axis.
    low, high = ax.get_ylim()
    left, right = ax.get_xlim()
    shown = (AXIS.centers > left) & (AXIS.centers < right)
    assert low < values[shown].min() < -2.2 * 5.0
    assert high > 4000
    np.testing.assert_array_equal(line.get_ydata()[:-1][shown], values[shown])
    ticks = ax.yaxis.get_major_locator()()
    assert 0.0 in ticks
    labels = [ax.yaxis.get_major_formatter()(t) for t in ticks]
    assert labels[0] == "0"
    assert "10³" in labels
    # Equal steps about zero, decades far above.
    places = ax.transData.transform([(1.0, v) for v in (0.0, 5.0, 10.0, 200.0, 2000.0)])[:, 1]
    first, second, _, decade = np.diff(places)
    assert first == pytest.approx(second)
    assert decade > 1.5 * first


def test_linear_up_to_three_standard_deviations_of_the_faint_channels():
    values = np.array([0.0, 1.0, 2.0, 900.0, 1000.0])
    sigma = np.array([2.0, 2.0, 2.0, 30.0, 32.0])
    assert linear_end(values, sigma) == 6.0


def test_spectra_that_keep_above_zero_stay_logarithmic(subtracted):
    _, sigma = subtracted
    values = np.full(400, 300.0)
    values[200:220] = 40_000.0
    assert stack(values, sigma).get_yscale() == "log"
    assert stack(values, None).get_yscale() == "log"


def test_the_name_stands_clear_of_the_curve_on_both_axes(subtracted):
    values, sigma = subtracted
    values = np.concatenate([values[:300], np.full(100, 4000.0)])  # high at the right
    ax = stack(values, sigma)
    (name,) = (t for t in ax.texts if t.get_gid() == "curve name")
    assert name.get_position()[0] < 0.76


def test_channels_without_a_count_do_not_stretch_the_axis():
    """Of eighteen pixels most channels have no count, and no error either."""
    counts = np.array([0.0] * 60 + [1.0] * 25 + [4.0] * 15 + [100.0])
    assert linear_end(counts, np.sqrt(counts)) == 3.0
    assert linear_end(np.zeros(5), np.zeros(5)) > 0


def test_noise_behind_a_smooth_spectrum_is_drawn_about_zero_too(subtracted):
    values, sigma = subtracted
    smooth = np.maximum(values, 30.0), np.full(400, 1.0)
    assert stack(*smooth).get_yscale() == "log"
    ax = stack(*smooth, Curve(values, "grey", sigma=sigma, bold=False))
    assert ax.get_yscale() == "symlog"
    assert ax.get_ylim()[0] < -10.0
    assert len(ax.collections) == 1  # one band, about the spectrum in front
