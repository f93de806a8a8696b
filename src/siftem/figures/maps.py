"""Images of a scan with scale bar and colour bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from siftem.figures.page import Page, frame_size
from siftem.figures.style import COUNTS_COLOURS, MARK_COLOUR, SMALL_FONT_SIZE, text_width
from siftem.segment.regions import Region

#: Of images that are no counts.
SURVEY_COLOURS = "gray"
#: mm below an image for a colour bar with its numbers.
COLOUR_BAR_ROOM = 6.4

#: Pixels along the longer side that a picture shows at most: a panel has fewer at 300 dots per
#: inch, and the drawing of larger images would take more memory than their making.
_MOST_PIXELS = 1024
BAR_SHARE = 0.3  # longest scale bar, as a share of the image's width
_HALO = [withStroke(linewidth=1.6, foreground="black", alpha=0.75)]


@dataclass(frozen=True)
class ScaleBar:
    """A length of 1, 2 or 5 times a power of ten.

    Parameters
    ----------
    pixels : float
        Length in pixels of the scan.
    label : str
        The length with its unit.
    """

    pixels: float
    label: str


def scale_bar(columns: float, pixel_size: tuple[float, float] | None) -> ScaleBar:
    """Choose the longest 1-2-5 length that is at most 30% of an image's width.

    Parameters
    ----------
    columns : float
        Width of the image in pixels.
    pixel_size : tuple of float or None
        Height and width of a pixel in nm; None gives a bar in pixels ("px").

    Returns
    -------
    ScaleBar
        In nm, from 1000 nm on in µm, below 1 nm in pm. Without calibration at least 1 px.
    """
    size = 1.0 if pixel_size is None else pixel_size[1]
    length = _nice_below(BAR_SHARE * columns * size)
    if pixel_size is None:
        length = max(length, 1.0)
        return ScaleBar(length, f"{length:g} px")
    for unit, nm in (("mm", 1e6), ("µm", 1e3), ("nm", 1.0), ("pm", 1e-3)):
        if length >= nm * (1 - 1e-9) or unit == "pm":
            return ScaleBar(length / size, f"{float(f'{length / nm:.6g}'):g} {unit}")
    raise AssertionError("unreachable")


def _nice_below(limit: float) -> float:
    """Largest of 1, 2, 5 times a power of ten that does not exceed a positive limit."""
    power = 10.0 ** np.floor(np.log10(limit))
    steps = [s * power for s in (0.5, 1.0, 2.0, 5.0, 10.0)]
    return float(max(s for s in steps if s <= limit * (1 + 1e-9)))


def shown_step(shape: tuple[int, ...]) -> int:
    """Return how many pixels of a scan (ny, nx) become one of a picture, along each side."""
    return -(-max(shape[:2]) // _MOST_PIXELS)


def block_means(image: np.ndarray, step: int) -> np.ndarray:
    """Return the means of square blocks of an image, those at the end smaller.

    Parameters
    ----------
    image : ndarray of shape (ny, nx)
    step : int
        Side of a block.

    Returns
    -------
    ndarray, float64
        One value a block, of as many pixels as it has; NaN where one of them is NaN.
    """
    if step == 1:
        return image
    total, number = np.asarray(image, np.float64), np.ones(image.shape)
    for axis, size in enumerate(image.shape):
        starts = np.arange(0, size, step)
        total = np.add.reduceat(total, starts, axis=axis)
        number = np.add.reduceat(number, starts, axis=axis)
    return np.asarray(total / number)


def draw_image(
    ax: Axes,
    image: np.ndarray,
    *,
    shape: tuple[int, int] | None = None,
    pixel_size: tuple[float, float] | None = None,
    colours: str = COUNTS_COLOURS,
    limits: tuple[float, float] | None = None,
) -> AxesImage:
    """Draw an image of the scan with a scale bar and no ticks.

    Parameters
    ----------
    ax : Axes
    image : ndarray of shape (ny, nx) or (ny, nx, 3)
        Values, or RGB from 0 to 1. Of large scans the means of blocks are drawn.
    shape : tuple of int, optional
        Pixels of the scan, where ``image`` has been reduced by `shown_step` already.
    pixel_size : tuple of float, optional
        Height and width of a pixel in nm.
    colours : str
        Matplotlib's name of a colour map.
    limits : tuple of float, optional
        Values of the darkest and the brightest colour; by default `image_limits`.

    Returns
    -------
    AxesImage
    """
    ny, nx = shape or image.shape[:2]
    step = shown_step((ny, nx))
    if shape is None and step > 1:
        image = block_means(image, step) if image.ndim == 2 else image[::step, ::step]
    if limits is None and image.ndim == 2:
        limits = image_limits(image)
    # Coordinates are those of the scan; the last blocks may reach beyond it.
    reach = (step * image.shape[1] - 0.5, step * image.shape[0] - 0.5)
    low, high = limits or (None, None)
    # The frame already has the right aspect; strips of extreme aspect are stretched into it.
    drawn = ax.imshow(
        image,
        cmap=colours,
        vmin=low,
        vmax=high,
        aspect="auto",
        interpolation="nearest",
        extent=(-0.5, reach[0], reach[1], -0.5),
    )
    ax.set(xlim=(-0.5, nx - 0.5), ylim=(ny - 0.5, -0.5))
    ax.set_xticks([])
    ax.set_yticks([])
    add_scale_bar(ax, (ny, nx), pixel_size)
    return drawn


def image_limits(image: np.ndarray, *, from_zero: bool = True) -> tuple[float, float]:
    """Return limits of the colours that a few extreme pixels don't stretch.

    Parameters
    ----------
    image : ndarray of shape (ny, nx)
        NaN is ignored.
    from_zero : bool
        Start at zero, as for counts; else at the 0.5% quantile.

    Returns
    -------
    low, high : float
        ``high`` is the 99.8% quantile, or the maximum where that is not above ``low``.
    """
    finite = image[np.isfinite(image)]
    if finite.size == 0:
        return 0.0, 1.0
    low = 0.0 if from_zero and finite.min() >= 0 else float(np.quantile(finite, 0.005))
    high = float(np.quantile(finite, 0.998))
    if high <= low:
        high = float(finite.max())
    return (low, high) if high > low else (low, low + 1.0)


def add_scale_bar(ax: Axes, shape: tuple[int, ...], pixel_size: tuple[float, float] | None) -> None:
    """Draw a scale bar into the lower left of an image, readable on bright and dark."""
    ny, nx = shape[0], shape[1]
    bar = scale_bar(nx, pixel_size)
    width, height = frame_size(ax)
    pad_x, pad_y = 1.6 * nx / width, 1.6 * ny / height
    thickness = 0.6 * ny / height
    left, bottom = -0.5 + pad_x, ny - 0.5 - pad_y
    frame = Rectangle(
        (left, bottom - thickness),
        bar.pixels,
        thickness,
        facecolor="white",
        edgecolor="none",
        path_effects=_HALO,
        gid="scale bar",
    )
    ax.add_patch(frame)
    label = ax.text(
        left,
        bottom - thickness - 0.5 * ny / height,
        bar.label,
        color="white",
        size=SMALL_FONT_SIZE,
        ha="left",
        va="bottom",
        parse_math=False,
        path_effects=_HALO,
        gid="scale bar label",
    )
    label.set_clip_on(False)


def add_colour_bar(
    page: Page, image: AxesImage, *, left: float, top: float, width: float, label: str
) -> None:
    """Draw a colour bar with two numbers and a label below an image.

    Parameters
    ----------
    page : Page
    image : AxesImage
    left, top, width : float
        Lower edge of the image, mm.
    label : str
        What the colours mean, such as "counts".
    """
    low, high = image.get_clim()
    room = text_width(label, size=SMALL_FONT_SIZE) + 1.0
    length = max(width - room - 1.0, 0.35 * width)
    ax = page.axes(left, top + 0.9, length, 1.5)
    extend = "max" if float(np.nanmax(np.asarray(image.get_array()))) > high else "neither"
    bar = page.figure.colorbar(image, cax=ax, orientation="horizontal", extend=extend)
    bar.outline.set_linewidth(0.4)
    ticks = bar_ticks(low, high)
    bar.set_ticks(ticks, labels=[f"{tick:.6g}" for tick in ticks])
    ax.tick_params(length=1.5, pad=1.0, width=0.4, labelsize=SMALL_FONT_SIZE)
    ax.minorticks_off()
    for tick, shown in zip(ticks, ax.get_xticklabels(), strict=True):
        # A number near the left end starts there, so as not to leave the page.
        offset = (tick - low) / (high - low) * length
        if offset < 0.5 * text_width(shown.get_text(), size=SMALL_FONT_SIZE):
            shown.set_horizontalalignment("left")
    page.text(left + length + 1.6, top + 2.3, label, size=SMALL_FONT_SIZE)


def bar_ticks(low: float, high: float) -> list[float]:
    """Return two round numbers between the ends of a colour bar, as far apart as they can be."""
    step = _nice_below(high - low)
    first = np.ceil(low / step - 1e-9) * step
    last = np.floor(high / step + 1e-9) * step
    if last - first < 0.4 * (high - low):
        step /= 5 if np.isclose(step / 10.0 ** np.floor(np.log10(step)), 5) else 4
        first = np.ceil(low / step - 1e-9) * step
        last = np.floor(high / step + 1e-9) * step
    # Adding zero turns -0 into 0.
    return [float(first) + 0.0, float(last) + 0.0]


def draw_rectangles(ax: Axes, rectangles: Sequence[Region]) -> None:
    """Outline rectangular regions: the first one solid, the others dashed.

    Parameters
    ----------
    ax : Axes
        With an image of the scan.
    rectangles : sequence of Region
        The outline is the box around their pixels.
    """
    halo = [withStroke(linewidth=2.0, foreground="black", alpha=0.8)]
    for i, region in enumerate(rectangles):
        ys, xs = np.nonzero(region.mask)
        if ys.size == 0:
            continue
        outline = Rectangle(
            (xs.min() - 0.5, ys.min() - 0.5),
            float(np.ptp(xs) + 1),
            float(np.ptp(ys) + 1),
            fill=False,
            edgecolor=MARK_COLOUR,
            linewidth=1.0 if i == 0 else 0.7,
            linestyle="-" if i == 0 else (0, (3, 2)),
            path_effects=halo if i == 0 else None,
            gid=region.name,
        )
        ax.add_patch(outline)
