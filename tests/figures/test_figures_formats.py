"""Figures as vectors: texts stay texts, the same figure gives the same bytes; what is shown."""

import re

import numpy as np
import pytest

from siftem.energy_axis import EnergyAxis
from siftem.figures.page import Page
from siftem.figures.protocol import figure1
from siftem.figures.spectra import Curve, Strip, chosen_range, draw_stack
from siftem.figures.style import Look, drawn_once, new_figure


def small_figure():
    figure = new_figure(60, 30)
    ax = figure.add_axes((0.2, 0.2, 0.7, 0.7))
    ax.imshow(np.arange(6.0).reshape(2, 3))
    ax.set_title("Nd Lα of Brg")
    return figure


@pytest.mark.parametrize("kind", ["svg", "pdf"])
def test_vectors_are_the_same_each_time(kind):
    first, second = drawn_once(small_figure(), kind), drawn_once(small_figure(), kind)
    assert first == second
    assert first.lstrip().startswith({"svg": b"<?xml", "pdf": b"%PDF"}[kind])
    assert not re.search(rb"20\d\d-\d\d-\d\d|/CreationDate", first)


def test_texts_of_an_svg_can_be_edited():
    text = drawn_once(small_figure(), "svg").decode()
    assert re.search(r"<text[^>]*>Nd Lα of Brg</text>", text)


def test_letters_of_a_pdf_are_letters():
    assert b"/FontFile2" in drawn_once(small_figure(), "pdf")  # TrueType, not drawn outlines


def test_the_energies_that_are_shown_can_be_chosen():
    axis = EnergyAxis(0.2, 0.01, 1800)
    assert chosen_range((0.2, 9.0), axis, (None, None)) == (0.2, 9.0)
    assert chosen_range((0.2, 9.0), axis, (1.0, 12.0)) == (1.0, 12.0)
    assert chosen_range((0.2, 9.0), axis, (None, 99.0))[1] == axis.last
    assert chosen_range((0.2, 9.0), axis, (30.0, 40.0)) == (0.2, 9.0)  # nothing is there
    strips = [Strip((Curve(np.full(1800, 9.0), "black", "Brg"),))]
    (ax,) = draw_stack(Page(60.0), axis, strips, top=5.0, energy_range=(2.0, 5.0))
    assert ax.get_xlim() == (2.0, 5.0)


def test_a_look_reaches_the_figure(case):
    options = {"whole": case.whole, "line_labels": ()}
    figure = figure1(
        case.si, case.factors, case.regions, look=Look((1.0, 3.0), "cividis"), **options
    )
    maps = [ax.images[0].get_cmap().name for ax in figure.axes if ax.images]
    assert maps.count("cividis") >= len(case.factors.names)
    assert (1.0, 3.0) in [ax.get_xlim() for ax in figure.axes]
