"""The phase map, and the two figures for phases that lie in any other way than in a matrix."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_map import build_case
from matplotlib.colors import to_rgb
from test_figures_layout import CASES, assert_tidy, images, letters, texts_drawn

from siftem.decomposition.layout import MIXED, VACUUM
from siftem.figures.protocol import figure1, figure2
from siftem.figures.regions import MIXED_COLOUR, Labels, phase_map_figure
from siftem.figures.style import phase_colours


def labels_of(case):
    """The masks as labels, with some mixed pixels and some vacuum."""
    labels = np.zeros(case.si.shape, int)
    for i, name in enumerate(case.regions.names, start=1):
        labels[case.regions.mask(name).mask] = i
    labels[0, :2], labels[-1, -2:] = VACUUM, MIXED
    names = case.factors.names
    area = {n: 100 * float((labels == i).mean()) for i, n in enumerate(names)}
    area |= {"mixed": 100 * float((labels == MIXED).mean())}
    area |= {"vacuum": 100 * float((labels == VACUUM).mean())}
    return Labels(names, labels, area, dict.fromkeys((*names, "mixed"), 0.3))


@pytest.fixture(scope="module", params=CASES)
def any_case(request):
    return build_case(**CASES[request.param])


def test_a_phase_map_shows_each_pixel_in_its_colour(any_case):
    shown = labels_of(any_case)
    narrow = phase_map_figure(shown, pixel_size=any_case.si.pixel_size, width=85.0)
    assert_tidy(narrow)
    assert narrow.get_size_inches()[0] * 25.4 <= 85.0 + 1e-6
    figure = phase_map_figure(shown, pixel_size=any_case.si.pixel_size)
    assert_tidy(figure)
    (image,) = images(figure)
    rgb = np.asarray(image.get_array())
    colours = phase_colours(shown.names)
    for i, name in enumerate(shown.names):
        own = shown.labels == i
        np.testing.assert_allclose(rgb[own], np.tile(to_rgb(colours[name]), (own.sum(), 1)))
    np.testing.assert_allclose(rgb[shown.labels == VACUUM], 1.0)
    np.testing.assert_allclose(rgb[shown.labels == MIXED], to_rgb(MIXED_COLOUR)[0])
    texts = [t.get_text() for t in figure.texts]
    for i, name in enumerate((*shown.names, "mixed")):
        assert f"{shown.area_percent[name]:.1f} ± 0.3%" in texts, i
    assert f"{shown.area_percent['vacuum']:.1f}%" in texts


def test_what_is_not_on_the_map_is_not_in_its_legend():
    case = build_case(2)
    shown = labels_of(case)
    bare = replace(shown, area_percent={**shown.area_percent, "mixed": 0.0, "vacuum": 0.0})
    texts = {t.get_text() for t in phase_map_figure(bare).texts}
    assert not {"mixed", "vacuum"} & texts


@pytest.mark.parametrize("traces", [False, True])
def test_figure1_shows_the_phase_map_in_place_of_a_matrix(any_case, traces):
    from siftem.figures.trace_lines import TraceLine

    lines = (TraceLine("Nd Lα", 5.228, 17.04, 3.94),) if traces and any_case.labels else ()
    figure = figure1(
        any_case.si,
        any_case.factors,
        any_case.regions,
        trace_lines=lines,
        phases=labels_of(any_case),
        **any_case.figure1_arguments(),
    )
    assert_tidy(figure)
    k = len(any_case.factors.names)
    assert len(letters(figure)) == k + 3 + len(lines)
    texts = {t.get_text() for t in figure.texts}
    assert "phase map" in texts
    assert not any(text.startswith("pure ") for text in texts)


def test_figure2_shows_all_phases_and_no_mixtures(any_case):
    shown = labels_of(any_case)
    names = shown.names
    pure = {names[0]: any_case.whole, **any_case.grains}
    ends = dict(list(any_case.grains.items())[:1])
    figure = figure2(
        any_case.si,
        any_case.regions,
        matrix=any_case.whole,
        grains=pure,
        line_labels=any_case.labels,
        phases=shown,
        hosts=dict.fromkeys(ends, any_case.whole),
        ends=ends,
    )
    assert_tidy(figure)
    assert len(letters(figure)) == len(names) + 1
    assert len(images(figure)) == len(names)
    texts = {t.get_text() for t in texts_drawn(figure)}
    assert "Pure spectra of the phases" in texts
    assert not any(" + " in text for text in texts)


def test_the_mask_of_each_phase_is_drawn():
    case = build_case(3)
    shown = labels_of(case)
    figure = figure2(
        case.si, case.regions, matrix=case.whole, grains=case.grains, phases=shown, hosts={}
    )
    plain = figure2(case.si, case.regions, matrix=case.whole, grains=case.grains)
    for i, image in enumerate(images(figure)):
        rgb = np.asarray(image.get_array())
        coloured = np.ptp(rgb, axis=2) > 0.02
        np.testing.assert_array_equal(coloured, shown.labels == i)
    assert len(images(plain)) == 4
