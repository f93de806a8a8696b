"""Colours that can be told apart, and settings that come back."""

import itertools

import matplotlib as mpl
import numpy as np
import pytest
from made_up_map import NAMES
from matplotlib.colors import to_rgb
from skimage.color import rgb2lab

from siftem.figures.style import (
    drawing_style,
    fitted_text,
    phase_colours,
    png_bytes,
    text_width,
)

# Full protanopia and deuteranopia in linear RGB: Machado, Oliveira & Fernandes 2009,
# IEEE Trans. Vis. Comput. Graph. 15, 1291, table 1.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}


def as_seen(colour, matrix):
    srgb = np.array(to_rgb(colour))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(matrix @ linear, 0, 1)
    back = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    return rgb2lab(back.reshape(1, 1, 3)).ravel()


@pytest.mark.parametrize("vision", VISION)
def test_six_phases_are_told_apart_with_any_colour_vision(vision):
    colours = list(phase_colours(NAMES[:6]).values())
    seen = [as_seen(c, VISION[vision]) for c in colours]
    nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
    # A difference of 2.3 (CIE 1976) is just noticeable.
    assert nearest > 8


def test_many_phases_still_have_colours_of_their_own():
    colours = phase_colours([f"phase {i}" for i in range(40)])
    assert len(set(colours.values())) == 40
    assert all(len(c) == 7 and c.startswith("#") for c in colours.values())


def test_a_colour_belongs_to_the_order_not_to_the_number_of_phases():
    few, many = phase_colours(NAMES[:2]), phase_colours(NAMES)
    assert all(many[name] == colour for name, colour in few.items())


def test_settings_of_matplotlib_come_back():
    before = dict(mpl.rcParams)
    with pytest.raises(RuntimeError), drawing_style():
        assert mpl.rcParams["font.size"] == 7
        raise RuntimeError
    assert dict(mpl.rcParams) == before


def test_drawing_leaves_no_trace_in_matplotlib(case):
    from siftem.figures.regions import regions_figure

    before = dict(mpl.rcParams)
    png_bytes(regions_figure(case.regions))
    assert dict(mpl.rcParams) == before


def test_text_is_cut_to_its_room():
    text = "A name that is far too long for its place"
    for width in (10.0, 20.0, 40.0):
        cut = fitted_text(text, width)
        assert cut.endswith("…")
        assert text_width(cut) <= width
    assert fitted_text("Fp", 20.0) == "Fp"
    assert fitted_text("two\nlines\tof text", 100.0) == "two lines of text"
    assert fitted_text("anything", 0.5) == "…"


def test_width_grows_with_size_and_weight():
    assert text_width("Brg", size=14) == pytest.approx(2 * text_width("Brg", size=7), rel=0.05)
    assert text_width("Brg", bold=True) > text_width("Brg")
