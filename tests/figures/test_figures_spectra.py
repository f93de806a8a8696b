"""Axes of spectra, and faint lines per pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siftem.energy_axis import EnergyAxis
from siftem.figures.line_labels import LineLabel
from siftem.figures.page import Page, fix_minor_ticks
from siftem.figures.spectra import (
    Curve,
    draw_spectrum,
    energy_scale,
    log_axis,
    log_limits,
    short_number,
    shown_range,
)
from siftem.figures.style import drawing_style, new_figure, png_bytes
from siftem.figures.trace_lines import (
    TraceLine,
    Window,
    binned_per_pixel,
    draw_trace_lines,
    line_windows,
)
from siftem.fit.line_fit import fit_lines
from siftem.fit.spectrum_model import Calibration, SpectrumModel
from siftem.spectrum import Spectrum
from siftem.xray.lines import line_families


def axes():
    return new_figure(60, 30).add_axes((0.1, 0.1, 0.8, 0.8))


def test_channels_are_drawn_from_edge_to_edge():
    ax, axis = axes(), EnergyAxis(100.0, 10.0, 4, "eV")
    draw_spectrum(ax, axis, Curve(np.array([1.0, 2, 3, 4]), "black"), scale=energy_scale(axis))
    x, y = ax.lines[0].get_data()
    np.testing.assert_allclose(x, [0.095, 0.105, 0.115, 0.125, 0.135])
    np.testing.assert_allclose(y, [1, 2, 3, 4, 4])


def test_the_band_is_one_standard_deviation_on_each_side():
    ax, axis = axes(), EnergyAxis(1.0, 0.1, 3)
    curve = Curve(np.array([10.0, 20, 30]), "black", sigma=np.array([1.0, 2, 3]))
    draw_spectrum(ax, axis, curve, scale=energy_scale(axis))
    corners = ax.collections[0].get_paths()[0].vertices
    assert corners[:, 1].min() == 9
    assert corners[:, 1].max() == 33


def test_what_lies_below_a_logarithmic_axis_is_drawn_at_its_end():
    ax, axis = axes(), EnergyAxis(1.0, 0.1, 3)
    curve = Curve(np.array([-5.0, 0, 30]), "black", sigma=np.ones(3))
    draw_spectrum(ax, axis, curve, scale=energy_scale(axis), floor=0.5)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.5, 0.5, 30, 30])


def test_energy_losses_are_in_electronvolts_and_x_rays_in_kiloelectronvolts():
    loss = energy_scale(EnergyAxis(700, 8, 162, "eV"), "EELS")
    assert (loss.per_kev, loss.label, loss.channel_label) == (
        1e3,
        "energy loss (eV)",
        "counts per 8 eV",
    )
    x_rays = energy_scale(EnergyAxis(0, 10, 2048, "eV"), "EDS_TEM")
    assert (x_rays.per_kev, x_rays.label, x_rays.channel_label) == (
        1.0,
        "energy (keV)",
        "counts per 10 eV",
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01, "0.01"), (1, "1"), (100, "100"), (1e3, "10³"), (5e4, "5×10⁴"), (2e-4, "2×10⁻⁴")],
)
def test_short_numbers(value, text):
    assert short_number(value) == text


@given(st.floats(-3, 6), st.floats(1.5, 7))
def test_a_logarithmic_axis_has_one_to_four_numbers_well_inside(exponent, span):
    low, high = 10**exponent, 10 ** (exponent + span)
    ax = axes()
    log_axis(ax, low, high)
    ticks = np.log10(ax.yaxis.get_major_locator()())
    assert 1 <= len(ticks) <= 4
    assert (ticks >= exponent + 0.05 * span).all()
    assert (ticks <= exponent + 0.95 * span).all()


def test_minor_ticks_as_one_line_are_painted_as_those_of_the_axis():
    pictures = []
    for fix in (lambda ax: None, fix_minor_ticks):
        with drawing_style():
            ax = axes()
            log_axis(ax, 3.0, 4e3)
            fix(ax)
        pictures.append(png_bytes(ax.figure))
    assert ax.yaxis.get_minorticklocs().size == 0
    assert pictures[0] == pictures[1]


def test_limits_show_the_continuum_but_not_the_zeros():
    rng = np.random.default_rng(0)
    values = rng.poisson(20, 1000).astype(float)
    values[100] = 1e4
    values[200:210] = 0
    low, high = log_limits(values)
    assert 2 < low < 15
    assert 1e4 < high < 1e5


@pytest.mark.parametrize("values", [np.zeros(5), np.full(5, -1.0), np.ones(1), np.arange(5.0)])
def test_limits_are_usable_whatever_comes(values):
    low, high = log_limits(values)
    assert 0 < low < high / 15


def test_shown_range_reaches_the_last_labelled_line():
    axis = EnergyAxis(0.205, 0.01, 2000)
    values = np.zeros(2000)
    values[:300] = 100
    low, high = shown_range(axis, [LineLabel("Zr Kα", 15.75, 5)], [values])
    assert low == axis.first
    assert 15.9 < high < 17
    _, high = shown_range(axis, [], [values])
    assert 2.9 < high < 4


def test_bins_keep_the_counts_and_their_errors():
    axis = EnergyAxis(1.0, 0.01, 400)
    values = np.random.default_rng(1).poisson(30, 400).astype(float)
    window = Window(2.0, 3.0, 0.04, ())
    edges, density, sigma = binned_per_pixel(values, values, axis, window, 50)
    used = axis.window(2.0, 3.0)
    n = len(density) * 4
    counts = values[used.start : used.start + n].reshape(-1, 4).sum(axis=1)
    np.testing.assert_allclose(density * 50 * 0.04, counts)
    np.testing.assert_allclose(sigma * 50 * 0.04, np.sqrt(counts))
    np.testing.assert_allclose(np.diff(edges), 0.04)
    assert len(edges) == len(density) + 1


def test_the_same_counts_per_pixel_lie_at_the_same_height():
    axis = EnergyAxis(1.0, 0.01, 400)
    window = Window(2.0, 3.0, 0.05, ())
    few, many = np.full(400, 3.0), np.full(400, 300.0)
    _, low_density, low_sigma = binned_per_pixel(few, few, axis, window, 10)
    _, high_density, high_sigma = binned_per_pixel(many, many, axis, window, 1000)
    np.testing.assert_allclose(low_density, high_density)
    np.testing.assert_allclose(low_sigma / high_sigma, 10)


def test_lines_close_together_share_a_window():
    axis = EnergyAxis(0.2, 0.01, 2000)
    lines = [
        TraceLine("Sm Lα", 5.633, 1),
        TraceLine("Nd Lα", 5.228, 1),
        TraceLine("U Lα", 13.61, 1),
        TraceLine("far away", 50.0, 1),
    ]
    windows = line_windows(lines, axis)
    assert [[x.text for x in w.lines] for w in windows] == [["Nd Lα", "Sm Lα"], ["U Lα"]]
    for window in windows:
        assert all(window.low < x.energy < window.high for x in window.lines)
    # 122 eV wide at 5.2 keV for 130 eV at Mn Ka: a third of it in whole channels of 10 eV.
    assert windows[0].bin_width == pytest.approx(0.04)


def test_drawing_does_not_depend_on_the_style_of_the_user():
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 31, "axes.linewidth": 7}), drawing_style():
        ax = axes()
        assert ax.xaxis.label.get_size() == 7
        assert ax.spines["left"].get_linewidth() == 0.5


@pytest.mark.filterwarnings("ignore:.*check the elements and the support")
def test_faint_lines_show_the_error_of_the_model_and_what_is_left():
    axis = EnergyAxis(0.3, 0.01, 900)
    families = line_families(["O", "Si", "Fe"], beam_energy=200.0, low=0.3, high=9.3)
    model = SpectrumModel(tuple(families), 200.0)
    mean = model.line_columns(axis, Calibration()) @ np.array([3e5, 3e5, 1e5, 3e4])
    mean += model.continuum_columns(axis, Calibration()) @ [900.0, 90.0, 9.0]
    # A line that no element of the fit has: what is left, and an error of the model.
    mean += 900 * np.exp(-0.5 * ((axis.centers - 5.0) / 0.05) ** 2)
    whole = Spectrum(np.random.default_rng(0).poisson(mean).astype(float), axis, n_pixels=100)
    fit = fit_lines(whole, ["O", "Si", "Fe"], beam_energy=200.0)
    page = Page(60, 90)
    (panel,) = draw_trace_lines(
        page, [TraceLine("X", 5.0, 9.0)], whole, left=0, top=0, width=90, height=60,
        colour="#205080", fit=fit,
    )  # fmt: skip
    below = [ax for ax in page.figure.axes if ax is not panel]
    assert len(below) == 1
    assert below[0].get_xlim() == panel.get_xlim()
    assert below[0].get_position().y1 == pytest.approx(panel.get_position().y0)
    left = below[0].patches[-1].get_data().values
    assert left.max() > 10
    # The band of the model's error is the widest where the misfit is.
    error = fit.misfit.standard_deviation
    near = np.abs(fit.spectrum.axis.centers - 5.0) < 0.1
    far = np.abs(fit.spectrum.axis.centers - 8.0) < 0.3
    assert error[near].max() > 3 * error[far].max()
    band = panel.collections[0].get_paths()[0].vertices
    assert np.ptp(band[:, 1]) > 0
