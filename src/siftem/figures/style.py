"""Sizes, fonts and colours that all figures share."""

from __future__ import annotations

import colorsys
import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import AxesImage
from PIL import Image

#: Width of a journal's double column, mm.
PAGE_WIDTH = 180.0
#: Pixels per inch of saved figures.
DPI = 300
#: Of maps of counts: perceptually uniform, dark where there is nothing.
COUNTS_COLOURS = "inferno"
#: Points; nothing is written smaller than the second.
FONT_SIZE = 7.0
SMALL_FONT_SIZE = 6.0
MM_PER_INCH = 25.4

#: Okabe & Ito 2008 without yellow and black, then three of Tol's muted colours: told apart
#: with any kind of colour vision, and dark enough for lines on white.
PALETTE = (
    "#0072B2",  # blue
    "#D55E00",  # vermillion
    "#009E73",  # bluish green
    "#CC79A7",  # reddish purple
    "#E69F00",  # orange
    "#56B4E9",  # sky blue
    "#332288",  # indigo
    "#882255",  # wine
    "#999933",  # olive
)
#: What two grains share.
OVERLAP_COLOUR = "#222222"
#: What stands beside a phase: rectangles, continuum, guides.
NEUTRAL_COLOUR = "#555555"
BEHIND_COLOUR = "#858585"
GUIDE_COLOUR = "#BBBBBB"
MARK_COLOUR = "#F0E442"

# DejaVu Sans comes with matplotlib, so that text is as wide everywhere as it was measured.
STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": FONT_SIZE,
    "axes.labelsize": FONT_SIZE,
    "axes.titlesize": FONT_SIZE,
    "xtick.labelsize": SMALL_FONT_SIZE,
    "ytick.labelsize": SMALL_FONT_SIZE,
    "axes.linewidth": 0.5,
    "lines.linewidth": 0.7,
    "patch.linewidth": 0.5,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.minor.width": 0.35,
    "ytick.minor.width": 0.35,
    "xtick.major.size": 2.2,
    "ytick.major.size": 2.2,
    "xtick.minor.size": 1.2,
    "ytick.minor.size": 1.2,
    "xtick.major.pad": 1.8,
    "ytick.major.pad": 1.8,
    "axes.labelpad": 2.0,
    "xtick.direction": "out",
    "ytick.direction": "out",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "text.usetex": False,
    "path.simplify_threshold": 0.05,
}

# Styles pass through matplotlib's global settings; threads must take turns.
_lock = threading.RLock()


@contextmanager
def drawing_style() -> Iterator[None]:
    """Draw in the project's style, whatever the user's settings; they come back at the end."""
    with _lock, matplotlib.style.context(["default", STYLE]):
        yield


def phase_colours(names: Sequence[str]) -> dict[str, str]:
    """Give each phase its colour, by order, the same in every panel and figure.

    Parameters
    ----------
    names : sequence of str
        Phases in the order of the recipe.

    Returns
    -------
    dict of str to str
        Hexadecimal RGB. The first nine are told apart with any kind of colour vision; more
        are spread around the colour circle.
    """
    colours = {}
    for i, name in enumerate(dict.fromkeys(names)):
        colours[name] = PALETTE[i] if i < len(PALETTE) else _extra_colour(i - len(PALETTE))
    return colours


def _extra_colour(index: int) -> str:
    # Steps of the golden angle never repeat; lightness alternates to help the eye.
    hue = (0.05 + index * 0.618034) % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, (0.32, 0.5)[index % 2], 0.75)
    return f"#{round(255 * red):02X}{round(255 * green):02X}{round(255 * blue):02X}"


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure with its own canvas.

    Parameters
    ----------
    width, height : float
        mm.
    """
    figure = Figure(figsize=(width / MM_PER_INCH, height / MM_PER_INCH), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


@dataclass(frozen=True)
class Look:
    """What a recipe may choose of the figures.

    Parameters
    ----------
    energy_range : tuple of float or None
        keV; the part of the spectra that is shown. None: as far as there are lines.
    colour_map : str
        Of maps of counts, by matplotlib's name.
    width : float
        Of the page, mm.
    """

    energy_range: tuple[float | None, float | None] = (None, None)
    colour_map: str = COUNTS_COLOURS
    width: float = PAGE_WIDTH


def png_bytes(figure: Figure, *, dpi: int = DPI) -> bytes:
    """Return a figure as a PNG; the same figure gives the same bytes.

    Parameters
    ----------
    figure : Figure
    dpi : int
        Pixels per inch.
    """
    buffer = io.BytesIO()
    before, size = figure.canvas, figure.dpi
    with drawing_style():
        figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        drawn = Image.fromarray(np.asarray(canvas.buffer_rgba()))
        figure.set_dpi(size)
        figure.set_canvas(before)
    # Nothing shines through paper: without opacity the same size takes half of the time.
    drawn.convert("RGB").save(buffer, format="png", dpi=(dpi, dpi), compress_level=3)
    return buffer.getvalue()


def vector_bytes(figure: Figure, kind: str) -> bytes:
    """Return a figure as "svg" or "pdf", its texts as text; the same figure gives the same bytes.

    Parameters
    ----------
    figure : Figure
    kind : {"svg", "pdf"}
    """
    buffer = io.BytesIO()
    when = {"svg": "Date", "pdf": "CreationDate"}[kind]
    # Letters as letters, so that other programs can change them; no random names.
    texts = {"svg.fonttype": "none", "pdf.fonttype": 42, "svg.hashsalt": "siftem"}
    with drawing_style(), matplotlib.rc_context(texts):
        figure.savefig(buffer, format=kind, metadata={when: None})
    return buffer.getvalue()


def drawn_once(figure: Figure, kind: str = "png") -> bytes:
    """Return a figure as a PNG, SVG or PDF, and let go of its images; it can't be drawn again."""
    picture = png_bytes(figure) if kind == "png" else vector_bytes(figure, kind)
    # The parts of a figure refer to each other and stay until Python looks for such; whoever
    # draws many figures has it look. Images may be large, and other code keeps no figure.
    for image in figure.findobj(AxesImage):
        image.set_data(np.zeros((1, 1)))
    FigureCanvasBase(figure)
    return picture


@lru_cache(maxsize=4096)
def text_width(text: str, *, size: float = FONT_SIZE, bold: bool = False) -> float:
    """Return the width of one line of plain text in mm.

    Parameters
    ----------
    text : str
    size : float
        Points.
    bold : bool
    """
    font = FontProperties(family=["DejaVu Sans"], size=size, weight="bold" if bold else "normal")
    width, _, _ = _measuring().get_text_width_height_descent(text, font, ismath=False)
    return float(width * MM_PER_INCH / DPI)


@cache
def _measuring() -> RendererAgg:
    """Return what texts are measured with."""
    return RendererAgg(1, 1, DPI)


def fitted_text(text: str, width: float, *, size: float = FONT_SIZE, bold: bool = False) -> str:
    """Return a text on one line, cut with an ellipsis where it is wider than ``width`` mm."""
    text = " ".join(text.split())
    if text_width(text, size=size, bold=bold) <= width:
        return text
    while text and text_width(text + "…", size=size, bold=bold) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def text_height(size: float = FONT_SIZE) -> float:
    """Return the height of one line of text in mm, with ascenders and descenders."""
    return 1.17 * size * MM_PER_INCH / 72.0
