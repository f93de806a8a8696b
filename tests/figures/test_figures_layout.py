"""Whole figures: every panel there, nothing clipped, no text over other text or frames."""

import itertools

import numpy as np
import pytest
from made_up_map import build_case
from matplotlib.text import Text

from siftem.energy_axis import EnergyAxis
from siftem.figures.fits import fit_figure
from siftem.figures.protocol import figure1, figure2
from siftem.figures.regions import regions_figure
from siftem.figures.style import Look, drawing_style, phase_colours, png_bytes
from siftem.figures.trace_lines import TraceLine
from siftem.fit.line_fit import fit_lines

TRACES = (TraceLine("Nd Lα", 5.228, 17.04, 3.94), TraceLine("Sm Lα", 5.633, 8.4, -0.1))
LONG = ("A very long name of a matrix phase (Mg Fe Si)", "$\\frac{x$ <b>", "B\nC (Ca Ti)")
CASES = {
    "one phase": {"n_phases": 1},
    "two phases, HAADF": {"n_phases": 2, "survey": True},
    "three phases": {"n_phases": 3},
    "four phases, no scale": {"n_phases": 4, "pixel_size": None},
    "five phases": {"n_phases": 5},
    "six phases, wide": {"n_phases": 6, "shape": (20, 40)},
    "seven phases, tall": {"n_phases": 7, "shape": (42, 18)},
    "column": {"n_phases": 3, "shape": (60, 8), "survey": True},
    "strip": {"n_phases": 3, "shape": (6, 60)},
    "line scan": {"n_phases": 2, "shape": (2, 200)},
    "oblong pixels": {"n_phases": 2, "pixel_size": (0.004, 0.01)},
    "hostile names": {"names": LONG},
    "faint": {"n_phases": 3, "dose": 1.0},
    "energy loss": {
        "n_phases": 2,
        "axis": EnergyAxis(700.0, 8.0, 162, "eV"),
        "signal_type": "EELS",
        "labels": False,
        "dose": 4000.0,
    },
}


@pytest.fixture(scope="module", params=CASES)
def any_case(request):
    return build_case(**CASES[request.param])


def texts_drawn(figure):
    """Every text that is drawn; ticks outside the limits are not."""
    found = list(figure.texts)
    for ax in figure.axes:
        found += ax.texts
        if not ax.axison:
            continue
        found += [ax.title]
        for axis in (ax.xaxis, ax.yaxis):
            found += [axis.label, axis.get_offset_text()]
            for tick in axis._update_ticks():
                found += [t for t in (tick.label1, tick.label2) if t.get_visible()]
    assert all(isinstance(t, Text) for t in found)
    return [t for t in found if t.get_visible() and t.get_text().strip()]


def assert_tidy(figure):
    """Nothing over the edge of the page, no two texts over each other, none over a frame."""
    with drawing_style():
        figure.draw_without_rendering()
        renderer = figure.canvas.get_renderer()
        texts = texts_drawn(figure)
        boxes = [t.get_window_extent(renderer) for t in texts]
    page = figure.bbox
    for text, box in zip(texts, boxes, strict=True):
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= page.width and box.y1 <= page.height
        assert inside, f"{text.get_text()!r} is clipped: {box.extents}"
        assert text.get_fontsize() >= 6, f"{text.get_text()!r} is too small to read"
    for (i, a), (j, b) in itertools.combinations(enumerate(boxes), 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        high = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert wide < 1 or high < 1, f"{texts[i].get_text()!r} over {texts[j].get_text()!r}"
    frames = [ax.get_window_extent(renderer) for ax in figure.axes if ax.axison]
    for frame in frames:
        assert frame.x0 >= 0 and frame.y0 >= 0
        assert frame.x1 <= page.width and frame.y1 <= page.height
    outside = [(t, b) for t, b in zip(texts, boxes, strict=True) if t in figure.texts]
    for (text, box), frame in itertools.product(outside, frames):
        wide = min(box.x1, frame.x1) - max(box.x0, frame.x0)
        high = min(box.y1, frame.y1) - max(box.y0, frame.y0)
        assert wide < 1 or high < 1, f"{text.get_text()!r} lies over a frame"


def letters(figure):
    written = [t.get_text() for t in figure.texts]
    return [t for t in written if t.startswith("(") and t.endswith(")") and len(t) == 3]


def images(figure):
    return [im for ax in figure.axes for im in ax.images]


def test_figure1_is_tidy_and_complete(any_case):
    k = len(any_case.factors.names)
    traces = TRACES if any_case.labels else ()
    figure = figure1(
        any_case.si,
        any_case.factors,
        any_case.regions,
        trace_lines=traces,
        **any_case.figure1_arguments(),
    )
    assert_tidy(figure)
    # Survey, k maps, spectra, pure region, faint lines.
    assert letters(figure) == [f"({chr(ord('a') + i)})" for i in range(k + 4)]
    assert len(images(figure)) == k + 2
    # Survey and maps are drawn as they are.
    survey = any_case.si.survey if any_case.si.survey is not None else any_case.si.total_map()
    for image, expected in zip(images(figure), [survey, *any_case.factors.maps], strict=False):
        np.testing.assert_array_equal(np.asarray(image.get_array()), expected)


@pytest.mark.parametrize("which", ["one phase", "three phases", "seven phases, tall"])
def test_figure1_without_traces_or_rectangles(which):
    case = build_case(**CASES[which])
    figure = figure1(case.si, case.factors, case.regions, whole=case.whole)
    assert_tidy(figure)
    assert len(letters(figure)) == len(case.factors.names) + 4


def test_figure2_is_tidy_and_complete(any_case):
    figure = figure2(
        any_case.si,
        any_case.regions,
        matrix=any_case.whole,
        grains=any_case.grains,
        line_labels=any_case.labels,
    )
    assert_tidy(figure)
    n = len(any_case.regions.names)
    assert len(letters(figure)) == 2 * n + 1
    assert len(images(figure)) == 2 * n


@pytest.mark.parametrize("width", [80.0, 85.0, 175.0, 260.0])
@pytest.mark.parametrize(
    "which", ["one phase", "three phases", "seven phases, tall", "strip", "hostile names"]
)
def test_figures_are_as_wide_as_they_are_wanted_and_tidy(which, width):
    case = build_case(**CASES[which])
    look = Look(width=width)
    first = figure1(
        case.si, case.factors, case.regions, trace_lines=TRACES, look=look,
        **case.figure1_arguments(),
    )  # fmt: skip
    second = figure2(
        case.si, case.regions, matrix=case.whole, grains=case.grains,
        line_labels=case.labels, look=look, ends=case.grains,
    )  # fmt: skip
    for figure in (first, second):
        assert_tidy(figure)
        assert figure.get_size_inches()[0] * 25.4 == pytest.approx(width)
        for ax in figure.axes:  # no frame is squeezed away
            box = ax.get_window_extent()
            assert min(box.width, box.height) > 1.0 / 25.4 * figure.dpi
    assert len(letters(first)) == len(case.factors.names) + 4
    assert first.get_size_inches()[1] * 25.4 < 297 or len(case.factors.names) > 3


def test_regions_figure_is_tidy(any_case):
    figure = regions_figure(
        any_case.regions,
        background=any_case.si.total_map(),
        pixel_size=any_case.si.pixel_size,
    )
    assert_tidy(figure)
    shares = [t.get_text() for t in figure.texts if t.get_text().endswith("%")]
    counts = any_case.regions.pixel_counts()
    if len(any_case.regions.names) < 2:
        counts.pop("intersection")
    assert shares == [f"{100 * n / any_case.si.n_pixels:.1f}%" for n in counts.values()]


def test_axes_have_units(case):
    figure = figure1(
        case.si, case.factors, case.regions, trace_lines=TRACES, **case.figure1_arguments()
    )
    labels = {t.get_text() for t in texts_drawn(figure)}
    assert {"energy (keV)", "counts per 20 eV", "counts per pixel and keV", "counts"} <= labels
    loss = build_case(**CASES["energy loss"])
    figure = figure1(loss.si, loss.factors, loss.regions, whole=loss.whole)
    labels = {t.get_text() for t in texts_drawn(figure)}
    assert {"energy loss (eV)", "counts per 8 eV"} <= labels


def test_energy_loss_axis_runs_in_electronvolts():
    loss = build_case(**CASES["energy loss"])
    figure = figure2(loss.si, loss.regions, matrix=loss.whole, grains=loss.grains)
    low, high = figure.axes[-1].get_xlim()
    assert low == pytest.approx(loss.si.axis.first)
    assert high == pytest.approx(loss.si.axis.last)


def test_signal_to_noise_and_pixels_are_written(case):
    figure = figure1(
        case.si, case.factors, case.regions, trace_lines=TRACES, **case.figure1_arguments()
    )
    written = " | ".join(t.get_text() for t in texts_drawn(figure))
    for expected in ("S/N 17.0", "S/N 3.9", "S/N 8.4", "S/N -0.1"):
        assert expected in written
    assert f"{case.whole.n_pixels} pixels" in written
    assert f"{case.confined.n_pixels} pixels" in written


def test_first_rectangle_is_solid_and_the_others_dashed(case):
    figure = figure1(case.si, case.factors, case.regions, **case.figure1_arguments())
    boxes = [p for p in figure.axes[0].patches if str(p.get_gid()).startswith("confined")]
    assert [b.get_linestyle() == "-" for b in boxes] == [True, False]
    for box, region in zip(boxes, case.rectangles, strict=True):
        ys, xs = np.nonzero(region.mask)
        assert box.get_xy() == (xs.min() - 0.5, ys.min() - 0.5)
        assert (box.get_width(), box.get_height()) == (np.ptp(xs) + 1, np.ptp(ys) + 1)


def test_a_phase_has_one_colour_in_both_figures(case):
    colours = phase_colours(case.factors.names)
    pictures = [
        figure1(case.si, case.factors, case.regions, **case.figure1_arguments()),
        figure2(case.si, case.regions, matrix=case.whole, grains=case.grains),
    ]
    for figure in pictures:
        named = [t for t in texts_drawn(figure) if t.get_text() in colours]
        assert named
        assert all(t.get_color() == colours[t.get_text()] for t in named)


def test_masks_and_mixtures_are_what_is_drawn(case):
    figure = figure2(case.si, case.regions, matrix=case.whole, grains=case.grains)
    names = case.regions.names
    expected = [case.regions.mask(n).mask for n in names]
    expected += [case.regions.mixture(n).mask for n in names]
    for image, mask in zip(images(figure), expected, strict=True):
        rgb = np.asarray(image.get_array())
        grey = np.ptp(rgb, axis=2) < 1e-9
        np.testing.assert_array_equal(~grey, mask)


def test_what_was_not_subtracted_is_not_called_pure(case):
    figure = figure2(case.si, case.regions, matrix=case.whole, grains=case.grains, subtracted=False)
    written = " | ".join(t.get_text() for t in figure.texts)
    assert "nothing subtracted" in written
    assert "Pure" not in written


def test_grains_without_a_spectrum_keep_their_masks(case):
    """A grain without pixels of its own has no spectrum."""
    only = dict(list(case.grains.items())[:1])
    figure = figure2(case.si, case.regions, matrix=case.whole, grains=only)
    assert_tidy(figure)
    assert len(images(figure)) == 2 * len(case.regions.names)


@pytest.fixture(scope="module")
def fit(case):
    return fit_lines(
        case.whole, ["O", "Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm"], support=["Cu"], beam_energy=200
    )


@pytest.mark.filterwarnings("ignore:.*check the elements and the support")
def test_fit_figure_shows_counts_fit_continuum_and_residuals(fit):
    for width in (85.0, 175.0):
        narrow = fit_figure(fit, name="Brg" if width < 100 else LONG[0], width=width)
        assert_tidy(narrow)
        assert narrow.get_size_inches()[0] * 25.4 == pytest.approx(width)
    figure = fit_figure(fit, name="Brg")
    assert_tidy(figure)
    main, residuals = figure.axes[:2]
    assert len(main.lines) >= 3
    shown = [line.get_ydata() for line in main.lines if len(line.get_ydata()) > 100]
    floor = main.get_ylim()[0]
    for curve in (fit.spectrum.values, fit.mean, fit.continuum):
        clipped = np.append(np.maximum(curve, floor), max(curve[-1], floor))
        assert any(np.allclose(clipped, s) for s in shown)
    drawn = next(line for line in residuals.lines if len(line.get_ydata()) > 100)
    np.testing.assert_allclose(drawn.get_ydata(), np.clip(fit.residual, -6, 6))
    written = {t.get_text() for t in texts_drawn(figure)}
    assert {"Brg", "fit", "continuum", "residual (σ)", "energy (keV)"} <= written
    assert any(f"{fit.reduced_deviance:.2f}" in t for t in written)


def test_png_is_the_same_every_time_and_of_the_right_size(case):
    def draw():
        return png_bytes(figure2(case.si, case.regions, matrix=case.whole, grains=case.grains))

    first = draw()
    assert first == draw()
    assert first.startswith(b"\x89PNG")
    width = int.from_bytes(first[16:20], "big")
    assert width == int(180 / 25.4 * 300)
